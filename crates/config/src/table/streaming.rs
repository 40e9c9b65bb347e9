//! Options of the streaming engine and its stores (specification §7.2, §7.6), but for the modes of operation.

use std::path::PathBuf;
use std::time::Duration;

use super::Effect::{NotBuilt, Nothing, Overrides, Sets, Tuning};
use super::Kind::{Block, Bool, Duration as Time, Int, Size, Text};
use super::{Entry, Group, Section, Value};
use crate::draft::Draft;
use crate::file::channels;
use crate::go::format_duration_nanos;
use crate::options::{Secret, StoreKind};

const BATCHES: &str = "batches form by themselves from what waits";
const COMPACTION: &str = "the journal gives space back by itself";
const SLICES: &str = "the journal sizes its segments by itself";
const SLICES_TEXT: &str = "slice max values must be positive numbers";
const BUFFERS: &str = "the journal sizes its buffers by itself";
const CHECKSUMS: &str = "the journal always verifies its checksums";

const IN_PROCESS: &str = "the engine reaches the broker inside the process";

const EXTERNAL: &str = "the connection to an external NATS server";

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        Group::Streaming,
        &["cid", "cluster_id"],
        Text,
        "test-cluster",
        "Cluster ID",
        Sets(cluster_id),
    )
    .keys(Section::Streaming, &["id", "cid", "cluster_id"]),
    Entry::new(
        Group::Streaming,
        &["st", "store"],
        Text,
        "MEMORY",
        "Store type: MEMORY or FILE",
        Sets(store),
    )
    .seaway("FILE")
    .keys(Section::Streaming, &["store", "st", "store_type", "storetype"]),
    Entry::new(
        Group::Streaming,
        &["dir"],
        Text,
        "",
        "Root directory of the FILE store",
        Sets(dir),
    )
    .seaway("./seaway-data")
    .keys(Section::Streaming, &["dir", "datastore"]),
    Entry::new(
        Group::Limits,
        &["mc", "max_channels"],
        Int,
        "100",
        "Channels, 0 is unlimited",
        Sets(max_channels),
    )
    .keys(Section::Limits, &["max_channels", "mc", "maxchannels"]),
    Entry::new(
        Group::Limits,
        &["msu", "max_subs"],
        Int,
        "1000",
        "Subscriptions per channel, 0 is unlimited",
        Sets(max_subs),
    )
    .keys(
        Section::Limits,
        &["max_subs", "msu", "max_subscriptions", "maxsubscriptions"],
    ),
    Entry::new(
        Group::Limits,
        &["mm", "max_msgs"],
        Int,
        "1000000",
        "Messages per channel, 0 is unlimited",
        Sets(max_msgs),
    )
    .keys(Section::Limits, &["max_msgs", "mm", "maxmsgs", "max_count", "maxcount"]),
    Entry::new(
        Group::Limits,
        &["mb", "max_bytes"],
        Size,
        "1024000000",
        "Bytes per channel, 0 is unlimited",
        Sets(max_bytes),
    )
    .keys(Section::Limits, &["max_bytes", "mb", "maxbytes"]),
    Entry::new(
        Group::Limits,
        &["ma", "max_age"],
        Time,
        "0s",
        "Age of messages, 0 is unlimited",
        Sets(max_age),
    )
    .keys(Section::Limits, &["max_age", "ma", "maxage"]),
    Entry::new(
        Group::Limits,
        &["mi", "max_inactivity"],
        Time,
        "0s",
        "Time without activity after which a channel is deleted, 0 is never",
        Sets(max_inactivity),
    )
    .keys(Section::Limits, &["max_inactivity", "mi", "maxinactivity"]),
    Entry::new(
        Group::Streaming,
        &["hbi", "hb_interval"],
        Time,
        "30s",
        "Interval of the heartbeats to clients",
        Sets(|options, value| positive("heartbeat interval", value, &mut options.streaming.heartbeats.interval)),
    )
    .keys(
        Section::Streaming,
        &["hb_interval", "hbi", "server_to_client_hb_interval"],
    ),
    Entry::new(
        Group::Streaming,
        &["hbt", "hb_timeout"],
        Time,
        "10s",
        "Time to wait for the answer to a heartbeat",
        Sets(|options, value| positive("heartbeat timeout", value, &mut options.streaming.heartbeats.timeout)),
    )
    .keys(
        Section::Streaming,
        &["hb_timeout", "hbt", "server_to_client_hb_timeout"],
    ),
    Entry::new(
        Group::Streaming,
        &["hbf", "hb_fail_count"],
        Int,
        "10",
        "Unanswered heartbeats before a client is closed",
        Sets(hb_fail_count),
    )
    .keys(
        Section::Streaming,
        &["hb_fail_count", "hbf", "server_to_client_hb_fail_count"],
    ),
    Entry::new(
        Group::Streaming,
        &["replace_durable"],
        Bool,
        "false",
        "Let a new subscription replace an active one with the same durable name",
        Sets(replace_durable),
    )
    .keys(
        Section::Streaming,
        &[
            "replace_durable",
            "replace_durables",
            "replace_duplicate_durable",
            "replace_duplicate_durables",
        ],
    ),
    Entry::new(
        Group::Streaming,
        &["SD", "stan_debug"],
        Bool,
        "false",
        "Debug lines of the streaming engine",
        Sets(debug),
    )
    .keys(Section::Streaming, &["sd", "stan_debug"]),
    Entry::new(
        Group::Streaming,
        &["SV", "stan_trace"],
        Bool,
        "false",
        "Trace lines of the streaming engine",
        Sets(trace),
    )
    .keys(Section::Streaming, &["sv", "stan_trace"]),
    Entry::new(
        Group::Streaming,
        &["SDV"],
        Bool,
        "false",
        "Both -SD and -SV",
        Overrides(debug_and_trace),
    ),
    Entry::new(
        Group::Streaming,
        &["io_batch_size"],
        Int,
        "1024",
        "Publishes per I/O batch",
        Nothing(BATCHES),
    ),
    Entry::new(
        Group::Streaming,
        &["io_sleep_time"],
        Int,
        "0",
        "Microseconds to wait for more publishes",
        Nothing(BATCHES),
    ),
    Entry::new(
        Group::Streaming,
        &["ns", "nats_server"],
        Text,
        "",
        "URL of an external NATS server",
        NotBuilt(EXTERNAL),
    )
    .keys(Section::Streaming, &["nats_server", "ns", "nats_server_url"]),
    Entry::new(
        Group::Streaming,
        &["sc", "stan_config"],
        Text,
        "",
        "Streaming configuration file",
        Sets(stan_config),
    ),
    Entry::new(
        Group::Streaming,
        &["syslog_name"],
        Text,
        "",
        "Name used in the system log",
        Sets(syslog_name),
    )
    .keys(Section::Streaming, &["syslog_name"]),
    Entry::new(
        Group::FileStore,
        &["file_sync"],
        Bool,
        "true",
        "Sync what is acknowledged to disk first",
        Sets(file_sync),
    )
    .keys(Section::File, &["sync", "do_sync", "sync_on_flush"]),
    Entry::new(
        Group::FileStore,
        &["file_auto_sync"],
        Time,
        "1m0s",
        "Period of background syncs",
        Nothing("every commit is synced, unless -file_sync=false leaves syncing to the system"),
    )
    .keys(Section::File, &["auto_sync", "file_auto_sync"]),
    Entry::new(
        Group::FileStore,
        &["file_compact_enabled"],
        Bool,
        "true",
        "Compaction of files",
        Nothing(COMPACTION),
    )
    .keys(Section::File, &["compact", "compact_enabled"]),
    Entry::new(
        Group::FileStore,
        &["file_compact_frag"],
        Int,
        "50",
        "Fragmentation that starts a compaction, percent",
        Tuning(COMPACTION, |value| {
            at_least(1, value, "compact fragmentation value must at least be 1")
        }),
    )
    .keys(Section::File, &["compact_frag", "compact_fragmentation"]),
    Entry::new(
        Group::FileStore,
        &["file_compact_interval"],
        Int,
        "300",
        "Seconds between compactions",
        Tuning(COMPACTION, |value| {
            at_least(1, value, "compact interval value must at least be 1 seconds")
        }),
    )
    .keys(Section::File, &["compact_interval"]),
    Entry::new(
        Group::FileStore,
        &["file_compact_min_size"],
        Size,
        "1048576",
        "Smallest file to compact",
        Tuning(COMPACTION, |value| {
            at_least(0, value, "compact minimum file size value must be a positive number")
        }),
    )
    .keys(Section::File, &["compact_min_size"]),
    Entry::new(
        Group::FileStore,
        &["file_buffer_size"],
        Size,
        "2097152",
        "Write buffer",
        Tuning(BUFFERS, |value| {
            at_least(0, value, "buffer size value must be a positive number")
        }),
    )
    .keys(Section::File, &["buffer_size"]),
    Entry::new(
        Group::FileStore,
        &["file_read_buffer_size"],
        Size,
        "2097152",
        "Read-ahead buffer",
        Tuning(BUFFERS, |value| {
            at_least(0, value, "read buffer size value must be a positive number")
        }),
    )
    .keys(Section::File, &["read_buffer_size", "file_read_buffer_size"]),
    Entry::new(
        Group::FileStore,
        &["file_crc"],
        Bool,
        "true",
        "Verify checksums on read",
        Nothing(CHECKSUMS),
    )
    .keys(Section::File, &["crc", "do_crc"]),
    Entry::new(
        Group::FileStore,
        &["file_crc_poly"],
        Int,
        "3988292384",
        "Polynomial of the checksums",
        Tuning(CHECKSUMS, crc_polynomial),
    )
    .keys(Section::File, &["crc_poly"]),
    Entry::new(
        Group::FileStore,
        &["file_slice_max_msgs"],
        Int,
        "0",
        "Messages per file slice",
        Tuning(SLICES, |value| at_least(0, value, SLICES_TEXT)),
    )
    .keys(
        Section::File,
        &["slice_max_msgs", "slice_max_count", "slice_msgs", "slice_count"],
    ),
    Entry::new(
        Group::FileStore,
        &["file_slice_max_bytes"],
        Size,
        "67108864",
        "Bytes per file slice",
        Tuning(SLICES, |value| at_least(0, value, SLICES_TEXT)),
    )
    .keys(
        Section::File,
        &["slice_max_bytes", "slice_max_size", "slice_bytes", "slice_size"],
    ),
    Entry::new(
        Group::FileStore,
        &["file_slice_max_age"],
        Time,
        "0s",
        "Time span of a file slice",
        Tuning(SLICES, |value| at_least(0, value, SLICES_TEXT)),
    )
    .keys(
        Section::File,
        &["slice_max_age", "slice_age", "slice_max_time", "slice_time_limit"],
    ),
    Entry::new(
        Group::FileStore,
        &["file_slice_archive_script"],
        Text,
        "",
        "Script that archives removed file slices",
        NotBuilt("archiving of removed messages"),
    )
    .keys(
        Section::File,
        &["slice_archive_script", "slice_archive", "slice_script"],
    ),
    Entry::new(
        Group::FileStore,
        &["file_fds_limit"],
        Int,
        "0",
        "Soft limit of open files",
        Tuning("the number of open files does not grow with channels", |value| {
            at_least(0, value, "file descriptor limit must be a positive number")
        }),
    )
    .keys(Section::File, &["fds_limit", "file_descriptors_limit"]),
    Entry::new(
        Group::FileStore,
        &["file_parallel_recovery"],
        Int,
        "1",
        "Channels recovered in parallel",
        Tuning("all channels are recovered together", |value| {
            at_least(1, value, "parallel recovery value must be at least 1")
        }),
    )
    .keys(Section::File, &["parallel_recovery"]),
    Entry::new(
        Group::FileStore,
        &["file_truncate_bad_eof"],
        Bool,
        "false",
        "Cut a damaged end of a file on recovery",
        Nothing("a torn end of the journal is always cut and reported"),
    ),
    Entry::new(
        Group::Streaming,
        &[],
        Text,
        "_STAN.discover",
        "Prefix of the subject on which clients connect",
        Sets(discover_prefix),
    )
    .keys(Section::Streaming, &["discover_prefix"]),
    Entry::new(
        Group::Streaming,
        &[],
        Bool,
        "false",
        "Serve only the channels and patterns of `channels` in the limits",
        Sets(partitioning),
    )
    .keys(Section::Streaming, &["partitioning"]),
    Entry::new(
        Group::ChannelLimits,
        &[],
        Block,
        "",
        "Limits of channels and patterns, see below",
        Sets(channels::set),
    )
    .keys(
        Section::Limits,
        &[
            "channels",
            "channels_limits",
            "channelslimits",
            "per_channel",
            "per_channel_limits",
        ],
    ),
    Entry::new(
        Group::Streaming,
        &[],
        Text,
        "",
        "Credentials file for an external NATS server",
        Nothing(IN_PROCESS),
    )
    .keys(Section::Streaming, &["credentials"])
    .without_variable(),
    Entry::new(
        Group::Streaming,
        &[],
        Text,
        "",
        "Seed of the key for the engine's own connections",
        Nothing(IN_PROCESS),
    )
    .keys(Section::Streaming, &["nkey_seed_file"])
    .without_variable(),
    Entry::new(
        Group::Streaming,
        &[],
        Text,
        "",
        "User of the engine's own connections, which it does not need here",
        Sets(own_user),
    )
    .keys(Section::Streaming, &["username", "user"])
    .without_variable(),
    Entry::new(Group::Streaming, &[], Text, "", "Its password", Sets(own_password))
        .keys(Section::Streaming, &["password", "pass"])
        .without_variable(),
    Entry::new(
        Group::Streaming,
        &[],
        Text,
        "",
        "Token of the engine's own connections, which it does not need here",
        Sets(own_token),
    )
    .keys(Section::Streaming, &["token"])
    .without_variable(),
];

/// A number that is not below a bound.
fn at_least(bound: i64, value: &Value, text: &str) -> Result<(), String> {
    if value.number() < bound {
        return Err(text.to_owned());
    }
    Ok(())
}

fn crc_polynomial(value: &Value) -> Result<(), String> {
    if !(1..=i64::from(u32::MAX)).contains(&value.number()) {
        return Err("crc polynomial should be between 1 and 4294967295".to_owned());
    }
    Ok(())
}

fn stan_config(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming_config_file = value.present().map(PathBuf::from);
    Ok(())
}

fn syslog_name(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.syslog_name = value.present();
    Ok(())
}

/// The prefix becomes part of a subject: tokens without blanks that are no wildcards.
fn discover_prefix(options: &mut Draft, value: &Value) -> Result<(), String> {
    let prefix = value.text();
    if !is_literal_subject(prefix) {
        return Err(format!("invalid discover prefix {prefix:?}"));
    }
    options.streaming.discover_prefix = prefix.to_owned();
    Ok(())
}

fn partitioning(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.partitioning = value.is_true();
    Ok(())
}

fn own_user(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.own_credentials.user = value.present();
    Ok(())
}

fn own_password(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.own_credentials.password = value.present().map(Secret::new);
    Ok(())
}

fn own_token(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.own_credentials.token = value.present().map(Secret::new);
    Ok(())
}

fn is_literal_subject(text: &str) -> bool {
    text.split('.')
        .all(|token| !matches!(token, "" | "*" | ">") && !token.chars().any(|c| c.is_whitespace() || c.is_control()))
}

/// A cluster ID becomes part of subjects: tokens without blanks that are no wildcards.
fn cluster_id(options: &mut Draft, value: &Value) -> Result<(), String> {
    let id = value.text();
    if !is_literal_subject(id) {
        return Err(format!("invalid cluster ID {id:?}"));
    }
    options.streaming.cluster_id = id.to_owned();
    Ok(())
}

fn store(options: &mut Draft, value: &Value) -> Result<(), String> {
    let name = value.text().to_uppercase();
    options.streaming.store = match name.as_str() {
        "MEMORY" => StoreKind::Memory,
        "FILE" => StoreKind::File,
        "SQL" => return Err("-store SQL: this build does not have an SQL store yet".to_owned()),
        _ => return Err(format!("unsupported store type: {name}")),
    };
    Ok(())
}

fn dir(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.dir = PathBuf::from(value.text());
    Ok(())
}

fn max_channels(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_channels = limit("max channels", value)?;
    Ok(())
}

fn max_subs(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_subs = limit("max subscriptions", value)?;
    Ok(())
}

fn max_msgs(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_msgs = limit("max messages", value)?;
    Ok(())
}

fn max_bytes(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_bytes = limit("max bytes", value)?;
    Ok(())
}

fn max_age(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.limits.max_age = Duration::from_nanos(limit("max age", value)?);
    Ok(())
}

fn max_inactivity(options: &mut Draft, value: &Value) -> Result<(), String> {
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

fn hb_fail_count(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.heartbeats.fail_count =
        u32::try_from(value.number()).map_err(|_| format!("invalid heartbeat fail count ({})", value.number()))?;
    Ok(())
}

fn replace_durable(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.replace_durable = value.is_true();
    Ok(())
}

fn file_sync(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.file_sync = value.is_true();
    Ok(())
}

fn debug(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.debug = value.is_true();
    Ok(())
}

fn trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.trace = value.is_true();
    Ok(())
}

fn debug_and_trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    debug(options, value)?;
    trace(options, value)
}
