//! Wall times as lines show them.

use std::fmt::{self, Display, Formatter};

use crate::time::Timestamp;

/// A wall time in UTC.
pub(crate) struct Utc(pub(crate) Timestamp);

impl Display for Utc {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0.div_euclid(1_000_000_000);
        let nanoseconds = self.0.0.rem_euclid(1_000_000_000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Days to a civil date, in eras of 400 years that begin in March.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 {
            month_shifted + 3
        } else {
            month_shifted - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{nanoseconds:09} +0000 UTC"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_times_are_civil() {
        assert_eq!(Utc(Timestamp(0)).to_string(), "1970-01-01 00:00:00.000000000 +0000 UTC");
        let leap_day = 1_709_210_096_000_000_007;
        assert_eq!(
            Utc(Timestamp(leap_day)).to_string(),
            "2024-02-29 12:34:56.000000007 +0000 UTC"
        );
        assert_eq!(
            Utc(Timestamp(-1)).to_string(),
            "1969-12-31 23:59:59.999999999 +0000 UTC"
        );
    }
}
