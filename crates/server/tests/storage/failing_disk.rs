//! A disk whose syncs begin to fail under the running server: what was acknowledged stays true, and everybody is told.

use std::time::Instant;

use crate::support::faults::Failing;
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::subscription;
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::Ping;

/// §13.3 SendMsgToSubStoreFailure; §13.9 MonitorStorez, MonitorChannelz: pages go on, `/healthz` tells.
#[test]
fn a_failing_sync_stops_everything_that_would_have_to_be_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut reader = server.session("reader");
    let mut request = subscription("orders");
    request.start_position = 4;
    reader.subscribe(request.clone()).unwrap();
    let mut publisher = server.session("publisher");
    let mut acknowledged = 20;
    for _ in 0..acknowledged {
        publisher.publish("orders", b"x").unwrap();
    }
    let Some(failing) = Failing::begin(&server, "fdatasync:error=EIO") else {
        return;
    };
    let error = loop {
        match publisher.publish("orders", b"x") {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "syncs do not fail");
    };
    assert!(error.to_string().contains("the store failed"), "{error}");
    for sequence in 1..=acknowledged {
        assert_eq!(
            reader.next_message(PATIENCE).unwrap().sequence,
            sequence,
            "what is durable still flows"
        );
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = server.get("/healthz");
        if status == 503 {
            assert!(body.contains("Input/output error"), "the reason is told: {body}");
            break;
        }
        assert!(Instant::now() < deadline, "{status} {body}");
    }
    let error = publisher.subscribe(request.clone()).unwrap_err();
    assert!(error.to_string().contains("the store failed"), "{error}");
    drop(failing);
    server.kill();

    let server = Server::with_files(directory.path(), &[]);
    let mut reader = server.session("other");
    reader.subscribe(request).unwrap();
    for sequence in 1..=acknowledged {
        assert_eq!(
            reader.next_message(PATIENCE).unwrap().sequence,
            sequence,
            "nothing acknowledged is lost"
        );
    }
}

/// Kibibytes of memory that a process has.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// While the disk hangs everybody is told, pings are answered, and neither they nor what waits behind them takes memory that grows;
/// when it goes on everything is answered.
#[test]
fn a_disk_that_hangs_is_told_of_and_fills_no_memory() {
    const PINGS: usize = 1_000_000;
    const PUBLISHES_MAX: usize = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut publisher = server.session("publisher");
    publisher.publish("orders", b"x").unwrap();
    let mut pinger = server.session("pinger");
    let Some(hanging) = Failing::begin(&server, "fdatasync:delay_enter=300000000:when=1") else {
        return;
    };
    // As much as may wait for the disk: from here on what would have to be written is held.
    let mut published = 0;
    while server.get("/metrics").1.contains("\nseaway_held_batches 0\n") {
        assert!(published < PUBLISHES_MAX, "nothing is held");
        for _ in 0..4 {
            publisher.publish_async("orders", &[b'x'; 64 * 1024]);
        }
        published += 4;
        publisher.connection.flush().unwrap();
    }
    pinger.ping().unwrap();
    let before = memory(&server);
    let ping = Ping {
        conn_id: pinger.connection_id.clone().into(),
    }
    .encode_to_vec();
    let pings = String::from_utf8(pinger.response.ping_requests.to_vec()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut is_told = false;
    let mut sent = 0;
    while !is_told || sent < PINGS {
        for _ in 0..1_000 {
            pinger.connection.publish(&pings, "", &ping);
        }
        // It is held, and the pings around it must not be kept with it.
        pinger.publish_async("pings", b"x");
        sent += 1_000;
        pinger.connection.flush().unwrap();
        if sent % 50_000 == 0 {
            let (status, body) = server.get("/healthz");
            is_told |= status == 503 && body.contains("has not finished a write");
            assert!(Instant::now() < deadline, "{status} {body}");
        }
    }
    pinger.ping().unwrap();
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more after {sent} pings");
    // However long all of that took: the disk goes on now.
    drop(hanging);
    for _ in 0..published {
        assert_eq!(publisher.next_pub_ack(PATIENCE).unwrap().error, "");
    }
    let deadline = Instant::now() + PATIENCE;
    while server.get("/healthz").0 != 200 {
        assert!(Instant::now() < deadline, "it is healthy again");
    }
}

/// A disk that hangs until publishes wait for it, and then fails: every publish is answered, later ones and connects too.
#[test]
fn a_disk_that_hangs_and_fails_leaves_nobody_without_an_answer() {
    const PUBLISHES: usize = 1_200;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut publisher = server.session("publisher");
    publisher.publish("orders", b"x").unwrap();
    let Some(failing) = Failing::begin(&server, "fdatasync:error=EIO:delay_enter=3000000") else {
        return;
    };
    for _ in 0..PUBLISHES {
        publisher.publish_async("orders", &[b'x'; 64 * 1024]);
    }
    publisher.connection.flush().unwrap();
    let mut refused = 0;
    for number in 0..PUBLISHES {
        let ack = publisher.next_pub_ack(PATIENCE);
        let ack = ack.unwrap_or_else(|error| panic!("publish {number} got no answer: {error}"));
        refused += usize::from(!ack.error.is_empty());
    }
    assert!(refused > PUBLISHES / 2, "only {refused} were refused");
    let error = publisher.publish("orders", b"later").unwrap_err();
    assert!(error.to_string().contains("the store failed"), "{error}");
    let error = seaway_bench::stan::Session::open(&server.address, "test-cluster", "late").err();
    let error = error.expect("a connect is refused").to_string();
    assert!(error.contains("the store failed"), "{error}");
    drop(failing);
}
