//! Delivery to plain subscriptions and durables through a socket (`streaming-protocol.md` §5.1 to §5.9, §13.2 to §13.5).

use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Received, Session, Subscribed, subscription};
use seaway_stan_protocol::messages::SubscriptionRequest;

const QUIET: Duration = Duration::from_millis(150);

const NEW_ONLY: i32 = 0;
const LAST: i32 = 1;
const TIME: i32 = 2;
const SEQUENCE: i32 = 3;
const FIRST: i32 = 4;

fn from(channel: &str, position: i32) -> SubscriptionRequest {
    SubscriptionRequest {
        start_position: position,
        ..subscription(channel)
    }
}

/// All messages, one in flight unless said otherwise, one second of AckWait.
fn hasty(channel: &str) -> SubscriptionRequest {
    SubscriptionRequest {
        ack_wait_in_secs: 1,
        ..from(channel, FIRST)
    }
}

fn durable(request: SubscriptionRequest) -> SubscriptionRequest {
    SubscriptionRequest {
        durable_name: "dur".into(),
        ..request
    }
}

fn in_flight(request: SubscriptionRequest, max_in_flight: i32) -> SubscriptionRequest {
    SubscriptionRequest {
        max_in_flight,
        ..request
    }
}

fn publish(session: &mut Session, channel: &str, count: usize) {
    for _ in 0..count {
        session.publish_async(channel, b"x");
    }
    for _ in 0..count {
        assert_eq!(session.next_pub_ack(PATIENCE).unwrap().error, "");
    }
}

fn next(session: &mut Session) -> (u64, u32) {
    let Received {
        sequence,
        redelivered,
        redelivery_count,
        ..
    } = session.next_message(PATIENCE).unwrap();
    assert_eq!(redelivered, redelivery_count > 0, "the flag and the count agree");
    (sequence, redelivery_count)
}

fn take(session: &mut Session, count: usize) -> Vec<(u64, u32)> {
    (0..count).map(|_| next(session)).collect()
}

fn firsts(sequences: std::ops::RangeInclusive<u64>) -> Vec<(u64, u32)> {
    sequences.map(|sequence| (sequence, 0)).collect()
}

fn is_quiet(session: &mut Session) -> bool {
    session.next_message(QUIET).is_err()
}

/// Where a subscription begins: what it gets at once, or the first thing it gets after one more publish.
fn begins(session: &mut Session, request: SubscriptionRequest) -> (Option<u64>, u64) {
    let channel = String::from_utf8_lossy(&request.subject).into_owned();
    let subscribed = session.subscribe(in_flight(request, 1)).unwrap();
    let at_once = session.next_message(QUIET).ok().map(|message| message.sequence);
    if let Some(sequence) = at_once {
        session.ack(&subscribed, sequence);
    }
    publish(session, &channel, 1);
    let then = next(session).0;
    session.unsubscribe(&subscribed).unwrap();
    (at_once, then)
}

#[test]
fn start_positions_of_an_empty_channel() {
    // §5.1: whatever is asked, the first message ever is delivered. §13.2 SubStartPositionNewOnly,
    // SubStartPositionLastReceived, SubStartPositionFirstSequence.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    for (position, sequence, delta) in [
        (NEW_ONLY, 0, 0),
        (LAST, 0, 0),
        (TIME, 0, 3_600_000_000_000),
        (TIME, 0, -3_600_000_000_000),
        (SEQUENCE, 0, 0),
        (SEQUENCE, 17, 0),
        (SEQUENCE, u64::MAX, 0),
        (FIRST, 0, 0),
    ] {
        let request = SubscriptionRequest {
            start_sequence: sequence,
            start_time_delta: delta,
            ..from(&format!("empty.{position}.{sequence}.{delta}"), position)
        };
        assert_eq!(
            begins(&mut session, request),
            (None, 1),
            "{position} {sequence} {delta}"
        );
    }
}

#[test]
fn start_positions_where_the_first_messages_have_gone() {
    // §5.1; §13.2 SubStartPositionNewOnly, SubStartPositionLastReceived, SubscriptionStartPositionLast,
    // SubStartPositionFirstSequence, SubscriptionStartAtFirst, SubStartPositionSequenceStart, SubscriptionStartAt: messages
    // 11 to 20 are left, the next is 21.
    for directory in [None, Some(tempfile::tempdir().unwrap())] {
        let server = match &directory {
            None => Server::in_memory(&["-mm", "10"]),
            Some(directory) => Server::with_files(directory.path(), &["-mm", "10"]),
        };
        let mut session = server.session("me");
        let hour = 3_600_000_000_000;
        for (index, (position, sequence, delta, at_once)) in [
            (NEW_ONLY, 0, 0, None),
            (LAST, 0, 0, Some(20)),
            (TIME, 0, hour, Some(11)),
            (TIME, 0, i64::MAX, Some(11)),
            (TIME, 0, 0, None),
            (TIME, 0, -hour, None),
            (TIME, 0, i64::MIN, None),
            (SEQUENCE, 0, 0, Some(11)),
            (SEQUENCE, 1, 0, Some(11)),
            (SEQUENCE, 11, 0, Some(11)),
            (SEQUENCE, 15, 0, Some(15)),
            (SEQUENCE, 20, 0, Some(20)),
            (SEQUENCE, 21, 0, None),
            (SEQUENCE, 500, 0, None),
            (SEQUENCE, u64::MAX, 0, None),
            (FIRST, 0, 0, Some(11)),
        ]
        .into_iter()
        .enumerate()
        {
            let channel = format!("foo.{index}");
            publish(&mut session, &channel, 20);
            let request = SubscriptionRequest {
                start_sequence: sequence,
                start_time_delta: delta,
                ..from(&channel, position)
            };
            let then = at_once.map_or(21, |sequence| sequence + 1);
            // Message 21 pushes out 11, which was acknowledged or not asked for.
            assert_eq!(
                begins(&mut session, request),
                (at_once, then),
                "{position} {sequence} {delta}"
            );
        }
    }
}

#[test]
fn a_start_time_in_the_middle_is_found() {
    // §13.2 SubStartPositionTimeDelta.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 5);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(400) {
        assert!(is_quiet(&mut session));
    }
    publish(&mut session, "foo", 5);
    let request = SubscriptionRequest {
        start_time_delta: 200_000_000,
        ..from("foo", TIME)
    };
    session.subscribe(request).unwrap();
    assert_eq!(next(&mut session), (6, 0));
}

#[test]
fn start_positions_when_everything_has_expired() {
    // §5.1, last column but one.
    let server = Server::in_memory(&["-ma", "300ms"]);
    let mut session = server.session("me");
    for (position, sequence) in [
        (NEW_ONLY, 0),
        (LAST, 0),
        (TIME, 0),
        (SEQUENCE, 1),
        (SEQUENCE, 9),
        (FIRST, 0),
    ] {
        let channel = format!("foo.{position}.{sequence}");
        publish(&mut session, &channel, 3);
        let path = format!("/streaming/channelsz?channel={channel}");
        let deadline = Instant::now() + PATIENCE;
        while !server.get(&path).1.contains("\"msgs\": 0,") {
            assert!(Instant::now() < deadline, "messages do not expire");
        }
        let request = SubscriptionRequest {
            start_sequence: sequence,
            start_time_delta: 3_600_000_000_000,
            ..from(&channel, position)
        };
        assert_eq!(begins(&mut session, request), (None, 4), "{position} {sequence}");
    }
}

#[test]
fn max_in_flight_bounds_what_is_not_acknowledged() {
    // §13.3 ManualAck: exactly 10 of 101, then all after acks; StalledDelivery.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 102);
    let subscribed = session.subscribe(in_flight(from("foo", FIRST), 10)).unwrap();
    assert_eq!(take(&mut session, 10), firsts(1..=10));
    assert!(is_quiet(&mut session));
    session.ack(&subscribed, 1);
    assert_eq!(next(&mut session), (11, 0));
    assert!(is_quiet(&mut session));
    // An ack of what is not pending makes no room; nor does a second one.
    for sequence in [1, 1, 500, 0, u64::MAX] {
        session.ack(&subscribed, sequence);
    }
    assert!(is_quiet(&mut session));
    for sequence in 2..=102 {
        session.ack(&subscribed, sequence);
        if sequence + 10 <= 102 {
            assert_eq!(next(&mut session), (sequence + 10, 0));
        }
    }
    assert!(is_quiet(&mut session));
}

#[test]
fn unacknowledged_messages_come_again_and_are_counted() {
    // §5.5, §13.4 Redelivery, RedeliveredFlag, MultipleRedeliveries, RedeliveryCount.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 6);
    let subscribed = session.subscribe(hasty("foo")).unwrap();
    assert_eq!(take(&mut session, 6), firsts(1..=6));
    for sequence in [1, 3, 5] {
        session.ack(&subscribed, sequence);
    }
    let mut begin = Instant::now();
    for count in 1..=3 {
        assert_eq!(take(&mut session, 3), [(2, count), (4, count), (6, count)]);
        let passed = begin.elapsed();
        begin = Instant::now();
        assert!(
            (Duration::from_millis(500)..Duration::from_millis(1700)).contains(&passed),
            "0.5 to 1.7 AckWaits, not {passed:?}"
        );
    }
    let other = session.subscribe(from("foo", FIRST)).unwrap();
    for sequence in 1..=6 {
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(
            (message.sequence, message.redelivered, message.inbox),
            (sequence, false, other.inbox.clone()),
            "the count belongs to a subscription"
        );
    }
    session.unsubscribe(&other).unwrap();
    for sequence in [2, 4, 6] {
        session.ack(&subscribed, sequence);
    }
    assert!(
        session.next_message(Duration::from_millis(1300)).is_err(),
        "everything is acknowledged"
    );
}

#[test]
fn a_stalled_subscription_is_sent_again_what_it_holds() {
    // §5.10, first and second row; §13.4 StalledRedelivery.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 3);
    let subscribed = session.subscribe(in_flight(hasty("foo"), 1)).unwrap();
    assert_eq!(take(&mut session, 3), [(1, 0), (1, 1), (1, 2)]);
    session.ack(&subscribed, 1);
    assert_eq!(take(&mut session, 2), [(2, 0), (2, 1)]);
}

#[test]
fn nothing_comes_after_the_end_of_a_subscription_that_is_being_redelivered() {
    // §13.4 RedeliveryRace, NoPanicOnSubCloseWhileOnRedelivery.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 200);
    let subscriptions: Vec<Subscribed> = (0..10).map(|_| session.subscribe(hasty("foo")).unwrap()).collect();
    for _ in 0..2000 {
        session.next_message(PATIENCE).unwrap();
    }
    assert_eq!(next(&mut session).1, 1, "redelivery has begun");
    for subscribed in &subscriptions {
        session.unsubscribe(subscribed).unwrap();
    }
    while session.waiting_messages() > 0 {
        session.next_message(PATIENCE).unwrap();
    }
    assert!(session.next_message(Duration::from_millis(1300)).is_err());
    session.publish("foo", b"still here").unwrap();
}

#[test]
fn a_durable_is_one_at_a_time() {
    // §5.7, §13.5 DurableCanReconnect, DurableSubscriber, DurableAckedMsgNotRedelivered.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let request = durable(from("foo", FIRST));
    let first = session.subscribe(request.clone()).unwrap();
    let error = session.subscribe(request.clone()).unwrap_err();
    assert_eq!(error.to_string(), "stan: duplicate durable registration");
    session
        .subscribe(durable(from("bar", FIRST)))
        .expect("another channel is another durable");
    server
        .session("other")
        .subscribe(request.clone())
        .expect("another client's too");
    publish(&mut session, "foo", 3);
    assert_eq!(take(&mut session, 3), firsts(1..=3));
    session.ack(&first, 1);
    session.ack(&first, 3);
    session.close_subscription(&first).unwrap();
    let ignored = SubscriptionRequest {
        start_position: SEQUENCE,
        start_sequence: 500,
        ..request.clone()
    };
    let second = session.subscribe(ignored).unwrap();
    assert_ne!(first.ack_inbox, second.ack_inbox, "§14 quirk 4");
    assert_eq!(next(&mut session), (2, 1));
    session.ack(&first, 2);
    publish(&mut session, "foo", 1);
    assert_eq!(next(&mut session), (4, 0));
    session.ack(&second, 4);
    session.close_subscription(&second).unwrap();
    let third = session.subscribe(request.clone()).unwrap();
    assert_eq!(
        next(&mut session),
        (2, 2),
        "an ack to the old inbox counted for nothing; counts go on"
    );
    session.unsubscribe(&third).unwrap();
    let fourth = session.subscribe(request).unwrap();
    assert_eq!(take(&mut session, 4), firsts(1..=4), "unsubscribed is forgotten");
    session.close().unwrap();
    assert_eq!(
        session.unsubscribe(&fourth).unwrap_err().to_string(),
        "stan: invalid subscription",
        "an offline durable cannot be unsubscribed"
    );
}

#[test]
fn a_resumed_durable_gets_all_it_holds_whatever_its_new_bound() {
    // §5.7, §5.10; §13.1 ProtocolOrder (MaxInflight 1), §13.5 NewOnHoldSetOnDurableRestart.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let request = durable(from("foo", FIRST));
    let subscribed = session.subscribe(request.clone()).unwrap();
    publish(&mut session, "foo", 50);
    assert_eq!(take(&mut session, 50), firsts(1..=50));
    session.close_subscription(&subscribed).unwrap();
    publish(&mut session, "foo", 3);
    let subscribed = session.subscribe(in_flight(request, 1)).unwrap();
    let again: Vec<_> = (1..=50).map(|sequence| (sequence, 1)).collect();
    assert_eq!(take(&mut session, 50), again);
    assert!(is_quiet(&mut session));
    for sequence in 1..50 {
        session.ack(&subscribed, sequence);
    }
    assert!(is_quiet(&mut session), "one is pending still");
    session.ack(&subscribed, 50);
    assert_eq!(next(&mut session), (51, 0));
    assert!(is_quiet(&mut session));
}

#[test]
fn a_durable_is_replaced_when_the_server_allows_it() {
    // §5.7, §13.5 DurableReplaced.
    let server = Server::in_memory(&["-replace_durable"]);
    let mut session = server.session("me");
    let request = durable(from("foo", FIRST));
    let first = session.subscribe(request.clone()).unwrap();
    publish(&mut session, "foo", 1);
    assert_eq!(next(&mut session), (1, 0));
    let second = session.subscribe(request).unwrap();
    let message = session.next_message(PATIENCE).unwrap();
    assert_eq!(
        (message.inbox, message.sequence, message.redelivery_count),
        (second.inbox.clone(), 1, 1)
    );
    publish(&mut session, "foo", 1);
    let message = session.next_message(PATIENCE).unwrap();
    assert_eq!((message.inbox, message.sequence), (second.inbox.clone(), 2));
    assert!(is_quiet(&mut session), "one delivery");
    let error = session.close_subscription(&first).unwrap_err();
    assert_eq!(error.to_string(), "stan: invalid subscription");
    session.close_subscription(&second).unwrap();
}

#[test]
fn pending_messages_come_back_after_a_kill() {
    // §5.9, §13.3 AutomaticDeliveryOnRestart, §13.4 RedeliveryCbPerSub: the client only reconnects.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 8);
    let one = session.subscribe(in_flight(hasty("foo"), 4)).unwrap();
    assert_eq!(take(&mut session, 4), firsts(1..=4));
    let two = session.subscribe(durable(hasty("foo"))).unwrap();
    assert_eq!(take(&mut session, 8), firsts(1..=8));
    session.ack(&one, 2);
    assert_eq!(next(&mut session), (5, 0));
    for sequence in 1..=7 {
        session.ack(&two, sequence);
    }
    // Acks ride the batch after the one they came with: the second publish makes them durable.
    for _ in 0..2 {
        session.publish("bar", b"x").unwrap();
    }
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    session.reconnect(&server.address).unwrap();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while first.len() < 4 || second.is_empty() {
        let message = session.next_message(PATIENCE).unwrap();
        assert!(message.redelivered, "{message:?}");
        if message.inbox == one.inbox {
            first.push(message.sequence);
        } else {
            assert_eq!(message.inbox, two.inbox);
            second.push(message.sequence);
        }
    }
    assert_eq!(first, [1, 3, 4, 5]);
    assert!(second.iter().all(|sequence| *sequence == 8), "{second:?}");
    session.ack(&two, 8);
    for sequence in [1, 3, 4, 5] {
        session.ack(&one, sequence);
    }
    loop {
        let message = session.next_message(PATIENCE).unwrap();
        if message.redelivery_count == 0 {
            assert_eq!((message.sequence, message.inbox), (6, one.inbox.clone()));
            break;
        }
    }
    assert_eq!(take(&mut session, 2), firsts(7..=8));
    for sequence in 6..=8 {
        session.ack(&one, sequence);
    }
    assert!(session.next_message(Duration::from_millis(1300)).is_err());
}

#[test]
fn a_durable_that_crashed_and_came_back_is_served_again() {
    // §13.4 SubHasFailedHBClearedAfterDurableResume.
    let server = Server::in_memory(&["-hbi", "100ms", "-hbt", "50ms", "-hbf", "1000"]);
    let mut old = server.session("me");
    let request = durable(hasty("foo"));
    old.subscribe(request.clone()).unwrap();
    publish(&mut old, "foo", 1);
    assert_eq!(next(&mut old), (1, 0));
    old.go_deaf().unwrap();
    assert!(
        old.next_message(Duration::from_millis(1500)).is_err(),
        "nothing is sent again while heartbeats fail"
    );
    let mut new = server.session("me");
    new.subscribe(request).unwrap();
    assert_eq!(take(&mut new, 3), [(1, 1), (1, 2), (1, 3)]);
}

#[test]
fn messages_that_went_while_they_were_pending_make_room() {
    // §5.8, §13.4 DroppedMessagesOnRedelivery.
    let server = Server::in_memory(&["-mm", "3"]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 3);
    session.subscribe(in_flight(hasty("foo"), 3)).unwrap();
    assert_eq!(take(&mut session, 3), firsts(1..=3));
    publish(&mut session, "foo", 1);
    assert_eq!(
        take(&mut session, 3),
        [(2, 1), (3, 1), (4, 0)],
        "1 has gone: its place is taken"
    );
}

/// §5.3: one connection has many subscriptions and large messages, and reads only later: its queue is known to be full before each of
/// them adds to it, so it is not closed as a slow consumer, and gets everything.
#[test]
fn many_subscriptions_of_one_connection_share_its_room() {
    const SUBSCRIPTIONS: usize = 300;
    const MESSAGES: u64 = 3;
    const SIZE: usize = 400_000;
    let server = Server::in_memory(&["-hbi", "1h"]);
    let mut reader = server.session("reader");
    let mut inboxes = std::collections::BTreeMap::new();
    for _ in 0..SUBSCRIPTIONS {
        let subscribed = reader.subscribe(seaway_bench::stan::subscription("large")).unwrap();
        inboxes.insert(subscribed.inbox, 0);
    }
    let mut publisher = server.session("publisher");
    for _ in 0..MESSAGES {
        publisher.publish("large", &[b'x'; SIZE]).unwrap();
    }
    for _ in 0..SUBSCRIPTIONS as u64 * MESSAGES {
        let message = reader.next_message(PATIENCE).expect("the connection lives");
        assert_eq!((message.data.len(), message.redelivered), (SIZE, false));
        let last = inboxes.get_mut(&message.inbox).unwrap();
        *last += 1;
        assert_eq!(message.sequence, *last, "each subscription gets all, in order");
    }
    assert!(inboxes.values().all(|last| *last == MESSAGES));
}

/// §5.5: a redelivery that nobody could hear is none.
#[test]
fn what_comes_again_while_nobody_listens_is_not_counted() {
    let server = Server::in_memory(&[]);
    let mut away = server.session("away");
    let mut here = server.session("here");
    publish(&mut here, "foo", 1);
    let subscribed = away.subscribe(in_flight(hasty("foo"), 10)).unwrap();
    assert_eq!(next(&mut away), (1, 0));
    away.cut().unwrap();
    here.subscribe(in_flight(hasty("foo"), 10)).unwrap();
    // Another subscription tells how often AckWait has passed.
    assert_eq!(take(&mut here, 4), [(1, 0), (1, 1), (1, 2), (1, 3)]);
    away.reconnect(&server.address).unwrap();
    assert_eq!(next(&mut away), (1, 1));
    away.ack(&subscribed, 1);
}
