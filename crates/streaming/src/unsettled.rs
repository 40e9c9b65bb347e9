//! What happened to subscriptions since they were last written down.
//!
//! Only a subscription with something to write down has an entry. Entries are used again with the room that they grew to: a
//! message allocates nothing, and a subscription at rest holds nothing.

use crate::facts::Runs;
use crate::keys::SubscriptionKey;

/// What is to be written down about one subscription.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    /// The cursor moved.
    pub(crate) cursor: bool,
    pub(crate) sent: Runs,
    pub(crate) acked: Runs,
    /// Taken over from other members of the group: their number, and the sequence.
    pub(crate) taken: Vec<(u64, u64)>,
}

impl Unsettled {
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

/// Place of an entry, as its subscription remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnsettledPlace(u32);

/// The subscriptions to settle, last come first settled.
#[derive(Debug, Default)]
pub(crate) struct UnsettledList {
    /// Those in use, then those that wait to be used again.
    entries: Vec<(SubscriptionKey, Unsettled)>,
    used: usize,
}

impl UnsettledList {
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The entry of a subscription that remembers its place in `slot`; a new one if it has none.
    #[inline]
    pub(crate) fn entry(&mut self, key: SubscriptionKey, slot: &mut Option<UnsettledPlace>) -> &mut Unsettled {
        let UnsettledPlace(place) = *slot.get_or_insert_with(|| self.begin(key));
        &mut self.entries[place as usize].1
    }

    /// A new entry at the end.
    fn begin(&mut self, key: SubscriptionKey) -> UnsettledPlace {
        let place = self.used;
        match self.entries.get_mut(place) {
            Some(entry) => entry.0 = key,
            None => self.entries.push((key, Unsettled::default())),
        }
        self.used += 1;
        place_of(place)
    }

    /// The entry of a subscription that has one.
    pub(crate) fn get(&self, slot: Option<UnsettledPlace>) -> Option<&Unsettled> {
        slot.map(|UnsettledPlace(place)| &self.entries[place as usize].1)
    }

    /// As [`UnsettledList::get`].
    pub(crate) fn get_mut(&mut self, slot: Option<UnsettledPlace>) -> Option<&mut Unsettled> {
        slot.map(|UnsettledPlace(place)| &mut self.entries[place as usize].1)
    }

    /// The subscription whose turn it is, and its place. It may have gone meanwhile; one that came later in its stead
    /// remembers another place.
    pub(crate) fn last(&self) -> Option<(SubscriptionKey, UnsettledPlace)> {
        let place = self.used.checked_sub(1)?;
        Some((self.entries[place].0, place_of(place)))
    }

    /// Gives up the entry whose turn it was.
    pub(crate) fn pop(&mut self) {
        if let Some(place) = self.used.checked_sub(1) {
            self.used = place;
            self.entries[place].1.clear();
        }
    }
}

fn place_of(index: usize) -> UnsettledPlace {
    UnsettledPlace(u32::try_from(index).expect("memory ends before 2^32 subscriptions"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_used_again_and_empty() {
        let mut list = UnsettledList::default();
        let (mut first, mut second) = (None, None);
        list.entry(SubscriptionKey(1), &mut first).acked.push(7);
        list.entry(SubscriptionKey(2), &mut second).cursor = true;
        list.entry(SubscriptionKey(1), &mut first).acked.push(8);
        assert_eq!(list.last(), second.map(|place| (SubscriptionKey(2), place)));
        list.pop();
        assert!(list.get(first).is_some_and(|entry| entry.acked.contains(8)));
        list.pop();
        assert!(list.is_empty() && list.last().is_none());
        let mut third = None;
        assert!(list.entry(SubscriptionKey(3), &mut third).is_empty());
        assert_eq!(third, first);
    }
}
