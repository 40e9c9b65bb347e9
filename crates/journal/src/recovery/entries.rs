//! The entries of a member of a cluster, as a start finds them (docs/journal-format.md §14): those of the tail while it is read. Decides what is
//! committed, where entries are cut off, and whether older ones go on with them.

use crate::batch::{BatchHeader, EntryMark};
use crate::entry::{EntryId, EntryMeta};
use crate::entry_records::Held;
use crate::error::OpenError;
use crate::format::Cut;
use crate::record::ENCRYPTION_BYTES;
use crate::record_log::{Entries, Row, Table, Waiting, pop_committed};
use std::collections::VecDeque;

/// What is known so far.
pub(super) struct EntriesRead {
    cut_after: Option<EntryId>,
    table: Table,
    /// The term of the entry before the first is not known.
    is_base_unknown: bool,
    /// The highest index that something says is committed.
    commit: u64,
    waiting: VecDeque<Waiting>,
    /// What is committed ends here.
    committed: Cut,
    /// Where the first batch begins that is to be cut off.
    cut: Option<Cut>,
    /// What the checkpoint says of members does not hold any more.
    pub(super) stood_alone: bool,
}

impl EntriesRead {
    /// Of a tail that begins behind an entry, at a place before which everything is committed.
    pub(super) fn new(base: EntryId, begin: Cut, cut_after: Option<EntryId>) -> EntriesRead {
        EntriesRead {
            cut_after,
            table: Table::behind(base),
            is_base_unknown: false,
            commit: base.index,
            waiting: VecDeque::new(),
            committed: begin,
            cut: None,
            stood_alone: false,
        }
    }

    /// Whether a batch lies behind the last entry that is to stay; `at` is where it begins. What it says of commits is true all the same.
    pub(super) fn is_cut_off(&mut self, mark: &EntryMark, at: Cut) -> bool {
        let is_behind = self.cut_after.is_some_and(|last| mark.id.index > last.index);
        if is_behind && self.cut.is_none() {
            self.cut = Some(at);
        }
        if self.cut.is_some() {
            self.note_commit(mark);
        }
        self.cut.is_some()
    }

    /// Whether there is no entry, and never was one.
    pub(super) fn is_empty(&self) -> bool {
        self.table.last() == EntryId::default()
    }

    /// Where the first batch begins that is to be cut off.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut
    }

    fn note_commit(&mut self, mark: &EntryMark) {
        self.commit = self.commit.max(mark.committed().unwrap_or(0));
    }

    /// A batch of the tail, that ends at `end`.
    pub(super) fn take(
        &mut self,
        header: &BatchHeader,
        records: &[u8],
        is_encrypted: bool,
        end: Cut,
    ) -> Result<(), String> {
        let (id, held) = (header.entry.id, Held::of(header, records)?);
        let added = if is_encrypted { ENCRYPTION_BYTES } else { 0 };
        let bytes = (records.len() - header.count as usize * added) as u32;
        if id.index == 0 {
            if !held.is_of_copies {
                self.stood_alone();
            }
        } else {
            self.take_entry(header, &held, bytes, end)?;
        }
        self.waiting.push_back(Waiting {
            index: id.index,
            end,
            record_bytes: u64::from(bytes),
        });
        self.settle();
        Ok(())
    }

    fn take_entry(&mut self, header: &BatchHeader, held: &Held, bytes: u32, end: Cut) -> Result<(), String> {
        let (id, last) = (header.entry.id, self.table.last());
        if last == EntryId::default() && id.index > 1 {
            let (term, index) = (0, id.index - 1);
            self.table = Table::behind(EntryId { term, index });
            self.is_base_unknown = true;
        } else if id.index != last.index + 1 || id.term < last.term {
            return Err(format!(
                "entry {} of term {} follows entry {} of term {}",
                id.index, id.term, last.index, last.term
            ));
        }
        let meta = EntryMeta {
            id,
            kind: held.kind,
            bytes: held.kind.bytes(bytes as usize) as u32,
            position: end.position,
        };
        let offset = end.offset as u32 - header.length;
        self.table.push(Row::new(&meta, end.segment, offset));
        self.note_commit(&header.entry);
        Ok(())
    }

    /// What was appended was no entry: no entry before it counts as one any more.
    fn stood_alone(&mut self) {
        self.table = Table::default();
        self.stood_alone = true;
        self.is_base_unknown = false;
        self.commit = 0;
        for batch in &mut self.waiting {
            batch.index = 0;
        }
    }

    fn settle(&mut self) {
        let commit = self.commit;
        while let Some(batch) = pop_committed(&mut self.waiting, commit) {
            self.committed = batch.end;
        }
    }

    /// The whole tail was read: is what is known of it possible, and may be cut off what is to be?
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let (commit, last) = (self.commit, self.table.last());
        let Some(EntryId { term, index }) = self.cut_after else {
            if commit <= last.index {
                return Ok(());
            }
            let reason = format!(
                "entry {commit} was committed, and the last one there is is entry {}",
                last.index
            );
            return Err(OpenError::Damaged {
                file: "the journal".to_owned(),
                offset: 0,
                reason,
            });
        };
        let known = self.table.get(index).map(|meta| meta.id);
        let known = known.or((self.table.base().index == index && !self.is_base_unknown).then(|| self.table.base()));
        let reason = match known {
            _ if commit > index => format!("entry {commit} is committed"),
            None => format!("it is not there; the last one is entry {}", last.index),
            Some(known) if known.term != term => format!("entry {index} is of term {}", known.term),
            Some(_) => return Ok(()),
        };
        Err(OpenError::Cut { term, index, reason })
    }

    /// The entry before the first, of which the term may not be known; `None` when there is none.
    pub(super) fn base(&self) -> Option<EntryId> {
        Some(self.table.base()).filter(|base| *base != EntryId::default())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Takes entries in that lie before the first, when they go on with it. Whether they do.
    pub(super) fn take_before(&mut self, entries: Vec<(EntryId, Row)>) -> bool {
        let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else {
            return true;
        };
        let base = self.table.base();
        let goes_on = match self.is_base_unknown {
            true => last.index == base.index,
            false => *last == base,
        };
        let is_dense = last.index - first.index + 1 == entries.len() as u64;
        if !goes_on || !is_dense {
            return false;
        }
        let before = EntryId {
            term: 0,
            index: first.index - 1,
        };
        self.is_base_unknown = before.index > 0;
        let rows = entries.into_iter().map(|(_, row)| row).collect();
        self.table.push_before(before, rows);
        true
    }

    /// What a journal goes on with, and where what is committed ends.
    pub(super) fn finish(mut self) -> (Entries, Cut) {
        self.settle();
        if self.is_base_unknown {
            self.table.drop_first();
        }
        (Entries::new(self.table, self.commit, self.waiting), self.committed)
    }
}
