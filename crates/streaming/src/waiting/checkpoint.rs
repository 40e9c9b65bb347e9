//! How far a checkpoint has come.

use std::ops::Bound;

use bytes::Bytes;

use crate::registry::halts::Halted;

/// See the module: what is written next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointProgress {
    /// Changes by operators from this number on.
    Audit(u64),
    /// What is paused, behind this.
    Paused(Bound<Halted>),
    Clients(Bound<Bytes>),
    Channels(u64),
    /// Subscriptions from this number on; of the first one the pending messages from this sequence on, when it was begun.
    Subscriptions(u64, Option<u64>),
}
