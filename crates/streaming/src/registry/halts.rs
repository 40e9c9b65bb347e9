//! What operators have paused (as against subscriptions whose receiver does not keep up).
//!
//! A subscription and a group know of themselves whether they are paused, which is all that delivery asks. Who paused it, and when, is here,
//! so that those that are not cost nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::ids::ChannelId;
use crate::time::Timestamp;

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Halted {
    /// A subscription that is in no group, by its number.
    Subscription(u64),
    /// A group, by its name.
    Group(ChannelId, Bytes),
}

/// That it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Halt {
    /// Who paused it, in words.
    pub(crate) by: Bytes,
    pub(crate) since: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Halts(BTreeMap<Halted, Halt>);

impl Halts {
    pub(crate) fn insert(&mut self, halted: Halted, halt: Halt) {
        self.0.insert(halted, halt);
    }

    pub(crate) fn remove(&mut self, halted: &Halted) {
        self.0.remove(halted);
    }

    pub(crate) fn get(&self, halted: &Halted) -> Option<&Halt> {
        self.0.get(halted)
    }

    /// The first one behind a place in their order.
    pub(crate) fn next(&self, after: Bound<&Halted>) -> Option<(&Halted, &Halt)> {
        self.0.range((after, Bound::Unbounded)).next()
    }
}
