//! Attempts to reach another server that were in vain: how long to wait after each, and what the log says of them.

use std::time::{Duration, Instant};

use crate::limits::{
    REDIAL_FIRST, REDIAL_JITTER, REDIAL_LAST, REDIAL_REFUSED_LAST, REDIAL_SAID_AGAIN, REDIAL_SAID_OTHERWISE,
};

/// A connection that lasted this long was a good one.
pub(super) const GOOD: Duration = Duration::from_secs(5);

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The other side is this server.
    Oneself,
    /// There is a connection to this server already.
    Known(String),
    /// It came about, and has ended after this long.
    Ended(Duration),
    /// Nobody answers, or the connection broke.
    Failed(String),
    /// One of the two does not want the other, which lasts until somebody changes something.
    Refused(String),
    /// The broker stops.
    Stopping,
}

/// See the module.
pub(super) struct Attempts {
    next: Duration,
    /// What was said last, and when.
    said: Option<(String, Instant)>,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self {
            next: REDIAL_FIRST,
            said: None,
        }
    }

    /// How long to wait after this outcome: each time twice as long up to a bound, and something that is added by chance.
    pub(super) fn pause(&mut self, outcome: &Outcome) -> Duration {
        let pause = self.step(outcome);
        pause + REDIAL_JITTER.max(pause / 4).mul_f64(fastrand::f64())
    }

    fn step(&mut self, outcome: &Outcome) -> Duration {
        let longest = match outcome {
            Outcome::Refused(_) => REDIAL_REFUSED_LAST,
            _ => REDIAL_LAST,
        };
        let was_good = match outcome {
            Outcome::Known(_) => true,
            Outcome::Ended(lasted) => *lasted >= GOOD,
            _ => false,
        };
        if was_good {
            *self = Self::new();
        }
        let pause = self.next.min(longest);
        self.next = (pause * 2).min(longest);
        pause
    }

    /// Whether this failure is to be said: the first one is, another one than before is soon, and the same one rarely.
    pub(super) fn is_news(&mut self, text: &str, now: Instant) -> bool {
        if let Some((said, when)) = &self.said {
            let patience = if said == text {
                REDIAL_SAID_AGAIN
            } else {
                REDIAL_SAID_OTHERWISE
            };
            if now.saturating_duration_since(*when) < patience {
                return false;
            }
        }
        self.said = Some((text.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(attempts: &mut Attempts, outcome: &Outcome, count: usize) -> Vec<f64> {
        (0..count).map(|_| attempts.step(outcome).as_secs_f64()).collect()
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let failed = Outcome::Failed("no".into());
        let mut attempts = Attempts::new();
        assert_eq!(seconds(&mut attempts, &failed, 6), [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]);
        let refused = Outcome::Refused("no".into());
        let mut attempts = Attempts::new();
        let pauses = seconds(&mut attempts, &refused, 11);
        assert_eq!(pauses[..3], [0.1, 0.2, 0.4]);
        assert_eq!(pauses[9..], [30.0, 30.0]);
        // A server that is being started anew is dialled as often as any.
        assert_eq!(seconds(&mut attempts, &failed, 2), [1.0, 1.0]);
        assert_eq!(seconds(&mut attempts, &Outcome::Ended(GOOD), 1), [0.1]);
        assert_eq!(seconds(&mut attempts, &Outcome::Ended(Duration::ZERO), 2), [0.2, 0.4]);
        assert_eq!(seconds(&mut attempts, &Outcome::Known("N".into()), 2), [0.1, 0.1]);
    }

    #[test]
    fn what_is_added_by_chance_has_a_bound() {
        let refused = Outcome::Refused("no".into());
        let mut attempts = Attempts::new();
        let longest = (0..1000).map(|_| attempts.pause(&refused)).max();
        let bound = REDIAL_REFUSED_LAST + REDIAL_REFUSED_LAST / 4;
        assert!(
            longest > Some(REDIAL_REFUSED_LAST) && longest <= Some(bound),
            "{longest:?}"
        );
    }

    #[test]
    fn failures_are_said_once_and_then_rarely() {
        let (mut attempts, begun) = (Attempts::new(), Instant::now());
        let mut said = 0;
        // A day of attempts, one in a second.
        for second in 0..24 * 3600 {
            said += u32::from(attempts.is_news("refused", begun + Duration::from_secs(second)));
        }
        assert_eq!(said, 24 * 6);
        let mut attempts = Attempts::new();
        assert!(attempts.is_news("one", begun) && !attempts.is_news("other", begun));
        assert!(attempts.is_news("other", begun + REDIAL_SAID_OTHERWISE));
        attempts.step(&Outcome::Ended(GOOD));
        assert!(
            attempts.is_news("other", begun + REDIAL_SAID_OTHERWISE),
            "it was good in between"
        );
    }
}
