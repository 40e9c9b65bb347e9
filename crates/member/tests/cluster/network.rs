//! The network in memory: sessions between each two members, frames that arrive in order and late, and ways that are cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use seaway_member::Network;
use seaway_replica::{Class, Configuration, NodeId, Unsent};

/// Frames that a connection takes.
const QUEUED_MAX: usize = 64;

/// A frame on its way.
pub(crate) struct Parcel {
    pub(crate) session: u64,
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Wires {
    pub(crate) now: u64,
    /// The session between two members, the one with the smaller id first, while there is one.
    pub(crate) sessions: BTreeMap<(NodeId, NodeId), u64>,
    next_session: u64,
    queues: BTreeMap<(NodeId, NodeId, Class), VecDeque<Parcel>>,
    /// Ways in which nothing arrives.
    pub(crate) cuts: BTreeSet<(NodeId, NodeId)>,
    pub(crate) refused: Vec<String>,
    delay: u64,
}

fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl Wires {
    pub(crate) fn connect(&mut self, one: NodeId, other: NodeId) -> u64 {
        self.next_session += 1;
        self.sessions.insert(pair(one, other), self.next_session);
        self.next_session
    }

    pub(crate) fn is_connected(&self, one: NodeId, other: NodeId) -> bool {
        self.sessions.contains_key(&pair(one, other))
    }

    pub(crate) fn is_cut(&self, one: NodeId, other: NodeId) -> bool {
        self.cuts.contains(&(one, other)) || self.cuts.contains(&(other, one))
    }

    /// The session ends, and what was on its way is lost.
    pub(crate) fn reset(&mut self, one: NodeId, other: NodeId) -> Option<u64> {
        let session = self.sessions.remove(&pair(one, other))?;
        for class in [Class::Control, Class::Bulk] {
            self.queues.remove(&(one, other, class));
            self.queues.remove(&(other, one, class));
        }
        Some(session)
    }

    /// The next frame that arrives now, in each connection's order.
    pub(crate) fn arriving(&mut self) -> Option<(NodeId, NodeId, Parcel)> {
        let now = self.now;
        let cuts = &self.cuts;
        let (ends, queue) = self.queues.iter_mut().find(|((from, to, _), queue)| {
            !cuts.contains(&(*from, *to)) && queue.front().is_some_and(|parcel| parcel.at <= now)
        })?;
        let (from, to, _) = *ends;
        queue.pop_front().map(|parcel| (from, to, parcel))
    }
}

/// All of it, and one member's end.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Wires>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Wires> {
        self.0.lock().expect("one thread uses it")
    }

    pub(crate) fn end(&self, of: NodeId) -> Box<dyn Network> {
        Box::new(End {
            of,
            shared: self.clone(),
        })
    }
}

struct End {
    of: NodeId,
    shared: Shared,
}

impl Network for End {
    fn send(&mut self, to: NodeId, class: Class, frame: Vec<Bytes>) -> Result<(), Unsent> {
        let mut wires = self.shared.lock();
        let session = *wires.sessions.get(&pair(self.of, to)).ok_or(Unsent)?;
        // Deterministic, and different for each frame.
        wires.delay = wires
            .delay
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = wires.now + (wires.delay >> 33) % 4;
        let queue = wires.queues.entry((self.of, to, class)).or_default();
        if queue.len() >= QUEUED_MAX {
            return Err(Unsent);
        }
        let bytes = frame.concat();
        queue.push_back(Parcel { session, at, bytes });
        Ok(())
    }

    fn refuse(&mut self, member: NodeId, why: String) {
        let of = self.of;
        self.shared
            .lock()
            .refused
            .push(format!("{of:x} refuses {member:x}: {why}"));
    }

    fn members(&mut self, configuration: &Configuration, _about: &Bytes) {
        assert!(!configuration.voters.is_empty(), "a cluster has voters");
    }
}
