//! How far a recovery is, for whoever shows it while the store is being opened on another thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared between the thread that opens a store and whoever watches. The parts are read one by one: they need not belong to
/// the same moment.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    records: AtomicU64,
    channels: AtomicU64,
}

impl Progress {
    /// Bytes read so far.
    pub fn bytes_done(&self) -> u64 {
        self.bytes_done.load(Ordering::Relaxed)
    }

    /// Bytes to be read in all, as far as is known yet; 0 before anything is.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed).max(self.bytes_done())
    }

    /// Facts and records replayed so far.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Channels whose messages are found.
    pub fn channels(&self) -> u64 {
        self.channels.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, done: u64, total: u64, records: u64) {
        self.bytes_done.store(done, Ordering::Relaxed);
        self.bytes_total.store(total, Ordering::Relaxed);
        self.records.store(records, Ordering::Relaxed);
    }

    pub(crate) fn add_channel(&self) {
        self.channels.fetch_add(1, Ordering::Relaxed);
    }
}
