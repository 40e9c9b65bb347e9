//! The words of the bus: what comes, from whom, and what became of what was sent.

use std::ops::Range;

pub use seaway_broker::BatchMessage as Message;
use seaway_broker::ConnectionId;

/// Who published: unique within the process, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin(pub u64);

/// A receiver whose queue was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination(pub u64);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Sent {
    /// Subscriptions that took it; of very many, which take it later, one is counted.
    pub receivers: u32,
    /// One of them has little room left. The message is queued all the same; stop, flush, and wait for exactly one
    /// [`Listener::drained`] with this destination.
    pub congested: Option<Destination>,
}

/// Why something was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// A receiver without room, or the sender itself. Flush, and wait for exactly one [`Listener::drained`] with it.
    Full(Destination),
    /// The bus carries nothing now; [`Listener::carries`] tells when it does again.
    Down,
}

/// What keeps everything that was said from being as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsettled {
    /// A subscription is refused; in words that name the subject.
    SubscriptionRefused(String),
    /// Nothing but messages is refused; in words.
    PublishRefused(String),
    /// Whoever carries messages does not answer; in words.
    Silent(String),
}

impl std::fmt::Display for Unsettled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Unsettled::SubscriptionRefused(words) | Unsettled::PublishRefused(words) | Unsettled::Silent(words)) =
            self;
        formatter.write_str(words)
    }
}

impl std::error::Error for Unsettled {}

/// A message with this at the front of its headers says that nobody listens to what was asked (core specification §1.9).
const NO_RESPONDERS: &[u8] = b"NATS/1.0 503";

/// Whether a message is the bus's own answer to a question: that nobody listens.
pub fn is_no_responders(message: &Message<'_>) -> bool {
    message.payload.is_empty() && message.headers.starts_with(NO_RESPONDERS)
}

/// The subject cannot be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSubject(pub String);

impl std::fmt::Display for InvalidSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "subscribe to {:?}: not a valid subject", self.0)
    }
}

impl std::error::Error for InvalidSubject {}

/// Takes what an attachment subscribed to. Calls come from any thread, some of them from inside the attachment's own sender; they
/// only take note and return: they never wait, and never call back.
pub trait Listener: Send + Sync + 'static {
    /// What one read of one connection brought, in its order.
    fn deliver(&self, batch: Batch);

    /// A destination that was reported as congested has drained, or is gone.
    fn drained(&self, destination: Destination) {
        let _ = destination;
    }

    /// Somebody new listens to something that is watched; see [`Attachment::watch_interest`](super::Attachment::watch_interest).
    fn interest_appeared(&self) {}

    /// From now on the bus carries messages, or does not; before the first call it does. Said again when it carries them on other
    /// ways than before: for a moment some receivers are missing.
    fn carries(&self, is_up: bool) {
        let _ = is_up;
    }

    /// Everything has come that [`Attachment::has_heard_until`](super::Attachment::has_heard_until) was asked for last.
    fn heard_all(&self) {}

    /// The answer to a message that cannot be taken because the gate is closed and whoever sent it cannot be held back; `None` when it has
    /// to go without one.
    fn refusal(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        let _ = message;
        None
    }
}

/// Messages of one origin, in their order.
pub struct Batch(pub(super) seaway_broker::Batch);

impl Batch {
    /// An empty one, to be filled by [`Batch::with_message`].
    pub fn from_origin(origin: Origin) -> Batch {
        Batch(seaway_broker::Batch::from_origin(ConnectionId(origin.0)))
    }

    /// Adds a message without headers.
    #[must_use]
    pub fn with_message(self, tag: u64, subject: &[u8], reply: Option<&[u8]>, payload: &[u8]) -> Batch {
        Batch(self.0.with_message(tag, subject, reply, payload))
    }

    /// Adds a message whose body begins with so many bytes of headers.
    #[must_use]
    pub fn with_headers(
        self,
        tag: u64,
        subject: &[u8],
        reply: Option<&[u8]>,
        header_size: usize,
        body: &[u8],
    ) -> Batch {
        Batch(self.0.with_headers(tag, subject, reply, header_size, body))
    }

    /// Who published.
    pub fn origin(&self) -> Origin {
        Origin(self.0.origin.0)
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of subjects, replies, headers and payloads.
    pub fn data_len(&self) -> usize {
        self.0.data_len()
    }

    /// The message at `index`.
    pub fn get(&self, index: usize) -> Option<Message<'_>> {
        self.0.get(index)
    }

    /// Where among the bytes the payload of the message at `index` lies: two messages with the same place are one.
    pub fn payload_range(&self, index: usize) -> Option<Range<usize>> {
        self.0.payload_range(index)
    }

    /// All messages.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.0.iter()
    }
}
