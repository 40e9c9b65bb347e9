//! What deliveries may cost: nothing is read for an inbox that nobody listens to, and few megabytes leave in one call.

mod world;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{ConnectRequest, PubMsg, SubscriptionRequest};
use seaway_streaming::{Engine, Input, Limits, Now, Options, Service, Timestamp};
use world::{Output, World};

const SECOND: u64 = 1_000_000_000;
const MESSAGES: u64 = 5;

fn at(seconds: u64) -> Now {
    Now {
        monotonic: seconds * SECOND,
        wall: Timestamp(1_700_000_000_000_000_000 + i64::try_from(seconds * SECOND).expect("a small number")),
    }
}

fn request(world: &mut World, engine: &mut Engine, service: Service, payload: &[u8]) {
    let input = Input::Request {
        service,
        reply: b"reply",
        payload,
    };
    world.run(engine, at(1), input);
}

/// A client with these inboxes on the channel `foo`, each a subscription with an AckWait of a second.
fn start(inboxes: &[&str]) -> (World, Engine) {
    let mut world = World::new();
    let limits = Limits {
        max_subscriptions: 0,
        ..Limits::default()
    };
    let options = Options {
        limits: limits.into(),
        ..Options::default()
    };
    let (mut engine, _) = world.start(options, at(1)).expect("an empty store starts");
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb".into(),
        ..ConnectRequest::default()
    };
    request(&mut world, &mut engine, Service::Connect, &connect.encode_to_vec());
    for inbox in inboxes {
        let subscribe = SubscriptionRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            inbox: (*inbox).to_owned().into(),
            max_in_flight: 1000,
            ack_wait_in_secs: 1,
            ..SubscriptionRequest::default()
        };
        request(&mut world, &mut engine, Service::Subscribe, &subscribe.encode_to_vec());
    }
    (world, engine)
}

fn publish(world: &mut World, engine: &mut Engine, count: u64, size: usize) {
    let publish = PubMsg {
        client_id: "me".into(),
        guid: "g".into(),
        subject: "foo".into(),
        data: vec![b'x'; size].into(),
        ..PubMsg::default()
    }
    .encode_to_vec();
    for _ in 0..count {
        let input = Input::Request {
            service: Service::Publish,
            reply: b"reply",
            payload: &publish,
        };
        world.handle(engine, at(1), input);
    }
}

/// Inbox, sequence and count of what was sent since the last call, and the bytes of it.
fn sent(world: &mut World) -> (Vec<(String, u64, u32)>, usize) {
    let mut bytes = 0;
    let messages = world.outputs.drain(..).filter_map(|output| match output {
        Output::Message {
            inbox,
            sequence,
            count,
            body,
            ..
        } => {
            bytes += body.len();
            Some((String::from_utf8_lossy(&inbox).into_owned(), sequence, count))
        }
        _ => None,
    });
    (messages.collect(), bytes)
}

/// §5.5: what was sent to nobody is pending and comes again; it is read from the disk once somebody listens, not before.
#[test]
fn nothing_is_read_from_the_disk_for_nobody() {
    let (mut world, mut engine) = start(&["inbox"]);
    world.unheard.insert(b"inbox".to_vec());
    publish(&mut world, &mut engine, MESSAGES, 10);
    let channel = *world.logs.keys().next().expect("the channel exists");
    world.cold.insert(channel, MESSAGES);
    world.quiesce(&mut engine, at(1));
    for seconds in 2..=10 {
        world.run(&mut engine, at(seconds), Input::Tick);
    }
    assert_eq!((sent(&mut world).0, world.messages_read), (vec![], 0));
    world.unheard.clear();
    world.run(&mut engine, at(12), Input::Tick);
    let sequences: Vec<u64> = sent(&mut world).0.into_iter().map(|message| message.1).collect();
    assert_eq!(sequences, (1..=MESSAGES).collect::<Vec<_>>());
}

/// Deliveries have a bound in bytes too: what is more waits until those have been written.
#[test]
fn one_call_sends_a_few_megabytes_at_most() {
    const SIZE: usize = 100_000;
    let names: Vec<String> = (0..300).map(|number| format!("inbox-{number}")).collect();
    let inboxes: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut world, mut engine) = start(&inboxes);
    publish(&mut world, &mut engine, 1, SIZE);
    world.outputs.clear();
    world.sync(&mut engine, at(1));
    let mut total = 0;
    let mut calls = 0;
    while total < names.len() {
        let (messages, bytes) = sent(&mut world);
        assert!(!messages.is_empty(), "each call goes on");
        assert!(bytes <= (4 << 20) + 2 * SIZE, "{bytes} bytes in one call");
        total += messages.len();
        calls += 1;
        world.handle(&mut engine, at(1), Input::EndOfPass);
    }
    assert!((7..=10).contains(&calls), "{calls} calls for 30 MB");
}
