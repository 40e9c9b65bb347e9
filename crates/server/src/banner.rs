//! The limits table that the server prints when it starts (`streaming-protocol.md` §9.2 step 13).

use std::time::Duration;

use seaway_config::{Options, Personality, format_duration, format_size};
use seaway_streaming::{Limits, LimitsEntry, LimitsTable};

/// Width of the lines.
const WIDTH: usize = 34;

/// The limits table, a line each; a star marks a built-in default. Channels and patterns with limits of their own follow,
/// indented by what they inherit from, with what differs from there.
pub fn limits_table(limits: &LimitsTable) -> Vec<String> {
    let defaults = Options::new(Personality::NatsStreamingServer).streaming;
    // Defaults name no channels, so there is nothing to contradict.
    let defaults = crate::engine_options::limits_table(&defaults).unwrap_or_default();
    let (global, default) = (limits.global(), defaults.global());
    let row = |name: &str, value: String, is_default: bool| {
        format!("{name:<17}{value:>13}{}", if is_default { " *" } else { "" })
    };
    let mut lines = vec![
        title(" Store Limits "),
        row(
            "Channels:",
            count(global.max_channels as u64),
            global.max_channels == default.max_channels,
        ),
        title(" Channels Limits "),
    ];
    for ((name, value), (_, default)) in values(global).into_iter().zip(values(default)) {
        let is_default = value == default;
        lines.push(row(&format!("  {name:<13}: "), value, is_default));
    }
    let entries = limits.entries();
    if !entries.is_empty() {
        lines.push(title(" List of Channels "));
    }
    for entry in entries {
        let parent = entry.parent.and_then(|parent| entries.get(parent));
        describe_entry(entry, parent.map_or(global, |parent| &parent.limits), &mut lines);
    }
    lines.push("-".repeat(WIDTH));
    lines
}

fn title(name: &str) -> String {
    // One dash more on the left when they cannot be the same.
    let left = WIDTH.saturating_sub(name.len()).div_ceil(2);
    format!("{}{name:-<rest$}", "-".repeat(left), rest = WIDTH.saturating_sub(left))
}

fn describe_entry(entry: &LimitsEntry, parent: &Limits, lines: &mut Vec<String>) {
    let indent = " ".repeat(entry.depth);
    lines.push(format!("{indent}{}", entry.name));
    for ((name, value), (_, inherited)) in values(&entry.limits).into_iter().zip(values(parent)) {
        if value != inherited {
            lines.push(format!("{indent} |-> {name:<13}{value:>13}"));
        }
    }
}

/// What limits a channel, named and shown.
fn values(limits: &Limits) -> [(&'static str, String); 5] {
    [
        ("Subscriptions", count(limits.max_subscriptions as u64)),
        ("Messages", count(limits.max_messages)),
        ("Bytes", unless_zero(limits.max_bytes, format_size)),
        ("Age", duration(limits.max_age_ns)),
        ("Inactivity", duration(limits.max_inactivity_ns)),
    ]
}

fn unless_zero(limit: u64, show: impl FnOnce(u64) -> String) -> String {
    if limit == 0 {
        "unlimited".to_owned()
    } else {
        show(limit)
    }
}

fn count(limit: u64) -> String {
    unless_zero(limit, |limit| limit.to_string())
}

fn duration(nanoseconds: u64) -> String {
    unless_zero(nanoseconds, |nanoseconds| {
        format_duration(Duration::from_nanos(nanoseconds))
    })
}

#[cfg(test)]
mod tests {
    use seaway_streaming::ChannelLimits;

    use super::*;

    fn defaults() -> Limits {
        let options = Options::new(Personality::NatsStreamingServer).streaming;
        *crate::engine_options::limits_table(&options).unwrap().global()
    }

    #[test]
    fn the_table_of_the_defaults_marks_every_row() {
        assert_eq!(
            limits_table(&LimitsTable::from(defaults())),
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
        let limits = Limits {
            max_messages: 0,
            max_bytes: 10 << 20,
            max_age_ns: 5_400_000_000_000,
            ..defaults()
        };
        let table = limits_table(&LimitsTable::from(limits));
        assert_eq!(table[4], "  Messages     :     unlimited");
        assert_eq!(table[5], "  Bytes        :      10.00 MB");
        assert_eq!(table[6], "  Age          :       1h30m0s");
    }

    /// §9.2 step 13: entries stand behind what they inherit from and show what differs from it.
    /// §13.7 PerChannelLimitsSetToUnlimitedPrintedCorrectly.
    #[test]
    fn channels_are_indented_by_what_they_inherit_from() {
        let entry = |name: &str, own: ChannelLimits| (name.to_owned(), own);
        let entries = [
            entry(
                "foo.bar",
                ChannelLimits {
                    max_messages: Some(0),
                    max_age_ns: Some(3_600_000_000_000),
                    ..ChannelLimits::default()
                },
            ),
            entry(
                "foo.*",
                ChannelLimits {
                    max_messages: Some(10),
                    max_subscriptions: Some(1000),
                    ..ChannelLimits::default()
                },
            ),
            entry("baz", ChannelLimits::default()),
        ];
        let table = limits_table(&LimitsTable::new(defaults(), &entries).unwrap());
        assert_eq!(
            table[8..],
            [
                "-------- List of Channels --------",
                "baz",
                "foo.*",
                " |-> Messages                10",
                " foo.bar",
                "  |-> Messages         unlimited",
                "  |-> Age                 1h0m0s",
                "----------------------------------",
            ]
        );
    }
}
