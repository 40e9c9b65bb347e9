//! What a request of the class `change` is after.

use crate::engine::Wanted;
use crate::logging::Verbosity;

/// What changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// This server hands over to another one of its group.
    Failover,
    /// The engine changes something.
    Engine { wanted: Wanted, is_rehearsal: bool },
    /// The connection of a client of NATS ends.
    Connection { cid: u64, is_rehearsal: bool },
    /// More lines are logged, or fewer; of what is not named as many as before.
    LogLevel {
        broker: Option<Verbosity>,
        streaming: Option<Verbosity>,
        is_rehearsal: bool,
    },
    /// The configuration is read again.
    Reload { is_rehearsal: bool },
}
