//! Many subscriptions on one channel: what there is to deliver keeps nothing else waiting, and nobody's turn never comes.

mod world;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{ConnectRequest, PubMsg, SubscriptionRequest};
use seaway_streaming::{Engine, Input, Limits, Now, Options, Service, Timestamp};
use world::{Output, World};

const NOW: Now = Now {
    monotonic: 1_000_000_000,
    wall: Timestamp(1_700_000_000_000_000_000),
};

fn request(world: &mut World, engine: &mut Engine, service: Service, payload: &[u8]) {
    let input = Input::Request {
        service,
        reply: b"reply",
        payload,
    };
    world.handle(engine, NOW, input);
}

fn start(limits: Limits, subscriptions: usize) -> (World, Engine) {
    let mut world = World {
        record_events: false,
        ..World::new()
    };
    let options = Options {
        limits: limits.into(),
        ..Options::default()
    };
    let (mut engine, _) = world.start(options, NOW).expect("an empty store starts");
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb".into(),
        ..ConnectRequest::default()
    };
    request(&mut world, &mut engine, Service::Connect, &connect.encode_to_vec());
    for number in 0..subscriptions {
        let subscribe = SubscriptionRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            inbox: number.to_string().into(),
            max_in_flight: i32::MAX,
            ack_wait_in_secs: 3600,
            ..SubscriptionRequest::default()
        };
        request(&mut world, &mut engine, Service::Subscribe, &subscribe.encode_to_vec());
    }
    world.quiesce(&mut engine, NOW);
    world.outputs.clear();
    (world, engine)
}

fn publish(world: &mut World, engine: &mut Engine, count: usize) {
    let publish = PubMsg {
        client_id: "me".into(),
        guid: "g".into(),
        subject: "foo".into(),
        ..PubMsg::default()
    }
    .encode_to_vec();
    for _ in 0..count {
        request(world, engine, Service::Publish, &publish);
    }
}

/// §6.1: limits hold although there is always more to deliver than a pass can do.
#[test]
fn limits_hold_while_deliveries_do_not_keep_up() {
    const SUBSCRIPTIONS: usize = 300;
    const PASSES: usize = 60;
    const BATCH: usize = 100;
    let limits = Limits {
        max_messages: 100,
        max_subscriptions: 0,
        ..Limits::default()
    };
    let (mut world, mut engine) = start(limits, SUBSCRIPTIONS);
    let mut received = vec![0usize; SUBSCRIPTIONS];
    let mut left_over = 0;
    for _ in 0..PASSES {
        publish(&mut world, &mut engine, BATCH);
        world.sync(&mut engine, NOW);
        world.handle(&mut engine, NOW, Input::EndOfPass);
        left_over += usize::from(engine.wants_end_of_pass());
        let channel = engine.channel(b"foo", false).expect("the channel");
        assert!(channel.messages <= 100, "{} messages are kept", channel.messages);
        for output in world.outputs.drain(..) {
            if let Output::Message { inbox, .. } = output {
                let number: usize = std::str::from_utf8(&inbox).expect("text").parse().expect("a number");
                received[number] += 1;
            }
        }
    }
    assert!(left_over > PASSES / 2, "there is more to do than a pass does");
    let (least, most) = (received.iter().min(), received.iter().max());
    assert!(
        least.zip(most).is_some_and(|(least, most)| 3 * least > *most),
        "everyone has a share: {least:?} to {most:?} of {}",
        PASSES * BATCH
    );
}

/// What happened to subscriptions is written down although there is always more to deliver than a pass can do.
#[test]
fn deliveries_are_recorded_while_others_wait() {
    let limits = Limits {
        max_subscriptions: 0,
        ..Limits::default()
    };
    let (mut world, mut engine) = start(limits, 300);
    publish(&mut world, &mut engine, 100);
    world.sync(&mut engine, NOW);
    let before = world.records.len();
    world.handle(&mut engine, NOW, Input::EndOfPass);
    assert!(engine.wants_end_of_pass(), "deliveries are left over");
    let messages = world
        .outputs
        .iter()
        .filter(|output| matches!(output, Output::Message { .. }));
    assert!(messages.count() > 0);
    assert!(world.records.len() > before, "nothing was written down");
}

/// However many there are, one call does a bounded amount of work: also when nothing is sent to any of them.
#[test]
fn visits_count_as_work() {
    const SUBSCRIPTIONS: usize = 10_000;
    let limits = Limits {
        max_subscriptions: 0,
        ..Limits::default()
    };
    let (mut world, mut engine) = start(limits, SUBSCRIPTIONS);
    publish(&mut world, &mut engine, 1);
    world.outputs.clear();
    world.sync(&mut engine, NOW);
    let sent = |world: &World| {
        let messages = world
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Message { .. }));
        messages.count()
    };
    assert!((1..SUBSCRIPTIONS / 2).contains(&sent(&world)));
    world.quiesce(&mut engine, NOW);
    assert_eq!(sent(&world), SUBSCRIPTIONS);
}
