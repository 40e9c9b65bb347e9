//! Limits and space, as users see them (`streaming-protocol.md` §6, §13.7).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use seaway_bench::load::Load;
use seaway_bench::stan::{Session, subscription};
use support::{PATIENCE, Server, files};

fn first_and_last(session: &mut Session, channel: &str) -> (u64, u64) {
    let mut request = subscription(channel);
    request.start_position = 4;
    let subscribed = session.subscribe(request).unwrap();
    let first = session.next_message(PATIENCE).unwrap().sequence;
    session.unsubscribe(&subscribed).unwrap();
    let mut request = subscription(channel);
    request.start_position = 1;
    let subscribed = session.subscribe(request).unwrap();
    let inbox = subscribed.inbox.clone();
    let last = loop {
        let message = session.next_message(PATIENCE).unwrap();
        if message.inbox == inbox {
            break message.sequence;
        }
    };
    session.unsubscribe(&subscribed).unwrap();
    (first, last)
}

#[test]
fn the_oldest_messages_leave_at_max_msgs_and_stay_away_after_a_restart() {
    // §13.7 MaxMsgs.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-mm", "10"]);
    let mut session = server.session("client");
    for _ in 0..20 {
        session.publish("foo", b"x").unwrap();
    }
    assert_eq!(first_and_last(&mut session, "foo"), (11, 20));
    server.kill();
    // Trims are written lazily, but the limit holds after any restart.
    let server = Server::with_files(directory.path(), &["-mm", "10"]);
    let mut session = server.session("other");
    assert_eq!(first_and_last(&mut session, "foo"), (11, 20));
    session.publish("foo", b"x").unwrap();
    assert_eq!(first_and_last(&mut session, "foo"), (12, 21));
}

#[test]
fn a_message_larger_than_max_bytes_stays_alone() {
    // §13.7 CSMaxMsgs.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-mb", "500"]);
    let mut session = server.session("client");
    for _ in 0..3 {
        session.publish("foo", b"small").unwrap();
    }
    session.publish("foo", &[b'x'; 5_000]).unwrap();
    assert_eq!(first_and_last(&mut session, "foo"), (4, 4));
}

#[test]
fn limits_lowered_at_a_restart_trim() {
    // §13.7 CSLimitsOnRecovery.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("client");
    for _ in 0..50 {
        session.publish("foo", b"x").unwrap();
    }
    server.kill();
    let server = Server::with_files(directory.path(), &["-mm", "5"]);
    assert_eq!(first_and_last(&mut server.session("other"), "foo"), (46, 50));
}

#[test]
fn messages_expire_and_sequences_go_on() {
    // §6.1: `first` rises, `last` never falls, restarts included.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-ma", "200ms"]);
    let mut session = server.session("client");
    for _ in 0..5 {
        session.publish("foo", b"x").unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while !server.get("/streaming/channelsz?channel=foo").1.contains("\"msgs\": 0") {
        assert!(Instant::now() < deadline, "messages do not expire");
    }
    // Trims are written lazily; what is acknowledged after one makes it durable too.
    session.publish("other", b"x").unwrap();
    server.kill();
    let server = Server::with_files(directory.path(), &["-ma", "1h"]);
    let mut session = server.session("other");
    session.publish("foo", b"x").unwrap();
    assert_eq!(first_and_last(&mut session, "foo"), (6, 6));
}

#[test]
fn too_many_channels_and_subscriptions_are_refused() {
    // §6.3, §13.7 TooManyChannels, MaxChannels, TooManySubs.
    let server = Server::in_memory(&["-mc", "1", "-msu", "1"]);
    let mut session = server.session("client");
    session.publish("foo", b"x").unwrap();
    assert_eq!(
        session.publish("bar", b"x").unwrap_err().to_string(),
        "too many channels"
    );
    assert_eq!(
        session.subscribe(subscription("bar")).unwrap_err().to_string(),
        "too many channels"
    );
    session.subscribe(subscription("foo")).unwrap();
    for (queue, durable) in [("", ""), ("q", ""), ("", "d"), ("q", "d")] {
        let mut request = subscription("foo");
        request.q_group = queue.into();
        request.durable_name = durable.into();
        let error = session.subscribe(request).unwrap_err();
        assert_eq!(error.to_string(), "too many subscriptions per channel");
    }
    let error = session.publish("Foo", b"x").unwrap_err().to_string();
    assert_eq!(
        error, r#"rejecting channel "Foo" because channel "foo" alreay exists (different cases not allowed)"#,
        "case is compared before the channel limit"
    );
    let (_, body) = server.get("/streaming/channelsz");
    assert!(body.contains("\"total\": 1"), "{body}");
}

#[test]
fn an_idle_channel_is_deleted_and_starts_again_at_1() {
    // §6.4.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-mi", "300ms"]);
    let mut session = server.session("client");
    for _ in 0..5 {
        session.publish("foo", b"x").unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while server.get("/streaming/channelsz?channel=foo").0 != 404 {
        assert!(Instant::now() < deadline, "the channel is not deleted");
    }
    session.publish("other", b"x").unwrap();
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("other");
    assert_eq!(
        server.get("/streaming/channelsz?channel=foo").0,
        404,
        "deletion survives a restart"
    );
    session.publish("foo", b"x").unwrap();
    assert_eq!(first_and_last(&mut session, "foo"), (1, 1));
}

fn occupied(directory: &Path) -> u64 {
    files(directory).iter().map(|(_, bytes)| bytes).sum()
}

fn largest_segment(directory: &Path) -> u64 {
    files(directory).iter().map(|(_, bytes)| *bytes).max().unwrap_or(0)
}

/// Live bytes as the server counts them.
fn live(server: &Server) -> u64 {
    let (_, body) = server.get("/streaming/serverz");
    let value = body
        .split("\"total_bytes\": ")
        .nth(1)
        .expect("serverz says total_bytes");
    value
        .split([',', '\n'])
        .next()
        .and_then(|number| number.trim().parse().ok())
        .expect("a number")
}

fn wait_for_space(server: &Server, directory: &Path, segment: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (live, occupied) = (live(server), occupied(directory));
        if occupied <= 2 * live + 3 * segment {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{occupied} bytes on disk for {live} live ones (segment {segment})"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn trimmed_space_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-mm", "1000", "-mb", "0"]);
    let load = Load {
        address: server.address.clone(),
        cluster_id: "test-cluster".to_owned(),
        channel_prefix: "foo".to_owned(),
        channels: 1,
        messages: 300_000,
        size: 512,
        in_flight: 1024,
    };
    load.publish().unwrap();
    wait_for_space(&server, directory.path(), largest_segment(directory.path()));
    server.kill();
    let server = Server::with_files(directory.path(), &["-mm", "1000", "-mb", "0"]);
    assert_eq!(first_and_last(&mut server.session("other"), "foo"), (299_001, 300_000));
}

#[test]
fn one_old_message_in_every_channel_does_not_hold_the_space_of_all() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-mm", "1000", "-mb", "0", "-mc", "0"]);
    let load = Load {
        address: server.address.clone(),
        cluster_id: "test-cluster".to_owned(),
        channel_prefix: "bulk".to_owned(),
        channels: 1,
        messages: 20_000,
        size: 1024,
        in_flight: 1024,
    };
    for round in 0..10 {
        // A few old messages in channels of their own between bulks that are trimmed.
        let mut session = server.session(&format!("old-{round}"));
        for number in 0..20 {
            session.publish(&format!("old.{round}.{number}"), b"old").unwrap();
        }
        load.publish().unwrap();
    }
    wait_for_space(&server, directory.path(), largest_segment(directory.path()));
    server.kill();
    let server = Server::with_files(directory.path(), &["-mm", "1000", "-mb", "0", "-mc", "0"]);
    let mut session = server.session("other");
    for round in 0..10 {
        for number in 0..20 {
            assert_eq!(first_and_last(&mut session, &format!("old.{round}.{number}")), (1, 1));
        }
    }
    assert_eq!(first_and_last(&mut session, "bulk"), (199_001, 200_000));
}
