//! What this server was given leaves it again: as a data directory of NATS Streaming (`stores-and-clustering.md` §1.3, §3), and as lines of
//! JSON (`docs/command-line.md`).
//!
//! `NATS_STREAMING_SERVER=PATH` names a NATS Streaming server 0.25.6, which then has to start on such a directory, too.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::support::group::session;
use crate::support::requests::{all, durable, firsts, in_flight, make_durable, publish, queue, take, wait_for_bounds};
use crate::support::shell::Shell;
use crate::support::{Server, files};
use rustix::process::Signal;
use seaway_bench::stan::Session;
use seaway_bench::wire::Connection;
use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{PubAck, PubMsg};
use serde_json::{Value, json};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A store of a server that has stopped: `foo` with five messages, of which the durable of `me` holds the third and the fifth; `bar` with
/// four, of which the durable queue group holds all but the first; `gone` with nothing left of its three; and a client that was there.
fn store(directory: &Path) {
    let server = Server::with_files(directory, &["-max_age", "100ms"]);
    publish(&mut server.session("me"), "gone", 3);
    wait_for_bounds(&server, "gone", (0, 4, 3));
    server.signal_and_wait(Signal::TERM);
    let server = Server::with_files(directory, &[]);
    let mut me = server.session("me");
    publish(&mut me, "foo", 5);
    let subscribed = me.subscribe(durable(all("foo"))).unwrap();
    assert_eq!(take(&mut me, 5), firsts(1..=5));
    for sequence in [1, 2, 4] {
        me.ack(&subscribed, sequence);
    }
    publish(&mut me, "bar", 4);
    let member = me.subscribe(durable(queue(all("bar")))).unwrap();
    assert_eq!(take(&mut me, 4), firsts(1..=4));
    me.ack(&member, 1);
    make_durable(&mut me);
    me.close_subscription(&subscribed).unwrap();
    me.close_subscription(&member).unwrap();
    me.close().unwrap();
    let mut they = server.session("they");
    they.subscribe(all("elsewhere")).unwrap();
    server.signal_and_wait(Signal::TERM);
}

/// Everybody goes on where he was, at whatever server this is.
fn go_on(address: &str) {
    let mut me = session(address, "me");
    publish(&mut me, "foo", 1);
    me.subscribe(durable(all("foo"))).unwrap();
    let mut received = take(&mut me, 3);
    received.sort_unstable();
    let sequences: Vec<u64> = received.iter().map(|(sequence, _)| *sequence).collect();
    let redelivered: Vec<bool> = received.iter().map(|(_, count)| *count > 0).collect();
    assert_eq!((sequences, redelivered), (vec![3, 5, 6], vec![true, true, false]));
    let mut member = session(address, "member");
    member.subscribe(durable(queue(all("bar")))).unwrap();
    let mut received: Vec<u64> = take(&mut member, 3).iter().map(|(sequence, _)| *sequence).collect();
    received.sort_unstable();
    assert_eq!(received, [2, 3, 4]);
    // The last sequence is kept, by a message without payload.
    publish(&mut me, "gone", 1);
    let mut they = session(address, "they");
    they.subscribe(all("gone")).unwrap();
    assert_eq!(take(&mut they, 2), firsts(3..=4));
}

/// A NATS Streaming server on a directory.
struct Original {
    child: Child,
    address: String,
}

impl Original {
    /// None, loudly, when no binary is named.
    fn start(directory: &Path) -> Option<Original> {
        let Some(binary) = std::env::var_os("NATS_STREAMING_SERVER") else {
            // Past the test harness, which keeps what passing tests print to itself.
            let text = b"\n*** SKIPPED: NATS_STREAMING_SERVER names no NATS Streaming server: nothing was started on an export ***\n";
            std::io::stderr().write_all(text).unwrap();
            return None;
        };
        // Its own choice of a port is told in a log line only.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(binary)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-store", "file", "-dir"])
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        let deadline = std::time::Instant::now() + crate::support::PATIENCE;
        while Connection::open(&address).is_err() {
            assert!(std::time::Instant::now() < deadline, "it does not start");
            thread::yield_now();
        }
        Some(Original { child, address })
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn everybody_goes_on_where_he_was_at_nats_streaming_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    store(&path("store"));
    let shell = Shell::at("");
    let export = ["export", "--format", "nats-streaming", "--dir"];
    let run = |more: &[&str], code| shell.run(&[&export[..], more].concat()).expect(code);
    let (stored, new) = (path("store"), path("new"));
    let before = files(&stored);
    let note = "note: channel gone: message 3: all messages are gone";
    let said = run(&[text(&stored), "--check"], 0);
    assert!(
        said.stdout.contains(note) && said.stdout.contains("Nothing was changed"),
        "{said:?}"
    );
    let said = run(&[text(&stored), text(&new)], 0);
    assert!(said.stderr.contains(note) && said.stdout.contains(note), "{said:?}");
    assert_eq!(files(&stored), before);
    assert!(run(&[text(&stored), text(&new)], 1).stderr.contains("is not empty"));
    let document = &run(&[text(&stored), text(&path("other")), "--json"], 0).json()[0];
    let counted = |key: &str| document[key].as_u64().unwrap();
    assert_eq!(
        ["clients", "channels", "messages", "filled", "subscriptions", "pending"].map(counted),
        // A client that is connected: what it held of `elsewhere`, where two messages are, awaits its acks.
        [1, 4, 12, 1, 3, 7],
        "{document}"
    );
    if let Some(original) = Original::start(&path("other")) {
        go_on(&original.address);
    }
    // Taken over again.
    shell
        .run(&["adopt", "--to", text(&path("again")), text(&new)])
        .expect(0);
    let server = Server::with_files(&path("again"), &[]);
    let said = run(&[text(&path("again")), text(&path("third"))], 1);
    assert!(said.stderr.contains("a server uses"), "{said:?}");
    assert!(!path("third").exists() && !path("third.exporting").exists());
    go_on(&server.address);
}

/// A server's channels as lines, and as those of its store when it has stopped.
#[test]
fn messages_leave_as_lines_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let server = Server::with_files(&path("store"), &[]);
    let mut shell = Shell::at(&server.address);
    let mut me = server.session("me");
    // What is stored at once has one time.
    for part in 0..10 {
        for number in 1..=250 {
            me.publish_async("orders", format!("{}", part * 250 + number).as_bytes());
        }
        for _ in 1..=250 {
            assert_eq!(me.next_pub_ack(crate::support::PATIENCE).unwrap().error, "");
        }
    }
    publish_odd(&mut me);
    let run = |shell: &Shell, words: &[&str]| shell.run(words).expect(0);
    let lines = run(&shell, &["export", "orders", "orders.*"]).json();
    assert_eq!(lines.len(), 2502);
    let sequences: Vec<u64> = lines.iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=2500).chain(1..=2).collect::<Vec<u64>>());
    assert_eq!(
        lines[1],
        json!({ "channel": "orders", "sequence": 2, "timestamp": lines[1]["timestamp"], "payload": "2" })
    );
    assert_eq!(lines[2500]["payload_base64"], "/wA=");
    assert_eq!(
        (&lines[2501]["payload"], &lines[2501]["reply"]),
        (&json!(""), &json!("answer.hière"))
    );
    // A part of it, by sequence and by time.
    let part = run(&shell, &["export", "orders", "--from", "1200", "--to", "2300"]).json();
    assert_eq!(part, lines[1199..2300]);
    let moment = |line: &Value| line["timestamp"].as_str().unwrap().to_owned();
    let part = run(
        &shell,
        &[
            "export",
            "orders",
            "--at",
            &moment(&lines[700]),
            "--until",
            &moment(&lines[900]),
        ],
    )
    .json();
    // With all that have the time of the first, and of the last.
    let has_time_of = |other: usize| {
        let time = &lines[other]["timestamp"];
        move |line: &Value| line["timestamp"] == *time
    };
    let first = lines[..2500].iter().position(has_time_of(700)).unwrap();
    let last = lines[..2500].iter().rposition(has_time_of(900)).unwrap();
    assert!(first > 0 && last < 2499, "{first} to {last}");
    assert_eq!(part, lines[first..=last]);
    assert_eq!(run(&shell, &["export", "orders", "--since", "1h"]).json().len(), 2500);
    // Into files, also compressed; what is there is not overwritten.
    for name in ["all.jsonl", "all.jsonl.gz", "all.jsonl.zst"] {
        run(&shell, &["export", ">", "-o", text(&path(name))]);
    }
    let said = shell.run(&["export", ">", "-o", text(&path("all.jsonl"))]).expect(1);
    assert!(said.stderr.contains("is there already"), "{said:?}");
    // Published again, each to its channel and all to one.
    for name in ["all.jsonl.gz", "all.jsonl.zst"] {
        let said = run(&shell, &["import", text(&path(name)), "--channel", "copy"]);
        assert!(
            said.stdout.contains("Published 2,502 messages to 1 channel"),
            "{said:?}"
        );
        assert!(said.stderr.contains("1 message had reply subjects"), "{said:?}");
    }
    let copies = run(&shell, &["export", "copy", "--from", "2503"]).json();
    let payloads = |lines: &[Value]| -> Vec<Value> {
        lines
            .iter()
            .map(|line| json!([line["payload"], line["payload_base64"]]))
            .collect()
    };
    assert_eq!(payloads(&copies), payloads(&lines));
    assert_eq!(copies[0]["sequence"], 2503);
    let misunderstood = shell.run(&["export", "orders", "--check"]).expect(2);
    assert!(
        misunderstood
            .stderr
            .contains("--check belongs to --format nats-streaming")
    );
    let missing = shell.run(&["export", "nothing"]).expect(3);
    assert!(missing.stderr.contains("nothing"), "{missing:?}");
    // The same of the store at rest.
    drop(me);
    server.signal_and_wait(Signal::TERM);
    shell.server = "127.0.0.1:1".to_owned();
    let stored = path("store");
    let at_rest = ["export", "--dir", text(&stored)];
    let run_at_rest = |more: &[&str]| shell.run(&[&at_rest[..], more].concat());
    assert_eq!(run_at_rest(&["orders", "orders.*"]).expect(0).json(), lines);
    let part = run_at_rest(&["orders", "--at", &moment(&lines[700]), "--until", &moment(&lines[900])]);
    assert_eq!(part.expect(0).json(), lines[first..=last]);
    assert!(
        run_at_rest(&["nothing"])
            .expect(3)
            .stderr
            .contains("no channel is called nothing")
    );
    // A new store, with the old sequences and times; once more it is the same.
    let (file, made) = (path("all.jsonl.zst"), path("made"));
    let import = [
        "import",
        text(&file),
        "--dir",
        text(&made),
        "--cluster-id",
        "test-cluster",
    ];
    shell.run(&import).expect(0);
    assert!(shell.run(&import).expect(1).stderr.contains("is not empty"));
    let again = shell.run(&["export", "--dir", text(&made), ">"]).expect(0);
    assert_eq!(again.stdout, std::fs::read_to_string(path("all.jsonl")).unwrap());
    let server = Server::with_files(&made, &[]);
    let mut me = server.session("me");
    me.subscribe(in_flight(all("orders"), 2500)).unwrap();
    assert_eq!(take(&mut me, 2500), firsts(1..=2500));
}

/// A payload that is no text, and one that is empty, with a reply subject.
fn publish_odd(me: &mut Session) {
    me.publish("orders.odd", b"\xff\0").unwrap();
    let message = PubMsg {
        client_id: "me".into(),
        conn_id: me.connection_id.clone().into(),
        guid: "1".into(),
        subject: "orders.odd".into(),
        reply: "answer.hière".into(),
        ..PubMsg::default()
    };
    let subject = format!("{}.orders.odd", String::from_utf8_lossy(&me.response.pub_prefix));
    let answer = me.request(&subject, &message.encode_to_vec()).unwrap();
    assert_eq!(PubAck::decode(&answer[..]).unwrap().error, "");
}

/// What cannot be imported is told with its line, and leaves nothing.
#[test]
fn a_line_that_is_no_message_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let server = Server::in_memory(&[]);
    let shell = Shell::at(&server.address);
    let good = r#"{"channel":"a","sequence":1,"timestamp":"2026-01-31T18:30:00Z","payload":"x"}"#;
    for (bad, words) in [
        ("{", "line 2"),
        (r#"{"channel":"a","sequence":2}"#, "line 2 of"),
        (r#"{"channel":"a","sequence":2,"payload_base64":"!"}"#, "no base64"),
        (
            r#"{"channel":"a","sequence":2,"timestamp":"yesterday","payload":""}"#,
            "is no time",
        ),
    ] {
        let file = shell.file("bad.jsonl", &format!("{good}\n{bad}\n"));
        let said = shell.run(&["import", &file]).expect(1);
        assert!(
            said.stderr.contains(words) && said.stderr.contains("1 message before it"),
            "{said:?}"
        );
        let store = ["--dir", text(&path("store")), "--cluster-id", "c"].map(str::to_owned);
        let words_of_store: Vec<&str> = store.iter().map(String::as_str).collect();
        let said = shell.run(&[&["import", &file][..], &words_of_store].concat()).expect(1);
        assert!(said.stderr.contains(words), "{said:?}");
    }
    for (more, words) in [
        (r#"{"channel":"a","sequence":2,"payload":""}"#, "no timestamp"),
        (
            r#"{"channel":"a","sequence":1,"timestamp":"2026-01-31T18:30:00Z","payload":""}"#,
            "behind 1",
        ),
        (
            r#"{"channel":"a..b","sequence":1,"timestamp":"2026-01-31T18:30:00Z","payload":""}"#,
            "no name of a channel",
        ),
        (
            r#"{"channel":"A","sequence":1,"timestamp":"2026-01-31T18:30:00Z","payload":""}"#,
            "by case only",
        ),
    ] {
        let file = shell.file("odd.jsonl", &format!("{good}\n{more}\n"));
        let said = shell.run(&["import", &file, "--dir", text(&path("store")), "--cluster-id", "c"]);
        assert!(said.code == Some(1) && said.stderr.contains(words), "{said:?}");
    }
    let left = files(&path("store"));
    assert!(left.iter().all(|(path, _)| path.ends_with(".rootdir.lck")), "{left:?}");
    // From the standard input, at a line.
    let input = format!("nonsense\n{good}\n").into_bytes();
    let said = shell
        .run_with_input(&["import", "-", "--from-line", "2", "--json"], input)
        .expect(0);
    assert_eq!(
        said.json()[0],
        json!({ "acknowledged": 1, "channels": 1, "next_line": null })
    );
}
