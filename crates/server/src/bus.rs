//! What carries messages between the server's own parts, its clients and other servers: the shell's one face to it.
//!
//! Whoever takes part attaches under a name with a [`Listener`], subscribes through the [`Attachment`] and sends through a [`Sender`].
//! Two carriers stand behind these names, one of which is chosen at the start (`either`): the broker in this process (`local`), or a
//! connection to NATS servers of somebody else (`external`). Only this room and the life of the process know which it is.

mod either;
mod external;
mod local;
mod words;

pub use either::{Attachment, Bus, Gate, Reach, Requester, Sender};
pub use external::{External, ExternalSnapshot};
pub use words::{
    Batch, Destination, Hindrance, InvalidSubject, Listener, Message, Origin, Sent, Unsettled, is_no_responders,
};
