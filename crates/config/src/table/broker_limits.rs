//! Limits and timers of the broker (core specification §1.14, §5.4).

use std::time::Duration;

use super::entry::Effect::{NotBuilt, Sets};
use super::entry::Group::BrokerLimits;
use super::entry::{Entry, Section};
use crate::draft::Draft;
use crate::go::format_duration_nanos;
use crate::value::Kind::{Bool, Duration as Time, Int, Size, Text};
use crate::value::Value;

/// Client connections when 0 is given (core specification §1.14).
const CONNECTIONS_DEFAULT: usize = 65_536;
/// Shortest time over which clients may be closed in lame duck mode (core specification §5.4).
const LAME_DUCK_MIN: Duration = Duration::from_secs(30);

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "65536",
        "Client connections, 0 is the default, -1 is unlimited",
        Sets(max_connections),
    )
    .keys(Section::Broker, &["max_connections", "max_conn"]),
    Entry::new(
        BrokerLimits,
        &[],
        Size,
        "1048576",
        "Largest message in bytes, headers included",
        Sets(max_payload),
    )
    .keys(Section::Broker, &["max_payload"])
    .positive(),
    Entry::new(
        BrokerLimits,
        &[],
        Size,
        "4096",
        "Longest line of the protocol in bytes",
        Sets(max_control_line),
    )
    .keys(Section::Broker, &["max_control_line"])
    .positive(),
    Entry::new(
        BrokerLimits,
        &[],
        Size,
        "67108864",
        "Bytes that wait for one client before it is closed as too slow",
        Sets(max_pending),
    )
    .keys(Section::Broker, &["max_pending"])
    .positive(),
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "0",
        "Subscriptions per connection, 0 is unlimited",
        Sets(max_subscriptions),
    )
    .keys(Section::Broker, &["max_subscriptions", "max_subs"]),
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "0",
        "Tokens per subscription subject, 0 is unlimited",
        Sets(max_sub_tokens),
    )
    .keys(Section::Broker, &["max_sub_tokens"]),
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "10000",
        "Closed connections remembered for monitoring",
        Sets(max_closed_clients),
    )
    .keys(Section::Broker, &["max_closed_clients"]),
    Entry::new(
        BrokerLimits,
        &[],
        Time,
        "10s",
        "Time in which a client must take what is offered to it",
        Sets(write_deadline),
    )
    .keys(Section::Broker, &["write_deadline"])
    .positive(),
    Entry::new(
        BrokerLimits,
        &[],
        Text,
        "default",
        "What happens after the write deadline",
        NotBuilt("a choice of what happens after the write deadline"),
    )
    .keys(Section::Broker, &["write_timeout"])
    .without_variable(),
    Entry::new(
        BrokerLimits,
        &[],
        Time,
        "2m0s",
        "Time between PINGs to a silent client",
        Sets(ping_interval),
    )
    .keys(Section::Broker, &["ping_interval"])
    .positive(),
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "2",
        "Unanswered PINGs tolerated",
        Sets(ping_max),
    )
    .keys(Section::Broker, &["ping_max"])
    .positive(),
    Entry::new(
        BrokerLimits,
        &[],
        Bool,
        "false",
        "Never let producers wait for slow clients, which lose messages instead",
        Sets(no_fast_producer_stall),
    )
    .keys(Section::Broker, &["no_fast_producer_stall"]),
    Entry::new(
        BrokerLimits,
        &[],
        Time,
        "2m0s",
        "Time over which clients are closed in lame duck mode, at least 30s",
        Sets(lame_duck_duration),
    )
    .keys(Section::Broker, &["lame_duck_duration"]),
    Entry::new(
        BrokerLimits,
        &[],
        Time,
        "10s",
        "Time before the first client is closed in lame duck mode",
        Sets(lame_duck_grace_period),
    )
    .keys(Section::Broker, &["lame_duck_grace_period"])
    .positive(),
];

/// A number; it is above zero, because the option has its default otherwise.
fn count(key: &str, value: &Value) -> Result<usize, String> {
    usize::try_from(value.number()).map_err(|_| format!("invalid {key} ({})", value.number()))
}

/// A limit of which zero and below mean none.
fn unlimited_below_one(value: &Value) -> usize {
    usize::try_from(value.number()).unwrap_or(0)
}

fn max_connections(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_connections = match value.number() {
        0 => CONNECTIONS_DEFAULT,
        number => usize::try_from(number).unwrap_or(usize::MAX),
    };
    Ok(())
}

fn max_payload(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_payload = count("max_payload", value)?;
    Ok(())
}

fn max_control_line(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_control_line = count("max_control_line", value)?;
    Ok(())
}

fn max_pending(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_pending = count("max_pending", value)?;
    Ok(())
}

fn max_subscriptions(options: &mut Draft, value: &Value) -> Result<(), String> {
    // What says "none" is kept apart from what says nothing: monitoring shows it.
    options.broker.max_subscriptions = match value.number() {
        0 => 0,
        number => usize::try_from(number).unwrap_or(usize::MAX),
    };
    Ok(())
}

fn max_sub_tokens(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_subscription_tokens = unlimited_below_one(value);
    Ok(())
}

fn max_closed_clients(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_closed_clients = unlimited_below_one(value);
    Ok(())
}

fn ping_max(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.ping_max =
        u32::try_from(value.number()).map_err(|_| format!("invalid ping_max ({})", value.number()))?;
    Ok(())
}

fn no_fast_producer_stall(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.no_fast_producer_stall = value.is_true();
    Ok(())
}

fn lame_duck_duration(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.lame_duck_duration = duration(value);
    if options.broker.lame_duck_duration < LAME_DUCK_MIN {
        return Err(format!(
            "invalid lame_duck_duration of {}, minimum is 30 seconds",
            format_duration_nanos(value.number())
        ));
    }
    Ok(())
}

fn lame_duck_grace_period(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.lame_duck_grace_period = duration(value);
    Ok(())
}

fn write_deadline(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.write_deadline = duration(value);
    Ok(())
}

fn ping_interval(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.ping_interval = duration(value);
    Ok(())
}

/// A duration; it is above zero, because the option has its default otherwise.
fn duration(value: &Value) -> Duration {
    Duration::from_nanos(u64::try_from(value.number()).unwrap_or(0))
}
