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
    /// Damaged messages of a channel are looked at again.
    Damage(ChannelKey),
    /// A channel may have been idle for too long.
    Inactivity(ChannelKey),
    /// A clock that is far ahead has said so for long enough.
    WallClock,
    /// Requests waited long enough for their client's connect.
    Unregistered,
}

/// What the owner of a timer remembers of it: when it fires. Only [`Timers`] sets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimerSlot(Option<u64>);

impl TimerSlot {
    /// When it fires; none when it does not run.
    #[inline]
    pub(crate) fn deadline(self) -> Option<u64> {
        self.0
    }

    #[inline]
    pub(crate) fn is_running(self) -> bool {
        self.0.is_some()
    }

    /// It has fired.
    pub(crate) fn fired(&mut self) {
        self.0 = None;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    entries: BTreeSet<(u64, Timer)>,
}

impl Timers {
    /// Moves a timer from the deadline in `slot` to another one, or stops it.
    pub(crate) fn set(&mut self, slot: &mut TimerSlot, timer: Timer, deadline: Option<u64>) {
        if slot.0 == deadline {
            return;
        }
        if let Some(old) = slot.0 {
            self.entries.remove(&(old, timer));
        }
        if let Some(new) = deadline {
            self.entries.insert((new, timer));
        }
        slot.0 = deadline;
    }

    /// Moves a timer to a deadline, unless it fires earlier anyway.
    #[inline]
    pub(crate) fn bring_forward(&mut self, slot: &mut TimerSlot, timer: Timer, deadline: u64) {
        if slot.0.is_none_or(|set| deadline < set) {
            self.set(slot, timer, Some(deadline));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<u64> {
        self.entries.first().map(|(deadline, _)| *deadline)
    }

    /// Removes the first timer that is due; whoever takes it tells its owner's slot.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<Timer> {
        let &(deadline, timer) = self.entries.first()?;
        if deadline > now {
            return None;
        }
        self.entries.pop_first();
        Some(timer)
    }
}
