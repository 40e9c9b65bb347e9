//! How to subscribe.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

use seaway_stan_protocol::messages::{StartPosition, SubscriptionRequest};
use seaway_stan_protocol::validate::is_channel_name;

use crate::client::Client;
use crate::delivery::From;
use crate::error::SubscribeError;
use crate::subscription::Subscription;
use crate::wire::is_subject;

/// Where a subscription begins. A durable that exists, and a queue group that has members, go on where they are instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With what is published from now on.
    #[default]
    NewOnly,
    /// With the last message stored, and what follows it.
    LastReceived,
    /// With the first message that is still there.
    AllAvailable,
    /// With this sequence, or the first one after it that is there.
    Sequence(u64),
    /// With the first message stored at this time or later, by the client's clock.
    Time(SystemTime),
    /// With the first message stored not longer ago than this.
    Ago(Duration),
}

/// Everything about a subscription.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) channel: String,
    pub(crate) start: Start,
    pub(crate) durable_name: String,
    pub(crate) queue_group: String,
    pub(crate) manual_acks: bool,
    pub(crate) ack_wait: Duration,
    pub(crate) max_in_flight: u32,
    /// When it was first asked for: a subscription that is made anew misses nothing since then.
    pub(crate) asked: Instant,
}

impl Wanted {
    /// The request to the server.
    pub(crate) fn request(&self, client_id: &str, inbox: &str, from: From) -> SubscriptionRequest {
        let start = match (from, self.start) {
            (From::Asked, start) => start,
            (From::Sequence(sequence), _) => Start::Sequence(sequence),
            (From::SinceAsked, Start::NewOnly | Start::LastReceived) => Start::Ago(self.asked.elapsed()),
            (From::SinceAsked, Start::Ago(delta)) => Start::Ago(delta.saturating_add(self.asked.elapsed())),
            (From::SinceAsked, start) => start,
        };
        let (position, start_sequence, start_time_delta) = match start {
            Start::NewOnly => (StartPosition::NewOnly, 0, 0),
            Start::LastReceived => (StartPosition::LastReceived, 0, 0),
            Start::AllAvailable => (StartPosition::First, 0, 0),
            Start::Sequence(sequence) => (StartPosition::SequenceStart, sequence, 0),
            Start::Time(time) => (StartPosition::TimeDeltaStart, 0, nanoseconds_since(time)),
            Start::Ago(delta) => (
                StartPosition::TimeDeltaStart,
                0,
                i64::try_from(delta.as_nanos()).unwrap_or(i64::MAX),
            ),
        };
        SubscriptionRequest {
            client_id: client_id.to_owned().into(),
            subject: self.channel.clone().into(),
            q_group: self.queue_group.clone().into(),
            inbox: inbox.to_owned().into(),
            max_in_flight: i32::try_from(self.max_in_flight).unwrap_or(i32::MAX),
            ack_wait_in_secs: i32::try_from(self.ack_wait.as_secs()).unwrap_or(i32::MAX),
            durable_name: self.durable_name.clone().into(),
            start_position: position.into(),
            start_sequence,
            start_time_delta,
        }
    }
}

/// Refuses names that no channel can have: the server's rules, and what NATS cannot carry in a subject.
pub(crate) fn check_channel(name: &str) -> Result<(), &'static str> {
    match is_channel_name(name.as_bytes()) && is_subject(name) {
        true => Ok(()),
        false => Err("the channel name is empty, or has an empty token, a wildcard, a slash or a blank"),
    }
}

/// How long ago a time was; negative when it is yet to come.
fn nanoseconds_since(time: SystemTime) -> i64 {
    let clamp = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(time) {
        Ok(since) => clamp(since),
        Err(ahead) => -clamp(ahead.duration()),
    }
}

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
#[derive(Debug)]
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Subscribe {
    client: Client,
    wanted: Wanted,
}

impl Subscribe {
    pub(crate) fn new(client: Client, channel: String) -> Self {
        Self {
            client,
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
            self.client.inner.open_subscription(self.wanted).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(start: Start) -> Wanted {
        Wanted {
            channel: "orders".to_owned(),
            start,
            durable_name: String::new(),
            queue_group: String::new(),
            manual_acks: false,
            ack_wait: Duration::from_secs(30),
            max_in_flight: 7,
            asked: Instant::now(),
        }
    }

    fn position(start: Start, from: From) -> (i32, u64, i64) {
        let request = wanted(start).request("me", "inbox", from);
        (request.start_position, request.start_sequence, request.start_time_delta)
    }

    #[test]
    fn start_positions_of_section_5_1() {
        assert_eq!(position(Start::NewOnly, From::Asked), (0, 0, 0));
        assert_eq!(position(Start::LastReceived, From::Asked), (1, 0, 0));
        assert_eq!(position(Start::Ago(Duration::from_nanos(9)), From::Asked), (2, 0, 9));
        assert_eq!(position(Start::Ago(Duration::MAX), From::Asked), (2, 0, i64::MAX));
        assert_eq!(position(Start::Sequence(5), From::Asked), (3, 5, 0));
        assert_eq!(position(Start::AllAvailable, From::Asked), (4, 0, 0));
        let hour = Duration::from_secs(3600);
        let (kind, _, past) = position(Start::Time(SystemTime::now() - hour), From::Asked);
        assert!(kind == 2 && past >= 3_600_000_000_000, "{past}");
        let (_, _, future) = position(Start::Time(SystemTime::now() + hour), From::Asked);
        assert!(future < -3_500_000_000_000, "{future}");
    }

    #[test]
    fn a_subscription_made_anew_misses_nothing() {
        assert_eq!(position(Start::NewOnly, From::Sequence(42)), (3, 42, 0));
        assert_eq!(position(Start::AllAvailable, From::SinceAsked), (4, 0, 0));
        assert_eq!(position(Start::Sequence(7), From::SinceAsked), (3, 7, 0));
        for start in [Start::NewOnly, Start::LastReceived] {
            let (kind, _, delta) = position(start, From::SinceAsked);
            assert!(kind == 2 && delta > 0, "{kind} {delta}");
        }
        let (kind, _, delta) = position(Start::Ago(Duration::from_nanos(9)), From::SinceAsked);
        assert!(kind == 2 && delta > 9, "{kind} {delta}");
    }
}
