//! How often a change of the servers puts judgement off.
//!
//! After one, clients come back by other ways, and for a moment silence says nothing of them. Servers that come and go without end would
//! put that off for ever, so changes count up to a number, which comes back one by one.

use std::time::Instant;

use crate::limits::{EXTERNAL_CHANGE_AGAIN_AFTER, EXTERNAL_CHANGES_MAX};

/// See the module.
pub(super) struct Allowance {
    left: u32,
    /// Since when the next one comes back.
    since: Instant,
}

impl Allowance {
    /// All of it.
    pub(super) fn new(now: Instant) -> Allowance {
        Allowance {
            left: EXTERNAL_CHANGES_MAX,
            since: now,
        }
    }

    /// Whether a change at this moment counts.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        while self.left < EXTERNAL_CHANGES_MAX
            && now.saturating_duration_since(self.since) >= EXTERNAL_CHANGE_AGAIN_AFTER
        {
            self.since += EXTERNAL_CHANGE_AGAIN_AFTER;
            self.left += 1;
        }
        if self.left == EXTERNAL_CHANGES_MAX {
            self.since = now;
        }
        let counts = self.left > 0;
        self.left = self.left.saturating_sub(1);
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn some_in_a_row_count_and_then_one_in_a_while() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        let counted = |allowance: &mut Allowance, from: Duration, every: Duration, times: u32| {
            let moments = (0..times).map(|number| begun + from + number * every);
            moments.filter(|moment| allowance.take(*moment)).count() as u32
        };
        let second = Duration::from_secs(1);
        assert_eq!(counted(&mut allowance, second, second / 10, 100), EXTERNAL_CHANGES_MAX);
        // An hour of one change a second.
        let hour = counted(&mut allowance, 11 * second, second, 3600);
        let at_most = (3600 / EXTERNAL_CHANGE_AGAIN_AFTER.as_secs()) as u32;
        assert!((at_most - 1..=at_most).contains(&hour), "{hour}");
        // After a quiet time all count again, and no more than all.
        let later = EXTERNAL_CHANGE_AGAIN_AFTER * 1000;
        assert_eq!(counted(&mut allowance, later, second / 10, 100), EXTERNAL_CHANGES_MAX);
    }
}
