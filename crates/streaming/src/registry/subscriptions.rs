//! All subscriptions, also those that are offline or departing.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::keys::SubscriptionKey;
use super::subscription::Subscription;

/// See the module. Each is found by its number. Which of them a channel, a client or a group has is written there.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    subscriptions: Slab<Subscription>,
    numbers: BTreeMap<u64, SubscriptionKey>,
    /// The highest number that was ever given.
    last_number: u64,
    /// How often one was looked at, to tell what an input costs.
    #[cfg(test)]
    pub(crate) looks: std::cell::Cell<usize>,
}

impl Subscriptions {
    /// Numbers up to this one were given before, also to subscriptions that have gone.
    pub(crate) fn begin_after(&mut self, last_number: u64) {
        self.last_number = last_number;
    }

    /// The highest number that was ever given.
    pub(crate) fn last_number(&self) -> u64 {
        self.last_number
    }

    /// A new number. Never given again.
    pub(crate) fn new_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Adds a subscription; no other may have its number.
    pub(crate) fn insert(&mut self, subscription: Subscription) -> SubscriptionKey {
        let number = subscription.number();
        let key = SubscriptionKey(self.subscriptions.insert(subscription));
        let before = self.numbers.insert(number, key);
        assert!(before.is_none(), "a number belongs to one subscription");
        key
    }

    /// Takes out a subscription.
    pub(crate) fn remove(&mut self, key: SubscriptionKey) -> Subscription {
        let subscription = self.subscriptions.remove(key.0);
        self.numbers.remove(&subscription.number());
        subscription
    }

    pub(crate) fn len(&self) -> usize {
        self.subscriptions.len()
    }

    /// The subscription at that place, if there is one.
    #[inline]
    pub(crate) fn get(&self, key: SubscriptionKey) -> Option<&Subscription> {
        self.subscriptions.get(key.0)
    }

    /// As [`Subscriptions::get`].
    pub(crate) fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(key.0)
    }

    /// The number of the subscription at that place, if there is one.
    #[inline]
    pub(crate) fn number(&self, key: SubscriptionKey) -> Option<u64> {
        self.get(key).map(Subscription::number)
    }

    /// The subscription with that number, or the next one.
    pub(crate) fn number_from(&self, number: u64) -> Option<(u64, SubscriptionKey)> {
        let next = self.numbers.range(number..).next();
        next.map(|(number, key)| (*number, *key))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SubscriptionKey, &Subscription)> {
        let all = self.subscriptions.iter();
        all.map(|(key, subscription)| (SubscriptionKey(key), subscription))
    }
}

impl Index<SubscriptionKey> for Subscriptions {
    type Output = Subscription;

    #[inline]
    fn index(&self, key: SubscriptionKey) -> &Subscription {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        &self.subscriptions[key.0]
    }
}

impl IndexMut<SubscriptionKey> for Subscriptions {
    #[inline]
    fn index_mut(&mut self, key: SubscriptionKey) -> &mut Subscription {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        &mut self.subscriptions[key.0]
    }
}
