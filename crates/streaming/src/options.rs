//! What an operator decides about the engine.

use crate::channel_limits::Limits;
use crate::limits::{CHECKPOINT_FACTS_MAX, DAMAGE_LOOK_NS, HANDLE_WORK_MAX, RUNS_PER_FACT_MAX};
use crate::limits_table::LimitsTable;

/// How much is done at a time; the defaults suit servers, tests use small ones to meet every boundary. All at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Sends, skipped messages, trims and closed subscriptions in one call of `handle`.
    pub work: usize,
    /// Facts per checkpoint step.
    pub facts: usize,
    /// Runs of pending sequences in one fact of a checkpoint.
    pub runs: usize,
}

impl Default for Slices {
    fn default() -> Slices {
        Slices {
            work: HANDLE_WORK_MAX,
            facts: CHECKPOINT_FACTS_MAX,
            runs: RUNS_PER_FACT_MAX,
        }
    }
}

/// Everything an engine is told at its creation.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names the service; a store belongs to one cluster ID.
    pub cluster_id: String,
    /// Prefix of the discovery subject; only a new store takes it, later ones use what they hold.
    pub discover_prefix: String,
    /// Random and secret: what the names of new ack inboxes are made from.
    pub ack_inbox_key: [u8; 16],
    /// Seeds the hashes, so that senders of names cannot choose collisions.
    pub hash_seed: u64,
    /// The global limits, and those of single channels.
    pub limits: LimitsTable,
    /// Whether only channels that the limits list are served, other servers having the rest (§10).
    pub partitioning: bool,
    /// Bytes added per message in size accounting: 40 for a FILE store, 0 for MEMORY (§6.1).
    pub message_overhead: u32,
    /// Nanoseconds between heartbeats (§2.10).
    pub heartbeat_interval_ns: u64,
    /// Nanoseconds a heartbeat may take (§2.10).
    pub heartbeat_timeout_ns: u64,
    /// Failed heartbeats in a row that are tolerated; one more closes the client (§2.10).
    pub heartbeat_fail_count: u32,
    /// Whether a second request for an active durable replaces the first (§5.7).
    pub replace_durable: bool,
    /// Whether debug lines are produced.
    pub debug: bool,
    /// Whether trace lines are produced.
    pub trace: bool,
    /// Nanoseconds per unit of the AckWait of a request: 1e9, and less in tests only.
    pub ack_wait_unit_ns: u64,
    /// Nanoseconds after which damaged messages are looked at again at the latest, after shorter pauses at first: a minute, and less in
    /// tests only.
    pub damage_look_ns: u64,
    /// How much is done at a time.
    pub slices: Slices,
}

impl Default for Options {
    /// The defaults of §7.2 with a MEMORY store's accounting; the seeds are fixed and meant for tests.
    fn default() -> Options {
        Options {
            cluster_id: "test-cluster".to_owned(),
            discover_prefix: "_STAN.discover".to_owned(),
            ack_inbox_key: *b"0123456789abcdef",
            hash_seed: 1,
            limits: LimitsTable::from(Limits {
                max_channels: 100,
                max_subscriptions: 1000,
                max_messages: 1_000_000,
                max_bytes: 1_024_000_000,
                max_age_ns: 0,
                max_inactivity_ns: 0,
            }),
            partitioning: false,
            message_overhead: 0,
            heartbeat_interval_ns: 30_000_000_000,
            heartbeat_timeout_ns: 10_000_000_000,
            heartbeat_fail_count: 10,
            replace_durable: false,
            debug: false,
            trace: false,
            ack_wait_unit_ns: 1_000_000_000,
            damage_look_ns: DAMAGE_LOOK_NS,
            slices: Slices::default(),
        }
    }
}
