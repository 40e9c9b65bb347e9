//! Options of the streaming engine and its stores (specification §7.2, §7.6), but for the file store and
//! the modes of operation.

use std::path::PathBuf;
use std::time::Duration;

use super::entry::Effect::{Nothing, Overrides, Sets};
use super::entry::{Entry, Group, Section};
use crate::blocks::channels;
use crate::draft::Draft;
use crate::go::format_duration_nanos;
use crate::options::{GLOBAL_ACCOUNT, StoreKind};
use crate::value::Kind::{Block, Bool, Duration as Time, Int, List, Size, Text};
use crate::value::Value;

const BATCHES: &str = "batches form by themselves from what waits";

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
        &[],
        List,
        GLOBAL_ACCOUNT,
        "Account whose clients are served; one at present",
        Sets(account),
    )
    .keys(Section::Streaming, &["accounts"]),
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
    .keys(Section::Limits, channels::SUBSCRIPTIONS),
    Entry::new(
        Group::Limits,
        &["mm", "max_msgs"],
        Int,
        "1000000",
        "Messages per channel, 0 is unlimited",
        Sets(max_msgs),
    )
    .keys(Section::Limits, channels::MESSAGES),
    Entry::new(
        Group::Limits,
        &["mb", "max_bytes"],
        Size,
        "1024000000",
        "Bytes per channel, 0 is unlimited",
        Sets(max_bytes),
    )
    .keys(Section::Limits, channels::BYTES),
    Entry::new(
        Group::Limits,
        &["ma", "max_age"],
        Time,
        "0s",
        "Age of messages, 0 is unlimited",
        Sets(max_age),
    )
    .keys(Section::Limits, channels::AGE),
    Entry::new(
        Group::Limits,
        &["mi", "max_inactivity"],
        Time,
        "0s",
        "Time without activity after which a channel is deleted, 0 is never",
        Sets(max_inactivity),
    )
    .keys(Section::Limits, channels::INACTIVITY),
    Entry::new(
        Group::Streaming,
        &["hbi", "hb_interval"],
        Time,
        "30s",
        "Interval of the heartbeats to clients",
        Sets(hb_interval),
    )
    .keys(
        Section::Streaming,
        &["hb_interval", "hbi", "server_to_client_hb_interval"],
    )
    .positive(),
    Entry::new(
        Group::Streaming,
        &["hbt", "hb_timeout"],
        Time,
        "10s",
        "Time to wait for the answer to a heartbeat",
        Sets(hb_timeout),
    )
    .keys(
        Section::Streaming,
        &["hb_timeout", "hbt", "server_to_client_hb_timeout"],
    )
    .positive(),
    Entry::new(
        Group::Streaming,
        &["hbf", "hb_fail_count"],
        Int,
        "10",
        "Unanswered heartbeats that are tolerated; with one more a client is closed",
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
];

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

pub(super) fn is_literal_subject(text: &str) -> bool {
    text.split('.')
        .all(|token| !matches!(token, "" | "*" | ">") && !token.chars().any(|c| c.is_whitespace() || c.is_control()))
}

/// A cluster ID becomes part of subjects: tokens without blanks that are no wildcards.
fn account(options: &mut Draft, value: &Value) -> Result<(), String> {
    let Value::List(names) = value else { return Ok(()) };
    options.streaming.account = match names.as_slice() {
        [] => GLOBAL_ACCOUNT.to_owned(),
        [one] => one.clone(),
        [..] => return Err("this build serves the clients of one account: name one".to_owned()),
    };
    Ok(())
}

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

/// A duration; it is above zero, because the option has its default otherwise.
fn duration(value: &Value) -> Duration {
    Duration::from_nanos(u64::try_from(value.number()).unwrap_or(0))
}

fn hb_interval(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.heartbeats.interval = duration(value);
    Ok(())
}

fn hb_timeout(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.heartbeats.timeout = duration(value);
    Ok(())
}

/// Below zero, the first failure is one too many already, as with zero (specification §2.10).
fn hb_fail_count(options: &mut Draft, value: &Value) -> Result<(), String> {
    let count = u32::try_from(value.number().max(0));
    options.streaming.heartbeats.fail_count =
        count.map_err(|_| format!("invalid heartbeat fail count ({})", value.number()))?;
    if value.number() < 0 {
        let notice = format!("A heartbeat fail count of {} means 0", value.number());
        options.notices.push(notice);
    }
    Ok(())
}

fn replace_durable(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.replace_durable = value.is_true();
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
