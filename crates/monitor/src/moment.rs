//! When a request is answered: the only clock of the endpoints.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::json;

/// When a request is answered, and the zone of the times that are shown local.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Moment {
            now: Timestamp::now(),
            zone: TimeZone::system(),
        }
    }

    pub(crate) fn now_ns(&self) -> i64 {
        i64::try_from(self.now.as_nanosecond()).unwrap_or(i64::MAX)
    }

    pub(crate) fn local(&self, at: Timestamp) -> String {
        json::time(at, &self.zone)
    }

    pub(crate) fn local_now(&self) -> String {
        self.local(self.now)
    }
}
