//! What an input costs as the members of a group grow, counted in subscriptions looked at.

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, PubMsg, SubscriptionRequest, UnsubscribeRequest};

use super::Engine;
use crate::world::{Output, World};
use crate::{Input, Now, Options, Service, Timestamp};

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Now {
    Now {
        monotonic: seconds * SECOND,
        wall: Timestamp((1_700_000_000 + seconds) as i64 * SECOND as i64),
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

/// A group of which each member is known by the number that is its inbox.
fn group(members: usize) -> (World, Engine) {
    let mut world = World {
        record_events: false,
        ..World::new()
    };
    let (mut engine, _) = world.start(Options::default(), at(1)).expect("an empty store starts");
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb".into(),
        ..ConnectRequest::default()
    };
    request(&mut world, &mut engine, Service::Connect, &connect.encode_to_vec());
    for number in 0..members {
        let subscribe = SubscriptionRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            q_group: "group".into(),
            inbox: number.to_string().into(),
            max_in_flight: 1,
            ack_wait_in_secs: 1,
            ..SubscriptionRequest::default()
        };
        request(&mut world, &mut engine, Service::Subscribe, &subscribe.encode_to_vec());
    }
    (world, engine)
}

/// The member that got the last message.
fn receiver(world: &mut World) -> usize {
    let outputs = std::mem::take(&mut world.outputs);
    let inboxes = outputs.iter().rev().find_map(|output| match output {
        Output::Message { inbox, .. } => Some(inbox.clone()),
        _ => None,
    });
    let inbox = inboxes.expect("somebody got the message");
    std::str::from_utf8(&inbox).expect("text").parse().expect("a number")
}

/// A message that went to one member and, unacknowledged, to another: both.
fn moved(world: &mut World, engine: &mut Engine) -> (usize, usize) {
    let publish = PubMsg {
        client_id: "me".into(),
        guid: "g".into(),
        subject: "foo".into(),
        ..PubMsg::default()
    };
    request(world, engine, Service::Publish, &publish.encode_to_vec());
    let first = receiver(world);
    world.run(engine, at(3), Input::Tick);
    let second = receiver(world);
    assert_ne!(first, second, "somebody else has fewer pending messages");
    (first, second)
}

fn pending(engine: &Engine) -> usize {
    let channel = engine.channel(b"foo", true).expect("the channel");
    channel
        .subscriptions
        .iter()
        .map(|subscription| subscription.pending_count)
        .sum()
}

/// Acknowledges the message as the member that got it first; how many subscriptions were looked at.
fn ack(world: &mut World, engine: &mut Engine, member: usize) -> usize {
    assert_eq!(pending(engine), 1);
    let ack = Ack {
        subject: "foo".into(),
        sequence: 1,
    };
    let before = engine.subscriptions.looks.get();
    let subject = world.ack_inboxes[member].clone();
    world.ack(engine, at(4), &subject, &ack.encode_to_vec());
    let looks = engine.subscriptions.looks.get() - before;
    assert_eq!(pending(engine), 0, "whoever held it holds it no longer");
    looks
}

#[test]
fn the_ack_of_a_message_that_moved_costs_the_same_in_a_large_group() {
    let looks = [3, 300].map(|members| {
        let (mut world, mut engine) = group(members);
        let (first, _) = moved(&mut world, &mut engine);
        ack(&mut world, &mut engine, first)
    });
    assert_eq!(looks[0], looks[1], "in groups of 3 and of 300");
}

/// Who got a message first is not on record.
#[test]
fn so_it_does_after_a_restart() {
    let looks = [3, 300].map(|members| {
        let (mut world, mut engine) = group(members);
        let (first, _) = moved(&mut world, &mut engine);
        let mut world = world.crash(world.durable);
        let (mut engine, _) = world.start(Options::default(), at(4)).expect("it starts again");
        world.quiesce(&mut engine, at(4));
        ack(&mut world, &mut engine, first)
    });
    assert_eq!(looks[0], looks[1], "in groups of 3 and of 300");
}

/// Whoever timed out subscribing names the delivery inbox.
#[test]
fn an_unsubscribe_by_delivery_inbox_costs_the_same_in_a_large_group() {
    let looks = [3, 300].map(|members| {
        let (mut world, mut engine) = group(members);
        let looks = ["0", "nobody"].map(|inbox| {
            let unsubscribe = UnsubscribeRequest {
                client_id: "me".into(),
                subject: "foo".into(),
                inbox: inbox.into(),
                ..UnsubscribeRequest::default()
            };
            let before = engine.subscriptions.looks.get();
            request(
                &mut world,
                &mut engine,
                Service::Unsubscribe,
                &unsubscribe.encode_to_vec(),
            );
            engine.subscriptions.looks.get() - before
        });
        let channel = engine.channel(b"foo", false).expect("the channel");
        assert_eq!(channel.subscriptions_count, members - 1);
        looks
    });
    assert_eq!(looks[0], looks[1], "in groups of 3 and of 300");
}
