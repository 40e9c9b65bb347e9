//! What depends on what: facts behind facts, answers behind facts (`streaming-protocol.md` §2.6, architecture §2 and §4).

mod world;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, Ping, PubMsg, SubscriptionRequest, UnsubscribeRequest};
use seaway_streaming::{Engine, Input, Now, Options, Position, Service, Slices, Timestamp};
use world::{Output, World};

const NOW: Now = Now {
    monotonic: 1_000_000_000,
    wall: Timestamp(1_700_000_000_000_000_000),
};

fn start() -> (World, Engine) {
    let mut world = World {
        record_events: false,
        ..World::new()
    };
    let (mut engine, _) = world.start(Options::default(), NOW).expect("an empty store starts");
    let request = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb".into(),
        ..ConnectRequest::default()
    };
    request_now(&mut world, &mut engine, Service::Connect, &request.encode_to_vec());
    world.quiesce(&mut engine, NOW);
    (world, engine)
}

fn request_now(world: &mut World, engine: &mut Engine, service: Service, payload: &[u8]) {
    world.handle(
        engine,
        NOW,
        Input::Request {
            service,
            reply: b"reply",
            payload,
        },
    );
}

fn publish(world: &mut World, engine: &mut Engine) {
    let request = PubMsg {
        client_id: "me".into(),
        guid: "guid".into(),
        subject: "foo".into(),
        ..PubMsg::default()
    };
    request_now(world, engine, Service::Publish, &request.encode_to_vec());
}

fn subscribe(world: &mut World, engine: &mut Engine, inbox: &'static str, max: i32) {
    let request = SubscriptionRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: inbox.into(),
        durable_name: "dur".into(),
        max_in_flight: max,
        ack_wait_in_secs: 30,
        start_position: 4,
        ..SubscriptionRequest::default()
    };
    request_now(world, engine, Service::Subscribe, &request.encode_to_vec());
    world.quiesce(engine, NOW);
}

fn messages(world: &World, inbox: &str) -> Vec<(u64, u32)> {
    let outputs = world.outputs.iter().filter_map(|output| match output {
        Output::Message {
            inbox: to,
            sequence,
            count,
            ..
        } if to == inbox.as_bytes() => Some((*sequence, *count)),
        _ => None,
    });
    outputs.collect()
}

/// §2.6 rule 3, ProtocolOrder: the reply to a close waits for the acks that came before it; after that reply a crash brings
/// none of those messages back.
#[test]
fn a_confirmed_close_covers_the_acks_before_it() {
    let (mut world, mut engine) = start();
    subscribe(&mut world, &mut engine, "one", 10);
    for _ in 0..3 {
        publish(&mut world, &mut engine);
    }
    world.quiesce(&mut engine, NOW);
    let ack = Ack {
        subject: "foo".into(),
        sequence: 2,
    }
    .encode_to_vec();
    world.handle(
        &mut engine,
        NOW,
        Input::Ack {
            subscription: 1,
            payload: &ack,
        },
    );
    let close = UnsubscribeRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: "one".into(),
        ..UnsubscribeRequest::default()
    };
    world.outputs.clear();
    request_now(
        &mut world,
        &mut engine,
        Service::SubscriptionClose,
        &close.encode_to_vec(),
    );
    // The smallest commit that lets the reply out.
    for durable in world.durable + 1..=world.records.len() {
        assert!(world.outputs.is_empty(), "nothing is confirmed before it is durable");
        world.durable = durable;
        world.handle(&mut engine, NOW, Input::Durable(Position(durable as u64)));
        if !world.outputs.is_empty() {
            break;
        }
    }
    assert_eq!(world.outputs.len(), 1, "the close is confirmed");
    let mut world = world.crash(world.durable);
    let (mut engine, _) = world.start(Options::default(), NOW).expect("a crashed store starts");
    subscribe(&mut world, &mut engine, "two", 10);
    assert_eq!(messages(&world, "two"), [(1, 1), (3, 1)]);
}

/// Invariant 10: a backlog goes out in slices, and other things are handled between them.
#[test]
fn no_call_works_for_long() {
    let mut world = World {
        record_events: false,
        ..World::new()
    };
    let options = Options {
        slices: Slices {
            work: 10,
            ..Slices::default()
        },
        ..Options::default()
    };
    let (mut engine, _) = world.start(options, NOW).expect("an empty store starts");
    let request = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb".into(),
        ..ConnectRequest::default()
    };
    request_now(&mut world, &mut engine, Service::Connect, &request.encode_to_vec());
    for _ in 0..100 {
        publish(&mut world, &mut engine);
    }
    world.quiesce(&mut engine, NOW);
    let request = SubscriptionRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: "one".into(),
        max_in_flight: 1000,
        ack_wait_in_secs: 30,
        start_position: 4,
        ..SubscriptionRequest::default()
    };
    request_now(&mut world, &mut engine, Service::Subscribe, &request.encode_to_vec());
    world.sync(&mut engine, NOW);
    let mut sizes = Vec::new();
    let mut seen = messages(&world, "one").len();
    while seen < 100 {
        assert!(engine.wants_end_of_pass(), "what is left over is announced");
        world.handle(&mut engine, NOW, Input::EndOfPass);
        let now_seen = messages(&world, "one").len();
        sizes.push(now_seen - seen);
        seen = now_seen;
    }
    assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
    assert!(
        messages(&world, "one")
            .iter()
            .map(|(sequence, _)| *sequence)
            .eq(1..=100)
    );
}

/// Acks are lazy: they append nothing by themselves, and one fact per pass for all of them.
#[test]
fn acks_of_a_pass_are_one_fact() {
    let (mut world, mut engine) = start();
    subscribe(&mut world, &mut engine, "one", 1000);
    for _ in 0..500 {
        publish(&mut world, &mut engine);
    }
    world.quiesce(&mut engine, NOW);
    let before = world.records.len();
    for sequence in (1..=500).rev() {
        let ack = Ack {
            subject: "foo".into(),
            sequence,
        }
        .encode_to_vec();
        world.handle(
            &mut engine,
            NOW,
            Input::Ack {
                subscription: 1,
                payload: &ack,
            },
        );
    }
    assert_eq!(world.records.len(), before);
    world.handle(&mut engine, NOW, Input::EndOfPass);
    assert_eq!(world.records.len(), before + 1);
    let world::Record::Fact { body, urgency, .. } = &world.records[before] else {
        panic!("a fact")
    };
    assert_eq!(*urgency, seaway_streaming::Urgency::Lazy);
    assert!(
        body.len() < 20,
        "500 acks in any order are one run: {} bytes",
        body.len()
    );
}

/// Facts that nobody understands stop the start; none of them makes it panic.
#[test]
fn damaged_facts_are_refused_by_kind() {
    for kind in 0..=20u8 {
        for body in [&b"\xff"[..], b"\x08", b"\x0a\x05ab"] {
            let mut engine = Engine::new(Options::default());
            let error = engine.recover_fact(kind, body).expect_err("nonsense is refused");
            assert_eq!(error.kind, kind);
            assert!(error.to_string().contains(&format!("kind {kind}")), "{error}");
        }
    }
}

/// A later version's field in a fact does not stop this one.
#[test]
fn unknown_fields_are_skipped() {
    let (world, _) = start();
    let mut engine = Engine::new(Options::default());
    for record in &world.records {
        let world::Record::Fact { kind, body, .. } = record else {
            continue;
        };
        let mut body = body.clone();
        body.extend_from_slice(b"\xba\x3e\x03new");
        engine.recover_fact(*kind, &body).expect("an unknown field is skipped");
    }
    let mut world = World::new();
    assert_eq!(
        world
            .act(|effects| engine.start(NOW, effects))
            .expect("it starts")
            .clients,
        1
    );
}

fn join_request(inbox: &'static str) -> SubscriptionRequest {
    SubscriptionRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: inbox.into(),
        q_group: "workers".into(),
        durable_name: "dur".into(),
        max_in_flight: 10,
        ack_wait_in_secs: 30,
        start_position: 4,
        ..SubscriptionRequest::default()
    }
}

fn join(world: &mut World, engine: &mut Engine, inbox: &'static str) {
    request_now(world, engine, Service::Subscribe, &join_request(inbox).encode_to_vec());
    world.quiesce(engine, NOW);
}

/// §5.6 and §5.9: wherever a crash cuts, what the members of a group were sent, what they pass on and the group's cursor fit
/// together: a message that nobody acknowledged comes again.
#[test]
fn a_group_loses_nothing_wherever_a_crash_cuts() {
    let (mut world, mut engine) = start();
    join(&mut world, &mut engine, "one");
    join(&mut world, &mut engine, "two");
    let joined = world.records.len();
    for _ in 0..4 {
        publish(&mut world, &mut engine);
    }
    world.quiesce(&mut engine, NOW);
    let leave = |inbox: &'static str| UnsubscribeRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: inbox.into(),
        ..UnsubscribeRequest::default()
    };
    let published = world.records.len();
    // The second forgets the group while messages of the first are still to be passed on; nothing confirms it.
    for inbox in ["one", "two"] {
        request_now(
            &mut world,
            &mut engine,
            Service::Unsubscribe,
            &leave(inbox).encode_to_vec(),
        );
    }
    let later = Now {
        monotonic: NOW.monotonic + 40_000_000_000,
        wall: Timestamp(NOW.wall.0 + 40_000_000_000),
    };
    let mut survived = 0;
    for durable in joined + 1..=world.records.len() {
        let mut world = world.crash(durable);
        let (mut engine, _) = world.start(Options::default(), later).expect("a crashed store starts");
        world.quiesce(&mut engine, later);
        let subscriptions = engine.channel(b"foo", true).expect("the channel").subscriptions;
        if subscriptions.is_empty() {
            // The end of the group is durable.
            assert!(durable > published);
            continue;
        }
        survived += 1;
        let last = engine.channel(b"foo", false).expect("the channel").last_sequence;
        let mut got: Vec<u64> = ["one", "two"]
            .iter()
            .flat_map(|inbox| messages(&world, inbox))
            .map(|(sequence, _)| sequence)
            .collect();
        got.sort_unstable();
        got.dedup();
        assert_eq!(got, (1..=last).collect::<Vec<_>>(), "crash after {durable} records");
    }
    assert!(survived > 4, "{survived}");
}

/// §5.6 and §5.9: the record of a durable group takes over what departed members held before they are forgotten: wherever a
/// crash cuts, whoever joins next is sent everything that nobody acknowledged.
#[test]
fn a_group_without_members_loses_nothing_wherever_a_crash_cuts() {
    let (mut world, mut engine) = start();
    join(&mut world, &mut engine, "one");
    join(&mut world, &mut engine, "two");
    for _ in 0..4 {
        publish(&mut world, &mut engine);
    }
    world.quiesce(&mut engine, NOW);
    assert!(!messages(&world, "one").is_empty() && !messages(&world, "two").is_empty());
    let published = world.records.len();
    for inbox in ["one", "two"] {
        let close = UnsubscribeRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            inbox: inbox.into(),
            ..UnsubscribeRequest::default()
        };
        request_now(
            &mut world,
            &mut engine,
            Service::SubscriptionClose,
            &close.encode_to_vec(),
        );
    }
    while engine.wants_end_of_pass() {
        world.handle(&mut engine, NOW, Input::EndOfPass);
    }
    let later = Now {
        monotonic: NOW.monotonic + 40_000_000_000,
        wall: Timestamp(NOW.wall.0 + 40_000_000_000),
    };
    let mut inherited = 0;
    for durable in published..=world.records.len() {
        let mut world = world.crash(durable);
        let (mut engine, _) = world.start(Options::default(), later).expect("a crashed store starts");
        world.quiesce(&mut engine, later);
        request_now(
            &mut world,
            &mut engine,
            Service::Subscribe,
            &join_request("three").encode_to_vec(),
        );
        world.quiesce(&mut engine, later);
        inherited += usize::from(messages(&world, "three").len() == 4);
        let mut got: Vec<u64> = ["one", "two", "three"]
            .iter()
            .flat_map(|inbox| messages(&world, inbox))
            .map(|(sequence, _)| sequence)
            .collect();
        got.sort_unstable();
        got.dedup();
        assert_eq!(got, [1, 2, 3, 4], "crash after {durable} records");
    }
    assert!(inherited > 0, "a group without members was taken over");
}

/// §5.6: a joiner's record carries the group's cursor, so what the others were sent below it is on record before.
#[test]
fn a_member_that_joins_right_after_a_delivery_hides_nothing_from_a_crash() {
    let (mut world, mut engine) = start();
    join(&mut world, &mut engine, "one");
    let joined = world.records.len();
    publish(&mut world, &mut engine);
    world.sync(&mut engine, NOW);
    assert_eq!(messages(&world, "one"), [(1, 0)], "delivered, and not written down yet");
    request_now(
        &mut world,
        &mut engine,
        Service::Subscribe,
        &join_request("two").encode_to_vec(),
    );
    for durable in joined + 1..=world.records.len() {
        let mut world = world.crash(durable);
        let (mut engine, _) = world.start(Options::default(), NOW).expect("a crashed store starts");
        world.quiesce(&mut engine, NOW);
        let later = Now {
            monotonic: NOW.monotonic + 40_000_000_000,
            wall: Timestamp(NOW.wall.0 + 40_000_000_000),
        };
        world.handle(&mut engine, later, Input::Tick);
        world.quiesce(&mut engine, later);
        let got: usize = ["one", "two"].iter().map(|inbox| messages(&world, inbox).len()).sum();
        assert!(got > 0, "the message is gone after a crash that kept {durable} records");
    }
}

/// While the disk does not answer, what passes by it leaves nothing behind: pings, and acks of what is not pending.
#[test]
fn what_passes_a_stalled_disk_leaves_nothing_behind() {
    let (mut world, mut engine) = start();
    subscribe(&mut world, &mut engine, "one", 10);
    publish(&mut world, &mut engine);
    let waiting = engine.waiting_answers();
    world.handle(&mut engine, NOW, Input::EndOfPass);
    let records = world.records.len();
    let ping = Ping::default().encode_to_vec();
    let ack = Ack {
        subject: "foo".into(),
        sequence: 9,
    }
    .encode_to_vec();
    for _ in 0..1_000 {
        request_now(&mut world, &mut engine, Service::Ping, &ping);
        let input = Input::Ack {
            subscription: 1,
            payload: &ack,
        };
        world.handle(&mut engine, NOW, input);
        world.handle(&mut engine, NOW, Input::EndOfPass);
    }
    assert_eq!((world.records.len(), engine.waiting_answers()), (records, waiting));
    assert!(!engine.wants_end_of_pass(), "nothing is left to do");
}

/// §2.9: once the store has failed nobody is left without an answer, a request that waits for a start time included.
#[test]
fn a_failed_store_leaves_nobody_without_an_answer() {
    let (mut world, mut engine) = start();
    publish(&mut world, &mut engine);
    world.quiesce(&mut engine, NOW);
    world.slow_seeks = true;
    let request = SubscriptionRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: "late".into(),
        max_in_flight: 1,
        ack_wait_in_secs: 30,
        start_position: 2,
        ..SubscriptionRequest::default()
    };
    request_now(&mut world, &mut engine, Service::Subscribe, &request.encode_to_vec());
    publish(&mut world, &mut engine);
    assert_eq!(world.seeks.len(), 1, "the start is being looked up");
    world.outputs.clear();
    world.handle(&mut engine, NOW, Input::Poisoned);
    let refused = |output: &&Output| match output {
        Output::Reply { payload, .. } => String::from_utf8_lossy(payload).contains("the store failed"),
        _ => false,
    };
    assert_eq!(
        world.outputs.iter().filter(refused).count(),
        2,
        "the publish and the subscribe"
    );
    // The answer to the seek comes too late for anybody.
    world.outputs.clear();
    world.answer(&mut engine, NOW);
    assert!(world.outputs.is_empty());
}
