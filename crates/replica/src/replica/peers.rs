//! Other members: sessions, and what comes in them.
//!
//! A session is one life of the connections to a member. What was said in an earlier one is not heard, and what was to be said in it is
//! not said in the next: so an answer counts in the session of its question alone, whatever happened to either on the way.

use raft::{ProgressState, SnapshotStatus};
use raft_proto::eraftpb::MessageType;

use super::{Ports, Replica};
use crate::frame::{Body, Frame, Health};
use crate::identity::NodeId;
use crate::limits;
use crate::log::Room;
use crate::planted::{Fault, is_planted};

impl Replica {
    pub(super) fn on_connected(&mut self, id: NodeId, session: u64) {
        let peer = self.peers.entry(id).or_default();
        if session <= peer.newest {
            return;
        }
        peer.newest = session;
        peer.session = Some(session);
        peer.health = Health::default();
        self.forget_session(id);
    }

    pub(super) fn on_lost(&mut self, id: NodeId, session: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.session != Some(session) {
            return;
        }
        peer.session = None;
        self.forget_session(id);
        self.forget_leader(id);
        // An id never comes back with another member: what nobody is any more is not kept for ever.
        if !self.configuration.contains(id) && self.peers.len() > 2 * limits::MEMBERS_MAX {
            self.peers.remove(&id);
        }
    }

    /// What was said last may not have been heard.
    fn forget_session(&mut self, id: NodeId) {
        self.raw.raft.msgs.retain(|message| message.to != id);
        self.outstanding.forget_messages_to(id);
        self.held.forget_messages_to(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.fetches = None;
        }
        if self.held.is_some() {
            return;
        }
        self.raw.report_unreachable(id);
        let fetches = self
            .raw
            .raft
            .prs()
            .get(id)
            .is_some_and(|progress| progress.state == ProgressState::Snapshot);
        if fetches {
            self.raw.report_snapshot(id, SnapshotStatus::Failure);
        }
    }

    /// Hears a frame; returns the bodies of entries that may now be appended, with their indexes.
    pub(super) fn on_frame<'a>(
        &mut self,
        from: NodeId,
        session: u64,
        frame: Frame<'a>,
        ports: &mut Ports<'_>,
    ) -> Vec<(u64, Body<'a>)> {
        let is_present = self
            .peers
            .get(&from)
            .is_some_and(|peer| peer.session == Some(session) || is_planted(Fault::OldSessions));
        if !is_present || self.held.is_some() || self.raw.raft.msgs.len() >= limits::MESSAGES_HELD_MAX {
            return Vec::new();
        }
        let frame = frame.addressed(from, self.id);
        if let Err(error) = frame.verify(&self.identity) {
            ports.outside.refuse(from, error);
            return Vec::new();
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.heard = self.ticks;
            peer.health = frame.health.unwrap_or(peer.health);
        }
        if let Err(stop) = self.look(&frame.message) {
            self.stop(stop, ports);
            return Vec::new();
        }
        if self.is_out_of_place(&frame.message, ports) || !self.has_room_for(&frame, ports) {
            return Vec::new();
        }
        if frame.message.msg_type == MessageType::MsgSnapshot && self.expect_snapshot(&frame.message, ports) {
            return Vec::new();
        }
        let indexes = frame.message.entries.iter().map(|entry| entry.index);
        let bodies = indexes.zip(frame.bodies.iter().copied()).collect();
        // What the library does not want to hear is lost, as it may be on any network.
        let _unwanted = self.raw.step(frame.message);
        bodies
    }

    /// Entries are taken only when the disk has room for them and nothing waits to be appended before them.
    fn has_room_for(&mut self, frame: &Frame<'_>, ports: &mut Ports<'_>) -> bool {
        if frame.message.entries.is_empty() {
            return !(frame.message.msg_type == MessageType::MsgSnapshot && self.outstanding.is_at_bound());
        }
        if self.outstanding.is_at_bound() {
            return false;
        }
        self.is_full = !ports.log.has_room(Room::Received {
            entries: frame.bodies.len() as u64,
            bytes: frame.body_bytes(),
        });
        !self.is_full
    }
}
