//! Limits of a channel, in words.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::readable::{count, size, span};

/// Limits that count; 0 means no limit.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    max_channels: u64,
    max_msgs: u64,
    max_bytes: u64,
    /// Nanoseconds.
    max_age: u64,
    max_subscriptions: u64,
    /// Nanoseconds.
    max_inactivity: u64,
}

impl Limits {
    /// All that limit something.
    pub(crate) fn words(&self) -> String {
        self.limiting().unwrap_or_else(|| "none".to_owned())
    }

    fn limiting(&self) -> Option<String> {
        let age = |ns: u64| span(Duration::from_nanos(ns));
        let parts = [
            (self.max_channels, format!("{} channels", count(self.max_channels))),
            (self.max_msgs, format!("{} messages", count(self.max_msgs))),
            (self.max_bytes, size(self.max_bytes)),
            (self.max_age, format!("age {}", age(self.max_age))),
            (
                self.max_subscriptions,
                format!("{} subscriptions", count(self.max_subscriptions)),
            ),
            (self.max_inactivity, format!("inactivity {}", age(self.max_inactivity))),
        ];
        let words: Vec<String> = parts
            .into_iter()
            .filter(|(limit, _)| *limit > 0)
            .map(|(_, words)| words)
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Limits that were set for one channel: what is not there was not set, and 0 lets it have as much as it wants.
pub(crate) fn limits_set(set: &Value) -> String {
    let unlimited = [
        ("max_msgs", "messages"),
        ("max_bytes", "bytes"),
        ("max_age", "age"),
        ("max_subscriptions", "subscriptions"),
        ("max_inactivity", "inactivity"),
    ]
    .into_iter()
    .filter(|(key, _)| set.get(*key).and_then(Value::as_u64) == Some(0))
    .map(|(_, name)| format!("unlimited {name}"));
    let limiting = Limits::deserialize(set).ok().and_then(|limits| limits.limiting());
    let all: Vec<String> = limiting.into_iter().chain(unlimited).collect();
    match all.is_empty() {
        true => "none".to_owned(),
        false => all.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_in_words() {
        assert_eq!(Limits::default().words(), "none");
        let limits = Limits {
            max_msgs: 1_000_000,
            max_bytes: 1024 * 1024 * 1024,
            max_age: 86_400_000_000_000,
            ..Limits::default()
        };
        assert_eq!(limits.words(), "1,000,000 messages, 1.0 GiB, age 1d");
    }

    #[test]
    fn what_was_set_to_unlimited_is_told() {
        assert_eq!(
            limits_set(&json!({"max_msgs": 0, "max_bytes": 1024})),
            "1.0 KiB, unlimited messages"
        );
        assert_eq!(limits_set(&json!({})), "none");
    }
}
