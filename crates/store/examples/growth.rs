//! What an operation costs engine and store when there is much of what it could walk over.
//!
//! `growth OPERATION EXISTING COUNT` makes so much exist, and does the operation so often. Run it under an instruction counter
//! with a count of 0 and another: the difference is what the operations cost. `cargo xtask hot-paths` does that for two sizes, and
//! knows what may grow.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people to read")]

use std::path::Path;
use std::sync::Arc;

use seaway_journal::disk::real::RealDisk;
use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, CloseRequest, ConnectRequest, PubMsg, SubscriptionRequest};
use seaway_store::{Completion, FileStore, MemoryStore, Recovery, Sizes, Store};
use seaway_streaming::{
    Bus, Carried, ChannelId, Delivery, Destination, Effects, Engine, Event, Events, Input, Limits, Now, Options,
    ProbeId, ReadRequest, Records, Service, Ticket, Timestamp, Urgency,
};

const NOW: Now = Now {
    monotonic: 1_000_000_000,
    wall: Timestamp(1_700_000_000_000_000_000),
};

const SLOW: Destination = Destination(1);

/// A bus of which all receivers share one connection, which may be full.
#[derive(Default)]
struct Wire {
    is_full: bool,
    /// The subscription that got a message last.
    receiver: u64,
    replies: u64,
}

impl Bus for Wire {
    fn reply(&mut self, _: &[u8], _: &[u8]) {
        self.replies += 1;
    }
    fn deliver(&mut self, delivery: Delivery<'_>, _: [&[u8]; 2]) -> Carried {
        if self.is_full {
            return Carried::Congested(SLOW);
        }
        self.receiver = delivery.subscription;
        Carried::Sent
    }
    fn probe(&mut self, _: &[u8], _: ProbeId) {}
    fn listen(&mut self, _: &[u8], _: u64) {}
    fn unlisten(&mut self, _: u64) {}
}

/// A log that nobody reads.
struct NoLog;

impl Events for NoLog {
    fn event(&mut self, _: Event<'_>) {}
}

/// An engine on a store in memory.
struct Server {
    engine: Engine,
    store: MemoryStore,
    bus: Wire,
}

impl Server {
    /// With a client that has so many subscriptions.
    fn new(subscriptions: u64, queue: &'static str) -> Server {
        let limits = Limits::default();
        let options = Options {
            limits: limits.into(),
            ..Options::default()
        };
        let mut server = Server {
            engine: Engine::new(options),
            store: MemoryStore::new(),
            bus: Wire::default(),
        };
        let (mut log, engine) = (NoLog, &mut server.engine);
        let mut effects = Effects::new(&mut server.store, &mut server.bus, &mut log);
        engine.start(NOW, &mut effects).expect("an empty store starts");
        let connect = ConnectRequest {
            client_id: "me".into(),
            heartbeat_inbox: "hb".into(),
            ..ConnectRequest::default()
        };
        server.request(Service::Connect, &connect.encode_to_vec());
        for number in 0..subscriptions {
            let subscribe = SubscriptionRequest {
                client_id: "me".into(),
                subject: "foo".into(),
                inbox: number.to_string().into(),
                q_group: queue.into(),
                max_in_flight: 10,
                ack_wait_in_secs: 30,
                ..SubscriptionRequest::default()
            };
            server.request(Service::Subscribe, &subscribe.encode_to_vec());
        }
        server.settle();
        server
    }

    fn input(&mut self, input: Input<'_>) {
        let mut log = NoLog;
        let mut effects = Effects::new(&mut self.store, &mut self.bus, &mut log);
        self.engine.handle(NOW, input, &mut effects);
    }

    fn request(&mut self, service: Service, payload: &[u8]) {
        let reply = b"reply";
        self.input(Input::Request {
            service,
            reply,
            payload,
        });
    }

    /// Until nothing is left to do.
    fn settle(&mut self) {
        let mut completions = Vec::new();
        loop {
            self.store.submit();
            self.store.poll(&mut completions);
            let is_busy = !completions.is_empty();
            for completion in completions.drain(..) {
                completion.feed(|input| self.input(input));
            }
            if !is_busy && !self.engine.wants_end_of_pass() {
                return;
            }
            self.input(Input::EndOfPass);
        }
    }

    fn publish(&mut self) {
        let publish = PubMsg {
            client_id: "me".into(),
            guid: "guid".into(),
            subject: "foo".into(),
            ..PubMsg::default()
        };
        self.request(Service::Publish, &publish.encode_to_vec());
        self.settle();
    }
}

/// A message goes to a member of a group of so many, which acknowledges it.
fn choose_a_member(members: u64, count: u64) {
    let mut server = Server::new(members, "workers");
    for sequence in 1..=count {
        server.publish();
        let ack = Ack {
            subject: "foo".into(),
            sequence,
        };
        server.input(Input::Ack {
            subscription: server.bus.receiver,
            payload: &ack.encode_to_vec(),
        });
        server.settle();
    }
    let channel = server.engine.channel(b"foo", true).expect("the channel");
    let pending = channel.subscriptions.iter().map(|known| known.pending_count);
    assert_eq!(pending.sum::<usize>(), 0, "every message is acknowledged");
}

/// A client of which so many subscriptions wait for its connection goes.
fn end_the_paused(subscriptions: u64, count: u64) {
    let mut server = Server::new(subscriptions, "");
    server.bus.is_full = true;
    server.publish();
    if count == 0 {
        return;
    }
    let close = CloseRequest { client_id: "me".into() };
    server.request(Service::Close, &close.encode_to_vec());
    server.settle();
    let left = server.engine.channel(b"foo", false).expect("the channel");
    assert_eq!((left.subscriptions_count, count), (0, subscriptions), "all have gone");
}

struct Forget;

impl Recovery for Forget {
    fn fact(&mut self, _: u8, _: &[u8]) {}
    fn channel_deleted(&mut self, _: ChannelId) {}
    fn channel(&mut self, _: ChannelId, _: u64, _: u64, _: u64, _: i64) {}
}

fn open(directory: &Path, segment_bytes: u64) -> FileStore {
    let disk = Arc::new(RealDisk::new(directory).expect("a directory of its own"));
    let sizes = Sizes {
        segment_bytes,
        cache_bytes: 1 << 20,
        checkpoint_bytes: 1 << 40,
        unarchived_bytes_max: None,
    };
    FileStore::open_stepped(disk, sizes, None, &mut Forget).expect("a store of its own")
}

/// Works until nothing is left to do; how many reads were answered.
fn settle(store: &mut FileStore) -> u64 {
    let (mut completions, mut reads) = (Vec::new(), 0);
    store.submit();
    while store.step() {
        store.poll(&mut completions);
        for completion in completions.drain(..) {
            reads += u64::from(matches!(completion, Completion::Read { messages: Ok(_), .. }));
        }
        store.submit();
    }
    reads
}

/// So many channels wait to be read from disk at once.
fn answer_reads(directory: &Path, channels: u64, count: u64) {
    let mut store = open(directory, 16 << 20);
    for channel in 1..=channels {
        store.append_message(ChannelId(channel), 1, NOW.wall.0, &[&[7; 128]]);
        if channel % 256 == 0 {
            settle(&mut store);
        }
    }
    settle(&mut store);
    store.close().unwrap();
    drop(store);
    let mut store = open(directory, 16 << 20);
    settle(&mut store);
    for channel in 1..=count {
        store.read(ReadRequest {
            ticket: Ticket(channel),
            channel: ChannelId(channel),
            from: 1,
            messages_max: 1,
            bytes_max: 1024,
        });
    }
    assert_eq!(settle(&mut store), count, "every read is answered");
}

/// A small batch becomes durable beside so many segments.
fn commit(directory: &Path, segments: u64, count: u64) {
    let mut store = open(directory, 64 << 10);
    let mut sequence = 0;
    while store.statistics().segments < segments {
        sequence += 1;
        store.append_message(ChannelId(1), sequence, NOW.wall.0, &[&[7; 48 << 10]]);
        settle(&mut store);
    }
    for _ in 0..count {
        store.append_fact(200, b"small", Urgency::Sync);
        settle(&mut store);
    }
    assert_eq!(store.durable().0 - sequence, count, "every batch is durable");
}

fn main() {
    let usage = "growth choose-a-member|end-the-paused|answer-reads|commit EXISTING COUNT";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, existing, count] = &arguments[..] else {
        panic!("usage: {usage}")
    };
    let (existing, count) = (existing.parse().expect(usage), count.parse().expect(usage));
    let directory = tempfile::tempdir().unwrap();
    match operation.as_str() {
        "choose-a-member" => choose_a_member(existing, count),
        "end-the-paused" => end_the_paused(existing, count),
        "answer-reads" => answer_reads(directory.path(), existing, count),
        "commit" => commit(directory.path(), existing, count),
        _ => panic!("usage: {usage}"),
    }
    println!("{count} operations");
}
