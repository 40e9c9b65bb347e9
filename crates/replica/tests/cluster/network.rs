//! The network: sessions between each two members, frames that are late, lost, doubled or out of order, and ways that are cut in one
//! direction.

use std::collections::BTreeMap;

use seaway_replica::{Class, NodeId};

/// A frame on its way.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) session: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The connections between two members.
#[derive(Debug, Default)]
struct Link {
    /// The newest session, and whether it lasts.
    session: u64,
    is_up: bool,
    /// The session that each of the two knows of, the one with the smaller id first.
    known: [Option<u64>; 2],
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<(NodeId, NodeId), Link>,
    /// Until when nothing arrives, from whom, at whom.
    cuts: BTreeMap<(NodeId, NodeId), u64>,
    /// When the last frame of a connection arrives: they keep their order.
    last: BTreeMap<(NodeId, NodeId, Class), u64>,
}

fn key(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl Network {
    /// Cuts the way from one to another.
    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId, until: u64) {
        self.cuts.insert((from, to), until);
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(crate) fn is_cut(&self, from: NodeId, to: NodeId, now: u64) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|until| now < *until)
    }

    /// The session that a member knows of.
    pub(crate) fn known(&self, of: NodeId, with: NodeId) -> Option<u64> {
        self.links.get(&key(of, with))?.known[usize::from(of > with)]
    }

    pub(crate) fn set_known(&mut self, of: NodeId, with: NodeId, session: Option<u64>) {
        let link = self.links.entry(key(of, with)).or_default();
        link.known[usize::from(of > with)] = session;
    }

    /// Whether frames of a session can still arrive.
    pub(crate) fn lasts(&self, one: NodeId, other: NodeId, session: u64) -> bool {
        let link = self.links.get(&key(one, other));
        link.is_some_and(|link| link.is_up && link.session == session)
    }

    /// Whether two members may connect: neither believes that they are connected.
    pub(crate) fn may_connect(&self, one: NodeId, other: NodeId, now: u64) -> bool {
        let is_free = self
            .links
            .get(&key(one, other))
            .is_none_or(|link| !link.is_up && link.known == [None, None]);
        is_free && !self.is_cut(one, other, now) && !self.is_cut(other, one, now)
    }

    /// A new session begins.
    pub(crate) fn connect(&mut self, one: NodeId, other: NodeId) -> u64 {
        let link = self.links.entry(key(one, other)).or_default();
        link.session += 1;
        link.is_up = true;
        link.session
    }

    /// The session ends; each of the two who knew of it will notice.
    pub(crate) fn reset(&mut self, one: NodeId, other: NodeId) -> Option<u64> {
        let link = self.links.get_mut(&key(one, other)).filter(|link| link.is_up)?;
        link.is_up = false;
        Some(link.session)
    }

    /// When a frame arrives that is sent now, and would arrive at a time if it were alone.
    pub(crate) fn in_order(&mut self, from: NodeId, to: NodeId, class: Class, at: u64) -> u64 {
        let last = self.last.entry((from, to, class)).or_default();
        *last = at.max(*last + 1);
        *last
    }
}
