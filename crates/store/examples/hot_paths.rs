//! What a message costs engine and file store together: the paths that every message takes, without sockets and without
//! waiting for a disk.
//!
//! `hot_paths PATH MESSAGES` sends that many messages along one path and prints how often it allocated. Run it
//! under an instruction counter with two numbers of messages: the difference is what the messages cost. `cargo xtask
//! hot-paths` does both and knows the bounds.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people to read")]

#[path = "../../streaming/tests/counting/mod.rs"]
mod counting;

use std::sync::Arc;

use seaway_journal::disk::real::RealDisk;
use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{ConnectRequest, PubMsg, SubscriptionRequest};
use seaway_store::{Completion, FileStore, Recovering, Sizes, Store};
use seaway_streaming::{
    Bus, Carried, Delivery, Effects, Engine, Event, Input, Limits, Now, Options, ProbeId, Service, Timestamp,
};

/// Publishes of one pass: what a read of a busy connection brings.
const BATCH: u64 = 256;
const PAYLOAD_BYTES: usize = 128;
const INBOX: &[u8] = b"_INBOX.0123456789012345678901.0123";
const SIZES: Sizes = Sizes {
    segment_bytes: 16 << 20,
    cache_bytes: 64 << 20,
    checkpoint_bytes: 64 << 20,
    unarchived_bytes_max: None,
};

/// A path that messages take.
#[derive(Clone, Copy)]
struct Path {
    name: &'static str,
    channels: u64,
    /// Messages a channel keeps; 0 is all.
    messages_max: u64,
    /// Whether somebody receives and acknowledges.
    subscribed: bool,
}

const PATHS: [Path; 4] = [
    Path {
        name: "publish",
        channels: 1,
        messages_max: 0,
        subscribed: false,
    },
    Path {
        name: "publish-deliver-ack",
        channels: 1,
        messages_max: 0,
        subscribed: true,
    },
    Path {
        name: "publish-full",
        channels: 1,
        messages_max: 1_000,
        subscribed: false,
    },
    Path {
        name: "publish-1000-channels",
        channels: 1_000,
        messages_max: 0,
        subscribed: false,
    },
];

/// The file store, and a bus that only copies.
struct World {
    store: FileStore,
    bus: Copying,
}

#[derive(Default)]
struct Copying {
    wire: Vec<u8>,
    replies: u64,
    deliveries: u64,
}

impl Bus for Copying {
    fn reply(&mut self, subject: &[u8], payload: &[u8]) {
        self.wire.extend_from_slice(subject);
        self.wire.extend_from_slice(payload);
        self.replies += 1;
    }
    fn deliver(&mut self, delivery: Delivery<'_>, parts: [&[u8]; 2]) -> Carried {
        self.wire.extend_from_slice(delivery.inbox);
        for part in parts {
            self.wire.extend_from_slice(part);
        }
        self.deliveries += 1;
        Carried::Sent
    }
    fn probe(&mut self, _: &[u8], _: ProbeId) {}
    fn listen(&mut self, _: &[u8], _: u64) {}
    fn unlisten(&mut self, _: u64) {}
}

fn ignore(_: Event<'_>) {}

impl World {
    fn handle(&mut self, engine: &mut Engine, now: Now, input: Input<'_>) {
        engine.handle(
            now,
            input,
            &mut Effects::new(&mut self.store, &mut self.bus, &mut ignore),
        );
    }
}

struct Run {
    path: Path,
    engine: Engine,
    world: World,
    now: Now,
    completions: Vec<Completion>,
    publishes: Vec<Vec<u8>>,
    published: u64,
}

impl Run {
    fn new(path: Path, directory: &std::path::Path) -> Run {
        let limits = Limits {
            max_channels: 0,
            max_messages: path.messages_max,
            max_bytes: 0,
            ..Limits::default()
        };
        let mut engine = Engine::new(Options {
            limits: limits.into(),
            ..Options::default()
        });
        let disk = Arc::new(RealDisk::new(directory).expect("a directory of its own"));
        let mut recovering = Recovering::new(&mut engine);
        let store = FileStore::open_stepped(disk, SIZES, None, &mut recovering).expect("an empty directory");
        recovering.finish().expect("nothing to misunderstand");
        let mut world = World {
            store,
            bus: Copying::default(),
        };
        let now = Now {
            monotonic: 1,
            wall: Timestamp(1_700_000_000_000_000_000),
        };
        engine
            .start(now, &mut Effects::new(&mut world.store, &mut world.bus, &mut ignore))
            .expect("an empty store starts");
        let mut run = Run {
            path,
            engine,
            world,
            now,
            completions: Vec::new(),
            publishes: (0..path.channels).map(publish).collect(),
            published: 0,
        };
        run.enter();
        run
    }

    /// The client connects, and subscribes if the path says so.
    fn enter(&mut self) {
        let connect = ConnectRequest {
            client_id: "me".into(),
            heartbeat_inbox: "hb".into(),
            conn_id: "0123456789012345678901".into(),
            ..ConnectRequest::default()
        };
        self.request(Service::Connect, &connect.encode_to_vec());
        self.finish_pass();
        if self.path.subscribed {
            let subscribe = SubscriptionRequest {
                client_id: "me".into(),
                subject: channel(0).into(),
                inbox: INBOX.to_vec().into(),
                max_in_flight: 16_384,
                ack_wait_in_secs: 30,
                ..SubscriptionRequest::default()
            };
            self.request(Service::Subscribe, &subscribe.encode_to_vec());
            self.finish_pass();
        }
    }

    fn request(&mut self, service: Service, payload: &[u8]) {
        let input = Input::Request {
            service,
            reply: INBOX,
            payload,
        };
        self.world.handle(&mut self.engine, self.now, input);
    }

    fn input(&mut self, input: Input<'_>) {
        self.world.handle(&mut self.engine, self.now, input);
    }

    /// One pass as the server's engine thread makes it: publishes, commit, deliveries and answers, acks, settling.
    fn pass(&mut self) {
        self.now.monotonic += 200_000;
        self.now.wall.0 += 200_000;
        for number in self.published..self.published + BATCH {
            let index = (number % self.path.channels) as usize;
            let input = Input::Request {
                service: Service::Publish,
                reply: INBOX,
                payload: &self.publishes[index],
            };
            assert!(
                !self.world.store.pressure(PAYLOAD_BYTES).is_behind,
                "the store keeps up"
            );
            self.world.handle(&mut self.engine, self.now, input);
        }
        let before = self.published;
        self.published += BATCH;
        self.finish_pass();
        if self.path.subscribed {
            assert_eq!(
                self.world.bus.deliveries, self.published,
                "delivered before they are acknowledged"
            );
            let mut payload = ack();
            let fixed = payload.len();
            for sequence in before + 1..=self.published {
                payload.truncate(fixed);
                prost::encoding::encode_varint(sequence, &mut payload);
                self.input(Input::Ack {
                    subscription: 1,
                    payload: &payload,
                });
            }
        }
        self.input(Input::EndOfPass);
    }

    fn finish_pass(&mut self) {
        self.world.store.submit();
        let (engine, world, now) = (&mut self.engine, &mut self.world, self.now);
        // A commit is heard of before the next job: sealing the segment that it filled would take the messages out of memory.
        while world.store.step() {
            world.store.poll(&mut self.completions);
            for completion in self.completions.drain(..) {
                completion.feed(|input| world.handle(engine, now, input));
            }
        }
        self.world.bus.wire.clear();
    }
}

fn channel(number: u64) -> String {
    format!("orders.created.{number}")
}

fn publish(number: u64) -> Vec<u8> {
    PubMsg {
        client_id: "me".into(),
        guid: "0123456789012345678901".into(),
        subject: channel(number).into(),
        data: vec![7; PAYLOAD_BYTES].into(),
        conn_id: "0123456789012345678901".into(),
        ..PubMsg::default()
    }
    .encode_to_vec()
}

/// An ack of the first channel up to the number that is acknowledged.
fn ack() -> Vec<u8> {
    let name = channel(0);
    let mut payload = vec![0x0a, name.len() as u8];
    payload.extend_from_slice(name.as_bytes());
    payload.push(0x10);
    payload
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "hot_paths publish|publish-deliver-ack|publish-full|publish-1000-channels MESSAGES";
    let [name, messages] = &arguments[..] else {
        panic!("usage: {usage}")
    };
    let path = *PATHS.iter().find(|path| path.name == name.as_str()).expect(usage);
    let passes = messages.parse::<u64>().expect(usage) / BATCH;
    let directory = tempfile::tempdir().unwrap();
    let mut run = Run::new(path, directory.path());
    // Vectors find their sizes, channels are created and filled.
    for _ in 0..64 {
        run.pass();
    }
    let (before, replies, deliveries) = (counting::allocations(), run.world.bus.replies, run.world.bus.deliveries);
    for _ in 0..passes {
        run.pass();
    }
    let allocations = counting::allocations() - before;
    assert_eq!(
        run.world.bus.replies - replies,
        passes * BATCH,
        "every publish is answered"
    );
    let delivered = if path.subscribed { passes * BATCH } else { 0 };
    assert_eq!(
        run.world.bus.deliveries - deliveries,
        delivered,
        "every message is delivered"
    );
    let channel = run.engine.channel(channel(0).as_bytes(), true).expect("the channel");
    let pending = channel
        .subscriptions
        .iter()
        .map(|subscription| subscription.pending_count);
    assert_eq!(pending.sum::<usize>(), 0, "every message is acknowledged");
    if path.messages_max > 0 {
        assert_eq!(channel.messages, path.messages_max, "the channel stays full");
    }
    println!("{} messages, {allocations} allocations", passes * BATCH);
}
