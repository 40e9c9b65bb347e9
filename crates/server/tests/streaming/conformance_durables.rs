//! Durables and queue groups through a socket, line by line (`streaming-protocol.md` §5.6, §5.7, §13.5, §13.6, §14).

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::Server;
use crate::support::requests::{
    INVALID_SUBSCRIPTION, all, durable, firsts, in_flight, is_quiet, next, publish, queue, refusal, subscriptions, take,
};
use seaway_bench::stan::{Session, Subscribed, subscription};
use seaway_stan_protocol::messages::SubscriptionRequest;

#[test]
fn a_durable_with_more_than_max_in_flight_goes_on_after_ten() {
    // §13.5 DurableRestartWithMaxInflight: 210 messages, MaxInflight 100, stopped at 10.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let request = in_flight(durable(all("foo")), 100);
    let subscribed = session.subscribe(request.clone()).unwrap();
    publish(&mut session, "foo", 210);
    for sequence in 1..=10 {
        assert_eq!(next(&mut session), (sequence, 0));
        session.ack(&subscribed, sequence);
    }
    session.close().unwrap();
    // What was sent before the close had an effect lies here already.
    while session.waiting_messages() > 0 {
        next(&mut session);
    }
    let mut session = server.session("me");
    let subscribed = session.subscribe(request).unwrap();
    for sequence in 11..=210 {
        let (arrived, count) = next(&mut session);
        assert_eq!((arrived, count <= 1), (sequence, true), "all of them, in order");
        assert_eq!(count == 1, sequence <= 110, "{sequence}: what was pending is flagged");
        session.ack(&subscribed, sequence);
    }
    assert!(is_quiet(&mut session));
}

#[test]
fn the_message_whose_ack_was_missing_comes_first() {
    // §13.1 ProtocolOrder, DurableSubscriber: closed in the tenth callback, resumed with MaxInflight 1.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let subscribed = session.subscribe(durable(all("foo"))).unwrap();
    publish(&mut session, "foo", 10);
    for sequence in 1..=10 {
        assert_eq!(next(&mut session), (sequence, 0));
        if sequence < 10 {
            session.ack(&subscribed, sequence);
        }
    }
    session.close().unwrap();
    let mut session = server.session("me");
    publish(&mut session, "foo", 1);
    let subscribed = session.subscribe(in_flight(durable(all("foo")), 1)).unwrap();
    assert_eq!(next(&mut session), (10, 1));
    assert!(is_quiet(&mut session));
    session.ack(&subscribed, 10);
    assert_eq!(next(&mut session), (11, 0));
}

#[test]
fn closed_is_kept_and_unsubscribed_is_forgotten() {
    // §5.6, §5.7; §13.5 DurableRemovedOnUnsubscribe, DurableClosedNotUnsubscribed, SubscriberClose; §13.6
    // BasicDurableQueueSub, QueueGroupRemovedOnLastMemberLeaving.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    for (name, request, lasting) in [
        ("plain", all("plain"), false),
        ("durable", durable(all("durable")), true),
        ("queue", queue(all("queue")), false),
        ("both", queue(durable(all("both"))), true),
    ] {
        publish(&mut session, name, 1);
        let subscribed = session.subscribe(request.clone()).unwrap();
        assert_eq!(next(&mut session), (1, 0));
        session.ack(&subscribed, 1);
        session.close_subscription(&subscribed).unwrap();
        assert_eq!(subscriptions(&server, name).len(), usize::from(lasting), "{name}");
        publish(&mut session, name, 1);
        let subscribed = session.subscribe(request.clone()).unwrap();
        assert_eq!(next(&mut session).0, if lasting { 2 } else { 1 }, "{name}");
        session.unsubscribe(&subscribed).unwrap();
        while session.waiting_messages() > 0 {
            next(&mut session);
        }
        assert!(subscriptions(&server, name).is_empty(), "{name}");
        session.subscribe(request).unwrap();
        assert_eq!(take(&mut session, 2), firsts(1..=2), "{name}: from the beginning");
    }
}

#[test]
fn redeliveries_precede_new_messages_while_others_publish() {
    // §5.7, §5.10; §13.5 NewOnHoldSetOnDurableRestart; §13.1 MsgsNotSentToSubBeforeSubReqResponse.
    let server = Server::in_memory(&[]);
    let address = &server.address;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Session::open(address, "test-cluster", "publisher").unwrap();
            while !done.load(Ordering::Relaxed) {
                publish(&mut publisher, "foo", 10);
            }
        });
        struct Ending<'a>(&'a AtomicBool);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _ending = Ending(&done);
        let mut session = server.session("me");
        let request = |max| in_flight(durable(all("foo")), max);
        let mut subscribed = session.subscribe(request(50)).unwrap();
        assert_eq!(take(&mut session, 50), firsts(1..=50));
        for round in 0..20_u64 {
            session.close_subscription(&subscribed).unwrap();
            assert_eq!(session.waiting_messages(), 0, "MaxInflight held");
            // In every other round less room than there are pending ones: they come all the same.
            let max = if round % 2 == 0 { 50 } else { 10 };
            subscribed = session.subscribe(request(max)).unwrap();
            let pending = 50 * round + 1..=50 * round + 50;
            for sequence in pending.clone() {
                let (arrived, count) = next(&mut session);
                assert_eq!((arrived, count > 0), (sequence, true), "round {round}");
            }
            for sequence in pending {
                session.ack(&subscribed, sequence);
            }
            session.close_subscription(&subscribed).unwrap();
            while session.waiting_messages() > 0 {
                next(&mut session);
            }
            subscribed = session.subscribe(request(50)).unwrap();
            let sequences: Vec<u64> = take(&mut session, 50)
                .into_iter()
                .map(|(sequence, _)| sequence)
                .collect();
            assert!(
                sequences.into_iter().eq(50 * round + 51..=50 * round + 100),
                "round {round}"
            );
        }
    });
}

#[test]
fn joining_and_leaving_at_once_leaves_one_record_of_the_group() {
    // §13.6 PersistentStoreDurableQueueSubRaceBetweenCreateAndClose; §13.5 PersistentStoreMultipleShadowQSubs.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let address = &server.address;
    let request = || queue(durable(all("foo")));
    std::thread::scope(|scope| {
        for client in ["a", "b"] {
            scope.spawn(move || {
                let mut session = Session::open(address, "test-cluster", client).unwrap();
                for _ in 0..100 {
                    let subscribed = session.subscribe(request()).unwrap();
                    session.close_subscription(&subscribed).unwrap();
                }
            });
        }
    });
    let one = |server: &Server| {
        let shown = subscriptions(server, "foo");
        assert_eq!((shown.len(), shown[0].offline), (1, true), "{shown:?}");
    };
    one(&server);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    one(&server);
    assert!(!server.log.iter().any(|line| line.contains("several offline records")));
}

#[test]
fn a_member_that_left_is_gone_after_a_kill() {
    // §13.6 PersistentStoreQMemberRemovedFromStore.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let (mut a, mut b) = (server.session("a"), server.session("b"));
    let request = || queue(durable(all("foo")));
    a.subscribe(request()).unwrap();
    let in_b = b.subscribe(request()).unwrap();
    a.close().unwrap();
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    let shown = subscriptions(&server, "foo");
    assert_eq!((shown.len(), &*shown[0].client, shown[0].offline), (1, "b", false));
    b.reconnect(&server.address).unwrap();
    b.close().unwrap();
    let mut a = server.session("a");
    let in_a = a.subscribe(request()).unwrap();
    let shown = subscriptions(&server, "foo");
    assert_eq!((shown.len(), &*shown[0].client, &shown[0].inbox), (1, "a", &in_a.inbox));
    publish(&mut a, "foo", 1);
    assert_eq!(next(&mut a), (1, 0));
    assert_eq!(refusal(a.unsubscribe(&in_b)), INVALID_SUBSCRIPTION);
}

#[test]
fn an_ended_subscription_frees_its_place_once() {
    // stores §8.1, delete the same sub twice; §6.1 max_subs; §5.7: a resume asks for no room.
    let server = Server::in_memory(&["-msu", "2"]);
    let mut session = server.session("me");
    let kept = session.subscribe(durable(all("foo"))).unwrap();
    let other = session.subscribe(all("foo")).unwrap();
    let full = "too many subscriptions per channel";
    session.close_subscription(&kept).unwrap();
    assert_eq!(
        refusal(session.subscribe(all("foo"))),
        full,
        "an offline durable counts"
    );
    session.subscribe(durable(all("foo"))).unwrap();
    session.unsubscribe(&other).unwrap();
    assert_eq!(refusal(session.unsubscribe(&other)), INVALID_SUBSCRIPTION);
    session.subscribe(all("foo")).unwrap();
    assert_eq!(refusal(session.subscribe(queue(all("foo")))), full);
}

#[test]
fn a_group_may_be_named_like_a_durable_one() {
    // §4; §14 quirk 19: `dur:q` without durable name is the group of durable `dur` and queue `q`.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let subscribed = session.subscribe(queue(durable(all("foo")))).unwrap();
    publish(&mut session, "foo", 2);
    assert_eq!(take(&mut session, 2), firsts(1..=2));
    session.ack(&subscribed, 1);
    session.close_subscription(&subscribed).unwrap();
    let alias = |channel| SubscriptionRequest {
        q_group: "dur:q".into(),
        ..all(channel)
    };
    let mut other = server.session("other");
    let joined = other.subscribe(alias("foo")).unwrap();
    assert_eq!(next(&mut other), (2, 1), "what the offline group still holds");
    publish(&mut session, "foo", 1);
    assert_eq!(next(&mut other), (3, 0));
    let together = session.subscribe(queue(durable(all("foo")))).unwrap();
    publish(&mut session, "foo", 1);
    assert_eq!(next(&mut session), (4, 0), "they are members of one group");
    other.close_subscription(&joined).unwrap();
    session.close_subscription(&together).unwrap();
    assert_eq!(subscriptions(&server, "foo").len(), 1);
}

#[test]
fn totals_follow_what_comes_and_goes() {
    // §13.9 MonitorNumSubs, NumSubs: what counts of durables and groups.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let total = |expected: usize| {
        let (_, body) = server.get("/streaming/serverz");
        assert!(
            body.contains(&format!("\"subscriptions\": {expected},")),
            "{expected}: {body}"
        );
    };
    let plain = session.subscribe(subscription("foo")).unwrap();
    let dur = session.subscribe(durable(subscription("foo"))).unwrap();
    let members: Vec<Subscribed> = (0..2)
        .map(|_| session.subscribe(queue(durable(subscription("foo")))).unwrap())
        .collect();
    total(4);
    session.close_subscription(&members[0]).unwrap();
    total(3);
    session.close_subscription(&members[1]).unwrap();
    total(3);
    session.close_subscription(&dur).unwrap();
    total(3);
    let dur = session.subscribe(durable(subscription("foo"))).unwrap();
    total(3);
    session.unsubscribe(&dur).unwrap();
    total(2);
    session.unsubscribe(&plain).unwrap();
    total(1);
    let member = session.subscribe(queue(durable(subscription("foo")))).unwrap();
    total(1);
    session.unsubscribe(&member).unwrap();
    total(0);
}
