//! Changes that operators have made.

use serde::Serialize;

/// What `/streaming/auditz` is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuestion {
    /// Only what is not older.
    pub since_ns: Option<i64>,
    /// Only those by whom this is a part of.
    pub who: Option<String>,
    /// So many of the newest are left out.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

impl AuditQuestion {
    /// A time in nanoseconds since 1970, from RFC 3339.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn time(text: &str) -> Result<i64, String> {
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|error| format!("{error}; a time is written like \"2026-01-31T18:30:00Z\""))?;
        i64::try_from(time.as_nanosecond()).map_err(|_| "it must be between the years 1678 and 2262".to_owned())
    }
}

/// A change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// One more with each change.
    pub number: u64,
    /// When it was made, RFC 3339 in UTC.
    pub time: String,
    /// Who made it.
    pub by: String,
    /// What was changed and what came of it, in words.
    pub change: String,
}
