//! How far an adoption is, for whoever shows it while it runs on another thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module. The parts are read one by one: they need not belong to the same moment.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    messages: AtomicU64,
    channels: AtomicU64,
}

impl Progress {
    /// Bytes of message files that were read.
    pub fn bytes_done(&self) -> u64 {
        self.bytes_done.load(Ordering::Relaxed)
    }

    /// Bytes of files to be read in all; 0 before that is known.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed)
    }

    /// Messages taken.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Channels taken.
    pub fn channels(&self) -> u64 {
        self.channels.load(Ordering::Relaxed)
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn message(&self, bytes: u64) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn channel(&self) {
        self.channels.fetch_add(1, Ordering::Relaxed);
    }
}
