//! Snapshots. Their bytes go beside: the leader tells a follower which one to fetch, the follower fetches it, and only when it has the
//! whole of it the library hears of it.

use raft::{ProgressState, SnapshotStatus};
use raft_proto::eraftpb::Message;

use super::parts::Expected;
use super::{Ports, Replica};
use crate::identity::NodeId;
use crate::table::checkpoint_of;

impl Replica {
    /// Whether a leader's snapshot has to be fetched before the library may hear of it. Otherwise it is old, or the log has it all.
    pub(super) fn expect_snapshot(&mut self, message: &Message, ports: &mut Ports<'_>) -> bool {
        let checkpoint = checkpoint_of(&message.snapshot);
        let log = &self.raw.raft.raft_log;
        if message.term < self.raw.raft.term
            || checkpoint.id.index <= log.committed
            || log.match_term(checkpoint.id.index, checkpoint.id.term)
        {
            return false;
        }
        let before = self.expected.take();
        let is_here = before
            .as_ref()
            .is_some_and(|before| before.number == checkpoint.number && before.is_here);
        self.expected = Some(Expected {
            number: checkpoint.number,
            message: message.clone(),
            is_here,
            late: None,
        });
        if let Some(other) = before
            && other.number != checkpoint.number
        {
            ports.outside.forget(other.number);
        }
        if !is_here {
            ports.outside.fetch(message.from, &checkpoint);
        }
        true
    }

    /// It is here.
    pub(super) fn on_staged(&mut self, number: u64, ports: &mut Ports<'_>) {
        match &mut self.expected {
            Some(expected) if expected.number == number => expected.is_here = true,
            // It was fetched twice.
            _ if self.held.needs_snapshot(number) => {}
            _ => ports.outside.forget(number),
        }
    }

    /// The library hears of the snapshot that is here, as soon as there is room for more work; whether there was one. When another leads
    /// by now, that one will say which snapshot it wants.
    pub(super) fn offer_staged(&mut self, ports: &mut Ports<'_>) -> bool {
        let Some(expected) = self.expected.take_if(|expected| expected.is_here) else {
            return false;
        };
        let number = expected.number;
        let index = expected.message.snapshot.metadata.index;
        let is_wanted = expected.message.term >= self.raw.raft.term
            && index > self.raw.raft.raft_log.committed
            && !self.is_leader();
        let refused = !is_wanted || self.raw.step(expected.message).is_err();
        if refused || self.raw.snap().is_none() {
            ports.outside.forget(number);
        }
        true
    }

    pub(super) fn on_not_staged(&mut self, number: u64) {
        self.expected
            .take_if(|expected| expected.number == number && !expected.is_here);
    }

    pub(super) fn on_snapshot_sent(&mut self, to: NodeId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.fetches = Some(self.ticks);
        }
    }

    pub(super) fn on_fetched(&mut self, peer: NodeId) {
        if let Some(since) = self.peers.get_mut(&peer).and_then(|peer| peer.fetches.as_mut()) {
            *since = self.ticks;
        }
    }

    pub(super) fn on_fetch_failed(&mut self, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.fetches = None;
        }
        if self.held.is_some() {
            return;
        }
        self.raw.report_snapshot(id, SnapshotStatus::Failure);
    }

    /// Whoever was told of a snapshot and has long not been heard to fetch it is told again, of the newest.
    pub(super) fn watch_snapshots(&mut self, ports: &mut Ports<'_>) {
        if let Some((number, checkpoint)) = self.expected.as_mut().and_then(|expected| expected.late.take()) {
            self.install_late(number, &checkpoint, ports);
        }
        if !self.is_leader() {
            return;
        }
        let silent: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.fetches
                    .is_some_and(|since| self.ticks - since >= self.snapshot_silence_ticks)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            let waits = self
                .raw
                .raft
                .prs()
                .get(id)
                .is_some_and(|progress| progress.state == ProgressState::Snapshot);
            if waits {
                self.on_fetch_failed(id);
            } else if let Some(peer) = self.peers.get_mut(&id) {
                peer.fetches = None;
            }
        }
    }
}
