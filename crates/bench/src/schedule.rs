//! When sends of an open loop are due. Each send has its own moment, whatever the server does and however late the sender is:
//! a latency that runs from there leaves nothing out.

use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

const NS_PER_SECOND: u128 = 1_000_000_000;

/// Sends at a fixed rate, spread evenly over time and over the senders.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    /// Sends per second of all senders together.
    rate: u64,
    senders: u64,
    sender: u64,
}

impl Schedule {
    /// The schedule of one sender among `senders`, numbered from 0; `rate` is that of all together and at least 1.
    pub fn new(start: Instant, rate: u64, sender: u64, senders: u64) -> Schedule {
        Schedule {
            start,
            rate: rate.max(1),
            senders: senders.max(1),
            sender,
        }
    }

    /// Nanoseconds from the start to the moment when this sender's send with this number, from 0, is due.
    pub fn due_ns(&self, number: u64) -> u64 {
        let position = u128::from(number) * u128::from(self.senders) + u128::from(self.sender);
        u64::try_from(position * NS_PER_SECOND / u128::from(self.rate)).unwrap_or(u64::MAX)
    }

    /// The moment when a send is due.
    pub fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos(self.due_ns(number))
    }

    /// How many sends of this sender are due within a time from the start.
    pub fn count_within(&self, time: Duration) -> u64 {
        let all = time.as_nanos() * u128::from(self.rate) / NS_PER_SECOND;
        let own = (all + u128::from(self.senders - 1 - self.sender.min(self.senders - 1))) / u128::from(self.senders);
        u64::try_from(own).unwrap_or(u64::MAX)
    }
}

/// Makes the sleeps of this thread end when they should: the system may otherwise gather wake-ups over 50 microseconds.
pub fn sleep_precisely() {
    // A kernel that refuses leaves the sender later; the report says how late it was.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

/// Sleeps until a moment; not at all when it is over.
pub fn sleep_until(moment: Instant) {
    let left = moment.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_are_spread_evenly_and_never_drift() {
        let schedule = Schedule::new(Instant::now(), 3, 0, 1);
        let due: Vec<u64> = (0..4).map(|number| schedule.due_ns(number)).collect();
        assert_eq!(due, [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!(schedule.due_ns(3_000_000_000), NS_PER_SECOND as u64 * 1_000_000_000);
    }

    #[test]
    fn senders_take_turns() {
        let start = Instant::now();
        let of = |sender| Schedule::new(start, 1_000, sender, 4);
        let mut all: Vec<u64> = (0..4)
            .flat_map(|sender| (0..25).map(move |number| of(sender).due_ns(number)))
            .collect();
        all.sort_unstable();
        let expected: Vec<u64> = (0..100).map(|number| number * 1_000_000).collect();
        assert_eq!(all, expected);
        for (time, counts) in [(10, [3, 3, 2, 2]), (1, [1, 0, 0, 0]), (0, [0; 4])] {
            let found: Vec<u64> = (0..4)
                .map(|sender| of(sender).count_within(Duration::from_millis(time)))
                .collect();
            assert_eq!(found, counts, "{time} ms");
        }
    }

    /// A busy machine may delay many sleeps, but not all of a few hundred.
    #[test]
    fn sleeps_end_within_50_microseconds() {
        thread::spawn(|| {
            sleep_precisely();
            let mut best = Duration::MAX;
            for _ in 0..20 {
                let mut errors: Vec<Duration> = (0..20)
                    .map(|_| {
                        let moment = Instant::now() + Duration::from_micros(300);
                        sleep_until(moment);
                        Instant::now().saturating_duration_since(moment)
                    })
                    .collect();
                errors.sort_unstable();
                best = best.min(errors[errors.len() / 2]);
            }
            assert!(best < Duration::from_micros(50), "the best median is {best:?}");
        })
        .join()
        .expect("no panic");
    }
}
