//! Three transports on loopback: what is sent arrives, and what is lost is told of once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::trial::{Node, PATIENCE, Way, introduce, options, secret};
use bytes::Bytes;
use seaway_replica::{Class, Unsent};
use seaway_transport::limits::{self, Timing};
use seaway_transport::{Event, Security};

async fn pair() -> (Node, Node) {
    let mut a = Node::member("a", 1, secret("s")).await;
    let mut b = Node::member("b", 2, secret("s")).await;
    introduce(&[&a, &b]);
    a.connected(2).await;
    b.connected(1).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_three_members_arrive_whole_and_in_order() {
    let mut nodes = Vec::new();
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        nodes.push(Node::member(name, id, secret("s")).await);
    }
    introduce(&nodes.iter().collect::<Vec<_>>());
    let mut sessions = BTreeMap::new();
    for node in &mut nodes {
        for _ in 0..2 {
            let (to, session) = node
                .until(|event| match event {
                    Event::Connected { node, session } => Some((node, session)),
                    _ => None,
                })
                .await;
            sessions.insert((node.id, to), session);
        }
    }
    for ((from, to), session) in &sessions {
        assert_eq!(sessions[&(*to, *from)], *session);
    }
    for node in &nodes {
        for to in (1..=3).filter(|to| *to != node.id) {
            for number in 0..20_u8 {
                let class = if number % 2 == 0 { Class::Control } else { Class::Bulk };
                let parts = vec![
                    Bytes::from(vec![number]),
                    Bytes::new(),
                    Bytes::from(vec![node.id as u8; usize::from(number) * 20]),
                ];
                node.transport.send(to, class, parts).unwrap();
            }
        }
    }
    for node in &mut nodes {
        let own = node.id;
        let mut next: BTreeMap<(u64, Class), u8> = BTreeMap::new();
        for _ in 0..40 {
            let (from, session, class, bytes) = node
                .until(|event| match event {
                    Event::Frame {
                        from,
                        session,
                        class,
                        bytes,
                        ..
                    } => Some((from, session, class, bytes)),
                    _ => None,
                })
                .await;
            let number = next
                .entry((from, class))
                .or_insert(if class == Class::Control { 0 } else { 1 });
            assert_eq!(bytes[0], *number);
            assert_eq!(bytes[1..], vec![from as u8; usize::from(*number) * 20]);
            assert_eq!(session, sessions[&(own, from)]);
            *number += 2;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_the_queue_goes_alone_and_what_is_larger_than_a_frame_does_not() {
    let (a, mut b) = pair().await;
    let large: Vec<_> = (0..40_u8).map(|part| Bytes::from(vec![part; 1 << 20])).collect();
    a.transport.send(2, Class::Bulk, large.clone()).unwrap();
    assert_eq!(
        a.transport.send(2, Class::Bulk, vec![Bytes::from_static(b"x")]),
        Err(Unsent)
    );
    let (_, class, bytes) = b.frame(1).await;
    assert_eq!((class, bytes.len()), (Class::Bulk, 40 << 20));
    assert!(bytes == large.concat());
    let too_long = vec![Bytes::from(vec![0; limits::CONTROL_FRAME_BYTES_MAX + 1])];
    assert_eq!(a.transport.send(2, Class::Control, too_long), Err(Unsent));
    assert_eq!(a.transport.send(9, Class::Control, Vec::new()), Err(Unsent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_sent_in_its_session_or_not_at_all() {
    let (mut a, mut b) = pair().await;
    let session = a.transport.statistics()[0].session.unwrap();
    let frame = || vec![Bytes::from_static(b"frame")];
    a.transport
        .batch()
        .send(2, Some(session), Class::Control, frame())
        .unwrap();
    assert_eq!(b.frame(1).await.0, session);
    a.transport.disconnect(2, "for a trial");
    let (lost, why) = b.lost(1).await;
    assert_eq!(lost, session);
    assert!(why.contains("for a trial"), "{why}");
    let again = b.connected(1).await;
    assert_eq!(a.connected(2).await, again);
    assert!(again > session);
    assert_eq!(
        a.transport.batch().send(2, Some(session), Class::Control, frame()),
        Err(Unsent)
    );
    a.transport
        .batch()
        .send(2, Some(again), Class::Control, frame())
        .unwrap();
    assert_eq!(b.frame(1).await.0, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_starts_again_is_connected_in_a_later_session() {
    let (mut a, b) = pair().await;
    let (address, first) = (b.transport.address(), a.transport.statistics()[0].session.unwrap());
    b.transport.close().await;
    assert_eq!(a.lost(2).await.0, first);
    let mut again = options("b", secret("s"));
    again.listen = address.to_string();
    let mut b = Node::start(again).await.enter(2, crate::trial::belonging());
    b.transport.set_members(&[a.address()]);
    let session = a.connected(2).await;
    assert!(session > first);
    assert_eq!(b.connected(1).await, session);
}

/// The others of a member that takes nothing go on, and so does its own control connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_refused_at_once_and_alone() {
    let (a, mut b) = pair().await;
    let c = Node::member("c", 3, secret("s")).await;
    let mut c = c;
    introduce(&[&a, &b, &c]);
    c.connected(1).await;
    let frame = || vec![Bytes::from(vec![1; 1 << 20])];
    let mut kept = Vec::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut refused = 0;
    // Nobody takes what comes: at some point everything between them is full, and then stays so.
    while refused < 100 {
        assert!(tokio::time::Instant::now() < deadline, "it is never full");
        match a.transport.send(2, Class::Bulk, frame()) {
            Ok(()) => refused = 0,
            Err(Unsent) => refused += 1,
        }
        while let Ok(event) = b.events.try_recv() {
            if !matches!(event, Event::Connected { .. }) {
                kept.push(event);
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(
        kept.len() * (1 << 20) <= limits::BULK_UNTAKEN_BYTES_MAX + (2 << 20),
        "{}",
        kept.len()
    );
    let statistics = a.transport.statistics();
    let of_b = statistics.iter().find(|peer| peer.node == 2).unwrap();
    assert!(of_b.bulk_queued_frames <= limits::BULK_QUEUE_FRAMES_MAX && of_b.unsent_frames >= 100);
    a.transport
        .send(2, Class::Control, vec![Bytes::from_static(b"heartbeat")])
        .unwrap();
    a.transport.send(3, Class::Bulk, frame()).unwrap();
    assert_eq!(c.frame(1).await.1, Class::Bulk);
    let is_heartbeat = |event: &Event| {
        matches!(
            event,
            Event::Frame {
                class: Class::Control,
                ..
            }
        )
    };
    loop {
        let event = b.event().await;
        if is_heartbeat(&event) {
            break;
        }
        kept.push(event);
    }
    drop(kept);
    b.frame(1).await;
}

/// What one side was told of the other, which must make sense: a session ends once, the next is a later one, frames are of the present one.
#[derive(Default)]
struct Told {
    present: Option<u64>,
    latest: u64,
    lost: usize,
}

impl Told {
    async fn until_in(&mut self, node: &mut Node, wanted: u64) {
        while self.present != Some(wanted) {
            match node.event().await {
                Event::Connected { session, .. } => {
                    assert!(self.present.is_none() && session > self.latest);
                    (self.present, self.latest) = (Some(session), session);
                }
                Event::Lost { session, .. } => {
                    assert_eq!(self.present.take(), Some(session));
                    self.lost += 1;
                }
                Event::Frame { session, .. } => assert_eq!(self.present, Some(session)),
                Event::Refused { .. } => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_anywhere_ends_its_session_once() {
    let mut a = Node::member("a", 1, secret("s")).await;
    let mut b = Node::member("b", 2, secret("s")).await;
    let way = Way::to(b.transport.address()).await;
    a.transport.set_members(&[b.at(way.address)]);
    b.transport.set_members(&[a.address()]);
    let (mut of_a, mut of_b) = (Told::default(), Told::default());
    let mut last = later_session(&a, &b, 0).await;
    for round in 0..60 {
        match round % 3 {
            // The control connection of the present set, after some bytes of frames.
            0 => way.cut(way.made() - 3, i64::from(round) * 13 % 300),
            // Another one of it.
            1 => way.cut(way.made() - 1 - round as usize % 2, 0),
            // One of the next set in its handshake.
            _ => {
                way.cut(way.made() + round as usize / 3 % 3, i64::from(round) * 29 % 450);
                a.transport.disconnect(2, "to dial again");
            }
        }
        for class in [Class::Control, Class::Bulk, Class::Control] {
            let _ = a.transport.send(2, class, vec![Bytes::from(vec![7; 300])]);
        }
        later_session(&a, &b, last).await;
        way.cut(usize::MAX, 0);
        last = later_session(&a, &b, last).await;
        of_a.until_in(&mut a, last).await;
        of_b.until_in(&mut b, last).await;
    }
    assert!(of_a.lost >= 60 && of_b.lost >= 60);
}

/// Waits until both sides are in one session, a later one than the last.
async fn later_session(a: &Node, b: &Node, last: u64) -> u64 {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let session = |node: &Node| node.transport.statistics()[0].session;
    loop {
        if let (Some(one), Some(other)) = (session(a), session(b))
            && one == other
            && one > last
        {
            return one;
        }
        assert!(tokio::time::Instant::now() < deadline, "no session after {last}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_taken_out_is_told_so() {
    let mut a = options("a", secret("s"));
    a.timing.linger = Duration::from_millis(20);
    let mut a = Node::start(a).await.enter(2, crate::trial::belonging());
    let mut b = Node::member("b", 1, secret("s")).await;
    introduce(&[&a, &b]);
    a.connected(1).await;
    b.connected(2).await;
    a.transport.set_members(&[a.address()]);
    assert!(a.lost(1).await.1.contains("taken out"));
    assert!(b.lost(2).await.1.contains("taken out"));
    let (_, words) = b.refused().await;
    assert!(words.contains("taken out"), "{words}");
    a.transport.set_members(&[a.address(), b.address()]);
    a.connected(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_measure_the_way_and_notice_silence() {
    let quick = |name| {
        let mut options = options(name, Security::default());
        options.timing = Timing {
            ping: Duration::from_millis(5),
            ..options.timing
        };
        options
    };
    let mut a = Node::start(quick("a")).await.enter(1, crate::trial::belonging());
    let mut b = Node::start(quick("b")).await.enter(2, crate::trial::belonging());
    introduce(&[&a, &b]);
    a.connected(2).await;
    b.connected(1).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while a.transport.statistics()[0].round_trip.is_none() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(a.transport.statistics()[0].since_contact.is_some());
}
