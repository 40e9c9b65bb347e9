//! What clients do: every operation, mostly sensible, sometimes not.

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, SubscriptionRequest};
use seaway_streaming::Service;

use crate::client::{ToServer, Wish};
use crate::run::{CLIENTS, Simulation, describe};
use crate::settings::SECOND;

const CHANNELS: [&str; 6] = ["alpha", "beta.one", "gamma", "alpha", "gamma", "delta"];
/// Invalid, or in conflict with another by case.
const ODD_CHANNELS: [&str; 8] = ["ALPHA", "Beta.One", "", "a..b", ".a", "a/b", "beta.*", "gamma>"];
const SERVICES: [Service; 6] = [
    Service::Connect,
    Service::Publish,
    Service::Subscribe,
    Service::Unsubscribe,
    Service::SubscriptionClose,
    Service::Close,
];
const SUBSCRIPTIONS_MAX: usize = 5;

impl Simulation {
    pub(crate) fn client_acts(&mut self) {
        let number = self.random.usize(..CLIENTS);
        if self.clients[number].is_waiting() {
            if self.random.u8(..40) == 0 {
                self.clients[number].give_up();
            }
            return;
        }
        let Some(message) = self.client_message(number) else {
            return;
        };
        self.trace
            .add(format_args!("{} {}", self.clients[number].id, describe(&message)));
        self.outgoing[number].push_back(message);
    }

    fn client_message(&mut self, number: usize) -> Option<ToServer> {
        let choice = self.random.u8(..100);
        if self.clients[number].connection.is_none() && self.random.u8(..20) > 0 {
            let client = &mut self.clients[number];
            client.reachable = true;
            return Some(client.connect());
        }
        match choice {
            0..42 => Some(self.publish(number)),
            42..80 => self.acknowledge(number),
            80..88 if self.clients[number].subscriptions.len() < SUBSCRIPTIONS_MAX => {
                let wish = self.wish();
                Some(self.clients[number].subscribe(&wish))
            }
            88..92 => self.leave(number),
            92 => Some(self.clients[number].close()),
            93 => Some(self.clients[number].connect()),
            94..96 => {
                let old = self.random.u8(..4) == 0;
                Some(self.clients[number].ping(old))
            }
            96..98 => Some(self.nonsense(number)),
            _ => self.odd_ack(number),
        }
    }

    fn channel(&mut self) -> &'static str {
        if self.random.u8(..60) == 0 {
            ODD_CHANNELS[self.random.usize(..ODD_CHANNELS.len())]
        } else {
            CHANNELS[self.random.usize(..CHANNELS.len())]
        }
    }

    fn publish(&mut self, number: usize) -> ToServer {
        let channel = self.channel();
        self.payloads += 1;
        let size = match self.random.u8(..40) {
            0 => self.random.usize(..20_000),
            1 => 0,
            _ => self.random.usize(..60),
        };
        let mut data = self.payloads.to_le_bytes().to_vec();
        data.resize(size, b'.');
        // Somebody else's connection, one of before, none.
        let connection = match self.random.u8(..100) {
            0 => Some(self.clients[number].old_connection.clone().unwrap_or_default()),
            1 => Some("nobody".to_owned()),
            2 => Some(String::new()),
            _ => None,
        };
        let client = &mut self.clients[number];
        let mut message = client.publish(channel, data, connection);
        let mut reply = format!("{}/acks", client.id).into_bytes();
        match self.random.u8(..100) {
            0 => message.guid = Default::default(),
            1 => message.reply = "somewhere".into(),
            2 => message.client_id = "nobody".into(),
            3 => reply.clear(),
            _ => {}
        }
        ToServer::Request(Service::Publish, reply, message.encode_to_vec())
    }

    fn acknowledge(&mut self, number: usize) -> Option<ToServer> {
        let client = &self.clients[number];
        let held: Vec<(String, u64)> = client
            .subscriptions
            .iter()
            .flat_map(|(inbox, subscription)| {
                let in_order = subscription.unacknowledged.iter().take(3);
                let late = subscription.unacknowledged.iter().rev().take(1);
                in_order.chain(late).map(|sequence| (inbox.clone(), *sequence))
            })
            .collect();
        if held.is_empty() {
            return None;
        }
        let (inbox, sequence) = &held[self.random.usize(..held.len())];
        self.clients[number].acknowledge(inbox, *sequence)
    }

    /// An ack again, or of what was never sent, or in the name of another channel.
    fn odd_ack(&mut self, number: usize) -> Option<ToServer> {
        let client = &self.clients[number];
        let old = &client.old_acks;
        if !old.is_empty() && self.random.bool() {
            let (inbox, payload) = old[self.random.usize(..old.len())].clone();
            return Some(ToServer::Ack(inbox, payload));
        }
        let subscription = client.subscriptions.values().next()?;
        let named = if self.random.bool() {
            subscription.channel.clone()
        } else {
            "nowhere".to_owned()
        };
        let inbox = subscription.ack_inbox.clone();
        let ack = Ack {
            subject: named.into(),
            sequence: self.random.u64(0..80),
        };
        Some(ToServer::Ack(inbox, ack.encode_to_vec()))
    }

    fn leave(&mut self, number: usize) -> Option<ToServer> {
        let inboxes: Vec<String> = self.clients[number].subscriptions.keys().cloned().collect();
        if inboxes.is_empty() {
            return None;
        }
        let inbox = &inboxes[self.random.usize(..inboxes.len())];
        let service = if self.random.u8(..4) > 0 {
            Service::SubscriptionClose
        } else {
            Service::Unsubscribe
        };
        let by_delivery_inbox = self.random.u8(..6) == 0;
        self.clients[number].leave(inbox, service, by_delivery_inbox)
    }

    pub(crate) fn wish(&mut self) -> Wish {
        let kind = self.random.u8(..4);
        let mut durable = String::new();
        let mut group = String::new();
        if kind & 1 == 1 {
            durable = format!("d{}", self.random.u32(..3));
        }
        if kind & 2 == 2 {
            // Mostly the same: groups of several members, of several clients.
            group = ["q0", "q0", "q1"][self.random.usize(..3)].to_owned();
            durable.truncate(if self.random.bool() { 0 } else { durable.len() });
            match self.random.u8(..40) {
                0 => durable = "d:0".to_owned(),
                // Names the same group as durable d0 and queue q0.
                1 => (durable, group) = (String::new(), "d0:q0".to_owned()),
                _ => {}
            }
        }
        Wish {
            channel: self.channel().to_owned(),
            durable,
            group,
            start_position: self.random.i32(0..5),
            start_sequence: self.random.u64(0..60),
            start_time_delta: i64::try_from(self.random.u64(0..10 * SECOND)).unwrap_or(0) - 1_000_000_000,
            max_in_flight: [1, 2, 5, 100][self.random.usize(..4)],
            ack_wait: self.random.i32(1..4),
        }
    }

    /// A request that must be refused.
    fn nonsense(&mut self, number: usize) -> ToServer {
        let service = SERVICES[self.random.usize(..SERVICES.len())];
        let reply = self.clients[number].fresh("nonsense").into_bytes();
        let payload = match (self.random.u8(..3), service) {
            (0, Service::Connect) => ConnectRequest {
                client_id: ["a b", "", "x.y", "ä"][self.random.usize(..4)].into(),
                heartbeat_inbox: "client0/heartbeat/x".into(),
                ..ConnectRequest::default()
            }
            .encode_to_vec(),
            (0, Service::Subscribe) => {
                let mut request = SubscriptionRequest {
                    client_id: self.clients[number].id.clone().into(),
                    subject: "alpha".into(),
                    inbox: "client0/inbox/x".into(),
                    max_in_flight: 1,
                    ack_wait_in_secs: 1,
                    ..SubscriptionRequest::default()
                };
                match self.random.u8(..6) {
                    0 => request.client_id = Default::default(),
                    1 => request.ack_wait_in_secs = self.random.i32(-1..1),
                    2 => request.max_in_flight = self.random.i32(-1..1),
                    3 => request.start_position = [-1, 5][self.random.usize(..2)],
                    4 => request.subject = "a.*".into(),
                    _ => request.client_id = "nobody".into(),
                }
                request.encode_to_vec()
            }
            (1, _) if service != Service::Publish => Vec::new(),
            _ => b"dummy".to_vec(),
        };
        ToServer::Request(service, reply, payload)
    }
}
