//! A raw streaming session: requests and answers of `streaming-protocol.md` §2, one at a time.

use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use seaway_stan_protocol::messages::{
    Ack, CloseRequest, CloseResponse, ConnectRequest, ConnectResponse, Ping, PingResponse, PubAck, PubMsg,
    SubscriptionRequest, SubscriptionResponse, UnsubscribeRequest,
};
use seaway_stan_protocol::{Message, MessageView};

use crate::wire::{Connection, Frame};

/// How long a request waits for its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A message that a subscription received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Delivery inbox it came on.
    pub inbox: String,
    /// Sequence in the channel.
    pub sequence: u64,
    /// Payload.
    pub data: Vec<u8>,
    /// Whether it was marked as redelivered.
    pub redelivered: bool,
    /// How often, 0 for the first time.
    pub redelivery_count: u32,
}

/// An active subscription, as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Where messages arrive.
    pub inbox: String,
    /// Where acks go.
    pub ack_inbox: String,
    /// Channel name.
    pub channel: String,
}

/// A streaming connection over a connection of its own.
pub struct Session {
    /// The connection underneath.
    pub connection: Connection,
    /// Client ID.
    pub client_id: String,
    /// Connection ID.
    pub connection_id: String,
    /// What the server answered.
    pub response: ConnectResponse,
    /// Subject on which PubAcks arrive.
    pub ack_subject: String,
    /// Whether requests of the server (heartbeats, duplicate checks) are answered; they are counted either way.
    pub answers: bool,
    /// Requests of the server seen so far.
    pub probes: u64,
    /// Everything this session listens to, for a reconnect.
    subjects: Vec<String>,
    received: std::collections::VecDeque<Received>,
    pub_acks: std::collections::VecDeque<PubAck>,
    inbox_prefix: String,
    inboxes: u64,
}

/// A message nobody has looked at yet.
struct Arrived {
    subject: Vec<u8>,
    header_bytes: usize,
    payload: Vec<u8>,
}

/// A short random token.
pub fn token() -> String {
    (0..22).map(|_| fastrand::alphanumeric()).collect()
}

/// A subscription request with the usual settings: AckWait 30 s, MaxInflight 1024, new messages only.
pub fn subscription(channel: &str) -> SubscriptionRequest {
    SubscriptionRequest {
        subject: channel.to_owned().into(),
        max_in_flight: 1024,
        ack_wait_in_secs: 30,
        ..SubscriptionRequest::default()
    }
}

impl Session {
    /// Connects and registers `client_id`; heartbeats are answered whenever the session waits for something.
    ///
    /// # Errors
    /// The server's error text, or anything the socket says.
    pub fn open(address: impl ToSocketAddrs, cluster_id: &str, client_id: &str) -> io::Result<Session> {
        Session::over(Connection::open(address)?, cluster_id, client_id)
    }

    /// The same over a connection that has been let in already, with credentials for instance.
    ///
    /// # Errors
    /// As for [`Session::open`].
    pub fn over(mut connection: Connection, cluster_id: &str, client_id: &str) -> io::Result<Session> {
        let heartbeat_inbox = format!("_INBOX.{}", token());
        let inbox_prefix = format!("_INBOX.{}", token());
        let ack_subject = format!("_STAN.acks.{}", token());
        let subjects = vec![
            heartbeat_inbox.clone(),
            format!("{inbox_prefix}.*"),
            ack_subject.clone(),
        ];
        for subject in &subjects {
            connection.subscribe(subject);
        }
        let connection_id = token();
        let mut session = Session {
            connection,
            client_id: client_id.to_owned(),
            connection_id: connection_id.clone(),
            response: ConnectResponse::default(),
            ack_subject,
            answers: true,
            probes: 0,
            subjects,
            received: std::collections::VecDeque::new(),
            pub_acks: std::collections::VecDeque::new(),
            inbox_prefix,
            inboxes: 0,
        };
        let request = ConnectRequest {
            client_id: client_id.to_owned().into(),
            heartbeat_inbox: heartbeat_inbox.into(),
            protocol: 1,
            conn_id: connection_id.into(),
            ping_interval: 5,
            ping_max_out: 3,
        };
        let answer = session.request(&format!("_STAN.discover.{cluster_id}"), &request.encode_to_vec())?;
        let response = ConnectResponse::decode(answer.as_slice()).map_err(io::Error::other)?;
        refuse(&response.error)?;
        session.response = response;
        Ok(session)
    }

    /// Opens another connection below the same session, as a client library does when it was cut off: the inboxes stay,
    /// and no streaming request is made.
    ///
    /// # Errors
    /// Anything the socket says.
    pub fn reconnect(&mut self, address: impl ToSocketAddrs) -> io::Result<()> {
        self.connection = Connection::open(address)?;
        for subject in &self.subjects {
            self.connection.subscribe(subject);
        }
        self.connection.flush()
    }

    /// Cuts the connection without a goodbye; [`Session::reconnect`] makes another.
    ///
    /// # Errors
    /// Anything the socket says.
    pub fn cut(&mut self) -> io::Result<()> {
        self.connection.cut()
    }

    /// Stops listening to the heartbeat inbox: whoever asks there hears that nobody listens.
    ///
    /// # Errors
    /// As for [`Session::ping`], which shows that the broker knows.
    pub fn go_deaf(&mut self) -> io::Result<()> {
        // The first subscription of every connection is the heartbeat inbox.
        self.connection.send(b"UNSUB 1\r\n");
        self.ping()
    }

    /// Pings the streaming server with this session's connection ID.
    ///
    /// # Errors
    /// The server's error text, `TimedOut`, or anything the socket says.
    pub fn ping(&mut self) -> io::Result<()> {
        let subject = String::from_utf8_lossy(&self.response.ping_requests).into_owned();
        let ping = Ping {
            conn_id: self.connection_id.clone().into(),
        };
        let answer = self.request(&subject, &ping.encode_to_vec())?;
        refuse(&PingResponse::decode(answer.as_slice()).map_err(io::Error::other)?.error)
    }

    /// Messages that arrived and were not asked for yet.
    pub fn waiting_messages(&self) -> usize {
        self.received.len()
    }

    /// Sends a request and waits for its answer, keeping messages that arrive meanwhile.
    ///
    /// # Errors
    /// `NotConnected` when nobody listens (503), `TimedOut`, or anything the socket says.
    pub fn request(&mut self, subject: &str, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.inboxes += 1;
        let reply = format!("{}.{}", self.inbox_prefix, self.inboxes);
        self.connection.publish(subject, &reply, payload);
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            if let Some(arrived) = self.step(deadline)? {
                if arrived.subject == reply.as_bytes() {
                    if arrived.header_bytes > 0 {
                        return Err(ErrorKind::NotConnected.into());
                    }
                    return Ok(arrived.payload);
                }
                self.keep(&arrived)?;
            }
        }
    }

    /// Queues a publish and gives its GUID.
    pub fn publish_async(&mut self, channel: &str, data: &[u8]) -> String {
        let guid = token();
        let message = PubMsg {
            client_id: self.client_id.clone().into(),
            guid: guid.clone().into(),
            subject: channel.to_owned().into(),
            data: data.to_vec().into(),
            conn_id: self.connection_id.clone().into(),
            ..PubMsg::default()
        };
        let subject = format!("{}.{channel}", String::from_utf8_lossy(&self.response.pub_prefix));
        let reply = self.ack_subject.clone();
        self.connection.publish(&subject, &reply, &message.encode_to_vec());
        guid
    }

    /// Publishes and waits for the ack.
    ///
    /// # Errors
    /// The server's error text, `TimedOut`, or anything the socket says.
    pub fn publish(&mut self, channel: &str, data: &[u8]) -> io::Result<()> {
        let guid = self.publish_async(channel, data);
        loop {
            let ack = self.next_pub_ack(REQUEST_TIMEOUT)?;
            if ack.guid == guid.as_bytes() {
                return refuse(&ack.error);
            }
        }
    }

    /// The next PubAck.
    ///
    /// # Errors
    /// `TimedOut`, or anything the socket says.
    pub fn next_pub_ack(&mut self, timeout: Duration) -> io::Result<PubAck> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(ack) = self.pub_acks.pop_front() {
                return Ok(ack);
            }
            if let Some(arrived) = self.step(deadline)? {
                self.keep(&arrived)?;
            }
        }
    }

    /// Subscribes; client ID and inbox are filled in.
    ///
    /// # Errors
    /// The server's error text, `TimedOut`, or anything the socket says.
    pub fn subscribe(&mut self, mut request: SubscriptionRequest) -> io::Result<Subscribed> {
        self.inboxes += 1;
        let inbox = format!("_INBOX.{}.{}", token(), self.inboxes);
        self.connection.subscribe(&inbox);
        self.subjects.push(inbox.clone());
        request.client_id = self.client_id.clone().into();
        request.inbox = inbox.clone().into();
        let channel = String::from_utf8_lossy(&request.subject).into_owned();
        let subject = String::from_utf8_lossy(&self.response.sub_requests).into_owned();
        let answer = self.request(&subject, &request.encode_to_vec())?;
        let response = SubscriptionResponse::decode(answer.as_slice()).map_err(io::Error::other)?;
        refuse(&response.error)?;
        Ok(Subscribed {
            inbox,
            ack_inbox: String::from_utf8_lossy(&response.ack_inbox).into_owned(),
            channel,
        })
    }

    /// Acknowledges one message.
    pub fn ack(&mut self, subscribed: &Subscribed, sequence: u64) {
        let ack = Ack {
            subject: subscribed.channel.clone().into(),
            sequence,
        };
        self.connection.publish(&subscribed.ack_inbox, "", &ack.encode_to_vec());
    }

    /// Removes a subscription, its durable state too.
    ///
    /// # Errors
    /// The server's error text, `TimedOut`, or anything the socket says.
    pub fn unsubscribe(&mut self, subscribed: &Subscribed) -> io::Result<()> {
        let subject = String::from_utf8_lossy(&self.response.unsub_requests).into_owned();
        self.leave(&subject, subscribed)
    }

    /// Closes a subscription; a durable keeps its state.
    ///
    /// # Errors
    /// The server's error text, `TimedOut`, or anything the socket says.
    pub fn close_subscription(&mut self, subscribed: &Subscribed) -> io::Result<()> {
        let subject = String::from_utf8_lossy(&self.response.sub_close_requests).into_owned();
        self.leave(&subject, subscribed)
    }

    fn leave(&mut self, subject: &str, subscribed: &Subscribed) -> io::Result<()> {
        let request = UnsubscribeRequest {
            client_id: self.client_id.clone().into(),
            subject: subscribed.channel.clone().into(),
            inbox: subscribed.ack_inbox.clone().into(),
            ..UnsubscribeRequest::default()
        };
        let answer = self.request(subject, &request.encode_to_vec())?;
        refuse(
            &SubscriptionResponse::decode(answer.as_slice())
                .map_err(io::Error::other)?
                .error,
        )
    }

    /// Closes the streaming connection.
    ///
    /// # Errors
    /// The server's error text, `TimedOut`, or anything the socket says.
    pub fn close(&mut self) -> io::Result<()> {
        let subject = String::from_utf8_lossy(&self.response.close_requests).into_owned();
        let request = CloseRequest {
            client_id: self.client_id.clone().into(),
        };
        let answer = self.request(&subject, &request.encode_to_vec())?;
        refuse(
            &CloseResponse::decode(answer.as_slice())
                .map_err(io::Error::other)?
                .error,
        )
    }

    /// The next message of any subscription.
    ///
    /// # Errors
    /// `TimedOut`, or anything the socket says.
    pub fn next_message(&mut self, timeout: Duration) -> io::Result<Received> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(message) = self.received.pop_front() {
                return Ok(message);
            }
            if let Some(arrived) = self.step(deadline)? {
                self.keep(&arrived)?;
            }
        }
    }

    /// One frame; requests of the server (heartbeats) are answered here.
    fn step(&mut self, deadline: Instant) -> io::Result<Option<Arrived>> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.connection.next_frame(left)? {
            Frame::Message { reply, .. } if !reply.is_empty() => {
                self.probes += 1;
                if !self.answers {
                    return Ok(None);
                }
                let reply = String::from_utf8_lossy(&reply).into_owned();
                self.connection.publish(&reply, "", b"");
                self.connection.flush()?;
                Ok(None)
            }
            Frame::Message {
                subject,
                header_bytes,
                payload,
                ..
            } => Ok(Some(Arrived {
                subject,
                header_bytes,
                payload,
            })),
            Frame::Error(text) => Err(io::Error::other(text)),
            Frame::Info(_) | Frame::Ping | Frame::Pong | Frame::Ok => Ok(None),
        }
    }

    fn keep(&mut self, arrived: &Arrived) -> io::Result<()> {
        // Without its headers the broker's word that nobody listens is empty, and an ack for no GUID.
        let (subject, payload) = (arrived.subject.as_slice(), &arrived.payload[arrived.header_bytes..]);
        if subject == self.ack_subject.as_bytes() {
            self.pub_acks
                .push_back(PubAck::decode(payload).map_err(io::Error::other)?);
            return Ok(());
        }
        let Ok(message) = MessageView::decode(payload) else {
            return Ok(());
        };
        self.received.push_back(Received {
            inbox: String::from_utf8_lossy(subject).into_owned(),
            sequence: message.sequence,
            data: message.data.to_vec(),
            redelivered: message.redelivered,
            redelivery_count: message.redelivery_count,
        });
        Ok(())
    }
}

fn refuse(error: &[u8]) -> io::Result<()> {
    if error.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(error).into_owned()))
    }
}
