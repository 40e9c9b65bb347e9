//! How a connection is, as users are told.

use crate::error::Loss;

/// How a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It works.
    Connected,
    /// Nobody is reached at the moment: the NATS connection is broken and being made anew, or the last ping has no answer. The
    /// server may know this client still: what is published or acknowledged meanwhile waits for it.
    Unreachable,
    /// It was lost, and is being made anew.
    Interrupted(Loss),
    /// It has ended for good.
    Ended(Loss),
}

impl Status {
    /// Whether the server has not forgotten the client, as far as is known.
    pub(crate) fn has_session(&self) -> bool {
        matches!(self, Status::Connected | Status::Unreachable)
    }
}
