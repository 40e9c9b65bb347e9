//! What the journal tells its owner.

use crate::entry::EntryAnswer;
use crate::error::ReadError;
use crate::messages::{Messages, Ticket};
use crate::names::{LogId, Position};

/// What the journal tells its owner through [`crate::Journal::poll`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Completion {
    /// Everything up to and including this position is durable.
    Durable(Position),
    /// Everything up to and including this position is on this member's disk, whatever a quorum has. Only of a member of a cluster.
    Synced(Position),
    /// Answer to [`crate::Journal::read_entry`].
    Entry(EntryAnswer),
    /// The vote of this ticket is on the disk ([`crate::Journal::write_vote`]).
    VoteWritten(Ticket),
    /// Answer to [`crate::Journal::read`]. Fewer messages than asked for may come, at least one unless there are none.
    Read {
        /// The request's.
        ticket: Ticket,
        /// The log that was read.
        log: LogId,
        /// The messages, in order, without gaps.
        messages: Result<Messages, ReadError>,
    },
    /// Answer to [`crate::Journal::seek`].
    Sought {
        /// The request's.
        ticket: Ticket,
        /// The log that was searched.
        log: LogId,
        /// The first sequence whose time is at or after the one sought; one above the last when there is none.
        sequence: Result<u64, ReadError>,
    },
    /// [`crate::Journal::head`] of this log is known now (or the log is empty or gone).
    HeadReady(LogId),
    /// The size and time at the head of this log cannot be read; the log can still be trimmed.
    HeadUnreadable(LogId, ReadError),
    /// A checkpoint would shorten the next start or give space back: call [`crate::Journal::begin_checkpoint`] when convenient.
    CheckpointNeeded,
    /// The checkpoint is durable.
    CheckpointDone(Position),
    /// The checkpoint was given up, usually for lack of space; `CheckpointNeeded` comes again.
    CheckpointAbandoned(String),
    /// A write or sync failed: nothing appended after `durable()` will ever be durable. Comes once.
    Poisoned(String),
    /// There is no room for the next segment, for this reason: publishes are refused from now on or soon.
    SpaceLow(String),
    /// Room was prepared after a refusal: admission may succeed again.
    SpaceBack,
    /// Something an operator should read in the log; nothing is lost by it.
    Warning(String),
}
