//! One registration at the streaming server: the handshake, and the answers to the server's heartbeats.

use bytes::Bytes;
use futures_util::StreamExt as _;
use seaway_stan_protocol::{errors, messages};
use tokio::task::JoinHandle;

use crate::error::ConnectError;
use crate::options::ConnectOptions;
use crate::wire::{Unanswered, listen, request, subject, text, unique};

/// Version of the protocol with connection IDs and pings.
const PROTOCOL: i32 = 1;

/// What the server told about itself when it took the client in.
#[derive(Debug)]
pub(crate) struct Session {
    /// Proves to the server that a publish or ping is from this very connection.
    pub(crate) connection_id: Bytes,
    pub(crate) publish_prefix: String,
    pub(crate) subscribe: String,
    pub(crate) unsubscribe: String,
    /// `None` when the server cannot close subscriptions, only forget them.
    pub(crate) subscription_close: Option<String>,
    pub(crate) close: String,
    /// `None` when the server takes no pings.
    pub(crate) pings: Option<Pings>,
}

/// Where pings go, and where their answers come.
#[derive(Debug)]
pub(crate) struct Pings {
    pub(crate) subject: String,
    pub(crate) inbox: String,
}

/// What listens to the server for as long as a session lasts.
pub(crate) struct Listening {
    /// Answers the server's heartbeats.
    pub(crate) heartbeats: Task,
    /// Answers to pings.
    pub(crate) pongs: async_nats::Subscriber,
}

/// A task that ends when this is dropped.
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Ends the task and waits until what it held is dropped.
    pub(crate) async fn stop(mut self) {
        self.0.abort();
        // It was cancelled, or had ended.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Registers with the server.
    pub(crate) async fn open(
        nats: &async_nats::Client,
        options: &ConnectOptions,
    ) -> Result<(Self, Listening), ConnectError> {
        let timeout = options.connect_timeout;
        let failed = |error: Unanswered| error.on_connect(&options.cluster_id);
        let heartbeat_inbox = nats.new_inbox();
        let heartbeats = listen(nats, &heartbeat_inbox, timeout).await.map_err(failed)?;
        let ping_inbox = nats.new_inbox();
        let pongs = listen(nats, &ping_inbox, timeout).await.map_err(failed)?;
        let listening = Listening {
            heartbeats: Task::spawn(answer_heartbeats(nats.clone(), heartbeats)),
            pongs,
        };
        let connection_id = Bytes::from(unique());
        let ask = messages::ConnectRequest {
            client_id: options.client_id.clone().into(),
            heartbeat_inbox: heartbeat_inbox.into(),
            protocol: PROTOCOL,
            conn_id: connection_id.clone(),
            ping_interval: i32::try_from(options.ping_interval.as_secs()).unwrap_or(i32::MAX),
            ping_max_out: i32::try_from(options.pings_unanswered_max).unwrap_or(i32::MAX),
        };
        let subject = format!("{}.{}", options.discover_prefix, options.cluster_id);
        let answer: messages::ConnectResponse = request(nats, &subject, &ask, timeout).await.map_err(failed)?;
        if !answer.error.is_empty() {
            return Err(refusal(&text(&answer.error), &options.client_id));
        }
        let session = Self::read(&answer, connection_id, ping_inbox)
            .map_err(|field| failed(Unanswered::Unreadable(format!("it has no valid {field}"))))?;
        Ok((session, listening))
    }

    /// What the answer says; the name of what it lacks.
    fn read(
        answer: &messages::ConnectResponse,
        connection_id: Bytes,
        ping_inbox: String,
    ) -> Result<Self, &'static str> {
        // Servers of the protocol before have no pings, and older ones no close of subscriptions.
        let takes_pings = answer.protocol >= PROTOCOL && answer.ping_interval != 0;
        let pings = subject(&answer.ping_requests).filter(|_| takes_pings);
        Ok(Self {
            connection_id,
            publish_prefix: subject(&answer.pub_prefix).ok_or("subject to publish to")?,
            subscribe: subject(&answer.sub_requests).ok_or("subject to subscribe at")?,
            unsubscribe: subject(&answer.unsub_requests).ok_or("subject to unsubscribe at")?,
            subscription_close: subject(&answer.sub_close_requests),
            close: subject(&answer.close_requests).ok_or("subject to close at")?,
            pings: pings.map(|subject| Pings {
                subject,
                inbox: ping_inbox,
            }),
        })
    }
}

fn refusal(words: &str, client_id: &str) -> ConnectError {
    let client_id = client_id.to_owned();
    match words {
        errors::CLIENT_ID_REGISTERED => ConnectError::ClientIdInUse { client_id },
        errors::INVALID_CLIENT_ID => ConnectError::InvalidClientId { client_id },
        other => ConnectError::Refused(other.to_owned()),
    }
}

async fn answer_heartbeats(nats: async_nats::Client, mut heartbeats: async_nats::Subscriber) {
    while let Some(heartbeat) = heartbeats.next().await {
        if let Some(reply) = heartbeat.reply {
            // A connection that has failed answers the next one.
            let _ = nats.publish(reply, Bytes::new()).await;
        }
    }
}
