//! Work that was left over, first come first served.

use std::collections::VecDeque;

use crate::ids::ChannelId;
use crate::registry::keys::{ChannelKey, ClientKey, CursorKey, GroupKey};

/// One thing to go on with. Each names what it is about by its unique number too: that may have gone meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A cursor that can be moved on; its owner's number.
    Advance(CursorKey, u64),
    /// A channel whose new messages were not offered to all subscriptions yet.
    Offer(ChannelKey, ChannelId),
    /// A client whose heartbeats began to fail, or to be answered again: its queue members from this number on.
    Health(ClientKey, u64, u64),
    /// A client whose subscriptions are being closed.
    Close(ClientKey, u64),
    /// A group whose last record takes over what earlier leavers held.
    Absorb(GroupKey, u64),
    /// A deleted channel whose subscriptions are being forgotten.
    Delete(ChannelKey, ChannelId),
    /// A channel of which messages were purged that some still hold.
    Sweep(ChannelKey, ChannelId),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct WorkQueue {
    waiting: VecDeque<Work>,
    /// What found the bus down.
    stranded: VecDeque<Work>,
}

impl WorkQueue {
    pub(crate) fn push(&mut self, work: Work) {
        self.waiting.push_back(work);
    }

    /// It waits for the bus.
    pub(crate) fn strand(&mut self, work: Work) {
        self.stranded.push_back(work);
    }

    /// What waited for the bus can go on.
    pub(crate) fn bus_is_up(&mut self) {
        self.waiting.append(&mut self.stranded);
    }

    /// The work whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Work> {
        self.waiting.pop_front()
    }

    /// How much there is to do, without what waits for the bus.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
