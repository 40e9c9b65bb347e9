//! What the library asks of configurations and of changes to them.

use std::borrow::Cow;

use crate::choices::{ConfChangeTransition, ConfChangeType};
use crate::records::{ConfChange, ConfChangeSingle, ConfChangeV2, ConfState};

/// A change of one member.
pub fn new_conf_change_single(node_id: u64, change_type: ConfChangeType) -> ConfChangeSingle {
    ConfChangeSingle { change_type, node_id }
}

/// Whether two records name the same members in the same roles, in whatever order.
#[must_use]
pub fn conf_state_eq(one: &ConfState, other: &ConfState) -> bool {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    let roles = |state: &ConfState| {
        [
            sorted(&state.voters),
            sorted(&state.learners),
            sorted(&state.voters_outgoing),
            sorted(&state.learners_next),
        ]
    };
    one.auto_leave == other.auto_leave && roles(one) == roles(other)
}

/// Both forms of a change, seen as the newer one.
pub trait ConfChangeI {
    /// The change in the newer form.
    fn into_v2(self) -> ConfChangeV2;

    /// The same without giving it away.
    fn as_v2(&self) -> Cow<'_, ConfChangeV2>;

    /// The change in the old form, when it is one.
    fn as_v1(&self) -> Option<&ConfChange>;
}

impl ConfChangeI for ConfChange {
    fn into_v2(self) -> ConfChangeV2 {
        ConfChangeV2 {
            transition: ConfChangeTransition::Auto,
            changes: vec![new_conf_change_single(self.node_id, self.change_type)],
            context: self.context,
        }
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Owned(self.clone().into_v2())
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        Some(self)
    }
}

impl ConfChangeI for ConfChangeV2 {
    fn into_v2(self) -> ConfChangeV2 {
        self
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Borrowed(self)
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        None
    }
}

impl ConfChangeV2 {
    /// Whether this change leads into a joint configuration, and whether the library leaves that by itself.
    pub fn enter_joint(&self) -> Option<bool> {
        match self.transition {
            ConfChangeTransition::Auto => (self.changes.len() > 1).then_some(true),
            ConfChangeTransition::Implicit => Some(true),
            ConfChangeTransition::Explicit => Some(false),
        }
    }

    /// Whether this change ends a joint configuration.
    pub fn leave_joint(&self) -> bool {
        self.transition == ConfChangeTransition::Auto && self.changes.is_empty()
    }
}

impl<Voters, Learners> From<(Voters, Learners)> for ConfState
where
    Voters: IntoIterator<Item = u64>,
    Learners: IntoIterator<Item = u64>,
{
    fn from((voters, learners): (Voters, Learners)) -> Self {
        Self {
            voters: voters.into_iter().collect(),
            learners: learners.into_iter().collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_compared_as_sets_with_roles() {
        let one = ConfState::from(([1, 2, 3], [4]));
        assert!(conf_state_eq(&one, &ConfState::from(([3, 1, 2], [4]))));
        for other in [
            ConfState::from((vec![1, 2], vec![4])),
            ConfState::from((vec![1, 2, 3], vec![])),
            ConfState::from((vec![1, 2, 3, 4], vec![])),
            ConfState {
                auto_leave: true,
                ..one.clone()
            },
            ConfState {
                voters_outgoing: vec![1],
                ..one.clone()
            },
        ] {
            assert!(!conf_state_eq(&one, &other), "{other:?}");
        }
    }

    #[test]
    fn a_change_says_how_it_goes_through_a_joint_configuration() {
        let change = |transition, count: u64| ConfChangeV2 {
            transition,
            changes: (1..=count)
                .map(|id| new_conf_change_single(id, ConfChangeType::AddNode))
                .collect(),
            ..ConfChangeV2::default()
        };
        use ConfChangeTransition::{Auto, Explicit, Implicit};
        assert_eq!(change(Auto, 1).enter_joint(), None);
        assert_eq!(change(Auto, 2).enter_joint(), Some(true));
        assert_eq!(change(Implicit, 1).enter_joint(), Some(true));
        assert_eq!(change(Explicit, 2).enter_joint(), Some(false));
        assert!(ConfChangeV2::default().leave_joint());
        assert!(!change(Auto, 1).leave_joint() && !change(Explicit, 0).leave_joint());
        let old = ConfChange {
            node_id: 7,
            ..ConfChange::default()
        };
        assert_eq!(old.as_v2().into_owned(), change(Auto, 1).replaced(7));
    }

    impl ConfChangeV2 {
        fn replaced(mut self, id: u64) -> Self {
            self.changes[0].node_id = id;
            self
        }
    }
}
