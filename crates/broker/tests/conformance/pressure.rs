//! Slow consumers, vanishing clients, many idle clients (§1.15, §9.4 line 60).

use std::time::{Duration, Instant};

use seaway_broker::{CloseReason, ConnectionFilter, ConnectionState};

use crate::support::{Client, PATIENCE, Server};

fn closed_with(server: &Server, id: u64, reason: CloseReason) {
    let filter = ConnectionFilter {
        state: ConnectionState::Closed,
        connection_id: Some(id),
        ..ConnectionFilter::default()
    };
    server.wait_until(reason.text(), |broker| !broker.connections(&filter).is_empty());
    assert_eq!(server.broker.connections(&filter)[0].ended.unwrap().1, reason);
}

/// Publishes one block after the other until `done`.
pub fn publish_until(publisher: &mut Client, done: impl Fn() -> bool) {
    let block = format!("PUB flood 16384\r\n{}\r\n", "x".repeat(16_384)).repeat(16);
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "the slow consumer was never noticed");
        publisher.flush(&block);
    }
}

#[test]
fn line_60_pending_limit_closes_the_slow_and_nobody_else() {
    let server = Server::with(|options| options.max_pending = 2 * 1024 * 1024);
    let mut slow = server.quiet();
    slow.flush("SUB flood 1\r\n");
    let mut healthy = server.quiet();
    healthy.flush("SUB other 1\r\n");
    let mut publisher = server.quiet();
    publish_until(&mut publisher, || server.broker.snapshot().slow_consumers > 0);
    assert_eq!(server.broker.snapshot().slow_consumers, 1);
    closed_with(&server, slow.id(), CloseReason::SlowConsumerPendingBytes);
    publisher.flush("PUB other 2\r\nok\r\n");
    healthy.expect("MSG other 1 2\r\nok\r\n");
    server.wait_until("its subscription is gone", |broker| {
        broker.snapshot().subscriptions == 1
    });
    assert_eq!(server.broker.snapshot().connections, 2);
}

#[test]
fn section_1_15_write_deadline() {
    let server = Server::with(|options| options.write_deadline = Duration::from_millis(100));
    let mut slow = server.quiet();
    slow.flush("SUB flood 1\r\n");
    let mut publisher = server.quiet();
    publish_until(&mut publisher, || server.broker.snapshot().slow_consumers > 0);
    closed_with(&server, slow.id(), CloseReason::SlowConsumerWriteDeadline);
}

#[test]
fn a_consumer_that_is_late_gets_everything_in_order() {
    let server = Server::start();
    let mut late = server.quiet();
    late.flush("SUB flood 1\r\n");
    let mut publisher = server.quiet();
    let total = 1000usize;
    for number in 0..total {
        let payload = format!("{number:08}").repeat(2048);
        publisher.send(format!("PUB flood {}\r\n{payload}\r\n", payload.len()));
    }
    publisher.expect_nothing_more();
    let filter = ConnectionFilter {
        connection_id: Some(late.id()),
        ..ConnectionFilter::default()
    };
    assert!(
        server.broker.connections(&filter)[0].pending_bytes > 0,
        "the test needs a queue"
    );
    for number in 0..total {
        assert_eq!(&late.message().3[..8], format!("{number:08}").as_bytes());
    }
    late.expect_nothing_more();
    server.wait_until("the write is accounted for", |broker| {
        broker.connections(&filter)[0].pending_bytes == 0
    });
    assert_eq!(server.broker.snapshot().slow_consumers, 0);
}

#[test]
fn section_1_15_producers_stall_before_the_limit() {
    let server = Server::with(|options| options.max_pending = 8 * 1024 * 1024);
    let mut slow = server.quiet();
    slow.flush("SUB flood 1\r\n");
    let mut publisher = server.quiet();
    publish_until(&mut publisher, || server.broker.snapshot().stalled_clients > 0);
    let filter = ConnectionFilter {
        connection_id: Some(publisher.id()),
        ..ConnectionFilter::default()
    };
    server.wait_until("the stall is counted", |broker| {
        broker.connections(&filter)[0].stalls > 0
    });
}

/// Publishes much more than `max_pending` as fast as it goes, to a reader that takes a little each time the publisher had to wait.
fn publish_to_a_slower_reader(server: &Server, mut publisher: Client, mut reader: Client) {
    const FRAMES: usize = 2048;
    let payload = "x".repeat(16 * 1024);
    let frame = format!("PUB flood {}\r\n{payload}\r\n", payload.len());
    let total = FRAMES * format!("MSG flood 1 {}\r\n{payload}\r\n", payload.len()).len();
    let filter = ConnectionFilter {
        connection_id: Some(publisher.id()),
        ..ConnectionFilter::default()
    };
    let writer = std::thread::spawn(move || {
        for _ in 0..FRAMES {
            publisher.send(&frame);
        }
        publisher
    });
    let (mut left, mut stalls) = (total, 0);
    let deadline = Instant::now() + 6 * PATIENCE;
    while left > 0 {
        assert!(Instant::now() < deadline, "{left} bytes of {total} are missing");
        let now = server.broker.connections(&filter)[0].stalls;
        if now > stalls || writer.is_finished() {
            stalls = now;
            let wanted = left.min(128 * 1024);
            left -= reader.bytes(wanted).len();
        } else {
            std::thread::yield_now();
        }
    }
    drop(writer.join().unwrap());
    assert!(stalls > 0, "the test needs a publisher that has to wait");
    assert_eq!(server.broker.snapshot().slow_consumers, 0);
}

#[test]
fn section_1_15_a_faster_publisher_is_slowed_down_and_everything_arrives() {
    let server = Server::with(|options| options.max_pending = 8 * 1024 * 1024);
    let mut reader = server.quiet();
    reader.flush("SUB flood 1\r\n");
    publish_to_a_slower_reader(&server, server.quiet(), reader);
}

#[test]
fn section_1_15_who_publishes_to_himself_is_slowed_down_too() {
    let server = Server::with(|options| options.max_pending = 8 * 1024 * 1024);
    let mut both = server.quiet();
    both.flush("SUB flood 1\r\n");
    let other = both.share();
    publish_to_a_slower_reader(&server, other, both);
}

#[test]
fn section_1_15_who_publishes_to_a_service_too_is_not_held_by_a_slow_reader() {
    struct Deaf;
    impl seaway_broker::Sink for Deaf {
        fn deliver(&self, _batch: seaway_broker::Batch) {}
        fn drained(&self, _destination: seaway_broker::Destination) {}
    }
    let server = Server::with(|options| options.max_pending = 8 * 1024 * 1024);
    let service = server.broker.attach("service", std::sync::Arc::new(Deaf));
    service.subscribe("service", 1, true).unwrap();
    let mut slow = server.quiet();
    slow.flush("SUB flood 1\r\n");
    let mut publisher = server.quiet();
    // Each read brings something for both, so only the bound of the slow one's queue counts.
    let frames = format!("PUB service 0\r\n\r\nPUB flood 1024\r\n{}\r\n", "x".repeat(1024)).repeat(64);
    let deadline = Instant::now() + PATIENCE;
    while server.broker.snapshot().slow_consumers == 0 {
        assert!(Instant::now() < deadline, "the slow consumer was never noticed");
        publisher.flush(&frames);
    }
    assert_eq!(server.broker.snapshot().stalled_clients, 0);
}

#[test]
fn section_1_15_without_stall_the_message_is_dropped() {
    let server = Server::with(|options| {
        options.max_pending = 2 * 1024 * 1024;
        options.no_fast_producer_stall = true;
    });
    let mut slow = server.quiet();
    slow.flush("SUB flood 1\r\n");
    let mut publisher = server.quiet();
    let filter = ConnectionFilter {
        connection_id: Some(slow.id()),
        ..ConnectionFilter::default()
    };
    publish_until(&mut publisher, || server.broker.connections(&filter)[0].stalls > 3);
    assert_eq!(server.broker.snapshot().slow_consumers, 0);
}

/// Each may have much waiting, all together not: those for whom most waits are closed first, and nobody who reads.
#[test]
fn all_queues_together_close_the_slow_and_nobody_else() {
    const BOUND: usize = 24 << 20;
    let server = Server::with(|options| options.outbound_bytes_max = BOUND);
    let mut slow: Vec<Client> = (0..8).map(|_| server.quiet()).collect();
    for client in &mut slow {
        client.flush("SUB flood 1\r\n");
    }
    let mut healthy = server.quiet();
    healthy.flush("SUB other 1\r\n");
    let mut publisher = server.quiet();
    let most = std::cell::Cell::new(0);
    publish_until(&mut publisher, || {
        let snapshot = server.broker.snapshot();
        most.set(most.get().max(snapshot.outbound_bytes));
        snapshot.slow_consumers > 0
    });
    assert!(most.get() <= BOUND + (8 << 20), "{} bytes waited", most.get());
    publisher.flush("PUB other 2\r\nok\r\n");
    healthy.expect("MSG other 1 2\r\nok\r\n");
}

#[test]
fn vanishing_clients_leave_nothing_behind() {
    let server = Server::start();
    for _ in 0..5 {
        let mut clients: Vec<Client> = (0..20).map(|_| server.quiet()).collect();
        let mut publisher = server.quiet();
        for (index, client) in clients.iter_mut().enumerate() {
            client.flush(format!("SUB foo 1\r\nSUB foo q 2\r\nSUB wild.{index}.> 3\r\n"));
        }
        // Some leave in the middle of an operation, some with unread data.
        for (index, client) in clients.iter_mut().enumerate() {
            match index % 3 {
                0 => client.send("PUB foo 100000\r\nhalf of"),
                1 => client.send("SUB unfinis"),
                _ => {}
            }
        }
        publisher.flush("PUB foo 4096\r\n".to_owned() + &"x".repeat(4096) + "\r\n");
        drop(clients);
        publisher.flush("PUB foo 2\r\nok\r\n".repeat(1000));
        drop(publisher);
        server.wait_until("all are gone", |broker| broker.snapshot().connections == 0);
        assert_eq!(server.broker.snapshot().subscriptions, 0);
    }
    assert_eq!(server.broker.connections(&ConnectionFilter::default()).len(), 0);
}

#[test]
fn clients_that_send_nothing_harm_nobody() {
    // A real run uses SEAWAY_IDLE_CONNECTIONS=10000; each takes two descriptors here.
    let count = std::env::var("SEAWAY_IDLE_CONNECTIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(400);
    let server = Server::start();
    let before = resident_bytes();
    let idle: Vec<std::net::TcpStream> = (0..count)
        .map(|_| std::net::TcpStream::connect(server.address).unwrap())
        .collect();
    server.wait_until("all are accepted", |broker| broker.snapshot().connections == count);
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        println!("{} bytes per idle connection", after.saturating_sub(before) / count);
        if count >= 1000 {
            assert!((after.saturating_sub(before)) / count < 12 * 1024);
        }
    }
    let mut client = server.quiet();
    client.send("SUB foo 1\r\nPUB foo 2\r\nok\r\n");
    client.expect("MSG foo 1 2\r\nok\r\n");
    drop(idle);
    server.wait_until("all are gone", |broker| broker.snapshot().connections == 1);
}

fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<usize>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}
