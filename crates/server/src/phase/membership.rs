//! Which part a server has in its fault-tolerance group, since when, and why.

use std::time::{Duration, Instant};

/// The server of a group that serves, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Its name.
    pub member: String,
    /// The number of its tenure.
    pub tenure: u64,
}

/// What a member tells of itself.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Name of the group.
    pub group: String,
    /// Whether it serves, or is about to.
    pub is_active: bool,
    /// Who else serves, as far as that is known.
    pub active: Option<Active>,
    /// How often it became active, or ceased to be, since the process began.
    pub changes: u64,
    /// Time since the last of these changes, or since the start.
    pub since: Duration,
    /// Why that happened, in words.
    pub reason: String,
}

/// The part in a group, as it changes.
pub(super) struct Role {
    group: String,
    /// The name of this member.
    member: String,
    is_active: bool,
    active: Option<Active>,
    changes: u64,
    changed: Instant,
    reason: String,
}

impl Role {
    pub(super) fn new(group: &str, member: &str) -> Role {
        Role {
            group: group.to_owned(),
            member: member.to_owned(),
            is_active: false,
            active: None,
            changes: 0,
            changed: Instant::now(),
            reason: "started".to_owned(),
        }
    }

    pub(super) fn take_over(&mut self, reason: &str) {
        self.active = None;
        self.become_active(true, reason);
    }

    /// Neither serves nor stands by.
    pub(super) fn rest(&mut self, reason: &str) {
        self.become_active(false, reason);
    }

    pub(super) fn stand_by(&mut self, active: Option<Active>) {
        self.active = active;
        self.become_active(false, "ceased to serve");
    }

    fn become_active(&mut self, is_active: bool, reason: &str) {
        if self.is_active != is_active {
            self.is_active = is_active;
            self.changes += 1;
            self.changed = Instant::now();
            reason.clone_into(&mut self.reason);
        }
    }

    pub(super) fn who_serves(&self) -> String {
        match &self.active {
            Some(Active { member, tenure }) => format!("{member} serves under tenure {tenure}"),
            None => "nobody serves yet".to_owned(),
        }
    }

    /// What who asks this member is told while it stands by.
    pub(super) fn ask_another(&self) -> String {
        let (member, serves) = (&self.member, self.who_serves());
        match self.active {
            Some(_) => format!("{member} stands by, and {serves}: ask that one."),
            None => format!("{member} stands by, and {serves}"),
        }
    }

    pub(super) fn membership(&self) -> Membership {
        Membership {
            group: self.group.clone(),
            is_active: self.is_active,
            active: self.active.clone(),
            changes: self.changes,
            since: self.changed.elapsed(),
            reason: self.reason.clone(),
        }
    }
}
