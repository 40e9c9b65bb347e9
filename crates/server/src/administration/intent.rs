//! What a request of the class `change` is after.

use crate::engine::Wanted;

/// What changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// This server hands over to another one of its group.
    Failover,
    /// The engine changes something.
    Engine { wanted: Wanted, is_rehearsal: bool },
    /// The connection of a client of NATS ends.
    Connection { cid: u64, is_rehearsal: bool },
}
