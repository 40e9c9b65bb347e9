//! Memory that clients who do not read take, in the file store and under a limit of the process: one that is gone, and many that
//! are merely silent.

use std::time::Instant;

use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, subscription};

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

/// A client with very many subscriptions is gone. What is due to it takes no memory, and comes again once it is back.
#[test]
fn a_dead_client_with_many_subscriptions_costs_nothing() {
    const SUBSCRIPTIONS: usize = 600;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_memory_limit(250 * MB, directory.path(), &[]);
    let mut dead = server.session("dead");
    let mut request = subscription("big");
    request.ack_wait_in_secs = 1;
    for _ in 0..SUBSCRIPTIONS {
        dead.subscribe(request.clone()).unwrap();
    }
    let mut live = server.session("live");
    live.subscribe(request).unwrap();
    dead.connection = seaway_bench::wire::Connection::open(&server.address).unwrap();

    let mut other = server.session("other");
    for _ in 0..5 {
        other.publish("big", &vec![b'x'; 1_000_000]).unwrap();
    }
    // Several AckWaits later, as the one shows who is there and acknowledges nothing.
    let mut counts = 0;
    while counts < 3 {
        counts = counts.max(live.next_message(PATIENCE).unwrap().redelivery_count);
        other.publish("small", b"served").unwrap();
    }
    // It is back.
    dead.reconnect(&server.address).unwrap();
    for _ in 0..100 {
        assert!(dead.next_message(PATIENCE).unwrap().redelivered);
    }
    other.publish("small", b"served").unwrap();
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
