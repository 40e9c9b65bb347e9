//! The members of a queue group: their order, and which of them takes the next message.
//!
//! The choice (`streaming-protocol.md` §5.6) falls on the one with the fewest pending messages, on the first in the order of
//! ties, and on one whose client does not answer only when there is no other. Two tournaments hold the winner, one for new
//! messages and one for those sent again: to choose costs nothing, and a member that changes costs the logarithm of their
//! number.

use crate::registry::keys::SubscriptionKey;

/// Place of a member that is none.
const NONE: u32 = u32::MAX;

/// Where a member is in its group; it keeps the place as long as it is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberPlace(u32);

/// What a member can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many messages it holds.
    pub(crate) pending: usize,
    /// How many more it may hold.
    pub(crate) room: u64,
    /// Its client answers.
    pub(crate) is_healthy: bool,
    /// It takes new messages while it has room.
    pub(crate) takes_new: bool,
    /// It takes messages that are sent again.
    pub(crate) takes_again: bool,
}

/// Which member comes first; the least one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    preference: Preference,
    pending: usize,
    order: u64,
    place: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Preference {
    Wanted,
    /// When there is no other.
    Tolerated,
    Never,
}

impl Rank {
    const NEVER: Rank = Rank {
        preference: Preference::Never,
        pending: 0,
        order: 0,
        place: NONE,
    };
}

/// A complete binary tree over the places: each node holds the least of the two below it.
#[derive(Debug, Default)]
struct Tournament {
    nodes: Vec<Rank>,
    /// Nodes looked at, to tell what a change costs.
    #[cfg(test)]
    steps: usize,
}

impl Tournament {
    /// Makes room for so many places, a power of two; what they hold is to be set again.
    fn reset(&mut self, places: usize) {
        self.nodes.clear();
        self.nodes.resize(2 * places, Rank::NEVER);
    }

    fn set(&mut self, place: u32, rank: Rank) {
        let mut node = self.nodes.len() / 2 + place as usize;
        self.nodes[node] = rank;
        while node > 1 {
            node /= 2;
            #[cfg(test)]
            {
                self.steps += 1;
            }
            let winner = self.nodes[2 * node].min(self.nodes[2 * node + 1]);
            if self.nodes[node] == winner {
                return;
            }
            self.nodes[node] = winner;
        }
    }

    fn winner(&self) -> Option<u32> {
        let root = self.nodes.get(1)?;
        (root.preference != Preference::Never).then_some(root.place)
    }
}

#[derive(Debug)]
struct Member {
    key: SubscriptionKey,
    /// Grows from the first to the last in the order of the group.
    order: u64,
    before: u32,
    behind: u32,
    standing: Standing,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Members {
    /// By place. Vacant places are in `vacant`.
    members: Vec<Member>,
    vacant: Vec<u32>,
    first: u32,
    last: u32,
    next_order: u64,
    /// Of all that take new messages.
    room: u64,
    /// How many can take nothing more until something is acknowledged.
    stalled: usize,
    for_new: Tournament,
    for_again: Tournament,
}

impl Default for Members {
    fn default() -> Members {
        Members {
            members: Vec::new(),
            vacant: Vec::new(),
            first: NONE,
            last: NONE,
            next_order: 0,
            room: 0,
            stalled: 0,
            for_new: Tournament::default(),
            for_again: Tournament::default(),
        }
    }
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.members.len() - self.vacant.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// The first in the order.
    pub(crate) fn first(&self) -> Option<SubscriptionKey> {
        self.members.get(self.first as usize).map(|member| member.key)
    }

    /// In their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SubscriptionKey> + '_ {
        let mut place = self.first;
        std::iter::from_fn(move || {
            let member = self.members.get(place as usize)?;
            place = member.behind;
            Some(member.key)
        })
    }

    /// Adds a member at the end of the order. It takes nothing until its standing is set.
    pub(crate) fn push(&mut self, key: SubscriptionKey) -> MemberPlace {
        let place = match self.vacant.pop() {
            Some(place) => place,
            None => self.grow(key),
        };
        let member = &mut self.members[place as usize];
        member.key = key;
        member.standing = Standing::default();
        self.append(place);
        MemberPlace(place)
    }

    /// A new place, vacant but not in the list of vacant ones.
    fn grow(&mut self, key: SubscriptionKey) -> u32 {
        let place = u32::try_from(self.members.len()).expect("memory ends before 2^32 subscriptions");
        if self.members.is_empty() {
            // Most groups have few members.
            self.members.reserve_exact(1);
        }
        self.members.push(Member {
            key,
            order: 0,
            before: NONE,
            behind: NONE,
            standing: Standing::default(),
        });
        if 2 * self.members.len() > self.for_new.nodes.len() {
            let places = self.members.len().next_power_of_two();
            self.for_new.reset(places);
            self.for_again.reset(places);
            for place in 0..place {
                self.rank(place);
            }
        }
        place
    }

    fn append(&mut self, place: u32) {
        let last = self.last;
        let order = self.next_order;
        self.next_order += 1;
        let member = &mut self.members[place as usize];
        (member.order, member.before, member.behind) = (order, last, NONE);
        self.link(last, place);
        self.last = place;
    }

    /// Makes one follow the other; either may be none.
    fn link(&mut self, before: u32, behind: u32) {
        match self.members.get_mut(before as usize) {
            Some(member) => member.behind = behind,
            None => self.first = behind,
        }
        match self.members.get_mut(behind as usize) {
            Some(member) => member.before = before,
            None => self.last = before,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Member { before, behind, .. } = self.members[place as usize];
        self.link(before, behind);
    }

    /// Removes a member; the last in the order takes its turn (§5.6).
    pub(crate) fn remove(&mut self, MemberPlace(place): MemberPlace) {
        self.set(MemberPlace(place), Standing::default());
        let order = self.members[place as usize].order;
        self.unlink(place);
        let heir = self.last;
        if self.members.get(heir as usize).is_some_and(|last| last.order > order) {
            // Behind the one that the member followed.
            let before = self.members[place as usize].before;
            if self.members[heir as usize].before != before {
                self.unlink(heir);
                let behind = match self.members.get(before as usize) {
                    Some(member) => member.behind,
                    None => self.first,
                };
                self.link(before, heir);
                self.link(heir, behind);
            }
            self.members[heir as usize].order = order;
            self.rank(heir);
        }
        self.vacant.push(place);
        if self.is_empty() {
            *self = Members::default();
        }
    }

    /// The member got a message: if it is the first of several it becomes the last.
    pub(crate) fn rotate(&mut self, MemberPlace(place): MemberPlace) {
        if self.first == place && self.last != place {
            self.unlink(place);
            self.append(place);
            self.rank(place);
        }
    }

    /// What a member can take now.
    pub(crate) fn set(&mut self, MemberPlace(place): MemberPlace, standing: Standing) {
        let member = &mut self.members[place as usize];
        if member.standing == standing {
            return;
        }
        self.room -= member.standing.new_room();
        self.room += standing.new_room();
        self.stalled -= usize::from(member.standing.is_stalled());
        self.stalled += usize::from(standing.is_stalled());
        member.standing = standing;
        self.rank(place);
    }

    fn rank(&mut self, place: u32) {
        let member = &self.members[place as usize];
        self.for_new.set(place, member.rank_for_new(place));
        self.for_again.set(place, member.rank_for_again(place));
    }

    /// Who takes the next new message.
    pub(crate) fn choose_for_new(&self) -> Option<SubscriptionKey> {
        self.for_new.winner().map(|place| self.members[place as usize].key)
    }

    /// Who takes a message that is sent again: as for new ones, but one without room takes it when there is no other.
    pub(crate) fn choose_for_again(&self) -> Option<SubscriptionKey> {
        self.for_again.winner().map(|place| self.members[place as usize].key)
    }

    /// How many new messages they can take together.
    pub(crate) fn room(&self) -> u64 {
        self.room
    }

    /// How many of them can take nothing more until something is acknowledged.
    pub(crate) fn stalled(&self) -> usize {
        self.stalled
    }
}

impl Standing {
    fn is_stalled(&self) -> bool {
        self.pending > 0 && self.room == 0
    }

    /// How many new messages it takes.
    fn new_room(&self) -> u64 {
        if self.takes_new { self.room } else { 0 }
    }
}

impl Member {
    fn rank_for_new(&self, place: u32) -> Rank {
        let takes = self.standing.new_room() > 0;
        self.rank(place, takes, self.standing.is_healthy)
    }

    fn rank_for_again(&self, place: u32) -> Rank {
        let wanted = self.standing.is_healthy && self.standing.room > 0;
        self.rank(place, self.standing.takes_again, wanted)
    }

    fn rank(&self, place: u32, takes: bool, wanted: bool) -> Rank {
        let (preference, pending) = match (takes, wanted) {
            (false, _) => return Rank::NEVER,
            (true, true) => (Preference::Wanted, self.standing.pending),
            (true, false) => (Preference::Tolerated, 0),
        };
        Rank {
            preference,
            pending,
            order: self.order,
            place,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Remove(usize),
        Set(usize, Standing),
        Rotate(usize),
    }

    fn standing() -> impl Strategy<Value = Standing> {
        (0usize..4, 0u64..3, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(pending, room, is_healthy, takes_new, takes_again)| Standing {
                pending,
                room,
                is_healthy,
                takes_new,
                takes_again,
            },
        )
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Push),
            1 => any::<usize>().prop_map(Step::Remove),
            4 => (any::<usize>(), standing()).prop_map(|(at, standing)| Step::Set(at, standing)),
            3 => any::<usize>().prop_map(Step::Rotate),
        ]
    }

    /// The rule of §5.6, in words of a walk over all members.
    fn choose(
        model: &VecDeque<(SubscriptionKey, MemberPlace, Standing)>,
        takes: impl Fn(&Standing) -> bool,
        wanted: impl Fn(&Standing) -> bool,
    ) -> Option<SubscriptionKey> {
        let able: Vec<_> = model.iter().filter(|member| takes(&member.2)).collect();
        let best = able
            .iter()
            .filter(|member| wanted(&member.2))
            .min_by_key(|member| member.2.pending);
        best.or(able.first()).map(|member| member.0)
    }

    /// A message that goes to one of many members and is acknowledged costs the logarithm of their number.
    #[test]
    fn a_change_costs_the_logarithm() {
        const ROUNDS: usize = 1_000;
        for count in [10usize, 100, 1_000, 10_000] {
            let mut members = Members::default();
            let places: Vec<MemberPlace> = (0..count).map(|number| members.push(SubscriptionKey(number))).collect();
            let standing = |pending| Standing {
                pending,
                room: 10 - pending as u64,
                is_healthy: true,
                takes_new: true,
                takes_again: true,
            };
            for place in &places {
                members.set(*place, standing(0));
            }
            members.for_new.steps = 0;
            for round in 0..ROUNDS {
                let chosen = members.choose_for_new().expect("somebody has room");
                members.set(places[chosen.0], standing(1));
                members.rotate(places[chosen.0]);
                if round % 2 == 1 {
                    members.set(places[chosen.0], standing(0));
                }
            }
            let each = members.for_new.steps / ROUNDS;
            let most = 3 * (count.next_power_of_two().trailing_zeros() as usize + 1);
            assert!(each <= most, "{count} members: {each} steps for a message");
        }
    }

    proptest! {
        #[test]
        fn the_choice_is_that_of_a_walk(steps in proptest::collection::vec(step(), 0..80)) {
            let (mut members, mut model, mut number) = (Members::default(), VecDeque::new(), 0);
            for step in steps {
                let count = model.len().max(1);
                match step {
                    Step::Push => {
                        let key = SubscriptionKey(number);
                        number += 1;
                        let place = members.push(key);
                        model.push_back((key, place, Standing::default()));
                    }
                    Step::Remove(at) => {
                        if let Some((_, place, _)) = model.swap_remove_back(at % count) {
                            members.remove(place);
                        }
                    }
                    Step::Set(at, standing) => {
                        if let Some(member) = model.get_mut(at % count) {
                            member.2 = standing;
                            members.set(member.1, standing);
                        }
                    }
                    Step::Rotate(at) => {
                        if let Some(member) = model.get(at % count) {
                            members.rotate(member.1);
                            if at % count == 0 && model.len() > 1 {
                                model.rotate_left(1);
                            }
                        }
                    }
                }
                prop_assert!(members.iter().eq(model.iter().map(|member| member.0)));
                prop_assert_eq!(members.first(), model.front().map(|member| member.0));
                prop_assert_eq!((members.len(), members.is_empty()), (model.len(), model.is_empty()));
                let takes_new = |standing: &Standing| standing.takes_new && standing.room > 0;
                let new = choose(&model, takes_new, |standing| standing.is_healthy);
                prop_assert_eq!(members.choose_for_new(), new);
                let again = choose(&model, |standing| standing.takes_again, |standing| {
                    standing.is_healthy && standing.room > 0
                });
                prop_assert_eq!(members.choose_for_again(), again);
                let room: u64 = model.iter().map(|member| if member.2.takes_new { member.2.room } else { 0 }).sum();
                prop_assert_eq!(members.room(), room);
                let stalled = model.iter().filter(|member| member.2.pending > 0 && member.2.room == 0);
                prop_assert_eq!(members.stalled(), stalled.count());
            }
        }
    }
}
