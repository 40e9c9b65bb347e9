//! How far a backup or a restore is.

use std::sync::atomic::{AtomicU64, Ordering};

/// Filled by whoever works, read by whoever draws.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    pub(crate) fn begin(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of all files.
    pub fn bytes_total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes of those that are dealt with.
    pub fn bytes_done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}
