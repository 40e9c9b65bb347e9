//! What carries messages between the server's own parts, its clients and other servers: the shell's one face to it.
//!
//! Whoever takes part attaches under a name with a [`Listener`], subscribes through the [`Attachment`] and sends through a [`Sender`].
//! In this process the broker carries everything (`local`), and only this room and the life of the process know it. A connection to
//! somebody else's server goes behind the same names.

mod local;
mod words;

pub use local::{Attachment, Bus, Gate, Reach, Requester, Sender};
pub use words::{Batch, Destination, InvalidSubject, Listener, Message, Origin, Sent};
