//! What makes the keeper of a connection look at it at once.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Calls for the keeper, and whether the NATS connection is broken.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    calls: Notify,
    is_disconnected: AtomicBool,
}

impl Attention {
    /// Asks for a look.
    pub(crate) fn call(&self) {
        self.calls.notify_one();
    }

    /// Completes when somebody has called since the last time.
    pub(crate) async fn called(&self) {
        self.calls.notified().await;
    }

    /// The NATS connection broke, or was made anew.
    pub(crate) fn link(&self, is_disconnected: bool) {
        self.is_disconnected.store(is_disconnected, Ordering::Release);
        self.call();
    }

    pub(crate) fn is_disconnected(&self) -> bool {
        self.is_disconnected.load(Ordering::Acquire)
    }
}
