//! A simulated client: it connects, publishes, subscribes, acknowledges, forgets and vanishes.
//!
//! It is single-minded about requests: one at a time, and one that is not answered is forgotten, as a client does that
//! gave up waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use seaway_stan_protocol::messages::{
    Ack, CloseRequest, CloseResponse, ConnectRequest, ConnectResponse, PubAck, PubMsg, SubscriptionRequest,
    SubscriptionResponse, UnsubscribeRequest,
};
use seaway_stan_protocol::{Message, MessageView};
use seaway_streaming::Service;

use crate::oracle::{Oracle, Reader};

/// A message on its way to the server.
#[derive(Clone, Debug)]
pub enum ToServer {
    /// On a service subject.
    Request(Service, Vec<u8>, Vec<u8>),
    /// On an ack inbox.
    Ack(u64, Vec<u8>),
    /// A heartbeat or duplicate check answered.
    Probe(u64),
}

/// A message on its way to a client.
#[derive(Clone, Debug)]
pub struct ToClient {
    /// The client's own inbox.
    pub subject: String,
    /// Where an answer is expected; empty if nowhere.
    pub reply: String,
    /// Payload.
    pub payload: Vec<u8>,
}

/// A subscription as its client knows it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Delivery inbox.
    pub inbox: String,
    /// Number of the ack inbox.
    pub ack_inbox: u64,
    /// The ack inbox as the server wrote it.
    ack_inbox_text: String,
    /// Channel.
    pub channel: String,
    /// Durable or group; `None` for a plain subscription and for a group that is not durable.
    pub reader: Option<Reader>,
    max_in_flight: i32,
    is_group: bool,
    /// Last sequence of a first delivery.
    last: u64,
    /// Delivered, not acknowledged since.
    pub unacknowledged: BTreeSet<u64>,
    /// Delivered for the first time, never acknowledged: a redelivery that crosses its ack does not count.
    in_flight: BTreeSet<u64>,
}

/// What the outstanding request was.
#[derive(Clone, Debug)]
enum Asked {
    Connect(String),
    Subscribe(Box<Subscription>),
    Leave { inbox: String },
    Close,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Client ID.
    pub id: String,
    /// Connection ID while it believes to be connected.
    pub connection: Option<String>,
    /// The heartbeat inbox it listens on: that of its latest connect.
    pub heartbeat_inbox: String,
    /// Whether its NATS connection exists; without it it hears nothing.
    pub reachable: bool,
    /// Messages it has not looked at yet.
    pub incoming: VecDeque<ToClient>,
    /// Active subscriptions by delivery inbox.
    pub subscriptions: BTreeMap<String, Subscription>,
    asked: Option<(String, Asked)>,
    publishes: BTreeMap<String, u64>,
    numbers: u64,
    /// First deliveries on the newest subscription (inbox, messages), while they are recorded.
    record: Option<(String, Vec<(u64, u64)>)>,
    /// Whether messages may vanish by limits: what it holds then says nothing about what the server holds it to have.
    pub trims: bool,
    /// Error texts it was answered.
    pub refusals: u64,
    /// Redeliveries it saw.
    pub redeliveries: u64,
}

/// What a client subscribes to.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Channel.
    pub channel: String,
    /// Durable name, may be empty.
    pub durable: String,
    /// Queue group, may be empty.
    pub group: String,
    /// 0 to 4.
    pub start_position: i32,
    /// Of interest to start position 3.
    pub start_sequence: u64,
    /// MaxInflight.
    pub max_in_flight: i32,
    /// Seconds.
    pub ack_wait: i32,
}

impl Client {
    /// A client that never spoke to the server; `trims` when messages may vanish by limits.
    pub fn new(id: String, trims: bool) -> Client {
        Client {
            id,
            connection: None,
            heartbeat_inbox: String::new(),
            reachable: true,
            incoming: VecDeque::new(),
            subscriptions: BTreeMap::new(),
            asked: None,
            publishes: BTreeMap::new(),
            numbers: 0,
            record: None,
            trims,
            refusals: 0,
            redeliveries: 0,
        }
    }

    fn fresh(&mut self, what: &str) -> String {
        self.numbers += 1;
        format!("{}/{what}/{}", self.id, self.numbers)
    }

    /// Whether a request is outstanding.
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether anything but heartbeats waits to be looked at.
    pub fn has_news(&self) -> bool {
        self.incoming.iter().any(|message| message.reply.is_empty())
    }

    /// It gave up waiting.
    pub fn give_up(&mut self) {
        self.asked = None;
    }

    /// A message to it was lost on the way: an answer that never comes is given up on.
    pub fn lost(&mut self, message: &ToClient) {
        if self.asked.as_ref().is_some_and(|(reply, _)| *reply == message.subject) {
            self.give_up();
        }
    }

    /// Begins to record what arrives first on the subscription being asked for.
    pub fn record(&mut self) {
        if let Some((_, Asked::Subscribe(subscription))) = &self.asked {
            self.record = Some((subscription.inbox.clone(), Vec::new()));
        }
    }

    /// What was recorded: sequences and payloads.
    pub fn recorded(&mut self) -> Vec<(u64, u64)> {
        self.record.take().map(|(_, messages)| messages).unwrap_or_default()
    }

    /// Everything it knew is gone; it begins again under the same client ID.
    pub fn restart(&mut self) {
        self.heartbeat_inbox.clear();
        self.connection = None;
        self.reachable = true;
        self.incoming.clear();
        self.subscriptions.clear();
        self.asked = None;
        self.publishes.clear();
    }

    fn ask(&mut self, service: Service, asked: Asked, payload: Vec<u8>) -> ToServer {
        let reply = self.fresh("reply");
        self.asked = Some((reply.clone(), asked));
        ToServer::Request(service, reply.into_bytes(), payload)
    }

    /// Connects.
    pub fn connect(&mut self) -> ToServer {
        let connection = self.fresh("connection");
        self.heartbeat_inbox = self.fresh("heartbeat");
        let request = ConnectRequest {
            client_id: self.id.clone().into(),
            heartbeat_inbox: self.heartbeat_inbox.clone().into(),
            protocol: 1,
            conn_id: connection.clone().into(),
            ping_interval: 5,
            ping_max_out: 3,
        };
        self.ask(Service::Connect, Asked::Connect(connection), request.encode_to_vec())
    }

    /// Closes its connection.
    pub fn close(&mut self) -> ToServer {
        let request = CloseRequest {
            client_id: self.id.clone().into(),
        };
        self.ask(Service::Close, Asked::Close, request.encode_to_vec())
    }

    /// Publishes `payload`, a number nobody else publishes.
    pub fn publish(&mut self, channel: &str, payload: u64, padding: usize) -> ToServer {
        let guid = self.fresh("guid");
        self.publishes.insert(guid.clone(), payload);
        let mut data = payload.to_le_bytes().to_vec();
        data.resize(8 + padding, b'.');
        let message = PubMsg {
            client_id: self.id.clone().into(),
            guid: guid.into(),
            subject: channel.to_owned().into(),
            data: data.into(),
            conn_id: self.connection.clone().unwrap_or_default().into(),
            ..PubMsg::default()
        };
        ToServer::Request(
            Service::Publish,
            format!("{}/acks", self.id).into_bytes(),
            message.encode_to_vec(),
        )
    }

    /// Subscribes.
    pub fn subscribe(&mut self, wish: &Wish) -> ToServer {
        let inbox = self.fresh("inbox");
        let reader = match (wish.group.is_empty(), wish.durable.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Reader::Durable(
                self.id.clone(),
                wish.channel.clone(),
                wish.durable.clone(),
            )),
            (false, true) => None,
            (false, false) => Some(Reader::Group(
                wish.channel.clone(),
                wish.group.clone(),
                wish.durable.clone(),
            )),
        };
        let subscription = Subscription {
            inbox: inbox.clone(),
            ack_inbox: 0,
            ack_inbox_text: String::new(),
            channel: wish.channel.clone(),
            reader,
            max_in_flight: wish.max_in_flight,
            is_group: !wish.group.is_empty(),
            last: 0,
            unacknowledged: BTreeSet::new(),
            in_flight: BTreeSet::new(),
        };
        let request = SubscriptionRequest {
            client_id: self.id.clone().into(),
            subject: wish.channel.clone().into(),
            q_group: wish.group.clone().into(),
            inbox: inbox.into(),
            max_in_flight: wish.max_in_flight,
            ack_wait_in_secs: wish.ack_wait,
            durable_name: wish.durable.clone().into(),
            start_position: wish.start_position,
            start_sequence: wish.start_sequence,
            start_time_delta: 3_000_000_000,
        };
        self.ask(
            Service::Subscribe,
            Asked::Subscribe(Box::new(subscription)),
            request.encode_to_vec(),
        )
    }

    /// Unsubscribes from or closes the subscription on `inbox`.
    pub fn leave(&mut self, inbox: &str, service: Service) -> Option<ToServer> {
        let subscription = self.subscriptions.get(inbox)?;
        let request = UnsubscribeRequest {
            client_id: self.id.clone().into(),
            subject: subscription.channel.clone().into(),
            inbox: subscription.ack_inbox_text.clone().into(),
            ..UnsubscribeRequest::default()
        };
        Some(self.ask(
            service,
            Asked::Leave {
                inbox: inbox.to_owned(),
            },
            request.encode_to_vec(),
        ))
    }

    /// Acknowledges a message it holds.
    pub fn acknowledge(&mut self, inbox: &str, sequence: u64) -> Option<ToServer> {
        let subscription = self.subscriptions.get_mut(inbox)?;
        subscription.unacknowledged.remove(&sequence);
        subscription.in_flight.remove(&sequence);
        let ack = Ack {
            subject: subscription.channel.clone().into(),
            sequence,
        };
        Some(ToServer::Ack(subscription.ack_inbox, ack.encode_to_vec()))
    }

    /// Looks at one message; what it answers, if anything.
    ///
    /// # Errors
    /// What the message contradicts.
    pub fn look(&mut self, message: &ToClient, oracle: &mut Oracle) -> Result<Option<ToServer>, String> {
        if !message.reply.is_empty() {
            let probe = message.reply.rsplit('.').next().and_then(|number| number.parse().ok());
            return Ok(probe.map(ToServer::Probe));
        }
        if message.subject.ends_with("/acks") {
            let ack = PubAck::decode(message.payload.as_slice()).map_err(|error| format!("PubAck: {error}"))?;
            let guid = String::from_utf8_lossy(&ack.guid).into_owned();
            match self.publishes.remove(&guid) {
                Some(payload) if ack.error.is_empty() => oracle.acknowledged(payload),
                Some(_) => self.refusals += 1,
                None => {}
            }
            return Ok(None);
        }
        if self.asked.as_ref().is_some_and(|(reply, _)| *reply == message.subject) {
            if let Some((_, asked)) = self.asked.take() {
                self.answered(asked, &message.payload)?;
            }
            return Ok(None);
        }
        self.received(message, oracle)?;
        Ok(None)
    }

    fn answered(&mut self, asked: Asked, payload: &[u8]) -> Result<(), String> {
        let undecodable = |error| format!("a response cannot be decoded: {error}");
        match asked {
            Asked::Connect(connection) => {
                let response = ConnectResponse::decode(payload).map_err(undecodable)?;
                if response.error.is_empty() {
                    self.subscriptions.clear();
                    self.connection = Some(connection);
                } else {
                    self.refusals += 1;
                }
            }
            Asked::Subscribe(mut subscription) => {
                let response = SubscriptionResponse::decode(payload).map_err(undecodable)?;
                if !response.error.is_empty() {
                    self.refusals += 1;
                    return Ok(());
                }
                subscription.ack_inbox_text = String::from_utf8_lossy(&response.ack_inbox).into_owned();
                let number = subscription
                    .ack_inbox_text
                    .rsplit('.')
                    .next()
                    .and_then(|number| number.parse().ok());
                subscription.ack_inbox = number.ok_or("an ack inbox that ends with no number")?;
                self.subscriptions.insert(subscription.inbox.clone(), *subscription);
            }
            Asked::Leave { inbox } => {
                let response = SubscriptionResponse::decode(payload).map_err(undecodable)?;
                if response.error.is_empty() {
                    self.subscriptions.remove(&inbox);
                } else {
                    self.refusals += 1;
                }
            }
            Asked::Close => {
                let response = CloseResponse::decode(payload).map_err(undecodable)?;
                if response.error.is_empty() {
                    self.restart();
                } else {
                    self.refusals += 1;
                }
            }
        }
        Ok(())
    }

    fn received(&mut self, message: &ToClient, oracle: &mut Oracle) -> Result<(), String> {
        let waiting_for = self.asked.as_ref().is_some_and(
            |(_, asked)| matches!(asked, Asked::Subscribe(subscription) if subscription.inbox == message.subject),
        );
        if waiting_for {
            return Err(format!(
                "a message on {} came before its SubscriptionResponse",
                message.subject
            ));
        }
        // A subscription that was closed, or whose response was given up on, may still be sent messages.
        let Some(subscription) = self.subscriptions.get_mut(&message.subject) else {
            return Ok(());
        };
        let view = MessageView::decode(&message.payload).map_err(|_| "a delivery cannot be decoded".to_owned())?;
        let payload = view
            .data
            .get(..8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_le_bytes);
        let payload = payload.ok_or("a delivery without the payload that was published")?;
        let (sequence, redelivered) = (view.sequence, view.redelivered);
        if view.redelivered != (view.redelivery_count > 0) {
            return Err(format!(
                "redelivered is {redelivered} and the count {}",
                view.redelivery_count
            ));
        }
        oracle.delivered(
            &subscription.channel,
            sequence,
            payload,
            redelivered,
            subscription.reader.as_ref(),
        )?;
        self.redeliveries += u64::from(redelivered);
        subscription.unacknowledged.insert(sequence);
        if redelivered {
            return Ok(());
        }
        if let Some((inbox, messages)) = &mut self.record
            && *inbox == message.subject
        {
            messages.push((sequence, payload));
        }
        if sequence <= subscription.last && !subscription.is_group {
            return Err(format!(
                "{} got {sequence} after {}",
                subscription.inbox, subscription.last
            ));
        }
        subscription.last = subscription.last.max(sequence);
        subscription.in_flight.insert(sequence);
        let held = subscription.in_flight.len();
        if !self.trims && !subscription.is_group && held > usize::try_from(subscription.max_in_flight).unwrap_or(0) {
            return Err(format!(
                "{} holds {held} of at most {}",
                subscription.inbox, subscription.max_in_flight
            ));
        }
        Ok(())
    }

    /// A crash of the server ends its connection with what was on the way; order begins anew, because what the server
    /// had sent, or been told in acks, but had not written down is sent again.
    pub fn server_crashed(&mut self) {
        self.incoming.clear();
        for subscription in self.subscriptions.values_mut() {
            subscription.last = 0;
            subscription.unacknowledged.clear();
            subscription.in_flight.clear();
        }
    }
}
