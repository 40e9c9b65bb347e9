//! How long to wait after a failure, and how often to tell of one.

use std::time::{Duration, Instant};

use crate::limits::{TENURE_PATIENCE_MAX, TENURE_PATIENCE_MIN};

/// A wait that doubles with every failure, from one second to one minute.
#[derive(Debug)]
pub struct Patience {
    wait: Duration,
    until: Option<Instant>,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            wait: TENURE_PATIENCE_MIN,
            until: None,
        }
    }
}

impl Patience {
    /// It failed; how long to wait now.
    pub fn failed(&mut self, now: Instant) -> Duration {
        // What went well for longer than any wait is no row of failures.
        if self
            .until
            .is_some_and(|until| now.saturating_duration_since(until) > TENURE_PATIENCE_MAX)
        {
            *self = Patience::default();
        }
        let wait = self.wait;
        self.until = Some(now + wait);
        self.wait = (2 * wait).min(TENURE_PATIENCE_MAX);
        wait
    }

    /// Until when to wait, if there is anything to wait for.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether to tell of what happens again and again; the next time is later.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.until.is_none_or(|until| until <= now);
        if is_due {
            self.failed(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_begin_anew_when_it_went_well() {
        let (mut patience, mut now) = (Patience::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = patience.failed(now);
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(patience.until(), Some(now));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(patience.failed(now + Duration::from_secs(61)).as_secs(), 1);
    }

    #[test]
    fn what_goes_on_is_told_less_and_less() {
        let (mut told, start) = (Patience::default(), Instant::now());
        let times: Vec<u64> = (0..40)
            .filter(|second| told.is_due(start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(times, [0, 1, 3, 7, 15, 31]);
    }
}
