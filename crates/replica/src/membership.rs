//! Who belongs to the cluster, and the changes to that: learner, then voter; a wiped member out and its new incarnation in at once.

use raft_proto::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use crate::identity::{NodeId, founding_id};
use crate::limits;
use crate::planted::{Fault, is_planted};

/// The members at one entry of the log, in ascending order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who gets the log and has no vote.
    pub learners: Vec<NodeId>,
    /// While a change of several members is under way: who voted before. A majority of these is needed as well.
    pub outgoing: Vec<NodeId>,
}

impl Configuration {
    /// The founders of a cluster, by their names.
    pub fn founding(cluster_id: &str, names: &[&str]) -> Self {
        let voters = names.iter().map(|name| founding_id(cluster_id, name)).collect();
        Self {
            voters,
            ..Self::default()
        }
        .sorted()
    }

    /// Whether it is a member in any role.
    pub fn contains(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.learners.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether two configurations hold at once.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether these members are a majority, of both configurations when two hold.
    pub fn has_quorum(&self, present: impl Fn(NodeId) -> bool) -> bool {
        let majority = |voters: &[NodeId]| {
            let count = voters.iter().filter(|id| present(**id)).count();
            2 * count > voters.len()
        };
        majority(&self.voters) && (self.outgoing.is_empty() || majority(&self.outgoing))
    }

    /// Whether it can be the configuration of a cluster, as far as that can be told: what a peer sends is looked at before it is believed.
    pub(crate) fn is_possible(&self) -> bool {
        let is_set = |ids: &[NodeId]| ids.windows(2).all(|pair| pair[0] < pair[1]) && ids.first() != Some(&0);
        let count = self.voters.len() + self.learners.len() + self.outgoing.len();
        !self.voters.is_empty()
            && count <= 2 * limits::MEMBERS_MAX
            && is_set(&self.voters)
            && is_set(&self.learners)
            && is_set(&self.outgoing)
            && self
                .learners
                .iter()
                .all(|id| !self.voters.contains(id) && !self.outgoing.contains(id))
    }

    fn sorted(mut self) -> Self {
        for ids in [&mut self.voters, &mut self.learners, &mut self.outgoing] {
            ids.sort_unstable();
        }
        self
    }

    /// As the library says it. It knows a voter that becomes a learner (`learners_next`); no change that is proposed here does that.
    pub(crate) fn from_library(state: &ConfState) -> Self {
        Self {
            voters: state.voters.clone(),
            learners: state.learners.clone(),
            outgoing: state.voters_outgoing.clone(),
        }
        .sorted()
    }

    pub(crate) fn to_library(&self) -> ConfState {
        ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.outgoing.clone(),
            ..ConfState::default()
        }
    }
}

/// A change of members. One at a time; each takes effect when its entry is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// Somebody new gets the log.
    AddLearner(NodeId),
    /// A learner that has caught up becomes a voter.
    Promote(NodeId),
    /// A learner that has caught up takes the place of a voter: both or neither.
    Replace {
        /// Who goes.
        old: NodeId,
        /// Who comes.
        new: NodeId,
    },
    /// A member goes.
    Remove(NodeId),
    /// Nobody comes or goes: something is said anew about the cluster or its members (an address, the identity that was drawn), as an entry,
    /// so that everybody who follows knows it.
    Describe,
}

impl MemberChange {
    /// The change as the library wants it. Several members at once go through a joint configuration, which the leader ends by a change of
    /// its own: the library would append that by itself, at an index that the journal may have given to a batch.
    pub(crate) fn to_library(self, leader: NodeId, about: &[u8]) -> ConfChangeV2 {
        let single = |change_type, node_id| ConfChangeSingle { change_type, node_id };
        let (transition, changes) = match self {
            Self::AddLearner(id) => (
                ConfChangeTransition::Auto,
                vec![single(ConfChangeType::AddLearnerNode, id)],
            ),
            // A change that makes the leader what it is. One of nobody would end a joint configuration.
            Self::Describe => (
                ConfChangeTransition::Auto,
                vec![single(ConfChangeType::AddNode, leader)],
            ),
            Self::Promote(id) => (ConfChangeTransition::Auto, vec![single(ConfChangeType::AddNode, id)]),
            Self::Remove(id) => (ConfChangeTransition::Auto, vec![single(ConfChangeType::RemoveNode, id)]),
            Self::Replace { old, new } => (
                if is_planted(Fault::LibraryLeaves) {
                    ConfChangeTransition::Implicit
                } else {
                    ConfChangeTransition::Explicit
                },
                vec![
                    single(ConfChangeType::RemoveNode, old),
                    single(ConfChangeType::AddNode, new),
                ],
            ),
        };
        ConfChangeV2 {
            transition,
            changes,
            context: bytes::Bytes::copy_from_slice(about),
        }
    }
}

/// Why members were not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotChanged {
    /// Only a leader that serves changes members.
    #[error("this member does not lead the cluster; ask the one that does")]
    NotServing,
    /// One change at a time.
    #[error("another change of members is not finished yet; try again when it is")]
    UnderWay,
    /// Leadership is being handed over, or the own disk is behind.
    #[error("nothing can be written at this moment; try again")]
    Busy,
    /// An id that is no member's.
    #[error("no member has the id {0:016x}")]
    Unknown(NodeId),
    /// An id that is a member's already, or none.
    #[error("the id {0:016x} cannot be a new member's: it is one's already, or 0")]
    Known(NodeId),
    /// Only a learner becomes a voter.
    #[error("member {0:016x} is not a learner")]
    NotLearner(NodeId),
    /// Only a voter is replaced.
    #[error("member {0:016x} has no vote that another could take over")]
    NotVoter(NodeId),
    /// A voter that lacks entries would weaken the cluster.
    #[error("member {id:016x} lacks {lacks} entries; it becomes a voter when it has caught up")]
    Behind {
        /// Who.
        id: NodeId,
        /// How many entries.
        lacks: u64,
    },
    /// The leader cannot take itself away.
    #[error("member {0:016x} leads; hand the leadership over first")]
    Leader(NodeId),
    /// A cluster needs a voter.
    #[error("member {0:016x} is the last voter")]
    LastVoter(NodeId),
    /// More is to go with the change than it may have.
    #[error(
        "{0} bytes are to go with the change of members, which may have {most}",
        most = limits::ABOUT_BYTES_MAX
    )]
    TooLong(usize),
    /// The disk is full: what the journal keeps for such an entry is used up.
    #[error("the disk has no room for a change of members")]
    NoRoom,
    /// More members than a cluster may have.
    #[error("the cluster has {} members already, which is the most", limits::MEMBERS_MAX)]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(voters: &[u64], learners: &[u64], outgoing: &[u64]) -> Configuration {
        Configuration {
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            outgoing: outgoing.to_vec(),
        }
    }

    #[test]
    fn a_joint_configuration_needs_both_majorities() {
        let joint = configuration(&[1, 2, 4], &[], &[1, 2, 3]);
        assert!(joint.has_quorum(|id| id == 1 || id == 2));
        assert!(!joint.has_quorum(|id| id == 1 || id == 4));
        assert!(!joint.has_quorum(|id| id == 1 || id == 3));
        assert!(joint.has_quorum(|id| id == 1 || id == 3 || id == 4));
        assert!(!configuration(&[1, 2, 3, 4], &[], &[]).has_quorum(|id| id < 3));
    }

    #[test]
    fn what_cannot_be_a_configuration_is_told() {
        assert!(configuration(&[1, 2], &[3], &[]).is_possible());
        assert!(configuration(&[1, 2], &[3], &[1, 4]).is_possible());
        for wrong in [
            configuration(&[], &[1], &[]),
            configuration(&[0, 1], &[], &[]),
            configuration(&[2, 1], &[], &[]),
            configuration(&[1, 1], &[], &[]),
            configuration(&[1], &[1], &[]),
            configuration(&[1], &[2], &[2]),
            configuration(&(1..=65).collect::<Vec<_>>(), &[], &[]),
        ] {
            assert!(!wrong.is_possible(), "{wrong:?}");
        }
    }

    #[test]
    fn what_the_library_says_is_sorted() {
        let state = ConfState::from(([3, 1, 2], [5, 4]));
        let ours = Configuration::from_library(&state);
        assert_eq!(ours, configuration(&[1, 2, 3], &[4, 5], &[]));
        assert!(raft_proto::conf_state_eq(&ours.to_library(), &state));
    }
}
