//! What people may see of a replica.

use raft::ProgressState;

use super::Replica;
use crate::frame::Health;
use crate::identity::NodeId;
use crate::membership::Configuration;
use crate::outside::Role;

/// A replica at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Who it is.
    pub id: NodeId,
    /// What it is.
    pub role: Role,
    /// The newest term it knows.
    pub term: u64,
    /// Index of the last entry.
    pub last: u64,
    /// Index of the last entry that is committed, as far as it knows.
    pub committed: u64,
    /// Index of the last entry that is committed and synced here.
    pub applied: u64,
    /// Pieces of work that wait for the disk.
    pub outstanding: usize,
    /// Ticks since its disk finished nothing although it has to.
    pub disk_waits_ticks: u64,
    /// Whether the entries that came last had no room.
    pub is_full: bool,
    /// To whom it is handing over.
    pub heir: Option<NodeId>,
    /// Whether a change of members is not finished yet; a leader knows. Until it is, no member that it concerns, also one that was taken
    /// out, may be wiped or switched off.
    pub is_changing: bool,
    /// The members.
    pub configuration: Configuration,
    /// What a leader knows of the others, in ascending order of their ids; empty on everybody else.
    pub members: Vec<MemberStatus>,
}

/// What a leader knows of another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStatus {
    /// Who it is.
    pub id: NodeId,
    /// Up to which entry its log is known to be the leader's, and synced.
    pub matched: u64,
    /// Whether it was heard of in the present election time-out.
    pub is_heard: bool,
    /// Whether there is a connection.
    pub is_connected: bool,
    /// Whether it is to fetch a snapshot.
    pub fetches_snapshot: bool,
    /// How its disk was when it last said so.
    pub health: Health,
}

impl Replica {
    /// How it is at this moment.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let mut members = Vec::new();
        if self.is_leader() {
            for (id, progress) in raft.prs().iter().filter(|(id, _)| **id != self.id) {
                let peer = self.peers.get(id);
                members.push(MemberStatus {
                    id: *id,
                    matched: progress.matched,
                    is_heard: progress.recent_active,
                    is_connected: peer.is_some_and(|peer| peer.session.is_some()),
                    fetches_snapshot: progress.state == ProgressState::Snapshot,
                    health: peer.map_or_else(Health::default, |peer| peer.health),
                });
            }
            members.sort_unstable_by_key(|member| member.id);
        }
        Status {
            id: self.id,
            role: self.role,
            term: raft.term,
            last: raft.raft_log.last_index(),
            committed: raft.raft_log.committed,
            applied: raft.raft_log.applied,
            outstanding: self.outstanding.len(),
            disk_waits_ticks: self.disk_waits(),
            is_full: self.is_full,
            heir: raft.lead_transferee,
            is_changing: self.is_leader() && self.is_changing(),
            configuration: self.configuration.clone(),
            members,
        }
    }
}
