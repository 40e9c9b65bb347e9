//! Damage in the store of a running server: what cannot be read is passed over, told, and sent once the bytes are back.

use std::path::{Path, PathBuf};

use crate::support::administration::Asker;
use crate::support::requests::{all, durable, in_flight, make_durable, queue, wait_for};
use crate::support::shell::Shell;
use crate::support::{PATIENCE, Server, files};
use rustix::process::Signal;
use seaway_bench::stan::{Session, Subscribed};

const MESSAGES: u64 = 10;

fn payload(sequence: u64) -> String {
    format!("this is message number {sequence:04} of the channel, long enough to be found")
}

/// A store whose first segment holds the messages of `foo` and is read at no start: a checkpoint covers it.
fn fill(directory: &Path) {
    let server = Server::with_files(directory, &[]);
    let mut session = server.session("filler");
    for sequence in 1..=MESSAGES {
        session.publish("foo", payload(sequence).as_bytes()).unwrap();
    }
    let large = vec![7; 900 * 1024];
    for _ in 0..80 {
        session.publish("bulk", &large).unwrap();
    }
    wait_for(&server, "/metrics", "seaway_journal_checkpoints_total 1");
    session.close().unwrap();
    server.signal_and_wait(Signal::TERM);
}

/// The segment that holds a message, and where its payload begins.
fn find(directory: &Path, sequence: u64) -> (PathBuf, usize) {
    let wanted = payload(sequence).into_bytes();
    let segments = files(directory).into_iter().map(|(path, _)| path);
    let found = segments
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .find_map(|path| {
            let content = std::fs::read(&path).unwrap();
            let at = content.windows(wanted.len()).position(|bytes| bytes == wanted)?;
            Some((path, at))
        });
    found.expect("it is stored")
}

/// Turns a bit of a byte over, in place, as a medium does.
fn flip(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at as u64).unwrap();
}

/// `docs/operations.md`: with `-file_stop_at_damage` nothing is passed over.
#[test]
fn a_server_that_stops_at_damage_passes_over_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let (segment, at) = find(directory.path(), 4);
    flip(&segment, at + 7);
    let server = Server::with_files(directory.path(), &["-file_stop_at_damage"]);
    let mut session = server.session("me");
    session.publish("foo", b"before").unwrap();
    session.subscribe(all("foo")).unwrap();
    wait_for(&server, "/healthz", "file_stop_at_damage");
    let refused = session.publish("foo", b"after").unwrap_err().to_string();
    assert!(!refused.is_empty());
    let mut received = Vec::new();
    while let Ok(message) = session.next_message(std::time::Duration::from_millis(500)) {
        received.push(message.sequence);
    }
    assert!(received.iter().all(|sequence| *sequence < 4), "{received:?}");
    server.kill();
}

/// `docs/command-line.md`: what is damaged is told while nobody serves, with the messages it concerns, and nothing is changed.
#[test]
fn a_store_is_verified_at_rest() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let path = directory.path().to_str().unwrap();
    let verify = |more: &[&str]| Shell::at("").run(&[&["verify", path], more].concat());
    let whole = verify(&[]).expect(0);
    assert!(whole.stdout.contains("is whole"), "{whole:#?}");
    assert!(whole.stdout.contains("2 channels with 90 messages"), "{whole:#?}");
    let (segment, at) = find(directory.path(), 4);
    flip(&segment, at + 7);
    let before = files(directory.path());
    let damaged = verify(&[]).expect(1);
    assert!(damaged.stdout.contains("\n  foo: 4\n"), "{damaged:#?}");
    assert!(
        damaged.stderr.contains("cannot deliver what the line above says"),
        "{damaged:#?}"
    );
    let [document] = &verify(&["--json"]).expect(1).json()[..] else {
        panic!("one document");
    };
    assert_eq!(document["damages"][0]["messages"][0]["channel"], "foo");
    assert_eq!(document["damages"][0]["messages"][0]["first"], 4);
    assert!(document["refusal"].is_null(), "a checkpoint covers it");
    assert_eq!(files(directory.path()), before, "something was changed");
    let server = Server::with_files(directory.path(), &[]);
    let used = verify(&[]).expect(1);
    assert!(used.stderr.contains("a server uses"), "{used:#?}");
    server.signal_and_wait(Signal::TERM);
}

/// Takes and acknowledges so many messages, one after the other.
fn take(session: &mut Session, subscribed: &Subscribed, count: usize) -> Vec<(u64, u32)> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let message = session.next_message(PATIENCE).unwrap();
        taken.push((message.sequence, message.redelivery_count));
        session.ack(subscribed, message.sequence);
    }
    taken
}

fn firsts(sequences: impl Iterator<Item = u64>) -> Vec<(u64, u32)> {
    sequences.map(|sequence| (sequence, 0)).collect()
}

#[test]
fn damaged_messages_are_passed_over_told_and_sent_when_the_bytes_are_back() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let server = Server::with_files(directory.path(), &[]);
    assert_eq!(server.get("/healthz"), (200, "{\"status\":\"ok\"}".to_owned()));
    let damaged = [find(directory.path(), 4), find(directory.path(), 5)];
    for (path, at) in &damaged {
        flip(path, *at);
    }
    // A durable and a queue group, one message at a time.
    let mut alone = server.session("alone");
    let mut member = server.session("member");
    let wanted = [
        in_flight(durable(all("foo")), 1),
        in_flight(queue(durable(all("foo"))), 1),
    ];
    let [plain, group] = wanted.clone();
    let rest = || (1..=3).chain(6..=MESSAGES);
    let subscribed = alone.subscribe(plain).unwrap();
    assert_eq!(take(&mut alone, &subscribed, 8), firsts(rest()));
    let subscribed = member.subscribe(group).unwrap();
    assert_eq!(take(&mut member, &subscribed, 8), firsts(rest()));
    // What was acknowledged is on record.
    make_durable(&mut alone);
    make_durable(&mut member);
    // Nobody takes the server away for that, and everybody can know.
    for path in ["/healthz", "/healthz/ready"] {
        let (status, body) = server.get(path);
        assert_eq!(status, 200);
        assert!(
            body.starts_with("{\"status\":\"degraded\",\"reason\":\"2 stored messages cannot be read"),
            "{body}"
        );
    }
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("\nseaway_damaged_messages 2\n"), "{metrics}");
    assert!(metrics.contains("\nseaway_passed_over_messages_total 4\n"), "{metrics}");
    assert!(metrics.contains("\nseaway_ready 1\n"), "{metrics}");
    let (_, why) = server.get("/streaming/why?channel=foo");
    assert!(
        why.contains("messages_damaged") && why.contains("sequences 4-5"),
        "{why}"
    );
    // A look at the messages leaves them out, and says so.
    let mut asker = Asker::new(&server);
    let peeked = asker.peek("foo", ",\"from\":2,\"count\":4");
    let sequences: Vec<u64> = peeked.messages.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!((sequences, peeked.damaged.as_deref()), (vec![2, 3, 6, 7], Some("4-5")));
    let (_, lines) = server.signal_and_wait(Signal::TERM);
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("cannot be read")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("[ERR]") && told[0].contains("Messages 4 to 5 of channel \"foo\""),
        "{told:?}"
    );
    assert!(
        told[0].contains("segment-") && told[0].contains(".log: offset"),
        "{told:?}"
    );

    // A restart reads none of it, and goes on as before.
    let server = Server::with_files(directory.path(), &[]);
    let mut alone = server.session("alone");
    let subscribed = alone.subscribe(wanted[0].clone()).unwrap();
    alone.publish("foo", b"new").unwrap();
    assert_eq!(take(&mut alone, &subscribed, 1), [(MESSAGES + 1, 0)]);
    assert!(server.get("/healthz").1.contains("degraded"));
    server.kill();

    // The bytes are back.
    for (path, at) in &damaged {
        flip(path, *at);
    }
    let server = Server::with_files(directory.path(), &[]);
    let mut alone = server.session("alone");
    let subscribed = alone.subscribe(wanted[0].clone()).unwrap();
    let mut came: Vec<u64> = take(&mut alone, &subscribed, 2)
        .into_iter()
        .map(|(sequence, _)| sequence)
        .collect();
    came.sort_unstable();
    assert_eq!(came, [4, 5]);
    let mut member = server.session("member");
    let subscribed = member.subscribe(wanted[1].clone()).unwrap();
    let mut came: Vec<u64> = take(&mut member, &subscribed, 3)
        .into_iter()
        .map(|(sequence, _)| sequence)
        .collect();
    came.sort_unstable();
    assert_eq!(came, [4, 5, MESSAGES + 1]);
    assert!(server.get("/healthz").1.contains("\"ok\""));
}

#[test]
fn a_directory_damaged_with_its_segment_costs_what_it_hides_until_the_bytes_are_back() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let server = Server::with_files(directory.path(), &[]);
    let (segment, at) = find(directory.path(), 7);
    let entries = segment.with_extension("directory");
    flip(&entries, 4_096 + 5);
    // The segment is whole: nothing is lost.
    let mut session = server.session("me");
    let first = session.subscribe(in_flight(all("foo"), 3)).unwrap();
    assert_eq!(take(&mut session, &first, 10), firsts(1..=MESSAGES));
    assert!(server.get("/healthz").1.contains("\"ok\""), "it was made again");
    session.close().unwrap();
    // Both: nobody can tell where the messages of that page are. Others go on.
    flip(&entries, 4_096 + 5);
    flip(&segment, at);
    let mut session = server.session("me");
    let subscribed = session.subscribe(in_flight(durable(all("foo")), 3)).unwrap();
    session.publish("foo", b"new").unwrap();
    assert_eq!(take(&mut session, &subscribed, 1), [(MESSAGES + 1, 0)]);
    assert!(server.get("/healthz").1.contains("10 stored messages cannot be read"));
    server.kill();
    flip(&segment, at);
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    let subscribed = session.subscribe(in_flight(durable(all("foo")), 3)).unwrap();
    // The ack of the new one may have been lost with the server.
    let mut came = std::collections::BTreeSet::from([MESSAGES + 1]);
    while came.len() as u64 <= MESSAGES {
        came.extend(
            take(&mut session, &subscribed, 1)
                .into_iter()
                .map(|(sequence, _)| sequence),
        );
    }
    assert_eq!(came, (1..=MESSAGES + 1).collect());
}
