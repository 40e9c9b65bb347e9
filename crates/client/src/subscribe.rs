//! How to subscribe, and how a subscription comes about.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::connection::{Inner, Leaving};
use crate::error::SubscribeError;
use crate::subscription::Subscription;
use crate::wanted::{Start, Wanted, check_channel};

/// A subscription about to be made; awaiting it subscribes.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let Some(server) = server::start() else { return Ok(()) };
/// use std::time::Duration;
///
/// use seaway_client::{ConnectOptions, Start};
///
/// # let client = ConnectOptions::new("test-cluster", "billing").url(server.url()).connect().await?;
/// client.publish("orders", "tea").await?;
///
/// let mut orders = client
///     .subscribe("orders")
///     .start(Start::Ago(Duration::from_secs(3600)))
///     .durable_name("invoices")
///     .manual_acks()
///     .ack_wait(Duration::from_secs(60))
///     .max_in_flight(25)
///     .await?;
/// if let Some(order) = orders.next().await {
///     println!("{}: {} bytes", order.sequence(), order.payload().len());
///     order.ack()?;
/// }
/// orders.close().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Subscribe {
    inner: Arc<Inner>,
    wanted: Wanted,
}

impl Subscribe {
    pub(crate) fn new(inner: Arc<Inner>, channel: String) -> Self {
        Self {
            inner,
            wanted: Wanted {
                channel,
                start: Start::default(),
                durable_name: String::new(),
                queue_group: String::new(),
                manual_acks: false,
                ack_wait: Duration::from_secs(30),
                max_in_flight: 1024,
                asked: Instant::now(),
            },
        }
    }

    /// Where to begin. Default: [`Start::NewOnly`].
    pub fn start(mut self, start: Start) -> Self {
        self.wanted.start = start;
        self
    }

    /// Keep the place under this name when the subscription is closed or the client goes.
    pub fn durable_name(mut self, name: impl Into<String>) -> Self {
        self.wanted.durable_name = name.into();
        self
    }

    /// Share the channel's messages with all subscriptions of this group: each message goes to one of them.
    pub fn queue_group(mut self, name: impl Into<String>) -> Self {
        self.wanted.queue_group = name.into();
        self
    }

    /// Messages are acknowledged by [`Message::ack`](crate::Message::ack) only.
    pub fn manual_acks(mut self) -> Self {
        self.wanted.manual_acks = true;
        self
    }

    /// How long the server waits for an acknowledgement before it delivers again, in whole seconds of at least one.
    /// Default: 30 s.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.wanted.ack_wait = wait;
        self
    }

    /// How many messages may be delivered and not acknowledged, at least 1. Default: 1024.
    pub fn max_in_flight(mut self, messages: u32) -> Self {
        self.wanted.max_in_flight = messages;
        self
    }

    fn check(&self) -> Result<(), SubscribeError> {
        let bad = |words: &str| Err(SubscribeError::InvalidOption(words.to_owned()));
        let Wanted {
            channel,
            durable_name,
            queue_group,
            ack_wait,
            max_in_flight,
            ..
        } = &self.wanted;
        if let Err(words) = check_channel(channel) {
            return bad(words);
        }
        if !queue_group.is_empty() && durable_name.contains(':') {
            return bad("the durable name of a queue group must not contain ':'");
        }
        if *ack_wait < Duration::from_secs(1) || i32::try_from(ack_wait.as_secs()).is_err() {
            return bad("the ack wait must be at least one second");
        }
        if *max_in_flight == 0 || i32::try_from(*max_in_flight).is_err() {
            return bad("at least one message must be allowed in flight");
        }
        Ok(())
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, SubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            self.check()?;
            self.wanted.asked = Instant::now();
            open(self.inner, self.wanted).await
        })
    }
}

impl std::fmt::Debug for Subscribe {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Subscribe")
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

/// A subscription that is being made. When this is dropped before it is there, it is one that is being ended.
struct Making {
    inner: Arc<Inner>,
    given_up: Arc<OnceLock<Leaving>>,
    is_made: bool,
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.is_made {
            // It is set here only.
            let _ = self.given_up.set(self.inner.leaving());
        }
    }
}

/// Makes a subscription. When the future is dropped, it is made and closed in the background.
async fn open(inner: Arc<Inner>, wanted: Wanted) -> Result<Subscription, SubscribeError> {
    if !wanted.durable_name.is_empty() {
        // The durable may be one that this client is about to leave.
        inner.wait_for_leaving().await;
    }
    let given_up = Arc::new(OnceLock::new());
    let mut making = Making {
        inner: Arc::clone(&inner),
        given_up: Arc::clone(&given_up),
        is_made: false,
    };
    let made = tokio::spawn(async move {
        let made = make(inner, wanted).await;
        // A subscription that nobody waits for any more closes itself when the task ends.
        (made, given_up)
    });
    let made = made.await;
    making.is_made = true;
    made.map_or(Err(SubscribeError::Closed), |(made, _)| made)
}

async fn make(inner: Arc<Inner>, wanted: Wanted) -> Result<Subscription, SubscribeError> {
    let shared = inner.new_subscription(wanted);
    let mut session = inner.connected_in_time().await?;
    loop {
        match inner.serve(&session, &shared).await {
            Ok(()) => {}
            Err(SubscribeError::Unregistered) if inner.options.reconnect => {
                inner.outbox.disown();
                session = inner.session_after(&session).await?;
                continue;
            }
            Err(failure) => {
                inner.drop_subscription(&shared, None);
                return Err(failure);
            }
        }
        inner.keep_subscription(&shared);
        let now = inner.connected_in_time().await;
        if now.is_err() {
            inner.drop_subscription(&shared, None);
        }
        let now = now?;
        if shared.is_served_by(&now) {
            return Ok(Subscription::new(shared, inner));
        }
        // The connection was made anew meanwhile, perhaps without this subscription.
        session = now;
    }
}
