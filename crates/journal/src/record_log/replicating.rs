//! The log of a member of a cluster: which batches become entries, entries that come from whoever leads, and what is committed.

use super::entries::Filling;
use super::{Appended, Entries, RECORD_MARGIN_BYTES, RecordLog, needed_for};
use crate::batch::{BATCH_HEADER_BYTES, BATCH_PADDING_MAX};
use crate::directory::Detail;
use crate::entry::{Closed, EntryId, EntryKind, RECORD_BYTES_MIN};
use crate::entry_records;
use crate::error::Refusal;
use crate::limits::{BATCH_BYTES_MAX, SEGMENT_BYTES_CEILING};
use crate::names::LogId;
use crate::record;
use crate::segments::SegmentSet;

/// What is only there in the journal of a member.
const MEMBER: &str = "the journal is a member's of a cluster";

impl RecordLog {
    pub(crate) fn entries(&self) -> Option<&Entries> {
        self.entries.as_deref()
    }

    /// Closes the filling batch when it is of another sort than what comes next.
    #[cold]
    pub(super) fn fill_for(&mut self, is_copy: bool) {
        let entries = self.entries.as_ref().expect(MEMBER);
        let filling = entries.filling_for(is_copy);
        if filling != entries.filling() {
            self.close_batch();
            self.entries.as_mut().expect(MEMBER).fill(filling);
        }
    }

    /// From now on each batch of records becomes an entry of this term.
    pub(crate) fn lead(&mut self, term: u64) {
        self.close_batch();
        self.entries.as_mut().expect(MEMBER).lead(term);
    }

    /// Ends the filling batch, so that what is appended next lies in another.
    pub(crate) fn end_batch(&mut self) {
        self.close_batch();
    }

    pub(crate) fn take_closed(&mut self) -> Option<Closed> {
        self.entries.as_mut()?.take_closed()
    }

    /// Whether records were appended that would become an entry, or did, and that nobody has proposed.
    pub(crate) fn owes_proposals(&self) -> bool {
        let fills_entry = self.fill_count > 0
            && self
                .entries()
                .is_some_and(|entries| entries.filling() != Filling::Local);
        fills_entry || self.entries().is_some_and(Entries::owes_proposals)
    }

    /// Whether so many entries of so many bytes in all have room, one behind the other, whatever their records are, and leave the room that
    /// is kept for what those who replicate write themselves.
    pub(crate) fn entries_admission(&mut self, entries: u64, bytes: u64) -> Result<(), Refusal> {
        let needed = self.most_bytes(entries, bytes);
        if needed > SEGMENT_BYTES_CEILING / 2 {
            return Err(Refusal::TooLarge);
        }
        // In one piece: where one segment ends, what is left of it may be too little for the next entry.
        let (reserve, (_, largest)) = (self.reserve_of_entries(), self.room());
        if largest >= needed + reserve {
            return Ok(());
        }
        Err(self.refuse_room(needed + reserve, 0, largest))
    }

    /// What entries take at most, with everything that is added to them here.
    fn most_bytes(&self, entries: u64, bytes: u64) -> u64 {
        // Each has a record, and each record is so long at least; one that is larger than a batch is alone in its own.
        let in_batches = bytes.min(entries.saturating_mul(BATCH_BYTES_MAX as u64));
        let records = in_batches / RECORD_BYTES_MIN as u64 + entries;
        let added = records.saturating_mul(self.encryption_bytes() as u64);
        // What holds no records of the owner has one record around it.
        let heads = entries.saturating_mul((BATCH_HEADER_BYTES + RECORD_BYTES_MIN) as u64);
        let unpadded = bytes.saturating_add(added).saturating_add(heads);
        let padding = unpadded.min(entries.saturating_mul(BATCH_PADDING_MAX));
        unpadded
            .saturating_add(padding)
            .saturating_add(entries.saturating_mul(8))
            .saturating_add(RECORD_MARGIN_BYTES)
    }

    /// Whether a batch with so many bytes of records has room.
    pub(crate) fn batch_admission(&mut self, bytes: u64, kind: EntryKind) -> Result<(), Refusal> {
        let reserve = match kind {
            EntryKind::Records => self.reserve_of_entries(),
            EntryKind::Empty | EntryKind::Change => 0,
        };
        let needed = needed_for(bytes.saturating_add(BATCH_HEADER_BYTES as u64 + 8))?;
        self.admission_leaving(needed, reserve)
    }

    /// Begins an entry that comes from whoever leads, or that whoever replicates made: so many records of so many bytes, as members send
    /// them.
    pub(crate) fn begin_entry(
        &mut self,
        term: u64,
        kind: EntryKind,
        (records, bytes): (usize, usize),
        segments: &mut SegmentSet,
    ) -> Result<(), Refusal> {
        let length = bytes + records * self.encryption_bytes();
        self.batch_admission(length as u64, kind)?;
        self.close_batch();
        self.entries.as_mut().expect(MEMBER).fill(Filling::Entry {
            term,
            kind,
            is_own: false,
        });
        let needed = (BATCH_HEADER_BYTES + length + 8) as u64;
        if u64::from(self.open.cursor) + needed > self.open.capacity {
            self.rotate(needed, false, segments);
        }
        Ok(())
    }

    /// Appends a record of it, that was checked, as members send it; when it is a message, which one.
    pub(crate) fn append_to_entry(&mut self, bytes: &[u8], message: Option<(LogId, u64, i64)>) -> Appended {
        let offset = self.open.cursor + self.fill.len() as u32;
        let form = self.open.form();
        let size = entry_records::write(&mut self.fill, form, bytes);
        let ordinal = message.map_or(0, |(log, sequence, timestamp)| {
            self.tail
                .push(Detail::new(log, sequence, timestamp, offset, size, false))
        });
        let position = self.appended_record(size);
        Appended {
            position,
            ordinal,
            size,
        }
    }

    /// Appends the only record of an entry without any of the owner's.
    pub(crate) fn append_alone(&mut self, code: u8, body: &[u8]) {
        let form = self.open.form();
        let size = record::write_entry(&mut self.fill, form, code, body);
        self.appended_record(size);
    }

    /// All of the entry was appended. The next batch is a local one until somebody says otherwise.
    pub(crate) fn end_entry(&mut self) {
        self.close_batch();
        self.entries.as_mut().expect(MEMBER).fill(Filling::Local);
    }

    /// Another leads from now on.
    pub(crate) fn follow(&mut self) {
        self.entries.as_mut().expect(MEMBER).follow();
    }

    /// Entries up to this index are committed.
    pub(crate) fn commit_to(&mut self, index: u64) {
        if self.stopped {
            return;
        }
        self.entries.as_mut().expect(MEMBER).commit_to(index);
        self.count_committed();
    }

    /// What is both synced and committed is durable.
    pub(super) fn count_committed(&mut self) {
        let Some(entries) = &mut self.entries else { return };
        while let Some(batch) = entries.next_committed() {
            self.batches.make_durable(batch.end, batch.record_bytes);
        }
    }

    /// The log begins behind an entry.
    pub(crate) fn begin_behind(&mut self, base: EntryId) {
        self.entries.as_mut().expect(MEMBER).begin_behind(base);
    }

    /// Segments up to this number go, and with them their entries.
    pub(crate) fn forget_entries(&mut self, segment: u64) {
        if let Some(entries) = &mut self.entries {
            entries.forget_through(segment);
        }
    }

    /// An entry as other members get it, when its batch is in memory.
    pub(crate) fn cached_entry(&self, (segment, offset): (u64, u32), bytes: u32) -> Option<Vec<u8>> {
        let records = self.cache.get(segment, offset)?.get(BATCH_HEADER_BYTES..)?;
        entry_records::for_members(records, bytes as usize)
    }
}
