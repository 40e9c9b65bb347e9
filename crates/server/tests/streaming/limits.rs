//! Limits and space, as users see them (`streaming-protocol.md` §6, §13.7).

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::requests::{all, bounds, durable, firsts, number, publish, queue, refusal, take, wait_for_bounds};
use crate::support::{PATIENCE, Server, files};
use seaway_bench::load::Load;
use seaway_bench::stan::{Session, subscription};

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

#[test]
fn max_bytes_keeps_exactly_what_fits() {
    // §13.7 MaxBytes; §6.1: a file store counts 40 bytes more for each message.
    for (files, size) in [(false, 20), (true, 60)] {
        let directory = tempfile::tempdir().unwrap();
        let limit = (10 * size).to_string();
        let more = ["-mb", &limit];
        let mut server = if files {
            Server::with_files(directory.path(), &more)
        } else {
            Server::in_memory(&more)
        };
        publish(&mut server.session("client"), "foo", 20);
        wait_for_bounds(&server, "foo", (10, 11, 20));
        assert_eq!(number(&server, "/streaming/channelsz?channel=foo", "bytes"), 10 * size);
        assert_eq!(number(&server, "/streaming/serverz", "total_bytes"), 10 * size);
        let line = server.wait_for_line("Reached limits").unwrap();
        assert!(line.contains("Reached limits for store \"foo\" (msgs="), "{line}");
        assert!(
            line.ends_with("dropping old messages to make room for new ones"),
            "{line}"
        );
    }
}

#[test]
fn what_was_offline_goes_on_with_what_is_left() {
    // §13.7 DroppedMessagesOnSendToSub, DroppedMessagesOnSendToQueueSub.
    let server = Server::in_memory(&["-mm", "3"]);
    let mut session = server.session("client");
    let requests = [durable(all("foo")), queue(durable(all("foo")))];
    for request in &requests {
        let subscribed = session.subscribe(request.clone()).unwrap();
        session.close_subscription(&subscribed).unwrap();
    }
    publish(&mut session, "foo", 5);
    wait_for_bounds(&server, "foo", (3, 3, 5));
    for request in requests {
        session.subscribe(request).unwrap();
        assert_eq!(take(&mut session, 3), firsts(3..=5));
    }
    session.subscribe(queue(all("foo"))).unwrap();
    assert_eq!(take(&mut session, 3), firsts(3..=5));
}

#[test]
fn messages_expire_wave_by_wave() {
    // §13.7 CSMaxAge*: first moves on, last stays.
    let server = Server::in_memory(&["-ma", "1s"]);
    let mut session = server.session("client");
    publish(&mut session, "foo", 2);
    assert!(session.next_message(Duration::from_millis(500)).is_err());
    publish(&mut session, "foo", 3);
    wait_for_bounds(&server, "foo", (3, 3, 5));
    wait_for_bounds(&server, "foo", (0, 6, 5));
    publish(&mut session, "foo", 1);
    assert_eq!(bounds(&server, "foo"), (1, 6, 6));
}

#[test]
fn messages_that_expired_while_the_server_was_stopped_are_gone_at_its_start() {
    // §6.1, stores §8.1: first is last + 1 and stays so.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    publish(&mut server.session("client"), "foo", 3);
    server.kill();
    let server = Server::with_files(directory.path(), &["-ma", "1ms"]);
    wait_for_bounds(&server, "foo", (0, 4, 3));
    // What is acknowledged after it makes the trim durable.
    publish(&mut server.session("other"), "bar", 2);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    assert_eq!(bounds(&server, "foo"), (0, 4, 3));
}

#[test]
fn a_subscription_stalled_on_expired_messages_recovers() {
    // §5.8: at its next redelivery pass.
    let server = Server::in_memory(&["-ma", "1500ms"]);
    let mut session = server.session("client");
    let mut request = crate::support::requests::hasty(all("foo"));
    request.max_in_flight = 2;
    session.subscribe(request).unwrap();
    publish(&mut session, "foo", 2);
    assert_eq!(take(&mut session, 4), [(1, 0), (2, 0), (1, 1), (2, 1)]);
    // They expire before the second pass, this one does not.
    publish(&mut session, "foo", 1);
    assert_eq!(take(&mut session, 1), [(3, 0)]);
    wait_for_bounds(&server, "foo", (0, 4, 3));
}

#[test]
fn a_channel_of_another_case_is_refused_also_after_a_restart() {
    // §13.7 ChannelNameRejectedIfAlreadyExistsWithDifferentCase.
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::with_files(directory.path(), &[]);
    for round in 1..=2 {
        let mut session = server.session(&format!("client{round}"));
        session.publish("Foo", b"x").unwrap();
        assert!(refusal(session.publish("foo", b"x")).contains("exists"));
        assert!(refusal(session.subscribe(subscription("foo"))).contains("exists"));
        assert_eq!(bounds(&server, "Foo"), (round, 1, round));
        assert_eq!(server.get("/streaming/channelsz?channel=foo").0, 404);
        server.kill();
        server = Server::with_files(directory.path(), &[]);
    }
}

#[test]
fn refused_subscriptions_are_not_counted() {
    // §13.7 TooManySubs: counts unchanged.
    let server = Server::in_memory(&["-msu", "1"]);
    let mut session = server.session("client");
    session.subscribe(durable(all("foo"))).unwrap();
    for request in [all("foo"), queue(all("foo")), queue(durable(all("foo")))] {
        assert_eq!(
            refusal(session.subscribe(request)),
            "too many subscriptions per channel"
        );
    }
    assert_eq!(number(&server, "/streaming/channelsz?channel=foo", "subs_count"), 1);
    assert_eq!(number(&server, "/streaming/clientsz?client=client", "subs_count"), 1);
    assert_eq!(number(&server, "/streaming/serverz", "subscriptions"), 1);
}

#[test]
fn single_channels_have_limits_of_their_own() {
    // §6.2, §13.7 PerChannelLimits, UnlimitedPerChannelLimits, CSLimitWithWildcardsInConfig.
    let directory = tempfile::tempdir().unwrap();
    let configuration = r#"streaming {
        store_limits {
            max_msgs: 4
            max_subs: 2
            channels {
                ">": { max_msgs: 3 }
                "foo.>": { max_msgs: 2 }
                "foo.few": { max_subs: 1 }
                "foo.small": { max_bytes: 25 }
                "all": { max_msgs: 0, max_subs: 0, max_bytes: 0, max_age: "0s" }
            }
        }
    }"#;
    let mut server = Server::configured(directory.path(), configuration, &[]).unwrap();
    let mut session = server.session("client");
    for (channel, messages) in [
        ("bar", 3),
        ("foo.bar", 2),
        ("foo.few", 2),
        ("foo.small", 1),
        ("all", 20),
    ] {
        publish(&mut session, channel, 20);
        wait_for_bounds(&server, channel, (messages, 21 - messages, 20));
    }
    for (channel, subscriptions) in [("bar", 2), ("foo.few", 1), ("all", 5)] {
        for _ in 0..subscriptions {
            session.subscribe(subscription(channel)).unwrap();
        }
        let more = refusal(session.subscribe(subscription(channel)));
        let expected = if channel == "all" {
            "taken"
        } else {
            "too many subscriptions per channel"
        };
        assert_eq!(more, expected, "{channel}");
    }
    // §13.7 PerChannelLimitsSetToUnlimitedPrintedCorrectly.
    let line = server.wait_for_line("|-> Bytes").unwrap();
    assert!(
        !server
            .log
            .iter()
            .any(|line| line.contains("|->") && line.contains("-1")),
        "{:#?}",
        server.log
    );
    assert!(!line.is_empty());
    let (_, body) = server.get("/streaming/storez");
    assert!(!body.contains(": -"), "{body}");
}

#[test]
fn patterns_do_not_count_as_channels() {
    // §13.7 LimitsWildcardsDontCountForMaxChannels; §3.
    let directory = tempfile::tempdir().unwrap();
    let limits =
        |channels: &str| format!("streaming {{ store_limits {{ max_channels: 1, channels {{ {channels} }} }} }}");
    let server = Server::configured(directory.path(), &limits("foo: {}, \"foo.*\": {}, \">\": {}"), &[]).unwrap();
    server.session("client").publish("bar", b"x").unwrap();
    drop(server);
    let log = Server::configured(directory.path(), &limits("foo: {}, bar: {}"), &[])
        .err()
        .unwrap();
    let text = "too many channels defined (2). The max channels limit is set to 1";
    assert!(log.iter().any(|line| line.contains(text)), "{log:#?}");
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
