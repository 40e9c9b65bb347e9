//! The port to the log beneath: what a replica asks of the journal, and what it may rely on.
//!
//! A log is a run of entries without a gap, from behind `base` to `last`. Each is one batch of the journal. Positions are the journal's
//! own, grow with the entries, and mean nothing outside it: between members an entry is named by term and index.

use crate::membership::Configuration;

pub use seaway_journal::{Closed, EntryId, EntryKind, EntryMeta, Position, Refusal};

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

/// What room is asked for. Whatever a log adds to an entry (heads, padding, seals) it counts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// For entries of whoever leads. Room for own ones stays beside them.
    Received {
        /// How many.
        entries: u64,
        /// Bytes of their bodies, in all.
        bytes: u64,
    },
    /// For an entry that this member makes itself and that holds no records, in what the others leave (`Journal::has_room_for_own`).
    Own {
        /// Bytes of its body.
        bytes: u64,
    },
    /// For what publishers send, who may be refused. Room for what is appended to take something away (trims, acknowledgements) stays beside
    /// it: a full cluster could not be drained otherwise.
    Ordinary,
}

/// A member's log.
///
/// What is written is synced later, in order, and `Input::Synced` says when; only what cuts (`truncate`, `install`) is finished, and all
/// that is left of the log is synced, when the call returns.
///
/// A refusal that may pass (`Refusal::may_pass`: there is no room now) has changed nothing, the log is there as before, and the call is made
/// again later, before anything else is asked of the log than what it has. Any other ends the replica.
pub trait Log {
    /// The entry before the first one that is kept. It moves only up to what `commit_to` was told since the start.
    fn base(&self) -> EntryId;

    /// The last entry, closed batches included; `base` when there is none.
    fn last(&self) -> EntryId;

    /// What is known of an entry between `base` and `last`; nothing outside.
    fn entry(&self, index: u64) -> Option<EntryMeta>;

    /// How far the log is known to be committed, at a start: the largest of what its checkpoint and its batches say.
    fn committed(&self) -> u64;

    /// The newest checkpoint, at or behind `base`; for a log that was just founded the one that names the founders, for one that has
    /// nothing yet the default.
    fn checkpoint(&self) -> Checkpoint;

    /// Where the synced part ends.
    fn synced(&self) -> Position;

    /// Whether there is this room. A yes holds until something is appended.
    fn has_room(&mut self, room: Room) -> bool;

    /// Appends the entry behind the last one. On a leader the next batch that closes takes the index behind it.
    ///
    /// # Errors
    ///
    /// There is no room, it is no entry that this journal can take, or the journal takes nothing more.
    fn append_entry(&mut self, id: EntryId, kind: EntryKind, records: &[u8]) -> Result<(), Refusal>;

    /// Takes away everything behind an entry of the log, for good and at once.
    ///
    /// # Errors
    ///
    /// There is no room for what that needs, or the journal could not be opened again.
    fn truncate(&mut self, after: EntryId) -> Result<(), Refusal>;

    /// Puts a staged snapshot in the place of the whole log, for good and at once: afterwards `base` and `last` are its entry.
    ///
    /// # Errors
    ///
    /// There is no room for what that needs, or the journal could not be opened again.
    fn install(&mut self, snapshot: &Checkpoint) -> Result<(), Refusal>;

    /// Everything up to this entry is committed and never taken back; what is synced of it may be announced. It is said before entries
    /// are appended, so that they carry it, and when something was synced.
    fn commit_to(&mut self, index: u64);

    /// From now on this member leads: records may be appended, and every batch that closes is an entry.
    fn lead(&mut self, term: u64, next_index: u64);

    /// This member leads no more. What it closed and nobody proposed is truncated next, by `truncate`. Records that are in no closed batch
    /// must go with that: a log that cannot drop them by itself closes them now, so that `last` tells of them.
    fn follow(&mut self);

    /// Closes the batch that is being filled, when there is one, so that it comes before a change of members.
    fn close(&mut self);

    /// The oldest closed batch that was not taken yet.
    fn take_closed(&mut self) -> Option<Closed>;

    /// Entries before this one are in every member's log that can be waited for: what is older may go once a checkpoint stands for it.
    fn retain_from(&mut self, index: u64);
}
