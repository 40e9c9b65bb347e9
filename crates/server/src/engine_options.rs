//! What the engine is told: the command line's and the file's options in the engine's units.

use std::time::Duration;

use anyhow::Result;
use seaway_config::{StoreKind, StreamingOptions};
use seaway_streaming::{ChannelLimits, Limits, LimitsError, LimitsTable};

/// The engine's options.
///
/// # Errors
/// Limits that contradict each other, in the words of §3.
pub(crate) fn engine_options(streaming: &StreamingOptions) -> Result<seaway_streaming::Options> {
    Ok(seaway_streaming::Options {
        cluster_id: streaming.cluster_id.clone(),
        discover_prefix: streaming.discover_prefix.clone(),
        ack_inbox_key: crate::token::secret(),
        hash_seed: fastrand::u64(..),
        limits: limits_table(streaming)?,
        partitioning: streaming.partitioning,
        message_overhead: message_overhead(streaming.store),
        heartbeat_interval_ns: nanoseconds(streaming.heartbeats.interval),
        heartbeat_timeout_ns: nanoseconds(streaming.heartbeats.timeout),
        heartbeat_fail_count: streaming.heartbeats.fail_count,
        replace_durable: streaming.replace_durable,
        debug: streaming.debug,
        trace: streaming.trace,
        ..seaway_streaming::Options::default()
    })
}

/// The limits of all channels and of single ones (§6.1, §6.2), resolved.
///
/// # Errors
/// More channels are named than may exist, or a name is not valid.
pub(crate) fn limits_table(streaming: &StreamingOptions) -> Result<LimitsTable, LimitsError> {
    let limits = &streaming.limits;
    let global = Limits {
        max_channels: count(limits.max_channels),
        max_subscriptions: count(limits.max_subs),
        max_messages: limits.max_msgs,
        max_bytes: limits.max_bytes,
        max_age_ns: nanoseconds(limits.max_age),
        max_inactivity_ns: nanoseconds(limits.max_inactivity),
    };
    let entries: Vec<(String, ChannelLimits)> = streaming
        .channel_limits
        .iter()
        .map(|entry| {
            let own = ChannelLimits {
                max_subscriptions: entry.max_subscriptions.map(count),
                max_messages: entry.max_messages,
                max_bytes: entry.max_bytes,
                max_age_ns: entry.max_age.map(nanoseconds),
                max_inactivity_ns: entry.max_inactivity.map(nanoseconds),
            };
            (entry.pattern.clone(), own)
        })
        .collect();
    LimitsTable::new(global, &entries)
}

fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the original's store adds to each message in its accounting (§6.1).
fn message_overhead(store: StoreKind) -> u32 {
    match store {
        StoreKind::Memory => 0,
        StoreKind::File => 40,
    }
}
