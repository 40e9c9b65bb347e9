//! The log of a member of a cluster: which batches become entries, entries that come from whoever leads, and what is committed.

use super::entries::Filling;
use super::{Appended, Entries, RecordLog};
use crate::batch::BATCH_HEADER_BYTES;
use crate::directory::Detail;
use crate::entry::{Closed, EntryId, EntryKind, RECORD_BYTES_MIN};
use crate::entry_records;
use crate::error::Refusal;
use crate::limits::{BATCH_BYTES_MAX, SEGMENT_BYTES_CEILING};
use crate::names::{LogId, Need};
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

    /// Whether an entry of so many bytes has room whatever its records are.
    pub(crate) fn entry_admission(&mut self, bytes: u64) -> Result<(), Refusal> {
        let added = self.encryption_bytes() as u64;
        // A larger one is a single record.
        let records = bytes.min(BATCH_BYTES_MAX as u64) / RECORD_BYTES_MIN as u64 + 1;
        self.batch_admission(bytes.saturating_add(records * added))
    }

    /// Whether a batch with so many bytes of records has room.
    fn batch_admission(&mut self, bytes: u64) -> Result<(), Refusal> {
        let needed = bytes.saturating_add(BATCH_HEADER_BYTES as u64 + 8);
        if needed > SEGMENT_BYTES_CEILING / 2 {
            return Err(Refusal::TooLarge);
        }
        self.admission(needed, Need::Essential)
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
        self.batch_admission(length as u64)?;
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
