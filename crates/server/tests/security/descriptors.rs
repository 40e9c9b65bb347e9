//! A server at the limit of open files: connections do not take what the store needs (streaming-protocol.md §9, nats-core.md
//! §1.1).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::support::requests::number;
use crate::support::{Binary, PATIENCE, Server};

const ALLOWED: usize = 256;

/// A server with a file store that may open few files.
fn limited(directory: &Path, more: &[&str]) -> Server {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={ALLOWED}")).arg("--");
    command.arg(Binary::NatsStreamingServer.path());
    command.args(["-p", "-1", "-m", "-1", "-a", "127.0.0.1", "-store", "file", "-dir"]);
    Server::spawn(command.arg(directory).args(more)).unwrap()
}

/// Whether the server has refused a connection by now, in words or by closing it.
fn is_refused(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let refused = match stream.read(&mut buffer) {
        Ok(count) => count == 0 || String::from_utf8_lossy(&buffer[..count]).contains("'maximum connections exceeded'"),
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).unwrap();
    refused
}

/// What the server says to a connection that sends nothing, up to `text` or the end.
fn hear(stream: &mut TcpStream, text: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
        }
        if String::from_utf8_lossy(&heard).contains(text) {
            break;
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// Fills the server with connections that say nothing; publishes and asks meanwhile.
fn crowd(server: &Server, login: &str) {
    let credentials = seaway_bench::wire::Connection::open_with(&server.address, login).unwrap();
    let mut session = seaway_bench::stan::Session::over(credentials, "test-cluster", "before").unwrap();
    let most = number(server, "/varz", "max_connections") as usize;
    assert!(most > 16 && most < ALLOWED - 64, "{most}");

    let mut idle: Vec<TcpStream> = (0..2 * ALLOWED)
        .map(|_| TcpStream::connect(&server.address).unwrap())
        .collect();
    // As many as there is room for beside the session are served; the others are told, or closed.
    let served = { idle.iter_mut() }
        .take(most - 1)
        .filter_map(|stream| hear(stream, "\r\n").starts_with("INFO ").then_some(()))
        .count();
    assert_eq!(served, most - 1);
    // Each is judged in a task of its own: which of them are refused is not told by the order in which they came.
    let until = Instant::now() + PATIENCE;
    while !idle.iter_mut().any(is_refused) {
        assert!(Instant::now() < until, "nobody was refused");
        std::thread::yield_now();
    }

    // Enough for several new segments, which are files.
    let payload = vec![b'x'; 256 * 1024];
    for _ in 0..40 {
        session.publish("orders", &payload).unwrap();
    }
    let (status, health) = server.get("/healthz");
    assert_eq!(status, 200, "{health}");
    // Monitoring connections that stay take no files either.
    let monitoring = server.monitoring.clone().unwrap();
    let _asking: Vec<TcpStream> = (0..ALLOWED)
        .map(|_| {
            let mut stream = TcpStream::connect(&monitoring).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    for _ in 0..40 {
        session.publish("orders", &payload).unwrap();
    }
    let (status, health) = server.get("/healthz");
    assert_eq!(status, 200, "{health}");

    // Room that is given back is used again.
    drop(idle);
    let deadline = std::time::Instant::now() + PATIENCE;
    while seaway_bench::wire::Connection::open_with(&server.address, login).is_err() {
        assert!(std::time::Instant::now() < deadline, "nobody is let in any more");
        std::thread::yield_now();
    }
}

#[test]
fn idle_connections_leave_the_store_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let server = limited(directory.path(), &[]);
    let said = "of which 64 are kept for the store";
    assert!(server.log.iter().any(|line| line.contains(said)), "{:#?}", server.log);
    crowd(&server, r#""echo":true"#);
}

#[test]
fn so_do_connections_that_never_authenticate() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("server.conf");
    std::fs::write(
        &configuration,
        "authorization { user: a, password: b, timeout: 60 }\nmax_connections: -1\n",
    )
    .unwrap();
    let data = directory.path().join("data");
    let server = limited(&data, &["-c", configuration.to_str().unwrap()]);
    crowd(&server, r#""user":"a","pass":"b""#);
}

/// A configured limit below what the system allows stays.
#[test]
fn a_lower_limit_stays() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("server.conf");
    std::fs::write(&configuration, "max_connections: 10\n").unwrap();
    let data = directory.path().join("data");
    let server = limited(&data, &["-c", configuration.to_str().unwrap()]);
    assert_eq!(number(&server, "/varz", "max_connections"), 10);
    assert!(!server.log.iter().any(|line| line.contains("connections are limited")));
}

#[test]
fn too_few_files_are_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("prlimit");
    command
        .arg("--nofile=100")
        .arg("--")
        .arg(Binary::NatsStreamingServer.path());
    command.args(["-p", "-1", "-a", "127.0.0.1", "-store", "file", "-dir"]);
    let Err(log) = Server::spawn(command.arg(directory.path())) else {
        panic!("it starts");
    };
    let said = "Failed to start: the system allows 100 open files (ulimit -n), which is too few";
    assert!(log.iter().any(|line| line.contains(said)), "{log:#?}");
}
