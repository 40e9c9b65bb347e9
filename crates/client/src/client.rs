//! The connection that users hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use seaway_stan_protocol::{Message as _, messages};
use tokio::sync::watch;

use crate::acks;
use crate::attention::Attention;
use crate::connection::Inner;
use crate::error::{CloseError, ConnectError, Loss, PublishError};
use crate::keeper;
use crate::options::ConnectOptions;
use crate::publish::{Outbox, PendingPublish};
use crate::session::{Listening, Session, Task};
use crate::status::Status;
use crate::subscribe::Subscribe;
use crate::wanted::check_channel;
use crate::wire::listen;

/// A connection to a streaming server; clones share it.
///
/// A broken NATS connection is made anew below it, and the server remembers the client meanwhile. When the server does not
/// answer pings, or has forgotten the client, publishes that await their acknowledgement fail with
/// [`PublishError::ConnectionLost`], and, unless [`ConnectOptions::reconnect`] says otherwise, the client registers again under
/// its ID and makes its subscriptions anew:
///
/// - a durable goes on at its place;
/// - a plain subscription goes on at the first message that it has not acknowledged, and does not show what it has;
/// - a group without durable name goes on as the server has it, or, if all its members were lost, where the first of them was;
/// - in a channel that begins anew, because a server without disk was restarted, everything is new: durables and plain
///   subscriptions receive it from its first message, or as much of it as they once asked for.
///
/// [`Client::status`] tells how it stands. A subscription that the server refuses to make anew ends, and
/// [says why](crate::Subscription::failure).
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let Some(server) = server::start() else { return Ok(()) };
/// use seaway_client::{ConnectOptions, Status};
///
/// # let client = ConnectOptions::new("test-cluster", "billing").url(server.url()).connect().await?;
/// assert_eq!(*client.status().borrow(), Status::Connected);
///
/// // A hundred messages on their way together.
/// for number in 1..=100 {
///     let publish = client.publish_async("orders", format!("order {number}")).await?;
///     drop(publish); // its failure would be told by the flush
/// }
/// client.flush().await?;
/// client.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// When the last clone and the last subscription are dropped, the server is told in the background; [`Client::close`] waits for
/// it.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("cluster_id", &self.inner.options.cluster_id)
            .field("client_id", &self.inner.options.client_id)
            .finish_non_exhaustive()
    }
}

/// The first and the longest pause between two attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl ConnectOptions {
    /// Connects, for as long as [`retry_connect`](ConnectOptions::retry_connect) allows.
    ///
    /// # Errors
    /// When the NATS server cannot be reached, no streaming server answers, or it refuses; see [`ConnectError`].
    pub async fn connect(self) -> Result<Client, ConnectError> {
        self.check()?;
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            match self.clone().connect_once().await {
                Err(error) if error.may_pass() && begun.elapsed() + pause < self.connect_retry => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                outcome => return outcome,
            }
        }
    }

    async fn connect_once(self) -> Result<Client, ConnectError> {
        let attention = Arc::new(Attention::default());
        let nats = match self.existing_nats() {
            Some(nats) => nats.clone(),
            None => self.connect_nats(Arc::clone(&attention)).await?,
        };
        Client::register(self, nats, attention).await
    }
}

impl Client {
    /// Registers over a NATS connection; `attention` is told when that breaks and when it was made anew.
    async fn register(
        options: ConnectOptions,
        nats: async_nats::Client,
        attention: Arc<Attention>,
    ) -> Result<Self, ConnectError> {
        let outbox = Outbox::new(
            options.publishes_in_flight_max,
            options.ack_timeout,
            Arc::clone(&attention),
        );
        let outbox = Arc::new(outbox);
        let acknowledgements = listen(&nats, &outbox.subject, options.connect_timeout).await;
        let acknowledgements = acknowledgements.map_err(|error| error.on_connect(&options.cluster_id))?;
        let (session, Listening { heartbeats, pongs }) = Session::open(&nats, &options).await?;
        let (acks, ack_sender) = acks::queue();
        let registration = (session, heartbeats);
        let inner = Inner::new(
            options,
            nats.clone(),
            Arc::clone(&outbox),
            acks,
            attention,
            registration,
        );
        let inner = Arc::new(inner);
        inner.keep_tasks([
            Task::spawn(outbox.receive(acknowledgements)),
            Task::spawn(ack_sender.run(nats)),
            Task::spawn(keeper::keep(Arc::downgrade(&inner), pongs)),
        ]);
        Ok(Self { inner })
    }

    /// The client's ID.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.inner.options.client_id
    }

    /// Stores a message in a channel; returns when the server has acknowledged it. Dropping the future does not take the
    /// message back.
    ///
    /// # Errors
    /// See [`PublishError`]: what is neither refused nor unsent may or may not be stored.
    pub async fn publish(&self, channel: &str, payload: impl Into<Bytes>) -> Result<(), PublishError> {
        self.publish_async(channel, payload).await?.await
    }

    /// Sends a message to a channel; returns once it is on its way, with a future of its acknowledgement. Waits while as many
    /// publishes as [may be in flight](ConnectOptions::max_publishes_in_flight) are, and while the connection is being made
    /// anew. When this future is dropped before, nothing is sent.
    ///
    /// # Errors
    /// [`PublishError::NotSent`] when the name is impossible, the message is larger than the NATS server takes, the connection has ended, or the NATS connection takes nothing
    /// for as long as an acknowledgement may take.
    pub async fn publish_async(
        &self,
        channel: &str,
        payload: impl Into<Bytes>,
    ) -> Result<PendingPublish, PublishError> {
        let not_sent = |words: &str| PublishError::NotSent(words.to_owned());
        let payload = payload.into();
        check_channel(channel).map_err(not_sent)?;
        let inner = &self.inner;
        let room = inner.outbox.admit().await?;
        let timeout = inner.options.ack_timeout;
        let session = match tokio::time::timeout(timeout, inner.connected()).await {
            Ok(Ok(session)) => session,
            Ok(Err(loss)) => return Err(not_sent(&loss.to_string())),
            Err(_) => return Err(not_sent(&inner.interruption())),
        };
        if inner.outbox.is_stopped() {
            return Err(not_sent(&Loss::Closed.to_string()));
        }
        let (publish, unsent) = inner.outbox.expect(room);
        let message = messages::PubMsg {
            client_id: inner.options.client_id.clone().into(),
            guid: publish.guid().to_owned().into(),
            subject: channel.to_owned().into(),
            data: payload,
            conn_id: session.connection_id.clone(),
            ..messages::PubMsg::default()
        };
        let subject = format!("{}.{channel}", session.publish_prefix);
        let bytes = message.encode_to_vec().into();
        let sending = inner
            .nats
            .publish_with_reply(subject, inner.outbox.subject.clone(), bytes);
        match tokio::time::timeout(timeout, sending).await {
            Ok(Ok(())) => unsent.sent(),
            Ok(Err(error)) => return Err(not_sent(&error.to_string())),
            Err(_) => return Err(not_sent("the NATS connection takes nothing")),
        }
        Ok(publish)
    }

    /// Waits until every publish sent before is acknowledged or has failed.
    ///
    /// # Errors
    /// The first failure since the last flush of a publish whose [`PendingPublish`] was dropped.
    pub async fn flush(&self) -> Result<(), PublishError> {
        self.inner.outbox.flush().await
    }

    /// Subscribes to a channel: choose what to receive, then await.
    pub fn subscribe(&self, channel: impl Into<String>) -> Subscribe {
        Subscribe::new(Arc::clone(&self.inner), channel.into())
    }

    /// How the connection is, and how it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.subscribe()
    }

    /// Takes no more publishes, waits for those and for acknowledgements on their way, then closes the connection;
    /// subscriptions end, durables keep their place. What a handler is still at work on is delivered again: end its
    /// subscription before, with [`Subscription::for_each_until`](crate::Subscription::for_each_until). Closing what has ended
    /// does nothing.
    ///
    /// # Errors
    /// When the server refuses or does not answer, or a publish failed that nobody awaited; the connection is closed in this
    /// process all the same.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.inner.close().await
    }
}
