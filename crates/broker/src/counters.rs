//! Totals of the whole broker, and the clock its connections share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::kind::Kind;
use crate::queues::Queues;

/// Totals over all connections, raised once per batch.
pub(crate) struct Counters {
    /// What waits for all connections.
    pub(crate) queues: Queues,
    pub(crate) gathered_peak: AtomicUsize,
    pub(crate) in_messages: AtomicU64,
    pub(crate) in_bytes: AtomicU64,
    pub(crate) out_messages: AtomicU64,
    pub(crate) out_bytes: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) slow_routes: AtomicU64,
    pub(crate) stale_connections: AtomicU64,
    pub(crate) stalled_clients: AtomicU64,
    pub(crate) total_connections: AtomicU64,
    pub(crate) route_lookups: AtomicU64,
    pub(crate) route_misses: AtomicU64,
    pub(crate) turns: AtomicU64,
    pub(crate) work: AtomicU64,
    pub(crate) longest_turn: AtomicU64,
}

impl Counters {
    /// With the bytes that may wait for all connections together.
    pub(crate) fn new(outbound_bytes_max: usize) -> Self {
        Self {
            queues: Queues::new(outbound_bytes_max),
            gathered_peak: AtomicUsize::new(0),
            in_messages: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            out_messages: AtomicU64::new(0),
            out_bytes: AtomicU64::new(0),
            slow_consumers: AtomicU64::new(0),
            slow_routes: AtomicU64::new(0),
            stale_connections: AtomicU64::new(0),
            stalled_clients: AtomicU64::new(0),
            total_connections: AtomicU64::new(0),
            route_lookups: AtomicU64::new(0),
            route_misses: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            work: AtomicU64::new(0),
            longest_turn: AtomicU64::new(0),
        }
    }

    /// A connection is closed because it does not keep up.
    pub(crate) fn slow(&self, kind: Kind) {
        let counter = match kind {
            Kind::Client => &self.slow_consumers,
            Kind::Peer => &self.slow_routes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, messages: u64, bytes: u64) {
        if messages > 0 {
            self.out_messages.fetch_add(messages, Ordering::Relaxed);
            self.out_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A producer had this much gathered.
    pub(crate) fn gathered(&self, peak: usize) {
        if peak > self.gathered_peak.load(Ordering::Relaxed) {
            self.gathered_peak.fetch_max(peak, Ordering::Relaxed);
        }
    }

    /// A turn of a client took this much work.
    pub(crate) fn turned(&self, work: u64) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.work.fetch_add(work, Ordering::Relaxed);
        if work > self.longest_turn.load(Ordering::Relaxed) {
            self.longest_turn.fetch_max(work, Ordering::Relaxed);
        }
    }

    pub(crate) fn looked_up(&self, lookups: u64, misses: u64) {
        if lookups > 0 {
            self.route_lookups.fetch_add(lookups, Ordering::Relaxed);
        }
        if misses > 0 {
            self.route_misses.fetch_add(misses, Ordering::Relaxed);
        }
    }
}

/// When the broker was made, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
        }
    }

    pub(crate) fn nanoseconds_since_start(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn wall_clock(&self, nanoseconds_since_start: u64) -> SystemTime {
        self.started_at + Duration::from_nanos(nanoseconds_since_start)
    }
}
