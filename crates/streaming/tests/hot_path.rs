//! The hot path: publish, commit, deliver, ack, end of the pass. It allocates nothing per message (architecture, invariant 8).
//!
//! `cargo test --release --test hot_path -- --nocapture` prints what a message costs the engine alone.

mod counting;

use std::time::Instant;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, PubMsg, SubscriptionRequest};
use seaway_streaming::{
    Admission, Bus, Carried, ChannelId, Delivery, Effects, Engine, Event, Head, Input, Limits, Lookup, Need, Now,
    Options, Position, ProbeId, ReadRequest, Records, Seek, Service, Ticket, Timestamp, Urgency,
};

/// As long as an encoded message of 128 bytes.
const BODY: &[u8] = &[7; 150];

/// A store that keeps nothing, and whose disk takes no time.
#[derive(Default)]
struct Nowhere {
    appended: u64,
}

impl Nowhere {
    fn append(&mut self) -> Position {
        self.appended += 1;
        Position(self.appended)
    }
}

impl Records for Nowhere {
    fn append_message(&mut self, _: ChannelId, _: u64, _: i64, _: &[&[u8]]) -> Position {
        self.append()
    }
    fn append_fact(&mut self, _: u8, _: &[u8], _: Urgency) -> Position {
        self.append()
    }
    fn trim(&mut self, _: ChannelId, _: u64) -> Position {
        self.append()
    }
    fn delete_channel(&mut self, _: ChannelId) -> Position {
        self.append()
    }
    fn admission(&mut self, _: Need, _: usize) -> Admission {
        Ok(())
    }
    fn durable(&self) -> Position {
        Position(self.appended)
    }
    fn head(&mut self, _: ChannelId) -> Head {
        Head::Reading
    }
    fn live_bytes(&self, _: ChannelId, messages: u64) -> u64 {
        messages * BODY.len() as u64
    }
    fn seek(&mut self, _: Ticket, _: ChannelId, _: i64) -> Seek {
        Seek::Found(1)
    }
    fn read(&mut self, _: ReadRequest) {}
    fn message(&self, _: ChannelId, _: u64) -> Lookup<'_> {
        Lookup::Hot(BODY)
    }
    fn checkpoint_fact(&mut self, _: u8, _: &[u8]) {}
    fn finish_checkpoint(&mut self) {}
}

/// A bus that counts.
#[derive(Default)]
struct Counting {
    replies: u64,
    deliveries: u64,
}

impl Bus for Counting {
    fn reply(&mut self, _: &[u8], _: &[u8]) {
        self.replies += 1;
    }
    fn deliver(&mut self, _: Delivery<'_>, _: [&[u8]; 2]) -> Carried {
        self.deliveries += 1;
        Carried::Sent
    }
    fn probe(&mut self, _: &[u8], _: ProbeId) {}
    fn listen(&mut self, _: &[u8], _: u64) {}
    fn unlisten(&mut self, _: u64) {}
}

#[derive(Default)]
struct World {
    store: Nowhere,
    bus: Counting,
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

struct Bench {
    engine: Engine,
    world: World,
    now: Now,
}

impl Bench {
    fn new() -> Bench {
        let mut world = World::default();
        let limits = Limits {
            max_channels: 0,
            max_subscriptions: 0,
            ..Limits::default()
        };
        let mut engine = Engine::new(Options {
            limits: limits.into(),
            ..Options::default()
        });
        let now = Now {
            monotonic: 1,
            wall: Timestamp(1_700_000_000_000_000_000),
        };
        engine
            .start(now, &mut Effects::new(&mut world.store, &mut world.bus, &mut ignore))
            .expect("an empty store starts");
        let mut bench = Bench { engine, world, now };
        let request = ConnectRequest {
            client_id: "me".into(),
            heartbeat_inbox: "hb".into(),
            conn_id: "c1".into(),
            ..ConnectRequest::default()
        };
        bench.request(Service::Connect, &request.encode_to_vec());
        bench
    }

    fn request(&mut self, service: Service, payload: &[u8]) {
        let input = Input::Request {
            service,
            reply: b"_STAN.acks.0123456789012345678901",
            payload,
        };
        self.world.handle(&mut self.engine, self.now, input);
    }

    fn subscribe(&mut self, queue: &'static str) {
        let request = SubscriptionRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            inbox: "_INBOX.s".into(),
            q_group: queue.into(),
            max_in_flight: 1024,
            ack_wait_in_secs: 30,
            ..SubscriptionRequest::default()
        };
        self.request(Service::Subscribe, &request.encode_to_vec());
        self.commit();
    }

    fn commit(&mut self) {
        self.world.handle(
            &mut self.engine,
            self.now,
            Input::Durable(Position(self.world.store.appended)),
        );
        self.world.handle(&mut self.engine, self.now, Input::EndOfPass);
    }

    /// Passes of `batch` publishes, each acknowledged by `subscriptions` subscriptions.
    fn run(&mut self, passes: u64, batch: u64, subscriptions: u64, sequence: &mut u64) {
        let publish = PubMsg {
            client_id: "me".into(),
            guid: "0123456789012345678901".into(),
            subject: "foo".into(),
            data: vec![7; 128].into(),
            conn_id: "c1".into(),
            ..PubMsg::default()
        }
        .encode_to_vec();
        let mut ack = Vec::with_capacity(32);
        for _ in 0..passes {
            // A pass takes a fifth of a millisecond.
            self.now.monotonic += 200_000;
            self.now.wall.0 += 200_000;
            for _ in 0..batch {
                self.request(Service::Publish, &publish);
            }
            self.world.handle(
                &mut self.engine,
                self.now,
                Input::Durable(Position(self.world.store.appended)),
            );
            for number in 1..=subscriptions {
                for acknowledged in *sequence + 1..=*sequence + batch {
                    ack.clear();
                    ack.extend_from_slice(b"\x0a\x03foo\x10");
                    prost::encoding::encode_varint(acknowledged, &mut ack);
                    let input = Input::Ack {
                        subscription: number,
                        payload: &ack,
                    };
                    self.world.handle(&mut self.engine, self.now, input);
                }
            }
            *sequence += batch;
            self.world.handle(&mut self.engine, self.now, Input::EndOfPass);
        }
    }
}

#[test]
fn nothing_is_allocated_per_message() {
    let table: [(&str, u64, &'static str); 4] = [
        ("publish", 0, ""),
        ("publish, deliver, ack", 1, ""),
        ("fan-out to 3", 3, ""),
        ("queue group of 3", 3, "workers"),
    ];
    for (name, subscriptions, queue) in table {
        let mut bench = Bench::new();
        for _ in 0..subscriptions {
            bench.subscribe(queue);
        }
        let mut sequence = 0;
        let (passes, batch) = (1_000, 256);
        bench.run(passes / 2, batch, subscriptions, &mut sequence);
        let (before, deliveries) = (counting::allocations(), bench.world.bus.deliveries);
        let started = Instant::now();
        bench.run(passes, batch, subscriptions, &mut sequence);
        let messages = passes * batch;
        let nanoseconds = started.elapsed().as_nanos() as u64 / messages;
        let allocations = counting::allocations() - before;
        println!(
            "{name}: {nanoseconds} ns and {:.4} allocations per message",
            allocations as f64 / messages as f64
        );
        let receivers = if queue.is_empty() { subscriptions } else { 1 };
        assert_eq!(bench.world.bus.deliveries - deliveries, messages * receivers, "{name}");
        assert!(
            allocations < messages / 50,
            "{name}: {allocations} allocations for {messages} messages"
        );
        let snapshot = bench.engine.channel(b"foo", true).expect("the channel");
        assert!(
            snapshot
                .subscriptions
                .iter()
                .all(|subscription| subscription.pending_count == 0),
            "{name}"
        );
    }
    // An ack is small: what is encoded by hand above is what clients send.
    let ack = Ack {
        subject: "foo".into(),
        sequence: 300,
    }
    .encode_to_vec();
    assert_eq!(ack, b"\x0a\x03foo\x10\xac\x02");
}
