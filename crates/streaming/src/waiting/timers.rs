//! What is to happen when: one ordered set, so that what is due fires in the same order on every run.
//!
//! There is one entry per thing that waits (a subscription, not a message), and the owner of an entry remembers its
//! deadline, so that it can be moved.

use std::collections::BTreeSet;

use crate::registry::keys::{ChannelKey, ClientKey, CursorKey, SubscriptionKey};

/// What waits. Ties in time fire in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The next heartbeat, or the end of the wait for its answer.
    Heartbeat(ClientKey),
    /// The end of a duplicate check.
    DuplicateCheck(ClientKey),
    /// Messages of a subscription are due again.
    Redelivery(SubscriptionKey),
    /// A failed read is tried again.
    Retry(CursorKey),
    /// The oldest message of a channel reaches its age limit.
    Age(ChannelKey),
    /// A channel may have been idle for too long.
    Inactivity(ChannelKey),
    /// A clock that is far ahead has said so for long enough.
    WallClock,
    /// Requests waited long enough for their client's connect.
    Unregistered,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    entries: BTreeSet<(u64, Timer)>,
}

impl Timers {
    /// Moves a timer from the deadline in `slot` to another one, or removes it.
    pub(crate) fn set(&mut self, slot: &mut Option<u64>, timer: Timer, deadline: Option<u64>) {
        if *slot == deadline {
            return;
        }
        if let Some(old) = *slot {
            self.entries.remove(&(old, timer));
        }
        if let Some(new) = deadline {
            self.entries.insert((new, timer));
        }
        *slot = deadline;
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<u64> {
        self.entries.first().map(|(deadline, _)| *deadline)
    }

    /// Removes the first timer that is due; its owner's slot must be cleared by the caller.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<Timer> {
        let &(deadline, timer) = self.entries.first()?;
        if deadline > now {
            return None;
        }
        self.entries.pop_first();
        Some(timer)
    }
}
