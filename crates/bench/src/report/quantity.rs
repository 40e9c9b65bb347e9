//! Numbers as people read them.

/// A number with its unit, which its name ends with.
pub(super) fn quantity(name: &str, value: f64) -> String {
    if name.ends_with("_bytes") {
        return bytes(value);
    }
    for (ending, unit) in [
        ("_seconds", " s"),
        ("_seconds_per_million", " s"),
        ("_microseconds", " us"),
        ("_percent", " %"),
        ("_percent_of_a_core", " %"),
    ] {
        if name.ends_with(ending) {
            return format!("{}{unit}", number(value));
        }
    }
    number(value)
}

/// A number with as many digits as matter, and groups of three.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    let mut text = format!("{value:.digits$}");
    if digits > 0 {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = if let Some(whole) = whole.strip_prefix('-') {
        ("-", whole)
    } else {
        ("", whole)
    };
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

pub(super) fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["B", "KB", "MB"] {
        if value.abs() < 10_000.0 {
            return format!("{} {unit}", number(value));
        }
        value /= 1_000.0;
    }
    format!("{} GB", number(value))
}

/// Microseconds, or more when that reads better.
pub(super) fn time(microseconds: f64) -> String {
    TimeUnit::for_values([microseconds]).show(microseconds)
}

/// The unit in which times that stand beside each other are shown, so that they can be compared at a glance.
#[derive(Clone, Copy)]
pub(super) struct TimeUnit {
    pub(super) name: &'static str,
    /// Microseconds of one.
    pub(super) microseconds: f64,
}

impl TimeUnit {
    /// One in which the largest of these, in microseconds, reads well.
    pub(super) fn for_values(values: impl IntoIterator<Item = f64>) -> Self {
        let largest = values.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let (name, microseconds) = if largest < 10_000.0 {
            ("us", 1.0)
        } else if largest < 10_000_000.0 {
            ("ms", 1e3)
        } else {
            ("s", 1e6)
        };
        TimeUnit { name, microseconds }
    }

    pub(super) fn show(self, microseconds: f64) -> String {
        format!("{} {}", number(microseconds / self.microseconds), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, text) in [
            (1_234_567.8, "1,234,568"),
            (999.0, "999"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.000_25, "0.0003"),
            (0.5, "0.5"),
            (0.000_01, "0"),
            (2.001, "2"),
            (-1_000.0, "-1,000"),
            (0.0, "0"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn names_carry_units() {
        assert_eq!(quantity("server_resident_bytes", 123_456_789.0), "123 MB");
        assert_eq!(quantity("server_cpu_seconds_per_million", 0.75), "0.75 s");
        assert_eq!(quantity("rate_per_second", 1e6), "1,000,000");
        assert_eq!(quantity("server_written_bytes_per_message", 170.5), "170");
        assert_eq!(
            (time(150.0), time(25_000.0), time(1.5e7)),
            ("150 us".into(), "25 ms".into(), "15 s".into())
        );
    }
}
