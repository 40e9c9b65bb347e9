//! Flags of the streaming engine and its stores (specification §7.2), but for the modes of operation.

use std::path::PathBuf;
use std::time::Duration;

use super::Effect::{NotBuilt, Nothing, Overrides, Sets};
use super::Group::{FileStore, Limits, Streaming};
use super::Kind::{Bool, Duration as Time, Int, Size, Text};
use super::{Flag, Value};
use crate::go::format_duration_nanos;
use crate::options::{Options, StoreKind};

const BATCHES: &str = "batches form by themselves from what waits";
const COMPACTION: &str = "the journal gives space back by itself";
const SLICES: &str = "the journal sizes its segments by itself";
const BUFFERS: &str = "the journal sizes its buffers by itself";
const CHECKSUMS: &str = "the journal always verifies its checksums";

const EXTERNAL: &str = "the connection to an external NATS server";

/// See the module.
pub(super) static FLAGS: &[Flag] = &[
    Flag::new(
        Streaming,
        &["cid", "cluster_id"],
        Text,
        "test-cluster",
        "Cluster ID",
        Sets(cluster_id),
    ),
    Flag::new(
        Streaming,
        &["st", "store"],
        Text,
        "MEMORY",
        "Store type: MEMORY or FILE",
        Sets(store),
    )
    .seaway("FILE"),
    Flag::new(
        Streaming,
        &["dir"],
        Text,
        "",
        "Root directory of the FILE store",
        Sets(dir),
    )
    .seaway("./seaway-data"),
    Flag::new(
        Limits,
        &["mc", "max_channels"],
        Int,
        "100",
        "Channels, 0 is unlimited",
        Sets(max_channels),
    ),
    Flag::new(
        Limits,
        &["msu", "max_subs"],
        Int,
        "1000",
        "Subscriptions per channel, 0 is unlimited",
        Sets(max_subs),
    ),
    Flag::new(
        Limits,
        &["mm", "max_msgs"],
        Int,
        "1000000",
        "Messages per channel, 0 is unlimited",
        Sets(max_msgs),
    ),
    Flag::new(
        Limits,
        &["mb", "max_bytes"],
        Size,
        "1024000000",
        "Bytes per channel, 0 is unlimited",
        Sets(max_bytes),
    ),
    Flag::new(
        Limits,
        &["ma", "max_age"],
        Time,
        "0s",
        "Age of messages, 0 is unlimited",
        Sets(max_age),
    ),
    Flag::new(
        Limits,
        &["mi", "max_inactivity"],
        Time,
        "0s",
        "Time without activity after which a channel is deleted, 0 is never",
        Sets(max_inactivity),
    ),
    Flag::new(
        Streaming,
        &["hbi", "hb_interval"],
        Time,
        "30s",
        "Interval of the heartbeats to clients",
        Sets(|options, value| positive("heartbeat interval", value, &mut options.streaming.heartbeats.interval)),
    ),
    Flag::new(
        Streaming,
        &["hbt", "hb_timeout"],
        Time,
        "10s",
        "Time to wait for the answer to a heartbeat",
        Sets(|options, value| positive("heartbeat timeout", value, &mut options.streaming.heartbeats.timeout)),
    ),
    Flag::new(
        Streaming,
        &["hbf", "hb_fail_count"],
        Int,
        "10",
        "Unanswered heartbeats before a client is closed",
        Sets(hb_fail_count),
    ),
    Flag::new(
        Streaming,
        &["replace_durable"],
        Bool,
        "false",
        "Let a new subscription replace an active one with the same durable name",
        Sets(replace_durable),
    ),
    Flag::new(
        Streaming,
        &["SD", "stan_debug"],
        Bool,
        "false",
        "Debug lines of the streaming engine",
        Sets(debug),
    ),
    Flag::new(
        Streaming,
        &["SV", "stan_trace"],
        Bool,
        "false",
        "Trace lines of the streaming engine",
        Sets(trace),
    ),
    Flag::new(
        Streaming,
        &["SDV"],
        Bool,
        "false",
        "Both -SD and -SV",
        Overrides(debug_and_trace),
    ),
    Flag::new(
        Streaming,
        &["io_batch_size"],
        Int,
        "1024",
        "Publishes per I/O batch",
        Nothing(BATCHES),
    ),
    Flag::new(
        Streaming,
        &["io_sleep_time"],
        Int,
        "0",
        "Microseconds to wait for more publishes",
        Nothing(BATCHES),
    ),
    Flag::new(
        Streaming,
        &["ns", "nats_server"],
        Text,
        "",
        "URL of an external NATS server",
        NotBuilt(EXTERNAL),
    ),
    Flag::new(
        Streaming,
        &["sc", "stan_config"],
        Text,
        "",
        "Streaming configuration file",
        NotBuilt("configuration files"),
    ),
    Flag::new(
        Streaming,
        &["syslog_name"],
        Text,
        "",
        "Name used in the system log",
        NotBuilt("the system log as a target"),
    ),
    Flag::new(
        FileStore,
        &["file_sync"],
        Bool,
        "true",
        "Sync what is acknowledged to disk first",
        Sets(file_sync),
    ),
    Flag::new(
        FileStore,
        &["file_auto_sync"],
        Time,
        "1m0s",
        "Period of background syncs",
        Nothing("every commit is synced, unless -file_sync=false leaves syncing to the system"),
    ),
    Flag::new(
        FileStore,
        &["file_compact_enabled"],
        Bool,
        "true",
        "Compaction of files",
        Nothing(COMPACTION),
    ),
    Flag::new(
        FileStore,
        &["file_compact_frag"],
        Int,
        "50",
        "Fragmentation that starts a compaction, percent",
        Nothing(COMPACTION),
    ),
    Flag::new(
        FileStore,
        &["file_compact_interval"],
        Int,
        "300",
        "Seconds between compactions",
        Nothing(COMPACTION),
    ),
    Flag::new(
        FileStore,
        &["file_compact_min_size"],
        Size,
        "1048576",
        "Smallest file to compact",
        Nothing(COMPACTION),
    ),
    Flag::new(
        FileStore,
        &["file_buffer_size"],
        Size,
        "2097152",
        "Write buffer",
        Nothing(BUFFERS),
    ),
    Flag::new(
        FileStore,
        &["file_read_buffer_size"],
        Size,
        "2097152",
        "Read-ahead buffer",
        Nothing(BUFFERS),
    ),
    Flag::new(
        FileStore,
        &["file_crc"],
        Bool,
        "true",
        "Verify checksums on read",
        Nothing(CHECKSUMS),
    ),
    Flag::new(
        FileStore,
        &["file_crc_poly"],
        Int,
        "3988292384",
        "Polynomial of the checksums",
        Nothing(CHECKSUMS),
    ),
    Flag::new(
        FileStore,
        &["file_slice_max_msgs"],
        Int,
        "0",
        "Messages per file slice",
        Nothing(SLICES),
    ),
    Flag::new(
        FileStore,
        &["file_slice_max_bytes"],
        Size,
        "67108864",
        "Bytes per file slice",
        Nothing(SLICES),
    ),
    Flag::new(
        FileStore,
        &["file_slice_max_age"],
        Time,
        "0s",
        "Time span of a file slice",
        Nothing(SLICES),
    ),
    Flag::new(
        FileStore,
        &["file_slice_archive_script"],
        Text,
        "",
        "Script that archives removed file slices",
        NotBuilt("archiving of removed messages"),
    ),
    Flag::new(
        FileStore,
        &["file_fds_limit"],
        Int,
        "0",
        "Soft limit of open files",
        Nothing("the number of open files does not grow with channels"),
    ),
    Flag::new(
        FileStore,
        &["file_parallel_recovery"],
        Int,
        "1",
        "Channels recovered in parallel",
        Nothing("all channels are recovered together"),
    ),
    Flag::new(
        FileStore,
        &["file_truncate_bad_eof"],
        Bool,
        "false",
        "Cut a damaged end of a file on recovery",
        Nothing("a torn end of the journal is always cut and reported"),
    ),
];

/// A cluster ID becomes part of subjects: tokens without blanks that are no wildcards.
fn cluster_id(options: &mut Options, value: &Value) -> Result<(), String> {
    let id = value.text();
    let valid_token =
        |token: &str| !matches!(token, "" | "*" | ">") && !token.chars().any(|c| c.is_whitespace() || c.is_control());
    if !id.split('.').all(valid_token) {
        return Err(format!("invalid cluster ID {id:?}"));
    }
    options.streaming.cluster_id = id.to_owned();
    Ok(())
}

fn store(options: &mut Options, value: &Value) -> Result<(), String> {
    let name = value.text().to_uppercase();
    options.streaming.store = match name.as_str() {
        "MEMORY" => StoreKind::Memory,
        "FILE" => StoreKind::File,
        "SQL" => return Err("-store SQL: this build does not have an SQL store yet".to_owned()),
        _ => return Err(format!("unsupported store type: {name}")),
    };
    Ok(())
}

fn dir(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.dir = PathBuf::from(value.text());
    Ok(())
}

fn max_channels(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_channels = limit("max channels", value)?;
    Ok(())
}

fn max_subs(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_subs = limit("max subscriptions", value)?;
    Ok(())
}

fn max_msgs(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_msgs = limit("max messages", value)?;
    Ok(())
}

fn max_bytes(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_bytes = limit("max bytes", value)?;
    Ok(())
}

fn max_age(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_age = Duration::from_nanos(limit("max age", value)?);
    Ok(())
}

fn max_inactivity(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_inactivity = Duration::from_nanos(limit("max inactivity", value)?);
    Ok(())
}

/// A limit that is not negative (specification §3).
fn limit(what: &str, value: &Value) -> Result<u64, String> {
    u64::try_from(value.number()).map_err(|_| {
        let shown = match value {
            Value::Nanos(nanos) => format_duration_nanos(*nanos),
            _ => value.number().to_string(),
        };
        format!("{what} limit cannot be negative ({shown})")
    })
}

/// A duration above zero.
fn positive(what: &str, value: &Value, target: &mut Duration) -> Result<(), String> {
    match u64::try_from(value.number()) {
        Ok(nanos) if nanos > 0 => *target = Duration::from_nanos(nanos),
        _ => {
            return Err(format!(
                "{what} must be positive ({})",
                format_duration_nanos(value.number())
            ));
        }
    }
    Ok(())
}

fn hb_fail_count(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.heartbeats.fail_count =
        u32::try_from(value.number()).map_err(|_| format!("invalid heartbeat fail count ({})", value.number()))?;
    Ok(())
}

fn replace_durable(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.replace_durable = value.is_true();
    Ok(())
}

fn file_sync(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.file_sync = value.is_true();
    Ok(())
}

fn debug(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.debug = value.is_true();
    Ok(())
}

fn trace(options: &mut Options, value: &Value) -> Result<(), String> {
    options.streaming.trace = value.is_true();
    Ok(())
}

fn debug_and_trace(options: &mut Options, value: &Value) -> Result<(), String> {
    debug(options, value)?;
    trace(options, value)
}
