//! "Why?" answers every question with every verdict; the scenarios are in `scripts/20-why.txt`.

mod world;

use std::collections::BTreeSet;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, CloseRequest, ConnectRequest, PubMsg, SubscriptionRequest};
use seaway_streaming::{FactValue, Input, Now, Options, Service, SurveySlice, Timestamp, Verdict, WhyQuestion};
use world::World;

const NOW: Now = Now {
    monotonic: 1_000_000_000_000,
    wall: Timestamp(1_700_000_000_000_000_000),
};

/// Every verdict but the one that lasts for a moment only is the first of an answer in the script.
#[test]
fn the_script_shows_every_verdict() {
    let script = include_str!("scripts/20-why.txt");
    let shown: BTreeSet<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("< "))
        .filter_map(|line| line.split([':', '+']).next())
        .collect();
    for verdict in Verdict::ALL {
        assert!(
            verdict == Verdict::ClientClosing || shown.contains(verdict.code()),
            "no scenario ends in {}",
            verdict.code()
        );
    }
}

#[test]
fn codes_are_unique_and_in_the_order_of_the_verdicts() {
    let codes: BTreeSet<&str> = Verdict::ALL.iter().map(|verdict| verdict.code()).collect();
    assert_eq!(codes.len(), Verdict::ALL.len());
    assert!(Verdict::ALL.is_sorted());
    for (place, verdict) in Verdict::ALL.into_iter().enumerate() {
        assert_eq!(verdict as usize, place);
    }
}

/// A client with many subscriptions is closed in slices.
#[test]
fn a_client_that_is_being_closed() {
    let mut options = Options::default();
    options.slices.work = 1;
    let mut world = World::new();
    let (mut engine, _) = world.start(options, NOW).expect("it starts");
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb.me".into(),
        ..ConnectRequest::default()
    };
    let mut run = |service, payload: Vec<u8>| {
        let input = Input::Request {
            service,
            reply: b"reply",
            payload: &payload,
        };
        world.handle(&mut engine, NOW, input);
        if service != Service::Close {
            world.quiesce(&mut engine, NOW);
        }
    };
    run(Service::Connect, connect.encode_to_vec());
    for inbox in ["a", "b", "c"] {
        let subscribe = SubscriptionRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            inbox: inbox.into(),
            max_in_flight: 1,
            ack_wait_in_secs: 1,
            ..SubscriptionRequest::default()
        };
        run(Service::Subscribe, subscribe.encode_to_vec());
    }
    run(Service::Close, CloseRequest { client_id: "me".into() }.encode_to_vec());
    let question = WhyQuestion {
        channel: b"foo".to_vec(),
        limit: 1,
        ..WhyQuestion::default()
    };
    let report = engine.why(NOW, &question);
    assert_eq!((report.verdict, report.total), (Verdict::ClientClosing, 2));
    assert_eq!(report.subscriptions.len(), 1, "as many as asked for");
    world.quiesce(&mut engine, NOW);
    assert_eq!(engine.why(NOW, &question).verdict, Verdict::NoSubscriptions);
}

/// However much is unacknowledged, an answer stays small.
#[test]
fn answers_are_bounded() {
    let (mut engine, mut world) = {
        let mut world = World::new();
        let (engine, _) = world.start(Options::default(), NOW).expect("it starts");
        (engine, world)
    };
    let mut run = |service, payload: Vec<u8>| {
        let input = Input::Request {
            service,
            reply: b"reply",
            payload: &payload,
        };
        world.handle(&mut engine, NOW, input);
        world.quiesce(&mut engine, NOW);
    };
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb.me".into(),
        ..ConnectRequest::default()
    };
    run(Service::Connect, connect.encode_to_vec());
    let subscribe = SubscriptionRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: "a".into(),
        max_in_flight: 1000,
        ack_wait_in_secs: 30,
        ..SubscriptionRequest::default()
    };
    run(Service::Subscribe, subscribe.encode_to_vec());
    for _ in 0..200 {
        let publish = PubMsg {
            client_id: "me".into(),
            guid: "g".into(),
            subject: "foo".into(),
            ..Default::default()
        };
        run(Service::Publish, publish.encode_to_vec());
    }
    for sequence in (1..=200).step_by(2) {
        let ack = Ack {
            subject: "foo".into(),
            sequence,
        };
        let payload = ack.encode_to_vec();
        let input = Input::Ack {
            subscription: 1,
            payload: &payload,
        };
        world.handle(&mut engine, NOW, input);
    }
    let question = WhyQuestion {
        channel: b"foo".to_vec(),
        limit: 10,
        ..WhyQuestion::default()
    };
    let report = engine.why(NOW, &question);
    let subscription = &report.subscriptions[0];
    let fact = |name| {
        &subscription
            .facts
            .iter()
            .find(|fact| fact.name == name)
            .expect("a fact")
            .value
    };
    assert_eq!(fact("pending_count"), &FactValue::Number(100));
    let FactValue::Sequences(ranges) = fact("unacknowledged") else {
        panic!("ranges")
    };
    assert_eq!(ranges.len(), 16);
    assert!(
        subscription.words.contains("sequences 2, 4, 6 and 97 more"),
        "{}",
        subscription.words
    );
}

/// §8.6: a list that is asked for in pieces has every channel once, whatever bytes their names have.
#[test]
fn lists_go_on_behind_names_that_are_no_text() {
    let mut world = World::new();
    let (mut engine, _) = world.start(Options::default(), NOW).expect("it starts");
    let mut run = |service, payload: Vec<u8>| {
        let input = Input::Request {
            service,
            reply: b"reply",
            payload: &payload,
        };
        world.handle(&mut engine, NOW, input);
        world.quiesce(&mut engine, NOW);
    };
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb.me".into(),
        ..ConnectRequest::default()
    };
    run(Service::Connect, connect.encode_to_vec());
    for channel in [&b"\xff1"[..], b"\xff2", b"\xff3"] {
        let publish = PubMsg {
            client_id: "me".into(),
            guid: "g".into(),
            subject: channel.into(),
            ..PubMsg::default()
        };
        run(Service::Publish, publish.encode_to_vec());
    }
    let mut page = engine.channels_page(0, 1, false);
    let mut names = Vec::new();
    while let Some(last) = page.next.take() {
        names.append(&mut page.items);
        assert!(names.len() < 3, "{names:?}");
        page = engine.channels_after(&last, 1, false);
    }
    names.append(&mut page.items);
    let names: Vec<_> = names.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["\u{fffd}1", "\u{fffd}2", "\u{fffd}3"]);
}

/// What begins with a prefix is found, counted and shown once, whatever the slices.
#[test]
fn prefixes_are_counted_in_slices() {
    let mut world = World::new();
    let (mut engine, _) = world.start(Options::default(), NOW).expect("it starts");
    let mut run = |service, payload: Vec<u8>| {
        let input = Input::Request {
            service,
            reply: b"reply",
            payload: &payload,
        };
        world.handle(&mut engine, NOW, input);
        world.quiesce(&mut engine, NOW);
    };
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb.me".into(),
        ..ConnectRequest::default()
    };
    run(Service::Connect, connect.encode_to_vec());
    for channel in ["o", "or.a", "or", "or.b", "or.c", "os", "p"] {
        let publish = PubMsg {
            client_id: "me".into(),
            guid: "g".into(),
            subject: channel.into(),
            ..PubMsg::default()
        };
        run(Service::Publish, publish.encode_to_vec());
    }
    for visits in 1..6 {
        let (mut after, mut total, mut names) = (None, 0, Vec::new());
        loop {
            let wanted = 1_usize.saturating_sub(total)..4_usize.saturating_sub(total);
            let page = engine.channels_beginning(b"or", after.as_deref(), visits, wanted);
            assert!(page.total <= visits);
            total += page.total;
            names.extend(page.items.into_iter().map(|channel| channel.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((total, names.join(" ").as_str()), (4, "or.a or.b or.c"), "{visits}");
    }
    assert_eq!(engine.channels_beginning(b"", None, 10, 0..0).total, 7);
    assert_eq!(engine.channels_beginning(b"x", None, 10, 0..9).total, 0);
    let stored = engine.stored(b"or").expect("it is there");
    assert_eq!((stored.first, stored.last), (1, 1));
    assert_eq!(engine.stored(b"other"), None);
}

/// A survey visits every channel once, whatever the slice, and its sums are those of the whole.
#[test]
fn surveys_add_up_whatever_their_slices() {
    let mut world = World::new();
    let (mut engine, _) = world.start(Options::default(), NOW).expect("it starts");
    let mut run = |service, payload: Vec<u8>| {
        let input = Input::Request {
            service,
            reply: b"reply",
            payload: &payload,
        };
        world.handle(&mut engine, NOW, input);
        world.quiesce(&mut engine, NOW);
    };
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb.me".into(),
        ..ConnectRequest::default()
    };
    run(Service::Connect, connect.encode_to_vec());
    // Capitals sort first in byte order (§8.1).
    for channel in ["b", "a", "C", "d.e"] {
        for inbox in ["x", "y"] {
            let subscribe = SubscriptionRequest {
                client_id: "me".into(),
                subject: channel.into(),
                inbox: inbox.into(),
                max_in_flight: 1,
                ack_wait_in_secs: 30,
                ..SubscriptionRequest::default()
            };
            run(Service::Subscribe, subscribe.encode_to_vec());
        }
        let publish = PubMsg {
            client_id: "me".into(),
            guid: "g".into(),
            subject: channel.into(),
            ..PubMsg::default()
        };
        run(Service::Publish, publish.encode_to_vec());
    }
    let names: Vec<String> = engine
        .channels_page(0, 10, false)
        .items
        .into_iter()
        .map(|c| c.name)
        .collect();
    assert_eq!(names, ["C", "a", "b", "d.e"]);
    assert_eq!(engine.channels_page(0, 4, false).next, None);
    let after = engine.channels_after(b"a", 1, false);
    assert_eq!(
        (after.items[0].name.as_str(), after.next.as_deref()),
        ("b", Some(&b"b"[..]))
    );
    let clients = engine.clients_after(b"", 10, false);
    assert_eq!((clients.items.len(), clients.next), (1, None));
    assert_eq!(engine.clients_after(b"me", 10, false).items.len(), 0);
    for (visits, channels, subscriptions) in [(1, 10, 10), (4, 10, 1), (100, 3, 100), (100, 10, 3)] {
        let slice = SurveySlice {
            visits,
            channels,
            subscriptions,
        };
        let (mut sums, mut details, mut told, mut omitted) = ((0, 0, 0, 0, 0), Vec::new(), 0, 0);
        let (mut next, mut calls) = (None, 0);
        let later = Now {
            monotonic: NOW.monotonic + 5,
            ..NOW
        };
        loop {
            let survey = engine.survey(later, next.as_deref(), slice, |name| name != b"a");
            sums.0 += survey.channels;
            sums.1 += survey.messages;
            sums.2 += survey.subscriptions;
            sums.3 += survey.stalled;
            sums.4 += survey.pending;
            assert_eq!(survey.oldest_unacknowledged, Some(5));
            details.extend(survey.details.iter().map(|channel| channel.shown.name.clone()));
            told += survey
                .details
                .iter()
                .map(|channel| channel.subscriptions.len())
                .sum::<usize>();
            omitted += survey.subscriptions_omitted;
            calls += 1;
            next = survey.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(sums, (4, 4, 8, 8, 8), "{slice:?}");
        assert_eq!(details, ["C", "b", "d.e"], "{slice:?}");
        assert_eq!(told + omitted, 6, "{slice:?}");
        assert!(calls >= 4_usize.div_ceil(visits), "{slice:?}: {calls}");
    }
}
