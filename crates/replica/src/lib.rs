//! A member of a replicated cluster: decides what is appended, what is sent and what is believed, and never does any of it.
//!
//! [`Replica`] is a function of its inputs. It has no thread, clock, socket or file; what it needs of the journal is the port [`Log`], and
//! what it does to the rest of the world the port [`Outside`]. Entries of the log are batches of the journal and never pass through here:
//! only their names and lengths do. What an entry and a vote are the journal says (`seaway_journal`); its words for them are given out again
//! here, and nothing else of it is used. The consensus itself is that of the `raft` crate; no word of it leaves this crate.

pub mod limits;

mod frame;
mod identity;
mod log;
mod membership;
mod outside;
#[cfg(feature = "simulated")]
pub mod planted;
#[cfg(not(feature = "simulated"))]
mod planted;
mod random;
mod replica;
mod table;

pub use frame::{
    BodyAt, Class, FRAME_ENTRY_BYTES, FRAME_HEAD_BYTES, FRAME_VERSION, Frame, FrameError, Health, Outgoing, checksum,
};
pub use identity::{Identity, NodeId, founding_id};
pub use log::{Checkpoint, Closed, EntryId, EntryKind, EntryMeta, Log, Position, Refusal, Room};
pub use membership::{Configuration, MemberChange, NotChanged};
pub use outside::{Confirmation, Input, Outside, Role, Stop, Unsent, Vote};
pub use replica::{MemberStatus, NotConfirmed, NotStarted, Options, Replica, Status};
