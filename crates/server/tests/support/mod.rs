//! A server in a process of its own, started, killed and started again as an operator would.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use seaway_bench::stan::Session;

pub mod administration;
pub mod faults;
pub mod group;
pub mod requests;
pub mod shell;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The binary under which of its two names.
#[derive(Clone, Copy, Debug)]
pub enum Binary {
    Seaway,
    NatsStreamingServer,
}

impl Binary {
    pub fn path(self) -> &'static str {
        static LINK: LazyLock<String> = LazyLock::new(link);
        match self {
            Binary::Seaway => env!("CARGO_BIN_EXE_seaway"),
            Binary::NatsStreamingServer => &LINK,
        }
    }
}

/// A link to the binary with the original's name. All test programs share it, whoever makes it last.
fn link() -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let link = folder.join("nats-streaming-server");
    let own = folder.join(format!("nats-streaming-server.{}", std::process::id()));
    let _ = std::fs::remove_file(&own);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_seaway"), &own).expect("the tests' folder can be written to");
    std::fs::rename(&own, &link).expect("a link can be replaced");
    link.to_str().expect("cargo's folders have names in UTF-8").to_owned()
}

/// A running server.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Every log line read so far.
    pub log: Vec<String>,
    /// `host:port` for clients.
    pub address: String,
    /// `host:port` of the monitoring, if it is on.
    pub monitoring: Option<String>,
}

impl Server {
    /// Starts `nats-streaming-server` on free ports with a file store in `directory` and waits until it is ready.
    pub fn with_files(directory: &Path, more: &[&str]) -> Server {
        Server::ready(Command::new(Binary::NatsStreamingServer.path()), Some(directory), more)
    }

    /// Starts `nats-streaming-server` on free ports with the memory store and waits until it is ready.
    pub fn in_memory(more: &[&str]) -> Server {
        Server::ready(Command::new(Binary::NatsStreamingServer.path()), None, more)
    }

    /// Starts `nats-streaming-server` on free ports with the memory store and this configuration file; the log when it does
    /// not start.
    pub fn configured(directory: &Path, configuration: &str, more: &[&str]) -> Result<Server, Vec<String>> {
        let file = directory.join("server.conf");
        std::fs::write(&file, configuration).expect("the directory can be written to");
        let mut command = Command::new(Binary::NatsStreamingServer.path());
        command
            .args(["-p", "-1", "-m", "-1", "-a", "127.0.0.1", "-c"])
            .arg(file);
        Server::spawn(command.args(more))
    }

    /// Like [`Server::with_files`], with a bound on the memory the process may allocate.
    pub fn with_memory_limit(bytes: u64, directory: &Path, more: &[&str]) -> Server {
        let mut command = Command::new("prlimit");
        command.arg(format!("--data={bytes}")).arg("--");
        command.arg(Binary::NatsStreamingServer.path());
        Server::ready(command, Some(directory), more)
    }

    /// Adds what every server of the tests is started with, and waits until it is ready.
    fn ready(mut command: Command, directory: Option<&Path>, more: &[&str]) -> Server {
        command.args(["-p", "-1", "-m", "-1", "-a", "127.0.0.1"]);
        if let Some(directory) = directory {
            command.args(["-store", "file", "-dir"]).arg(directory);
        }
        Server::spawn(command.args(more)).unwrap_or_else(|log| panic!("not ready: {log:#?}"))
    }

    /// Starts a binary and waits until it is ready; the log when it ends or stays silent instead.
    pub fn start(binary: Binary, arguments: &[&str]) -> Result<Server, Vec<String>> {
        let mut command = Command::new(binary.path());
        Server::spawn(command.args(arguments))
    }

    /// Like [`Server::start`], with a command of the caller's making.
    pub fn spawn(command: &mut Command) -> Result<Server, Vec<String>> {
        let mut server = Server::begin(command);
        if server.wait_for_line("Streaming Server is ready").is_none() {
            return Err(std::mem::take(&mut server.log));
        }
        server.find_addresses();
        Ok(server)
    }

    /// Starts a command that is or runs a server, and waits for nothing.
    pub fn begin(command: &mut Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Server {
            child,
            lines,
            log: Vec::new(),
            address: String::new(),
            monitoring: None,
        }
    }

    /// Takes the addresses out of the log.
    pub fn find_addresses(&mut self) {
        self.address = self
            .after("Listening for client connections on ")
            .expect("the log names the address");
        self.find_monitoring();
    }

    /// Takes that of the monitoring out of the log.
    pub fn find_monitoring(&mut self) {
        self.monitoring = self.after("Starting http monitor on ");
    }

    fn after(&self, text: &str) -> Option<String> {
        self.log
            .iter()
            .find_map(|line| line.split_once(text).map(|(_, rest)| rest.trim().to_owned()))
    }

    /// Reads the log until a line contains `text`; `None` when the process ends or nothing comes.
    pub fn wait_for_line(&mut self, text: &str) -> Option<String> {
        if let Some(line) = self.log.iter().find(|line| line.contains(text)) {
            return Some(line.clone());
        }
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.log.push(line.clone());
            if line.contains(text) {
                return Some(line);
            }
        }
        None
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(self) {
        drop(self);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process lives");
    }

    /// Sends a signal and waits for the end.
    pub fn signal_and_wait(self, signal: rustix::process::Signal) -> (ExitStatus, Vec<String>) {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let status = wait(&mut self.child).expect("the process ends");
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            self.log.push(line);
        }
        (status, std::mem::take(&mut self.log))
    }

    /// A streaming session.
    pub fn session(&self, client_id: &str) -> Session {
        Session::open(&self.address, "test-cluster", client_id).expect("the server takes the client")
    }

    /// GET of a monitoring path: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let address = self.monitoring.as_ref().expect("monitoring is on");
        let mut socket = TcpStream::connect(address).expect("monitoring answers");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .expect("request sent");
        let mut response = String::new();
        socket.read_to_string(&mut response).expect("response read");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        (status, body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Behind a tracer the server is its child, and would outlive it.
        for traced in children(self.child.id()) {
            let _ = rustix::process::kill_process(traced, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn children(pid: u32) -> Vec<rustix::process::Pid> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let numbers = listed.split_whitespace().filter_map(|number| number.parse().ok());
    numbers.filter_map(rustix::process::Pid::from_raw).collect()
}

/// Runs a binary to its end: status, stdout, stderr.
pub fn run(binary: Binary, arguments: &[&str], directory: &Path) -> (ExitStatus, String, String) {
    let child = Command::new(binary.path())
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let output = child.wait_with_output().expect("the binary ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status, text(output.stdout), text(output.stderr))
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::yield_now();
    }
    None
}

/// All files below a directory, with their sizes.
pub fn files(directory: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)
        .expect("the directory can be read")
        .flatten()
    {
        // A running server deletes files between the listing and this look.
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => panic!("{} has no metadata: {error}", entry.path().display()),
        };
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push((entry.path(), metadata.len()));
        }
    }
    found.sort();
    found
}
