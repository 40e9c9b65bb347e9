//! How far a channel is with forgetting what its subscriptions hold of messages that were purged.

use std::ops::Bound;

use bytes::Bytes;

/// Who is looked at next. Active durables are looked at twice: a second look finds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// The active plain subscription with this number, or the next one.
    Plain(u64),
    /// The plain durable, active or not, of this client and name, or the next one.
    Durable(Bound<(Bytes, Bytes)>),
    /// The queue group with this number, or the next one.
    Group(u64),
}
