//! Active subscriptions by the inbox that their messages go to.

use std::collections::BTreeSet;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use super::keys::SubscriptionKey;

/// See the module. Nothing keeps several subscriptions from having one inbox.
#[derive(Debug)]
pub(crate) struct Inboxes {
    hasher: FixedState,
    /// By the hash of the inbox, which the subscription itself keeps.
    subscriptions: BTreeSet<(u64, SubscriptionKey)>,
}

impl Inboxes {
    pub(crate) fn new(hasher: FixedState) -> Inboxes {
        Inboxes {
            hasher,
            subscriptions: BTreeSet::new(),
        }
    }

    pub(crate) fn insert(&mut self, inbox: &[u8], key: SubscriptionKey) {
        self.subscriptions.insert((self.hasher.hash_one(inbox), key));
    }

    pub(crate) fn remove(&mut self, inbox: &[u8], key: SubscriptionKey) {
        self.subscriptions.remove(&(self.hasher.hash_one(inbox), key));
    }

    /// Those that may have the inbox: whose inbox has its hash.
    pub(crate) fn candidates(&self, inbox: &[u8]) -> impl Iterator<Item = SubscriptionKey> + '_ {
        let hash = self.hasher.hash_one(inbox);
        let range = (hash, SubscriptionKey(0))..=(hash, SubscriptionKey(usize::MAX));
        self.subscriptions.range(range).map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_with_one_inbox_are_all_found() {
        let mut inboxes = Inboxes::new(FixedState::with_seed(1));
        for key in 0..4 {
            inboxes.insert([&b"one"[..], b"two"][key % 2], SubscriptionKey(key));
        }
        let found: Vec<_> = inboxes.candidates(b"one").collect();
        assert_eq!(found, [SubscriptionKey(0), SubscriptionKey(2)]);
        inboxes.remove(b"one", SubscriptionKey(0));
        inboxes.remove(b"two", SubscriptionKey(2));
        assert_eq!(inboxes.candidates(b"one").collect::<Vec<_>>(), [SubscriptionKey(2)]);
        assert_eq!(inboxes.candidates(b"three").count(), 0);
    }
}
