//! Whether the bus carries messages, and whether it has done so for long enough that silence says something (design: `ARCHITECTURE.md`).
//!
//! While it is down nobody can answer. When it is back, or goes other ways than before, clients come back one by one, and what they sent
//! meanwhile comes with them: until then nobody is judged by what is missing.

use crate::limits::BUS_SETTLE_NS;

/// See the module. Times are monotonic nanoseconds.
#[derive(Debug)]
pub(crate) struct Way {
    is_up: bool,
    /// What was sent before may be lost.
    up_since: u64,
    settles_at: u64,
}

impl Default for Way {
    /// A bus that was never down.
    fn default() -> Way {
        Way {
            is_up: true,
            up_since: 0,
            settles_at: 0,
        }
    }
}

impl Way {
    pub(crate) fn is_up(&self) -> bool {
        self.is_up
    }

    /// It carries messages from now on, or on other ways.
    pub(crate) fn rise(&mut self, now: u64) {
        self.is_up = true;
        self.up_since = now;
        self.settles_at = now.saturating_add(BUS_SETTLE_NS);
    }

    pub(crate) fn fall(&mut self) {
        self.is_up = false;
    }

    /// Whether silence says something.
    pub(crate) fn is_settled(&self, now: u64) -> bool {
        self.is_up && self.settles_at <= now
    }

    /// Whether a question that was put at that moment can have been heard, and its answer come back.
    pub(crate) fn has_carried_since(&self, asked: u64, now: u64) -> bool {
        self.is_settled(now) && self.up_since <= asked
    }

    /// When it is settled, while it is up and not settled yet.
    pub(crate) fn settles_later(&self, now: u64) -> Option<u64> {
        (self.is_up && now < self.settles_at).then_some(self.settles_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_says_something_when_the_bus_has_been_there_for_a_while() {
        let mut way = Way::default();
        assert!(way.is_settled(0) && way.has_carried_since(0, 0));
        way.fall();
        assert!(!way.is_up() && !way.is_settled(u64::MAX) && way.settles_later(0).is_none());
        way.rise(100);
        let settled = 100 + BUS_SETTLE_NS;
        assert_eq!(
            (way.is_settled(settled - 1), way.settles_later(100)),
            (false, Some(settled))
        );
        assert!(way.is_settled(settled) && way.settles_later(settled).is_none());
        assert!(way.has_carried_since(100, settled) && !way.has_carried_since(99, settled));
    }
}
