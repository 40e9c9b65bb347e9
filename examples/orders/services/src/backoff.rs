//! Pauses between attempts to reach a neighbour.

use std::time::Duration;

/// Pauses double from the first to the longest, and differ by chance, so that those who wait do not come back together.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Backoff {
    pause: Duration,
    /// Why the last attempt failed.
    reason: String,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            pause: PAUSE_MIN,
            reason: String::new(),
        }
    }

    /// Waits, longer each time, and says why, once.
    pub(crate) async fn wait(&mut self, reason: String) {
        if self.reason != reason {
            tracing::warn!("{reason}; trying again until it works");
            self.reason = reason;
        }
        tokio::time::sleep(self.pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// The neighbour has answered.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }
}
