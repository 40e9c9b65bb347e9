//! What must be true of everything that leaves the engine, and of what it says about itself.

use std::collections::BTreeMap;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{PubAck, SubscriptionResponse};
use seaway_streaming::{ChannelSnapshot, ClientSnapshot, Engine};

use super::{CHANNELS, CLIENTS, Play, Step, Subscription, name};
use crate::world::{self, Output};

impl Play {
    /// Checks everything that left.
    pub(super) fn watch(&mut self) {
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
                Output::Probe { .. } | Output::Event { .. } | Output::Changed { .. } => {}
            }
        }
    }

    pub(super) fn watch_reply(&mut self, subject: &str, payload: &[u8]) {
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
                    self.subscriptions[place].ack_inbox = Some(response.ack_inbox.to_vec());
                } else {
                    self.subscriptions.remove(place);
                }
            }
            _ => {}
        }
    }

    pub(super) fn watch_message(&mut self, inbox: &str, sequence: u64, count: u32) {
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

    /// What the engine knows is what is true after a crash: an end that was not durable did not happen.
    pub(super) fn known_subscriptions(&self) -> Vec<Subscription> {
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
                known.push(Subscription {
                    client,
                    channel: place,
                    inbox: subscription.inbox.clone(),
                    flow,
                    max: subscription.max_in_flight,
                    ack_inbox: Some(subscription.ack_inbox.clone().into_bytes()),
                    ended: false,
                });
            }
        }
        known
    }

    /// Acks are listened for exactly where the engine says that active subscriptions are acknowledged.
    pub(crate) fn check_interest(&self) {
        let page = self.engine.channels_page(0, usize::MAX, true);
        let subscriptions = page.items.iter().flat_map(|channel| &channel.subscriptions);
        let active = subscriptions.filter(|subscription| !subscription.is_offline);
        let mut expected: Vec<&[u8]> = active.map(|subscription| subscription.ack_inbox.as_bytes()).collect();
        expected.sort_unstable();
        let listened: Vec<&[u8]> = self.world.listened.keys().map(|inbox| &inbox[..]).collect();
        assert_eq!(listened, expected);
    }

    /// What the engine says is pending is what the oracle saw.
    pub(crate) fn check_pending(&self) {
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
    pub(crate) fn check_nothing_is_lost(&mut self) {
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

    pub(crate) fn state(engine: &Engine) -> (Vec<ClientSnapshot>, Vec<ChannelSnapshot>) {
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

pub(super) fn is_message(record: &world::Record, channel: usize) -> bool {
    match record {
        world::Record::Message { body, .. } => {
            let message = seaway_stan_protocol::MessageView::decode(body).expect("a stored message decodes");
            message.subject == name(channel).as_bytes()
        }
        _ => false,
    }
}
