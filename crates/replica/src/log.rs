//! The port to the log beneath: what a replica asks of the journal, and what it may rely on.
//!
//! A log is a run of entries without a gap, from behind `base` to `last`. Each is one batch of the journal. Positions are the journal's
//! own, grow with the entries, and mean nothing outside it: between members an entry is named by term and index.

use crate::membership::Configuration;

/// A place in a journal, behind a record of it.
pub type Position = u64;

/// Names an entry in all logs of a cluster: two entries with the same id are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryId {
    /// Term of the leader that appended it.
    pub term: u64,
    /// Its place in the log. 0 before the first entry of an empty log.
    pub index: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A batch of records.
    Records,
    /// Nothing: the first entry of each leader.
    Empty,
    /// A change of members.
    Change,
}

/// What a log knows of an entry without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryMeta {
    /// Its name.
    pub id: EntryId,
    /// What it is.
    pub kind: EntryKind,
    /// Length of its records in the form in which they are sent.
    pub bytes: u32,
    /// Where it ends.
    pub position: Position,
}

/// A batch that a leader's journal has closed: it has its name, and is to be proposed under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Its name: the term that was given to `Log::lead`, and the next index.
    pub id: EntryId,
    /// Where it ends.
    pub position_after: Position,
    /// Length of its records in the form in which they are sent.
    pub bytes: u32,
}

/// A checkpoint: it stands for the log up to an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last entry in it.
    pub id: EntryId,
    /// The members at that entry.
    pub configuration: Configuration,
    /// By which its holder finds it. No two checkpoints of a cluster have the same: it is drawn at random.
    pub number: u64,
}

/// Why a log did not do what it was asked, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// A member's log.
///
/// What is written is synced later, in order, and `Input::Synced` says when; only what cuts (`truncate`, `install`) is finished, and all
/// that is left of the log is synced, when the call returns.
pub trait Log {
    /// The entry before the first one that is kept. It moves only up to what `commit_to` was told since the start.
    fn base(&self) -> EntryId;

    /// The last entry, closed batches included; `base` when there is none.
    fn last(&self) -> EntryId;

    /// What is known of an entry between `base` and `last`; nothing outside.
    fn entry(&self, index: u64) -> Option<EntryMeta>;

    /// The body of an entry of kind `Change`.
    fn change(&self, index: u64) -> Option<Vec<u8>>;

    /// How far the log is known to be committed, at a start: the largest of what its checkpoint and its batches say.
    fn committed(&self) -> u64;

    /// The newest checkpoint, at or behind `base`; for a log that was just founded the one that names the founders, for one that has
    /// nothing yet the default.
    fn checkpoint(&self) -> Checkpoint;

    /// Where the synced part ends.
    fn synced(&self) -> Position;

    /// Whether so many bytes of entries can be appended without filling the disk.
    fn has_room(&mut self, bytes: u64) -> bool;

    /// Appends the entry behind the last one. On a leader the next batch that closes takes the index behind it.
    ///
    /// # Errors
    ///
    /// The journal takes nothing more.
    fn append_entry(&mut self, id: EntryId, kind: EntryKind, records: &[u8]) -> Result<(), Refusal>;

    /// Takes away everything behind an entry of the log, for good and at once.
    ///
    /// # Errors
    ///
    /// The journal could not be opened again.
    fn truncate(&mut self, after: EntryId) -> Result<(), Refusal>;

    /// Puts a staged snapshot in the place of the whole log, for good and at once: afterwards `base` and `last` are its entry.
    ///
    /// # Errors
    ///
    /// The journal could not be opened again.
    fn install(&mut self, snapshot: &Checkpoint) -> Result<(), Refusal>;

    /// Everything up to this entry is committed and never taken back; what is synced of it may be announced. It is said before entries
    /// are appended, so that they carry it, and when something was synced.
    fn commit_to(&mut self, index: u64);

    /// From now on this member leads: records may be appended, and every batch that closes is an entry.
    fn lead(&mut self, term: u64, next_index: u64);

    /// This member leads no more: records in no closed batch are discarded. What was closed and is no entry is truncated by itself.
    fn follow(&mut self);

    /// Closes the batch that is being filled, when there is one, so that it comes before a change of members.
    fn close(&mut self);

    /// The oldest closed batch that was not taken yet.
    fn take_closed(&mut self) -> Option<Closed>;

    /// Entries before this one are in every member's log that can be waited for: what is older may go once a checkpoint stands for it.
    fn retain_from(&mut self, index: u64);
}
