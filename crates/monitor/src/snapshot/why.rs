//! Why a subscription is, or is not, receiving.

use std::time::Duration;

/// What `/streaming/why` is asked. What is `None` selects nothing away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhyQuestion {
    /// Channel name.
    pub channel: Vec<u8>,
    /// Durable name.
    pub durable: Option<Vec<u8>>,
    /// Queue group, with or without the durable name before it.
    pub queue: Option<Vec<u8>>,
    /// Client ID of the (last) owner.
    pub client: Option<Vec<u8>>,
    /// Subscriptions to skip.
    pub offset: usize,
    /// Subscriptions to tell of.
    pub limit: usize,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Why {
    /// The channel as asked for.
    pub channel: String,
    /// Whether what was asked for exists.
    pub found: bool,
    /// The gravest verdict; a stable code.
    pub verdict: &'static str,
    /// What it means.
    pub words: String,
    /// What to do.
    pub advice: String,
    /// Numbers behind the words, by stable names.
    pub facts: Vec<(&'static str, Fact)>,
    /// Subscriptions that match.
    pub total: usize,
    /// The part that was asked for.
    pub subscriptions: Vec<WhySubscription>,
}

/// The answer for one subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhySubscription {
    /// Client ID of the (last) owner.
    pub client_id: String,
    /// Delivery inbox.
    pub inbox: String,
    /// Durable name of a plain durable, else empty.
    pub durable_name: String,
    /// Queue group, else empty.
    pub queue_name: String,
    /// The verdict to look at first; a stable code.
    pub verdict: &'static str,
    /// The others that apply.
    pub also: Vec<&'static str>,
    /// What the verdict means.
    pub words: String,
    /// What to do.
    pub advice: String,
    /// Numbers behind the words, by stable names.
    pub facts: Vec<(&'static str, Fact)>,
}

/// Value of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A count or a sequence.
    Number(u64),
    /// A text.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A moment, nanoseconds since the Unix epoch.
    Time(i64),
    /// A span of time, shown in seconds.
    Span(Duration),
    /// Names.
    Names(Vec<String>),
    /// Unacknowledged messages.
    Sequences(Vec<SequenceRange>),
}

/// Neighbouring unacknowledged messages with one deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceRange {
    /// First sequence.
    pub first: u64,
    /// Last sequence.
    pub last: u64,
    /// How often they were sent again.
    pub redeliveries: u32,
    /// When they are due to be sent again, nanoseconds since the Unix epoch.
    pub due_ns: Option<i64>,
}
