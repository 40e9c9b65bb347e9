//! The engine's records: clients, channels, subscriptions, queue groups, and how they refer to each other.
//!
//! They live in slabs and refer to each other by key.

use std::ops::Bound;

use bytes::Bytes;

use crate::position::cursor::Cursor;
use crate::position::deadlines::Deadlines;
use crate::position::pending::Pending;
use crate::registry::ack_inboxes::AckInbox;
use crate::registry::keys::{ChannelKey, ClientKey, GroupKey};
use crate::registry::members::{MemberPlace, Standing};
use crate::time::Now;
use crate::waiting::congestion::Pause;
use crate::waiting::dirty::DirtyPlace;
use crate::waiting::timers::TimerSlot;

/// Where a subscription is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its response has not left yet.
    Unconfirmed,
    /// It takes messages.
    Active,
    /// A durable without owner.
    Offline,
    /// A queue member that left: its pending messages go to the others, then it goes.
    Departing,
}

/// What is to be sent again before anything new (`streaming-protocol.md` §5.7, §5.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Nothing to do.
    Nothing,
    /// After a resume: all pending messages, from this sequence on.
    AfterResume(u64),
    /// After a restart: those past their deadline, from this sequence on.
    AfterRestart(u64),
}

/// What a durable or a queue member is called.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) durable: Bytes,
    /// Queue group as requested.
    pub(crate) queue: Bytes,
}

/// The name of what has none.
static NO_NAME: Bytes = Bytes::new();

/// A subscription (`streaming-protocol.md` §5.2). There may be very many that do nothing: what few of them need at a time
/// lies elsewhere.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Unique for the life of the store.
    pub(crate) number: u64,
    pub(crate) channel: ChannelKey,
    /// Its owner; none when it is offline or departing.
    pub(crate) client: Option<ClientKey>,
    /// The (last) owner's name.
    pub(crate) client_name: Bytes,
    pub(crate) inbox: Box<[u8]>,
    /// Where its (last) owner acknowledges.
    pub(crate) ack_inbox: AckInbox,
    /// None for one that is neither durable nor a queue member.
    pub(crate) names: Option<Box<Names>>,
    pub(crate) group: Option<GroupKey>,
    /// Its place among the members of the group, while it is one.
    pub(crate) member: Option<MemberPlace>,
    pub(crate) max_in_flight: usize,
    pub(crate) ack_wait_units: i32,
    /// AckWait in nanoseconds.
    pub(crate) ack_wait: u64,
    /// Its position in the channel; for a queue member the highest sequence sent to it.
    pub(crate) cursor: Cursor,
    pub(crate) pending: Pending,
    pub(crate) deadlines: Deadlines,
    pub(crate) phase: Phase,
    pub(crate) resend: Resend,
    /// A redelivery pass is under way.
    pub(crate) due: bool,
    /// Set while its receiver does not keep up.
    pub(crate) paused: Option<Box<Pause>>,
    /// Monotonic times of what monitoring explains, `None` for what was so before this process: counts while it is stalled.
    pub(crate) stalled_since: Option<u64>,
    /// Counts while it has no owner.
    pub(crate) offline_since: Option<u64>,
    /// Messages sent to it again since the start of the process.
    pub(crate) redeliveries: u64,
    /// The owner's count of failures when it was created or resumed: only later ones mark it.
    pub(crate) healthy_since: u64,
    pub(crate) timer: TimerSlot,
    /// What is to be written down about it, if anything.
    pub(crate) dirty: Option<DirtyPlace>,
}

impl Subscription {
    /// Whether it has as many pending messages as it may.
    pub(crate) fn is_stalled(&self) -> bool {
        self.pending.len() >= self.max_in_flight
    }

    /// How many more messages it may hold.
    pub(crate) fn room(&self) -> u64 {
        self.max_in_flight.saturating_sub(self.pending.len()) as u64
    }

    /// It has got a message more: remembers when that made it stall.
    pub(crate) fn note_stall(&mut self, now: Now) {
        if self.pending.len() == self.max_in_flight {
            self.stalled_since = Some(now.monotonic);
        }
    }

    /// What it can take as a member of a group.
    pub(crate) fn standing(&self, is_healthy: bool) -> Standing {
        let takes_again = self.phase == Phase::Active && self.paused.is_none();
        Standing {
            pending: self.pending.len(),
            room: self.room(),
            is_healthy,
            // What it holds goes out again before anything new.
            takes_new: takes_again && self.resend == Resend::Nothing,
            takes_again,
        }
    }

    /// Its durable name, empty for none.
    pub(crate) fn durable(&self) -> &Bytes {
        self.names.as_ref().map_or(&NO_NAME, |names| &names.durable)
    }

    /// Queue group as requested, empty for none.
    pub(crate) fn queue(&self) -> &Bytes {
        self.names.as_ref().map_or(&NO_NAME, |names| &names.queue)
    }

    /// Whether it keeps its state when its owner goes.
    pub(crate) fn is_durable(&self) -> bool {
        !self.durable().is_empty()
    }
}

/// What happens to the state of a durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Unsubscribe: it is forgotten.
    Forget,
    /// Close: it waits for its next owner.
    Keep,
}

/// How far a checkpoint has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointProgress {
    Clients(Bound<Bytes>),
    Channels(u64),
    /// Subscriptions from this number on; of the first one the pending messages from this sequence on, when it was begun.
    Subscriptions(u64, Option<u64>),
}
