//! The log as its readers see it (`streaming-protocol.md` §9.1, `nats-core.md` §5.7).

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::requests::{durable, publish, queue};
use crate::support::{Binary, PATIENCE, Server};
use rustix::process::{Pid, Signal, kill_process};
use seaway_bench::stan::{Session, subscription};

/// A time of the log without its digits.
const TIME: &str = "0000/00/00 00:00:00.000000";

#[test]
fn every_line_has_process_time_and_level() {
    // §9.1.
    let server = Server::in_memory(&["-SDV", "-DV"]);
    let pid = server.pid();
    server.session("me").publish("foo", b"x").unwrap();
    let (_, log) = server.signal_and_wait(Signal::INT);
    let mut levels = std::collections::BTreeSet::new();
    for line in &log {
        let rest = line
            .strip_prefix(&format!("[{pid}] "))
            .unwrap_or_else(|| panic!("{line}"));
        let (time, rest) = rest.split_at(TIME.len());
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, TIME, "{line}");
        let level = rest.strip_prefix(" [").and_then(|rest| rest.split_once("] ")).unwrap();
        levels.insert(level.0.to_owned());
    }
    assert_eq!(levels.into_iter().collect::<Vec<_>>(), ["DBG", "INF", "TRC"]);
    assert!(!log.concat().contains('\x1b'), "colours are for terminals");
}

#[test]
fn subscriptions_are_told_of_by_verb_and_kind() {
    // §9.2, §13.8 TraceSubCreateCloseUnsubscribeRequests.
    let server = Server::in_memory(&["-SD"]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 1);
    let plain = session.subscribe(subscription("foo")).unwrap();
    session.close_subscription(&plain).unwrap();
    let plain = session.subscribe(subscription("foo")).unwrap();
    session.unsubscribe(&plain).unwrap();
    let named = session.subscribe(durable(subscription("foo"))).unwrap();
    session.close_subscription(&named).unwrap();
    let named = session.subscribe(durable(subscription("foo"))).unwrap();
    session.unsubscribe(&named).unwrap();
    for request in [queue(subscription("foo")), queue(durable(subscription("foo")))] {
        let first = session.subscribe(request.clone()).unwrap();
        let second = session.subscribe(request.clone()).unwrap();
        session.close_subscription(&first).unwrap();
        session.close_subscription(&second).unwrap();
        let again = session.subscribe(request).unwrap();
        session.unsubscribe(&again).unwrap();
    }
    let (_, log) = server.signal_and_wait(Signal::INT);
    let told: Vec<&str> = log
        .iter()
        .filter_map(|line| line.split_once("[DBG] STREAM: [Client:me] "))
        .map(|(_, text)| text)
        .filter(|text| text.contains("subscription, subject=foo, inbox=_INBOX."))
        .map(|text| text.split_once(" subscription").unwrap().0)
        .collect();
    assert_eq!(
        told,
        [
            "Started new",
            "Removed",
            "Started new",
            "Removed",
            "Started new durable",
            "Suspended durable",
            "Resumed durable",
            "Removed durable",
            "Started new queue",
            "Added member to queue",
            "Removed member from queue",
            "Removed queue",
            "Started new queue",
            "Removed queue",
            "Started new durable queue",
            "Added member to durable queue",
            "Removed member from durable queue",
            "Suspended durable queue",
            "Resumed durable queue",
            "Removed durable queue",
        ]
    );
    let text = log.join("\n");
    for part in [
        "STREAM: [Client:me] Connected (Inbox=_INBOX.",
        ", sending new-only, seq=2",
        " queue=q, ",
        " durable=dur, ",
        "queue=dur:q, ",
        " subid=1",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

#[test]
fn messages_are_traced_and_reached_limits_warned_of() {
    // §9.2 "Other notable lines", §6.1.
    let server = Server::in_memory(&["-SV", "-mm", "2"]);
    let mut session = server.session("me");
    let subscribed = session.subscribe(subscription("foo")).unwrap();
    publish(&mut session, "foo", 3);
    let message = session.next_message(PATIENCE).unwrap();
    session.ack(&subscribed, message.sequence);
    session.close().unwrap();
    let (_, log) = server.signal_and_wait(Signal::INT);
    let text = log.join("\n");
    for part in [
        "[INF] STREAM: Channel \"foo\" has been created",
        "[TRC] STREAM: Received message from publisher subj=foo guid=",
        "[TRC] STREAM: Acking Publisher subj=foo guid=",
        "[TRC] STREAM: Delivering msg to subid=1, subject=foo, seq=3",
        "[TRC] STREAM: Processing ack for subid=1, subject=foo, seq=1",
        "[WRN] STREAM: Reached limits for store \"foo\" (msgs=3/2 ",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

/// A server whose standard error belongs to the test.
struct Held {
    child: Child,
    /// None once the reader has gone.
    lines: Option<BufReader<std::process::ChildStderr>>,
    address: String,
}

impl Held {
    /// Starts a server and reads its log until it is ready, and no further.
    fn start(more: &[&str]) -> Held {
        let child = Command::new(Binary::NatsStreamingServer.path())
            .args(["-p", "-1", "-a", "127.0.0.1"])
            .args(more)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut held = Held {
            child,
            lines: None,
            address: String::new(),
        };
        let mut lines = BufReader::new(held.child.stderr.take().unwrap());
        loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the server ended");
            if let Some((_, rest)) = line.split_once("Listening for client connections on ") {
                held.address = rest.trim().to_owned();
            }
            if line.contains("Streaming Server is ready") {
                held.lines = Some(lines);
                return held;
            }
        }
    }

    fn session(&self) -> Session {
        Session::open(&self.address, "test-cluster", "me").unwrap()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_reader_that_stalls_holds_nobody_up() {
    // A pipe takes 64 KB; what does not fit into it and into the queue is counted, and told of once there is room again.
    let mut held = Held::start(&["-SV", "-SD", "-mm", "10", "-T=false"]);
    let mut session = held.session();
    let channel = "a-channel-with-a-long-name.".repeat(9) + "end";
    for _ in 0..40 {
        for _ in 0..500 {
            session.publish_async(&channel, b"x");
        }
        for _ in 0..500 {
            session.next_pub_ack(PATIENCE).unwrap();
        }
    }
    let lines = held.lines.as_mut().unwrap();
    let mut line = String::new();
    let missing = loop {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0);
        if let Some((before, _)) = line.split_once(" lines are missing here") {
            break before.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        }
    };
    assert!(missing > 0);
    // From here on the log is whole again.
    session.publish("later", b"x").unwrap();
    while !line.contains("Channel \"later\" has been created") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0);
    }
}

#[test]
fn a_stalled_reader_does_not_hold_up_the_end() {
    let mut held = Held::start(&["-SV", "-T=false"]);
    let mut session = held.session();
    for _ in 0..1000 {
        session.publish_async(&("long.".repeat(20) + "end"), b"x");
    }
    for _ in 0..1000 {
        session.next_pub_ack(PATIENCE).unwrap();
    }
    kill_process(Pid::from_child(&held.child), Signal::INT).unwrap();
    assert_eq!(held.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_does_not_matter() {
    // nats-core.md §5.6: a broken pipe never ends the process.
    let mut held = Held::start(&["-SV"]);
    held.lines = None;
    let mut session = held.session();
    for _ in 0..100 {
        session.publish("foo", b"x").unwrap();
    }
    kill_process(Pid::from_child(&held.child), Signal::TERM).unwrap();
    assert_eq!(held.child.wait().unwrap().code(), Some(143));
}

#[test]
fn an_idle_server_sleeps() {
    // Nothing in the process may tick; a switch of a thread tells that it was awake.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_files(folder.path(), &[]);
    let mut session = server.session("me");
    session.subscribe(durable(subscription("foo"))).unwrap();
    session.publish("foo", b"x").unwrap();
    session.next_message(PATIENCE).unwrap();
    let switches = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        tasks
            .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default())
            .flat_map(|status| {
                let lines = status
                    .lines()
                    .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                lines
                    .map(|count| count.trim().parse::<u64>().unwrap())
                    .collect::<Vec<_>>()
            })
            .sum()
    };
    // What the last message left behind (an ack to be written down, a segment to be prepared) ends some time.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let before = switches();
        std::thread::park_timeout(Duration::from_millis(700));
        let awake = switches() - before;
        if awake <= 2 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "still {awake} switches in 700 ms");
    }
}

#[test]
fn lines_go_to_a_remote_system_log() {
    // §7.3 -r, -syslog_name.
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("udp://{}", daemon.local_addr().unwrap());
    let mut command = Command::new(Binary::NatsStreamingServer.path());
    command.args(["-p", "-1", "-r", &url, "-syslog_name", "orders"]);
    let server = Server::begin(&mut command);
    let mut buffer = [0; 64 * 1024];
    loop {
        let length = daemon.recv(&mut buffer).unwrap();
        let line = std::str::from_utf8(&buffer[..length]).unwrap();
        // Facility daemon, severity notice.
        assert!(line.starts_with("<29>"), "{line}");
        if line.ends_with(&format!(
            "orders[{}]: STREAM: Streaming Server is ready\n",
            server.pid()
        )) {
            break;
        }
    }
    let (status, log) = server.signal_and_wait(Signal::INT);
    assert_eq!((status.code(), log.len()), (Some(0), 0), "{log:?}");
}

#[test]
fn a_log_file_that_takes_nothing_is_told_of_on_the_standard_error_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(Binary::Seaway.path());
    command.args(["serve", "-store", "memory", "-a", "127.0.0.1", "-p", "-1", "-m", "-1"]);
    command
        .args(["-log", "/dev/full", "-ports_file_dir"])
        .arg(folder.path());
    let mut server = Server::begin(&mut command);
    let told = server
        .wait_for_line("cannot be written to /dev/full")
        .expect("it is told of");
    assert!(
        told.contains("[ERR]") && told.contains("seaway_log_lines_lost_total"),
        "{told}"
    );
    let ports = folder.path().join(format!("seaway_{}.ports", server.pid()));
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        match std::fs::read_to_string(&ports) {
            Ok(text) if text.ends_with('}') || text.ends_with("}\n") => break text,
            _ => assert!(Instant::now() < deadline, "the server is never ready"),
        }
        std::thread::yield_now();
    };
    let (_, monitoring) = text.split_once("http://").unwrap();
    server.monitoring = monitoring.split('"').next().map(str::to_owned);
    let (_, metrics) = server.get("/metrics");
    let lost = metrics
        .lines()
        .find_map(|line| line.strip_prefix("seaway_log_lines_lost_total "));
    let lost: u64 = lost.unwrap().parse().unwrap();
    assert!(lost > 5, "{lost}");
    let (_, log) = server.signal_and_wait(Signal::INT);
    assert_eq!(log, [told]);
}
