//! A group-committed write-ahead log shared by many message logs.
//!
//! The journal keeps two classes of record durable: *messages*, which live until they are trimmed or their log is deleted,
//! and *facts*, which live until a checkpoint covers them. It does not know what either means. Its format is described in
//! `docs/journal-format.md`.
//!
//! [`Journal`] is a state machine: calls change memory and queue [`Job`]s; whoever drives it runs jobs and gives their
//! [`Outcome`]s back. [`Driver`] does so with threads; a simulator may run each job at a moment of its choosing. The
//! journal reads no clock and starts no thread.

mod absorb;
mod checkpoint;
mod commit;
mod directory;
pub mod disk;
mod driver;
mod encryption;
mod error;
mod fetch;
mod format;
mod head;
mod job;
mod journal;
pub mod limits;
mod logs;
mod maintenance;
mod options;
mod read;
mod record;
mod recovery;
mod rewrite;
mod segment;
mod statistics;
mod tail;
mod verdict;

pub use checkpoint::CheckpointError;
pub use driver::{Commit, Driver};
pub use encryption::{Cipher, Encryption};
pub use error::{OpenError, ReadError, Refusal};
pub use format::Identity;
pub use job::{Job, Lane, Outcome};
pub use journal::Journal;
pub use options::{Class, DamagePolicy, Options, Urgency};
pub use read::{Head, LogBounds, Lookup, Message, Messages, ReadRequest, Ticket};
pub use record::MESSAGE_OVERHEAD_BYTES;
pub use recovery::{CutReport, Opened, RecoveredLog, Replay};
pub use statistics::{Histogram, Statistics};

/// Names a log. Chosen by the owner of the journal; an id is never used again after its log was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

/// Counts records since the journal was created: a record's position is the value *after* it, so that everything appended is
/// durable once `durable() >= position`. 0 is before the first record.
pub type Position = u64;

/// What the journal tells its owner through [`Journal::poll`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Completion {
    /// Everything up to and including this position is durable.
    Durable(Position),
    /// Answer to [`Journal::read`]. Fewer messages than asked for may come, at least one unless there are none.
    Read {
        /// The request's.
        ticket: Ticket,
        /// The log that was read.
        log: LogId,
        /// The messages, in order, without gaps.
        messages: Result<Messages, ReadError>,
    },
    /// Answer to [`Journal::seek`].
    Sought {
        /// The request's.
        ticket: Ticket,
        /// The log that was searched.
        log: LogId,
        /// The first sequence whose time is at or after the one sought; one above the last when there is none.
        sequence: Result<u64, ReadError>,
    },
    /// [`Journal::head`] of this log is known now (or the log is empty or gone).
    HeadReady(LogId),
    /// The size and time at the head of this log cannot be read; the log can still be trimmed.
    HeadUnreadable(LogId, ReadError),
    /// A checkpoint would shorten the next start or give space back: call [`Journal::begin_checkpoint`] when convenient.
    CheckpointNeeded,
    /// The checkpoint is durable.
    CheckpointDone(Position),
    /// The checkpoint was given up, usually for lack of space; `CheckpointNeeded` comes again.
    CheckpointAbandoned(String),
    /// A write or sync failed: nothing appended after `durable()` will ever be durable. Comes once.
    Poisoned(String),
    /// The disk has no room for the next segment: publishes are refused from now on or soon.
    SpaceLow,
    /// Room was prepared after a refusal: admission may succeed again.
    SpaceBack,
    /// Something an operator should read in the log; nothing is lost by it.
    Warning(String),
}
