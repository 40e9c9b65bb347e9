//! What monitoring sees (§6.1 - §6.3).

use std::cell::Cell;
use std::collections::HashSet;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seaway_broker::{ConnectionFilter, ConnectionState, SubscriptionDetail};

use crate::support::Server;

#[test]
fn section_6_1_counters_are_current_when_a_reply_is_produced() {
    let server = Server::start();
    let mut subscriber = server.quiet();
    subscriber.flush("SUB foo 1\r\nSUB bar q 2\r\n");
    let mut publisher = server.client(r#"{"verbose":false,"headers":true}"#);
    for round in 1..=50u64 {
        publisher.flush("PUB foo 5\r\nhello\r\nHPUB bar 2 4\r\nh:ok\r\nPUB none 1\r\nx\r\n");
        let snapshot = server.broker.snapshot();
        assert_eq!((snapshot.in_messages, snapshot.in_bytes), (round * 3, round * 10));
        // The subscriber takes no headers, so it gets two bytes less.
        assert_eq!((snapshot.out_messages, snapshot.out_bytes), (round * 2, round * 7));
    }
    let all = server.broker.connections(&ConnectionFilter {
        subscriptions: SubscriptionDetail::List,
        ..ConnectionFilter::default()
    });
    assert_eq!(all.len(), 2);
    let (first, second) = (&all[0], &all[1]);
    assert_eq!((first.id, second.id), (subscriber.id(), publisher.id()));
    assert_eq!((first.out_messages, first.out_bytes, first.in_messages), (100, 350, 0));
    assert_eq!(
        (second.in_messages, second.in_bytes, second.out_messages),
        (150, 500, 0)
    );
    assert_eq!((first.subscriptions, first.pending_bytes), (2, 0));
    let mut list = first.subscription_list.clone();
    list.sort_by(|left, right| left.sid.cmp(&right.sid));
    assert_eq!(
        (list[0].subject.as_str(), list[0].queue.as_deref(), list[0].messages),
        ("foo", None, 50)
    );
    assert_eq!(
        (list[1].subject.as_str(), list[1].queue.as_deref(), list[1].messages),
        ("bar", Some("q"), 50)
    );
    assert_eq!(server.broker.snapshot().subscriptions, 2);
}

#[test]
fn section_6_3_names_and_closed_connections() {
    let server = Server::with(|options| options.max_closed_clients = 3);
    let client = server.client(r#"{"verbose":false,"name":"me","lang":"go","version":"1.2"}"#);
    let open = server.broker.connections(&ConnectionFilter::default());
    assert_eq!(
        (open[0].name.as_str(), open[0].lang.as_str(), open[0].version.as_str()),
        ("me", "go", "1.2")
    );
    assert_eq!(open[0].peer, client.stream.local_addr().unwrap());
    assert!(open[0].ended.is_none() && open[0].uptime < Duration::from_secs(60) && open[0].idle <= open[0].uptime);
    drop(client);
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
    let ids: Vec<u64> = (0..3)
        .map(|_| {
            let client = server.quiet();
            let id = client.id();
            drop(client);
            server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
            id
        })
        .collect();
    let filter = ConnectionFilter {
        state: ConnectionState::Closed,
        ..ConnectionFilter::default()
    };
    let closed = server.broker.connections(&filter);
    // The ring holds three, so the oldest has left it.
    assert_eq!(closed.iter().map(|closed| closed.id).collect::<Vec<_>>(), ids);
    let one = ConnectionFilter {
        connection_id: Some(ids[1]),
        ..filter
    };
    assert_eq!(server.broker.connections(&one).len(), 1);
    assert_eq!(server.broker.snapshot().total_connections, 4);
}

#[test]
fn kicking_closes_one_connection() {
    let server = Server::start();
    let mut victim = server.quiet();
    let mut other = server.quiet();
    assert!(server.broker.kick(victim.id()));
    victim.expect_closed();
    other.expect_nothing_more();
    assert!(!server.broker.kick(9_999));
}

/// §6.2: a connection that has just introduced itself has a round-trip time already.
#[test]
fn a_new_connection_has_a_round_trip_time() {
    let server = Server::start();
    let client = server.quiet();
    let all = server.broker.connections(&ConnectionFilter::default());
    assert_eq!(all[0].id, client.id());
    assert!(all[0].round_trip.is_some());
}

/// §6.4: the subscriptions of one connection, open or closed, as many as are wanted.
#[test]
fn subscriptions_of_one_connection_are_listed() {
    let server = Server::start();
    let mut client = server.quiet();
    let subscriptions: String = (0..2_000)
        .map(|number| format!("SUB foo.{number} q {number}\r\n"))
        .collect();
    client.flush(subscriptions);
    let of = |id, max| {
        let listed = server
            .broker
            .subscriptions_of(id, max, |shown| (shown.subject, shown.queue, shown.sid));
        let mut listed = server.runtime.block_on(listed);
        listed.sort_by_key(|(_, _, sid)| sid.parse::<u32>().unwrap());
        listed
    };
    let id = client.id();
    let all = of(id, usize::MAX);
    assert_eq!(all.len(), 2_000);
    assert_eq!(all[1_999], ("foo.1999".into(), Some("q".into()), "1999".into()));
    assert_eq!(of(id, 700).len(), 700);
    assert_eq!(of(id + 1, 700).len(), 0);
    drop(client);
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
    assert!(!of(id, 10).is_empty(), "the first few of a closed one are remembered");
}

/// Others are served while a long list is made: between two looks at the future nobody makes more than a slice of it.
#[test]
fn a_long_list_of_subscriptions_is_made_in_slices() {
    const MANY: usize = 20_000;
    const SLICE: usize = 512;
    let server = Server::start();
    let mut client = server.quiet();
    let subscriptions: String = (0..MANY)
        .map(|number| format!("SUB foo.{number} {number}\r\n"))
        .collect();
    client.flush(subscriptions);
    let shown = Cell::new(0);
    let list = server.broker.subscriptions_of(client.id(), usize::MAX, |subscription| {
        shown.set(shown.get() + 1);
        subscription.sid
    });
    let mut list = pin!(list);
    let mut context = Context::from_waker(Waker::noop());
    let (mut before, mut slices) = (0, 0);
    let sids = loop {
        let looked = list.as_mut().poll(&mut context);
        assert!(shown.get() - before <= SLICE, "{} in one go", shown.get() - before);
        before = shown.get();
        slices += 1;
        if let Poll::Ready(sids) = looked {
            break sids;
        }
    };
    assert!(slices >= MANY / SLICE);
    let sids: HashSet<String> = sids.into_iter().collect();
    assert_eq!(sids.len(), MANY);
}
