//! Which messages of a channel are damaged: in ranges, bounded in number.

use std::collections::BTreeMap;

use crate::limits::{DAMAGE_LOOK_FIRST_NS, DAMAGED_RANGES_MAX};
use crate::waiting::timers::TimerSlot;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// Last by first sequence; apart from each other.
    ranges: BTreeMap<u64, u64>,
    messages: u64,
    /// When the channel looks whether they can be read again.
    pub(crate) look_timer: TimerSlot,
    /// Where it goes on.
    look_from: u64,
    /// How often it has looked since something was found.
    looks: u32,
}

impl Damage {
    pub(crate) fn contains(&self, sequence: u64) -> bool {
        let range = self.ranges.range(..=sequence).next_back();
        range.is_some_and(|(_, last)| *last >= sequence)
    }

    /// How long to wait before the next look: soon at first, as what fails may pass, and `longest` in the end.
    pub(crate) fn pause(&self, longest: u64) -> u64 {
        DAMAGE_LOOK_FIRST_NS
            .saturating_mul(1 << self.looks.min(16))
            .min(longest)
    }

    /// A look begins: the range to look at, in turns.
    pub(crate) fn begin_look(&mut self) -> Option<(u64, u64)> {
        self.looks = self.looks.saturating_add(1);
        self.next()
    }

    /// How many there are.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// First and last of each range.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }

    /// Adds a range; how many of it are new. 0 when there are too many ranges: then they are found out each time.
    pub(crate) fn add(&mut self, first: u64, last: u64) -> u64 {
        let known = self.messages;
        let (mut from, mut to) = (first, last);
        while let Some((&other, &end)) = self.ranges.range(..=to.saturating_add(1)).next_back() {
            if end.saturating_add(1) < from {
                break;
            }
            self.ranges.remove(&other);
            self.messages -= end - other + 1;
            (from, to) = (from.min(other), to.max(end));
        }
        if self.ranges.len() < DAMAGED_RANGES_MAX {
            self.ranges.insert(from, to);
            self.messages += to - from + 1;
        }
        let added = self.messages.saturating_sub(known);
        if added > 0 {
            self.looks = 0;
        }
        added
    }

    /// Takes a range out; how many of it there were.
    pub(crate) fn remove(&mut self, first: u64, last: u64) -> u64 {
        let known = self.messages;
        while let Some((&from, &to)) = self.ranges.range(..=last).next_back() {
            if to < first {
                break;
            }
            self.ranges.remove(&from);
            self.messages -= to - from + 1;
            for (from, to) in [(from, first.saturating_sub(1)), (last.saturating_add(1), to)] {
                if from <= to && (to < first || from > last) {
                    self.ranges.insert(from, to);
                    self.messages += to - from + 1;
                }
            }
            if from < first {
                break;
            }
        }
        known - self.messages
    }

    /// The next look goes on here.
    pub(crate) fn look_on_from(&mut self, sequence: u64) {
        self.look_from = sequence;
    }

    /// The range to look at next.
    fn next(&self) -> Option<(u64, u64)> {
        let here = self.ranges.range(..=self.look_from).next_back();
        let here = here.filter(|(_, last)| **last >= self.look_from);
        let here = here.map(|(_, last)| (self.look_from, *last));
        let next = || self.ranges.range(self.look_from..).chain(&self.ranges).next();
        here.or_else(|| next().map(|(first, last)| (*first, *last)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_behave_like_a_set(steps in proptest::collection::vec((any::<bool>(), 1u64..200, 0u64..30), 0..200)) {
            let (mut damage, mut model) = (Damage::default(), BTreeSet::new());
            for (adds, first, more) in steps {
                let range = first..=first + more;
                if adds {
                    let new = range.clone().filter(|sequence| model.insert(*sequence)).count() as u64;
                    prop_assert_eq!(damage.add(first, first + more), new);
                } else {
                    let gone = range.clone().filter(|sequence| model.remove(sequence)).count() as u64;
                    prop_assert_eq!(damage.remove(first, first + more), gone);
                }
                prop_assert_eq!(damage.messages(), model.len() as u64);
                for sequence in 0..240 {
                    prop_assert_eq!(damage.contains(sequence), model.contains(&sequence), "{}", sequence);
                }
            }
        }
    }

    #[test]
    fn looks_take_turns() {
        let mut damage = Damage::default();
        damage.add(5, 9);
        damage.add(20, 20);
        assert_eq!(damage.next(), Some((5, 9)));
        damage.look_from = 7;
        assert_eq!(damage.next(), Some((7, 9)));
        damage.look_from = 10;
        assert_eq!(damage.next(), Some((20, 20)));
        damage.look_from = 21;
        assert_eq!(damage.next(), Some((5, 9)));
    }

    #[test]
    fn more_ranges_than_are_remembered_are_found_out_each_time() {
        let mut damage = Damage::default();
        let added: u64 = (0..2 * DAMAGED_RANGES_MAX as u64)
            .map(|index| damage.add(10 * index, 10 * index))
            .sum();
        assert_eq!(
            (added, damage.messages()),
            (DAMAGED_RANGES_MAX as u64, DAMAGED_RANGES_MAX as u64)
        );
        assert!(damage.contains(0) && !damage.contains(20 * DAMAGED_RANGES_MAX as u64 - 10));
    }
}
