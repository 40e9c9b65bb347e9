//! Messages that go under their subscribers, and servers that go under their clients (`streaming-protocol.md` §5.8, §5.9,
//! §6.4): nothing stops, nothing acknowledged is lost, nothing settled comes back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server};
use rustix::process::Signal;
use seaway_bench::stan::{Session, Subscribed, subscription};
use seaway_stan_protocol::messages::SubscriptionRequest;

const QUIET: Duration = Duration::from_millis(150);
const FIRST: i32 = 4;

fn all(channel: &str) -> SubscriptionRequest {
    SubscriptionRequest {
        start_position: FIRST,
        ..subscription(channel)
    }
}

fn durable(request: SubscriptionRequest) -> SubscriptionRequest {
    SubscriptionRequest {
        durable_name: "dur".into(),
        ..request
    }
}

fn queue(request: SubscriptionRequest) -> SubscriptionRequest {
    SubscriptionRequest {
        q_group: "q".into(),
        ..request
    }
}

fn restarted(server: Server, directory: &Path, more: &[&str]) -> Server {
    server.kill();
    Server::with_files(directory, more)
}

#[test]
fn what_a_durable_held_and_lost_does_not_hold_it_up() {
    // §5.8: pending messages that have gone are dropped at the resume, whatever MaxInflight.
    let more = ["-mm", "5"];
    for in_group in [false, true] {
        for kills in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let mut server = Server::with_files(directory.path(), &more);
            let mut session = server.session("me");
            let request = durable(all("foo"));
            let request = if in_group { queue(request) } else { request };
            let subscribed = session.subscribe(request.clone()).unwrap();
            for sequence in 1..=5 {
                session.publish("foo", b"x").unwrap();
                assert_eq!(session.next_message(PATIENCE).unwrap().sequence, sequence);
            }
            session.close_subscription(&subscribed).unwrap();
            for _ in 0..7 {
                session.publish("foo", b"x").unwrap();
            }
            if kills {
                server = restarted(server, directory.path(), &more);
                session.reconnect(&server.address).unwrap();
            }
            let request = SubscriptionRequest {
                max_in_flight: 1,
                ..request
            };
            let subscribed = session.subscribe(request).unwrap();
            for sequence in 8..=12 {
                let message = session.next_message(PATIENCE).unwrap();
                assert_eq!(
                    (message.sequence, message.redelivered),
                    (sequence, false),
                    "{in_group} {kills}"
                );
                session.ack(&subscribed, sequence);
            }
            assert!(session.next_message(QUIET).is_err());
        }
    }
}

#[test]
fn slow_subscriptions_jump_over_what_went_and_reach_the_end() {
    // §5.3 Missing messages, §13.3 DeliveryWithGapsInSequence, §13.7 DroppedMessagesOnSendToQueueSub; all of it read from disk after a restart.
    const MESSAGES: u64 = 10_000;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-mm", "1000"]);
    let mut publisher = server.session("publisher");
    let mut session = server.session("me");
    let request = |request| SubscriptionRequest {
        max_in_flight: 3,
        ..request
    };
    let mut subscriptions = vec![
        session.subscribe(request(all("foo"))).unwrap(),
        session.subscribe(request(durable(all("foo")))).unwrap(),
        session.subscribe(request(queue(all("foo")))).unwrap(),
    ];
    let publish = |publisher: &mut Session, count| {
        for _ in 0..count {
            publisher.publish_async("foo", &[b'x'; 200]);
        }
        for _ in 0..count {
            assert_eq!(publisher.next_pub_ack(PATIENCE).unwrap().error, "");
        }
    };
    let mut gaps = 0;
    let mut step = |session: &mut Session, subscriptions: &[Subscribed], last: &mut [u64; 3], again: bool| {
        let message = session.next_message(PATIENCE).unwrap();
        let at = subscriptions.iter().position(|one| one.inbox == message.inbox).unwrap();
        assert!(
            message.sequence > last[at] || (again && message.redelivered),
            "{at}: {message:?} after {last:?}"
        );
        gaps += u64::from(message.sequence > last[at] + 1);
        last[at] = last[at].max(message.sequence);
        session.ack(&subscriptions[at], message.sequence);
        last.iter().all(|last| *last == MESSAGES)
    };
    let mut last = [0; 3];
    for _ in 0..50 {
        publish(&mut publisher, MESSAGES / 100);
        for _ in 0..6 {
            step(&mut session, &subscriptions, &mut last, false);
        }
    }
    let server = restarted(server, directory.path(), &["-mm", "1000"]);
    publisher.reconnect(&server.address).unwrap();
    session.reconnect(&server.address).unwrap();
    // Without waiting for their AckWait: a durable resumed, the others anew, from the first message that is left.
    for subscribed in &subscriptions {
        session.close_subscription(subscribed).unwrap();
    }
    while session.waiting_messages() > 0 {
        session.next_message(PATIENCE).unwrap();
    }
    subscriptions = vec![
        session.subscribe(request(all("foo"))).unwrap(),
        session.subscribe(request(durable(all("foo")))).unwrap(),
        session.subscribe(request(queue(all("foo")))).unwrap(),
    ];
    // They may have seen some of what is left; and a kill may forget which of the last messages the durable has seen.
    last = [0; 3];
    let mut finished = false;
    for _ in 0..50 {
        publish(&mut publisher, MESSAGES / 100);
        for _ in 0..6 {
            finished = step(&mut session, &subscriptions, &mut last, true);
        }
    }
    while !finished {
        finished = step(&mut session, &subscriptions, &mut last, true);
    }
    assert!(gaps > 10, "something was jumped over: {gaps}");
}

#[test]
fn a_deleted_channel_takes_its_offline_durables_along() {
    // §6.4, §14 quirk 9: also over a kill.
    let directory = tempfile::tempdir().unwrap();
    let more = ["-mi", "300ms"];
    let mut server = Server::with_files(directory.path(), &more);
    let mut session = server.session("me");
    for request in [durable(all("foo")), queue(durable(all("foo")))] {
        let subscribed = session.subscribe(request.clone()).unwrap();
        session.publish("foo", b"old").unwrap();
        session.next_message(PATIENCE).unwrap();
        session.close_subscription(&subscribed).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while server.get("/streaming/channelsz?channel=foo").0 != 404 {
            assert!(Instant::now() < deadline, "the channel stays");
        }
        // The deletion is written lazily; what is acknowledged after it makes it durable.
        session.publish("bar", b"x").unwrap();
        server = restarted(server, directory.path(), &more);
        session.reconnect(&server.address).unwrap();
        let subscribed = session.subscribe(request).unwrap();
        assert!(session.next_message(QUIET).is_err(), "nothing is left of the old one");
        session.publish("foo", b"new").unwrap();
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(
            (message.sequence, message.redelivered, &message.data[..]),
            (1, false, &b"new"[..])
        );
        session.unsubscribe(&subscribed).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while server.get("/streaming/channelsz?channel=foo").0 != 404 {
            assert!(Instant::now() < deadline, "the channel stays");
        }
    }
}

#[test]
fn an_orderly_end_keeps_every_ack() {
    // §5.2: which sequences were acknowledged is persisted; only a crash may forget the last few.
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    let requests = [
        all("foo"),
        durable(all("foo")),
        queue(all("foo")),
        queue(durable(all("foo"))),
    ];
    let subscriptions: Vec<Subscribed> = requests
        .into_iter()
        .map(|request| {
            session
                .subscribe(SubscriptionRequest {
                    ack_wait_in_secs: 1,
                    ..request
                })
                .unwrap()
        })
        .collect();
    for round in 1..=3 {
        session.publish("foo", b"x").unwrap();
        for _ in 0..4 {
            let message = session.next_message(PATIENCE).unwrap();
            assert_eq!((message.sequence, message.redelivered), (round, false), "{message:?}");
            let subscribed = subscriptions.iter().find(|one| one.inbox == message.inbox).unwrap();
            session.ack(subscribed, message.sequence);
        }
        session.ping().unwrap();
        server.signal_and_wait(Signal::TERM);
        server = Server::with_files(directory.path(), &[]);
        session.reconnect(&server.address).unwrap();
        assert!(session.next_message(Duration::from_millis(1300)).is_err());
    }
}

#[test]
fn nothing_acknowledged_is_lost_over_kills() {
    // §5.9: two members of a durable group, one of which dies and returns; every PubAck is a message that arrives.
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::with_files(directory.path(), &[]);
    let mut publisher = server.session("publisher");
    let (mut a, mut b) = (server.session("a"), server.session("b"));
    let request = SubscriptionRequest {
        max_in_flight: 16,
        ack_wait_in_secs: 1,
        ..queue(durable(all("foo")))
    };
    let (in_a, mut in_b) = (
        a.subscribe(request.clone()).unwrap(),
        b.subscribe(request.clone()).unwrap(),
    );
    let (mut stored, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let take = |session: &mut Session, subscribed: &Subscribed, seen: &mut BTreeSet<Vec<u8>>, wait: u64| {
        while let Ok(message) = session.next_message(Duration::from_millis(wait)) {
            // Every fifth is held back: it comes again.
            if message.redelivered || message.sequence % 5 != 0 {
                session.ack(subscribed, message.sequence);
            }
            seen.insert(message.data);
        }
    };
    for round in 0..6 {
        for number in 0..50 {
            let data = format!("{round}.{number}").into_bytes();
            publisher.publish("foo", &data).unwrap();
            stored.insert(data);
            take(&mut a, &in_a, &mut seen, 1);
            take(&mut b, &in_b, &mut seen, 1);
        }
        server = restarted(server, directory.path(), &[]);
        publisher.reconnect(&server.address).unwrap();
        a.reconnect(&server.address).unwrap();
        if round % 2 == 0 {
            // A new process in the place of the old one, which nobody hears.
            b = server.session("b");
            in_b = b.subscribe(request.clone()).unwrap();
        } else {
            b.reconnect(&server.address).unwrap();
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < stored.len() {
        take(&mut a, &in_a, &mut seen, 20);
        take(&mut b, &in_b, &mut seen, 20);
        assert!(
            Instant::now() < deadline,
            "lost: {:?}",
            stored.difference(&seen).collect::<Vec<_>>()
        );
    }
    assert_eq!(seen, stored);
}
