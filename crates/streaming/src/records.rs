//! What the engine can ask of whatever keeps its state: the port to a store, and its words.

use crate::ids::{ChannelId, Ticket};

/// How many records had been appended to the store, counting this one. Grows by one with each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Whether somebody waits for a record to become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A reply depends on it: commit at once.
    Sync,
    /// Rides the next batch, or is written within 50 ms; losing it only costs a redelivery.
    Lazy,
}

/// What an append is for, so that a full disk refuses the right things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Publishes, and channels.
    Ordinary,
    /// Connects and subscriptions: they may take some of what is kept back from publishes, so that a full store can be drained.
    Consumer,
    /// Acks, closes, trims: they go on from the reserve, and free space.
    Essential,
}

/// Why the store takes nothing now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No space is left; service resumes when there is space again.
    NoSpace(String),
    /// The store failed and was taken out of service.
    Poisoned(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::NoSpace(text) | Refusal::Poisoned(text) => formatter.write_str(text),
        }
    }
}

/// Whether an append of some size would be taken.
pub type Admission = Result<(), Refusal>;

/// The oldest live message of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Its sequence, its body's size in bytes, its timestamp.
    Known {
        /// Sequence.
        sequence: u64,
        /// Bytes of the stored body.
        size: u32,
        /// Nanoseconds since the Unix epoch.
        timestamp: i64,
    },
    /// Being read; [`Input::HeadKnown`](crate::Input::HeadKnown) follows.
    Reading,
    /// The channel holds no message.
    Empty,
}

/// Answer to a seek by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// First sequence whose timestamp is not below the one asked for, or last + 1.
    Found(u64),
    /// [`Input::Sought`](crate::Input::Sought) follows.
    Reading,
}

/// A read of stored messages, answered by [`Input::Read`](crate::Input::Read).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Comes back with the answer.
    pub ticket: Ticket,
    /// Which channel.
    pub channel: ChannelId,
    /// First sequence wanted.
    pub from: u64,
    /// At most this many messages; at least 1.
    pub messages_max: u32,
    /// About this many bytes at most; one message is always returned if there is one.
    pub bytes_max: u32,
}

/// Why a read brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The first message that was asked for and exists: it cannot be read.
    pub from: u64,
    /// The last of those behind it of which the same is known; at least `from`.
    pub to: u64,
    /// They are damaged: to ask again soon gives the same answer. Otherwise the read may be tried again.
    pub damaged: bool,
    /// File, place and reason in words.
    pub reason: String,
}

/// A message looked up in the store's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// Its body.
    Hot(&'a [u8]),
    /// It exists, but has to be read.
    Cold,
    /// It does not exist (any more).
    Missing,
}

/// The port to a store. Records are stored in the order of the calls.
pub trait Records {
    /// Appends a message; seen by [`Records::message`] at once, durable when [`Input::Durable`](crate::Input::Durable)
    /// reaches the returned position. `body` is the concatenation of the parts (an encoded MsgProto).
    fn append_message(&mut self, channel: ChannelId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position;

    /// Appends a fact of the engine's own (`kind` and `body` are the engine's encoding).
    fn append_fact(&mut self, kind: u8, body: &[u8], urgency: Urgency) -> Position;

    /// Drops all messages of a channel below `first`; written lazily. A later recovery never sees them again once durable.
    fn trim(&mut self, channel: ChannelId, first: u64) -> Position;

    /// Drops a channel with all its messages.
    fn delete_channel(&mut self, channel: ChannelId) -> Position;

    /// Whether an append of about `bytes` would be taken now. Must be asked before every append of need
    /// [`Need::Ordinary`].
    fn admission(&mut self, need: Need, bytes: usize) -> Admission;

    /// Everything up to here is durable.
    fn durable(&self) -> Position;

    /// The oldest live message of a channel.
    fn head(&mut self, channel: ChannelId) -> Head;

    /// The oldest live message of a channel that is not below `from`: lets the engine count out several messages before
    /// one [`Records::trim`]. `Reading` when only the head is known; the engine then trims first and asks again. A store
    /// that knows the sizes behind the head should override this.
    fn head_from(&mut self, channel: ChannelId, from: u64) -> Head {
        match self.head(channel) {
            Head::Known { sequence, .. } if sequence < from => Head::Reading,
            head => head,
        }
    }

    /// Bytes of the bodies of all live messages of a channel, of which there are so many; exact when [`Records::head`] knows the oldest
    /// of them.
    fn live_bytes(&self, channel: ChannelId, messages: u64) -> u64;

    /// The first sequence at or after a timestamp.
    fn seek(&mut self, ticket: Ticket, channel: ChannelId, timestamp: i64) -> Seek;

    /// Asks for stored messages.
    fn read(&mut self, request: ReadRequest);

    /// A message in memory.
    fn message(&self, channel: ChannelId, sequence: u64) -> Lookup<'_>;

    /// One fact of the running checkpoint (after [`Input::CheckpointStep`](crate::Input::CheckpointStep)).
    fn checkpoint_fact(&mut self, kind: u8, body: &[u8]);

    /// The checkpoint holds every fact now.
    fn finish_checkpoint(&mut self);
}
