//! NATS servers of somebody else: `nats-server` where it is installed, and else Seaway's own broker under another cluster ID; included by
//! the tests that need them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "for tests, each of which uses its part"
)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Binary, Server};

/// `nats-server`, if it is installed.
pub fn installed() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    let folders = std::env::split_paths(&folders).chain(more);
    let mut programs = folders.map(|folder| folder.join("nats-server"));
    programs.find(|program| program.is_file())
}

/// The same, and loudly when it is not.
pub fn installed_or_skipped(what: &str) -> Option<PathBuf> {
    let program = installed();
    if program.is_none() {
        eprintln!("\n*** SKIPPED: {what}, for nats-server is not installed ***\n");
    }
    program
}

/// A port that nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A NATS server that can be killed and come back at the same place.
pub struct Nats {
    directory: tempfile::TempDir,
    pub port: u16,
    server: Option<Server>,
}

impl Nats {
    /// Without a configuration of its own.
    pub fn plain() -> Nats {
        Nats::configured("")
    }

    /// With these lines of configuration.
    pub fn configured(configuration: &str) -> Nats {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("nats.conf"), configuration).unwrap();
        let mut nats = Nats {
            directory,
            port: free_port(),
            server: None,
        };
        nats.start();
        nats
    }

    /// Where a file of this name in its directory is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Starts it where it was.
    pub fn start(&mut self) {
        let (port, file) = (self.port.to_string(), self.path("nats.conf"));
        let mut command = match installed() {
            Some(program) => Command::new(program),
            None => {
                let mut command = Command::new(Binary::NatsStreamingServer.path());
                command.args(["-cid", "somebody-else"]);
                command
            }
        };
        command.args(["-a", "127.0.0.1", "-p", &port, "-c"]).arg(file);
        let mut server = Server::begin(&mut command);
        let is_ready = server.wait_for_line("Server is ready").is_some();
        assert!(is_ready, "{:#?}", server.log);
        self.server = Some(server);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.server.take().expect("it runs").kill();
    }

    /// Stops and continues it.
    pub fn pause(&self) {
        self.server.as_ref().expect("it runs").signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.server.as_ref().expect("it runs").signal(Signal::CONT);
    }
}

/// What starts a streaming server that is attached to NATS servers.
pub fn attached(urls: &str, more: &[&str]) -> Command {
    let mut command = Command::new(Binary::NatsStreamingServer.path());
    command.args(["-m", "-1", "-a", "127.0.0.1", "-ns", urls]).args(more);
    command
}

/// Such a server, when it is ready; its clients connect to `address`.
pub fn attach(address: &str, more: &[&str]) -> Server {
    ready(&mut attached(&format!("nats://{address}"), more), address)
}

/// Starts a command and waits until it serves.
pub fn ready(command: &mut Command, address: &str) -> Server {
    let mut server = Server::begin(command);
    if server.wait_for_line("Streaming Server is ready").is_none() {
        panic!("not ready: {:#?}", server.log);
    }
    server.address = address.to_owned();
    server.find_monitoring();
    server
}

/// What serverz says of its connection.
pub fn connection(server: &Server) -> serde_json::Value {
    let text = server.get("/streaming/serverz").1;
    let serverz: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    serverz["nats"].clone()
}

/// Why a command that is to start a server does not: its log, once it has ended with code 1.
pub fn refusal(mut command: Command) -> Vec<String> {
    let (status, log) = Server::begin(&mut command).wait();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    log
}
