//! How far a checkpoint has come.

use std::ops::Bound;

use bytes::Bytes;

/// See the module: what is written next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointProgress {
    Clients(Bound<Bytes>),
    Channels(u64),
    /// Subscriptions from this number on; of the first one the pending messages from this sequence on, when it was begun.
    Subscriptions(u64, Option<u64>),
}
