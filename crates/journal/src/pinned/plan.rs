//! What a running journal says of the files that it keeps for somebody who reads them: no file is touched for it.

use crate::directory::Source;
use crate::encryption::Keys;
use crate::entry::EntryId;
use crate::format::{Cut, Identity, SegmentId};
use crate::image::{Grip, Kept};
use crate::names::Position;
use crate::segments::Held;
use std::sync::Arc;

/// A segment that is kept.
#[derive(Clone)]
pub(crate) struct PinnedSegment {
    pub(crate) id: SegmentId,
    /// Where what may be read ends.
    pub(crate) end: u64,
    /// Its directory, when it has one.
    pub(crate) directory: Option<Source>,
}

/// What a running journal says of the files that it keeps for somebody.
pub(crate) struct Pinned {
    pub(crate) identity: Identity,
    pub(crate) epoch: u64,
    pub(crate) keys: Option<Arc<Keys>>,
    /// Begin and epoch of the newest checkpoint.
    pub(crate) checkpoint: Option<(Position, u64)>,
    /// By number, up to where everything durable ends.
    pub(crate) segments: Vec<PinnedSegment>,
    /// Messages may be in no segment: they were given up once.
    pub(crate) tolerates_holes: bool,
    pub(crate) grip: Grip,
}

/// The journal's end of it.
pub(crate) struct Hold {
    pub(crate) kept: Kept,
    pub(crate) segments: Held,
    pub(crate) checkpoint: Option<String>,
}

/// What a fold is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldFor {
    /// Its owner begins to serve: the bytes of each log are counted, for which the directories of all segments are read, as by a start. No
    /// record of the owner may be appended behind the entry.
    Serving,
    /// The facts of a checkpoint: [`RecoveredLog::bytes`](crate::RecoveredLog::bytes) are 0.
    Checkpoint,
}

/// Why a journal is not folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The entry is not committed, not on this member's disk yet, or not there.
    #[error("entry {0} is not both committed and synced here")]
    NotDurable(u64),
    /// The newest checkpoint stands for more.
    #[error("the newest checkpoint stands for more than the entries up to {0}")]
    Passed(u64),
    /// Of one that is to serve: there are records behind the entry.
    #[error("records are appended behind entry {0}")]
    GoneOn(u64),
    /// The journal is being closed, stands alone, or as many are reading it as may.
    #[error("{0}")]
    Unavailable(String),
}

/// To be run on a thread that may wait for the disk, while the journal goes on. It may be dropped instead.
pub struct FoldJob {
    pub(crate) pinned: Pinned,
    pub(crate) last: EntryId,
    pub(crate) purpose: FoldFor,
    /// Bytes that were committed when it was planned.
    pub(crate) committed_bytes: u64,
}

/// What was folded; [`Journal::begin_checkpoint_behind`](crate::Journal::begin_checkpoint_behind) takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// The last entry in it.
    pub last: EntryId,
    pub(crate) epoch: u64,
    pub(crate) end: Cut,
    pub(crate) committed_bytes: u64,
}

impl FoldJob {
    /// The entry as of which it is.
    pub fn last(&self) -> EntryId {
        self.last
    }
}

impl Folded {
    /// Position behind the last record in it.
    pub fn position(&self) -> Position {
        self.end.position
    }
}
