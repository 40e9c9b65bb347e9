//! A producer that waits a little for destinations whose queues are well filled (core specification §1.15).
//!
//! The wait is what keeps a healthy reader from being closed by a faster producer. It is bounded, so that one slow reader slows
//! a producer down but never stops it; who stays slow is closed by the bounds of its own queue. While it lasts nothing is read from
//! the producer; what it is sent goes on, so it may well wait for itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use smallvec::SmallVec;

use crate::connection::Connection;
use crate::counters::Counters;
use crate::kind::Kind;
use crate::limits::{STALL_FIRST, STALL_LAST};

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
        let mut fullest = 0.0;
        destinations.retain(|destination| {
            let share = destination.outbound.stall(&producer.outbound.waiter);
            fullest = share.unwrap_or_default().max(fullest);
            share.is_some()
        });
        if destinations.is_empty() {
            return None;
        }
        producer.stalls.fetch_add(1, Ordering::Relaxed);
        counters.stalled_clients.fetch_add(1, Ordering::Relaxed);
        // What waits for another server is not to be lost, nor to grow: the bounds of its own queue end that wait.
        let peers = destinations.iter().filter(|destination| destination.kind == Kind::Peer);
        let patience = match peers.map(|peer| peer.outbound.bounds.write_deadline).max() {
            Some(deadline) => deadline * 2,
            None => STALL_FIRST + (STALL_LAST - STALL_FIRST).mul_f64(f64::min(fullest, 1.0)),
        };
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
