//! What others may know of a connection: its identity, its way out, its counters. The reading side belongs to the
//! connection's task (see `session`).

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime};

use foldhash::fast::RandomState;
use seaway_nats_protocol::write::{write_error, write_info};
use seaway_nats_protocol::{ErrorText, ServerInfo};

use crate::access::Access;
use crate::admission::{Admission, Renewal};
use crate::announcer::Announcer;
use crate::counters::Clock;
use crate::kind::Kind;
use crate::lock::lock;
use crate::outbound::Outbound;
use crate::owner::{Owner, Subscription};
use crate::reason::CloseReason;
use crate::routing::BySid;
use crate::tls::TlsDetails;

/// What the client said about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientDetails {
    pub(crate) name: String,
    pub(crate) lang: String,
    pub(crate) version: String,
}

/// By the sid of the subscription for which they stand.
type Shadows = HashMap<Box<[u8]>, Vec<Arc<Subscription>>, RandomState>;

/// One connection of a client, or to another server.
pub(crate) struct Connection {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    /// Dense index among live connections; reused after the end.
    pub(crate) slot: u32,
    pub(crate) peer: SocketAddr,
    pub(crate) tls: Option<Box<TlsDetails>>,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) clock: Clock,
    /// The way to the client.
    pub(crate) outbound: Outbound,
    /// Tells another server what is wanted here, once that server is known.
    pub(crate) announcer: OnceLock<Announcer>,
    /// An INFO may be sent at any time.
    pub(crate) takes_info: AtomicBool,
    /// Who the client is, as far as others have to know.
    pub(crate) admission: Admission,
    /// Largest publication that is taken from the client, in bytes; 0 while it is not known who it is.
    pub(crate) max_payload: AtomicUsize,
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
    pub(crate) subscriptions: Mutex<HashSet<BySid<Owner>, RandomState>>,
    /// What stands for some of them in other accounts, by sid.
    shadows: Mutex<Shadows>,
    /// Whether there ever were any; spares a lock.
    has_shadows: AtomicBool,
}

impl Connection {
    pub(crate) fn new(
        clock: Clock,
        id: u64,
        slot: u32,
        peer: SocketAddr,
        outbound: Outbound,
        tls: Option<TlsDetails>,
    ) -> Self {
        let started = Instant::now();
        let last_activity = AtomicU64::new(clock.nanoseconds_since_start(started));
        Self {
            kind: outbound.bounds.kind,
            id,
            slot,
            peer,
            tls: tls.map(Box::new),
            started,
            started_at: SystemTime::now(),
            clock,
            outbound,
            announcer: OnceLock::new(),
            takes_info: AtomicBool::new(false),
            admission: Admission::default(),
            max_payload: AtomicUsize::new(0),
            headers: AtomicBool::new(false),
            last_activity,
            round_trip: AtomicU64::new(0),
            in_messages: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            details: Mutex::default(),
            subscriptions: Mutex::default(),
            shadows: Mutex::default(),
            has_shadows: AtomicBool::new(false),
        }
    }
}

impl Connection {
    /// From now on these stand in other accounts for the subscription with this sid.
    pub(crate) fn keep_shadows(&self, sid: &[u8], shadows: Vec<Arc<Subscription>>) {
        self.has_shadows.store(true, Ordering::Release);
        lock(&self.shadows).insert(sid.into(), shadows);
    }

    /// What stands in other accounts for the subscription with this sid.
    pub(crate) fn shadows_of(&self, sid: &[u8]) -> Vec<Arc<Subscription>> {
        if !self.has_shadows.load(Ordering::Acquire) {
            return Vec::new();
        }
        lock(&self.shadows).get(sid).cloned().unwrap_or_default()
    }

    /// The same, and nothing does any more.
    pub(crate) fn take_shadows(&self, sid: &[u8]) -> Vec<Arc<Subscription>> {
        if !self.has_shadows.load(Ordering::Acquire) {
            return Vec::new();
        }
        lock(&self.shadows).remove(sid).unwrap_or_default()
    }

    /// An INFO at a moment of the server's choosing; only what concerns this client is set in `info`, which serves for others too.
    pub(crate) fn inform(&self, info: &mut ServerInfo) {
        info.client_id = self.id;
        info.client_ip = self.peer.ip().to_string();
        // What is taken from it is no news.
        info.max_payload = self.max_payload.load(Ordering::Acquire);
        let mut line = Vec::new();
        write_info(&mut line, info);
        self.outbound.send(&mut line, 0, 0);
    }

    /// Asks whether the client is still who it was, and acts on it.
    pub(crate) fn renew(&self, access: &Access) -> Renewal {
        let renewal = self.admission.renew(access);
        match renewal {
            Renewal::Same => {}
            Renewal::Changed => self.outbound.waiter.wake(),
            Renewal::Refused => self.refuse(&ErrorText::AuthorizationViolation, CloseReason::AuthenticationFailure),
        }
        renewal
    }

    /// Closes with words.
    pub(crate) fn refuse(&self, error: &ErrorText<'_>, reason: CloseReason) {
        if self.outbound.is_closed() {
            return;
        }
        tracing::error!("{} - {}:{} - {}", self.peer, self.kind.label(), self.id, error.text());
        let mut refusal = Vec::new();
        write_error(&mut refusal, error);
        self.outbound.send(&mut refusal, 0, 0);
        self.outbound.close(reason);
    }
}
