//! The limits table that the server prints when it starts (`streaming-protocol.md` §9.2 step 13).

use std::time::Duration;

use seaway_config::{Limits, Options, Personality, format_duration, format_size};

/// The limits table, a line each; a star marks a built-in default.
pub fn limits_table(limits: &Limits) -> Vec<String> {
    let default = Options::new(Personality::NatsStreamingServer).streaming.limits;
    let row = |name: &str, value: String, is_default: bool| {
        format!("{name:<17}{value:>13}{}", if is_default { " *" } else { "" })
    };
    vec![
        "---------- Store Limits ----------".to_owned(),
        row(
            "Channels:",
            count(limits.max_channels),
            limits.max_channels == default.max_channels,
        ),
        "--------- Channels Limits --------".to_owned(),
        row(
            "  Subscriptions: ",
            count(limits.max_subs),
            limits.max_subs == default.max_subs,
        ),
        row(
            "  Messages     : ",
            count(limits.max_msgs),
            limits.max_msgs == default.max_msgs,
        ),
        row(
            "  Bytes        : ",
            unless_zero(limits.max_bytes, format_size),
            limits.max_bytes == default.max_bytes,
        ),
        row(
            "  Age          : ",
            duration(limits.max_age),
            limits.max_age == default.max_age,
        ),
        row(
            "  Inactivity   : ",
            duration(limits.max_inactivity),
            limits.max_inactivity == default.max_inactivity,
        ),
        "----------------------------------".to_owned(),
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

fn duration(limit: Duration) -> String {
    if limit.is_zero() {
        "unlimited".to_owned()
    } else {
        format_duration(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Limits {
        Options::new(Personality::NatsStreamingServer).streaming.limits
    }

    #[test]
    fn the_table_of_the_defaults_marks_every_row() {
        assert_eq!(
            limits_table(&defaults()),
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
            max_msgs: 0,
            max_bytes: 10 << 20,
            max_age: Duration::from_secs(5_400),
            ..defaults()
        };
        let table = limits_table(&limits);
        assert_eq!(table[4], "  Messages     :     unlimited");
        assert_eq!(table[5], "  Bytes        :      10.00 MB");
        assert_eq!(table[6], "  Age          :       1h30m0s");
    }
}
