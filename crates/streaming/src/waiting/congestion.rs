//! Subscriptions whose receiver does not keep up, by the queue they share.

use std::collections::{BTreeMap, VecDeque};

use crate::bus::Destination;
use crate::registry::keys::SubscriptionKey;

/// That a subscription is paused until its destination has drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) destination: Destination,
    /// Monotonic time.
    pub(crate) since: u64,
}

/// Why somebody may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The destination has room again, or somebody came.
    Drained,
    /// Nobody comes there any more.
    Gone,
}

/// By number, which is unique for the life of the store.
type Paused = BTreeMap<u64, SubscriptionKey>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Congestion {
    paused: BTreeMap<Destination, Paused>,
    /// Those that may go on and whose turn has not come yet.
    drained: VecDeque<(Destination, End, Paused)>,
}

impl Congestion {
    /// A subscription waits for a destination.
    pub(crate) fn add(&mut self, destination: Destination, number: u64, key: SubscriptionKey) {
        self.paused.entry(destination).or_default().insert(number, key);
    }

    /// It waits no longer.
    pub(crate) fn remove(&mut self, destination: Destination, number: u64) {
        if let Some(paused) = self.paused.get_mut(&destination) {
            paused.remove(&number);
            if paused.is_empty() {
                self.paused.remove(&destination);
            }
        }
    }

    /// Everyone who waits for a destination may go on, one after the other: see [`Congestion::next`].
    pub(crate) fn end(&mut self, destination: Destination, end: End) {
        if let Some(paused) = self.paused.remove(&destination) {
            self.drained.push_back((destination, end, paused));
        }
    }

    /// Whether some may go on.
    pub(crate) fn has_drained(&self) -> bool {
        !self.drained.is_empty()
    }

    /// Who may go on next, and why: what it waited for, its number and its place. It may have left meanwhile.
    pub(crate) fn next(&mut self) -> Option<(Destination, End, u64, SubscriptionKey)> {
        let (destination, end, paused) = self.drained.front_mut()?;
        let (destination, end) = (*destination, *end);
        let next = paused.pop_first();
        if paused.is_empty() {
            self.drained.pop_front();
        }
        next.map(|(number, key)| (destination, end, number, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_what_drained_goes_on_once() {
        let mut congestion = Congestion::default();
        for number in 1..=4 {
            congestion.add(Destination(number % 2), number, SubscriptionKey::at(number as usize));
        }
        congestion.remove(Destination(1), 3);
        congestion.end(Destination(1), End::Drained);
        congestion.add(Destination(1), 1, SubscriptionKey::at(1));
        let next = congestion.next();
        assert_eq!(next, Some((Destination(1), End::Drained, 1, SubscriptionKey::at(1))));
        assert_eq!(congestion.next(), None);
        assert!(!congestion.has_drained());
        congestion.end(Destination(1), End::Drained);
        congestion.end(Destination(0), End::Gone);
        let order: Vec<u64> = std::iter::from_fn(|| congestion.next()).map(|next| next.2).collect();
        assert_eq!(order, [1, 2, 4]);
        assert!(congestion.paused.is_empty());
    }
}
