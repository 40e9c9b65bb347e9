//! One registration at the streaming server: the handshake, and the answers to the server's heartbeats.

use bytes::Bytes;
use futures_util::StreamExt as _;
use seaway_stan_protocol::{errors, messages};
use tokio::task::JoinHandle;

use crate::error::ConnectError;
use crate::options::ConnectOptions;
use crate::wire::{Unanswered, request, text, unique};

/// Version of the protocol with connection IDs and pings.
const PROTOCOL: i32 = 1;

/// What the server told about itself when it took the client in.
pub(crate) struct Session {
    /// Proves to the server that a publish or ping is from this very connection.
    pub(crate) connection_id: Bytes,
    pub(crate) publish_prefix: String,
    pub(crate) subscribe: String,
    pub(crate) unsubscribe: String,
    pub(crate) subscription_close: String,
    pub(crate) close: String,
    /// `None` when the server takes no pings.
    pub(crate) pings: Option<String>,
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
    /// Registers with the server. The task answers its heartbeats for as long as it lives.
    pub(crate) async fn open(
        nats: &async_nats::Client,
        options: &ConnectOptions,
    ) -> Result<(Self, Task), ConnectError> {
        let heartbeat_inbox = nats.new_inbox();
        let heartbeats = nats
            .subscribe(heartbeat_inbox.clone())
            .await
            .map_err(|error| ConnectError::Nats(error.to_string()))?;
        let answering = Task::spawn(answer_heartbeats(nats.clone(), heartbeats));
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
        let answer: messages::ConnectResponse =
            request(nats, &subject, &ask, options.connect_timeout)
                .await
                .map_err(|error| match error {
                    Unanswered::NoResponders | Unanswered::Timeout => ConnectError::NoServer {
                        cluster_id: options.cluster_id.clone(),
                    },
                    Unanswered::Nats(words) => ConnectError::Nats(words),
                })?;
        if !answer.error.is_empty() {
            return Err(refusal(&text(&answer.error), &options.client_id));
        }
        let takes_pings = answer.protocol >= PROTOCOL && answer.ping_interval != 0 && !answer.ping_requests.is_empty();
        let session = Self {
            connection_id,
            publish_prefix: text(&answer.pub_prefix),
            subscribe: text(&answer.sub_requests),
            unsubscribe: text(&answer.unsub_requests),
            subscription_close: text(&answer.sub_close_requests),
            close: text(&answer.close_requests),
            pings: takes_pings.then(|| text(&answer.ping_requests)),
        };
        Ok((session, answering))
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
