//! Memory that clients who do not read take, in the file store and under a limit of the process.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Instant;

use seaway_bench::stan::{Session, subscription};
use support::{PATIENCE, Server};

const MB: u64 = 1 << 20;

/// The sum of all samples whose name begins like this and whose labels contain that.
fn metric(server: &Server, name: &str, label: &str) -> f64 {
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let samples = text
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label));
    samples
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Many who ask for everything and read nothing hold a few megabytes each, and all together what there is for them.
#[test]
fn many_silent_readers_leave_the_server_standing() {
    const READERS: usize = 20;
    const MESSAGES: u64 = 400;
    let directory = tempfile::tempdir().unwrap();
    // However slow this machine is, the one who reads in the end is not closed before.
    let configuration = directory.path().join("server.conf");
    std::fs::write(&configuration, "write_deadline: \"120s\"\n").unwrap();
    let more = ["-c", configuration.to_str().unwrap()];
    let server = Server::with_memory_limit(400 * MB, &directory.path().join("store"), &more);
    let mut other = server.session("other");
    for _ in 0..MESSAGES {
        other.publish("big", &vec![b'x'; 100_000]).unwrap();
    }
    let mut readers: Vec<Session> = (0..READERS)
        .map(|number| {
            let mut reader = server.session(&format!("reader-{number}"));
            let mut request = subscription("big");
            request.start_position = 4;
            request.max_in_flight = 100_000;
            reader.subscribe(request).unwrap();
            reader
        })
        .collect();
    // Until all that will wait for them waits for them.
    let started = Instant::now();
    let (mut delivered, mut unchanged) = (0.0, 0);
    while unchanged < 50 {
        assert!(started.elapsed() < PATIENCE, "deliveries to nobody who reads never end");
        other.publish("small", b"served").unwrap();
        let now = metric(&server, "seaway_delivered_messages_total", "");
        unchanged = if now > delivered { 0 } else { unchanged + 1 };
        delivered = now;
    }
    assert!(
        delivered < (READERS as u64 * MESSAGES) as f64 * 0.9,
        "{delivered} messages were taken by queues"
    );
    // One of them reads after all.
    let reader = readers.last_mut().unwrap();
    for sequence in 1..=MESSAGES {
        assert_eq!(reader.next_message(PATIENCE).unwrap().sequence, sequence);
    }
    other.publish("small", b"served").unwrap();
}
