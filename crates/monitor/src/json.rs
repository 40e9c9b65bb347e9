//! Notations of the answers: JSON text, times, spans.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// JSON with an indentation of two spaces and keys in the order of the structure.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    escape(serde_json::to_string_pretty(value))
}

/// JSON in one line.
pub(crate) fn compact(value: &impl Serialize) -> String {
    escape(serde_json::to_string(value))
}

/// Escapes what would mean something to HTML or, in a callback, to JavaScript. Outside of strings none of these
/// characters is part of JSON.
fn escape(json: serde_json::Result<String>) -> String {
    let json = json.expect("answers have string keys and plain values, which serialize");
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// RFC 3339 with as many digits of the second as needed, in a zone.
pub(crate) fn time(at: Timestamp, zone: &TimeZone) -> String {
    let offset = zone.to_offset(at);
    if offset.is_zero() {
        at.to_string()
    } else {
        at.display_with_offset(offset).to_string()
    }
}

/// The time of a snapshot; what no calendar has is shown as the epoch.
pub(crate) fn timestamp(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default()
}

/// Time from a moment to a later one, in whole seconds; none if the clock went back.
pub(crate) fn span(from_ns: i64, to_ns: i64) -> String {
    uptime(Duration::from_nanos(
        u64::try_from(to_ns.saturating_sub(from_ns)).unwrap_or(0),
    ))
}

/// Years of 365 days, days, hours, minutes and seconds, without leading zero units (streaming specification §8.3).
pub(crate) fn uptime(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let years = days / 365;
    let parts = [
        (years, 'y'),
        (days % 365, 'd'),
        (hours % 24, 'h'),
        (minutes % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let first = parts
        .iter()
        .position(|(count, _)| *count > 0)
        .unwrap_or(parts.len() - 1);
    parts[first..]
        .iter()
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}

/// Whole numbers without a decimal point, as readers that expect integers need them.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(crate) fn plain_number<S: serde::Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}

/// A time as the broker's endpoints show it.
pub(crate) fn utc(ns: i64) -> String {
    time(timestamp(ns), &TimeZone::UTC)
}

/// An object without keys.
#[derive(Serialize)]
pub(crate) struct Nothing {}

#[cfg(test)]
mod tests {
    use super::*;

    /// §13.9 MonitorUptime.
    #[test]
    fn uptimes_of_section_8_3() {
        for (seconds, text) in [
            (0, "0s"),
            (1, "1s"),
            (62, "1m2s"),
            (3723, "1h2m3s"),
            (93_784, "1d2h3m4s"),
            (31_536_000 + 2 * 86_400 + 3 * 3600 + 4 * 60 + 5, "1y2d3h4m5s"),
            (3600, "1h0m0s"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(5, 2), "0s");
    }

    #[test]
    fn times_have_the_digits_they_need() {
        let at = Timestamp::new(1_700_000_000, 120_000_000).unwrap();
        assert_eq!(time(at, &TimeZone::UTC), "2023-11-14T22:13:20.12Z");
        assert_eq!(
            time(at, &TimeZone::fixed(jiff::tz::offset(1))),
            "2023-11-14T23:13:20.12+01:00"
        );
        assert_eq!(time(timestamp(1), &TimeZone::UTC), "1970-01-01T00:00:00.000000001Z");
    }

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(compact(&"</script>&\u{2028}"), r#""\u003c/script\u003e\u0026\u2028""#);
    }
}
