//! What happened to subscriptions since they were last written down.
//!
//! Only a subscription with something to write down has an entry. Entries are used again with the room that they grew to: a
//! message allocates nothing, and a subscription at rest holds nothing.

use std::collections::VecDeque;

use prost::Message;

use crate::facts::{ProgressFact, Runs};
use crate::limits::DIRTY_SPARE_MAX;
use crate::registry::keys::SubscriptionKey;

/// What is to be written down about one subscription.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// The cursor moved.
    pub(crate) cursor: bool,
    pub(crate) sent: Runs,
    pub(crate) acked: Runs,
    /// Taken over from other members of the group: their number, and the sequence.
    pub(crate) taken: Vec<(u64, u64)>,
}

impl Dirty {
    /// Whether there is nothing to write down.
    pub(crate) fn is_empty(&self) -> bool {
        !self.cursor && self.sent.is_empty() && self.acked.is_empty() && self.taken.is_empty()
    }

    /// The longest of its lists.
    pub(crate) fn runs(&self) -> usize {
        self.sent.len().max(self.acked.len()).max(self.taken.len())
    }

    fn clear(&mut self) {
        self.cursor = false;
        self.sent.clear();
        self.acked.clear();
        self.taken.clear();
    }
}

/// Place of an entry, as its subscription remembers it: unique among those in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirtyPlace(u32);

/// What a subscription remembers of its entry. Only [`DirtyList`] gives it one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirtySlot(Option<DirtyPlace>);

impl DirtySlot {
    /// Whether its entry is at that place.
    #[inline]
    pub(crate) fn is_at(self, place: DirtyPlace) -> bool {
        self.0 == Some(place)
    }

    /// The entry is given up.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.0 = None;
    }
}

/// The subscriptions to write down, first come first served.
#[derive(Debug, Default)]
pub(crate) struct DirtyList {
    entries: VecDeque<(SubscriptionKey, Dirty)>,
    /// Place of the first entry; places wrap around.
    first: u32,
    /// Entries that wait to be used again.
    spare: Vec<Dirty>,
    /// Where facts are put together, and encoded.
    fact: ProgressFact,
    body: Vec<u8>,
}

impl DirtyList {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a subscription that remembers its place in `slot`; a new one if it has none.
    #[inline]
    pub(crate) fn entry(&mut self, key: SubscriptionKey, slot: &mut DirtySlot) -> &mut Dirty {
        let place = *slot.0.get_or_insert_with(|| self.begin(key));
        let index = self.index(place);
        &mut self.entries[index].1
    }

    fn index(&self, DirtyPlace(place): DirtyPlace) -> usize {
        place.wrapping_sub(self.first) as usize
    }

    /// A new entry at the end.
    fn begin(&mut self, key: SubscriptionKey) -> DirtyPlace {
        let length = u32::try_from(self.entries.len()).expect("memory ends before 2^32 subscriptions");
        self.entries.push_back((key, self.spare.pop().unwrap_or_default()));
        DirtyPlace(self.first.wrapping_add(length))
    }

    /// The entry of a subscription that has one.
    pub(crate) fn get(&self, slot: DirtySlot) -> Option<&Dirty> {
        slot.0.map(|place| &self.entries[self.index(place)].1)
    }

    /// What is to be written down about a subscription with that number and cursor, encoded; none when there is nothing. The
    /// entry stays, empty.
    pub(crate) fn take(&mut self, slot: DirtySlot, number: u64, last_sent: u64) -> Option<&[u8]> {
        self.body.clear();
        if !self.collect(slot, number, last_sent) {
            return None;
        }
        self.fact.encode_raw(&mut self.body);
        Some(&self.body)
    }

    /// As [`DirtyList::take`], for several that are written down together: each behind its length.
    pub(crate) fn take_all(&mut self, subscriptions: impl Iterator<Item = (DirtySlot, u64, u64)>) -> Option<&[u8]> {
        self.body.clear();
        for (slot, number, last_sent) in subscriptions {
            if self.collect(slot, number, last_sent) {
                self.fact
                    .encode_length_delimited(&mut self.body)
                    .expect("a vector has room for what is appended to it");
            }
        }
        (!self.body.is_empty()).then_some(&self.body)
    }

    fn collect(&mut self, slot: DirtySlot, number: u64, last_sent: u64) -> bool {
        let Some(place) = slot.0 else { return false };
        let index = self.index(place);
        let dirty = &mut self.entries[index].1;
        if dirty.is_empty() {
            return false;
        }
        let fact = &mut self.fact;
        (fact.number, fact.last_sent) = (number, last_sent);
        fact.sent.clear();
        fact.acked.clear();
        fact.taken.clear();
        dirty.cursor = false;
        dirty.sent.drain_into(&mut fact.sent);
        dirty.acked.drain_into(&mut fact.acked);
        fact.taken
            .extend(dirty.taken.drain(..).flat_map(|(from, sequence)| [from, sequence]));
        true
    }

    /// The subscription whose turn it is, and its place. It may have gone meanwhile; one that came later in its stead
    /// remembers another place.
    pub(crate) fn first(&self) -> Option<(SubscriptionKey, DirtyPlace)> {
        let (key, _) = self.entries.front()?;
        Some((*key, DirtyPlace(self.first)))
    }

    /// Gives up the entry whose turn it was.
    pub(crate) fn pop(&mut self) {
        if let Some((_, mut entry)) = self.entries.pop_front() {
            self.first = self.first.wrapping_add(1);
            entry.clear();
            if self.spare.len() < DIRTY_SPARE_MAX {
                self.spare.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_came_first_is_first_and_its_room_is_used_again() {
        let mut list = DirtyList {
            first: u32::MAX,
            ..DirtyList::default()
        };
        let (mut first, mut second) = (DirtySlot::default(), DirtySlot::default());
        list.entry(SubscriptionKey::at(1), &mut first).acked.push(7);
        list.entry(SubscriptionKey::at(2), &mut second).cursor = true;
        list.entry(SubscriptionKey::at(1), &mut first).acked.push(8);
        assert_eq!(list.first(), first.0.map(|place| (SubscriptionKey::at(1), place)));
        assert!(
            list.get(first)
                .is_some_and(|entry| entry.acked.contains(7) && entry.acked.contains(8))
        );
        list.pop();
        assert_eq!(list.first(), second.0.map(|place| (SubscriptionKey::at(2), place)));
        let mut third = DirtySlot::default();
        assert!(list.entry(SubscriptionKey::at(3), &mut third).is_empty());
        assert!(list.get(second).is_some_and(|entry| entry.cursor));
        list.pop();
        list.pop();
        assert!(list.is_empty() && list.first().is_none());
        assert_eq!(list.spare.len(), 2);
    }
}
