// A server for examples: the built binary, in memory, on a free port. Included by tests and by the examples in the documentation.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Server {
    #[must_use]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary that `SERVER_UNDER_TEST` names, or the one that this workspace has built.
fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("SERVER_UNDER_TEST") {
        let path = PathBuf::from(path);
        assert!(
            path.exists(),
            "SERVER_UNDER_TEST names {}, which is not there",
            path.display()
        );
        return Some(path);
    }
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")),
    };
    let path = target.join("debug/seaway");
    path.exists().then_some(path)
}

/// Starts a server; `None`, loudly, when none has been built.
pub(crate) fn start() -> Option<Server> {
    let Some(binary) = binary() else {
        eprintln!("\n*** SKIPPED: no server to run against; `cargo build -p seaway-server --bins` builds one ***\n");
        return None;
    };
    let mut child = Command::new(binary)
        // Under this name it keeps nothing on disk unless it is told to.
        .arg0("nats-streaming-server")
        .args(["-a", "127.0.0.1", "-p", "-1"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let log = child.stderr.take().expect("stderr is piped");
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let mut address = None;
    for line in &mut lines {
        if let Some((_, listening)) = line.split_once("Listening for client connections on ") {
            address = Some(listening.trim().to_owned());
        }
        if line.contains("Streaming Server is ready") {
            break;
        }
    }
    let url = format!("nats://{}", address.expect("the log names the address"));
    // A server whose log nobody reads would stop at a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Some(Server { child, url })
}
