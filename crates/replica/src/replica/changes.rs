//! Changes of members: what is asked is looked at, since nobody can take a committed change back, and then becomes an entry.

use protobuf::Message as _;
use raft::ProgressState;
use raft_proto::eraftpb::{ConfChangeV2, Entry};

use super::{Ports, Replica};
use crate::identity::NodeId;
use crate::limits;
use crate::log::{Log, Room};
use crate::membership::{MemberChange, NotChanged};
use crate::outside::{Outside, Role, Stop};
use crate::planted::{Fault, is_planted};

impl Replica {
    /// Whether a change of members is not finished, as far as a leader can tell. Until it is, no member that it concerns may be wiped or
    /// switched off.
    pub(super) fn is_changing(&self) -> bool {
        self.raw.raft.has_pending_conf()
            || self.configuration.is_joint()
            || !(is_planted(Fault::NoCarrier)
                || self
                    .settling
                    .carrier()
                    .is_some_and(|index| index <= self.raw.raft.raft_log.applied))
    }

    /// A leader that has made a change appends an empty entry behind it. Whether it did.
    pub(super) fn settle_change(&mut self, ports: &mut Ports<'_>) -> bool {
        if is_planted(Fault::NoCarrier)
            || self.settling.carrier().is_some()
            || self.configuration.is_joint()
            || self.raw.raft.has_pending_conf()
            || !matches!(self.role, Role::Serving { .. })
            || !self.can_propose()
            || !ports.log.has_room(Room::Own { bytes: 0 })
        {
            return false;
        }
        ports.log.close();
        self.propose_closed(ports);
        self.propose(Entry::default());
        true
    }

    /// A member that was taken out votes for a while, then stops.
    pub(super) fn watch_membership(&mut self, ports: &mut Ports<'_>) {
        if self.configuration.voters.is_empty() || self.configuration.contains(self.id) {
            self.removed_at = None;
            return;
        }
        let since = *self.removed_at.get_or_insert(self.ticks);
        if self.ticks - since >= limits::REMOVED_STAYS_TICKS {
            self.stop(Stop::Removed, ports);
        }
    }

    /// Proposes a change of members; `about` goes with it to everybody (names, addresses). `Outside::members` says when it holds.
    ///
    /// # Errors
    ///
    /// A change that cannot be made, or not now; nothing was proposed.
    pub fn change(
        &mut self,
        change: MemberChange,
        about: &[u8],
        log: &mut dyn Log,
        outside: &mut dyn Outside,
    ) -> Result<(), NotChanged> {
        let mut ports = Ports { log, outside };
        self.check_change(change)?;
        if about.len() > limits::ABOUT_BYTES_MAX {
            return Err(NotChanged::TooLong(about.len()));
        }
        self.propose_change(change.to_library(self.id, about), &mut ports)?;
        self.pump(&[], &mut ports);
        Ok(())
    }

    fn check_change(&self, change: MemberChange) -> Result<(), NotChanged> {
        if self.stop.is_some() || !matches!(self.role, Role::Serving { .. }) {
            return Err(NotChanged::NotServing);
        }
        if self.is_changing() {
            return Err(NotChanged::UnderWay);
        }
        let members = &self.configuration;
        match change {
            MemberChange::AddLearner(id) if id == 0 || members.contains(id) => Err(NotChanged::Known(id)),
            MemberChange::AddLearner(_) if members.voters.len() + members.learners.len() >= limits::MEMBERS_MAX => {
                Err(NotChanged::TooMany)
            }
            MemberChange::AddLearner(_) => Ok(()),
            // A leader that has no vote is on its way out, and must not get one by this.
            MemberChange::Describe if !members.voters.contains(&self.id) => Err(NotChanged::NotVoter(self.id)),
            MemberChange::Describe => Ok(()),
            MemberChange::Promote(id) => self.check_learner(id),
            MemberChange::Replace { old, new } => self.check_voter(old).and_then(|()| self.check_learner(new)),
            MemberChange::Remove(id) if members.learners.contains(&id) => Ok(()),
            MemberChange::Remove(id) if members.voters == [id] => Err(NotChanged::LastVoter(id)),
            MemberChange::Remove(id) => self.check_voter(id),
        }
    }

    fn check_voter(&self, id: NodeId) -> Result<(), NotChanged> {
        if !self.configuration.contains(id) {
            return Err(NotChanged::Unknown(id));
        }
        if !self.configuration.voters.contains(&id) {
            return Err(NotChanged::NotVoter(id));
        }
        if id == self.id {
            return Err(NotChanged::Leader(id));
        }
        Ok(())
    }

    fn check_learner(&self, id: NodeId) -> Result<(), NotChanged> {
        if !self.configuration.contains(id) {
            return Err(NotChanged::Unknown(id));
        }
        if !self.configuration.learners.contains(&id) {
            return Err(NotChanged::NotLearner(id));
        }
        let progress = self.raw.raft.prs().get(id);
        let last = self.raw.raft.raft_log.last_index();
        let lacks = last - progress.map_or(0, |progress| progress.matched).min(last);
        // However little it lacks: who does not follow yet, or fetches a snapshot, has nothing that a majority could count on.
        let follows = progress.is_some_and(|progress| progress.state == ProgressState::Replicate);
        if !follows || lacks > limits::CATCH_UP_ENTRIES_MAX {
            return Err(NotChanged::Behind { id, lacks });
        }
        Ok(())
    }

    /// Whatever the journal has begun comes before the change, so that the two take their indexes in the same order.
    fn propose_change(&mut self, change: ConfChangeV2, ports: &mut Ports<'_>) -> Result<(), NotChanged> {
        if !self.can_propose() {
            return Err(NotChanged::Busy);
        }
        if !ports.log.has_room(Room::Own {
            bytes: u64::from(change.compute_size()),
        }) {
            return Err(NotChanged::NoRoom);
        }
        ports.log.close();
        self.propose_closed(ports);
        self.raw
            .propose_conf_change(Vec::new(), change)
            .map_err(|_dropped| NotChanged::Busy)
    }

    /// A leader that serves and finds two configurations in force ends the old one, whoever began. Whether it did.
    pub(super) fn leave_joint(&mut self, ports: &mut Ports<'_>) -> bool {
        self.configuration.is_joint()
            && matches!(self.role, Role::Serving { .. })
            && !self.raw.raft.has_pending_conf()
            && self.propose_change(ConfChangeV2::default(), ports).is_ok()
    }
}
