//! What the server says of itself when it starts (`streaming-protocol.md` §9.2).

use seaway_streaming::Limits;

/// The version of the original whose behaviour is offered; clients and scripts compare it.
pub const STREAMING_VERSION: &str = "0.25.6";

/// The core protocol version offered in INFO; clients gate features on it.
pub const BROKER_VERSION: &str = "2.9.24";

/// The built-in limits (§6.1), marked with a star in the table.
pub const DEFAULT_LIMITS: Limits = Limits {
    max_channels: 100,
    max_subscriptions: 1000,
    max_messages: 1_000_000,
    max_bytes: 1_024_000_000,
    max_age_ns: 0,
    max_inactivity_ns: 0,
};

/// The limits table, a line each (§9.2 step 13).
pub fn limits_table(limits: &Limits) -> Vec<String> {
    let row = |name: &str, value: String, is_default: bool| {
        format!("{name:<17}{value:>13}{}", if is_default { " *" } else { "" })
    };
    let default = &DEFAULT_LIMITS;
    vec![
        "---------- Store Limits ----------".to_owned(),
        row("Channels:", count(limits.max_channels), limits.max_channels == default.max_channels),
        "--------- Channels Limits --------".to_owned(),
        row(
            "  Subscriptions: ",
            count(limits.max_subscriptions),
            limits.max_subscriptions == default.max_subscriptions,
        ),
        row("  Messages     : ", count(limits.max_messages), limits.max_messages == default.max_messages),
        row("  Bytes        : ", bytes(limits.max_bytes), limits.max_bytes == default.max_bytes),
        row("  Age          : ", duration(limits.max_age_ns), limits.max_age_ns == default.max_age_ns),
        row("  Inactivity   : ", duration(limits.max_inactivity_ns), limits.max_inactivity_ns == 0),
        "----------------------------------".to_owned(),
    ]
}

fn count(limit: u64) -> String {
    if limit == 0 { "unlimited".to_owned() } else { limit.to_string() }
}

/// Powers of 1024 with two decimals, as in `976.56 MB`.
fn bytes(limit: u64) -> String {
    const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];
    if limit == 0 {
        return "unlimited".to_owned();
    }
    if limit < 1024 {
        return format!("{limit} B");
    }
    let mut value = limit as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

/// A duration as Go prints it: `1h30m0s`, `1.5s`, `300ms`.
pub fn duration(nanoseconds: u64) -> String {
    if nanoseconds == 0 {
        return "unlimited".to_owned();
    }
    let fraction = |whole: u64, rest: u64, digits: usize, unit: &str| {
        let decimals = format!("{rest:0digits$}");
        let decimals = decimals.trim_end_matches('0');
        if decimals.is_empty() { format!("{whole}{unit}") } else { format!("{whole}.{decimals}{unit}") }
    };
    if nanoseconds < 1_000 {
        return format!("{nanoseconds}ns");
    }
    if nanoseconds < 1_000_000 {
        return fraction(nanoseconds / 1_000, nanoseconds % 1_000, 3, "µs");
    }
    if nanoseconds < 1_000_000_000 {
        return fraction(nanoseconds / 1_000_000, nanoseconds % 1_000_000, 6, "ms");
    }
    let seconds = nanoseconds / 1_000_000_000;
    let below_minute = fraction(seconds % 60, nanoseconds % 1_000_000_000, 9, "s");
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => below_minute,
        (0, minutes) => format!("{minutes}m{below_minute}"),
        (hours, minutes) => format!("{hours}h{minutes}m{below_minute}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_defaults_marks_every_row() {
        // §9.2 step 13.
        assert_eq!(
            limits_table(&DEFAULT_LIMITS),
            [
                "---------- Store Limits ----------",
                "Channels:                  100 *",
                "--------- Channels Limits --------",
                "  Subscriptions:          1000 *",
                "  Messages     :       1000000 *",
                "  Bytes        :     976.56 MB *",
                "  Age          :     unlimited *",
                "  Inactivity   :     unlimited *",
                "----------------------------------",
            ]
        );
    }

    #[test]
    fn a_changed_limit_has_no_star() {
        let limits = Limits { max_messages: 0, max_bytes: 10 << 20, max_age_ns: 5_400_000_000_000, ..DEFAULT_LIMITS };
        let table = limits_table(&limits);
        assert_eq!(table[4], "  Messages     :     unlimited");
        assert_eq!(table[5], "  Bytes        :      10.00 MB");
        assert_eq!(table[6], "  Age          :       1h30m0s");
    }

    #[test]
    fn durations_read_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "unlimited"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (86_400_000_000_000, "24h0m0s"),
            (1_500, "1.5µs"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}
