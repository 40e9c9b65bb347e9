//! Time: ticks, and the election time-outs, which are drawn from our own source so that a run can be repeated.

use raft::StateRole;

use super::{Ports, Replica};
use crate::identity::NodeId;
use crate::limits;
use crate::log::Room;
use crate::planted::{Fault, is_planted};

impl Replica {
    /// The library draws a time-out in more places than it tells of. Whatever it drew, ours holds, and a new one is drawn for each role
    /// and term.
    pub(super) fn keep_timeout(&mut self) {
        if is_planted(Fault::TheirRandom) {
            return;
        }
        let now = (self.raw.raft.state, self.raw.raft.term);
        if now == self.election.drawn_for {
            self.raw.raft.set_randomized_election_timeout(self.election.timeout);
        } else {
            self.draw_timeout();
        }
    }

    pub(super) fn draw_timeout(&mut self) {
        let (low, high) = (limits::ELECTION_TICKS_MIN as u64, limits::ELECTION_TICKS_MAX as u64);
        self.election.timeout = usize::try_from(self.random.between(low, high)).unwrap_or(limits::ELECTION_TICKS_MIN);
        self.election.drawn_for = (self.raw.raft.state, self.raw.raft.term);
        if !is_planted(Fault::TheirRandom) {
            self.raw.raft.set_randomized_election_timeout(self.election.timeout);
        }
    }

    pub(super) fn tick(&mut self, ports: &mut Ports<'_>) {
        self.ticks += 1;
        if self.held.is_some() {
            return;
        }
        self.watch_snapshots(ports);
        self.retain(ports);
        self.watch_membership(ports);
        if self.stop.is_some() {
            return;
        }
        if self.raw.raft.msgs.len() < limits::MESSAGES_HELD_MAX {
            if self.may_campaign(ports) {
                if self.raw.tick() && !self.is_leader() {
                    self.draw_timeout();
                }
                self.note_role(ports);
                self.campaign_after_reset();
            } else {
                self.tick_without_campaign();
                self.note_role(ports);
            }
        }
        // Last, since a hand-over proposes what is closed, and what is proposed must be written before a tick may end the leadership.
        self.watch_own_disk(ports);
    }

    /// Time goes on, so that a leader that is gone is not believed in for ever and others get this vote; nothing comes of it here.
    fn tick_without_campaign(&mut self) {
        if self.raw.raft.election_elapsed + 1 < self.election.timeout {
            self.raw.tick();
        } else {
            self.step_down();
        }
    }

    /// Whether time may make a candidate of it: not while its disk takes nothing, or has no room for the entry with which a leader begins,
    /// and not with entries of which it does not know yet that they will stay, when its own vote is all it takes.
    fn may_campaign(&self, ports: &mut Ports<'_>) -> bool {
        let log = &self.raw.raft.raft_log;
        self.is_leader()
            || !(self.disk_hangs()
                || (self.decides_alone() && log.persisted < log.last_index())
                || !ports.log.has_room(Room::Own { bytes: 0 }))
    }

    /// Whether there is no other voter.
    pub(super) fn decides_alone(&self) -> bool {
        self.configuration.voters == [self.id] && !self.configuration.is_joint()
    }

    /// The leader's connection was reset: most likely its process is gone. Others vote only when they do not hear of it either.
    pub(super) fn forget_leader(&mut self, peer: NodeId) {
        if self.raw.raft.state == StateRole::Follower && self.raw.raft.leader_id == peer && !self.held.is_some() {
            self.step_down();
            self.election.campaign_in = Some(self.random.between(0, limits::CAMPAIGN_AFTER_RESET_TICKS_MAX));
        }
    }

    fn campaign_after_reset(&mut self) {
        let raft = &self.raw.raft;
        if raft.leader_id != 0 || raft.state != StateRole::Follower || !raft.promotable() {
            self.election.campaign_in = None;
        }
        match self.election.campaign_in {
            Some(0) => {
                self.election.campaign_in = None;
                // A refusal is no error: there are changes of members to be applied first.
                let _refused = self.raw.campaign();
                self.draw_timeout();
            }
            Some(ticks) => self.election.campaign_in = Some(ticks - 1),
            None => {}
        }
    }
}
