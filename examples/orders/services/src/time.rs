//! The clock, in milliseconds since 1970.

/// Now.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A time in the form of RFC 3339.
pub(crate) fn rfc3339(ms: i64) -> String {
    // Out of the range of calendars is out of the range of ours.
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    format!("{time:.3}")
}

/// A time of the server in the same form.
pub(crate) fn rfc3339_of(time: std::time::SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    format!("{time:.3}")
}
