//! A leader's part: its journal's closed batches become entries, in order and under the names they have. And its end: handing over,
//! leaving.

use raft_proto::eraftpb::{Entry, Message, MessageType};

use super::{Ports, Replica};
use crate::identity::NodeId;
use crate::limits;
use crate::outside::Stop;
use crate::table::handle;

impl Replica {
    /// Whether a batch that is closed now becomes an entry at once. While it is not so (during a hand-over, or with a disk that is far
    /// behind) the journal should close none; what it closes waits, and goes when another leads.
    pub fn can_propose(&self) -> bool {
        self.stop.is_none()
            && self.is_leader()
            && self.first_own > 0
            && !self.held.is_some()
            && self.raw.raft.lead_transferee.is_none()
            && !self.outstanding.is_at_bound()
    }

    /// Proposes what the journal has closed; whether there was anything.
    pub(super) fn propose_closed(&mut self, ports: &mut Ports<'_>) -> bool {
        let mut has_proposed = false;
        while self.can_propose() {
            let Some(closed) = ports.log.take_closed() else { break };
            has_proposed = true;
            let next = self.raw.raft.raft_log.last_index() + 1;
            assert_eq!(
                (closed.id.term, closed.id.index),
                (self.raw.raft.term, next),
                "a batch closed out of turn"
            );
            let entry = Entry {
                data: handle(closed.id, closed.bytes),
                ..Entry::default()
            };
            self.propose(entry);
        }
        has_proposed
    }

    pub(super) fn propose(&mut self, entry: Entry) {
        let message = Message {
            msg_type: MessageType::MsgPropose,
            from: self.id,
            entries: vec![entry],
            ..Message::default()
        };
        let proposed = self.raw.raft.step(message);
        proposed.expect("a leader that is not handing over takes every proposal");
    }

    /// Gives the leadership to a member, or to the one that lacks least. Nothing is proposed until that is over, which is at most one
    /// election time-out; then it leads on if nobody took over.
    pub(super) fn hand_over(&mut self, to: Option<NodeId>, ports: &mut Ports<'_>) {
        if !self.role.leads() || self.held.is_some() {
            return;
        }
        ports.log.close();
        self.propose_closed(ports);
        if let Some(to) = to.or_else(|| self.heir()) {
            self.raw.transfer_leader(to);
        }
    }

    /// It leads and has just been taken out, by a change that another leader had proposed: it leads no more from here on, since the
    /// library cannot commit anything for a leader that is no member.
    pub(super) fn give_way(&mut self) {
        if let Some(heir) = self.heir() {
            self.raw.raft.send_timeout_now(heir);
        }
        self.step_down();
    }

    /// The voter that lacks least of the log, of those that can be reached and whose disk takes something.
    pub(super) fn heir(&self) -> Option<NodeId> {
        let progress = |id: NodeId| self.raw.raft.prs().get(id).map_or(0, |progress| progress.matched);
        let can_lead = |id: &NodeId| {
            self.peers
                .get(id)
                .is_some_and(|peer| peer.session.is_some() && !peer.health.is_hanging && !peer.health.is_full)
        };
        let voters = self.configuration.voters.iter().copied();
        voters
            .filter(|id| *id != self.id && can_lead(id))
            .max_by_key(|id| (progress(*id), std::cmp::Reverse(*id)))
    }

    pub(super) fn leave(&mut self, ports: &mut Ports<'_>) {
        self.leaves_at
            .get_or_insert(self.ticks + limits::ELECTION_TICKS_MIN as u64);
        self.hand_over(None, ports);
    }

    /// Whether the hand-over before leaving is done, or has taken too long. The one who takes over may need the vote of this member.
    pub(super) fn finish_leaving(&mut self, ports: &mut Ports<'_>) {
        let Some(at) = self.leaves_at else { return };
        let is_done = if self.role.leads() {
            self.heir().is_none()
        } else {
            self.outstanding.len() == 0
        };
        if is_done || self.ticks >= at {
            self.stop(Stop::Left, ports);
        }
    }

    /// What other members still need of the log, as far as it is worth keeping: who lacks more, or was not heard for long, gets a
    /// snapshot. A follower does not know what the others have, but may be the next to lead them.
    pub(super) fn retain(&mut self, ports: &mut Ports<'_>) {
        let applied = self.raw.raft.raft_log.applied;
        let index = if self.is_leader() {
            let progress = self.raw.raft.prs().iter();
            let waited_for = progress.filter(|(id, _)| **id != self.id && self.is_waited_for(**id));
            let needed = waited_for.map(|(_, progress)| progress.matched + 1).min();
            needed
                .unwrap_or(applied + 1)
                .max(self.raw.store().first_within(limits::RETAINED_BYTES_MAX))
        } else {
            self.raw.store().first_within(limits::RETAINED_BY_FOLLOWERS_BYTES_MAX)
        };
        ports.log.retain_from(index.min(applied + 1));
    }

    fn is_waited_for(&self, id: NodeId) -> bool {
        let heard = self.peers.get(&id).map_or(0, |peer| peer.heard);
        self.ticks - heard.max(self.leads_since) < limits::RETAIN_SILENCE_TICKS
    }
}
