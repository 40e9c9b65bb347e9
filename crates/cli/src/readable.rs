//! Numbers, sizes and times as people read and write them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `12345` as `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, which takes an `s` unless there is one.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// Bytes, in the largest unit that leaves a number of at least one.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "it is rounded to one digit anyway")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Reads a number of bytes as the server's options are written: `4096`, `20M` (20 million), `20MB` or `20MiB` (times 1,048,576).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no number of bytes: write it like 500000, 20MB or 1G");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().map_err(|_| wrong())?;
    let unit = text[split..].to_ascii_lowercase();
    let factor = match unit.chars().next() {
        None => 1,
        Some(letter) => {
            let exponent = "kmgt".find(letter).ok_or_else(wrong)? as u32 + 1;
            let base: u64 = match &unit[1..] {
                "" => 1_000,
                "b" | "ib" => 1_024,
                _ => return Err(wrong()),
            };
            base.pow(exponent)
        }
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// A span of time in its two largest units: `2m5s`, `3d4h`, `250ms`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.subsec_millis());
    }
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let largest = parts.iter().position(|(number, _)| *number > 0).unwrap_or(0);
    let shown = parts.iter().skip(largest).take(2).filter(|(number, _)| *number > 0);
    shown.map(|(number, unit)| format!("{number}{unit}")).collect()
}

/// A moment in the time zone of this machine, to the millisecond.
pub(crate) fn local_time(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S%.3f")
            .to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// A moment for programs: RFC 3339, UTC, as exact as it is known.
pub(crate) fn utc_time(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| time.to_string())
}

/// Reads `90`, `10m`, `1h30m`, `2d`, `250ms`; a bare number means seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time: write it like 250ms, 90s, 10m, 1h30m or 2d");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(unit_ms).map(Duration::from_millis);
        sum = part.and_then(|part| sum.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[letters..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}

/// Reads a moment: RFC 3339, or date and time in the time zone of this machine.
pub(crate) fn parse_time(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.into());
    }
    let local = text.parse::<DateTime>().ok();
    let zoned = local.and_then(|local| local.to_zoned(TimeZone::system()).ok());
    zoned.map(|zoned| zoned.timestamp().into()).ok_or_else(|| {
        format!("{text:?} is no time: write 2026-01-31T18:30:00Z, or \"2026-01-31 18:30\" in your time zone")
    })
}

/// A name from a server without the characters that would move a terminal's cursor, break a table's line or turn it round.
pub(crate) fn printable(name: &str) -> Cow<'_, str> {
    seaway_nats_protocol::harmless::escaped(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), expected);
        }
        assert_eq!(counted(1, "message"), "1 message");
        assert_eq!(counted(0, "message"), "0 messages");
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn sizes_are_read_as_the_server_reads_them() {
        for (text, bytes) in [
            ("1", 1),
            ("4096", 4_096),
            ("20M", 20_000_000),
            ("20mb", 20 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "0M", "M", "1.5G", "-1", "1x", "1kbb", "99999999999T", "1 M"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        for (ms, expected) in [
            (0, "0ms"),
            (250, "250ms"),
            (30_000, "30s"),
            (125_000, "2m5s"),
            (3_600_000, "1h"),
            (90_061_000, "1d1h"),
            (86_400_000 + 61_000, "1d"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), expected);
        }
    }

    #[test]
    fn spans_are_read() {
        for (text, ms) in [
            ("90", 90_000),
            ("250ms", 250),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "m", "10 m", "-1s", "1x", "10m5", "99999999999999999999d", "1.5h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_500);
        assert_eq!(parse_time("2001-09-09T01:46:40.5Z"), Ok(expected));
        assert_eq!(parse_time("2001-09-09T03:46:40.5+02:00"), Ok(expected));
        assert!(parse_time("2001-09-09 01:46").is_ok());
        assert!(parse_time("2001-09-09").is_ok());
        assert!(parse_time("yesterday").is_err());
        assert_eq!(utc_time(expected), "2001-09-09T01:46:40.5Z");
        assert_eq!(parse_time(&local_time(expected)), Ok(expected));
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(printable("orders.né"), "orders.né");
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(printable("a\u{202e}b\u{9b}c"), "a\\u{202e}b\\u{9b}c");
    }
}
