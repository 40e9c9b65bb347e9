//! What others may know of a connection: its identity, its way out, its counters. The reading side belongs to the
//! connection's task (see `session`).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use crate::admission::Admission;
use crate::broker::Shared;
use crate::outbound::Outbound;
use crate::subscription::BySid;
use crate::tls::{Outgoing, TlsDetails};

/// What the client said about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientDetails {
    pub(crate) name: String,
    pub(crate) lang: String,
    pub(crate) version: String,
}

/// One client connection.
pub(crate) struct Connection {
    pub(crate) broker: Arc<Shared>,
    pub(crate) id: u64,
    /// Dense index among live connections; reused after the end.
    pub(crate) slot: u32,
    pub(crate) peer: SocketAddr,
    pub(crate) tls: Option<Box<TlsDetails>>,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) outbound: Mutex<Outbound>,
    /// Mirror of the bytes accepted and not yet written; changed under the lock of `outbound` only.
    pub(crate) pending: AtomicUsize,
    /// The task has to wait for the socket to become writable; changed under the lock of `outbound` only.
    pub(crate) armed: AtomicBool,
    /// Mirror of `outbound.closing`.
    pub(crate) closed: AtomicBool,
    /// Wakes the connection's task: armed, closed, gate opened.
    pub(crate) wake: Notify,
    /// Wakes stalled producers.
    pub(crate) drained: Notify,
    /// Whether it is on the list of a closed gate.
    pub(crate) at_gate: AtomicBool,
    /// Who the client is, as far as others have to know.
    pub(crate) admission: Admission,
    /// The client understands HMSG.
    pub(crate) headers: AtomicBool,
    /// Nanoseconds since the broker's start.
    pub(crate) last_activity: AtomicU64,
    /// Nanoseconds; 0 while unknown.
    pub(crate) round_trip: AtomicU64,
    pub(crate) in_messages: AtomicU64,
    pub(crate) in_bytes: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) details: Mutex<ClientDetails>,
    /// Locked by its own task for SUB and UNSUB, by deliveries that end a subscription, and by monitoring.
    pub(crate) subscriptions: Mutex<HashSet<BySid, RandomState>>,
}

impl Connection {
    pub(crate) fn new(
        broker: Arc<Shared>,
        id: u64,
        slot: u32,
        peer: SocketAddr,
        socket: Option<Outgoing>,
        tls: Option<TlsDetails>,
    ) -> Self {
        let started = Instant::now();
        let last_activity = AtomicU64::new(broker.nanoseconds_since_start(started));
        Self {
            broker,
            id,
            slot,
            peer,
            tls: tls.map(Box::new),
            started,
            started_at: SystemTime::now(),
            outbound: Mutex::new(Outbound::new(socket)),
            pending: AtomicUsize::new(0),
            armed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            drained: Notify::new(),
            at_gate: AtomicBool::new(false),
            admission: Admission::default(),
            headers: AtomicBool::new(false),
            last_activity,
            round_trip: AtomicU64::new(0),
            in_messages: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            details: Mutex::default(),
            subscriptions: Mutex::default(),
        }
    }

    /// Waits until somebody closes it. Only for the connection's task.
    pub(crate) async fn until_closed(&self) {
        while !self.closed.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
    }
}
