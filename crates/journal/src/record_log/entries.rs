//! The entries in the journal of a member of a cluster (docs/journal-format.md §14): which there are and where, which batch becomes
//! the next one, and how far everything is committed. 32 bytes of memory an entry.

use crate::batch::EntryMark;
use crate::entry::{Closed, EntryId, EntryKind, EntryMeta};
use crate::entry_records;
use crate::format::Cut;
use crate::limits::ENTRIES_MAX;
use crate::names::Position;
use std::collections::VecDeque;

/// Where an entry is. Its index is its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    term: u64,
    position: Position,
    segment: u64,
    /// Where its batch begins, a multiple of 8, and what it holds in the bits below that.
    offset_and_kind: u32,
    bytes: u32,
}

const _: () = assert!(std::mem::size_of::<Row>() == 32);

impl Row {
    /// Of the entry whose batch begins at an offset of a segment.
    pub(crate) fn new(meta: &EntryMeta, segment: u64, offset: u32) -> Row {
        debug_assert!(offset.is_multiple_of(8), "batches begin at multiples of 8");
        Row {
            term: meta.id.term,
            position: meta.position,
            segment,
            offset_and_kind: offset | u32::from(meta.kind.code().unwrap_or(0)),
            bytes: meta.bytes,
        }
    }

    fn meta(&self, index: u64) -> EntryMeta {
        EntryMeta {
            id: EntryId { term: self.term, index },
            kind: EntryKind::of_code((self.offset_and_kind & 7) as u8).unwrap_or(EntryKind::Records),
            bytes: self.bytes,
            position: self.position,
        }
    }

    fn offset(&self) -> u32 {
        self.offset_and_kind & !7
    }
}

/// A batch that is not committed, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Of the entry; 0 of a local batch.
    pub(crate) index: u64,
    /// Where it ends.
    pub(crate) end: Cut,
    /// Bytes of its records.
    pub(crate) record_bytes: u64,
}

/// The next of these batches, when it is committed with the entries up to an index.
pub(crate) fn pop_committed(waiting: &mut VecDeque<Waiting>, commit: u64) -> Option<Waiting> {
    let is_committed = waiting.front().is_some_and(|batch| batch.index <= commit);
    if is_committed { waiting.pop_front() } else { None }
}

/// Entries that follow on each other, and the name of the one before them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Table {
    base: EntryId,
    rows: VecDeque<Row>,
}

impl Table {
    /// Without entries, behind one.
    pub(crate) fn behind(base: EntryId) -> Table {
        Table {
            base,
            rows: VecDeque::new(),
        }
    }

    /// The one before the first.
    pub(crate) fn base(&self) -> EntryId {
        self.base
    }

    pub(crate) fn last(&self) -> EntryId {
        let index = self.base.index + self.rows.len() as u64;
        let term = self.rows.back().map_or(self.base.term, |row| row.term);
        EntryId { term, index }
    }

    /// Adds the one after the last.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push_back(row);
    }

    /// Adds those before the first, whose own predecessor is `base`, oldest first.
    pub(crate) fn push_before(&mut self, base: EntryId, rows: Vec<Row>) {
        debug_assert_eq!(
            base.index + rows.len() as u64,
            self.base.index,
            "they end where it begins"
        );
        for row in rows.into_iter().rev() {
            self.rows.push_front(row);
        }
        self.base = base;
    }

    fn row(&self, index: u64) -> Option<&Row> {
        let at = index.checked_sub(self.base.index + 1)?;
        self.rows.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn get(&self, index: u64) -> Option<EntryMeta> {
        self.row(index).map(|row| row.meta(index))
    }

    /// Segment and offset of an entry's batch.
    pub(crate) fn place(&self, index: u64) -> Option<(u64, u32)> {
        self.row(index).map(|row| (row.segment, row.offset()))
    }

    /// The oldest is not given out any more.
    pub(crate) fn drop_first(&mut self) {
        if let Some(row) = self.rows.pop_front() {
            self.base = row.meta(self.base.index + 1).id;
        }
    }

    /// Nor are those up to the last one in a segment.
    fn drop_through(&mut self, segment: u64) {
        while self.rows.front().is_some_and(|row| row.segment <= segment) {
            self.drop_first();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// What the batch that fills will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// The next entry.
    Entry {
        term: u64,
        kind: EntryKind,
        /// It is made here and has to be proposed; otherwise whoever replicates knows it already.
        is_own: bool,
    },
    /// Copies.
    Local,
}

/// What is said of a batch that is being closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing {
    pub(crate) mark: EntryMark,
    filling: Filling,
    /// Bytes of its records for other members, and their checksum when it is proposed.
    bytes: u32,
    crc: u32,
}

/// See the module.
pub(crate) struct Entries {
    table: Table,
    /// The term in which each batch that is closed becomes the next entry; none of a follower.
    leading: Option<u64>,
    /// The highest index that is known to be committed.
    commit: u64,
    filling: Filling,
    /// What has to be proposed.
    closed: VecDeque<Closed>,
    /// Batches that are synced, from the first on that is not committed.
    waiting: VecDeque<Waiting>,
}

impl Entries {
    pub(crate) fn new(table: Table, commit: u64, waiting: VecDeque<Waiting>) -> Entries {
        Entries {
            table,
            leading: None,
            commit,
            filling: Filling::Local,
            closed: VecDeque::new(),
            waiting,
        }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn commit(&self) -> u64 {
        self.commit
    }

    pub(crate) fn leading(&self) -> Option<u64> {
        self.leading
    }

    /// From now on each batch of the owner's records becomes an entry of this term.
    pub(crate) fn lead(&mut self, term: u64) {
        self.leading = Some(term);
    }

    /// Another leads: its entries come.
    pub(crate) fn follow(&mut self) {
        self.leading = None;
    }

    /// What the batch that fills becomes, when a copy or a record of the owner goes into it.
    ///
    /// # Panics
    /// When it is a record of the owner, and this member does not lead: nobody else would have it.
    pub(crate) fn filling_for(&self, is_copy: bool) -> Filling {
        match self.leading {
            _ if is_copy => Filling::Local,
            Some(term) => Filling::Entry {
                term,
                kind: EntryKind::Records,
                is_own: true,
            },
            None => panic!("a record was appended to the journal of a member that does not lead"),
        }
    }

    pub(crate) fn filling(&self) -> Filling {
        self.filling
    }

    pub(crate) fn fill(&mut self, filling: Filling) {
        self.filling = filling;
    }

    /// What the header says of the batch that fills. `records` are its records in memory, `bytes` how many that are for other members.
    pub(crate) fn closing(&self, records: &[u8], bytes: usize) -> Closing {
        let (mark, is_own, bytes) = match self.filling {
            Filling::Local => (EntryMark::default(), false, 0),
            Filling::Entry { term, kind, is_own } => (self.mark_next(term), is_own, kind.bytes(bytes)),
        };
        let crc = is_own.then(|| entry_records::checksum(records, bytes).expect("the records were written here"));
        Closing {
            mark,
            filling: self.filling,
            bytes: bytes as u32,
            crc: crc.unwrap_or(0),
        }
    }

    fn mark_next(&self, term: u64) -> EntryMark {
        let index = self.table.last().index + 1;
        let behind = index - self.commit.min(index);
        EntryMark {
            id: EntryId { term, index },
            behind: u32::try_from(behind).unwrap_or(u32::MAX),
        }
    }

    /// The batch was closed. It begins at an offset of a segment, and ends with the record at `position`.
    pub(crate) fn close(&mut self, closing: &Closing, (segment, offset): (u64, u32), position: Position) {
        let Filling::Entry { kind, is_own, .. } = closing.filling else {
            return;
        };
        let (id, bytes) = (closing.mark.id, closing.bytes);
        let meta = EntryMeta {
            id,
            kind,
            bytes,
            position,
        };
        self.table.push(Row::new(&meta, segment, offset));
        // What is not committed stays whatever it takes: it is bounded by what may be appended and not durable.
        while self.table.len() > ENTRIES_MAX && self.table.base().index < self.commit {
            self.table.drop_first();
        }
        if is_own {
            self.closed.push_back(Closed {
                id,
                position_after: position,
                bytes,
                crc: closing.crc,
            });
        }
    }

    pub(crate) fn take_closed(&mut self) -> Option<Closed> {
        self.closed.pop_front()
    }

    /// Whether a batch was closed that nobody has proposed.
    pub(crate) fn owes_proposals(&self) -> bool {
        !self.closed.is_empty()
    }

    /// A batch is synced.
    pub(crate) fn synced(&mut self, batch: Waiting) {
        self.waiting.push_back(batch);
    }

    /// Entries up to this index, which is one of them, are committed.
    pub(crate) fn commit_to(&mut self, index: u64) {
        debug_assert!(index <= self.table.last().index, "nobody commits what is not there");
        self.commit = self.commit.max(index);
    }

    /// The next batch that is both synced and committed: a local one is when every entry before it is.
    pub(crate) fn next_committed(&mut self) -> Option<Waiting> {
        let commit = self.commit;
        pop_committed(&mut self.waiting, commit)
    }

    /// Bytes of records in batches that are synced and not committed.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting.iter().map(|batch| batch.record_bytes).sum()
    }

    /// The segments up to this number are on their way out.
    pub(crate) fn forget_through(&mut self, segment: u64) {
        self.table.drop_through(segment);
    }

    /// The log begins behind an entry that is in no segment.
    pub(crate) fn begin_behind(&mut self, base: EntryId) {
        self.table = Table::behind(base);
        self.commit = self.commit.max(base.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(term: u64, segment: u64, offset: u32, kind: EntryKind) -> Row {
        let meta = EntryMeta {
            id: EntryId { term, index: 1 },
            kind,
            bytes: 100,
            position: 7,
        };
        Row::new(&meta, segment, offset)
    }

    #[test]
    fn the_table_knows_where_each_entry_is_and_the_term_of_the_one_before_the_first() {
        let mut table = Table::behind(EntryId { term: 2, index: 4 });
        for (term, segment, offset, kind) in [
            (2, 7, 4_096, EntryKind::Records),
            (3, 7, 8_192, EntryKind::Empty),
            (3, 8, 4_096, EntryKind::Change),
        ] {
            table.push(row(term, segment, offset, kind));
        }
        let id = |term, index| EntryId { term, index };
        assert_eq!((table.base(), table.last()), (id(2, 4), id(3, 7)));
        assert_eq!(table.get(4), None);
        assert_eq!(
            table.get(6).map(|meta| (meta.id, meta.kind)),
            Some((id(3, 6), EntryKind::Empty))
        );
        assert_eq!(table.get(7).map(|meta| meta.kind), Some(EntryKind::Change));
        assert_eq!((table.place(6), table.place(8)), (Some((7, 8_192)), None));
        table.push_before(id(1, 3), vec![row(2, 5, 4_096, EntryKind::Records)]);
        assert_eq!(table.get(4).map(|meta| meta.id), Some(id(2, 4)));
        table.drop_through(7);
        assert_eq!((table.base(), table.last(), table.len()), (id(3, 6), id(3, 7), 1));
        table.drop_through(9);
        assert_eq!((table.base(), table.last(), table.len()), (id(3, 7), id(3, 7), 0));
    }

    /// docs/journal-format.md §14: a local batch is committed when every entry before it in the file is.
    #[test]
    fn local_batches_are_committed_with_what_is_before_them() {
        let mut entries = Entries::new(Table::default(), 0, VecDeque::new());
        for index in [0, 1, 0, 2, 3, 0] {
            if index > 0 {
                entries.table.push(row(1, 1, 4_096, EntryKind::Records));
            }
            entries.synced(Waiting {
                index,
                end: Cut::default(),
                record_bytes: index,
            });
        }
        let mut committed = |to| {
            entries.commit_to(to);
            std::iter::from_fn(|| entries.next_committed().map(|batch| batch.index)).collect::<Vec<u64>>()
        };
        assert_eq!(committed(0), [0]);
        assert_eq!(committed(1), [1, 0]);
        assert_eq!(committed(1), []);
        assert_eq!(committed(3), [2, 3, 0]);
        assert_eq!(entries.commit(), 3);
    }
}
