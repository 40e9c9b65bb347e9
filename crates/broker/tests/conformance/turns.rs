//! What one client may do to all others: its input is handled in turns of bounded work (§1.15, §2.2).

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::support::{Client, PATIENCE, Server};

/// A turn ends after this much work, and what it gathered still has to be handed over.
const LONGEST_TURN: u64 = 80_000;
/// How long the answer to a PING may take here: the machine may be busy with other tests, and the code is not optimised.
const ANSWER: Duration = Duration::from_secs(3);

/// Writes everything without caring what comes back or how it ends.
fn attack(server: &Server, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut client = server.quiet();
    std::thread::spawn(move || {
        let mut reading = client.stream.try_clone().unwrap();
        let reader = std::thread::spawn(move || {
            let mut scratch = vec![0; 1 << 20];
            while matches!(reading.read(&mut scratch), Ok(count) if count > 0) {}
        });
        let _ = client.stream.write_all(&bytes);
        let _ = client.stream.write_all(b"PING\r\n");
        let _ = client.stream.shutdown(Shutdown::Write);
        reader.join().unwrap();
    })
}

/// Pings until the attack is over; every answer comes soon.
fn others_are_served(server: &Server, attack: &std::thread::JoinHandle<()>) {
    let mut other = server.quiet();
    while !attack.is_finished() {
        ping(&mut other);
    }
    let longest = server.broker.snapshot().longest_turn;
    assert!(longest < LONGEST_TURN, "a turn took {longest}");
}

fn ping(other: &mut Client) {
    let asked = Instant::now();
    other.send("PING\r\n");
    // The server asks too, now and then.
    while other.line() != "PONG" {}
    assert!(asked.elapsed() < ANSWER, "a PING took {:?}", asked.elapsed());
}

fn publishes(subject: &str, bytes: usize) -> Vec<u8> {
    let one = format!("PUB {subject} 0\r\n\r\n");
    one.repeat(bytes / one.len()).into_bytes()
}

#[test]
fn overlapping_wildcards_stop_nobody() {
    let server = Server::start();
    let mut bytes = Vec::new();
    // All patterns of a literal and a wildcard in twelve tokens.
    for number in 0..1 << 12 {
        let tokens: Vec<&str> = (0..12)
            .map(|bit| if number >> bit & 1 == 0 { "a" } else { "*" })
            .collect();
        bytes.extend_from_slice(format!("SUB {} {number}\r\n", tokens.join(".")).as_bytes());
    }
    bytes.extend_from_slice(&publishes(&["a"; 12].join("."), 32 * 1024));
    let attack = attack(&server, bytes);
    others_are_served(&server, &attack);
    attack.join().unwrap();
    let work = server.broker.snapshot().work;
    assert!(work > 1 << 20, "{work} is too little for what was asked");
}

#[test]
fn identical_subscriptions_stop_nobody() {
    let server = Server::start();
    let mut bytes = Vec::new();
    for number in 0..10_000 {
        bytes.extend_from_slice(format!("SUB foo {number}\r\n").as_bytes());
    }
    bytes.extend_from_slice(&publishes("foo", 64 * 1024));
    let attack = attack(&server, bytes);
    others_are_served(&server, &attack);
    attack.join().unwrap();
    server.wait_until("it is gone", |broker| broker.snapshot().subscriptions == 0);
}

#[test]
fn changing_and_asking_in_turn_stops_nobody() {
    let server = Server::start();
    let mut bytes = Vec::new();
    for number in 0..5_000 {
        bytes.extend_from_slice(format!("SUB foo {number}\r\n").as_bytes());
    }
    // Each change spoils the answer about all of them, and each UNSUB counts their deliveries.
    for number in 0..1_000 {
        bytes.extend_from_slice(format!("PUB foo 0\r\n\r\nUNSUB {number}\r\n").as_bytes());
    }
    let attack = attack(&server, bytes);
    others_are_served(&server, &attack);
    attack.join().unwrap();
}

#[test]
fn many_subscribers_of_one_subject_get_all_of_it_in_order() {
    let server = Server::start();
    let subscribers: Vec<Client> = (0..150)
        .map(|_| {
            let mut client = server.quiet();
            client.flush("SUB foo 1\r\n");
            client
        })
        .collect();
    let total = 2_000;
    let frames: String = (0..total)
        .map(|number| format!("PUB foo 4\r\n{number:04}\r\n"))
        .collect();
    let expected: String = (0..total)
        .map(|number| format!("MSG foo 1 4\r\n{number:04}\r\n"))
        .collect();
    let expected = &expected;
    std::thread::scope(|scope| {
        for mut client in subscribers {
            scope.spawn(move || client.expect(expected));
        }
        server.quiet().flush(frames);
    });
    let longest = server.broker.snapshot().longest_turn;
    assert!(longest < LONGEST_TURN, "a turn took {longest}");
}

#[test]
fn a_message_for_more_than_one_turn_reaches_each_once() {
    let server = Server::start();
    let count = 100_000;
    let mut many = server.quiet();
    let subscriptions: String = (0..count).map(|number| format!("SUB foo {number}\r\n")).collect();
    // One of them ends with its first message; another has a limit that stays.
    many.flush(format!("{subscriptions}UNSUB 7 1\r\nUNSUB 8 2\r\n"));
    let mut publisher = server.quiet();
    for (round, expected) in [(1, count), (2, count - 1), (3, count - 2)] {
        let reader = std::thread::spawn(move || {
            let mut seen = vec![false; count];
            for _ in 0..expected {
                let mut line = many.line();
                while line == "PING" {
                    line = many.line();
                }
                let sid = line
                    .strip_prefix("MSG foo ")
                    .and_then(|rest| rest.strip_suffix(" 1"))
                    .unwrap();
                many.expect("x\r\n");
                let place = &mut seen[sid.parse::<usize>().unwrap()];
                assert!(!std::mem::replace(place, true), "{sid} got it twice in round {round}");
            }
            ping(&mut many);
            many
        });
        publisher.send("PUB foo 1\r\nx\r\n");
        ping(&mut publisher);
        many = reader.join().unwrap();
    }
    let snapshot = server.broker.snapshot();
    assert_eq!(
        snapshot.in_messages, 3,
        "it is one message, however many turns it takes"
    );
    assert!(
        snapshot.longest_turn < LONGEST_TURN,
        "a turn took {}",
        snapshot.longest_turn
    );
}

/// Patterns that all match, and as many groups: they are found in slices too.
#[test]
fn a_message_for_very_many_patterns_and_groups_is_looked_up_in_turns() {
    let server = Server::start();
    let mut many = server.quiet();
    let mut subscriptions = String::new();
    for number in 0..1 << 16 {
        let tokens: Vec<&str> = (0..16)
            .map(|bit| if number >> bit & 1 == 0 { "a" } else { "*" })
            .collect();
        subscriptions += &format!("SUB {} {number}\r\n", tokens.join("."));
    }
    let subject = ["a"; 16].join(".");
    for number in 0..40_000 {
        subscriptions += &format!("SUB {subject} group{number} g{number}\r\n");
    }
    many.flush(subscriptions);
    let reader = std::thread::spawn(move || {
        let mut seen = std::collections::HashSet::new();
        while seen.len() < (1 << 16) + 40_000 {
            let line = many.line();
            if line == "PING" {
                continue;
            }
            let sid = line.split(' ').nth(2).unwrap().to_owned();
            many.expect("x\r\n");
            assert!(seen.insert(sid), "{line} came twice");
        }
        ping(&mut many);
    });
    let mut publisher = server.quiet();
    publisher.send(format!("PUB {subject} 1\r\nx\r\n"));
    ping(&mut publisher);
    reader.join().unwrap();
    let longest = server.broker.snapshot().longest_turn;
    assert!(longest < LONGEST_TURN, "a turn took {longest}");
}

/// §1.5: a second CONNECT ends all subscriptions, before anything behind it counts.
#[test]
fn a_second_connect_ends_any_number_of_subscriptions() {
    let server = Server::start();
    let mut client = server.quiet();
    let subscriptions: String = (0..20_000).map(|number| format!("SUB foo {number}\r\n")).collect();
    client.flush(subscriptions);
    client.send("CONNECT {\"verbose\":false}\r\nPUB foo 2\r\nno\r\nSUB foo 1\r\nPUB foo 3\r\nyes\r\nPING\r\n");
    client.expect("MSG foo 1 3\r\nyes\r\nPONG\r\n");
    assert_eq!(server.broker.snapshot().subscriptions, 1);
}

#[test]
fn closing_with_many_subscriptions_stops_nobody() {
    let server = Server::start();
    let mut many = server.quiet();
    let subscriptions: String = (0..200_000)
        .map(|number| format!("SUB foo.{number} {number}\r\n"))
        .collect();
    many.flush(subscriptions);
    drop(many);
    let mut other = server.quiet();
    let deadline = Instant::now() + 6 * PATIENCE;
    while server.broker.snapshot().subscriptions > 0 {
        ping(&mut other);
        assert!(Instant::now() < deadline, "they never end");
    }
}
