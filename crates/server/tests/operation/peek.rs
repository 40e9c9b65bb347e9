//! `read.messages` of the administration service on the real binary: every store, and no trace.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use crate::support::administration::{Asker, Peeked};
use crate::support::faults::Failing;
use crate::support::requests::{all, durable, in_flight, make_durable, publish, take, wait_for_bounds};
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, subscription};
use seaway_bench::wire::{Connection, Frame};
use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::PubMsg;

/// Publishes what names its own sequence.
fn publish_numbers(session: &mut Session, channel: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        session.publish(channel, &payload(number)).unwrap();
    }
}

/// Sizes differ, zero among them.
fn payload(number: u64) -> Vec<u8> {
    format!("{number} ").repeat((number % 7) as usize * 10).into_bytes()
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, Vec<u8>)> {
    range.map(|number| (number, payload(number))).collect()
}

/// Looks in every way at a channel that holds `first..=last`.
fn look_around(server: &Server, channel: &str, first: u64, last: u64) {
    let mut asker = Asker::new(server);
    let check = |peeked: Peeked, expected: std::ops::RangeInclusive<u64>, next: Option<u64>| {
        assert_eq!(peeked.end, (first, last, next));
        assert_eq!(peeked.messages, numbers(expected));
    };
    check(asker.peek(channel, ""), last - 9..=last, None);
    check(asker.peek(channel, r#","count":1"#), last..=last, None);
    check(asker.peek(channel, r#","count":1000"#), first..=last, None);
    check(
        asker.peek(channel, r#","from":1,"count":3"#),
        first..=first + 2,
        Some(first + 3),
    );
    let from = last - 4;
    check(
        asker.peek(channel, &format!(r#","from":{from},"count":5"#)),
        from..=last,
        None,
    );
    check(
        asker.peek(channel, &format!(r#","from":{from},"count":4"#)),
        from..=last - 1,
        Some(last),
    );
    assert_eq!(asker.peek(channel, &format!(r#","from":{}"#, last + 1)).messages, []);
    assert_eq!(asker.peek(channel, r#","from":18446744073709551615"#).messages, []);
    // Bytes bound a look, and one message comes whatever its size.
    let small = asker.peek(channel, r#","from":1,"count":50,"bytes_max":1"#);
    check(small, first..=first, Some(first + 1));
    let (mut read, mut next) = (Vec::new(), Some(1));
    while let Some(from) = next {
        let peeked = asker.peek(channel, &format!(r#","from":{from},"count":40,"bytes_max":900"#));
        next = peeked.end.2;
        read.extend(peeked.messages);
    }
    assert_eq!(read, numbers(first..=last));
}

#[test]
fn the_memory_store() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    publish_numbers(&mut session, "orders", 1..=300);
    look_around(&server, "orders", 1, 300);
}

/// Cold from the disk, hot from memory, and both in one look.
fn look_over_restarts(directory: &Path, more: &[&str]) {
    let server = Server::with_files(directory, more);
    let mut session = server.session("client");
    publish_numbers(&mut session, "orders", 1..=200);
    look_around(&server, "orders", 1, 200);
    server.kill();
    let server = Server::with_files(directory, more);
    look_around(&server, "orders", 1, 200);
    let mut session = server.session("another");
    publish_numbers(&mut session, "orders", 201..=300);
    look_around(&server, "orders", 1, 300);
}

#[test]
fn the_file_store_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    look_over_restarts(directory.path(), &[]);
}

#[test]
fn an_encrypted_store_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    look_over_restarts(directory.path(), &["-encrypt", "-encryption_key", "the key"]);
}

#[test]
fn what_was_trimmed_is_skipped() {
    let directory = tempfile::tempdir().unwrap();
    for more in [&[][..], &["-store", "file", "-dir", directory.path().to_str().unwrap()]] {
        let server = Server::in_memory(&[&["-mm", "50"], more].concat());
        let mut session = server.session("client");
        publish_numbers(&mut session, "orders", 1..=120);
        wait_for_bounds(&server, "orders", (50, 71, 120));
        look_around(&server, "orders", 71, 120);
    }
}

/// While the beginning of a channel is being trimmed, what is read stays in order and without a gap behind its first.
#[test]
fn looks_while_messages_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-mm", "60"]);
    let mut session = server.session("client");
    publish(&mut session, "orders", 100);
    let mut asker = Asker::new(&server);
    let deadline = Instant::now() + PATIENCE;
    let mut last = 0;
    while last < 2000 {
        assert!(Instant::now() < deadline);
        for _ in 0..40 {
            session.publish_async("orders", b"x");
        }
        session.connection.flush().unwrap();
        let peeked = asker.peek("orders", r#","from":1,"count":60"#);
        let sequences: Vec<u64> = peeked.messages.iter().map(|(sequence, _)| *sequence).collect();
        assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
        assert!(sequences.iter().all(|sequence| *sequence <= peeked.end.1));
        last = peeked.end.1;
        for _ in 0..40 {
            session.next_pub_ack(PATIENCE).unwrap();
        }
    }
}

/// What the monitoring says of the streaming server.
fn seen(server: &Server) -> Vec<String> {
    let paths = [
        "/streaming/serverz",
        "/streaming/storez",
        "/streaming/clientsz?subs=1",
        "/streaming/channelsz?subs=1",
        "/metrics",
    ];
    // Times, what this test itself does (the core server counts every question and its answer), and files that are
    // prepared ahead.
    let varying = [
        "\"now\"",
        "\"uptime\"",
        "\"open_fds\"",
        "process_",
        "seaway_received_",
        "seaway_sent_",
        "gnatsd_",
        "age_seconds",
        "unacknowledged_seconds",
        "seaway_journal_disk_bytes",
        "seaway_journal_segments",
    ];
    paths
        .iter()
        .flat_map(|path| server.get(path).1.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| !varying.iter().any(|part| line.contains(part)))
        .collect()
}

#[test]
fn a_look_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("before");
    publish(&mut session, "orders", 100);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("client");
    publish(&mut session, "orders", 20);
    session.subscribe(durable(in_flight(all("orders"), 2))).unwrap();
    take(&mut session, 2);
    session.subscribe(subscription("empty")).unwrap();
    let mut asker = Asker::new(&server);
    asker.connection.ping(PATIENCE).unwrap();
    // What was sent is on record then, and nothing is left to be written.
    make_durable(&mut session);
    let before = seen(&server);
    for more in ["", r#","from":1,"count":1000"#, r#","from":500"#] {
        asker.peek("orders", more);
    }
    assert_eq!(asker.peek("empty", "").end, (0, 0, None));
    for operation in ["read.messages", "read.channel", "read.durables", "read.why"] {
        assert_eq!(asker.error(operation, r#"{"channel":"unknown"}"#).0, 404);
    }
    for operation in ["read.server", "read.channels", "read.durables", "read.clients"] {
        asker.json(operation, "");
    }
    assert_eq!(seen(&server), before);
}

/// A channel's name may hold what would end a header.
#[test]
fn a_name_cannot_become_a_header() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    let message = PubMsg {
        client_id: "client".into(),
        guid: "g".into(),
        subject: "a\r\nForged: x".into(),
        data: b"one".to_vec().into(),
        conn_id: session.connection_id.clone().into(),
        ..PubMsg::default()
    };
    let subject = format!("{}.x", String::from_utf8_lossy(&session.response.pub_prefix));
    let reply = session.ack_subject.clone();
    session.connection.publish(&subject, &reply, &message.encode_to_vec());
    assert_eq!(session.next_pub_ack(PATIENCE).unwrap().error, "");
    let mut asker = Asker::new(&server);
    let answer = asker.ask("read.messages", r#"{"channel":"a\r\nForged: x"}"#);
    assert_eq!(
        (answer.payload.as_slice(), answer.header("Forged")),
        (&b"one"[..], None)
    );
    assert_eq!(answer.header("Seaway-Channel"), Some("a??Forged: x"));
}

/// Somebody who asks for much and does not read is neither closed nor in the way of others, and gets everything later.
#[test]
fn an_asker_that_does_not_read_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = "max_pending: 2MB\nmax_payload: 512KB\nwrite_deadline: \"20s\"\n";
    let server = Server::configured(directory.path(), configuration, &[]).unwrap();
    let mut session = server.session("client");
    let body = vec![b'x'; 200 * 1024];
    for _ in 0..35 {
        session.publish("large", &body).unwrap();
    }
    let mut slow = Asker::new(&server);
    let request = r#"{"channel":"large","from":1,"count":35,"bytes_max":8388608}"#;
    // A third one of the same connection is too much.
    let replies: Vec<String> = (0..3).map(|_| slow.send("read.messages", request)).collect();
    slow.connection.flush().unwrap();
    let mut other = Asker::new(&server);
    for _ in 0..20 {
        assert_eq!(other.json("read.server", "")["ready"], true);
        assert_eq!(other.peek("large", r#","count":2"#).messages.len(), 2);
    }
    let mut got: HashMap<String, Vec<u64>> = HashMap::new();
    let mut refused = 0;
    let mut ended = 0;
    while ended + refused < replies.len() {
        let (reply, answer) = slow.next_of_any();
        if let Some(sequence) = answer.header("Seaway-Sequence") {
            assert_eq!(answer.payload.len(), body.len());
            got.entry(reply).or_default().push(sequence.parse().unwrap());
        } else if answer.headers.starts_with("NATS/1.0 204 End") {
            assert_eq!(answer.header("Seaway-Next"), None);
            ended += 1;
        } else {
            assert_eq!(answer.error().0, 503);
            refused += 1;
        }
    }
    assert_eq!((ended, refused), (2, 1));
    assert!(got.len() == 2 && got.values().all(|sequences| sequences.iter().copied().eq(1..=35)));
    let (_, varz) = server.get("/varz");
    assert!(varz.contains("\"slow_consumers\": 0,"), "{varz}");
}

/// As many at once as there may be, again and again: each gets what it asked for.
#[test]
fn looks_at_the_same_time_are_not_mixed_up() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    for channel in 0..8 {
        publish_numbers(&mut session, &format!("c{channel}"), 1..=20);
    }
    let mut askers: Vec<Asker> = (0..8).map(|_| Asker::new(&server)).collect();
    for _ in 0..20 {
        let mut replies = Vec::new();
        for (place, asker) in askers.iter_mut().enumerate() {
            let request = format!(r#"{{"channel":"c{place}","from":{},"count":5}}"#, place + 1);
            replies.push(asker.send("read.messages", &request));
            asker.connection.flush().unwrap();
        }
        for (place, (asker, reply)) in askers.iter_mut().zip(replies).enumerate() {
            let first = place as u64 + 1;
            for sequence in first..first + 5 {
                let answer = asker.next(&reply);
                assert_eq!(answer.header("Seaway-Channel"), Some(format!("c{place}").as_str()));
                assert_eq!(answer.payload, payload(sequence));
            }
            assert!(asker.next(&reply).headers.starts_with("NATS/1.0 204 End"));
        }
    }
}

/// Without headers a client still sees payloads, and errors in words.
#[test]
fn a_client_without_headers() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    publish_numbers(&mut session, "orders", 1..=3);
    let mut connection = Connection::open_silent(&server.address).unwrap();
    connection.send(b"CONNECT {\"verbose\":false,\"headers\":false}\r\n");
    connection.subscribe("in");
    let mut next = |subject: &str, body: &[u8]| {
        connection.publish(subject, "in", body);
        let mut all = Vec::new();
        loop {
            match connection.next_frame(PATIENCE).unwrap() {
                Frame::Message {
                    header_bytes, payload, ..
                } => {
                    assert_eq!(header_bytes, 0);
                    all.push(payload.clone());
                    if payload.is_empty() || payload.starts_with(b"{") {
                        return all;
                    }
                }
                Frame::Info(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let subject = "$SEAWAY.api.test-cluster.read.messages";
    assert_eq!(
        next(subject, br#"{"channel":"orders"}"#),
        [payload(1), payload(2), payload(3), Vec::new()]
    );
    assert!(next(subject, br#"{"channel":"none"}"#)[0].starts_with(b"{\"error\":{\"code\":404,"));
}

/// What was written and never synced is not shown, and what was is shown although the store has failed.
#[test]
fn what_is_not_durable_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("client");
    publish_numbers(&mut session, "orders", 1..=20);
    let Some(_failing) = Failing::begin(&server, "fdatasync:error=EIO") else {
        return;
    };
    let mut durable = 20;
    while session.publish("orders", &payload(durable + 1)).is_ok() {
        durable += 1;
        assert!(durable < 1_000, "syncs do not fail");
    }
    let mut asker = Asker::new(&server);
    let peeked = asker.peek("orders", r#","from":1,"count":1000"#);
    assert_eq!(
        (peeked.end, peeked.messages),
        ((1, durable, None), numbers(1..=durable))
    );
    let answer = asker.json("read.server", "");
    assert_eq!(answer["ready"], false);
    assert!(
        answer["reason"].as_str().unwrap().contains("Input/output error"),
        "{answer}"
    );
}
