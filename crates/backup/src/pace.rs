//! A bound of bytes per second.

use std::time::{Duration, Instant};

/// What is not used at once may be used this much later.
const BURST: Duration = Duration::from_millis(100);

/// Lets bytes pass at a rate.
pub struct Pace {
    /// Nanoseconds for a byte; none without a bound.
    nanoseconds: Option<f64>,
    /// When the bytes so far will have passed.
    next: Instant,
}

impl Pace {
    /// At most so many bytes per second, at least 1; none is no bound.
    pub fn new(bytes_per_second: Option<u64>) -> Pace {
        Pace {
            nanoseconds: bytes_per_second.map(|rate| 1e9 / rate.max(1) as f64),
            next: Instant::now(),
        }
    }

    /// How many bytes are to be moved at once, at most `most`: so that nothing comes in heaps of seconds.
    pub(crate) fn piece(&self, most: usize) -> usize {
        match self.nanoseconds {
            None => most,
            Some(nanoseconds) => ((BURST.as_nanos() as f64 / nanoseconds) as usize).clamp(4_096.min(most), most),
        }
    }

    /// How long to wait before so many bytes more.
    fn delay(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(nanoseconds) = self.nanoseconds else {
            return Duration::ZERO;
        };
        let from = self.next.max(now.checked_sub(BURST).unwrap_or(now));
        self.next = from + Duration::from_nanos((bytes as f64 * nanoseconds) as u64);
        from.saturating_duration_since(now)
    }

    /// Waits until so many bytes more may pass.
    pub(crate) fn wait(&mut self, bytes: usize) {
        let delay = self.delay(bytes, Instant::now());
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_pass_as_the_rate_says() {
        let mut pace = Pace::new(Some(1_000_000));
        let begin = Instant::now();
        let mut now = begin;
        let mut bytes = 0;
        while now < begin + Duration::from_secs(10) {
            let piece = pace.piece(1 << 20);
            assert_eq!(piece, 100_000, "a tenth of a second");
            now += pace.delay(piece, now);
            bytes += piece;
        }
        assert!((9_900_000..10_400_000).contains(&bytes), "{bytes}");
        // A pause is not made up for.
        now += Duration::from_secs(60);
        let waits = (0..10).map(|_| {
            let delay = pace.delay(100_000, now);
            now += delay;
            delay
        });
        assert!(waits.sum::<Duration>() >= Duration::from_millis(700));
        let mut unbounded = Pace::new(None);
        assert_eq!(
            (unbounded.piece(77), unbounded.delay(usize::MAX, now)),
            (77, Duration::ZERO)
        );
    }
}
