//! A streaming server that does what a test says, on a NATS server that outlives it; included by the tests that use it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "for tests, each of which uses its part"
)]

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use seaway_client::ConnectOptions;
use seaway_stan_protocol::{Message, messages};
use tokio::sync::mpsc;

use crate::support::{PATIENCE, Server};

/// The cluster ID it answers for: not the one of the server whose NATS side it uses.
const CLUSTER: &str = "scripted";

/// A NATS server that outlives the scripted streaming server.
pub struct Nats {
    pub name: &'static str,
    server: Server,
}

impl Nats {
    /// Ours, with its own streaming server left alone.
    pub fn ours() -> Nats {
        Nats {
            name: "seaway",
            server: Server::in_memory(&[]),
        }
    }

    /// The Debian package's, if it is installed.
    pub fn foreign() -> Option<Nats> {
        let program = ["/usr/sbin/nats-server", "/usr/bin/nats-server"];
        let program = program.into_iter().find(|program| Path::new(program).exists());
        let Some(program) = program else {
            eprintln!("\n*** SKIPPED: the part with nats-server, which is not installed ***\n");
            return None;
        };
        let mut server = Server::begin(Command::new(program).args(["-p", "-1", "-a", "127.0.0.1"]));
        server.wait_for_line("Server is ready").expect("nats-server starts");
        server.find_addresses();
        Some(Nats {
            name: "nats-server",
            server,
        })
    }

    pub fn all() -> impl Iterator<Item = Nats> {
        [Some(Nats::ours()), Nats::foreign()].into_iter().flatten()
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.server.address)
    }

    /// Options to connect to the scripted streaming server.
    pub fn options(&self, client_id: &str) -> ConnectOptions {
        ConnectOptions::new(CLUSTER, client_id)
            .url(self.url())
            .connect_timeout(PATIENCE)
            .ack_timeout(PATIENCE)
    }
}

/// How the scripted server behaves.
#[derive(Clone, Debug)]
pub struct Script {
    pub connect: messages::ConnectResponse,
    /// What pings are answered with; `None` leaves them unanswered.
    pub pong: Option<&'static str>,
    /// What publishes are answered with; `None` leaves them unanswered.
    pub publish: Option<&'static str>,
    /// What the next subscription requests are answered with; after them, with success.
    pub subscribe: VecDeque<Subscribed>,
}

#[derive(Clone, Debug)]
pub enum Subscribed {
    Refused(&'static str),
    /// Success, with this inbox for acknowledgements.
    AckInbox(&'static str),
    /// No answer.
    Silence,
    /// Success, when the test says so.
    Later(Arc<tokio::sync::Notify>),
}

impl Script {
    /// A server of today.
    pub fn of_today() -> Self {
        let subject = |kind: &str| format!("_STAN.{kind}.{CLUSTER}").into();
        Self {
            connect: messages::ConnectResponse {
                pub_prefix: subject("pub"),
                sub_requests: subject("sub"),
                unsub_requests: subject("unsub"),
                close_requests: subject("close"),
                sub_close_requests: subject("subclose"),
                ping_requests: format!("_STAN.discover.{CLUSTER}.pings").into(),
                ping_interval: 1,
                ping_max_out: 3,
                protocol: 1,
                ..Default::default()
            },
            pong: Some(""),
            publish: Some(""),
            subscribe: VecDeque::new(),
        }
    }

    /// A server before pings and connection IDs, and before subscriptions could be closed.
    pub fn of_old() -> Self {
        let mut script = Self::of_today();
        script.connect.sub_close_requests.clear();
        script.connect.ping_requests.clear();
        script.connect.ping_interval = 0;
        script.connect.ping_max_out = 0;
        script.connect.protocol = 0;
        script
    }
}

/// What clients have asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Connect(messages::ConnectRequest),
    Ping(messages::Ping),
    Publish(messages::PubMsg),
    Subscribe(messages::SubscriptionRequest),
    Ack(messages::Ack),
    Unsubscribe(messages::UnsubscribeRequest),
    CloseSubscription(messages::UnsubscribeRequest),
    Close(messages::CloseRequest),
}

/// The scripted server. Dropping it leaves nobody who answers, on a NATS server that goes on.
pub struct Scripted {
    nats: async_nats::Client,
    script: Arc<Mutex<Script>>,
    asked: mpsc::UnboundedReceiver<Asked>,
    serving: tokio::task::JoinHandle<()>,
    now_ns: AtomicU64,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Scripted {
    pub async fn start(nats: &Nats, script: Script) -> Scripted {
        let connection = async_nats::connect(nats.url()).await.expect("the NATS server answers");
        let listening = connection.subscribe("_STAN.*.scripted.>").await.unwrap();
        let exact = connection.subscribe("_STAN.*.scripted").await.unwrap();
        connection.flush().await.unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let script = Arc::new(Mutex::new(script));
        let answering = Answering {
            nats: connection.clone(),
            script: Arc::clone(&script),
            tell,
        };
        let mut requests = futures_util::stream::select(listening, exact);
        let serving = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                answering.answer(request).await;
            }
        });
        Scripted {
            nats: connection,
            script,
            asked,
            serving,
            now_ns: AtomicU64::new(1_700_000_000_000_000_000),
        }
    }

    /// Changes how it behaves from now on.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Nobody answers any more, and the NATS server knows it.
    pub async fn leave(self) {
        self.serving.abort();
        self.nats.drain().await.unwrap();
        while self.nats.flush().await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// The next thing asked that `wanted` picks out; others are passed over.
    pub async fn next<Picked>(&mut self, wanted: impl Fn(Asked) -> Option<Picked>) -> Picked {
        let picking = async {
            loop {
                let asked = self.asked.recv().await.expect("the server lives");
                if let Some(picked) = wanted(asked) {
                    return picked;
                }
            }
        };
        tokio::time::timeout(PATIENCE, picking)
            .await
            .expect("it is asked in time")
    }

    pub async fn next_subscribe(&mut self) -> messages::SubscriptionRequest {
        self.next(|asked| match asked {
            Asked::Subscribe(ask) => Some(ask),
            _ => None,
        })
        .await
    }

    /// The sequence of the next acknowledgement.
    pub async fn next_ack(&mut self) -> u64 {
        self.next(|asked| match asked {
            Asked::Ack(ack) => Some(ack.sequence),
            _ => None,
        })
        .await
    }

    /// Everything asked so far, without what is still to come.
    pub fn asked_so_far(&mut self) -> Vec<Asked> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }

    /// A time after all those given before, for messages.
    pub fn later(&self) -> i64 {
        let now = self.now_ns.fetch_add(1_000_000, Ordering::Relaxed);
        i64::try_from(now).unwrap()
    }

    /// Delivers a message to whoever asked for it.
    pub async fn deliver(&self, to: &messages::SubscriptionRequest, sequence: u64, timestamp_ns: i64) {
        self.deliver_again(to, sequence, timestamp_ns, 0).await;
    }

    /// Delivers a message for the second, third, ... time.
    pub async fn deliver_again(
        &self,
        to: &messages::SubscriptionRequest,
        sequence: u64,
        timestamp_ns: i64,
        count: u32,
    ) {
        let message = messages::MsgProto {
            sequence,
            subject: to.subject.clone(),
            data: sequence.to_string().into(),
            timestamp: timestamp_ns,
            redelivered: count > 0,
            redelivery_count: count,
            ..Default::default()
        };
        self.deliver_bytes(to, message.encode_to_vec()).await;
    }

    pub async fn deliver_bytes(&self, to: &messages::SubscriptionRequest, bytes: Vec<u8>) {
        let inbox = String::from_utf8(to.inbox.to_vec()).unwrap();
        self.nats.publish(inbox, bytes.into()).await.unwrap();
        self.nats.flush().await.unwrap();
    }

    /// Sends a heartbeat and waits for its answer.
    pub async fn heartbeat(&self, to: &messages::ConnectRequest) -> bool {
        let inbox = String::from_utf8(to.heartbeat_inbox.to_vec()).unwrap();
        self.nats.request(inbox, "".into()).await.is_ok()
    }
}

struct Answering {
    nats: async_nats::Client,
    script: Arc<Mutex<Script>>,
    tell: mpsc::UnboundedSender<Asked>,
}

impl Answering {
    async fn answer(&self, request: async_nats::Message) {
        let script = self.script.lock().unwrap().clone();
        let reply = request.reply.clone();
        let payload = request.payload;
        let kind = request.subject.split('.').nth(1).unwrap_or_default().to_owned();
        let told = |asked: Asked| drop(self.tell.send(asked));
        let answer = match kind.as_str() {
            "discover" if request.subject.ends_with(".pings") => {
                told(Asked::Ping(decode(payload)));
                script
                    .pong
                    .map(|error| encode(&messages::PingResponse { error: error.into() }))
            }
            "discover" => {
                told(Asked::Connect(decode(payload)));
                Some(encode(&script.connect))
            }
            "pub" => {
                let publish: messages::PubMsg = decode(payload);
                let guid = publish.guid.clone();
                told(Asked::Publish(publish));
                let ack = |error: &'static str| messages::PubAck {
                    guid,
                    error: error.into(),
                };
                script.publish.map(|error| encode(&ack(error)))
            }
            "sub" => return self.subscribe(decode(payload), reply).await,
            "unsub" => {
                told(Asked::Unsubscribe(decode(payload)));
                Some(Vec::new())
            }
            "subclose" => {
                told(Asked::CloseSubscription(decode(payload)));
                Some(Vec::new())
            }
            "close" => {
                told(Asked::Close(decode(payload)));
                Some(Vec::new())
            }
            other => panic!("nobody asks for {other}"),
        };
        self.reply(reply, answer).await;
    }

    async fn reply(&self, reply: Option<async_nats::Subject>, answer: Option<Vec<u8>>) {
        if let (Some(reply), Some(answer)) = (reply, answer) {
            self.nats.publish(reply, answer.into()).await.unwrap();
            self.nats.flush().await.unwrap();
        }
    }

    async fn subscribe(&self, ask: messages::SubscriptionRequest, reply: Option<async_nats::Subject>) {
        let next = self.script.lock().unwrap().subscribe.pop_front();
        let (ack_inbox, error) = match &next {
            Some(Subscribed::Silence) => {
                drop(self.tell.send(Asked::Subscribe(ask)));
                return;
            }
            Some(Subscribed::Refused(words)) => ("", *words),
            Some(Subscribed::AckInbox(inbox)) => (*inbox, ""),
            Some(Subscribed::Later(_)) | None => ("", ""),
        };
        let mut answer = messages::SubscriptionResponse {
            ack_inbox: ack_inbox.into(),
            error: error.into(),
        };
        if !matches!(next, Some(Subscribed::Refused(_) | Subscribed::AckInbox(_))) {
            let inbox = self.nats.new_inbox();
            answer.ack_inbox = inbox.clone().into();
            let mut acks = self.nats.subscribe(inbox).await.unwrap();
            let tell = self.tell.clone();
            tokio::spawn(async move {
                while let Some(ack) = acks.next().await {
                    let _ = tell.send(Asked::Ack(decode(ack.payload)));
                }
            });
        }
        drop(self.tell.send(Asked::Subscribe(ask)));
        if let Some(Subscribed::Later(now)) = next {
            let (nats, answer) = (self.nats.clone(), encode(&answer));
            tokio::spawn(async move {
                now.notified().await;
                nats.publish(reply.expect("a request"), answer.into()).await.unwrap();
                nats.flush().await.unwrap();
            });
            return;
        }
        self.reply(reply, Some(encode(&answer))).await;
    }
}

fn encode(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

fn decode<Ask: Message + Default>(payload: bytes::Bytes) -> Ask {
    Ask::decode(payload).expect("clients speak the protocol")
}
