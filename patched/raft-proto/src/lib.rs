//! The messages and records of the `raft` crate as plain structs: what it calls, and nothing that encodes for a wire. `Message` and
//! `Entry` travel in the frames of `seaway-replica`; a change of members is the body of an entry and is encoded here (`encoding`).

mod choices;
mod encoding;
mod membership;
mod records;

/// The names under which the library looks for its records.
pub mod eraftpb {
    pub use crate::choices::{ConfChangeTransition, ConfChangeType, EntryType, MessageType};
    pub use crate::encoding::{CHANGE_CONTEXT_BYTES_MAX, CHANGES_MAX};
    pub use crate::records::{
        ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, ENTRY_OVERHEAD_BYTES, Entry, HANDLE_BYTES, HardState,
        Message, Snapshot, SnapshotMetadata,
    };
}

/// Everything of `eraftpb`, to be imported at once.
pub mod prelude {
    pub use crate::eraftpb::*;
}

pub use membership::{ConfChangeI, conf_state_eq, new_conf_change_single};
