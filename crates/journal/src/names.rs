//! What everything else speaks of: logs and positions.

/// Names a log. Chosen by the owner of the journal; an id is never used again after its log was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

/// What room is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Messages, and what grows with them. They leave a reserve alone, and wait while the disk is behind.
    Ordinary,
    /// The little that is written for somebody who comes to consume: it may take half of the reserve, so that a full disk can be
    /// drained. It waits while the disk is behind.
    Consumer,
    /// Acks, trims, deletions, changes of state: they may take all there is, and are never made to wait.
    Essential,
}

/// Counts records since the journal was created: a record's position is the value *after* it, so that everything appended is
/// durable once `durable() >= position`. 0 is before the first record.
pub type Position = u64;
