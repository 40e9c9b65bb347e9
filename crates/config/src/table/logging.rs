//! Options of the log (core specification §5.4, §5.5, §5.7).

use std::path::PathBuf;

use super::entry::Effect::{NotBuilt, Nothing, Overrides, Sets};
use super::entry::Group::Logging;
use super::entry::{Entry, Section};
use crate::draft::Draft;
use crate::value::Kind::{Bool, Int, Text};
use crate::value::Value;

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        Logging,
        &["l", "log"],
        Text,
        "",
        "Log file; the standard error without one",
        Sets(log_file),
    )
    .keys(Section::Broker, &["logfile", "log_file"]),
    Entry::new(
        Logging,
        &["log_size_limit"],
        Int,
        "0",
        "Bytes after which the log file is rotated, 0 is never",
        Sets(log_size_limit),
    )
    .keys(Section::Broker, &["logfile_size_limit", "log_size_limit"]),
    Entry::new(
        Logging,
        &["T", "logtime"],
        Bool,
        "true",
        "Date and time in log lines",
        Sets(logtime),
    )
    .keys(Section::Broker, &["logtime"]),
    Entry::new(
        Logging,
        &["logtime_utc"],
        Bool,
        "false",
        "Times of log lines are UTC",
        Sets(logtime_utc),
    )
    .keys(Section::Broker, &["logtime_utc"]),
    Entry::new(
        Logging,
        &["D", "debug"],
        Bool,
        "false",
        "Debug lines of the broker",
        Sets(debug),
    )
    .keys(Section::Broker, &["debug"]),
    Entry::new(
        Logging,
        &["V", "trace"],
        Bool,
        "false",
        "Trace lines of the broker",
        Sets(trace),
    )
    .keys(Section::Broker, &["trace"]),
    Entry::new(
        Logging,
        &["VV"],
        Bool,
        "false",
        "Trace lines of the broker, internal connections included",
        Overrides(verbose_trace),
    ),
    Entry::new(
        Logging,
        &["DV"],
        Bool,
        "false",
        "Both -D and -V",
        Overrides(debug_and_trace),
    ),
    Entry::new(
        Logging,
        &["DVV"],
        Bool,
        "false",
        "Both -D and -VV",
        Overrides(debug_and_verbose_trace),
    ),
    Entry::new(
        Logging,
        &["max_traced_msg_len"],
        Int,
        "0",
        "Bytes of a payload shown in trace lines, 0 shows all",
        Sets(max_traced_msg_len),
    )
    .keys(Section::Broker, &["max_traced_msg_len"]),
    Entry::new(
        Logging,
        &["s", "syslog"],
        Bool,
        "false",
        "Log to the system log",
        Sets(syslog),
    )
    .keys(Section::Broker, &["syslog"]),
    Entry::new(
        Logging,
        &["r", "remote_syslog"],
        Text,
        "",
        "Log to a remote system log",
        Sets(remote_syslog),
    )
    .keys(Section::Broker, &["remote_syslog"]),
    Entry::new(
        Logging,
        &[],
        Int,
        "0",
        "Rotated log files kept, 0 keeps all",
        Sets(log_max_files),
    )
    .keys(Section::Broker, &["logfile_max_num", "log_max_num"]),
    Entry::new(
        Logging,
        &[],
        Bool,
        "false",
        "Trace lines of the broker, internal connections included",
        Sets(trace_verbose),
    )
    .keys(Section::Broker, &["trace_verbose"]),
    Entry::new(
        Logging,
        &[],
        Bool,
        "false",
        "Trace headers only",
        NotBuilt("traces of headers only"),
    )
    .keys(Section::Broker, &["trace_headers"])
    .without_variable(),
    Entry::new(
        Logging,
        &[],
        Int,
        "3600",
        "How often failures to connect to other servers are logged",
        Nothing("there are no connections to other servers"),
    )
    .keys(Section::Broker, &["connect_error_reports"])
    .without_variable(),
    Entry::new(
        Logging,
        &[],
        Int,
        "1",
        "How often failures to reconnect to other servers are logged",
        Nothing("there are no connections to other servers"),
    )
    .keys(Section::Broker, &["reconnect_error_reports"])
    .without_variable(),
];

fn log_file(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.file = value.present().map(PathBuf::from);
    Ok(())
}

fn log_size_limit(options: &mut Draft, value: &Value) -> Result<(), String> {
    // Zero and below are no limit.
    options.log.size_limit = u64::try_from(value.number()).ok().filter(|limit| *limit > 0);
    Ok(())
}

fn logtime(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.time = value.is_true();
    Ok(())
}

fn logtime_utc(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.utc = value.is_true();
    Ok(())
}

fn debug(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.debug = value.is_true();
    Ok(())
}

fn trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.trace = value.is_true();
    Ok(())
}

/// The key in files: it can only add to what `trace` says.
fn trace_verbose(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.is_trace_verbose_in_file = value.is_true();
    Ok(())
}

fn verbose_trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.trace_verbose = value.is_true();
    trace(options, value)
}

fn debug_and_trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    debug(options, value)?;
    trace(options, value)
}

fn debug_and_verbose_trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    debug(options, value)?;
    verbose_trace(options, value)
}

fn max_traced_msg_len(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_traced_msg_len = usize::try_from(value.number()).unwrap_or(0);
    Ok(())
}

fn syslog(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.syslog = value.is_true();
    Ok(())
}

fn remote_syslog(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.remote_syslog = value.present();
    Ok(())
}

fn log_max_files(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.max_files = u32::try_from(value.number()).ok().filter(|count| *count > 0);
    Ok(())
}
