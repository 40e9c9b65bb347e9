//! What a seed chooses before the first step: limits, sizes, timings, how much is done at a time.

use fastrand::Rng;
use seaway_store::Sizes;
use seaway_streaming::{ChannelLimits, Limits, LimitsTable, Options, Slices};

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;

/// Which run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Decides everything.
    pub seed: u64,
    /// Steps before everything heals.
    pub steps: u32,
    /// Trace lines kept for a failure report.
    pub trace_lines: usize,
    /// Whether the disk's sync does what it says; without it a run is expected to fail.
    pub honest_sync: bool,
}

/// Sometimes a number of the range, mostly 0: unlimited.
fn limit(random: &mut Rng, one_in: u64, range: std::ops::Range<u64>) -> u64 {
    if random.u64(..one_in) == 0 {
        random.u64(range)
    } else {
        0
    }
}

/// The limits as they are written down: global ones, and those of single channels or patterns.
#[derive(Clone, Debug, Default)]
pub struct ChosenLimits {
    /// For every channel.
    pub global: Limits,
    /// By name or pattern.
    pub entries: Vec<(String, ChannelLimits)>,
}

impl ChosenLimits {
    /// As the engine takes them.
    pub(crate) fn table(&self) -> LimitsTable {
        LimitsTable::new(self.global, &self.entries).expect("the patterns are valid")
    }
}

const PATTERNS: [&str; 6] = [">", "*", "beta.>", "beta.*", "gamma", "beta.one"];

/// Sometimes a limit of a channel's own, which may be 0: unlimited.
fn own(random: &mut Rng, range: std::ops::Range<u64>) -> Option<u64> {
    (random.u8(..4) == 0).then(|| if random.u8(..3) == 0 { 0 } else { random.u64(range) })
}

pub(crate) fn limits(random: &mut Rng) -> ChosenLimits {
    let global = global_limits(random);
    let mut entries = Vec::new();
    if random.u8(..3) == 0 {
        for pattern in PATTERNS {
            if random.u8(..3) == 0 {
                let limits = ChannelLimits {
                    max_subscriptions: own(random, 2..8).map(|limit| usize::try_from(limit).unwrap_or(0)),
                    max_messages: own(random, 1..60),
                    max_bytes: own(random, 200..30_000),
                    max_age_ns: own(random, 1..20).map(|seconds| seconds * SECOND),
                    max_inactivity_ns: own(random, 2..12).map(|seconds| seconds * SECOND),
                };
                entries.push((pattern.to_owned(), limits));
            }
        }
    }
    ChosenLimits { global, entries }
}

fn global_limits(random: &mut Rng) -> Limits {
    Limits {
        max_channels: usize::try_from(limit(random, 3, 2..6)).unwrap_or(0),
        max_subscriptions: usize::try_from(limit(random, 4, 2..8)).unwrap_or(0),
        max_messages: limit(random, 3, 1..60),
        max_bytes: limit(random, 4, 200..30_000),
        max_age_ns: limit(random, 4, 1..20) * SECOND,
        max_inactivity_ns: limit(random, 4, 2..12) * SECOND,
    }
}

pub(crate) fn options(random: &mut Rng, limits: &ChosenLimits, in_memory: bool) -> Options {
    let small = random.u8(..3) == 0;
    let slices = if small {
        Slices {
            work: random.usize(1..12),
            facts: random.usize(1..5),
            runs: random.usize(1..4),
        }
    } else {
        Slices::default()
    };
    Options {
        limits: limits.table(),
        message_overhead: if in_memory { 0 } else { 40 },
        heartbeat_interval_ns: 2 * SECOND,
        heartbeat_timeout_ns: 500 * MILLISECOND,
        heartbeat_fail_count: 2,
        replace_durable: random.u8(..3) == 0,
        hash_seed: random.u64(..),
        debug: true,
        trace: true,
        damage_look_ns: random.u64(1..4) * SECOND,
        slices,
        ..Options::default()
    }
}

pub(crate) fn sizes(random: &mut Rng) -> Sizes {
    Sizes {
        segment_bytes: [64, 128, 512][random.usize(..3)] * 1024,
        cache_bytes: [4, 64, 4096][random.usize(..3)] * 1024,
        checkpoint_bytes: random.u64(8..128) * 1024,
        unarchived_bytes_max: None,
    }
}
