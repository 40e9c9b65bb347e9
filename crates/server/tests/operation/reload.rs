//! SIGHUP and `-signal` (`streaming-protocol.md` §7.7, §13.8; `nats-core.md` §5.6, §5.8, §9.10).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Binary, PATIENCE, Server, run};
use rustix::process::Signal;

/// A server with a configuration file of its own.
struct Configured {
    server: Server,
    file: PathBuf,
}

impl Configured {
    fn start(folder: &Path, text: &str) -> Configured {
        let file = folder.join("broker.conf");
        std::fs::write(&file, text).unwrap();
        let server = Server::in_memory(&["-c", file.to_str().unwrap()]);
        Configured { server, file }
    }

    /// Replaces the file and sends SIGHUP; the line that tells how it went.
    fn reload(&mut self, text: &str, expected: &str) -> String {
        std::fs::write(&self.file, text).unwrap();
        self.server.signal(Signal::HUP);
        self.server.wait_for_line(expected).unwrap_or_else(|| {
            panic!("no {expected:?} in {:#?}", self.server.log);
        })
    }

    fn has(&self, text: &str) -> bool {
        self.server.log.iter().any(|line| line.contains(text))
    }
}

/// A client that names a user, and what the server answers to its first PING.
fn login(server: &Server, user: &str, password: &str) -> (BufReader<TcpStream>, String) {
    let socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("INFO "), "{line}");
    let connect = format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{password}\"}}\r\nPING\r\n");
    reader.get_mut().write_all(connect.as_bytes()).unwrap();
    line.clear();
    reader.read_line(&mut line).unwrap();
    (reader, line.trim().to_owned())
}

#[test]
fn changed_users_and_switches_count_at_once() {
    // §7.7, §13.8 SignalReload; nats-core.md §9.10 row 145.
    let folder = tempfile::tempdir().unwrap();
    let users = |anna: &str| {
        format!(
            "authorization {{ users: [ {{user: anna, password: \"{anna}\"}}, {{user: ben, password: \"stays\"}} ] }}\n"
        )
    };
    let mut configured = Configured::start(folder.path(), &users("first"));
    let (mut anna, answer) = login(&configured.server, "anna", "first");
    assert_eq!(answer, "PONG");
    let (mut ben, answer) = login(&configured.server, "ben", "stays");
    assert_eq!(answer, "PONG");
    configured.reload(
        &format!("debug: true\n{}", users("second")),
        "[INF] Reloaded server configuration",
    );
    assert!(
        configured.has("[INF] Reloaded: debug = true"),
        "{:#?}",
        configured.server.log
    );
    assert!(
        configured.has("[INF] Reloaded: authorization"),
        "{:#?}",
        configured.server.log
    );
    assert!(!configured.has("second"), "secrets are not logged");
    let mut line = String::new();
    anna.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "-ERR 'Authorization Violation'");
    ben.get_mut().write_all(b"PING\r\n").unwrap();
    line.clear();
    ben.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "PONG", "others are kept");
    assert_eq!(
        login(&configured.server, "anna", "first").1,
        "-ERR 'Authorization Violation'"
    );
    assert_eq!(login(&configured.server, "anna", "second").1, "PONG");
}

#[test]
fn what_cannot_be_reloaded_changes_nothing() {
    // §7.7: the old configuration stays; nats-core.md §5.8, §9.10 row 146.
    let folder = tempfile::tempdir().unwrap();
    let mut configured = Configured::start(folder.path(), "server_name: one\n");
    let line = configured.reload("server_name: two\ntrace: true\n", "[ERR] Reload: ");
    assert!(
        line.ends_with("Reload: config reload not supported for server_name: old=one, new=two"),
        "{line}"
    );
    let line = configured.reload("trace: true\nmax_payload: {\n", "broker.conf:");
    assert!(line.contains("[ERR] Reload: "), "{line}");
    // Neither attempt turned the trace on; a third one does.
    configured.server.session("me").publish("foo", b"x").unwrap();
    configured.reload("server_name: one\ntrace: true\n", "Reloaded server configuration");
    assert!(configured.has("[INF] Reloaded: trace = true"));
    assert!(!configured.has("[TRC]"), "{:#?}", configured.server.log);
    configured.server.session("you").publish("foo", b"x").unwrap();
    configured.server.wait_for_line("[TRC]").unwrap();
}

/// §7.7: a key that means nothing is told of at a reload as it is at the start, and once.
#[test]
fn a_misspelt_key_is_told_of_at_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let mut configured = Configured::start(folder.path(), "max_conections: 5\n");
    let line = configured.reload("max_conections: 5\nmax_paylod: 6\n", "Reload: ");
    let told = "broker.conf:2:1: unknown field \"max_paylod\", did you mean \"max_payload\"?";
    let told = format!("[WRN] Reload: {}", folder.path().join(told).display());
    assert!(line.ends_with(&told), "{line}");
}

#[test]
fn options_of_the_streaming_engine_wait_for_the_next_start() {
    // §7.7: a reload concerns the broker only.
    let folder = tempfile::tempdir().unwrap();
    let mut configured = Configured::start(folder.path(), "streaming { sd: false }\n");
    let text = "debug: true\nstreaming { sd: true }\n";
    configured.reload(
        text,
        "[WRN] Reload: options of the streaming engine change with the next start",
    );
    configured
        .server
        .wait_for_line("Reloaded server configuration")
        .unwrap();
    configured.server.session("me").publish("foo", b"x").unwrap();
    let (_, log) = configured.server.signal_and_wait(Signal::INT);
    assert!(!log.iter().any(|line| line.contains("[DBG] STREAM:")), "{log:#?}");
}

#[test]
fn what_a_reload_set_survives_the_reopening_of_the_log() {
    // §13.8 NATSServerConfigReloadFollowedByReopen: the switches, and the limit on the size.
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let wait_for = |path: &Path, text: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !read(path).contains(text) {
            assert!(Instant::now() < deadline, "{text:?} did not come: {}", read(path));
            std::thread::park_timeout(Duration::from_millis(2));
        }
    };
    let mut configured = Configured::start(folder.path(), "debug: false\n");
    let text = format!("trace: true\nlog_file: \"{}\"\nlog_size_limit: 10000\n", log.display());
    std::fs::write(&configured.file, text).unwrap();
    configured.server.signal(Signal::HUP);
    wait_for(&log, "Reloaded server configuration");
    let moved = folder.path().join("moved");
    std::fs::rename(&log, &moved).unwrap();
    configured.server.signal(Signal::USR1);
    wait_for(&log, "[INF] File log re-opened");
    let mut session = configured.server.session("me");
    wait_for(&log, "[TRC]");
    for _ in 0..200 {
        session.publish("foo", b"x").unwrap();
    }
    wait_for(&log, "[INF] Rotated log, backup saved as ");
    assert!(configured.server.wait_for_line("Streaming Server is ready").is_some());
    assert!(
        !configured.has("Reloaded"),
        "the log went into the file: {:#?}",
        configured.server.log
    );
}

#[test]
fn commands_reach_the_process_they_name() {
    // §7.7; nats-core.md §5.6: success is silent and 0.
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let mut server = Server::in_memory(&["-P", pid_file.to_str().unwrap()]);
    let send = |argument: &str| {
        let (status, stdout, stderr) = run(Binary::NatsStreamingServer, &["-signal", argument], folder.path());
        (status.code().unwrap(), stdout, stderr)
    };
    let nothing = (0, String::new(), String::new());
    let pid = server.pid();
    assert_eq!(send(&format!("reopen={}", pid_file.display())), nothing);
    server.wait_for_line("File log re-open ignored").unwrap();
    assert_eq!(send(&format!("reload={pid}")), nothing);
    server.wait_for_line("[ERR] Reload: ").unwrap();
    assert_eq!(send(&format!("ldm={pid}")), nothing);
    for (argument, text) in [
        ("hop".to_owned(), "unknown signal \"hop\""),
        ("quit=me".to_owned(), "invalid pid: me"),
        (
            format!("quit={}", i32::MAX),
            "signal \"quit\" 2147483647: no such process",
        ),
    ] {
        let (code, stdout, stderr) = send(&argument);
        assert_eq!((code, stdout.as_str()), (1, ""), "{argument}");
        assert!(stderr.trim_end().ends_with(text), "{argument}: {stderr}");
    }
    assert_eq!(send(&format!("quit={pid}")), nothing);
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log:#?}");
    for (command, expected) in [("term", Some(143)), ("stop", None)] {
        let server = Server::in_memory(&[]);
        assert_eq!(send(&format!("{command}={}", server.pid())), nothing);
        assert_eq!(server.wait().0.code(), expected, "{command}");
    }
}

#[test]
fn without_a_pid_there_must_be_one_process_only() {
    // §7.7; the command is one that does no harm to servers of others.
    let folder = tempfile::tempdir().unwrap();
    let servers = [Server::in_memory(&[]), Server::in_memory(&[])];
    let (status, _, stderr) = run(Binary::NatsStreamingServer, &["-sl", "ldm"], folder.path());
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("multiple nats-streaming-server processes running:\n"),
        "{stderr}"
    );
    for server in &servers {
        assert!(stderr.lines().any(|line| line == server.pid().to_string()), "{stderr}");
    }
}

/// A route reads no larger messages, so a reload takes over none either; what the server runs with stays.
#[test]
fn what_routes_cannot_carry_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let text = |payload: &str| {
        format!(
            "streaming {{}}\ncluster {{ name: mesh, listen: \"127.0.0.1:-1\" }}\nmax_pending: 100MB\nmax_payload: {payload}\n"
        )
    };
    let mut configured = Configured::start(folder.path(), &text("2MB"));
    let line = configured.reload(&text("70MB"), "[ERR] Reload: ");
    assert!(
        line.contains("max_payload (73400320) cannot be higher than 67108864 in a cluster"),
        "{line}"
    );
    let (_, varz) = configured.server.get("/varz");
    let varz: serde_json::Value = serde_json::from_str(&varz).unwrap();
    assert_eq!(varz["max_payload"], 2 << 20);
}
