//! What everything else speaks of: logs and positions.

/// Names a log. Chosen by the owner of the journal; an id is never used again after its log was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

/// Counts records since the journal was created: a record's position is the value *after* it, so that everything appended is
/// durable once `durable() >= position`. 0 is before the first record.
pub type Position = u64;
