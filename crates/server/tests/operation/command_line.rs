//! The command lines of both binaries (`streaming-protocol.md` §7).

use std::time::Duration;

use crate::support::{Binary, PATIENCE, Server, files, run};
use rustix::process::Signal;

#[test]
fn the_tutorials_command_line_works() {
    // Exactly as users of the original have it in their scripts, but for the ports.
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let path = data.to_str().unwrap();
    let arguments = [
        "--store",
        "file",
        "--dir",
        path,
        "--max_msgs",
        "0",
        "--max_bytes",
        "0",
        "-p",
        "-1",
    ];
    let server = Server::start(Binary::NatsStreamingServer, &arguments).unwrap();
    let log = server.log.join("\n");
    assert!(log.contains("STREAM: Message store is FILE"), "{log}");
    assert!(log.contains("STREAM:   Messages     :     unlimited\n"), "{log}");
    assert!(server.monitoring.is_none(), "§7.3: monitoring is off by default");
    server.session("client").publish("foo", b"bar").unwrap();
    assert!(!files(&data).is_empty());
}

#[test]
fn flags_take_one_or_two_dashes_and_either_form_of_value() {
    // §7.1.
    for arguments in [
        ["-p=-1", "--cid=mine"].as_slice(),
        &["--port", "-1", "-cluster_id", "mine"],
    ] {
        let server = Server::start(Binary::NatsStreamingServer, arguments).unwrap();
        assert!(
            server
                .log
                .iter()
                .any(|line| line.contains("Starting nats-streaming-server[mine] version"))
        );
    }
}

#[test]
fn the_log_carries_the_lines_scripts_look_for() {
    // §9.2.
    let server = Server::in_memory(&[]);
    let log = server.log.join("\n");
    for text in [
        "[INF] STREAM: Starting nats-streaming-server[test-cluster] version ",
        "STREAM: ServerID: ",
        "STREAM: Recovering the state...",
        "STREAM: No recovered state",
        "STREAM: Message store is MEMORY",
        "STREAM: ---------- Store Limits ----------",
        "STREAM: Channels:                  100 *",
        "STREAM: Streaming Server is ready",
        "[INF] Starting nats-server",
        "[INF] Listening for client connections on 127.0.0.1:",
    ] {
        assert!(log.contains(text), "{text:?} is missing in\n{log}");
    }
}

#[test]
fn the_end_follows_the_signal() {
    // §7.4, §7.7.
    let (status, log) = Server::in_memory(&[]).signal_and_wait(Signal::INT);
    assert_eq!(status.code(), Some(0));
    assert!(
        log.iter().any(|line| line.contains("STREAM: Shutting down.")),
        "{log:#?}"
    );
    let (status, _) = Server::in_memory(&[]).signal_and_wait(Signal::TERM);
    assert_eq!(status.code(), Some(143));
}

#[test]
fn usage_and_version_go_to_standard_output() {
    // §7.4.
    let directory = tempfile::tempdir().unwrap();
    let (status, stdout, _) = run(Binary::NatsStreamingServer, &["-v"], directory.path());
    assert_eq!(status.code(), Some(0));
    assert_eq!(stdout, "nats-streaming-server version 0.25.6, nats-server: v2.9.24\n");
    let (status, stdout, _) = run(Binary::NatsStreamingServer, &["--help"], directory.path());
    assert_eq!(status.code(), Some(0));
    assert!(stdout.contains("-max_msgs"), "{stdout}");
    let (status, stdout, stderr) = run(Binary::NatsStreamingServer, &["-nonsense"], directory.path());
    assert_eq!(status.code(), Some(0), "§14 quirk 17");
    assert!(stderr.contains("flag provided but not defined: -nonsense"), "{stderr}");
    assert!(stdout.contains("-max_msgs"));
    let (status, _, stderr) = run(Binary::NatsStreamingServer, &["nonsense"], directory.path());
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains(r#"unrecognized command: "nonsense""#), "{stderr}");
}

#[test]
fn flags_that_cannot_be_honoured_are_refused_or_named() {
    let directory = tempfile::tempdir().unwrap();
    let (status, _, stderr) = run(Binary::NatsStreamingServer, &["-clustered"], directory.path());
    assert_ne!(status.code(), Some(0), "a mode that is not there is refused: {stderr}");
    assert!(stderr.contains("clustered"), "{stderr}");
    let server = Server::in_memory(&["-file_slice_max_msgs", "10", "-io_batch_size", "7"]);
    for flag in ["file_slice_max_msgs", "io_batch_size"] {
        let lines: Vec<_> = server.log.iter().filter(|line| line.contains(flag)).collect();
        assert_eq!(lines.len(), 1, "{flag} is said once to have no effect: {lines:?}");
    }
}

#[test]
fn an_unsynced_store_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-file_sync=false"]);
    assert!(
        server
            .log
            .iter()
            .any(|line| line.contains("[WRN]") && line.contains("file_sync")),
        "{:#?}",
        server.log
    );
    server.session("client").publish("foo", b"bar").unwrap();
}

#[test]
fn seaway_alone_is_ready_for_work_with_a_durable_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seaway-data");
    let path = path.to_str().unwrap();
    // The defaults but for the ports, which tests never fix.
    for arguments in [
        ["-p", "-1", "-m", "-1", "-dir", path].as_slice(),
        &["serve", "-p", "-1", "-m", "-1", "-dir", path],
    ] {
        let server = Server::start(Binary::Seaway, arguments).unwrap();
        let log = server.log.join("\n");
        assert!(log.contains("STREAM: Message store is FILE"), "{log}");
        assert!(
            server.address.starts_with("127.0.0.1:"),
            "loopback unless told otherwise"
        );
        assert!(log.to_lowercase().contains("authentication is off"), "{log}");
        assert_eq!(server.get("/healthz").0, 200);
    }
}

#[test]
fn files_asked_for_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let mut server = Server::in_memory(&["-P", pid_file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), server.pid().to_string());
    assert!(server.wait_for_line("ready").is_some());
    let log_file = directory.path().join("log");
    // With a log file nothing comes on stderr: readiness is seen in the file.
    let child = std::process::Command::new(Binary::NatsStreamingServer.path())
        .args(["-p", "-1", "-l", log_file.to_str().unwrap()])
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&log_file)
        .unwrap_or_default()
        .contains("Streaming Server is ready")
    {
        assert!(std::time::Instant::now() < deadline, "no readiness in the log file");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let _ = child.0.kill();
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
