//! A channel that is deleted goes in slices (`docs/administration.md`, changes), and the world does not wait meanwhile.

mod world;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, PubMsg, SubscriptionRequest};
use seaway_streaming::{Asked, Change, ChangeId, Engine, Extent, Input, Now, Options, Service, Slices, Timestamp};
use world::World;

const MESSAGES: u64 = 12;

/// So long after the start.
fn after(seconds: u64) -> Now {
    Now {
        monotonic: 1_000_000_000 + seconds * 1_000_000_000,
        wall: Timestamp(1_700_000_000_000_000_000 + seconds as i64 * 1_000_000_000),
    }
}

fn request(world: &mut World, engine: &mut Engine, service: Service, payload: &[u8]) {
    let reply = b"reply";
    let input = Input::Request {
        service,
        reply,
        payload,
    };
    world.run(engine, after(0), input);
}

/// A group of three of which everybody holds messages that were sent to somebody else before, and others.
fn group_that_holds(slices: Slices) -> (World, Engine) {
    let options = Options {
        slices,
        ..Options::default()
    };
    let mut world = World::new();
    let (mut engine, _) = world.start(options, after(0)).expect("an empty store starts");
    let connect = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "hb".into(),
        ..ConnectRequest::default()
    };
    request(&mut world, &mut engine, Service::Connect, &connect.encode_to_vec());
    for inbox in ["a", "b", "c"] {
        let subscribe = SubscriptionRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            q_group: "g".into(),
            inbox: inbox.into(),
            max_in_flight: 100,
            ack_wait_in_secs: 1,
            ..SubscriptionRequest::default()
        };
        request(&mut world, &mut engine, Service::Subscribe, &subscribe.encode_to_vec());
    }
    for number in 0..MESSAGES {
        let publish = PubMsg {
            client_id: "me".into(),
            guid: format!("g{number}").into(),
            subject: "foo".into(),
            ..PubMsg::default()
        };
        request(&mut world, &mut engine, Service::Publish, &publish.encode_to_vec());
    }
    for second in 2..5 {
        world.run(&mut engine, after(second), Input::Tick);
    }
    (world, engine)
}

/// What is asked of the channel with the others, one unit of work at a time, while everybody acknowledges everything again and again.
fn goes_whole(changes: &[Change<'_>]) {
    let slices = Slices {
        work: 1,
        ..Slices::default()
    };
    let (mut world, mut engine) = group_that_holds(slices);
    let members: Vec<u64> = world.listened.values().copied().collect();
    assert_eq!(members.len(), 3);
    for (id, change) in (1..).zip(changes) {
        let asked = Asked {
            id: ChangeId(id),
            by: b"ada",
            is_rehearsal: false,
            change: *change,
        };
        world.handle(&mut engine, after(5), Input::Change(asked));
    }
    let mut passes = 0;
    while engine.channel(b"foo", false).is_some() {
        passes += 1;
        assert!(passes < 1_000, "it never goes");
        world.sync(&mut engine, after(5));
        world.handle(&mut engine, after(5), Input::EndOfPass);
        for (subscription, sequence) in members
            .iter()
            .flat_map(|member| (1..=MESSAGES).map(move |next| (*member, next)))
        {
            let subject = "foo".into();
            let payload = &Ack { subject, sequence }.encode_to_vec();
            world.handle(&mut engine, after(5), Input::Ack { subscription, payload });
        }
    }
    assert!(passes > 2, "one after the other: {passes} passes");
    world.quiesce(&mut engine, after(6));
}

const DELETE: Change<'_> = Change::Delete {
    channel: b"foo",
    force: true,
};

#[test]
fn acks_come_while_the_members_of_a_group_go() {
    goes_whole(&[DELETE]);
}

#[test]
fn a_channel_is_deleted_while_it_is_swept() {
    let purge = Change::Purge {
        channel: b"foo",
        extent: Extent::All,
    };
    goes_whole(&[purge, DELETE]);
}
