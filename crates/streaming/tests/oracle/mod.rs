//! Plays random steps against an engine and keeps what an outsider would know about each receiver.

mod checks;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use checks::is_message;
use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{
    Ack, CloseRequest, ConnectRequest, PubMsg, SubscriptionRequest, UnsubscribeRequest,
};
use seaway_streaming::{
    Destination, Engine, Input, Limits, LimitsTable, Now, Options, Position, Service, Slices, Timestamp,
};
pub(crate) use steps::{Step, step};

use crate::world::World;

const MILLISECOND: u64 = 1_000_000;
const CHANNELS: usize = 2;
const CLIENTS: usize = 3;

/// What one receiver of each message (a plain subscription, a durable, a group) has seen.
#[derive(Debug, Default)]
struct Flow {
    /// Last sequence delivered for the first time; unknown after a crash.
    last: Option<u64>,
    /// Who holds what was delivered and not acknowledged.
    holders: BTreeMap<u64, String>,
    acked: BTreeSet<u64>,
    /// A crash may have lost acks and deliveries: what was known does not bind any more.
    loose: bool,
}

#[derive(Clone, Debug)]
struct Subscription {
    client: usize,
    channel: usize,
    inbox: String,
    flow: String,
    max: usize,
    ack_inbox: Option<Vec<u8>>,
    ended: bool,
}

pub(crate) struct Play {
    pub(crate) options: Options,
    pub(crate) world: World,
    pub(crate) engine: Engine,
    pub(crate) now: Now,
    clients: [bool; CLIENTS],
    subscriptions: Vec<Subscription>,
    flows: BTreeMap<String, Flow>,
    inboxes: usize,
    acked_publishes: [u64; CHANNELS],
    /// Crashes are part of the play: what was ended may come back, so nothing is forgotten.
    crashes: bool,
    /// A limit on messages drops old ones.
    trims: bool,
}

fn name(channel: usize) -> String {
    format!("channel{channel}")
}

fn text(text: &str) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(text.as_bytes())
}

impl Play {
    pub(crate) fn new(slices: Slices, crashes: bool, trims: bool) -> Play {
        let options = Options {
            limits: LimitsTable::from(Limits {
                max_messages: if trims { 7 } else { 0 },
                ..Limits::default()
            }),
            slices,
            heartbeat_interval_ns: u64::MAX / 2,
            ..Options::default()
        };
        let now = Now {
            monotonic: 1_000_000 * MILLISECOND,
            wall: Timestamp(1_700_000_000_000_000_000),
        };
        let mut world = World {
            record_events: false,
            ..World::new()
        };
        let (engine, _) = world.start(options.clone(), now).expect("an empty store starts");
        Play {
            options,
            world,
            engine,
            now,
            clients: [false; CLIENTS],
            subscriptions: Vec::new(),
            flows: BTreeMap::new(),
            inboxes: 0,
            acked_publishes: [0; CHANNELS],
            crashes,
            trims,
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.world.handle(&mut self.engine, self.now, input);
        self.watch();
    }

    fn request(&mut self, service: Service, reply: &str, payload: &[u8]) {
        self.input(Input::Request {
            service,
            reply: reply.as_bytes(),
            payload,
        });
    }

    fn active(&self, wanted: usize) -> Option<usize> {
        let active: Vec<usize> = (0..self.subscriptions.len())
            .filter(|place| self.subscriptions[*place].ack_inbox.is_some())
            .collect();
        (!active.is_empty()).then(|| active[wanted % active.len()])
    }

    pub(crate) fn play(&mut self, step: &Step) {
        match *step {
            Step::Publish { channel, count } => {
                let Some(client) = self.clients.iter().position(|connected| *connected) else {
                    return;
                };
                for _ in 0..count {
                    let request = PubMsg {
                        client_id: text(&format!("client{client}")),
                        guid: text("guid"),
                        subject: text(&name(channel)),
                        ..PubMsg::default()
                    };
                    self.request(
                        Service::Publish,
                        &format!("publish:{channel}"),
                        &request.encode_to_vec(),
                    );
                }
            }
            Step::Connect { client } => {
                if self.clients[client] {
                    return;
                }
                let id = format!("client{client}");
                let request = ConnectRequest {
                    client_id: text(&id),
                    heartbeat_inbox: text(&format!("hb.{id}")),
                    ..ConnectRequest::default()
                };
                self.clients[client] = true;
                self.request(Service::Connect, &format!("connect:{client}"), &request.encode_to_vec());
            }
            Step::Subscribe {
                client,
                channel,
                kind,
                max,
                wait,
            } => self.subscribe(client, channel, kind, max, wait),
            Step::Ack { subscription, message } => {
                let Some(place) = self.active(subscription) else { return };
                let subscription = self.subscriptions[place].clone();
                let Some(flow) = self.flows.get(&subscription.flow) else {
                    return;
                };
                let held: Vec<u64> = flow.holders.keys().copied().collect();
                if let Some(sequence) = held.get(message % held.len().max(1)) {
                    self.ack(&subscription, *sequence);
                }
            }
            Step::AckAll { subscription } => {
                let Some(place) = self.active(subscription) else { return };
                self.ack_all(&self.subscriptions[place].clone());
            }
            Step::Leave { subscription, forget } => {
                let Some(place) = self.active(subscription) else { return };
                self.leave(place, forget);
            }
            Step::Close { client } => self.close(client),
            Step::Advance { milliseconds } => {
                self.now.monotonic += milliseconds * MILLISECOND;
                self.now.wall.0 += (milliseconds * MILLISECOND) as i64;
                if self
                    .engine
                    .next_deadline()
                    .is_some_and(|deadline| deadline <= self.now.monotonic)
                {
                    self.input(Input::Tick);
                }
            }
            Step::Commit { share } => {
                let waiting = self.world.records.len() - self.world.durable;
                self.world.durable += (waiting * share).div_ceil(4).min(waiting);
                self.input(Input::Durable(Position(self.world.durable as u64)));
            }
            Step::EndOfPass => self.input(Input::EndOfPass),
            Step::Checkpoint => self.checkpoint_step(),
            Step::Cold { channel } => {
                let _ = channel;
                let lasts: Vec<_> = self.world.logs.iter().map(|(id, log)| (*id, log.last)).collect();
                self.world.cold.extend(lasts);
            }
            Step::Answer => {
                self.world.answer(&mut self.engine, self.now);
                self.watch();
            }
            Step::Slow { subscription } => {
                if let Some(place) = self.active(subscription) {
                    self.world
                        .slow
                        .insert(self.subscriptions[place].inbox.clone().into_bytes());
                }
            }
            Step::Drain => self.drain(),
            Step::Bus { up } => self.bus(up),
            Step::Crash { share } => self.crash(share),
        }
    }

    fn subscribe(&mut self, client: usize, channel: usize, kind: usize, max: i32, wait: i32) {
        if !self.clients[client] {
            return;
        }
        self.inboxes += 1;
        let inbox = format!("inbox{}", self.inboxes);
        let (flow, durable, queue) = match kind {
            0 => (format!("plain:{inbox}"), "", ""),
            1 => (format!("durable:{client}:{channel}"), "dur", ""),
            2 => (format!("group:{channel}"), "", "workers"),
            _ => (format!("durable group:{channel}"), "dur", "workers"),
        };
        let active = self.subscriptions.iter().any(|known| known.flow == flow);
        if kind == 1 && active {
            return;
        }
        if kind == 2 && !active {
            // A group without members begins anew.
            self.forget_flow(&flow);
        }
        let request = SubscriptionRequest {
            client_id: text(&format!("client{client}")),
            subject: text(&name(channel)),
            inbox: text(&inbox),
            q_group: text(queue),
            durable_name: text(durable),
            max_in_flight: max,
            ack_wait_in_secs: wait,
            start_position: 4,
            ..SubscriptionRequest::default()
        };
        let max = max as usize;
        let subscription = Subscription {
            client,
            channel,
            inbox: inbox.clone(),
            flow,
            max,
            ack_inbox: None,
            ended: false,
        };
        self.subscriptions.push(subscription);
        self.request(
            Service::Subscribe,
            &format!("subscribe:{inbox}"),
            &request.encode_to_vec(),
        );
    }

    fn ack(&mut self, subscription: &Subscription, sequence: u64) {
        let Some(ack_inbox) = &subscription.ack_inbox else {
            return;
        };
        let flow = self
            .flows
            .get_mut(&subscription.flow)
            .expect("a flow that holds something");
        flow.holders.remove(&sequence);
        flow.acked.insert(sequence);
        let payload = Ack {
            subject: text(&name(subscription.channel)),
            sequence,
        }
        .encode_to_vec();
        self.world.ack(&mut self.engine, self.now, ack_inbox, &payload);
        self.watch();
    }

    fn ack_all(&mut self, subscription: &Subscription) {
        let Some(flow) = self.flows.get(&subscription.flow) else {
            return;
        };
        for sequence in flow.holders.keys().copied().collect::<Vec<_>>() {
            self.ack(subscription, sequence);
        }
    }

    /// Forgets a subscription of the oracle, and its flow where nothing keeps it.
    fn end(&mut self, place: usize, forget: bool) {
        let ended = self.subscriptions.remove(place);
        let others = self.subscriptions.iter().any(|known| known.flow == ended.flow);
        let durable = ended.flow.starts_with("durable");
        if !others && (forget || !durable) {
            self.forget_flow(&ended.flow);
        }
    }

    fn forget_flow(&mut self, flow: &str) {
        if !self.crashes {
            self.flows.remove(flow);
        } else if let Some(flow) = self.flows.get_mut(flow) {
            flow.holders.clear();
            flow.last = None;
            flow.loose = true;
        }
    }

    fn leave(&mut self, place: usize, forget: bool) {
        let subscription = self.subscriptions[place].clone();
        let ack_inbox = subscription.ack_inbox.expect("an active subscription");
        let request = UnsubscribeRequest {
            client_id: text(&format!("client{}", subscription.client)),
            subject: text(&name(subscription.channel)),
            inbox: ack_inbox.into(),
            ..UnsubscribeRequest::default()
        };
        let service = if forget {
            Service::Unsubscribe
        } else {
            Service::SubscriptionClose
        };
        self.end(place, forget);
        self.request(service, "leave:", &request.encode_to_vec());
    }

    fn close(&mut self, client: usize) {
        // A subscription whose response is under way would answer after its end: that is for other tests.
        let unconfirmed = self
            .subscriptions
            .iter()
            .any(|known| known.client == client && known.ack_inbox.is_none());
        if !self.clients[client] || unconfirmed {
            return;
        }
        self.clients[client] = false;
        let request = CloseRequest {
            client_id: text(&format!("client{client}")),
        };
        self.request(Service::Close, "close:", &request.encode_to_vec());
        // Closing goes in slices: those that are not closed yet may still get something.
        while self
            .engine
            .client(format!("client{client}").as_bytes(), false)
            .is_some()
        {
            self.input(Input::EndOfPass);
        }
        while let Some(place) = self.subscriptions.iter().position(|known| known.client == client) {
            self.end(place, false);
        }
    }

    fn checkpoint_step(&mut self) {
        if self.world.running.is_none() {
            self.world.checkpoint_begin();
        }
        self.input(Input::CheckpointStep);
    }

    fn drain(&mut self) {
        self.world.slow.clear();
        self.input(Input::Drained(Destination(1)));
    }

    /// The engine hears of a change alone: after each it waits for acks that were on their way.
    fn bus(&mut self, up: bool) {
        if self.world.bus_down != up {
            return;
        }
        self.world.bus_down = !up;
        self.input(if up { Input::BusUp } else { Input::BusDown });
    }

    /// The process dies; between nothing and everything that was not durable survives.
    fn crash(&mut self, share: usize) {
        let waiting = self.world.records.len() - self.world.durable;
        let durable = self.world.durable + (waiting * share / 4).min(waiting);
        self.world = self.world.crash(durable);
        for (channel, acked) in self.acked_publishes.iter().enumerate() {
            let stored = self
                .world
                .records
                .iter()
                .filter(|record| is_message(record, channel))
                .count();
            assert!(stored as u64 >= *acked, "an acknowledged publish was lost");
        }
        (self.engine, _) = self
            .world
            .start(self.options.clone(), self.now)
            .expect("a crashed store starts");
        for client in 0..CLIENTS {
            self.clients[client] = self
                .engine
                .client(format!("client{client}").as_bytes(), false)
                .is_some();
        }
        self.subscriptions = self.known_subscriptions();
        for subscription in &self.subscriptions {
            self.flows.entry(subscription.flow.clone()).or_default();
        }
        for flow in self.flows.values_mut() {
            flow.loose = true;
            flow.last = None;
        }
        self.watch();
        // Nobody is served before.
        while !self.engine.has_interest() {
            self.input(Input::EndOfPass);
        }
    }

    /// Until nothing is left to do; deadlines do not fire.
    pub(crate) fn quiesce(&mut self) {
        self.drain();
        self.bus(true);
        for _ in 0..100_000 {
            self.world.durable = self.world.records.len();
            self.input(Input::Durable(Position(self.world.durable as u64)));
            self.input(Input::EndOfPass);
            let answered = self.world.answer(&mut self.engine, self.now);
            self.watch();
            if !answered && !self.engine.wants_end_of_pass() && self.world.durable == self.world.records.len() {
                self.check_interest();
                return;
            }
        }
        panic!("the engine never comes to rest");
    }
}
