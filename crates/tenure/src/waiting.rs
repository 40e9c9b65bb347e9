//! How long a holder has to be silent before a member takes over from it.

use std::time::{Duration, Instant};

use crate::limits::{WAITING_FORGETS, WAITING_LEASES_MAX};

/// The lease; a multiple of it for who lost the tenure to a slow disk. Where the disk is slow for all, two members would take the
/// tenure from each other for ever, each as slow as the other: so whoever loses it this way waits twice as long the next time. (So
/// does a process that was stopped in the middle of a look, which it cannot tell from a slow disk.)
#[derive(Debug)]
pub struct Waiting {
    lease: Duration,
    leases: u32,
    lost: Option<Instant>,
}

impl Waiting {
    /// One lease.
    pub fn new(lease: Duration) -> Waiting {
        Waiting {
            lease,
            leases: 1,
            lost: None,
        }
    }

    /// The tenure was taken over because the disk had been too slow for signs of life.
    pub fn lost_to_slowness(&mut self, now: Instant) {
        self.forget(now);
        self.leases = (2 * self.leases).min(WAITING_LEASES_MAX);
        self.lost = Some(now);
    }

    /// How long to wait for a sign of life now, 1 to [`WAITING_LEASES_MAX`] leases.
    pub fn time(&mut self, now: Instant) -> Duration {
        self.forget(now);
        self.lease * self.leases
    }

    fn forget(&mut self, now: Instant) {
        if self
            .lost
            .is_some_and(|lost| now.saturating_duration_since(lost) > WAITING_FORGETS)
        {
            *self = Waiting::new(self.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_loses_to_a_slow_disk_waits_twice_as_long_each_time_and_forgets_it_after_a_quiet_minute() {
        let lease = Duration::from_millis(500);
        let (mut waiting, mut now) = (Waiting::new(lease), Instant::now());
        let mut times = vec![waiting.time(now)];
        for _ in 0..5 {
            now += Duration::from_secs(50);
            waiting.lost_to_slowness(now);
            times.push(waiting.time(now));
        }
        assert_eq!(times, [1, 2, 4, 8, 8, 8].map(|leases| leases * lease));
        assert_eq!(waiting.time(now + Duration::from_secs(60)), 8 * lease);
        assert_eq!(waiting.time(now + Duration::from_secs(61)), lease);
        waiting.lost_to_slowness(now + Duration::from_secs(62));
        assert_eq!(waiting.time(now + Duration::from_secs(62)), 2 * lease);
    }
}
