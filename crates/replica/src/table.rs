//! What a replica keeps of the log in memory: term, kind and length of each entry, and the few bodies of changes. It is what the library
//! reads, and never touches a disk.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};
use raft_proto::eraftpb::{Entry, EntryType, HardState, Snapshot};

use crate::identity::NodeId;
use crate::limits;
use crate::log::{Checkpoint, EntryId, EntryKind, EntryMeta, Log};

/// The data of an entry that names a batch.
pub(crate) fn handle(id: EntryId, bytes: u32) -> Bytes {
    let mut data = [0; raft_proto::eraftpb::HANDLE_BYTES];
    data[..8].copy_from_slice(&id.term.to_le_bytes());
    data[8..16].copy_from_slice(&id.index.to_le_bytes());
    data[16..20].copy_from_slice(&bytes.to_le_bytes());
    Bytes::copy_from_slice(&data)
}

/// Marks a change of members whose data is no body but a handle.
const IN_THE_LOG: Bytes = Bytes::from_static(b"log");

/// Whether the body of the library's entry is in the log alone.
pub(crate) fn is_handle(entry: &Entry) -> bool {
    match entry.entry_type {
        EntryType::EntryNormal => !entry.data.is_empty(),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => entry.context == IN_THE_LOG,
    }
}

/// What the library's entry is in our words: its kind and the length of its body.
pub(crate) fn kind_and_bytes(entry: &Entry) -> (EntryKind, u32) {
    match (entry.entry_type, entry.data.get(16..20)) {
        (EntryType::EntryNormal, Some(&[a, b, c, d])) => (EntryKind::Records, u32::from_le_bytes([a, b, c, d])),
        (EntryType::EntryNormal, _) => (EntryKind::Empty, 0),
        (EntryType::EntryConfChange | EntryType::EntryConfChangeV2, Some(&[a, b, c, d])) if is_handle(entry) => {
            (EntryKind::Change, u32::from_le_bytes([a, b, c, d]))
        }
        (EntryType::EntryConfChange | EntryType::EntryConfChangeV2, _) => {
            (EntryKind::Change, u32::try_from(entry.data.len()).unwrap_or(u32::MAX))
        }
    }
}

/// The name of the library's entry.
pub(crate) fn id_of(entry: &Entry) -> EntryId {
    EntryId {
        term: entry.term,
        index: entry.index,
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    term: u64,
    position: u64,
    /// Bytes of all entries up to this one, since the table was made.
    sum: u64,
    bytes: u32,
    kind: EntryKind,
}

/// The table.
#[derive(Debug)]
pub(crate) struct LogView {
    /// What the library starts with.
    start: (HardState, Checkpoint),
    base: EntryId,
    rows: VecDeque<Row>,
    /// The sum at the base.
    before: u64,
    /// Bodies of the changes among the rows that are not applied yet; the log has those of the others.
    changes: BTreeMap<u64, Bytes>,
    /// What a member gets that lacks entries which are gone.
    checkpoint: Checkpoint,
    /// For whom the checkpoint is too old, since the last time somebody asked.
    wanted: Cell<Option<NodeId>>,
}

impl LogView {
    /// Everything a log has, with the bodies of the changes of members that are not in its checkpoint.
    ///
    /// # Errors
    ///
    /// The index of a change without a body.
    pub(crate) fn of(log: &dyn Log, hard_state: HardState, changes: &BTreeMap<u64, Bytes>) -> Result<Self, u64> {
        let checkpoint = log.checkpoint();
        let mut view = Self {
            start: (hard_state, checkpoint.clone()),
            base: log.base(),
            rows: VecDeque::new(),
            before: 0,
            changes: BTreeMap::new(),
            checkpoint,
            wanted: Cell::new(None),
        };
        for index in view.base.index + 1..=log.last().index {
            let meta = log
                .entry(index)
                .expect("a log has every entry between its base and its end");
            let change = (meta.kind == EntryKind::Change && index > view.checkpoint.id.index)
                .then(|| changes.get(&index).cloned().ok_or(index))
                .transpose()?;
            view.push(meta, change);
        }
        Ok(view)
    }

    pub(crate) fn last(&self) -> EntryId {
        let index = self.base.index + self.rows.len() as u64;
        let term = self.rows.back().map_or(self.base.term, |row| row.term);
        EntryId { term, index }
    }

    /// The term of an entry; of the base as well.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.row(index).map(|row| row.term)
    }

    /// Where an entry ends in the journal; 0 at the base.
    pub(crate) fn position_of(&self, index: u64) -> u64 {
        self.row(index).map_or(0, |row| row.position)
    }

    /// Index of the last entry that ends at or before a position.
    pub(crate) fn index_at(&self, position: u64) -> u64 {
        self.base.index + self.rows.partition_point(|row| row.position <= position) as u64
    }

    fn sum(&self) -> u64 {
        self.rows.back().map_or(self.before, |row| row.sum)
    }

    /// The first entry of those at the end that have so many bytes together at most.
    pub(crate) fn first_within(&self, bytes: u64) -> u64 {
        let end = self.sum();
        if end - self.before <= bytes {
            return self.base.index + 1;
        }
        let before = self.rows.partition_point(|row| end - row.sum > bytes);
        self.base.index + 2 + before as u64
    }

    fn row(&self, index: u64) -> Option<&Row> {
        let behind = index.checked_sub(self.base.index + 1)?;
        self.rows.get(usize::try_from(behind).ok()?)
    }

    /// An entry was appended behind the last one.
    pub(crate) fn push(&mut self, meta: EntryMeta, change: Option<Bytes>) {
        assert_eq!(meta.id.index, self.last().index + 1, "an entry leaves a gap");
        self.rows.push_back(Row {
            term: meta.id.term,
            position: meta.position,
            sum: self.sum() + u64::from(meta.bytes) + u64::from(raft_proto::eraftpb::ENTRY_OVERHEAD_BYTES),
            bytes: meta.bytes,
            kind: meta.kind,
        });
        if let Some(body) = change {
            self.changes.insert(meta.id.index, body);
        }
    }

    /// Everything behind an entry was taken away.
    pub(crate) fn truncate(&mut self, after: u64) {
        assert!(
            after >= self.base.index,
            "an entry before the log is no place to cut at"
        );
        self.rows
            .truncate(usize::try_from(after - self.base.index).expect("a table fits into memory"));
        self.changes.split_off(&(after + 1));
    }

    /// A snapshot took the place of everything.
    pub(crate) fn reset(&mut self, snapshot: &Checkpoint) {
        self.base = snapshot.id;
        self.rows.clear();
        self.changes.clear();
        self.checkpoint = snapshot.clone();
    }

    /// Entries at the beginning are gone, or there is a newer checkpoint. What is not applied yet stays in the table, since the library
    /// asks for it.
    pub(crate) fn follow(&mut self, log: &dyn Log, applied: u64) {
        let index = log.base().index.min(applied);
        if let Some(term) = self.row(index).map(|row| row.term) {
            debug_assert!(
                index < log.base().index || term == log.base().term,
                "the base of the log is another entry"
            );
            self.before = self.row(index).map_or(self.before, |row| row.sum);
            self.rows
                .drain(..usize::try_from(index - self.base.index).expect("a table fits into memory"));
            self.changes = self.changes.split_off(&(index + 1));
            self.base = EntryId { term, index };
        }
        let checkpoint = log.checkpoint();
        if checkpoint.number != self.checkpoint.number {
            self.checkpoint = checkpoint;
        }
    }

    /// For whom a newer checkpoint is needed.
    pub(crate) fn take_wanted(&self) -> Option<NodeId> {
        self.wanted.take()
    }

    /// Everything up to an entry is applied: nobody will ask here any more what its changes of members say.
    pub(crate) fn applied(&mut self, index: u64) {
        self.changes = self.changes.split_off(&(index + 1));
    }

    fn entry(&self, index: u64, row: &Row) -> Entry {
        let id = EntryId { term: row.term, index };
        let (entry_type, data, context) = match (row.kind, self.changes.get(&index)) {
            (EntryKind::Records, _) => (EntryType::EntryNormal, handle(id, row.bytes), Bytes::new()),
            (EntryKind::Empty, _) => (EntryType::EntryNormal, Bytes::new(), Bytes::new()),
            (EntryKind::Change, Some(body)) => (EntryType::EntryConfChangeV2, body.clone(), Bytes::new()),
            (EntryKind::Change, None) => (EntryType::EntryConfChangeV2, handle(id, row.bytes), IN_THE_LOG),
        };
        Entry {
            entry_type,
            term: row.term,
            index,
            data,
            context,
        }
    }
}

impl Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState {
            hard_state: self.start.0.clone(),
            conf_state: self.start.1.configuration.to_library(),
        })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        // What is asked for without a limit is looked at for changes of members, and must be whole.
        let limit: Option<u64> = max_size.into();
        let count = if limit.is_some() && context.can_async() {
            limits::FRAME_ENTRIES_MAX as u64 - 1
        } else {
            u64::MAX
        };
        let mut bytes = 0_u64;
        let mut entries = Vec::new();
        for index in low..high.min(low.saturating_add(count)) {
            let Some(row) = self.row(index) else {
                return Err(Error::Store(StorageError::Unavailable));
            };
            let weight = u64::from(row.bytes) + u64::from(raft_proto::eraftpb::ENTRY_OVERHEAD_BYTES);
            bytes += weight;
            if !entries.is_empty() && limit.is_some_and(|limit| bytes > limit) {
                break;
            }
            entries.push(self.entry(index, row));
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let missing = if index < self.base.index {
            StorageError::Compacted
        } else {
            StorageError::Unavailable
        };
        self.term_of(index).ok_or(Error::Store(missing))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().index)
    }

    /// The newest checkpoint, unless it was made before the member was one: that would not know itself in it.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let checkpoint = &self.checkpoint;
        if checkpoint.id.index == 0
            || checkpoint.id.index < request_index
            || checkpoint.id.index < self.base.index
            || !checkpoint.configuration.contains(to)
        {
            self.wanted.set(Some(to));
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(snapshot_of(checkpoint))
    }
}

/// A checkpoint as the library's snapshot: its number is the handle.
pub(crate) fn snapshot_of(checkpoint: &Checkpoint) -> Snapshot {
    let mut snapshot = Snapshot {
        data: Bytes::copy_from_slice(&checkpoint.number.to_le_bytes()),
        ..Snapshot::default()
    };
    snapshot.metadata.index = checkpoint.id.index;
    snapshot.metadata.term = checkpoint.id.term;
    snapshot.metadata.conf_state = checkpoint.configuration.to_library();
    snapshot
}

/// The way back.
pub(crate) fn checkpoint_of(snapshot: &Snapshot) -> Checkpoint {
    let number = snapshot
        .data
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    Checkpoint {
        id: EntryId {
            term: snapshot.metadata.term,
            index: snapshot.metadata.index,
        },
        configuration: crate::membership::Configuration::from_library(&snapshot.metadata.conf_state),
        number,
    }
}
