//! Connections between the members of a replicated cluster (docs/cluster-protocol.md).
//!
//! [`Transport`] listens on a port of its own, keeps three connections to each other member, and carries frames of which it knows the
//! length and nothing else. Servers that are no members yet ask each other over the same port; what they decide is [`decide`], a
//! function of what they have heard. What a record, an entry or a vote is nobody here knows.

pub mod limits;

mod asking;
mod dialling;
mod events;
mod fetching;
mod founding;
mod framing;
mod gathering;
mod greeting;
mod handshake;
mod listening;
mod options;
mod outbox;
mod peer;
mod proof;
mod questions;
mod security;
mod session;
mod shared;
mod snapshot;
mod strangers;
mod stream;
mod told;
mod transport;
mod wire;

pub use asking::{
    Answer, Answering, JoinAnswer, JoinRequest, MemberAddress, Question, Standing, State, read_members, write_members,
};
pub use events::{Event, Events, Untaken};
pub use founding::{Decision, Heard, Mode, Plan, Situation, decide};
pub use framing::{Decoder, FrameKind};
pub use greeting::{Belonging, Challenge, HEAD_BYTES, Head, Hello, MAGIC, Message, Party, Purpose, Welcome};
pub use options::{Options, Ports};
pub use peer::PeerStatistics;
pub use proof::SharedSecret;
pub use questions::Unanswered;
pub use security::{OPEN_WARNING, Security, Tls, TlsError};
pub use snapshot::{Piece, PieceName, SnapshotSink, SnapshotSource};
pub use transport::{Batch, NotStarted, Transport};
pub use wire::Malformed;
