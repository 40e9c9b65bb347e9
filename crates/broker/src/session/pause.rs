//! A producer that waits a little for destinations whose queues are well filled (core specification §1.15).
//!
//! The wait is what keeps a healthy reader from being closed by a faster producer. It is bounded, so that one slow reader slows
//! a producer down but never stops it; who stays slow is closed by the bounds of its own queue. While it lasts nothing is read from
//! the producer; what it is sent goes on, so it may well wait for itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::connection::Connection;
use crate::counters::Counters;
use crate::kind::Kind;
use crate::limits::{STALL_FIRST, STALL_LAST, STALL_OF_PEER, STUCK};

pub(super) struct Pause {
    pub(super) until: Instant,
    destinations: SmallVec<[Arc<Connection>; 2]>,
}

impl Pause {
    /// `None` when there is nothing to wait for. The longer the longest queue, the longer it may take.
    pub(super) fn new(
        counters: &Counters,
        producer: &Connection,
        mut destinations: SmallVec<[Arc<Connection>; 2]>,
    ) -> Option<Self> {
        let mut patience = Duration::ZERO;
        destinations.retain(|destination| {
            let share = destination.outbound.stall(&producer.outbound.waiter);
            if let Some(share) = share {
                patience = patience.max(patience_with(destination, share.min(1.0)));
            }
            share.is_some()
        });
        if destinations.is_empty() {
            return None;
        }
        producer.stalls.fetch_add(1, Ordering::Relaxed);
        counters.stalled_clients.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            until: Instant::now() + patience,
            destinations,
        })
    }

    /// Whether time is up, or no destination is well filled any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.until
            || !self
                .destinations
                .iter()
                .any(|destination| destination.outbound.stalls())
    }
}

/// How long to wait for a destination of whose queue this share is full, at most. Another server that takes what it is sent gets time
/// in proportion, so that its queue never fills however many publish, and nothing is lost on the way. One that takes nothing is
/// like any client: its own bounds end it.
fn patience_with(destination: &Connection, share: f64) -> Duration {
    let last = match destination.kind {
        Kind::Client => STALL_LAST,
        Kind::Peer => match destination.outbound.blocked_since() {
            Some(since) if since.elapsed() >= STUCK => STALL_LAST,
            _ => STALL_OF_PEER,
        },
    };
    STALL_FIRST + (last - STALL_FIRST).mul_f64(share)
}
