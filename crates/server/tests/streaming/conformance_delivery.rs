//! Start positions, delivery, redelivery through a socket, line by line (`streaming-protocol.md` §5, §13.2 to §13.4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::requests::{
    FIRST, LAST, NEW_ONLY, SEQUENCE, TIME, all, durable, firsts, from, hasty, in_flight, is_quiet, next, publish,
    queue, subscriptions, take,
};
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, Subscribed};
use seaway_stan_protocol::messages::SubscriptionRequest;

const HOUR: i64 = 3_600_000_000_000;

#[test]
fn a_start_position_moves_no_cursor_that_is_there() {
    // §5.1; §13.2 SubStartPositionWithDurable, SubStartPositionWithDurableQueueSub, DurableQueueSubscriber.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    for in_group in [false, true] {
        let channel = format!("foo.{in_group}");
        let request = |position| {
            let request = durable(from(&channel, position));
            if in_group { queue(request) } else { request }
        };
        let mut subscribed = session.subscribe(request(FIRST)).unwrap();
        publish(&mut session, &channel, 3);
        assert_eq!(take(&mut session, 3), firsts(1..=3));
        for sequence in 1..=3 {
            session.ack(&subscribed, sequence);
        }
        for (round, (position, start_sequence, start_time_delta)) in [
            (SEQUENCE, 1, 0),
            (SEQUENCE, 500, 0),
            (SEQUENCE, u64::MAX, 0),
            (TIME, 0, -HOUR),
            (TIME, 0, HOUR),
            (FIRST, 0, 0),
            (LAST, 0, 0),
            (NEW_ONLY, 0, 0),
        ]
        .into_iter()
        .enumerate()
        {
            session.close_subscription(&subscribed).unwrap();
            publish(&mut session, &channel, 2);
            let request = SubscriptionRequest {
                start_sequence,
                start_time_delta,
                ..request(position)
            };
            subscribed = session.subscribe(request).unwrap();
            let sequence = 4 + 2 * round as u64;
            assert_eq!(
                take(&mut session, 2),
                firsts(sequence..=sequence + 1),
                "{in_group} {position}"
            );
            session.ack(&subscribed, sequence);
            session.ack(&subscribed, sequence + 1);
        }
        assert!(is_quiet(&mut session));
    }
}

#[test]
fn consuming_removes_no_message() {
    // stores §8.1: the first message stays the first stored.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 3);
    for _ in 0..2 {
        let subscribed = session.subscribe(all("foo")).unwrap();
        assert_eq!(take(&mut session, 3), firsts(1..=3));
        for sequence in 1..=3 {
            session.ack(&subscribed, sequence);
        }
        session.unsubscribe(&subscribed).unwrap();
    }
}

#[test]
fn one_in_flight_waits_for_its_ack() {
    // §13.3 StalledDelivery, StalledQueueDelivery, StalledDurableDelivery, SubStalledSemantics, QueueGroupStalledSemantics.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    for (channel, request, members) in [
        ("plain", all("plain"), 1),
        ("durable", durable(all("durable")), 1),
        ("queue", queue(all("queue")), 2),
    ] {
        let subscribed: BTreeMap<String, Subscribed> = (0..members)
            .map(|_| session.subscribe(in_flight(request.clone(), 1)).unwrap())
            .map(|subscribed| (subscribed.inbox.clone(), subscribed))
            .collect();
        publish(&mut session, channel, members + 1);
        let mut held = Vec::new();
        for sequence in 1..=members as u64 {
            let message = session.next_message(PATIENCE).unwrap();
            assert_eq!((message.sequence, message.redelivered), (sequence, false));
            held.push(message);
        }
        assert!(is_quiet(&mut session), "{channel}: all are full");
        assert!(subscriptions(&server, channel).iter().all(|shown| shown.stalled));
        publish(&mut session, channel, 1);
        assert!(is_quiet(&mut session), "{channel}: a new message changes nothing");
        let last = held.pop().unwrap();
        session.ack(&subscribed[&last.inbox], last.sequence);
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(
            (message.sequence, message.redelivered, &message.inbox),
            (members as u64 + 1, false, &last.inbox),
            "{channel}: the one that made room gets the next"
        );
        assert!(is_quiet(&mut session), "{channel}: AckWait is far away");
    }
}

#[test]
fn who_subscribes_among_publishes_gets_each_message_once_and_in_order() {
    // §13.3 NoDuplicatesOnSubscriberStart, DeliveryRaceBetweenNextMsgAndStoring.
    const MESSAGES: u64 = 4_000;
    let server = Server::in_memory(&[]);
    let address = &server.address;
    let mut session = server.session("me");
    std::thread::scope(|scope| {
        let publishing = scope.spawn(move || {
            let mut publisher = Session::open(address, "test-cluster", "publisher").unwrap();
            for _ in 0..MESSAGES / 50 {
                publish(&mut publisher, "foo", 50);
            }
        });
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let mut subscribed: BTreeMap<String, Subscribed> = BTreeMap::new();
        let mut kinds = (0..12).map(|number| {
            let request = in_flight(all("foo"), 50);
            match number % 4 {
                0 => request,
                1 => SubscriptionRequest {
                    durable_name: format!("dur{number}").into(),
                    ..request
                },
                2 => SubscriptionRequest {
                    q_group: format!("q{number}").into(),
                    ..request
                },
                _ => SubscriptionRequest {
                    durable_name: format!("dur{number}").into(),
                    q_group: "q".into(),
                    ..request
                },
            }
        });
        let mut received = 0_u64;
        while last.len() < 12 || last.values().any(|sequence| *sequence < MESSAGES) {
            if received.is_multiple_of(100)
                && let Some(request) = kinds.next()
            {
                let one = session.subscribe(request).unwrap();
                last.insert(one.inbox.clone(), 0);
                subscribed.insert(one.inbox.clone(), one);
            }
            let message = session.next_message(PATIENCE).unwrap();
            let before = last.insert(message.inbox.clone(), message.sequence).unwrap();
            assert_eq!((message.sequence, message.redelivered), (before + 1, false));
            session.ack(&subscribed[&message.inbox], message.sequence);
            received += 1;
        }
        publishing.join().unwrap();
        assert_eq!(received, 12 * MESSAGES);
    });
}

#[test]
fn nothing_follows_the_end_of_a_subscription_that_was_behind() {
    // §13.3 DeliveryStopsWhenSubClosed.
    let server = Server::in_memory(&[]);
    let mut publisher = server.session("publisher");
    publish(&mut publisher, "foo", 50_000);
    for (round, end) in [
        |session: &mut Session, subscribed: &Subscribed| session.unsubscribe(subscribed),
        |session: &mut Session, subscribed: &Subscribed| session.close_subscription(subscribed),
        |session: &mut Session, _: &Subscribed| session.close(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut session = server.session(&format!("client{round}"));
        let subscribed = session.subscribe(hasty(in_flight(all("foo"), 1_000_000))).unwrap();
        assert_eq!(take(&mut session, 10), firsts(1..=10));
        end(&mut session, &subscribed).unwrap();
        while session.waiting_messages() > 0 {
            session.next_message(PATIENCE).unwrap();
        }
        assert!(
            session.next_message(Duration::from_millis(1200)).is_err(),
            "round {round}"
        );
        assert!(subscriptions(&server, "foo").is_empty());
    }
}

#[test]
fn a_group_is_sent_again_what_it_does_not_acknowledge() {
    // §5.5, §5.6; §13.4 QueueRedelivery, MultipleRedeliveries, QueueRedeliveryCount: about one AckWait between two.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let members: BTreeMap<String, Subscribed> = (0..2)
        .map(|_| session.subscribe(hasty(queue(all("foo")))).unwrap())
        .map(|subscribed| (subscribed.inbox.clone(), subscribed))
        .collect();
    publish(&mut session, "foo", 1);
    let mut at: BTreeMap<u64, (u32, Instant)> = BTreeMap::new();
    let begin = Instant::now();
    let mut published = 1;
    let mut acked = BTreeSet::new();
    while acked.len() < 2 {
        if published == 1 && begin.elapsed() > Duration::from_millis(100) {
            publish(&mut session, "foo", 1);
            published = 2;
        }
        let Ok(message) = session.next_message(Duration::from_millis(20)) else {
            assert!(begin.elapsed() < PATIENCE);
            continue;
        };
        let now = Instant::now();
        if let Some((count, before)) = at.insert(message.sequence, (message.redelivery_count, now)) {
            assert_eq!(message.redelivery_count, count + 1, "the count is the group's");
            let passed = now - before;
            assert!(
                (Duration::from_millis(500)..Duration::from_millis(1700)).contains(&passed),
                "0.5 to 1.7 AckWaits, not {passed:?}"
            );
        }
        if message.redelivery_count == 3 {
            session.ack(&members[&message.inbox], message.sequence);
            acked.insert(message.sequence);
        }
    }
    assert!(
        session.next_message(Duration::from_millis(1300)).is_err(),
        "everything is acknowledged"
    );
}

#[test]
fn what_a_leaver_held_comes_at_once_to_a_member_that_is_full() {
    // §13.4 QueueRedeliveryWithMsgsReassignedToMemberWithAcksPending in both orders; §13.6 QueueSubsWithDifferentAckWait.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    for (round, first_leaves) in [true, false].into_iter().enumerate() {
        let channel = format!("foo.{round}");
        let member = |ack_wait_in_secs| SubscriptionRequest {
            ack_wait_in_secs,
            ..in_flight(queue(all(&channel)), 1)
        };
        let members = [
            session.subscribe(member(60)).unwrap(),
            session.subscribe(member(30)).unwrap(),
        ];
        publish(&mut session, &channel, 3);
        let mut held = BTreeMap::new();
        for _ in 0..2 {
            let message = session.next_message(PATIENCE).unwrap();
            held.insert(message.inbox, message.sequence);
        }
        let holder = |sequence| members.iter().find(|member| held[&member.inbox] == sequence).unwrap();
        let (leaver, stayer) = if first_leaves {
            (holder(1), holder(2))
        } else {
            (holder(2), holder(1))
        };
        let begin = Instant::now();
        session.close_subscription(leaver).unwrap();
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(
            (message.sequence, message.redelivery_count, &message.inbox),
            (held[&leaver.inbox], 1, &stayer.inbox)
        );
        // 200 ms where the machine does nothing else.
        assert!(begin.elapsed() < Duration::from_millis(1000), "{:?}", begin.elapsed());
        assert!(is_quiet(&mut session));
        session.ack(stayer, 1);
        session.ack(stayer, 2);
        assert_eq!(next(&mut session), (3, 0));
    }
}

#[test]
fn a_group_goes_on_when_a_stalled_member_leaves() {
    // §13.6 QueueGroupNotStalledOnMemberLeaving.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let stalled = session.subscribe(in_flight(queue(all("foo")), 1)).unwrap();
    let other = session.subscribe(in_flight(queue(all("foo")), 3)).unwrap();
    publish(&mut session, "foo", 6);
    let mut held: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for _ in 0..4 {
        let message = session.next_message(PATIENCE).unwrap();
        held.entry(message.inbox).or_default().push(message.sequence);
    }
    assert!(is_quiet(&mut session), "both are full");
    for sequence in &held[&other.inbox] {
        session.ack(&other, *sequence);
    }
    assert_eq!(take(&mut session, 2), firsts(5..=6));
    session.unsubscribe(&stalled).unwrap();
    assert_eq!(next(&mut session), (held[&stalled.inbox][0], 1));
    publish(&mut session, "foo", 2);
    assert!(is_quiet(&mut session), "three are pending");
    for sequence in [held[&stalled.inbox][0], 5] {
        session.ack(&other, sequence);
    }
    assert_eq!(take(&mut session, 2), firsts(7..=8));
}

#[test]
fn a_durable_group_whose_client_died_is_served_after_the_replacement() {
    // §13.4 SubHasFailedHBClearedAfterDurableResume (the durable queue).
    let server = Server::in_memory(&["-hbi", "100ms", "-hbt", "50ms", "-hbf", "1000"]);
    let mut old = server.session("me");
    let request = hasty(durable(queue(all("foo"))));
    old.subscribe(request.clone()).unwrap();
    publish(&mut old, "foo", 1);
    assert_eq!(next(&mut old), (1, 0));
    old.go_deaf().unwrap();
    let mut new = server.session("me");
    let subscribed = new.subscribe(request).unwrap();
    let counts: Vec<u32> = (0..3)
        .map(|_| {
            let message = new.next_message(PATIENCE).unwrap();
            assert_eq!((message.sequence, &message.inbox), (1, &subscribed.inbox));
            message.redelivery_count
        })
        .collect();
    assert!(counts.windows(2).all(|two| two[1] == two[0] + 1), "{counts:?}");
    new.ack(&subscribed, 1);
    publish(&mut new, "foo", 1);
    assert_eq!(next(&mut new), (2, 0));
}
