//! Another member as this one sees it: where it is, its present session, what was counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seaway_replica::{Class, NodeId, Unsent};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::framing::{self, FrameKind};
use crate::greeting::Purpose;
use crate::limits;
use crate::outbox::{Bound, Outbox};

/// The queues of the three connections of one session.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) session: u64,
    pub(crate) control: Outbox,
    pub(crate) bulk: Outbox,
    pub(crate) snapshot: Outbox,
}

impl Links {
    pub(crate) fn new(session: u64) -> Self {
        let outbox = |frames, bytes| Outbox::new(Bound { frames, bytes });
        Self {
            session,
            control: outbox(usize::MAX, limits::CONTROL_QUEUE_BYTES_MAX),
            bulk: outbox(limits::BULK_QUEUE_FRAMES_MAX, limits::BULK_QUEUE_BYTES_MAX),
            snapshot: outbox(limits::SNAPSHOT_QUEUE_FRAMES_MAX, limits::SNAPSHOT_QUEUE_BYTES_MAX),
        }
    }

    pub(crate) fn outbox(&self, purpose: Purpose) -> &Outbox {
        match purpose {
            Purpose::Control | Purpose::Ask => &self.control,
            Purpose::Bulk => &self.bulk,
            Purpose::Snapshot => &self.snapshot,
        }
    }

    pub(crate) fn close(&self) {
        for purpose in Purpose::SET {
            self.outbox(purpose).close();
        }
    }
}

/// What is known of a member besides its sessions.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) address: Option<String>,
    /// Whether it is on the list of members.
    pub(crate) is_member: bool,
    pub(crate) dialler: Option<AbortHandle>,
    pub(crate) refused: Option<String>,
}

/// A session that runs or waits for the one before it to end.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    session: u64,
    /// Set, with the reason, to end it.
    stop: watch::Sender<Option<End>>,
    ended: watch::Receiver<bool>,
}

/// Why this side ends a session.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) why: String,
    /// The other side is told.
    pub(crate) is_said: bool,
}

impl End {
    /// The other side has begun another, and listens to this one no more.
    pub(crate) fn replaced() -> Self {
        Self {
            why: "the member has connected anew".to_owned(),
            is_said: false,
        }
    }
}

/// What was counted over all sessions.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) unsent: AtomicU64,
    pub(crate) lost: AtomicU64,
    round_trip_us: AtomicU64,
    contact_ms: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) listed: Mutex<Listed>,
    links: Mutex<Option<Arc<Links>>>,
    running: Mutex<Option<Running>>,
    pub(crate) session: watch::Sender<Option<u64>>,
    /// To be dialled now and not after a wait.
    pub(crate) hurry: Notify,
    pub(crate) counters: Counters,
    began: Instant,
}

/// A session's turn to run.
pub(crate) struct Turn {
    pub(crate) before: Option<Running>,
    pub(crate) stop: watch::Receiver<Option<End>>,
    /// Told when it has ended; dropping it says so, too.
    pub(crate) ended: watch::Sender<bool>,
}

impl Peer {
    pub(crate) fn new(id: NodeId) -> Self {
        Self {
            id,
            listed: Mutex::default(),
            links: Mutex::default(),
            running: Mutex::default(),
            session: watch::Sender::new(None),
            hurry: Notify::new(),
            counters: Counters::default(),
            began: Instant::now(),
        }
    }

    pub(crate) fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name for people.
    pub(crate) fn shown(&self) -> String {
        let listed = self.listed();
        match listed.name.as_str() {
            "" => format!("{:016x}", self.id),
            name => name.to_owned(),
        }
    }

    /// The present links.
    pub(crate) fn links(&self) -> Option<Arc<Links>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_links(&self, links: Option<Arc<Links>>) {
        let session = links.as_ref().map(|links| links.session);
        *self.links.lock().unwrap_or_else(PoisonError::into_inner) = links;
        self.session.send_replace(session);
    }

    /// Puts a frame into its queue, or says that there is no room or no such session. Wakes nobody, unless there is much to write.
    pub(crate) fn put(&self, session: Option<u64>, class: Class, frame: Vec<Bytes>) -> Result<Arc<Links>, Unsent> {
        let purpose = purpose_of(class);
        let bytes: usize = frame.iter().map(Bytes::len).sum();
        let links = self.links();
        let links = links.filter(|links| session.is_none_or(|session| session == links.session));
        let put = links
            .filter(|links| bytes <= framing::longest(purpose) && links.outbox(purpose).put(FrameKind::Member, frame));
        if put.is_none() {
            self.counters.unsent.fetch_add(1, Ordering::Relaxed);
        }
        put.ok_or(Unsent)
    }

    /// The turn of a session; `None` when a later one has had its turn.
    pub(crate) fn turn(&self, session: u64) -> Option<Turn> {
        let (stop, stopped) = watch::channel(None);
        let (ended, has_ended) = watch::channel(false);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_some_and(|running| running.session >= session) {
            return None;
        }
        let before = running.replace(Running {
            session,
            stop,
            ended: has_ended,
        });
        Some(Turn {
            before,
            stop: stopped,
            ended,
        })
    }

    /// Ends the session that runs, if any.
    pub(crate) fn stop(&self, why: &str) {
        let end = End {
            why: why.to_owned(),
            is_said: true,
        };
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            running.stop(end);
        }
    }

    pub(crate) fn heard(&self, bytes: usize) {
        self.counters.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = self.began.elapsed().as_millis() as u64;
        self.counters.contact_ms.store(now.max(1), Ordering::Relaxed);
    }

    pub(crate) fn measured(&self, round_trip: Duration) {
        let microseconds = (round_trip.as_micros() as u64).max(1);
        self.counters.round_trip_us.store(microseconds, Ordering::Relaxed);
    }

    /// See `PeerStatistics`.
    pub(crate) fn statistics(&self) -> PeerStatistics {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let links = self.links();
        let queued = |purpose| links.as_ref().map_or((0, 0), |links| links.outbox(purpose).queued());
        let listed = self.listed();
        let contact = Some(count(&self.counters.contact_ms)).filter(|at| *at > 0);
        let now = self.began.elapsed().as_millis() as u64;
        let round_trip = Some(count(&self.counters.round_trip_us)).filter(|us| *us > 0);
        PeerStatistics {
            node: self.id,
            name: listed.name.clone(),
            address: listed.address.clone(),
            is_member: listed.is_member,
            session: links.as_ref().map(|links| links.session),
            since_contact: contact.map(|at| Duration::from_millis(now.saturating_sub(at))),
            round_trip: round_trip.map(Duration::from_micros),
            control_queued_bytes: queued(Purpose::Control).1,
            bulk_queued_frames: queued(Purpose::Bulk).0,
            bulk_queued_bytes: queued(Purpose::Bulk).1,
            sent_bytes: count(&self.counters.sent_bytes),
            received_bytes: count(&self.counters.received_bytes),
            unsent_frames: count(&self.counters.unsent),
            lost_sessions: count(&self.counters.lost),
            refused: listed.refused.clone(),
        }
    }
}

impl Running {
    pub(crate) fn stop(&self, end: End) {
        self.stop.send_if_modified(|present| {
            let is_first = present.is_none();
            present.get_or_insert(end);
            is_first
        });
    }

    /// Waits until it has ended, whether it says so or is just gone.
    pub(crate) async fn ended(mut self) {
        let _ = self.ended.wait_for(|ended| *ended).await;
    }
}

pub(crate) const fn purpose_of(class: Class) -> Purpose {
    match class {
        Class::Control => Purpose::Control,
        Class::Bulk => Purpose::Bulk,
    }
}

/// What is known of the connections to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatistics {
    /// Its id.
    pub node: NodeId,
    /// Its name; empty when it is not known.
    pub name: String,
    /// Where it is dialled.
    pub address: Option<String>,
    /// Whether it is on the list of members.
    pub is_member: bool,
    /// The present session.
    pub session: Option<u64>,
    /// Time since the last byte came from it, in whatever session.
    pub since_contact: Option<Duration>,
    /// From a ping to its answer, lately.
    pub round_trip: Option<Duration>,
    /// Bytes that wait for the control connection.
    pub control_queued_bytes: usize,
    /// Frames that wait for the bulk connection.
    pub bulk_queued_frames: usize,
    /// Bytes that wait for it.
    pub bulk_queued_bytes: usize,
    /// Bytes written to it.
    pub sent_bytes: u64,
    /// Bytes read from it.
    pub received_bytes: u64,
    /// Frames for which there was no room or no connection.
    pub unsent_frames: u64,
    /// Sessions that have ended.
    pub lost_sessions: u64,
    /// Why there was no connection the last time, if one side refused it and none came about since.
    pub refused: Option<String>,
}
