//! The port to the other members.

use bytes::Bytes;
use seaway_replica::{Class, Configuration, NodeId, Unsent};

/// What carries frames to other members. Nothing here waits: what a connection does not take now is not sent.
pub trait Network: Send {
    /// Sends a frame, the concatenation of its pieces, to a member over the connection of a class, behind what was sent over it before.
    ///
    /// # Errors
    /// There is no connection, or it is full; nothing was sent.
    fn send(&mut self, to: NodeId, class: Class, frame: Vec<Bytes>) -> Result<(), Unsent>;

    /// A member sends what no member sends: its connections are to be closed, and somebody is to be told why.
    fn refuse(&mut self, member: NodeId, why: String);

    /// These are the members from now on; `about` is what came with the last change (names, addresses), or with the founding.
    fn members(&mut self, configuration: &Configuration, about: &Bytes);
}
