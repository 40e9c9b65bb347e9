//! Who gets a message on one subject.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::subscription::{Handle, Subscription};

/// One subscription in an answer.
pub(crate) struct Target<H> {
    pub(crate) subscription: Arc<Subscription<H>>,
    /// It ends after a number of messages, so each delivery is counted at once. Setting a limit raises the
    /// generation, so that no answer keeps a stale value.
    pub(crate) limited: bool,
    /// Its owner gets the right to answer what it is delivered. A change raises the generation too.
    pub(crate) answers: bool,
}

impl<H: Handle> Target<H> {
    /// `None` when the owner may not see messages on `subject` (§3.3).
    pub(super) fn new(subscription: &Arc<Subscription<H>>, subject: &[u8]) -> Option<Self> {
        if subscription.owner.withholds(subject, subscription.queue()) {
            return None;
        }
        Some(Self {
            subscription: Arc::clone(subscription),
            limited: subscription.limit.load(Ordering::Acquire) != 0,
            answers: subscription.owner.answers(),
        })
    }
}

/// Every plain subscription and one member of every group gets it.
pub(crate) struct Route<H> {
    pub(crate) plain: SmallVec<[Target<H>; 1]>,
    pub(crate) groups: Vec<Vec<Target<H>>>,
}

impl<H> Default for Route<H> {
    fn default() -> Self {
        Self {
            plain: SmallVec::new(),
            groups: Vec::new(),
        }
    }
}

impl<H> Route<H> {
    /// How many subscriptions it names.
    pub(super) fn targets(&self) -> usize {
        self.plain.len() + self.groups.iter().map(Vec::len).sum::<usize>()
    }
}
