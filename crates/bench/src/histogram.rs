//! Latencies in a high dynamic range histogram: every value counts, whatever its size, and histograms of threads add up.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart: an hour. Longer ones count as this.
const HIGHEST_NS: u64 = 3_600_000_000_000;

/// Significant decimal digits.
const DIGITS: u8 = 3;

/// Points of the plotted distribution per halving of what is left above.
const TICKS_PER_HALF: u32 = 4;

/// Times, from a nanosecond to an hour with three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).expect("constant bounds that fit");
        Latencies { histogram }
    }
}

impl Latencies {
    /// Takes one time.
    pub fn record(&mut self, latency: Duration) {
        self.record_ns(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes one time in nanoseconds.
    pub fn record_ns(&mut self, nanoseconds: u64) {
        self.histogram.saturating_record(nanoseconds.max(1));
    }

    /// Takes everything of another histogram.
    pub fn merge(&mut self, other: &Latencies) {
        // Only different bounds can make this fail.
        let _ = self.histogram.add(&other.histogram);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// How many are at least this long, give or take the histogram's resolution.
    pub fn count_from(&self, latency: Duration) -> u64 {
        let from = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.count_between(from, HIGHEST_NS)
    }

    /// The time that a share of them, from 0 to 1, does not exceed; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(if self.histogram.is_empty() {
            0
        } else {
            self.histogram.value_at_quantile(share)
        })
    }

    /// What a report says about them; `None` when there are none.
    pub fn summary(&self) -> Option<Summary> {
        if self.histogram.is_empty() {
            return None;
        }
        let at = |share| micros(self.histogram.value_at_quantile(share));
        Some(Summary {
            count: self.count(),
            mean_us: self.histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: micros(self.histogram.max()),
            distribution: self
                .histogram
                .iter_quantiles(TICKS_PER_HALF)
                .map(|step| (step.quantile_iterated_to(), micros(step.value_iterated_to())))
                .collect(),
        })
    }
}

fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

/// Quantiles of a histogram, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Values.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 90 %.
    pub p90_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// 99.9 %.
    pub p999_us: f64,
    /// 99.99 %.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Shares from 0 to 1 and the time that each does not exceed: the whole histogram, finer towards its end.
    pub distribution: Vec<(f64, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_keep_three_digits() {
        let mut latencies = Latencies::default();
        for micros in 1..=1_000 {
            latencies.record(Duration::from_micros(micros));
        }
        for (share, expected) in [(0.5, 500_000.0), (0.99, 990_000.0), (0.999, 999_000.0), (1.0, 1e6)] {
            let found = latencies.quantile(share).as_nanos() as f64;
            assert!((found / expected - 1.0).abs() < 0.002, "{share}: {found}");
        }
        assert_eq!(latencies.count(), 1_000);
        let long = latencies.count_from(Duration::from_micros(901));
        assert!((99..=101).contains(&long), "{long}");
    }

    #[test]
    fn histograms_of_threads_add_up() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record(Duration::from_millis(1));
        other.record(Duration::from_secs(2));
        one.merge(&other);
        let summary = one.summary().expect("two values");
        assert_eq!(summary.count, 2);
        assert!((summary.max_us / 2e6 - 1.0).abs() < 0.002);
        let shares: Vec<f64> = summary.distribution.iter().map(|(share, _)| *share).collect();
        assert!(shares.is_sorted() && shares.last() == Some(&1.0), "{shares:?}");
    }

    #[test]
    fn nothing_and_too_much_are_no_trouble() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.quantile(0.5), latencies.summary()), (Duration::ZERO, None));
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(1 << 40));
        assert_eq!(latencies.count(), 2);
        assert!(latencies.quantile(1.0) >= Duration::from_secs(3_590));
    }
}
