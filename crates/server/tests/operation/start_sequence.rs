//! The start, step by step (`streaming-protocol.md` §9.2 to §9.4, §13.8).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Binary, PATIENCE, Server, files, run};
use rustix::process::{Pid, Signal, kill_process};
use seaway_bench::stan::{Session, token};
use seaway_bench::wire::{Connection, Frame};
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::{CloseRequest, CloseResponse, ConnectRequest, ConnectResponse};

/// Whether all texts occur, each in a line after the one before.
fn assert_in_order(log: &[String], texts: &[&str]) {
    let mut lines = log.iter();
    for text in texts {
        assert!(
            lines.any(|line| line.contains(text)),
            "{text:?} is missing or too early in {log:#?}"
        );
    }
}

#[test]
fn the_start_is_told_in_the_originals_order() {
    // §9.2; the broker says that it is ready when clients are accepted, which is after the recovery here.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_files(folder.path(), &["-cid", "mine", "-SD", "-mc", "7"]);
    let location = format!("STREAM: Store location: {}", folder.path().display());
    assert_in_order(
        &server.log,
        &[
            "[INF] STREAM: Starting nats-streaming-server[mine] version 0.25.6",
            "[INF] STREAM: ServerID: ",
            "[INF] STREAM: Git commit: [",
            "[INF] Starting nats-server",
            "[INF]   Version:  2.9.24",
            "[INF]   Git:      [",
            "[INF]   Name:     ",
            "[INF]   ID:       ",
            "[INF] Starting http monitor on 127.0.0.1:",
            "[INF] Listening for client connections on 127.0.0.1:",
            "[INF] STREAM: Recovering the state...",
            "[INF] STREAM: No recovered state",
            "[DBG] STREAM: Discover subject:",
            "[DBG] STREAM: Publish subject:",
            "[DBG] STREAM: Subscribe subject:",
            "[DBG] STREAM: Subscription Close subject:",
            "[DBG] STREAM: Unsubscribe subject:",
            "[DBG] STREAM: Close subject:",
            "[INF] STREAM: Message store is FILE",
            &location,
            "[INF] STREAM: ---------- Store Limits ----------",
            "[INF] STREAM: Channels:                    7",
            "[INF] STREAM: --------- Channels Limits --------",
            "[INF] STREAM:   Subscriptions:          1000 *",
            "[INF] STREAM: ----------------------------------",
            "[INF] STREAM: Streaming Server is ready",
        ],
    );
    assert!(server.log.last().unwrap().ends_with("Streaming Server is ready"));
    let id = server
        .log
        .iter()
        .find_map(|line| line.split_once("ServerID: "))
        .unwrap()
        .1;
    assert_eq!(id.len(), 22, "{id}");
    // Another start finds what was there.
    Session::open(&server.address, "mine", "me")
        .unwrap()
        .publish("foo", b"x")
        .unwrap();
    server.kill();
    let server = Server::with_files(folder.path(), &["-cid", "mine"]);
    assert_in_order(
        &server.log,
        &[
            "Recovering the state...",
            "Recovered 1 channel(s)",
            "Message store is FILE",
        ],
    );
}

#[test]
fn channels_with_limits_of_their_own_are_listed() {
    // §9.2 step 13, with the inheritance of §6.2.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("streaming.conf");
    let text = "streaming { store_limits { max_bytes: 10MB, channels {
        \"foo.bar\": { max_msgs: 5 }
        \"foo.*\": { max_msgs: 100, max_age: \"24h\" }
    } } }";
    std::fs::write(&file, text).unwrap();
    let server = Server::in_memory(&["-sc", file.to_str().unwrap()]);
    assert_in_order(
        &server.log,
        &[
            "STREAM:   Messages     :       1000000 *",
            "STREAM:   Bytes        :      10.00 MB",
            "STREAM: -------- List of Channels --------",
            "STREAM: foo.*",
            "STREAM:  |-> Messages               100",
            "STREAM:  |-> Age                24h0m0s",
            "STREAM:  foo.bar",
            "STREAM:   |-> Messages                 5",
            "STREAM: ----------------------------------",
        ],
    );
}

#[test]
fn readiness_means_that_clients_are_served_at_once() {
    // §13.8 StreamingServerReadyLog.
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let server = Server::with_files(folder.path(), &[]);
        assert_eq!(server.get("/healthz").0, 200);
        let client = token();
        server.session(&client).publish("foo", b"x").unwrap();
    }
}

/// Every file of a store and its bytes; the lock names its holder and does not belong to the state.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder)
        .into_iter()
        .filter(|(path, _)| path.file_name().unwrap() != "journal.lock")
        .map(|(path, _)| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_store_of_another_cluster_is_refused_and_left_as_it_is() {
    // §9.4, §3, §13.8 PersistentStoreChangedClusterID.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_files(folder.path(), &[]);
    server.session("me").publish("foo", b"x").unwrap();
    server.kill();
    let before = contents(folder.path());
    let path = folder.path().to_str().unwrap();
    let arguments = ["-p", "-1", "-st", "file", "-dir", path, "-cid", "other"];
    let (status, _, log) = run(Binary::NatsStreamingServer, &arguments, folder.path());
    assert_eq!(status.code(), Some(1));
    assert!(
        log.ends_with(
            "[FTL] STREAM: Failed to start: cluster ID \"other\" does not match recovered value of \"test-cluster\"\n"
        ),
        "{log}"
    );
    let after = contents(folder.path());
    let names = |contents: &BTreeMap<PathBuf, Vec<u8>>| contents.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    assert!(after == before, "the store was changed");
    Server::with_files(folder.path(), &[]);
}

#[test]
fn another_servers_question_is_answered_and_performed() {
    // §9.3, §14 quirk 16: the ID of the cluster is a client's like any other.
    let server = Server::in_memory(&[]);
    let mut connection = Connection::open(&server.address).unwrap();
    connection.subscribe("_INBOX.answers");
    let request = ConnectRequest {
        client_id: "test-cluster".into(),
        heartbeat_inbox: "_INBOX.heartbeats".into(),
        ..ConnectRequest::default()
    };
    let mut ask = |subject: &str, request: Vec<u8>| {
        connection.publish(subject, "_INBOX.answers", &request);
        connection.flush().unwrap();
        loop {
            if let Frame::Message { payload, .. } = connection.next_frame(PATIENCE).unwrap() {
                return payload;
            }
        }
    };
    let answer = ask("_STAN.discover.test-cluster", request.encode_to_vec());
    let response = ConnectResponse::decode(answer.as_slice()).unwrap();
    assert_eq!(response.error.len(), 0, "{response:?}");
    assert!(server.get("/streaming/clientsz").1.contains("\"test-cluster\""));
    let close = CloseRequest {
        client_id: "test-cluster".into(),
    };
    let subject = String::from_utf8(response.close_requests.to_vec()).unwrap();
    let answer = ask(&subject, close.encode_to_vec());
    assert_eq!(CloseResponse::decode(answer.as_slice()).unwrap().error.len(), 0);
    let (_, body) = server.get("/streaming/clientsz");
    assert!(body.contains("\"total\": 0"), "{body}");
}

/// A server on a store whose first sync takes long, so that it spends seconds with its recovery; with its own process id.
/// `None` where there is nothing to slow it down with.
#[allow(clippy::print_stderr, reason = "a test that did not run says so")]
fn slow_start(folder: &Path) -> Option<(Server, Pid)> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no strace to make a recovery slow with");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e"]);
    command.args(["inject=fdatasync,fsync:delay_enter=2500000:when=1"]);
    command.arg(Binary::NatsStreamingServer.path());
    command.args(["-p", "-1", "-m", "-1", "-a", "127.0.0.1", "-store", "file", "-dir"]);
    command.arg(folder);
    let mut server = Server::begin(&mut command);
    let line = server
        .wait_for_line("Recovering the state: ")
        .expect("progress is told");
    server.find_addresses();
    let pid = line.split(['[', ']']).nth(1).unwrap().parse().unwrap();
    Some((server, Pid::from_raw(pid).unwrap()))
}

fn store_with_messages(folder: &Path) {
    let server = Server::with_files(folder, &[]);
    let mut session = server.session("me");
    for channel in ["foo", "bar"] {
        session.publish(channel, b"x").unwrap();
    }
    server.kill();
}

#[test]
fn a_long_recovery_is_told_of_and_may_be_asked_about() {
    // §9.2 step 6, §13.9 MonitorNoPanicOnServerRestart: requests may arrive during the recovery. Clients that come early are served when it has ended.
    let folder = tempfile::tempdir().unwrap();
    store_with_messages(folder.path());
    let Some((mut server, _)) = slow_start(folder.path()) else {
        return;
    };
    let line = server.log.last().unwrap();
    // The tail is synced before it is read.
    assert!(line.ends_with("Recovering the state: looking at the store"), "{line}");
    let address = server.address.clone();
    let early = std::thread::spawn(move || Session::open(&address, "test-cluster", "early").is_ok());
    let (status, body) = server.get("/healthz");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("recovering"), "{body}");
    assert_eq!(server.get("/varz").0, 200);
    for path in [
        "serverz",
        "storez",
        "clientsz",
        "channelsz",
        "channelsz?channel=foo&subs=1",
    ] {
        let (status, body) = server.get(&format!("/streaming/{path}"));
        assert_eq!(status, 500, "{path}: {body}");
        assert!(body.contains("recovering"), "{path}: {body}");
    }
    server.wait_for_line("Streaming Server is ready").unwrap();
    assert_in_order(&server.log, &["Recovering the state: ", "Recovered 2 channel(s)"]);
    assert_eq!(server.get("/healthz").0, 200);
    assert_eq!(server.get("/streaming/channelsz?channel=foo").0, 200);
    assert!(early.join().unwrap());
}

#[test]
fn a_recovery_can_be_interrupted() {
    // §7.7: the signal counts from the beginning, and what it interrupts can be started again.
    let folder = tempfile::tempdir().unwrap();
    store_with_messages(folder.path());
    for (signal, code) in [(Signal::INT, 0), (Signal::TERM, 143)] {
        let Some((server, pid)) = slow_start(folder.path()) else {
            return;
        };
        kill_process(pid, signal).unwrap();
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(code), "{log:#?}");
        assert!(
            log.iter().any(|line| line.ends_with("STREAM: Shutting down.")),
            "{log:#?}"
        );
        assert!(!log.iter().any(|line| line.contains("is ready")), "{log:#?}");
    }
    let server = Server::with_files(folder.path(), &[]);
    assert!(server.log.iter().any(|line| line.contains("Recovered 2 channel(s)")));
}

/// §7.4: refused options are told like any other reason not to start, in the log file too.
#[test]
fn refused_options_are_told_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.log");
    let arguments = ["-store", "nothing", "-l", file.to_str().unwrap()];
    let (status, _, stderr) = crate::support::run(Binary::NatsStreamingServer, &arguments, directory.path());
    assert_eq!(status.code(), Some(1), "{stderr}");
    let log = std::fs::read_to_string(&file).unwrap();
    let said = "[FTL] STREAM: Failed to start: unsupported store type: NOTHING";
    assert!(log.lines().any(|line| line.ends_with(said)), "{log}");
    assert!(stderr.contains("unsupported store type: NOTHING"), "{stderr}");
    let (status, _, stderr) = crate::support::run(Binary::NatsStreamingServer, &arguments[..2], directory.path());
    assert_eq!(status.code(), Some(1));
    assert!(stderr.lines().any(|line| line.ends_with(said)), "{stderr}");
}
