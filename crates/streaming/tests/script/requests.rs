//! Requests of clients, from the words of a line.

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, ConnectRequest, PubMsg, SubscriptionRequest, UnsubscribeRequest};
use seaway_streaming::{Input, Service};

use super::Session;
use super::words::{Words, bytes, duration, range};

impl Session {
    pub(super) fn connect(&mut self, words: &Words<'_>) {
        let client = words.plain.get(1).copied().unwrap_or("");
        let id = words.get("id").unwrap_or(client);
        let hb = words.get("hb").map_or(format!("hb.{client}"), str::to_owned);
        let conn = words.get("conn").map_or(format!("conn-{client}"), str::to_owned);
        let request = ConnectRequest {
            client_id: bytes(id),
            heartbeat_inbox: bytes(if hb == "none" { "" } else { &hb }),
            protocol: words.number("protocol", 1) as i32,
            conn_id: bytes(if conn == "none" { "" } else { &conn }),
            ping_interval: words.number("ping", 5) as i32,
            ping_max_out: words.number("out", 88) as i32,
        };
        self.connections.insert(id.to_owned(), conn);
        self.request(Service::Connect, &format!("connect:{client}"), &request.encode_to_vec());
    }

    pub(super) fn publish(&mut self, words: &Words<'_>) {
        let (client, channel) = (words.at(1), words.at(2));
        let count = words
            .plain
            .get(3)
            .and_then(|word| word.strip_prefix('x'))
            .map_or(1, |count| count.parse().expect("a number"));
        let conn = words.get("conn").map(str::to_owned);
        let conn = conn
            .or_else(|| self.connections.get(client).cloned())
            .unwrap_or_default();
        if self.engine.is_none() {
            self.start();
        }
        for _ in 0..count {
            self.guids += 1;
            let guid = words.get("guid").map_or(format!("g{}", self.guids), str::to_owned);
            let request = PubMsg {
                client_id: bytes(client),
                guid: bytes(if guid == "none" { "" } else { &guid }),
                subject: bytes(channel),
                data: bytes(words.get("data").unwrap_or("")),
                reply: bytes(words.get("msgreply").unwrap_or("")),
                conn_id: bytes(if conn == "none" { "" } else { &conn }),
                ..PubMsg::default()
            };
            let reply = if words.get("reply") == Some("none") {
                String::new()
            } else {
                "publish:".to_owned()
            };
            let (service, payload) = (Service::Publish, request.encode_to_vec());
            let input = Input::Request {
                service,
                reply: reply.as_bytes(),
                payload: &payload,
            };
            // One pass takes all of them.
            self.world
                .handle(self.engine.as_mut().expect("the engine runs"), self.now, input);
        }
        self.drive();
    }

    pub(super) fn subscribe(&mut self, words: &Words<'_>) {
        let (client, channel) = (words.at(1), words.at(2));
        let inbox = words.plain.get(3).copied().unwrap_or("s");
        let (start_position, start_sequence, start_time_delta) = match words.get("start").unwrap_or("new") {
            "new" => (0, 0, 0),
            "last" => (1, 0, 0),
            "first" => (4, 0, 0),
            other => match other.split_once(':') {
                Some(("seq", number)) => (3, number.parse().expect("a sequence"), 0),
                Some(("ago", time)) => (2, 0, duration(time) as i64),
                Some(("ahead", time)) => (2, 0, -(duration(time) as i64)),
                Some(("raw", number)) => (number.parse().expect("a number"), 0, 0),
                _ => panic!("start {other}"),
            },
        };
        let request = SubscriptionRequest {
            client_id: bytes(if client == "-" { "" } else { client }),
            subject: bytes(channel),
            q_group: bytes(words.get("queue").unwrap_or("")),
            inbox: bytes(inbox),
            max_in_flight: words.number("max", 1024) as i32,
            ack_wait_in_secs: words.number("wait", 30) as i32,
            durable_name: bytes(words.get("durable").unwrap_or("")),
            start_position,
            start_sequence,
            start_time_delta,
        };
        self.request(
            Service::Subscribe,
            &format!("subscribe:{inbox}"),
            &request.encode_to_vec(),
        );
    }

    pub(super) fn ack(&mut self, words: &Words<'_>) {
        let inbox = words.at(1);
        let ack_inbox = match words.get("inbox") {
            Some(number) => {
                let place = number.parse::<usize>().expect("a number") - 1;
                self.world.ack_inboxes.get(place).cloned().unwrap_or_default()
            }
            None => self.ack_inboxes[inbox].clone(),
        };
        for sequences in &words.plain[3..] {
            for sequence in range(sequences) {
                let payload = Ack {
                    subject: bytes(words.at(2)),
                    sequence,
                }
                .encode_to_vec();
                let engine = self.engine.as_mut().expect("the engine runs");
                self.world.ack(engine, self.now, &ack_inbox, &payload);
            }
        }
        self.drive();
    }

    pub(super) fn unsubscribe(&mut self, service: Service, what: &str, words: &Words<'_>) {
        let (client, channel, inbox) = (words.at(1), words.at(2), words.at(3));
        let named = match words.get("by") {
            Some("inbox") => inbox.as_bytes().to_vec(),
            Some(other) => other.as_bytes().to_vec(),
            None => {
                let known = self.ack_inboxes.get(inbox).cloned();
                known.unwrap_or_else(|| inbox.as_bytes().to_vec())
            }
        };
        let request = UnsubscribeRequest {
            client_id: bytes(client),
            subject: bytes(channel),
            inbox: named.into(),
            ..UnsubscribeRequest::default()
        };
        let reply = if words.get("reply") == Some("none") {
            String::new()
        } else {
            format!("{what}:{inbox}")
        };
        self.request(service, &reply, &request.encode_to_vec());
    }

    pub(super) fn garbage(&mut self, service: &str) {
        let (service, reply) = match service {
            "connect" => (Service::Connect, "connect:"),
            "publish" => (Service::Publish, "publish:"),
            "subscribe" => (Service::Subscribe, "subscribe:"),
            "unsubscribe" => (Service::Unsubscribe, "unsubscribe:"),
            "subclose" => (Service::SubscriptionClose, "subclose:"),
            "close" => (Service::Close, "close:"),
            "ping" => (Service::Ping, "ping:"),
            service => panic!("service {service}"),
        };
        self.request(service, reply, b"dummy");
    }
}
