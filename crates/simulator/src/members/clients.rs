//! The clients of a run: publishers that come and go, a durable subscriber that stays, and at the end one who reads everything.

use std::collections::{BTreeMap, BTreeSet};

use seaway_stan_protocol::messages::{
    Ack, CloseRequest, ConnectRequest, ConnectResponse, PubAck, PubMsg, SubscriptionRequest, SubscriptionResponse,
};
use seaway_stan_protocol::{Message, MessageView, errors};
use seaway_streaming::Service;

use super::scene::Scene;
use crate::client::{ToClient, ToServer};

const CHANNEL: &str = "orders";
const PUBLISHERS: usize = 3;
/// Publishes of one client on their way at a time.
const WINDOW: usize = 3;

/// How far a client is with the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unknown,
    Connecting(u64),
    Registered,
    Subscribing(u64),
    Subscribed,
}

struct Client<'s> {
    scene: &'s Scene,
    id: String,
    /// It keeps its ID and its durable subscription.
    is_durable: bool,
    stage: Stage,
    /// Its registration was confirmed, and not only known to somebody.
    is_sure: bool,
    ack_inbox: String,
    /// Connects and subscribes so far: each is answered where no other is.
    asked: u64,
    /// Numbers of messages that are not acknowledged, and when they were sent.
    waiting: BTreeMap<u64, u64>,
    /// How many it still publishes.
    left: u64,
    /// What it was sent: messages, and their sequences.
    sequences: BTreeMap<u64, u64>,
    /// The last message of its own that was acknowledged.
    last: Option<u64>,
}

/// Runs clients until everything was read, or somebody objects.
pub(super) fn run(scene: &Scene) {
    let mut names = 0;
    let mut durable = Client::new(scene, "durable".to_owned());
    durable.is_durable = true;
    let mut publishers: Vec<Client<'_>> = (0..PUBLISHERS).map(|_| next_publisher(scene, &mut names)).collect();
    while scene.directory.wait(1 + scene.directory.random(8)) {
        if scene.judge().objection().is_some() {
            return scene.directory.end();
        }
        if scene.is_healed() {
            break;
        }
        let chosen = scene.directory.random(PUBLISHERS as u64 + 1) as usize;
        match publishers.get_mut(chosen) {
            None => durable.act(),
            Some(publisher) => {
                publisher.act();
                if publisher.is_done() {
                    publisher.leave();
                    *publisher = next_publisher(scene, &mut names);
                }
            }
        }
    }
    for publisher in &publishers {
        scene.network().stop_listening(&publisher.id);
    }
    finish(scene, &mut names, &mut durable);
    scene.directory.end();
}

fn next_publisher<'s>(scene: &'s Scene, names: &mut u64) -> Client<'s> {
    *names += 1;
    let mut client = Client::new(scene, format!("client{names}"));
    client.left = 1 + scene.directory.random(40);
    client
}

/// Everything is well: within a bound somebody serves, and all that was promised is there.
fn finish(scene: &Scene, names: &mut u64, durable: &mut Client<'_>) {
    let begun = scene.directory.now();
    let mut reader = next_publisher(scene, names);
    reader.left = 1;
    while scene.directory.wait(3) {
        if scene.directory.now() > begun + scene.shape.heals_within {
            let text = format!(
                "nothing went wrong for {} ticks, and the reader is {:?} with {} messages and the last one {:?}; the durable one is {:?} and \
                 was not sent {:?}",
                scene.shape.heals_within,
                reader.stage,
                reader.sequences.len(),
                reader.last,
                durable.stage,
                scene.judge().undelivered(reader.sequences.len() as u64)
            );
            return scene.judge().object(text);
        }
        durable.act();
        reader.act();
        if scene.judge().objection().is_some() {
            return;
        }
        if reader.stage == Stage::Unknown {
            // Nobody answered: with an ID that nobody knows.
            scene.network().stop_listening(&reader.id);
            reader = next_publisher(scene, names);
            reader.left = 1;
        }
        if reader.left == 0 && reader.waiting.is_empty() && reader.last.is_none() {
            reader.left = 1;
        }
        let last = reader.last.and_then(|number| reader.sequences.get(&number).copied());
        if let Some(last) = last {
            let missing = scene.judge().undelivered(last);
            if durable.stage != Stage::Subscribed || missing.is_some() {
                continue;
            }
            let took = scene.directory.now() - begun;
            scene.line(format_args!(
                "everything was read {took} after the healing: {last} messages"
            ));
            let read: BTreeSet<u64> = reader.sequences.values().copied().collect();
            return scene.judge().all_was_read(&read, last);
        }
    }
}

impl<'s> Client<'s> {
    fn new(scene: &'s Scene, id: String) -> Client<'s> {
        scene.network().begin_to_listen(&id);
        Client {
            scene,
            id,
            is_durable: false,
            stage: Stage::Unknown,
            is_sure: false,
            ack_inbox: String::new(),
            asked: 0,
            waiting: BTreeMap::new(),
            left: 0,
            sequences: BTreeMap::new(),
            last: None,
        }
    }

    fn now(&self) -> u64 {
        self.scene.directory.now()
    }

    /// Ticks after which a request is given up.
    fn patience(&self) -> u64 {
        2 * Scene::ticks(self.scene.shape.lease)
    }

    fn is_registered(&self) -> bool {
        !matches!(self.stage, Stage::Unknown | Stage::Connecting(_))
    }

    /// It has nothing more to do, or nobody answered it.
    fn is_done(&self) -> bool {
        self.left == 0 && self.waiting.is_empty()
    }

    /// Hears what came, and does the next thing.
    fn act(&mut self) {
        loop {
            let collected = self.scene.network().collect(&self.id);
            let Some((by, message)) = collected else { break };
            self.hear(by, &message);
        }
        let (now, patience) = (self.now(), self.patience());
        self.waiting.retain(|_, sent| now < *sent + patience);
        match self.stage {
            Stage::Unknown => self.connect(),
            Stage::Connecting(since) if now >= since + patience => {
                if self.is_durable {
                    self.connect();
                } else {
                    self.give_up();
                }
            }
            Stage::Registered => self.subscribe(),
            Stage::Subscribing(since) if now >= since + patience => self.subscribe(),
            _ => {}
        }
        if self.is_registered() && self.left > 0 && self.waiting.len() < WINDOW {
            self.publish();
        }
    }

    /// Another time, with another ID: somebody may know this one.
    fn give_up(&mut self) {
        self.stage = Stage::Unknown;
        self.left = if self.scene.is_healed() { self.left } else { 0 };
        self.waiting.clear();
    }

    fn request(&mut self, service: Service, reply: &str, payload: Vec<u8>) -> bool {
        let reply = format!("{}/{reply}", self.id).into_bytes();
        self.scene.network().send(&ToServer::Request(service, reply, payload))
    }

    fn connect(&mut self) {
        let request = ConnectRequest {
            client_id: self.id.clone().into(),
            heartbeat_inbox: format!("{}/heartbeat", self.id).into(),
            ..ConnectRequest::default()
        };
        self.stage = Stage::Connecting(self.now());
        self.asked += 1;
        let reply = format!("connect/{}", self.asked);
        self.request(Service::Connect, &reply, request.encode_to_vec());
    }

    fn subscribe(&mut self) {
        let request = SubscriptionRequest {
            client_id: self.id.clone().into(),
            subject: CHANNEL.into(),
            inbox: format!("{}/inbox", self.id).into(),
            max_in_flight: 1_000,
            ack_wait_in_secs: 1,
            durable_name: if self.is_durable { "durable".into() } else { "".into() },
            // From the first one.
            start_position: 4,
            ..SubscriptionRequest::default()
        };
        self.stage = Stage::Subscribing(self.now());
        self.asked += 1;
        let reply = format!("subscribe/{}", self.asked);
        self.request(Service::Subscribe, &reply, request.encode_to_vec());
    }

    fn publish(&mut self) {
        let now = self.now();
        let number = self.scene.judge().publish(now);
        let length = [8, 200, 3_000][self.scene.directory.random(3) as usize];
        let mut data = number.to_le_bytes().to_vec();
        data.resize(length, 7);
        let message = PubMsg {
            client_id: self.id.clone().into(),
            guid: number.to_string().into(),
            subject: CHANNEL.into(),
            data: data.into(),
            ..PubMsg::default()
        };
        // Nobody is there: told at once.
        if self.request(Service::Publish, "publish", message.encode_to_vec()) {
            self.waiting.insert(number, now);
            self.left -= 1;
        }
    }

    fn close(&mut self) {
        let request = CloseRequest {
            client_id: self.id.clone().into(),
        };
        self.request(Service::Close, "close", request.encode_to_vec());
    }

    /// Has forgotten what is known of it, and connects anew.
    fn begin_again(&mut self) {
        self.close();
        self.stage = Stage::Unknown;
        self.is_sure = false;
    }

    /// Goes, whether anybody hears it or not.
    fn leave(&mut self) {
        if self.is_registered() {
            self.close();
        }
        self.scene.network().stop_listening(&self.id);
    }

    fn hear(&mut self, by: usize, message: &ToClient) {
        if !message.reply.is_empty() {
            let probe = message.reply.rsplit('.').next().and_then(|number| number.parse().ok());
            if let Some(probe) = probe {
                self.scene.network().send(&ToServer::Probe(probe));
            }
            return;
        }
        let mut parts = message.subject.split('/').skip(1);
        let what = parts.next().unwrap_or_default();
        let number = parts.next().and_then(|number| number.parse().ok());
        if number.is_some_and(|number: u64| number != self.asked) {
            // Nobody waits for it any more.
            return;
        }
        match what {
            "connect" => self.connected(by, &message.payload),
            "subscribe" => self.subscribed(by, &message.payload),
            "publish" => self.acknowledged(by, &message.payload),
            "inbox" => self.delivered(&message.payload),
            _ => {}
        }
    }

    fn object(&self, text: String) {
        self.scene.judge().object(text);
    }

    fn connected(&mut self, by: usize, payload: &[u8]) {
        let Ok(response) = ConnectResponse::decode(payload) else {
            return self.object("a response cannot be decoded".to_owned());
        };
        let error = String::from_utf8_lossy(&response.error);
        match error.as_ref() {
            _ if !matches!(self.stage, Stage::Connecting(_)) => {}
            "" => {
                self.stage = Stage::Registered;
                self.is_sure = true;
            }
            // By what it asked before, and what another question of its own may yet replace: from the beginning.
            errors::CLIENT_ID_REGISTERED if self.is_durable => self.begin_again(),
            error => {
                let text = format!("{} is new, and member {by} says {error:?}", self.id);
                if error == errors::CLIENT_ID_REGISTERED {
                    self.object(text);
                }
                self.scene
                    .line(format_args!("{} is refused by member {by}: {error}", self.id));
                // Of a store that failed, what it asked for may be on record all the same.
                match self.is_durable {
                    true => self.stage = Stage::Unknown,
                    false => self.give_up(),
                }
            }
        }
    }

    fn subscribed(&mut self, by: usize, payload: &[u8]) {
        let Ok(response) = SubscriptionResponse::decode(payload) else {
            return self.object("a response cannot be decoded".to_owned());
        };
        let error = String::from_utf8_lossy(&response.error);
        match error.as_ref() {
            _ if !matches!(self.stage, Stage::Subscribing(_)) => {}
            "" => {
                self.ack_inbox = String::from_utf8_lossy(&response.ack_inbox).into_owned();
                self.stage = Stage::Subscribed;
            }
            errors::DUPLICATE_DURABLE if self.is_durable => {
                // The answer to an earlier request was lost: from the beginning.
                self.scene.judge().count("answers lost");
                self.begin_again();
            }
            errors::UNKNOWN_CLIENT_ID if !self.is_sure => self.stage = Stage::Unknown,
            error => {
                self.scene.judge().refused(&self.id, by, error);
                self.stage = Stage::Registered;
            }
        }
    }

    fn acknowledged(&mut self, by: usize, payload: &[u8]) {
        let Ok(ack) = PubAck::decode(payload) else {
            return self.object("a PubAck cannot be decoded".to_owned());
        };
        let number = std::str::from_utf8(&ack.guid)
            .ok()
            .and_then(|guid| guid.parse().ok())
            .unwrap_or(0);
        if ack.error.is_empty() {
            let now = self.now();
            self.scene.line(format_args!("{number} is acknowledged by member {by}"));
            self.scene.judge().acknowledged(number, by, now);
            if self.waiting.remove(&number).is_some() {
                self.last = Some(number);
            }
        } else {
            let text = String::from_utf8_lossy(&ack.error);
            self.scene.judge().refused(&self.id, by, &text);
            self.waiting.remove(&number);
        }
    }

    fn delivered(&mut self, payload: &[u8]) {
        let Ok(view) = MessageView::decode(payload) else {
            return self.object("a delivery cannot be decoded".to_owned());
        };
        let number = view
            .data
            .get(..8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes);
        self.scene.judge().delivered(view.sequence, number, self.is_durable);
        self.sequences.insert(number, view.sequence);
        if self.ack_inbox.is_empty() || self.scene.directory.random(10) == 0 {
            return;
        }
        let ack = Ack {
            subject: CHANNEL.into(),
            sequence: view.sequence,
        };
        let ack = ToServer::Ack(self.ack_inbox.clone(), ack.encode_to_vec());
        self.scene.network().send(&ack);
    }
}
