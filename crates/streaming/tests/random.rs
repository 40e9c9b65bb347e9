//! Random operations against simple oracles: order, MaxInflight, one holder per message, nothing lost over crashes, and
//! recovery (checkpoints written beside running traffic included) that ends in the state there was.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{
    Ack, CloseRequest, ConnectRequest, PubAck, PubMsg, SubscriptionRequest, SubscriptionResponse, UnsubscribeRequest,
};
use seaway_streaming::{
    ChannelSnapshot, ClientSnapshot, Destination, Engine, Input, Limits, Now, Options, Position, Service, Slices,
    Timestamp,
};
use world::{Output, World};

const MILLISECOND: u64 = 1_000_000;
const CHANNELS: usize = 2;
const CLIENTS: usize = 3;

/// One step; numbers are reduced to what exists when it is played.
#[derive(Clone, Debug)]
enum Step {
    Publish {
        channel: usize,
        count: usize,
    },
    Connect {
        client: usize,
    },
    Subscribe {
        client: usize,
        channel: usize,
        kind: usize,
        max: i32,
        wait: i32,
    },
    Ack {
        subscription: usize,
        message: usize,
    },
    AckAll {
        subscription: usize,
    },
    Leave {
        subscription: usize,
        forget: bool,
    },
    Close {
        client: usize,
    },
    Advance {
        milliseconds: u64,
    },
    /// Makes a part of what was appended durable.
    Commit {
        share: usize,
    },
    Settle,
    Checkpoint,
    Cold {
        channel: usize,
    },
    Answer,
    Slow {
        subscription: usize,
    },
    Drain,
    Bus {
        up: bool,
    },
    Crash {
        share: usize,
    },
}

fn step(crashes: bool) -> impl Strategy<Value = Step> {
    let share = 0usize..5;
    prop_oneof![
        8 => (0..CHANNELS, 1usize..5).prop_map(|(channel, count)| Step::Publish { channel, count }),
        2 => (0..CLIENTS).prop_map(|client| Step::Connect { client }),
        6 => (0..CLIENTS, 0..CHANNELS, 0usize..4, 1i32..4, 1i32..4)
            .prop_map(|(client, channel, kind, max, wait)| Step::Subscribe { client, channel, kind, max, wait }),
        8 => (0usize..8, 0usize..8).prop_map(|(subscription, message)| Step::Ack { subscription, message }),
        3 => (0usize..8).prop_map(|subscription| Step::AckAll { subscription }),
        2 => (0usize..8, any::<bool>()).prop_map(|(subscription, forget)| Step::Leave { subscription, forget }),
        1 => (0..CLIENTS).prop_map(|client| Step::Close { client }),
        4 => (1u64..3000).prop_map(|milliseconds| Step::Advance { milliseconds }),
        6 => share.clone().prop_map(|share| Step::Commit { share }),
        4 => Just(Step::Settle),
        4 => Just(Step::Checkpoint),
        1 => (0..CHANNELS).prop_map(|channel| Step::Cold { channel }),
        3 => Just(Step::Answer),
        1 => (0usize..8).prop_map(|subscription| Step::Slow { subscription }),
        1 => Just(Step::Drain),
        1 => any::<bool>().prop_map(|up| Step::Bus { up }),
        2 => share.prop_map(move |share| if crashes { Step::Crash { share } } else { Step::Commit { share } }),
    ]
}

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
    ack_inbox: Option<u64>,
    ended: bool,
}

struct Play {
    options: Options,
    world: World,
    engine: Engine,
    now: Now,
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
    fn new(slices: Slices, crashes: bool, trims: bool) -> Play {
        let options = Options {
            limits: Limits {
                max_messages: if trims { 7 } else { 0 },
                ..Limits::default()
            },
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
        self.engine.handle(self.now, input, &mut self.world);
        self.watch();
    }

    fn request(&mut self, service: Service, reply: &str, payload: &[u8]) {
        self.input(Input::Request {
            service,
            reply: reply.as_bytes(),
            payload,
        });
    }

    /// Checks everything that left.
    fn watch(&mut self) {
        for output in std::mem::take(&mut self.world.outputs) {
            match output {
                Output::Reply { subject, payload } => {
                    let subject = String::from_utf8(subject).expect("reply subjects are text");
                    self.watch_reply(&subject, &payload);
                }
                Output::Message {
                    inbox, sequence, count, ..
                } => {
                    let inbox = String::from_utf8(inbox).expect("inboxes are text");
                    self.watch_message(&inbox, sequence, count);
                }
                Output::Probe { .. } | Output::Event { .. } => {}
            }
        }
    }

    fn watch_reply(&mut self, subject: &str, payload: &[u8]) {
        let Some((what, who)) = subject.split_once(':') else {
            return;
        };
        match what {
            "publish" => {
                let ack = PubAck::decode(payload).expect("a puback");
                assert!(ack.error.is_empty(), "publishes of known clients are stored");
                let channel: usize = who.parse().expect("a channel");
                self.acked_publishes[channel] += 1;
            }
            "subscribe" => {
                let response = SubscriptionResponse::decode(payload).expect("a subscription response");
                let place = self.subscriptions.iter().position(|known| known.inbox == who);
                let place = place.expect("only what was asked for is answered");
                if response.error.is_empty() {
                    let inbox = String::from_utf8(response.ack_inbox.to_vec()).expect("text");
                    let number = inbox.rsplit('.').next().expect("a token").parse().expect("a number");
                    self.subscriptions[place].ack_inbox = Some(number);
                } else {
                    self.subscriptions.remove(place);
                }
            }
            _ => {}
        }
    }

    fn watch_message(&mut self, inbox: &str, sequence: u64, count: u32) {
        let known = self.subscriptions.iter().find(|known| known.inbox == inbox);
        let Some(subscription) = known else {
            panic!("{inbox} got {sequence} and is not subscribed")
        };
        assert!(!subscription.ended, "{inbox} got {sequence} after its end");
        assert!(
            subscription.ack_inbox.is_some(),
            "{inbox} got {sequence} before its response (§2.6 rule 1)"
        );
        let channel = self
            .engine
            .channel(name(subscription.channel).as_bytes(), false)
            .expect("its channel");
        let flow = self.flows.entry(subscription.flow.clone()).or_default();
        if count == 0 {
            if let Some(last) = flow.last {
                // Only what a limit dropped may be passed over.
                let next = (last + 1).max(channel.first_sequence.min(sequence));
                assert_eq!(
                    sequence, next,
                    "{}: first deliveries are gapless and in order",
                    subscription.flow
                );
                assert!(
                    sequence == last + 1 || self.trims,
                    "{}: nothing is passed over",
                    subscription.flow
                );
            }
            // What was dropped does not count: the engine may have noticed already (§5.8).
            let live = flow.holders.range(channel.first_sequence..);
            let held = live.filter(|(_, holder)| *holder == inbox).count();
            assert!(
                held < subscription.max || flow.loose,
                "{inbox} holds {held} and got another (MaxInflight)"
            );
            flow.last = Some(sequence);
        } else {
            assert!(
                flow.holders.contains_key(&sequence) || flow.loose,
                "{}: {sequence} is sent again although nobody holds it",
                subscription.flow
            );
        }
        flow.holders.insert(sequence, inbox.to_owned());
    }

    fn active(&self, wanted: usize) -> Option<usize> {
        let active: Vec<usize> = (0..self.subscriptions.len())
            .filter(|place| self.subscriptions[*place].ack_inbox.is_some())
            .collect();
        (!active.is_empty()).then(|| active[wanted % active.len()])
    }

    fn play(&mut self, step: &Step) {
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
            Step::Settle => self.input(Input::Settle),
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
        let Some(ack_inbox) = subscription.ack_inbox else {
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
        self.input(Input::Ack {
            ack_inbox,
            payload: &payload,
        });
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
        let number = subscription.ack_inbox.expect("an active subscription");
        let request = UnsubscribeRequest {
            client_id: text(&format!("client{}", subscription.client)),
            subject: text(&name(subscription.channel)),
            inbox: text(&format!("_INBOX.{}.{number}", self.engine.inbox_prefix())),
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
            self.input(Input::Settle);
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

    fn bus(&mut self, up: bool) {
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
    }

    /// What the engine knows is what is true after a crash: an end that was not durable did not happen.
    fn known_subscriptions(&self) -> Vec<Subscription> {
        let mut known = Vec::new();
        for channel in self.engine.channels_page(0, usize::MAX, true).items {
            let place: usize = channel
                .name
                .strip_prefix("channel")
                .expect("a channel")
                .parse()
                .expect("a number");
            for subscription in channel
                .subscriptions
                .iter()
                .filter(|subscription| !subscription.is_offline)
            {
                let client = subscription
                    .client_id
                    .strip_prefix("client")
                    .expect("a client")
                    .parse()
                    .expect("a number");
                let flow = match (&*subscription.durable_name, &*subscription.queue_name) {
                    ("", "") => format!("plain:{}", subscription.inbox),
                    ("", "workers") => format!("group:{place}"),
                    ("", _) => format!("durable group:{place}"),
                    _ => format!("durable:{client}:{place}"),
                };
                let number = subscription.ack_inbox.rsplit('.').next().expect("a token");
                known.push(Subscription {
                    client,
                    channel: place,
                    inbox: subscription.inbox.clone(),
                    flow,
                    max: subscription.max_in_flight,
                    ack_inbox: Some(number.parse().expect("a number")),
                    ended: false,
                });
            }
        }
        known
    }

    /// Until nothing is left to do; deadlines do not fire.
    fn quiesce(&mut self) {
        self.drain();
        self.bus(true);
        for _ in 0..100_000 {
            self.world.durable = self.world.records.len();
            self.input(Input::Durable(Position(self.world.durable as u64)));
            self.input(Input::Settle);
            let answered = self.world.answer(&mut self.engine, self.now);
            self.watch();
            if !answered && !self.engine.wants_settle() && self.world.durable == self.world.records.len() {
                return;
            }
        }
        panic!("the engine never comes to rest");
    }

    /// What the engine says is pending is what the oracle saw.
    fn check_pending(&self) {
        let page = self.engine.channels_page(0, usize::MAX, true);
        let mut pending: BTreeMap<String, usize> = BTreeMap::new();
        for channel in &page.items {
            for subscription in channel
                .subscriptions
                .iter()
                .filter(|subscription| !subscription.is_offline)
            {
                let known = self
                    .subscriptions
                    .iter()
                    .find(|known| known.inbox == subscription.inbox);
                let flow = known.expect("the engine knows no more than the oracle").flow.clone();
                *pending.entry(flow).or_default() += subscription.pending_count;
            }
        }
        // Dropped messages leave pending sets at the next redelivery pass only (§5.8).
        for (flow, count) in pending.into_iter().filter(|_| !self.trims) {
            let seen = self.flows.get(&flow).map_or(0, |flow| flow.holders.len());
            let loose = self.flows.get(&flow).is_some_and(|flow| flow.loose);
            assert!(loose || seen == count, "{flow}: {count} pending, {seen} held");
        }
    }

    /// Resumes every durable, acknowledges everything, and checks that each message was acknowledged once at least.
    fn check_nothing_is_lost(&mut self) {
        for client in 0..CLIENTS {
            self.play(&Step::Connect { client });
        }
        self.quiesce();
        for channel in 0..CHANNELS {
            for client in 0..CLIENTS {
                self.subscribe(client, channel, 1, 100, 1);
            }
            self.subscribe(0, channel, 3, 100, 1);
        }
        let mut quiet = 0;
        while quiet < 3 {
            self.play(&Step::Advance { milliseconds: 5_000 });
            self.quiesce();
            let held: usize = self.flows.values().map(|flow| flow.holders.len()).sum();
            for subscription in self.subscriptions.clone() {
                self.ack_all(&subscription);
            }
            self.quiesce();
            // An ack may free what is then sent at once, so that each round ends with something held until all is done.
            quiet = if held == 0 { quiet + 1 } else { 0 };
        }
        for channel in 0..CHANNELS {
            let state = self.engine.channel(name(channel).as_bytes(), false);
            let (first, last) = state.map_or((1, 0), |channel| (channel.first_sequence.max(1), channel.last_sequence));
            assert!(
                !self.trims || last - first.min(last) < 7,
                "{first}..{last} is over the limit"
            );
            let mut flows: Vec<String> = (0..CLIENTS)
                .map(|client| format!("durable:{client}:{channel}"))
                .collect();
            flows.push(format!("durable group:{channel}"));
            for flow in flows {
                let acked = self.flows.get(&flow).map(|flow| flow.acked.clone()).unwrap_or_default();
                let missing: Vec<u64> = (first..=last).filter(|sequence| !acked.contains(sequence)).collect();
                assert!(missing.is_empty(), "{flow} never got {missing:?} of {last}");
            }
        }
    }

    fn state(engine: &Engine) -> (Vec<ClientSnapshot>, Vec<ChannelSnapshot>) {
        let clients = engine.clients_page(0, usize::MAX, true).items;
        let mut channels = engine.channels_page(0, usize::MAX, true).items;
        for subscription in channels.iter_mut().flat_map(|channel| &mut channel.subscriptions) {
            if subscription.is_offline && !subscription.queue_name.is_empty() {
                // §8.6: the last owner of an offline group is not known after a restart.
                subscription.client_id.clear();
            }
        }
        for channel in &mut channels {
            // Members rotate, and groups are numbered anew.
            channel
                .subscriptions
                .sort_by(|one, other| one.ack_inbox.cmp(&other.ack_inbox));
        }
        (clients, channels)
    }
}

fn is_message(record: &world::Record, channel: usize) -> bool {
    match record {
        world::Record::Message { body, .. } => {
            let message = seaway_stan_protocol::MessageView::decode(body).expect("a stored message decodes");
            message.subject == name(channel).as_bytes()
        }
        _ => false,
    }
}

const SMALL: Slices = Slices {
    work: 3,
    facts: 2,
    runs: 2,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// §5.3, §5.4, §5.6: order, MaxInflight, one holder.
    #[test]
    fn deliveries_follow_the_rules(steps in proptest::collection::vec(step(false), 1..150), small in any::<bool>(), trims in any::<bool>()) {
        let mut play = Play::new(if small { SMALL } else { Slices::default() }, false, trims);
        for step in &steps {
            play.play(step);
        }
        play.quiesce();
        play.check_pending();
        play.check_nothing_is_lost();
    }

    /// §5.9, architecture §4: a crash at any point loses no acknowledged publish and no delivery.
    #[test]
    fn crashes_lose_nothing(steps in proptest::collection::vec(step(true), 1..150), small in any::<bool>(), trims in any::<bool>()) {
        let mut play = Play::new(if small { SMALL } else { Slices::default() }, true, trims);
        for step in &steps {
            play.play(step);
        }
        play.check_nothing_is_lost();
    }

    /// Recovery from facts, and from a checkpoint that was written beside the traffic, ends in the state there was.
    #[test]
    fn recovery_restores_the_state(steps in proptest::collection::vec(step(false), 1..150), trims in any::<bool>()) {
        let mut play = Play::new(SMALL, false, trims);
        for step in &steps {
            play.play(step);
        }
        play.quiesce();
        let expected = Play::state(&play.engine);
        let mut from_facts = play.world.crash(play.world.records.len());
        from_facts.checkpoint = None;
        let (engine, _) = from_facts.start(play.options.clone(), play.now).expect("facts recover");
        prop_assert_eq!(&Play::state(&engine), &expected);
        let mut from_checkpoint = play.world.crash(play.world.records.len());
        let (engine, _) = from_checkpoint.start(play.options.clone(), play.now).expect("a checkpoint recovers");
        prop_assert_eq!(&Play::state(&engine), &expected);
        // And once more from a checkpoint of the recovered engine alone.
        let mut again = from_checkpoint;
        let mut engine = engine;
        again.checkpoint_begin();
        while again.running.is_some() {
            engine.handle(play.now, Input::CheckpointStep, &mut again);
        }
        let mut last = again.crash(again.records.len());
        let (engine, _) = last.start(play.options.clone(), play.now).expect("a checkpoint recovers");
        prop_assert_eq!(&Play::state(&engine), &expected);
    }
}
