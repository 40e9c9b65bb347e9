//! Subscriptions by number.

use std::collections::BTreeMap;

use crate::registry::keys::SubscriptionKey;

/// The active plain and durable subscriptions of a channel. Most channels have one or none, and a node of a tree would be
/// as large as the subscription.
#[derive(Debug, Default)]
pub(crate) enum Roster {
    #[default]
    Empty,
    One(u64, SubscriptionKey),
    Many(BTreeMap<u64, SubscriptionKey>),
}

impl Roster {
    /// Adds a subscription; numbers are unique.
    pub(crate) fn insert(&mut self, number: u64, key: SubscriptionKey) {
        match self {
            Roster::Empty => *self = Roster::One(number, key),
            &mut Roster::One(other, other_key) => {
                *self = Roster::Many(BTreeMap::from([(other, other_key), (number, key)]));
            }
            Roster::Many(all) => drop(all.insert(number, key)),
        }
    }

    /// Removes a subscription, if it is there.
    pub(crate) fn remove(&mut self, number: u64) {
        match self {
            Roster::Empty => {}
            Roster::One(other, _) => {
                if *other == number {
                    *self = Roster::Empty;
                }
            }
            Roster::Many(all) => {
                all.remove(&number);
                if all.len() == 1
                    && let Some((number, key)) = all.pop_first()
                {
                    *self = Roster::One(number, key);
                }
            }
        }
    }

    /// The subscription with that number, or the next one.
    pub(crate) fn at_or_after(&self, number: u64) -> Option<(u64, SubscriptionKey)> {
        match self {
            Roster::Empty => None,
            &Roster::One(other, key) => (other >= number).then_some((other, key)),
            Roster::Many(all) => all.range(number..).next().map(|(number, key)| (*number, *key)),
        }
    }

    /// In the order of their numbers.
    pub(crate) fn values(&self) -> impl Iterator<Item = &SubscriptionKey> {
        let (one, many) = match self {
            Roster::Empty => (None, None),
            Roster::One(_, key) => (Some(key), None),
            Roster::Many(all) => (None, Some(all.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_an_ordered_map(steps in proptest::collection::vec((0u64..5, any::<bool>()), 0..50)) {
            let (mut roster, mut model) = (Roster::default(), BTreeMap::new());
            for (number, inserts) in steps {
                if inserts {
                    let key = SubscriptionKey(number as usize);
                    if model.insert(number, key).is_none() {
                        roster.insert(number, key);
                    }
                } else {
                    model.remove(&number);
                    roster.remove(number);
                }
                prop_assert!(roster.values().eq(model.values()));
                for number in 0..6 {
                    let next = model.range(number..).next().map(|(number, key)| (*number, *key));
                    prop_assert_eq!(roster.at_or_after(number), next);
                }
            }
        }
    }
}
