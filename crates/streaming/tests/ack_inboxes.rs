//! Where acks are taken (`streaming-protocol.md` §2.5, §5.9): what ack inboxes are called, which are listened on, and that they
//! outlive restarts, those of stores of earlier versions too.

mod world;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, PubMsg, SubscriptionRequest, SubscriptionResponse};
use seaway_streaming::{ChannelId, Engine, Input, Now, Options, Service, Slices, Timestamp};
use world::{Checkpoint, Log, Output, Record, World};

const NOW: Now = Now {
    monotonic: 1_000_000_000,
    wall: Timestamp(1_700_000_000_000_000_000),
};

fn request(world: &mut World, engine: &mut Engine, service: Service, payload: &[u8]) {
    let reply = b"reply";
    world.run(
        engine,
        NOW,
        Input::Request {
            service,
            reply,
            payload,
        },
    );
}

fn server(slices: Slices) -> (World, Engine, Options) {
    let options = Options {
        slices,
        ..Options::default()
    };
    let mut world = World::new();
    let (mut engine, _) = world.start(options.clone(), NOW).expect("an empty store starts");
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb".into(),
        ..ConnectRequest::default()
    };
    request(&mut world, &mut engine, Service::Connect, &connect.encode_to_vec());
    (world, engine, options)
}

/// Subscribes; the ack inbox.
fn subscribe(world: &mut World, engine: &mut Engine, inbox: &str) -> Vec<u8> {
    let subscribe = SubscriptionRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: inbox.to_owned().into(),
        max_in_flight: 10,
        ack_wait_in_secs: 30,
        ..SubscriptionRequest::default()
    };
    world.outputs.clear();
    request(world, engine, Service::Subscribe, &subscribe.encode_to_vec());
    let reply = world.outputs.iter().find_map(|output| match output {
        Output::Reply { payload, .. } => Some(SubscriptionResponse::decode(&payload[..]).expect("a response")),
        _ => None,
    });
    reply.expect("an answer").ack_inbox.to_vec()
}

fn ack(world: &mut World, engine: &mut Engine, subject: &[u8], sequence: u64) {
    let payload = Ack {
        subject: "foo".into(),
        sequence,
    }
    .encode_to_vec();
    world.ack(engine, NOW, subject, &payload);
    world.quiesce(engine, NOW);
}

fn pending(engine: &Engine) -> Vec<usize> {
    let channel = engine.channel(b"foo", true).expect("a channel");
    channel.subscriptions.iter().map(|known| known.pending_count).collect()
}

#[test]
fn a_new_ack_inbox_has_the_originals_shape_and_is_listened_on_before_it_is_told() {
    let (mut world, mut engine, _) = server(Slices::default());
    let mut seen = Vec::new();
    for number in 0..20 {
        let inbox = subscribe(&mut world, &mut engine, &format!("s{number}"));
        assert!(world.listened.contains_key(&inbox), "§2.6 rule 2");
        let text = String::from_utf8(inbox).expect("text");
        let token = text.strip_prefix("_INBOX.").expect("the prefix");
        assert_eq!(token.len(), 22, "{text}");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
        assert!(!seen.contains(&text), "{text} was given twice");
        seen.push(text);
    }
}

/// §5.9: interest comes back as it was, a bounded part at each end of a pass, and nobody should be served before all is there.
#[test]
fn interest_comes_back_in_slices() {
    const SUBSCRIPTIONS: usize = 100;
    const SLICE: usize = 8;
    let slices = Slices {
        work: SLICE,
        ..Slices::default()
    };
    let (mut world, mut engine, options) = server(slices);
    for number in 0..SUBSCRIPTIONS {
        subscribe(&mut world, &mut engine, &format!("s{number}"));
    }
    let before = world.listened.clone();
    assert_eq!(before.len(), SUBSCRIPTIONS);
    let mut world = world.crash(world.records.len());
    let (mut engine, _) = world.start(options, NOW).expect("the store starts");
    let mut passes = 0;
    while !engine.has_interest() {
        assert!(engine.wants_end_of_pass());
        let listened = world.listened.len();
        world.handle(&mut engine, NOW, Input::EndOfPass);
        assert!(world.listened.len() <= listened + SLICE, "one pass does so much");
        passes += 1;
    }
    assert!(
        (SUBSCRIPTIONS / SLICE..=SUBSCRIPTIONS / SLICE + 2).contains(&passes),
        "{passes}"
    );
    assert_eq!(world.listened, before, "the same inboxes");
}

/// A subscription that begins while interest comes back is listened for once, and one that ends then not at all.
#[test]
fn what_changes_while_interest_comes_back_is_listened_for_once() {
    let slices = Slices {
        work: 2,
        ..Slices::default()
    };
    let (mut world, mut engine, options) = server(slices);
    let inboxes: Vec<_> = (0..10)
        .map(|number| subscribe(&mut world, &mut engine, &format!("s{number}")))
        .collect();
    let mut world = world.crash(world.records.len());
    let (mut engine, _) = world.start(options, NOW).expect("the store starts");
    world.handle(&mut engine, NOW, Input::EndOfPass);
    assert!(!engine.has_interest());
    let leave = seaway_stan_protocol::messages::UnsubscribeRequest {
        client_id: "me".into(),
        subject: "foo".into(),
        inbox: "s9".into(),
        ..Default::default()
    };
    let input = Input::Request {
        service: Service::SubscriptionClose,
        reply: b"",
        payload: &leave.encode_to_vec(),
    };
    world.handle(&mut engine, NOW, input);
    let new = subscribe(&mut world, &mut engine, "new");
    world.quiesce(&mut engine, NOW);
    let mut expected: Vec<_> = inboxes[..9].iter().chain([&new]).cloned().collect();
    expected.sort();
    assert_eq!(world.listened.into_keys().collect::<Vec<_>>(), expected);
}

/// Facts as an earlier version wrote them: server, client, channel and subscription, the latter with the number of its ack inbox
/// and without its name; message 1 was sent.
const OLD_SERVER: &[u8] = b"\x0a\x0ctest-cluster\x12\x1b_STAN.discover.test-cluster\x1a\x21_STAN.discover.test-cluster.pings\
\x22\x16_STAN.pub.test-cluster\x2a\x16_STAN.sub.test-cluster\x32\x18_STAN.unsub.test-cluster\
\x3a\x1b_STAN.subclose.test-cluster\x42\x18_STAN.close.test-cluster\x4a\x16Prefix0123456789abcdef\x50\x01\x58\x01\x60\x01";
const OLD_CLIENT: &[u8] = b"\x0a\x02me\x12\x02hb";
const OLD_CHANNEL: &[u8] = b"\x08\x01\x12\x03foo";
const OLD_SUBSCRIPTION: &[u8] = b"\x08\x01\x10\x01\x1a\x02me\x22\x01s\x28\x07\x40\x0a\x48\x1e\x50\x01";
const OLD_PROGRESS: &[u8] = b"\x08\x01\x10\x01\x1a\x02\x01\x00";

const OLD: [(u8, &[u8]); 5] = [
    (1, OLD_SERVER),
    (2, OLD_CLIENT),
    (4, OLD_CHANNEL),
    (5, OLD_SUBSCRIPTION),
    (7, OLD_PROGRESS),
];
const OLD_INBOX: &[u8] = b"_INBOX.Prefix0123456789abcdef.7";

/// A store of an earlier version, its state in records or in a checkpoint.
fn old_store(in_checkpoint: bool) -> World {
    let mut world = World::new();
    let facts = OLD.map(|(kind, body)| (kind, body.to_vec()));
    if in_checkpoint {
        world.checkpoint = Some(Checkpoint {
            begin: 0,
            end: 0,
            facts: facts.to_vec(),
        });
    } else {
        let urgency = seaway_streaming::Urgency::Sync;
        let records = facts.map(|(kind, body)| Record::Fact { kind, body, urgency });
        world.records.extend(records);
    }
    let (timestamp, body) = (NOW.wall.0, message());
    world.records.push(Record::Message {
        channel: ChannelId(1),
        sequence: 1,
        timestamp,
        body: body.clone(),
    });
    let log = Log {
        messages: [(1, (timestamp, body))].into(),
        last: 1,
        last_timestamp: timestamp,
    };
    world.logs.insert(ChannelId(1), log);
    world.durable = world.records.len();
    world
}

fn message() -> Vec<u8> {
    seaway_stan_protocol::messages::MsgProto {
        sequence: 1,
        subject: "foo".into(),
        timestamp: NOW.wall.0,
        ..Default::default()
    }
    .encode_to_vec()
}

#[test]
fn numbered_ack_inboxes_of_earlier_versions_go_on() {
    for in_checkpoint in [false, true] {
        let mut world = old_store(in_checkpoint);
        let options = Options::default();
        let mut engine;
        // A start from what the earlier version wrote, from that and what this one adds, and from this one's checkpoint.
        for round in 0..3 {
            (engine, _) = world.start(options.clone(), NOW).expect("the store starts");
            world.quiesce(&mut engine, NOW);
            assert_eq!(world.listened.get(OLD_INBOX), Some(&1), "round {round}");
            let channel = engine.channel(b"foo", true).expect("a channel");
            assert_eq!(channel.subscriptions[0].ack_inbox.as_bytes(), OLD_INBOX);
            assert_eq!(pending(&engine)[0], 1);
            let new = subscribe(&mut world, &mut engine, &format!("new{round}"));
            assert_eq!(new.len(), 7 + 22, "what is new has a new name");
            if round == 1 {
                world.checkpoint_begin();
                while world.running.is_some() {
                    world.handle(&mut engine, NOW, Input::CheckpointStep);
                }
                world.quiesce(&mut engine, NOW);
            }
            if round < 2 {
                world = world.crash(world.records.len());
                continue;
            }
            // A late ack counts, and the subscription goes on and ends by that name.
            ack(&mut world, &mut engine, OLD_INBOX, 1);
            assert_eq!(pending(&engine)[0], 0);
            publish(&mut world, &mut engine);
            assert_eq!(pending(&engine)[0], 1);
            ack(&mut world, &mut engine, OLD_INBOX, 2);
            assert_eq!(pending(&engine)[0], 0);
            let leave = seaway_stan_protocol::messages::UnsubscribeRequest {
                client_id: "me".into(),
                subject: "foo".into(),
                inbox: OLD_INBOX.into(),
                ..Default::default()
            };
            request(
                &mut world,
                &mut engine,
                Service::SubscriptionClose,
                &leave.encode_to_vec(),
            );
            assert!(!world.listened.contains_key(OLD_INBOX));
        }
    }
}

fn publish(world: &mut World, engine: &mut Engine) {
    let publish = PubMsg {
        client_id: "me".into(),
        guid: "g".into(),
        subject: "foo".into(),
        ..PubMsg::default()
    };
    request(world, engine, Service::Publish, &publish.encode_to_vec());
}

/// Any literal subject may be stored; a pattern, which would take other people's messages, or no subject at all is not understood.
#[test]
fn stored_ack_inboxes_are_literal_subjects() {
    let with = |subject: &[u8]| {
        let mut body = OLD_SUBSCRIPTION.to_vec();
        body.extend([0x62, u8::try_from(subject.len()).expect("short")]);
        body.extend_from_slice(subject);
        body
    };
    for subject in [&b"_STAN.ack.cluster.x"[..], b"acks", b"a*.b>", b"\xff\x00.b"] {
        let mut world = old_store(false);
        world.records[3] = Record::Fact {
            kind: 5,
            body: with(subject),
            urgency: seaway_streaming::Urgency::Sync,
        };
        let (mut engine, _) = world.start(Options::default(), NOW).expect("the store starts");
        world.quiesce(&mut engine, NOW);
        ack(&mut world, &mut engine, subject, 1);
        assert_eq!(pending(&engine), [0], "{subject:?}");
    }
    for subject in [&b"_INBOX.*"[..], b"_INBOX.>", b">", b"a..b", b"a b", b"a\r\nb", b"."] {
        let mut engine = Engine::new(Options::default());
        let refused = engine.recover_fact(5, &with(subject)).expect_err("it is no subject");
        assert!(refused.to_string().contains("is no subject for acks"), "{refused}");
    }
    let mut engine = Engine::new(Options::default());
    let body = [OLD_SUBSCRIPTION, b"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"].concat();
    let refused = engine.recover_fact(5, &body).expect_err("no counter comes so far");
    assert!(refused.to_string().contains("out of range"), "{refused}");
}
