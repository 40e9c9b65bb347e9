//! A member's disk: a log whose syncs come late, and a vote file. A crash keeps what was synced and some of what was written behind it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use seaway_replica::{
    Checkpoint, Closed, Configuration, EntryId, EntryKind, EntryMeta, Log, NodeId, Position, Refusal, Room, Vote,
};

use crate::mix;

/// Bytes of a disk that is never full.
pub(crate) const ROOM: u64 = 1 << 60;
/// What an entry takes beside its body.
const ENTRY_BYTES: u64 = 64;
/// Room that is kept for entries without records, and for records that take something away.
const OWN_BYTES: u64 = 1_024;
const ESSENTIAL_BYTES: u64 = 4_096;

/// An entry as it lies on a disk.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: EntryId,
    pub(crate) kind: EntryKind,
    pub(crate) body: Vec<u8>,
    position: Position,
    /// How far its writer knew the log to be committed.
    mark: u64,
}

impl Stored {
    /// What it says, as a number.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = mix(self.id.term, self.kind as u64);
        for byte in &self.body {
            digest = mix(digest, u64::from(*byte));
        }
        digest
    }
}

/// A checkpoint's content: it stands for all entries up to its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) digest: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) base: EntryId,
    base_digest: u64,
    pub(crate) entries: VecDeque<Stored>,
    synced: u64,
    committed: u64,
    /// The same, as far as it was told since the start.
    told: u64,
    content: Content,
    /// Checkpoints that others may still fetch.
    kept: VecDeque<Content>,
    pub(crate) staged: BTreeMap<u64, Content>,
    configurations: BTreeMap<u64, Configuration>,
    votes: VecDeque<(u64, Vote)>,
    vote: Vote,
    leads: Option<u64>,
    open: Vec<u8>,
    closed: VecDeque<Closed>,
    next_position: Position,
    /// From which entry on all are waited for.
    pub(crate) retain: u64,
    next_number: u64,
    /// Changes with everything that takes back what was being written.
    pub(crate) generation: u64,
    /// The generation in which the sync under way began.
    pub(crate) sync_generation: u64,
    /// Bytes that entries may still take; what `append_entry` takes of it is gone.
    pub(crate) room: u64,
    /// So many of the next calls that write are refused although there is room.
    pub(crate) refusals: u64,
    /// A call that writes was refused since somebody was told that there is room.
    has_refused: bool,
    /// Nothing is written any more until a start.
    pub(crate) is_poisoned: bool,
    /// Says that there is room all the same.
    pub(crate) says_room: bool,
    /// The last room that was asked for.
    pub(crate) asked: Option<Room>,
    /// Says that everything is synced although nothing is.
    pub(crate) lies: bool,
    pub(crate) truncations: u64,
    pub(crate) installs: u64,
    /// What a rule of this file found broken.
    pub(crate) violation: Option<String>,
}

impl Disk {
    /// The disk of a founder: its log begins behind a checkpoint that names the founders.
    pub(crate) fn of_founder(id: NodeId, configuration: Configuration) -> Self {
        let base = EntryId { term: 1, index: 1 };
        let content = Content {
            checkpoint: Checkpoint {
                id: base,
                configuration: configuration.clone(),
                number: mix(id, 0),
            },
            digest: 0,
        };
        Self {
            base,
            synced: 1,
            committed: 1,
            kept: VecDeque::from([content.clone()]),
            content,
            configurations: BTreeMap::from([(1, configuration)]),
            next_number: id,
            ..Self::empty(id)
        }
    }

    /// The disk of somebody who joins.
    pub(crate) fn empty(id: NodeId) -> Self {
        Self {
            next_number: id,
            next_position: 1,
            room: ROOM,
            ..Self::default()
        }
    }

    pub(crate) fn stored(&self, index: u64) -> Option<&Stored> {
        let place = index.checked_sub(self.base.index + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// The bodies of all changes of members behind the checkpoint, as a start has to know them.
    pub(crate) fn changes(&self) -> BTreeMap<u64, Bytes> {
        let behind = self.content.checkpoint.id.index;
        let changes = self
            .entries
            .iter()
            .filter(|stored| stored.kind == EntryKind::Change && stored.id.index > behind);
        changes
            .map(|stored| (stored.id.index, Bytes::copy_from_slice(&stored.body)))
            .collect()
    }

    /// Whether the synced part has this entry.
    pub(crate) fn has_synced(&self, id: EntryId) -> bool {
        id.index <= self.synced && self.stored(id.index).is_some_and(|stored| stored.id == id)
    }

    /// What stands for an entry that is not kept any more: up to which entry, and what it says of them.
    pub(crate) fn covers(&self, index: u64) -> Option<(u64, u64)> {
        (index <= self.base.index).then_some((self.base.index, self.base_digest))
    }

    pub(crate) fn synced_index(&self) -> u64 {
        self.synced
    }

    /// Everything up to an entry is synced.
    pub(crate) fn sync(&mut self, upto: u64) {
        self.synced = self.synced.max(upto.min(self.last().index));
    }

    /// How far it may be announced.
    pub(crate) fn committed_index(&self) -> u64 {
        self.committed.min(self.synced)
    }

    /// How far it would know the log to be committed after a crash.
    fn surely_committed(&self) -> u64 {
        let synced = self.entries.iter().take_while(|stored| stored.id.index <= self.synced);
        let marks = synced.map(|stored| stored.mark);
        marks.max().unwrap_or_default().max(self.content.checkpoint.id.index)
    }

    /// A batch of records is begun or filled, on a leader.
    pub(crate) fn write(&mut self, records: &[u8]) {
        if self.leads.is_some() {
            self.open.extend_from_slice(records);
        }
    }

    pub(crate) fn take_vote_to_write(&mut self, ticket: u64, vote: Vote) {
        self.votes.push_back((ticket, vote));
    }

    /// The votes up to a ticket are on the disk.
    pub(crate) fn sync_votes(&mut self, ticket: u64) {
        while self.votes.front().is_some_and(|(first, _)| *first <= ticket) {
            let (_, vote) = self.votes.pop_front().expect("there is a first one");
            self.keep_vote(vote);
        }
    }

    fn keep_vote(&mut self, vote: Vote) {
        if vote.term < self.vote.term {
            self.violation = Some(format!("the term fell from {} to {}", self.vote.term, vote.term));
        }
        self.vote = vote;
    }

    pub(crate) fn vote(&self) -> Vote {
        self.vote
    }

    /// The process is gone: of what was being written some is on the disk, in order. A vote that was torn leaves the one before it.
    pub(crate) fn crash(&mut self, random: &mut fastrand::Rng) {
        let last = self.last().index;
        let kept = random.u64(self.synced..=last);
        self.cut(kept);
        self.synced = kept;
        for _ in 0..random.usize(0..=self.votes.len()) {
            if let Some((_, vote)) = self.votes.pop_front() {
                self.keep_vote(vote);
            }
        }
        self.votes.clear();
        self.leads = None;
        self.told = 0;
        self.open.clear();
        self.closed.clear();
        self.staged.clear();
        self.is_poisoned = false;
        self.refusals = 0;
        self.has_refused = false;
        self.generation += 1;
        self.committed = self.surely_committed();
    }

    fn cut(&mut self, after: u64) {
        self.entries
            .truncate(usize::try_from(after - self.base.index).expect("a small log"));
        self.closed.retain(|closed| closed.id.index <= after);
        self.configurations.split_off(&(after + 1));
        let end = self.entries.back().map(|stored| stored.position);
        self.next_position = end.unwrap_or(0).max(1) + 1;
    }

    /// The members from an entry on, as the replica says.
    pub(crate) fn set_members(&mut self, index: u64, configuration: Configuration) {
        self.configurations.insert(index, configuration);
    }

    /// Writes a checkpoint somewhere in the committed part, and lets go of what is covered by it and not waited for.
    pub(crate) fn make_checkpoint(&mut self, index: u64) -> Option<(u64, u64)> {
        let index = index.min(self.told).min(self.synced);
        if index <= self.content.checkpoint.id.index {
            return None;
        }
        let (_, configuration) = self.configurations.range(..=index).next_back()?;
        self.next_number = mix(self.next_number, 1);
        let content = Content {
            checkpoint: Checkpoint {
                id: self.stored(index)?.id,
                configuration: configuration.clone(),
                number: self.next_number,
            },
            digest: self.digest(index),
        };
        self.keep(content.clone());
        let digest = content.digest;
        self.content = content;
        let base = index.min(self.retain.saturating_sub(1));
        while self.base.index < base {
            let first = self.entries.pop_front().expect("it is below the checkpoint");
            self.base = first.id;
            self.base_digest = mix(self.base_digest, first.digest());
        }
        Some((index, digest))
    }

    /// All entries up to one, as a number.
    pub(crate) fn digest(&self, upto: u64) -> u64 {
        let entries = self.entries.iter().take_while(|stored| stored.id.index <= upto);
        entries.fold(self.base_digest, |digest, stored| mix(digest, stored.digest()))
    }

    /// What somebody gets who fetches a checkpoint.
    pub(crate) fn content(&self, number: u64) -> Option<Content> {
        let kept = self.kept.iter().find(|content| content.checkpoint.number == number);
        kept.cloned()
    }

    /// The newest checkpoints are there to be fetched; older ones are gone, also for who was told of them.
    fn keep(&mut self, content: Content) {
        self.kept.push_back(content);
        if self.kept.len() > 2 {
            self.kept.pop_front();
        }
    }

    pub(crate) fn stage(&mut self, content: Content) {
        self.staged.insert(content.checkpoint.number, content);
    }

    pub(crate) fn forget(&mut self, number: u64) {
        self.staged.remove(&number);
    }

    fn may_write(&mut self) -> Result<(), Refusal> {
        if self.is_poisoned {
            return Err(Refusal::Poisoned("a write failed".to_owned()));
        }
        if self.refusals > 0 {
            self.refusals -= 1;
            self.has_refused = true;
            return Err(Refusal::NoRoom("no file can be made".to_owned()));
        }
        Ok(())
    }

    fn put(&mut self, id: EntryId, kind: EntryKind, body: Vec<u8>) {
        assert_eq!(id.index, self.last().index + 1, "an append leaves a gap");
        // Copies and the like: positions differ between members.
        self.next_position += 1 + mix(self.next_number, id.index) % 3;
        self.entries.push_back(Stored {
            id,
            kind,
            body,
            position: self.next_position,
            mark: self.committed,
        });
    }
}

impl Log for Disk {
    fn base(&self) -> EntryId {
        self.base
    }

    fn last(&self) -> EntryId {
        self.entries.back().map_or(self.base, |stored| stored.id)
    }

    fn entry(&self, index: u64) -> Option<EntryMeta> {
        self.stored(index).map(|stored| EntryMeta {
            id: stored.id,
            kind: stored.kind,
            bytes: u32::try_from(stored.body.len()).expect("a small entry"),
            position: stored.position,
        })
    }

    fn committed(&self) -> u64 {
        self.committed
    }

    fn checkpoint(&self) -> Checkpoint {
        self.content.checkpoint.clone()
    }

    fn synced(&self) -> Position {
        let index = if self.lies { self.last().index } else { self.synced };
        self.stored(index).map_or(0, |stored| stored.position)
    }

    fn has_room(&mut self, room: Room) -> bool {
        self.asked = Some(room);
        let needed = match room {
            Room::Received { entries, bytes } => entries * ENTRY_BYTES + bytes + OWN_BYTES,
            Room::Own { bytes } => ENTRY_BYTES + bytes,
            Room::Ordinary => ENTRY_BYTES + OWN_BYTES + ESSENTIAL_BYTES,
        };
        let has_room = self.says_room || (!self.is_poisoned && needed <= self.room);
        if matches!(room, Room::Received { .. }) && has_room {
            self.has_refused = false;
        }
        has_room
    }

    fn append_entry(&mut self, id: EntryId, kind: EntryKind, records: &[u8]) -> Result<(), Refusal> {
        self.may_write()?;
        assert!(self.open.is_empty(), "a batch is open while an entry is appended");
        let needed = ENTRY_BYTES + records.len() as u64;
        let left = if kind == EntryKind::Records { OWN_BYTES } else { 0 };
        if needed + left > self.room {
            // What was refused before is tried again without a question.
            if kind == EntryKind::Records && !self.has_refused {
                self.violation = Some(format!("{id:?} of {needed} bytes is appended without room for it"));
            }
            self.has_refused = true;
            return Err(Refusal::NoSpace);
        }
        self.room -= needed;
        self.put(id, kind, records.to_vec());
        Ok(())
    }

    fn truncate(&mut self, after: EntryId) -> Result<(), Refusal> {
        self.may_write()?;
        if after.index < self.committed {
            let committed = self.committed;
            self.violation = Some(format!("{after:?} was made the last entry, {committed} were committed"));
        }
        self.truncations += 1;
        self.generation += 1;
        self.cut(after.index);
        self.synced = after.index;
        Ok(())
    }

    fn install(&mut self, snapshot: &Checkpoint) -> Result<(), Refusal> {
        self.may_write()?;
        let content = self
            .staged
            .remove(&snapshot.number)
            .expect("what is installed was staged");
        assert_eq!(content.checkpoint, *snapshot);
        self.installs += 1;
        self.generation += 1;
        self.base = snapshot.id;
        self.base_digest = content.digest;
        self.entries.clear();
        self.closed.clear();
        self.synced = snapshot.id.index;
        self.committed = snapshot.id.index;
        self.configurations = BTreeMap::from([(snapshot.id.index, snapshot.configuration.clone())]);
        self.keep(content.clone());
        self.content = content;
        Ok(())
    }

    fn commit_to(&mut self, index: u64) {
        // After a start the replica goes through what the log knew already.
        self.committed = self.committed.max(index);
        self.told = self.told.max(index);
    }

    fn lead(&mut self, term: u64, next_index: u64) {
        assert_eq!(next_index, self.last().index + 1);
        self.leads = Some(term);
    }

    /// As a journal does that drops what it has begun only by a cut.
    fn follow(&mut self) {
        self.close();
        self.leads = None;
    }

    fn close(&mut self) {
        let Some(term) = self.leads.filter(|_| !self.open.is_empty()) else {
            return;
        };
        let id = EntryId {
            term,
            index: self.last().index + 1,
        };
        let body = std::mem::take(&mut self.open);
        let bytes = u32::try_from(body.len()).expect("a small batch");
        self.put(id, EntryKind::Records, body);
        self.closed.push_back(Closed {
            id,
            position_after: self.next_position,
            bytes,
            crc: 0,
        });
    }

    fn take_closed(&mut self) -> Option<Closed> {
        self.closed.pop_front()
    }

    fn retain_from(&mut self, index: u64) {
        self.retain = index;
    }
}
