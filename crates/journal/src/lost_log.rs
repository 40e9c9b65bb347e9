//! What is known of messages of a log that are given up.

/// Messages of a log that are given up: what is left of it goes on behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostLog {
    /// The oldest that is known of.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Time of the message `last`.
    pub(crate) timestamp: i64,
}

impl LostLog {
    /// The same, and one more message.
    pub(crate) fn with(self, other: LostLog) -> LostLog {
        LostLog {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            timestamp: self.timestamp.max(other.timestamp),
        }
    }
}
