//! Time as the engine sees it: always an input, never read from a clock.

pub(crate) mod wall_clock;

/// Nanoseconds since the Unix epoch, as clients see them in messages. May be set back by an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on a clock that never goes back; its zero is arbitrary. Deadlines are kept on it.
    pub monotonic: u64,
    /// The wall clock: message timestamps, age limits.
    pub wall: Timestamp,
}

impl Now {
    /// How far the wall clock is ahead of the monotonic one; changes when it is set.
    pub(crate) fn offset(self) -> i64 {
        self.wall.0.wrapping_sub_unsigned(self.monotonic)
    }
}
