//! What an operator can have the engine change: the words of both sides.

use std::fmt;

use crate::channel_limits::{ChannelLimits, Limits};
use crate::time::Timestamp;

/// Names a change that was asked for; its outcome carries it back. Whoever asks uses each number once in the life of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub u64);

/// A change that is asked for. Its outcome comes through [`Bus::changed`](crate::Bus::changed), once it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Comes back with the outcome.
    pub id: ChangeId,
    /// Who asks, in words; for the log.
    pub by: &'a [u8],
    /// Nothing is to be changed: only what would be is told.
    pub is_rehearsal: bool,
    /// What is to be changed.
    pub change: Change<'a>,
}

/// What can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Messages of a channel go, oldest first. Its last sequence stays, and what somebody holds of them is not pending any more.
    Purge {
        /// The channel.
        channel: &'a [u8],
        /// Which messages.
        extent: Extent,
    },
    /// A durable or a queue group is forgotten.
    Remove {
        /// Which.
        reader: Reader<'a>,
        /// Also when somebody subscribes through it.
        force: bool,
    },
    /// A durable or a queue group goes on elsewhere, with nothing pending.
    Move {
        /// Which.
        reader: Reader<'a>,
        /// Where.
        to: Place,
    },
    /// A channel goes, with its messages and its subscriptions.
    Delete {
        /// The channel.
        channel: &'a [u8],
        /// Also when it has active subscriptions.
        force: bool,
    },
    /// A client is closed, as if its heartbeats had failed.
    Disconnect {
        /// Its ID.
        client: &'a [u8],
    },
    /// One pending message counts as acknowledged, or is sent again at once.
    Settle {
        /// Of which durable or group.
        reader: Reader<'a>,
        /// Its sequence.
        sequence: u64,
        /// Which of the two.
        verdict: Settlement,
    },
    /// A subscription is sent nothing, neither new messages nor again what it holds, until it goes on. Its acks count meanwhile. A group
    /// is paused as a whole, with whoever joins it.
    Pause {
        /// Which.
        reader: Reader<'a>,
        /// The delivery inbox of a subscription that is neither durable nor in a group, whose client `reader` names; otherwise empty.
        inbox: &'a [u8],
    },
    /// A paused subscription goes on where it was, with what is due to be sent again first.
    Resume {
        /// Which.
        reader: Reader<'a>,
        /// See [`Change::Pause`].
        inbox: &'a [u8],
    },
    /// Nothing changes here: what was changed elsewhere is to be remembered with the other changes.
    Note {
        /// What was changed, in words.
        words: &'a [u8],
    },
    /// Limits of a channel are others than the configuration says, until they are reset or the channel goes.
    Limit {
        /// The channel.
        channel: &'a [u8],
        /// What was set so before is forgotten first.
        reset: bool,
        /// What is set; the rest stays.
        set: ChannelLimits,
    },
}

/// What is to become of a pending message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It counts as acknowledged.
    Acknowledge,
    /// It is due at once.
    Redeliver,
}

/// Which messages of a channel. What is not durable when this is asked for stays in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All.
    All,
    /// Those up to a sequence.
    UpTo(u64),
    /// Those that are older than a time.
    Before(Timestamp),
}

/// A place in a channel: the message that is delivered next. Below the first message it is that one, above the last one what comes after
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first message.
    Start,
    /// Behind the last message.
    End,
    /// A sequence.
    Sequence(u64),
    /// The first message that is not older.
    Time(Timestamp),
}

/// A durable or a queue group, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    /// Its channel.
    pub channel: &'a [u8],
    /// The client ID of a durable that is in no group; of no meaning for a group.
    pub client: &'a [u8],
    /// Its durable name; empty for a group without.
    pub durable: &'a [u8],
    /// Its group; empty for a durable that is in none.
    pub queue: &'a [u8],
}

/// What was changed, or would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Messages went.
    Purged {
        /// How many.
        messages: u64,
        /// The channel's first sequence; `last` + 1 when nothing is left.
        first: u64,
        /// Its last sequence, which no later message will have.
        last: u64,
    },
    /// A durable or group was forgotten.
    Removed {
        /// Subscriptions that had an owner.
        members: usize,
        /// Messages that were pending.
        pending: usize,
    },
    /// A durable or group goes on elsewhere.
    Moved {
        /// The message that was next.
        from: u64,
        /// The message that is next.
        to: u64,
        /// Messages that were pending.
        pending: usize,
    },
    /// A channel goes.
    Deleted {
        /// Messages in it.
        messages: u64,
        /// Bytes of them, as they count for limits.
        bytes: u64,
        /// Subscriptions of it, offline ones included.
        subscriptions: usize,
        /// Those of them that had an owner.
        active: usize,
    },
    /// A client was closed.
    Disconnected {
        /// Subscriptions that it had.
        subscriptions: usize,
    },
    /// A message counts as acknowledged, or is due.
    Settled {
        /// Messages that are pending still.
        pending: usize,
    },
    /// A subscription is sent nothing.
    Paused {
        /// Those of it that have an owner: 1 at most, but of a group.
        members: usize,
        /// Messages that are pending.
        pending: usize,
    },
    /// A subscription goes on.
    Resumed {
        /// Those of it that have an owner.
        members: usize,
        /// Messages that are pending.
        pending: usize,
    },
    /// What was changed elsewhere is remembered.
    Noted,
    /// Limits of a channel are others.
    Limited {
        /// All that count now.
        limits: Limits,
        /// Those of them that were set so.
        set: ChannelLimits,
        /// Messages beyond the limit on messages, which go.
        surplus: u64,
    },
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unchanged {
    /// What is to be changed does not exist, in words.
    NotFound(String),
    /// It cannot be done as things are, in words.
    Conflict(String),
    /// The store takes nothing, or did not say what it was asked, in words. What became of a change that was under way when it failed is
    /// not known.
    Unavailable(String),
}

impl fmt::Display for Unchanged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unchanged::NotFound(text) | Unchanged::Conflict(text) | Unchanged::Unavailable(text) => {
                formatter.write_str(text)
            }
        }
    }
}
