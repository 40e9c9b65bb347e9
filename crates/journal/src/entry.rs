//! Entries (docs/journal-format.md §14): the batches on which the members of a cluster agree, as those see them who replicate.

use crate::messages::Ticket;
use crate::names::Position;

/// A record of an entry without any of the owner's, but for its body.
pub(crate) const RECORD_BYTES_MIN: usize = 13;

/// Names an entry, the same at every member. Index 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct EntryId {
    /// In which it was proposed.
    pub term: u64,
    /// Its place among all entries, from 1.
    pub index: u64,
}

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Records of the owner.
    Records,
    /// Nothing: who begins to lead writes it.
    Empty,
    /// A change of the members, for those who replicate.
    Change,
}

impl EntryKind {
    /// Of the record that is alone in its batch (docs/journal-format.md §6); none of an entry with records.
    pub(crate) fn code(self) -> Option<u8> {
        match self {
            EntryKind::Records => None,
            EntryKind::Empty => Some(1),
            EntryKind::Change => Some(2),
        }
    }

    /// How many bytes of a batch's records other members get: of a record that is alone only its body.
    pub(crate) fn bytes(self, of_records: usize) -> usize {
        match self {
            EntryKind::Records => of_records,
            EntryKind::Empty | EntryKind::Change => of_records.saturating_sub(RECORD_BYTES_MIN),
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<EntryKind> {
        match code {
            1 => Some(EntryKind::Empty),
            2 => Some(EntryKind::Change),
            _ => None,
        }
    }
}

/// What is known of an entry in the journal without looking at the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryMeta {
    /// Its name.
    pub id: EntryId,
    /// What it holds.
    pub kind: EntryKind,
    /// How many bytes [`Entry::bytes`] will have.
    pub bytes: u32,
    /// Position of its last record: the entry is on this member's disk once [`Journal::synced`](crate::Journal::synced) reaches it.
    pub position: Position,
}

/// A batch that was closed while leading: it is an entry from now on, and has to be proposed under this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Its name.
    pub id: EntryId,
    /// Position of its last record.
    pub position_after: Position,
    /// How many bytes [`Entry::bytes`] will have.
    pub bytes: u32,
    /// Their CRC-32C, from seed 0. Whoever seeds it otherwise combines the two (`crc32c::crc32c_combine`).
    pub crc: u32,
}

/// An entry, as it goes from member to member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// What it holds.
    pub kind: EntryKind,
    /// Its records, plain, without checksums; or the body of a change.
    pub bytes: Vec<u8>,
}

/// The answer to [`Journal::read_entry`](crate::Journal::read_entry).
pub type EntryAnswer = (Ticket, Result<Entry, EntryError>);

/// Why an entry is not given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The log begins behind it.
    #[error("entry {0} is not kept any more")]
    Purged(u64),
    /// The log ends before it.
    #[error("there is no entry {0} yet")]
    Unknown(u64),
    /// It cannot be read.
    #[error("entry {index} cannot be read: {reason}")]
    Unreadable {
        /// Its index.
        index: u64,
        /// Asking again soon gives the same answer; otherwise it may pass.
        damaged: bool,
        /// File, place and reason in words.
        reason: String,
    },
}

/// Who the members of the cluster are, as those who replicate wrote it down, and as of which entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// Everything up to this entry is in the checkpoint that says it.
    pub id: EntryId,
    /// What they wrote; at most [`MEMBERS_BYTES_MAX`](crate::limits::MEMBERS_BYTES_MAX) bytes.
    pub body: Vec<u8>,
}

/// When a record counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once it is on this disk: the journal stands alone.
    #[default]
    Local,
    /// Once those who replicate say that a quorum has its entry: the journal is a member's of a cluster. Every commit is synced.
    Quorum,
}
