//! What the transport tells whoever drives the replica.

use bytes::Bytes;
use seaway_replica::{Class, NodeId};
use tokio::sync::OwnedSemaphorePermit;

/// Something that happened. For one member they come in order: `Connected`, frames, `Lost`, and so on with a larger number.
#[derive(Debug)]
pub enum Event {
    /// The three connections to a member are there.
    Connected {
        /// To whom.
        node: NodeId,
        /// Larger than any before of this member in this process.
        session: u64,
    },
    /// One of them was lost or stuck; all three are closed, and no frame of this session follows.
    Lost {
        /// To whom.
        node: NodeId,
        /// Which session has ended.
        session: u64,
        /// Why, as far as it is known here.
        why: String,
    },
    /// A member has sent a frame.
    Frame {
        /// Who.
        from: NodeId,
        /// In which session, which is the present one.
        session: u64,
        /// Over which connection.
        class: Class,
        /// The frame.
        bytes: Bytes,
        /// Takes up room until it is dropped; drop it when the frame has been taken. Without room nothing more is read from this member.
        untaken: Untaken,
    },
    /// There is no connection to somebody, since one side does not want it: another cluster, another secret, another version. Told once a
    /// minute of each.
    Refused {
        /// Who, by name or address.
        who: String,
        /// Why.
        words: String,
    },
}

/// Room that a frame takes up, and gives back when this is dropped.
#[derive(Debug)]
pub struct Untaken(#[expect(dead_code, reason = "what it does is to be dropped")] pub(crate) OwnedSemaphorePermit);

/// Takes events. It is called by the tasks that serve the connections: it must not block, and must not call the transport but to send.
pub trait Events: Send + Sync + 'static {
    /// Takes one.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync + 'static> Events for F {
    fn event(&self, event: Event) {
        self(event);
    }
}
