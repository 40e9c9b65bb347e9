//! The records: public fields, and of the accessors those that the library calls.

use bytes::Bytes;

use crate::choices::{ConfChangeTransition, ConfChangeType, EntryType, MessageType};

/// Length of an entry's data when it is the handle of a batch: term and index (8 bytes each), length and checksum (4 each), all
/// little endian.
pub const HANDLE_BYTES: usize = 24;

/// What every entry counts against the limit of a message beside its batch. It is far more than an entry's header takes, so that a
/// message of small batches has a bounded number of them.
pub const ENTRY_OVERHEAD_BYTES: u32 = 1024;

/// Accessors of a field: `copied` returns it by value, `lent` by reference, `set`, `lent_mut` and `taken` say so.
macro_rules! access {
    ($(copied $get:ident $field:ident: $type:ty;)*) => {
        $(
            #[doc = concat!("The field `", stringify!($field), "`.")]
            pub fn $get(&self) -> $type {
                self.$field
            }
        )*
    };
    ($(lent $get:ident $field:ident: $type:ty;)*) => {
        $(
            #[doc = concat!("The field `", stringify!($field), "`.")]
            pub fn $get(&self) -> &$type {
                &self.$field
            }
        )*
    };
    ($(lent_mut $get:ident $field:ident: $type:ty;)*) => {
        $(
            #[doc = concat!("The field `", stringify!($field), "`, to be changed.")]
            pub fn $get(&mut self) -> &mut $type {
                &mut self.$field
            }
        )*
    };
    ($(set $set:ident $field:ident: $type:ty;)*) => {
        $(
            #[doc = concat!("Sets the field `", stringify!($field), "`.")]
            pub fn $set(&mut self, value: $type) {
                self.$field = value;
            }
        )*
    };
    ($(taken $take:ident $field:ident: $type:ty;)*) => {
        $(
            #[doc = concat!("Takes the field `", stringify!($field), "` and leaves its default.")]
            pub fn $take(&mut self) -> $type {
                std::mem::take(&mut self.$field)
            }
        )*
    };
}

/// An entry of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// What it is.
    pub entry_type: EntryType,
    /// Term of the leader that appended it.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
    /// The handle of a batch, an encoded change, or nothing.
    pub data: Bytes,
    /// Unused here; the library counts its length.
    pub context: Bytes,
}

impl Entry {
    access! { copied get_entry_type entry_type: EntryType; copied get_term term: u64; copied get_index index: u64; }
    access! { lent get_data data: Bytes; }
    access! { set set_entry_type entry_type: EntryType; }
    access! { taken take_data data: Bytes; }
}

/// What a snapshot stands for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotMetadata {
    /// The members at its index.
    pub conf_state: ConfState,
    /// Index of the last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
}

impl SnapshotMetadata {
    access! { lent get_conf_state conf_state: ConfState; }
    access! { set set_conf_state conf_state: ConfState; }
    access! { taken take_conf_state conf_state: ConfState; }
}

/// A snapshot: a name for it, never its bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The handle by which the holder of the log finds it.
    pub data: Bytes,
    /// What it stands for.
    pub metadata: SnapshotMetadata,
}

impl Snapshot {
    access! { lent get_metadata metadata: SnapshotMetadata; }
    access! { lent_mut mut_metadata metadata: SnapshotMetadata; }
    access! { taken take_metadata metadata: SnapshotMetadata; }

    /// Whether it is none: no entry has index 0.
    pub fn is_empty(&self) -> bool {
        self.metadata.index == 0
    }
}

/// What one member says to another, or a member to itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// What it is.
    pub msg_type: MessageType,
    /// Who gets it.
    pub to: u64,
    /// Who says it.
    pub from: u64,
    /// The sender's term; 0 for what is local.
    pub term: u64,
    /// Term of the entry at `index`, or of the one at `reject_hint`.
    pub log_term: u64,
    /// The entry before `entries`, or how far a log goes.
    pub index: u64,
    /// Entries to append.
    pub entries: Vec<Entry>,
    /// How far the sender knows the log to be committed.
    pub commit: u64,
    /// Term of the entry at `commit`.
    pub commit_term: u64,
    /// In place of entries.
    pub snapshot: Snapshot,
    /// Unused here: a follower that asks for a snapshot.
    pub request_snapshot: u64,
    /// Whether this answer is a refusal.
    pub reject: bool,
    /// Where a follower's log may match.
    pub reject_hint: u64,
    /// Tells rounds of confirmation, and campaigns after a hand-over.
    pub context: Bytes,
    /// Unused here: the same as `priority` in an older form.
    pub deprecated_priority: u64,
    /// Unused here: all candidates are equal.
    pub priority: i64,
}

impl Message {
    access! { copied get_msg_type msg_type: MessageType; copied get_index index: u64; }
    access! { lent get_snapshot snapshot: Snapshot; }
    access! { lent_mut mut_entries entries: Vec<Entry>; }
    access! { set set_msg_type msg_type: MessageType; set set_index index: u64; set set_commit commit: u64; }
    access! { set set_entries entries: Vec<Entry>; set set_snapshot snapshot: Snapshot; }
    access! { taken take_entries entries: Vec<Entry>; taken take_context context: Bytes; }
    access! { taken take_snapshot snapshot: Snapshot; }
}

/// What a member must not forget.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HardState {
    /// Its term.
    pub term: u64,
    /// For whom it voted in that term; 0 for nobody.
    pub vote: u64,
    /// How far it knows the log to be committed.
    pub commit: u64,
}

/// Who is a member, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfState {
    /// Voters.
    pub voters: Vec<u64>,
    /// Members without a vote.
    pub learners: Vec<u64>,
    /// While two configurations hold at once: the voters of the old one.
    pub voters_outgoing: Vec<u64>,
    /// Of those, who becomes a learner with the end of the old one.
    pub learners_next: Vec<u64>,
    /// Whether the library itself ends the old one.
    pub auto_leave: bool,
}

impl ConfState {
    access! {
        lent get_voters voters: Vec<u64>; lent get_learners learners: Vec<u64>;
        lent get_voters_outgoing voters_outgoing: Vec<u64>; lent get_learners_next learners_next: Vec<u64>;
    }
    access! {
        set set_voters voters: Vec<u64>; set set_learners learners: Vec<u64>;
        set set_voters_outgoing voters_outgoing: Vec<u64>; set set_learners_next learners_next: Vec<u64>;
    }
}

/// A change of one member in the old form: the library names the type, nothing makes one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfChange {
    /// What happens.
    pub change_type: ConfChangeType,
    /// To whom.
    pub node_id: u64,
    /// Whatever its proposer adds.
    pub context: Bytes,
}

/// One member of a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfChangeSingle {
    /// What happens.
    pub change_type: ConfChangeType,
    /// To whom.
    pub node_id: u64,
}

impl ConfChangeSingle {
    access! { copied get_change_type change_type: ConfChangeType; }
}

/// A change of members. The default value ends a joint configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfChangeV2 {
    /// How it goes through a joint configuration.
    pub transition: ConfChangeTransition,
    /// What happens to whom, in order.
    pub changes: Vec<ConfChangeSingle>,
    /// Whatever its proposer adds.
    pub context: Bytes,
}
