//! Which reading of the wall clock counts.
//!
//! Message times of a channel never decrease, so one reading from the future would pin them there. A clock that is suddenly far
//! ahead of the time that has passed on the monotonic one has to say so for a while before it is believed; one that goes back
//! is believed at once, and so is its return to where it was not long before.

use crate::limits::{CLOCK_AGREEMENT_NS, CLOCK_JUMP_NS, CLOCK_RETURN_NS, CLOCK_STEP_NS};
use crate::time::{Now, Timestamp};
use crate::waiting::timers::{Timer, TimerSlot, Timers};

/// See the module. Offsets are wall clock less monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    /// The offset that counts.
    offset: i64,
    /// The offset that counted before the clock was set far back, and when that was.
    before: Option<(i64, u64)>,
    /// An offset too far ahead to be believed at once, and since when the clock has shown it.
    claim: Option<(i64, u64)>,
    timer: TimerSlot,
    /// As of the last look at all ages.
    looked_at: i64,
}

impl WallClock {
    /// The first reading counts: there is nothing to compare it with.
    pub(crate) fn begin(&mut self, now: Now) {
        self.offset = now.offset();
        self.looked_at = now.offset();
    }

    /// Whether the clock was set forward since it was last asked, so that ages have to be looked at again. Small steps count
    /// once they add up.
    pub(crate) fn was_set_forward(&mut self, now: Now) -> bool {
        let step = now.offset().wrapping_sub(self.looked_at);
        if (-CLOCK_STEP_NS..=CLOCK_STEP_NS).contains(&step) {
            return false;
        }
        self.looked_at = now.offset();
        step > 0
    }

    /// The time that counts at this reading.
    pub(crate) fn believe(&mut self, now: Now, timers: &mut Timers) -> Now {
        let offset = now.offset();
        let is_recent = |since: u64| now.monotonic.saturating_sub(since) <= CLOCK_RETURN_NS;
        self.before = self.before.filter(|(_, since)| is_recent(*since));
        let known = self.before.map_or(self.offset, |(before, _)| before.max(self.offset));
        if offset < known.saturating_sub(CLOCK_JUMP_NS) {
            self.before = self.before.or(Some((known, now.monotonic)));
        }
        if offset.saturating_sub(known) > CLOCK_JUMP_NS && !self.is_agreed(offset, now.monotonic) {
            let (_, since) = self.claim.unwrap_or((offset, now.monotonic));
            let due = since.saturating_add(CLOCK_AGREEMENT_NS);
            timers.set(&mut self.timer, Timer::WallClock, Some(due));
            return self.at(now.monotonic);
        }
        self.offset = offset;
        if self.claim.take().is_some() {
            timers.set(&mut self.timer, Timer::WallClock, None);
        }
        now
    }

    /// Whether the clock has claimed the same for long enough.
    fn is_agreed(&mut self, offset: i64, now: u64) -> bool {
        let (_, since) = *self.claim.insert(match self.claim {
            Some((claimed, since)) if offset.abs_diff(claimed) <= CLOCK_STEP_NS.unsigned_abs() => (offset, since),
            _ => (offset, now),
        });
        now.saturating_sub(since) >= CLOCK_AGREEMENT_NS
    }

    /// The time at a monotonic one, as believed.
    fn at(&self, monotonic: u64) -> Now {
        Now {
            monotonic,
            wall: Timestamp(self.offset.wrapping_add_unsigned(monotonic)),
        }
    }

    /// The timer has fired; a reading follows.
    pub(crate) fn timer_fired(&mut self) {
        self.timer.fired();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: i64 = 3_600_000_000_000;

    fn reading(seconds: u64, ahead: i64) -> Now {
        let monotonic = seconds * SECOND;
        Now {
            monotonic,
            wall: Timestamp(1_700_000_000_000_000_000 + monotonic as i64 + ahead),
        }
    }

    /// Gives back how far the time that counts is ahead.
    fn ahead(clock: &mut WallClock, seconds: u64, ahead: i64, timers: &mut Timers) -> i64 {
        let believed = clock.believe(reading(seconds, ahead), timers);
        assert_eq!(believed.monotonic, seconds * SECOND);
        believed.wall.0 - reading(seconds, 0).wall.0
    }

    #[test]
    fn a_reading_from_the_future_counts_when_it_lasts() {
        let (mut clock, mut timers) = (WallClock::default(), Timers::default());
        clock.begin(reading(1, 0));
        assert_eq!(ahead(&mut clock, 2, HOUR, &mut timers), HOUR, "an hour is believed");
        assert_eq!(ahead(&mut clock, 3, -HOUR, &mut timers), -HOUR, "so is any way back");
        assert_eq!(ahead(&mut clock, 4, 0, &mut timers), 0);
        assert_eq!(ahead(&mut clock, 5, 9 * HOUR, &mut timers), 0, "one reading");
        assert_eq!(timers.next(), Some(65 * SECOND));
        assert_eq!(ahead(&mut clock, 6, 0, &mut timers), 0, "it was a mistake");
        assert_eq!(timers.next(), None);
        assert_eq!(ahead(&mut clock, 10, 9 * HOUR, &mut timers), 0);
        assert_eq!(ahead(&mut clock, 60, 8 * HOUR, &mut timers), 0, "another claim");
        assert_eq!(ahead(&mut clock, 119, 8 * HOUR, &mut timers), 0);
        assert_eq!(ahead(&mut clock, 120, 8 * HOUR, &mut timers), 8 * HOUR, "it has lasted");
        assert_eq!(ahead(&mut clock, 121, 8 * HOUR, &mut timers), 8 * HOUR);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_clock_that_was_set_back_by_mistake_is_believed_when_it_returns() {
        let (mut clock, mut timers) = (WallClock::default(), Timers::default());
        clock.begin(reading(1, 0));
        assert_eq!(ahead(&mut clock, 2, -2 * HOUR, &mut timers), -2 * HOUR);
        assert_eq!(ahead(&mut clock, 3, -3 * HOUR, &mut timers), -3 * HOUR);
        assert_eq!(ahead(&mut clock, 5, 0, &mut timers), 0, "it has returned");
        assert_eq!(ahead(&mut clock, 6, 2 * HOUR, &mut timers), 0, "it was never there");
        assert_eq!(ahead(&mut clock, 7, -2 * HOUR, &mut timers), -2 * HOUR);
        let late = 8 + 3_600;
        assert_eq!(ahead(&mut clock, late, -2 * HOUR, &mut timers), -2 * HOUR);
        assert_eq!(
            ahead(&mut clock, late + 1, 0, &mut timers),
            -2 * HOUR,
            "it was there long ago"
        );
    }
}
