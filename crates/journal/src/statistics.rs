//! Figures for monitoring: plain counters and histograms that are copied out when somebody asks. Updated where things happen,
//! once per commit and not once per message.

/// Inclusive upper bounds of the buckets of batch sizes, bytes.
const BATCH_BYTES: [u64; 12] = [
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    32 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    2 << 20,
    4 << 20,
];
/// Of records per batch.
const BATCH_RECORDS: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 512, 2_048, 8_192, 32_768];
/// Of the time a commit takes, nanoseconds: 50 µs to 2.5 s.
const COMMIT_NANOSECONDS: [u64; 14] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    2_500_000_000,
];
/// Most buckets of a histogram, the one without an upper bound included.
const BUCKETS_MAX: usize = 16;

const _: () = assert!(BATCH_BYTES.len() < BUCKETS_MAX && COMMIT_NANOSECONDS.len() < BUCKETS_MAX);

/// How often values fell between fixed bounds. The default has no bounds and counts everything in one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: [u64; BUCKETS_MAX],
    sum: u64,
}

impl Histogram {
    /// With these inclusive upper bounds, ascending, fewer than 16.
    const fn new(bounds: &'static [u64]) -> Histogram {
        assert!(bounds.len() < BUCKETS_MAX);
        Histogram {
            bounds,
            counts: [0; BUCKETS_MAX],
            sum: 0,
        }
    }

    pub(crate) fn observe(&mut self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Upper bound of each bucket, ascending, and how many values are not above it. Values above all bounds are only in
    /// [`Histogram::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut total = 0;
        self.bounds.iter().zip(self.counts).map(move |(bound, count)| {
            total += count;
            (*bound, total)
        })
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

/// Figures for monitoring. Bytes are file and record bytes; times are as measured by whoever ran the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Record bytes of live messages.
    pub live_bytes: u64,
    /// Bytes of all files of the journal.
    pub disk_bytes: u64,
    /// Segments, prepared ones included.
    pub segments: u64,
    /// Logs known.
    pub logs: u64,
    /// Records appended since the start.
    pub records: u64,
    /// Bytes committed since the start.
    pub committed_bytes: u64,
    /// Commits (one write and at most one sync each) since the start.
    pub commits: u64,
    /// Size of the largest batch committed.
    pub batch_bytes_max: u64,
    /// Bytes of each batch committed.
    pub batch_bytes: Histogram,
    /// Records of each batch committed.
    pub batch_records: Histogram,
    /// Nanoseconds of each commit: the write and its sync.
    pub commit_nanoseconds: Histogram,
    /// Longest commit.
    pub commit_nanoseconds_max: u64,
    /// Bytes copied by the rewriter since the start.
    pub rewritten_bytes: u64,
    /// Segments whose live messages the rewriter has copied since the start.
    pub rewritten_segments: u64,
    /// Segment files used again since the start.
    pub recycled: u64,
    /// Directories that were damaged and were made again since the start.
    pub directories_rebuilt: u64,
    /// Checkpoints published since the start.
    pub checkpoints: u64,
    /// Position at which the newest checkpoint begins; 0 without one.
    pub checkpoint_position: u64,
    /// Bytes of the newest checkpoint; 0 without one.
    pub checkpoint_bytes: u64,
    /// Batch bytes after the begin of the newest checkpoint: what the next start would have to read.
    pub tail_bytes: u64,
    /// Memory of the tail cache.
    pub cache_bytes: u64,
    /// Bytes of segments that hold nothing live and stay until they are archived.
    pub unarchived_bytes: u64,
    /// How often what was not archived was given up.
    pub archive_given_up: u64,
}

impl Default for Statistics {
    fn default() -> Statistics {
        Statistics {
            live_bytes: 0,
            disk_bytes: 0,
            segments: 0,
            logs: 0,
            records: 0,
            committed_bytes: 0,
            commits: 0,
            batch_bytes_max: 0,
            batch_bytes: Histogram::new(&BATCH_BYTES),
            batch_records: Histogram::new(&BATCH_RECORDS),
            commit_nanoseconds: Histogram::new(&COMMIT_NANOSECONDS),
            commit_nanoseconds_max: 0,
            rewritten_bytes: 0,
            rewritten_segments: 0,
            recycled: 0,
            directories_rebuilt: 0,
            checkpoints: 0,
            checkpoint_position: 0,
            checkpoint_bytes: 0,
            tail_bytes: 0,
            cache_bytes: 0,
            unarchived_bytes: 0,
            archive_given_up: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_every_bucket_whose_bound_is_not_below_it() {
        let mut histogram = Histogram::new(&[1, 4, 16]);
        for value in [0, 1, 2, 4, 5, 16, 17, 1_000] {
            histogram.observe(value);
        }
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(1, 2), (4, 4), (16, 6)]);
        assert_eq!((histogram.count(), histogram.sum()), (8, 1_045));
        for bounds in [&BATCH_BYTES[..], &BATCH_RECORDS, &COMMIT_NANOSECONDS] {
            assert!(bounds.is_sorted_by(|left, right| left < right), "{bounds:?}");
        }
    }
}
