//! Memory that clients take is in proportion to what they sent (nats-core.md §1.14).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use seaway_bench::wire::Connection;
use support::{PATIENCE, Server};

/// Memory per byte that was sent, at most.
const BYTES_PER_BYTE: usize = 8;
/// What may be left of it, beside what there was before the client came, and how soon.
const LEFT_BYTES: usize = 16 << 20;
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(60);

fn resident(server: &Server) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

/// Subscribes to what `subject` says of each number; how many bytes that were.
fn subscribe(server: &Server, count: usize, subject: impl Fn(usize) -> String) -> (Connection, usize) {
    let mut connection = Connection::open(&server.address).unwrap();
    let mut sent = 0;
    for number in 0..count {
        let line = format!("SUB {} {number}\r\n", subject(number));
        sent += line.len();
        connection.send(line.as_bytes());
        if number % 100 == 0 {
            connection.ping(PATIENCE).unwrap();
        }
    }
    connection.ping(PATIENCE).unwrap();
    (connection, sent)
}

#[test]
fn subscriptions_of_many_tokens_cost_little() {
    let server = Server::in_memory(&[]);
    let before = resident(&server);
    let (connection, sent) = subscribe(&server, 5_000, |number| format!("t{number}.{}*", "a.".repeat(1_700)));
    let taken = resident(&server).saturating_sub(before);
    assert!(
        sent > 16_000_000 && taken < BYTES_PER_BYTE * sent,
        "{taken} bytes for {sent} bytes sent"
    );
    drop(connection);
    is_given_back(&server, before, taken);
}

/// The client has gone: so does what it took.
fn is_given_back(server: &Server, before: usize, taken: usize) {
    let left = Instant::now();
    let mut least = usize::MAX;
    while least > before + LEFT_BYTES {
        assert!(
            left.elapsed() < GIVEN_BACK_WITHIN,
            "{} of {taken} bytes are still held",
            least - before
        );
        std::thread::yield_now();
        least = least.min(resident(server));
    }
}

/// Many small things of one client, between which others' may lie.
#[test]
fn memory_of_many_subscriptions_is_given_back() {
    let server = Server::in_memory(&[]);
    let before = resident(&server);
    let (mut others, _) = subscribe(&server, 100, |number| format!("others.{number}.*"));
    let (connection, _) = subscribe(&server, 300_000, |number| format!("orders.{number}.*"));
    let (_kept, _) = subscribe(&server, 1_000, |number| format!("kept.{number}.*"));
    let taken = resident(&server).saturating_sub(before);
    assert!(taken > 4 * LEFT_BYTES, "the test needs more than {taken} bytes");
    drop(connection);
    is_given_back(&server, before, taken);
    others.ping(PATIENCE).unwrap();
}
