//! What all tasks of a transport share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use seaway_replica::NodeId;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::asking::Answering;
use crate::events::{Event, Events};
use crate::fetching::{Fetches, Pace};
use crate::gathering::Gathering;
use crate::greeting::{Belonging, Party};
use crate::limits;
use crate::options::{Options, Ports};
use crate::peer::Peer;
use crate::snapshot::{Piece, PieceName, SnapshotSource};
use crate::told::Told;

/// Who this server is between members, as soon as it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) id: NodeId,
    pub(crate) belonging: Belonging,
}

/// The members that are known.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) known: BTreeMap<NodeId, Arc<Peer>>,
    /// Those that were taken out, the latest last. Ids do not come back.
    departed: VecDeque<NodeId>,
}

impl Peers {
    pub(crate) fn has_departed(&self, id: NodeId) -> bool {
        self.departed.contains(&id)
    }

    pub(crate) fn departs(&mut self, id: NodeId) {
        if self.departed.len() >= limits::DEPARTED_MAX {
            self.departed.pop_front();
        }
        self.departed.push_back(id);
    }

    pub(crate) fn returns(&mut self, id: NodeId) {
        self.departed.retain(|departed| *departed != id);
    }

    /// A member by its id, made known when there is room.
    pub(crate) fn get_or_add(&mut self, id: NodeId) -> Option<Arc<Peer>> {
        if let Some(peer) = self.known.get(&id) {
            return Some(Arc::clone(peer));
        }
        if self.known.len() >= limits::PEERS_MAX {
            // Somebody who is on no list and not there makes room.
            let gone = self
                .known
                .iter()
                .find(|(_, peer)| !peer.listed().is_member && peer.links().is_none());
            let gone = *gone?.0;
            self.known.remove(&gone);
        }
        let peer = Arc::new(Peer::new(id));
        self.known.insert(id, Arc::clone(&peer));
        Some(peer)
    }
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) boot: u64,
    pub(crate) began: Instant,
    own: RwLock<Option<Own>>,
    /// `None` when it is closed: nobody is told anything then.
    events: RwLock<Option<Arc<dyn Events>>>,
    pub(crate) answering: Arc<dyn Answering>,
    snapshots: Arc<dyn SnapshotSource>,
    reads: Semaphore,
    pub(crate) pace: Pace,
    pub(crate) fetches: Fetches,
    peers: Mutex<Peers>,
    pub(crate) gathering: Gathering,
    told: Mutex<Told>,
    /// Largest number of a session so far, with whomever.
    sessions: AtomicU64,
    tasks: Mutex<JoinSet<()>>,
}

impl Shared {
    pub(crate) fn new(options: Options, ports: Ports, boot: u64) -> Self {
        Self {
            pace: Pace::new(options.snapshot_bytes_per_second),
            options,
            boot,
            began: Instant::now(),
            own: RwLock::default(),
            events: RwLock::new(Some(ports.events)),
            answering: ports.answering,
            snapshots: ports.snapshots,
            reads: Semaphore::new(limits::PIECE_READS_MAX),
            fetches: Fetches::default(),
            peers: Mutex::default(),
            gathering: Gathering::default(),
            told: Mutex::default(),
            sessions: AtomicU64::new(0),
            tasks: Mutex::default(),
        }
    }

    pub(crate) fn own(&self) -> Option<Own> {
        *self.own.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_own(&self, own: Own) -> Option<Own> {
        self.own.write().unwrap_or_else(PoisonError::into_inner).replace(own)
    }

    /// Who this server says it is.
    pub(crate) fn party(&self) -> Party {
        let own = self.own();
        Party {
            id: own.map_or(0, |own| own.id),
            boot: self.boot,
            belonging: own.map_or(Belonging::NONE, |own| own.belonging),
            cluster_id: self.options.cluster_id.clone(),
            name: self.options.name.clone(),
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(events) = &*self.events.read().unwrap_or_else(PoisonError::into_inner) {
            events.event(event);
        }
    }

    /// From now on nobody is told anything.
    pub(crate) fn fall_silent(&self) {
        *self.events.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tells of somebody with whom there will be no connection, once a minute.
    pub(crate) fn refused(&self, who: &str, words: String) {
        let is_due = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.is_due(who, Instant::now())
        };
        if is_due {
            self.tell(Event::Refused {
                who: who.to_owned(),
                words,
            });
        }
    }

    pub(crate) fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<Arc<Peer>> {
        self.peers().known.get(&id).cloned()
    }

    /// A number for a session that is at least `wanted` and larger than any before.
    pub(crate) fn next_session(&self, wanted: u64) -> u64 {
        let mut present = self.sessions.load(Ordering::Relaxed);
        loop {
            let next = wanted.max(present + 1);
            match self
                .sessions
                .compare_exchange_weak(present, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(now) => present = now,
            }
        }
    }

    /// Another has given a session this number.
    pub(crate) fn saw_session(&self, session: u64) {
        self.sessions.fetch_max(session, Ordering::Relaxed);
    }

    /// Reads a piece for a member.
    pub(crate) async fn read_piece(&self, member: NodeId, name: PieceName) -> Result<Piece, String> {
        let _turn = self.reads.acquire().await.map_err(|error| error.to_string())?;
        let snapshots = Arc::clone(&self.snapshots);
        let read = tokio::task::spawn_blocking(move || snapshots.piece(member, name.snapshot, name.piece));
        let piece = read.await.map_err(|error| error.to_string())??;
        if piece.bytes.is_empty() || piece.bytes.len() > limits::PIECE_BYTES_MAX {
            return Err(format!("a piece of {} bytes cannot be sent", piece.bytes.len()));
        }
        Ok(piece)
    }

    /// Runs a task until it ends or the transport is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task)
    }

    pub(crate) fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
