//! Values as the flag package of Go reads and shows them (specification §7.1).
//!
//! Knows notations only, no flags.

use std::time::Duration;

/// Why a value was not read; the texts are those that the flag package prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// Not in the notation.
    Syntax,
    /// A number that does not fit.
    Range,
}

impl ValueError {
    pub(crate) fn text(self) -> &'static str {
        match self {
            ValueError::Syntax => "parse error",
            ValueError::Range => "value out of range",
        }
    }
}

/// Reads a truth value.
pub(crate) fn parse_bool(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(ValueError::Syntax),
    }
}

/// Reads a 64-bit integer: sign, base prefix (`0x`, `0o`, `0b`, or `0` for octal) and single underscores between digits.
pub(crate) fn parse_int(text: &str) -> Result<i64, ValueError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let bytes = unsigned.as_bytes();
    let (radix, digits) = match bytes {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', b'o' | b'O', rest @ ..] => (8, rest),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest),
        [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        _ => (10, bytes),
    };
    // An underscore may follow a base prefix or a digit, and must be followed by a digit.
    let mut underscore_allowed = radix != 10;
    let mut last_was_digit = false;
    let mut number: i128 = 0;
    let mut overflow = false;
    for &byte in digits {
        if byte == b'_' {
            if !underscore_allowed {
                return Err(ValueError::Syntax);
            }
            underscore_allowed = false;
            last_was_digit = false;
            continue;
        }
        let digit = char::from(byte).to_digit(radix).ok_or(ValueError::Syntax)?;
        underscore_allowed = true;
        last_was_digit = true;
        number = number * i128::from(radix) + i128::from(digit);
        overflow |= number > i128::from(u64::MAX);
        if overflow {
            number = i128::from(u64::MAX);
        }
    }
    if !last_was_digit {
        return Err(ValueError::Syntax);
    }
    let signed = if negative { -number } else { number };
    i64::try_from(signed).map_err(|_| ValueError::Range)
}

/// Reads a size: an integer with an optional unit (specification §7.1), such as `100KB` (102400) or `1k` (1000).
pub(crate) fn parse_size(text: &str) -> Option<i64> {
    let split = text
        .bytes()
        .rposition(|byte| !byte.is_ascii_alphabetic())
        .map_or(0, |at| at + 1);
    let (digits, unit) = text.split_at(split);
    let number: i64 = digits.parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    let Some((&letter, rest)) = unit.as_bytes().split_first() else {
        return Some(number);
    };
    let exponent = b"kmgtpe".iter().position(|&known| known == letter)? as u32 + 1;
    let base: i64 = match rest {
        b"" => 1000,
        b"b" | b"i" | b"ib" => 1024,
        _ => return None,
    };
    number.checked_mul(base.pow(exponent))
}

/// Reads a duration in nanoseconds: `300ms`, `1.5h`, `1h30m`, `-2s`, `0`.
pub(crate) fn parse_duration_nanos(text: &str) -> Result<i64, ValueError> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(ValueError::Syntax);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (nanos, remaining) = duration_part(rest).ok_or(ValueError::Syntax)?;
        total += nanos;
        rest = remaining;
        if total > i128::from(i64::MAX) + 1 {
            return Err(ValueError::Syntax);
        }
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| ValueError::Syntax)
}

/// Reads one number with its unit; returns nanoseconds and what follows.
fn duration_part(text: &str) -> Option<(i128, &str)> {
    let bytes = text.as_bytes();
    let whole_len = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = whole_len;
    let mut fraction_len = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        fraction_len = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        at += fraction_len;
    }
    if whole_len + fraction_len == 0 {
        return None;
    }
    let number_end = at;
    at += bytes[at..]
        .iter()
        .take_while(|&&byte| byte != b'.' && !byte.is_ascii_digit())
        .count();
    let unit: i128 = match text.get(number_end..at)? {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let mut whole: i128 = 0;
    for &byte in &bytes[..whole_len] {
        whole = whole * 10 + i128::from(byte - b'0');
        if whole > i128::from(i64::MAX) + 1 {
            return None;
        }
    }
    let mut nanos = whole * unit;
    // Digits beyond what 64 bits hold do not change the result.
    let mut scale = unit;
    let mut numerator: i128 = 0;
    let mut denominator: i128 = 1;
    for &byte in bytes[number_end - fraction_len..number_end].iter().take(18) {
        numerator = numerator * 10 + i128::from(byte - b'0');
        denominator *= 10;
    }
    scale = scale * numerator / denominator;
    nanos += scale;
    Some((nanos, &text[at..]))
}

/// Reads a non-negative duration in the notation of Go, such as `1h30m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let nanos = parse_duration_nanos(text).ok()?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// Shows a duration in the notation of Go, such as `1m0s` or `1.5ms`; at most 2^63 - 1 nanoseconds are shown.
pub fn format_duration(duration: Duration) -> String {
    format_duration_nanos(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

pub(crate) fn format_duration_nanos(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    let (unit, divisor) = match magnitude {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("\u{b5}s", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    if unit != "s" {
        return format!("{sign}{}{unit}", decimal(magnitude, divisor));
    }
    let minutes = magnitude / 60_000_000_000;
    let seconds = decimal(magnitude % 60_000_000_000, divisor);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `number / divisor` with as many decimals as needed; the divisor is a power of ten.
fn decimal(number: u64, divisor: u64) -> String {
    let (whole, fraction) = (number / divisor, number % divisor);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = divisor.ilog10() as usize;
    format!("{whole}.{}", format!("{fraction:0width$}").trim_end_matches('0'))
}

/// Shows a size with two decimals in powers of 1024, such as `976.56 MB` (specification §9.2).
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let exponent = bytes.ilog2() / 10;
    let value = bytes as f64 / (1u64 << (10 * exponent)) as f64;
    format!("{value:.2} {}", UNITS[exponent as usize - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_section_7_1() {
        let valid = [
            ("0", 0),
            ("42", 42),
            ("-1", -1),
            ("+7", 7),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("1_000_000", 1_000_000),
            ("0x_ff", 255),
            ("0_7", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ];
        for (text, number) in valid {
            assert_eq!(parse_int(text), Ok(number), "{text}");
        }
        for text in [
            "", "-", "+", "0x", "0x_", "1__0", "_1", "1_", "08", "1.5", "12abc", " 1", "--1", "é",
        ] {
            assert_eq!(parse_int(text), Err(ValueError::Syntax), "{text}");
        }
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "0xffffffffffffffffffffffffffffffffffff",
        ] {
            assert_eq!(parse_int(text), Err(ValueError::Range), "{text}");
        }
    }

    #[test]
    fn sizes_of_section_7_1() {
        let valid = [
            ("0", 0),
            ("1024000000", 1_024_000_000),
            ("-1", -1),
            ("1k", 1000),
            ("1K", 1000),
            ("100KB", 102_400),
            ("1ki", 1024),
            ("1KiB", 1024),
            ("2m", 2_000_000),
            ("2mb", 2 << 20),
            ("3gib", 3 << 30),
            ("1t", 1_000_000_000_000),
            ("1pb", 1 << 50),
            ("7e", 7_000_000_000_000_000_000),
            ("7eb", 7 << 60),
        ];
        for (text, number) in valid {
            assert_eq!(parse_size(text), Some(number), "{text}");
        }
        for text in ["", "12abc", "k", "1kk", "1b", "1 k", "1.5k", "99e", "8eb", "0x10", "é"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn durations_of_section_7_1() {
        let valid = [
            ("0", 0),
            ("-0", 0),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m0s", 60_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-2s", -2_000_000_000),
            ("3us4\u{b5}s5\u{3bc}s", 12_000),
            ("0.1234567891234567891234s", 123_456_789),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ];
        for (text, nanos) in valid {
            assert_eq!(parse_duration_nanos(text), Ok(nanos), "{text}");
        }
        for text in [
            "",
            "-",
            "5",
            "5x",
            "1h30",
            ".s",
            "s",
            "1 s",
            "9223372036854775808ns",
            "1d",
            "99999999h",
            "1é",
        ] {
            assert_eq!(parse_duration_nanos(text), Err(ValueError::Syntax), "{text}");
        }
        assert_eq!(parse_duration("-1s"), None);
    }

    #[test]
    fn durations_are_shown_like_go() {
        let table = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (30_000_000_000, "30s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_500_000_000, "1h1m1.5s"),
            (-1_000_000_000, "-1s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanos, text) in table {
            assert_eq!(format_duration_nanos(nanos), text);
            assert_eq!(parse_duration_nanos(text), Ok(nanos));
        }
    }

    #[test]
    fn sizes_are_shown_in_powers_of_1024() {
        assert_eq!(format_size(1_024_000_000), "976.56 MB");
        assert_eq!(format_size(10 << 20), "10.00 MB");
        assert_eq!(format_size(1023), "1023 B");
        assert_eq!(format_size(u64::MAX), "16.00 EB");
    }
}
