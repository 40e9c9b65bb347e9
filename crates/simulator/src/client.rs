//! A simulated client: it connects, publishes, subscribes, acknowledges, forgets, keeps silent and vanishes.
//!
//! It judges nothing; the model does. About requests it is single-minded: one at a time, and one that is not answered is
//! forgotten, as a client does that gave up waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use seaway_stan_protocol::messages::{
    Ack, CloseRequest, CloseResponse, ConnectRequest, ConnectResponse, Ping, PubMsg, SubscriptionRequest,
    SubscriptionResponse, UnsubscribeRequest,
};
use seaway_stan_protocol::{Message, MessageView};
use seaway_streaming::Service;

/// Acks that may be sent a second time.
const OLD_ACKS_MAX: usize = 32;

/// A message on its way to the server.
#[derive(Clone, Debug)]
pub enum ToServer {
    /// On a service subject.
    Request(Service, Vec<u8>, Vec<u8>),
    /// On an ack inbox.
    Ack(String, Vec<u8>),
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
    /// The ack inbox as the server wrote it.
    pub ack_inbox: String,
    /// Channel.
    pub channel: String,
    /// Delivered, not acknowledged since.
    pub unacknowledged: BTreeSet<u64>,
}

/// What the outstanding request was.
#[derive(Clone, Debug)]
enum Asked {
    Connect(String),
    Subscribe { inbox: String, channel: String },
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
    /// It hears heartbeats and does not answer.
    pub silent: bool,
    /// Messages it has not looked at yet.
    pub incoming: VecDeque<ToClient>,
    /// Active subscriptions by delivery inbox.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// Acks it has sent: inbox and payload.
    pub old_acks: VecDeque<(String, Vec<u8>)>,
    /// A connection it had before.
    pub old_connection: Option<String>,
    /// It speaks protocol 1.
    modern: bool,
    asked: Option<(String, Asked)>,
    numbers: u64,
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
    /// Of interest to start position 2, nanoseconds.
    pub start_time_delta: i64,
    /// MaxInflight.
    pub max_in_flight: i32,
    /// Seconds.
    pub ack_wait: i32,
}

impl Client {
    /// A client that never spoke to the server.
    pub fn new(id: String, modern: bool) -> Client {
        Client {
            id,
            connection: None,
            heartbeat_inbox: String::new(),
            reachable: true,
            silent: false,
            incoming: VecDeque::new(),
            subscriptions: BTreeMap::new(),
            old_acks: VecDeque::new(),
            old_connection: None,
            modern,
            asked: None,
            numbers: 0,
        }
    }

    /// A subject or identifier that nobody else has.
    pub fn fresh(&mut self, what: &str) -> String {
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

    /// Everything it knew is gone; it begins again under the same client ID.
    pub fn restart(&mut self) {
        self.heartbeat_inbox.clear();
        self.old_connection = self.connection.take().or(self.old_connection.take());
        self.reachable = true;
        self.silent = false;
        self.incoming.clear();
        self.subscriptions.clear();
        self.asked = None;
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
        let mut request = ConnectRequest {
            client_id: self.id.clone().into(),
            heartbeat_inbox: self.heartbeat_inbox.clone().into(),
            ..ConnectRequest::default()
        };
        if self.modern {
            request.protocol = 1;
            request.conn_id = connection.clone().into();
            request.ping_interval = 5;
            request.ping_max_out = 3;
        }
        self.ask(Service::Connect, Asked::Connect(connection), request.encode_to_vec())
    }

    /// Closes its connection.
    pub fn close(&mut self) -> ToServer {
        let request = CloseRequest {
            client_id: self.id.clone().into(),
        };
        self.ask(Service::Close, Asked::Close, request.encode_to_vec())
    }

    /// Asks whether its connection, or an old one, is still known.
    pub fn ping(&mut self, old: bool) -> ToServer {
        let connection = if old { &self.old_connection } else { &self.connection };
        let ping = Ping {
            conn_id: connection.clone().unwrap_or_default().into(),
        };
        let reply = self.fresh("ping");
        ToServer::Request(Service::Ping, reply.into_bytes(), ping.encode_to_vec())
    }

    /// Publishes; `connection` overrides its connection ID.
    pub fn publish(&mut self, channel: &str, data: Vec<u8>, connection: Option<String>) -> PubMsg {
        let connection = connection.unwrap_or_else(|| {
            if self.modern {
                self.connection.clone().unwrap_or_default()
            } else {
                String::new()
            }
        });
        PubMsg {
            client_id: self.id.clone().into(),
            guid: self.fresh("guid").into(),
            subject: channel.to_owned().into(),
            data: data.into(),
            conn_id: connection.into(),
            ..PubMsg::default()
        }
    }

    /// Subscribes.
    pub fn subscribe(&mut self, wish: &Wish) -> ToServer {
        let inbox = self.fresh("inbox");
        let request = SubscriptionRequest {
            client_id: self.id.clone().into(),
            subject: wish.channel.clone().into(),
            q_group: wish.group.clone().into(),
            inbox: inbox.clone().into(),
            max_in_flight: wish.max_in_flight,
            ack_wait_in_secs: wish.ack_wait,
            durable_name: wish.durable.clone().into(),
            start_position: wish.start_position,
            start_sequence: wish.start_sequence,
            start_time_delta: wish.start_time_delta,
        };
        let asked = Asked::Subscribe {
            inbox,
            channel: wish.channel.clone(),
        };
        self.ask(Service::Subscribe, asked, request.encode_to_vec())
    }

    /// Unsubscribes from or closes the subscription on `inbox`, naming its delivery inbox or its ack inbox.
    pub fn leave(&mut self, inbox: &str, service: Service, by_delivery_inbox: bool) -> Option<ToServer> {
        let subscription = self.subscriptions.get(inbox)?;
        let named = if by_delivery_inbox {
            inbox
        } else {
            &subscription.ack_inbox
        };
        let request = UnsubscribeRequest {
            client_id: self.id.clone().into(),
            subject: subscription.channel.clone().into(),
            inbox: named.to_owned().into(),
            ..UnsubscribeRequest::default()
        };
        let asked = Asked::Leave {
            inbox: inbox.to_owned(),
        };
        Some(self.ask(service, asked, request.encode_to_vec()))
    }

    /// Acknowledges a message it holds.
    pub fn acknowledge(&mut self, inbox: &str, sequence: u64) -> Option<ToServer> {
        let subscription = self.subscriptions.get_mut(inbox)?;
        subscription.unacknowledged.remove(&sequence);
        let ack = Ack {
            subject: subscription.channel.clone().into(),
            sequence,
        };
        let sent = (subscription.ack_inbox.clone(), ack.encode_to_vec());
        if self.old_acks.len() == OLD_ACKS_MAX {
            self.old_acks.pop_front();
        }
        self.old_acks.push_back(sent.clone());
        Some(ToServer::Ack(sent.0, sent.1))
    }

    /// Looks at one message; what it answers, if anything.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn look(&mut self, message: &ToClient) -> Result<Option<ToServer>, String> {
        if !message.reply.is_empty() {
            let probe = message.reply.rsplit('.').next().and_then(|number| number.parse().ok());
            return Ok(probe.filter(|_| !self.silent).map(ToServer::Probe));
        }
        if self.asked.as_ref().is_some_and(|(reply, _)| *reply == message.subject) {
            if let Some((_, asked)) = self.asked.take() {
                self.answered(asked, &message.payload)?;
            }
            return Ok(None);
        }
        // A subscription that was closed, or whose response was given up on, may still be sent messages.
        if let Some(subscription) = self.subscriptions.get_mut(&message.subject) {
            let view = MessageView::decode(&message.payload).map_err(|_| "a delivery cannot be decoded".to_owned())?;
            subscription.unacknowledged.insert(view.sequence);
        }
        Ok(None)
    }

    fn answered(&mut self, asked: Asked, payload: &[u8]) -> Result<(), String> {
        let undecodable = |error| format!("a response cannot be decoded: {error}");
        match asked {
            Asked::Connect(connection) => {
                if ConnectResponse::decode(payload).map_err(undecodable)?.error.is_empty() {
                    self.subscriptions.clear();
                    self.connection = Some(connection);
                }
            }
            Asked::Subscribe { inbox, channel } => {
                let response = SubscriptionResponse::decode(payload).map_err(undecodable)?;
                if response.error.is_empty() {
                    let subscription = Subscription {
                        ack_inbox: String::from_utf8_lossy(&response.ack_inbox).into_owned(),
                        channel,
                        unacknowledged: BTreeSet::new(),
                    };
                    self.subscriptions.insert(inbox, subscription);
                }
            }
            Asked::Leave { inbox } => {
                let response = SubscriptionResponse::decode(payload).map_err(undecodable)?;
                if response.error.is_empty() {
                    self.subscriptions.remove(&inbox);
                }
            }
            Asked::Close => {
                if CloseResponse::decode(payload).map_err(undecodable)?.error.is_empty() {
                    self.restart();
                }
            }
        }
        Ok(())
    }

    /// A crash of the server ends its connection with what was on the way.
    pub fn server_crashed(&mut self) {
        self.incoming.clear();
        self.asked = None;
    }
}
