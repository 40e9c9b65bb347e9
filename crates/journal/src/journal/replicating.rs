//! The journal of a member of a cluster (docs/journal-format.md §14), for whoever replicates: entries in and out, what is committed, what
//! other members may still need, and votes.

use super::Journal;
use crate::checkpoints::CheckpointError;
use crate::completion::Completion;
use crate::entry::{Closed, Durability, Entry, EntryError, EntryId, EntryKind, EntryMeta, Members, RECORD_BYTES_MIN};
use crate::entry_read::EntryJob;
use crate::entry_records;
use crate::error::{Refusal, is_damage};
use crate::format::{NUMBER_MAX, SegmentId};
use crate::job::JobKind;
use crate::limits::MEMBERS_BYTES_MAX;
use crate::messages::Ticket;
use crate::names::{LogId, Position};
use crate::record::Record;
use crate::record_log::Entries;
use crate::vote::Vote;
use std::collections::BTreeMap;
use std::io;

/// The next sequence of a log, as an entry goes on.
#[derive(Clone, Copy)]
struct Next {
    least: u64,
    /// No other one may come.
    is_exact: bool,
}

impl Journal {
    /// Whether the journal is a member's of a cluster. All below makes sense for such a one alone.
    pub fn is_member(&self) -> bool {
        self.options.durability == Durability::Quorum
    }

    fn entries(&self) -> Option<&Entries> {
        self.records.entries()
    }

    /// From now on each batch that is closed becomes the next entry, of this term, and [`Journal::take_closed`] gives it out to be
    /// proposed. Until then nothing may be appended but entries.
    ///
    /// # Panics
    /// The journal is no member's, `next_index` is not one above the last entry's, or an entry has a higher term.
    pub fn lead(&mut self, term: u64, next_index: u64) {
        let last = self.last();
        assert!(self.is_member(), "who leads is a member of a cluster");
        assert!(
            next_index == last.index + 1 && term >= last.term && term < NUMBER_MAX,
            "leading in term {term} from entry {next_index} on, behind {last:?}"
        );
        self.records.lead(term);
    }

    /// The next entry that was made here, in order. Entries are made when a batch is full, when [`Journal::end_entry`] is called, and while
    /// [`Journal::next_job`] looks for something to write.
    pub fn take_closed(&mut self) -> Option<Closed> {
        self.records.take_closed()
    }

    /// Makes an entry of what was appended, so that another may follow that is not made of records.
    pub fn end_entry(&mut self) {
        if self.is_member() && self.poisoned.is_none() {
            self.records.end_batch();
            self.submit();
        }
    }

    /// Appends an entry: of another member that leads, or an empty one or a change of this one, when everything that was appended is an
    /// entry already and was proposed. `records` are those of [`Entry::bytes`]. Nothing is changed when it is refused.
    ///
    /// # Errors
    /// There is no room (ask [`Journal::has_room`] before the others are told that it is taken): [`Refusal::may_pass`] then, and the journal
    /// goes on. Or it is poisoned, or this is no entry, too large for one, or not the next one.
    pub fn append_entry(&mut self, id: EntryId, kind: EntryKind, records: &[u8]) -> Result<(), Refusal> {
        if let Some(reason) = &self.poisoned {
            return Err(Refusal::Poisoned(reason.clone()));
        }
        self.check_order(id)?;
        let Some(code) = kind.code() else {
            return self.append_records(id, records);
        };
        let bytes_max = match kind {
            EntryKind::Empty => 0,
            _ => MEMBERS_BYTES_MAX,
        };
        if records.len() > bytes_max {
            let (bytes, id) = (records.len(), id.index);
            return Err(Refusal::Entry(format!(
                "entry {id} is too large: {bytes} bytes, and one of its kind has at most {bytes_max}"
            )));
        }
        let length = RECORD_BYTES_MIN + records.len();
        self.records
            .begin_entry(id.term, kind, (1, length), &mut self.segments)?;
        self.follow_unless_leading(id.term);
        self.records.append_alone(code, records);
        self.statistics.records += 1;
        self.records.end_entry();
        Ok(())
    }

    fn check_order(&self, id: EntryId) -> Result<(), Refusal> {
        let Some(entries) = self.entries() else {
            return Err(Refusal::Entry("the journal stands alone".to_owned()));
        };
        let last = entries.table().last();
        if id.index != last.index + 1 || id.term < last.term || id.term >= NUMBER_MAX {
            let (EntryId { term, index }, at) = (id, last.index);
            let of = last.term;
            return Err(Refusal::Entry(format!(
                "entry {index} of term {term} does not follow entry {at} of term {of}"
            )));
        }
        if self.records.owes_proposals() {
            let reason = "what was appended here was not proposed: the journal has to be opened again without it";
            return Err(Refusal::Entry(reason.to_owned()));
        }
        Ok(())
    }

    fn follow_unless_leading(&mut self, term: u64) {
        if self.entries().is_some_and(|entries| entries.leading() != Some(term)) {
            self.records.follow();
        }
    }

    fn append_records(&mut self, id: EntryId, bytes: &[u8]) -> Result<(), Refusal> {
        let count = self.check_records(bytes).map_err(Refusal::Entry)?;
        let size = (count, bytes.len());
        self.records
            .begin_entry(id.term, EntryKind::Records, size, &mut self.segments)?;
        self.follow_unless_leading(id.term);
        let mut rest = bytes;
        while let Ok((record, length)) = entry_records::next(rest) {
            self.append_record(record, &rest[..length]);
            rest = &rest[length..];
        }
        debug_assert!(rest.is_empty(), "all of them were checked");
        self.statistics.records += count as u64;
        self.records.end_entry();
        Ok(())
    }

    fn append_record(&mut self, record: Record<'_>, bytes: &[u8]) {
        let message = match record {
            Record::Message {
                log,
                sequence,
                timestamp,
                ..
            } => Some((log, sequence, timestamp)),
            _ => None,
        };
        let appended = self.records.append_to_entry(bytes, message);
        let (position, completions) = (appended.position, &mut self.completions);
        match record {
            Record::Message {
                log,
                sequence,
                timestamp,
                ..
            } => self.index.append(log, sequence, timestamp, &appended),
            Record::Trim { log, first, .. } => {
                let (records, segments) = (&self.records, &mut self.segments);
                self.index
                    .forget_before(log, first, position, records, segments, completions);
            }
            Record::Delete { log, .. } => self.index.forget_log(log, position, &mut self.segments, completions),
            Record::Fact { .. } | Record::Time { .. } | Record::Entry { .. } => {}
        }
    }

    /// Whether these are records that can follow what there is; how many.
    fn check_records(&self, bytes: &[u8]) -> Result<usize, String> {
        let (mut rest, mut count) = (bytes, 0);
        let mut nexts: BTreeMap<LogId, Next> = BTreeMap::new();
        while !rest.is_empty() {
            let (record, length) = entry_records::next(rest).map_err(|error| error.to_string())?;
            self.check_record(record, &mut nexts)?;
            rest = &rest[length..];
            count += 1;
        }
        if count == 0 {
            return Err("it holds no record".to_owned());
        }
        Ok(count)
    }

    fn check_record(&self, record: Record<'_>, nexts: &mut BTreeMap<LogId, Next>) -> Result<(), String> {
        let known = |log: LogId| match self.index.bounds(log) {
            Some(bounds) => Next {
                least: bounds.last + 1,
                is_exact: bounds.count > 0,
            },
            None => Next {
                least: 1,
                is_exact: false,
            },
        };
        match record {
            Record::Message { log, sequence, .. } => {
                let next = nexts.entry(log).or_insert_with(|| known(log));
                let follows = sequence == next.least || (sequence > next.least && !next.is_exact);
                if !follows || sequence >= NUMBER_MAX {
                    let (log, before) = (log.0, next.least - 1);
                    return Err(format!("message {sequence} of log {log} follows message {before}"));
                }
                *next = Next {
                    least: sequence + 1,
                    is_exact: true,
                };
            }
            Record::Trim { log, first, .. } => {
                let next = nexts.entry(log).or_insert_with(|| known(log));
                next.is_exact &= first < next.least;
            }
            Record::Delete { log, .. } => {
                let none = Next {
                    least: 1,
                    is_exact: false,
                };
                nexts.insert(log, none);
            }
            Record::Fact { .. } | Record::Time { .. } | Record::Entry { .. } => {}
        }
        Ok(())
    }

    /// Whether so many entries of so many bytes in all have room, whatever their records are and with everything that is added to them
    /// here; plans more when not. Room for what those who replicate write themselves stays beside it (the file of the votes needs none). To be
    /// asked before whoever leads is told that they are taken; [`Completion::SpaceBack`] may follow on a no. A yes holds until something
    /// else is appended, or an outcome is given back: rewriting appends as well.
    pub fn has_room(&mut self, entries: u64, bytes: u64) -> bool {
        self.poisoned.is_none() && self.records.entries_admission(entries, bytes).is_ok()
    }

    /// Whether an entry has room that those who replicate write themselves, an empty one or a change with a body of so many bytes: in what
    /// others leave for it. To be asked before a campaign, which ends with such an entry.
    pub fn has_room_for_own(&mut self, bytes: u64) -> bool {
        let length = bytes.saturating_add(RECORD_BYTES_MIN as u64);
        self.poisoned.is_none() && self.records.batch_admission(length, EntryKind::Change).is_ok()
    }

    /// Everything up to and including this position was written and synced here, whatever a quorum has.
    pub fn synced(&self) -> Position {
        self.records.synced()
    }

    /// Entries up to this one are committed, and never taken back: [`Journal::durable`] follows as far as they are synced here. A lower
    /// index than before changes nothing, nor does one above the last entry's.
    pub fn commit_to(&mut self, index: u64) {
        let known = |entries: &Entries| (entries.commit() + 1..=entries.table().last().index).contains(&index);
        if !self.entries().is_some_and(known) {
            return;
        }
        let before = self.records.durable();
        self.records.commit_to(index);
        if self.records.durable() > before {
            self.completions.push(Completion::Durable(self.records.durable()));
            self.maintain();
        }
    }

    /// The highest index that is known to be committed: at a start what the files say, which may be somewhat less than was known before.
    pub fn committed(&self) -> u64 {
        self.entries().map_or(0, Entries::commit)
    }

    /// What is known of an entry; `None` when it is not there, or not kept any more.
    pub fn entry(&self, index: u64) -> Option<EntryMeta> {
        self.entries()?.table().get(index)
    }

    /// Index of the oldest entry that can be read, or one above the last when there is none.
    pub fn first_index(&self) -> u64 {
        self.purged().index + 1
    }

    /// The entry before that one: not there any more, but its term is known.
    pub fn purged(&self) -> EntryId {
        self.entries().map(|entries| entries.table().base()).unwrap_or_default()
    }

    /// The newest entry.
    pub fn last(&self) -> EntryId {
        self.entries().map(|entries| entries.table().last()).unwrap_or_default()
    }

    /// The log of a journal without entries begins behind this one, of which everything that is there is a part. Lasts once a checkpoint
    /// that was begun after that is done.
    ///
    /// # Panics
    /// There are entries, or the journal is no member's.
    pub fn found(&mut self, id: EntryId) {
        assert!(self.is_member(), "a log of entries is a member's of a cluster");
        assert_eq!(self.last(), EntryId::default(), "the log has begun already");
        self.records.begin_behind(id);
    }

    /// Who the members are, as the newest checkpoint says.
    pub fn members(&self) -> Option<&Members> {
        self.checkpoints.newest()?.members.as_ref()
    }

    /// The last entry that the checkpoint stands for that is being written.
    pub fn checkpoint_entry(&self) -> Option<EntryId> {
        self.checkpoints.last_entry()
    }

    /// Says in the checkpoint that is being written who the members are, as of [`Journal::checkpoint_entry`]: with all changes up to that
    /// one and none behind it.
    ///
    /// # Errors
    /// There is no such checkpoint, it was said already, or in too many bytes.
    pub fn checkpoint_members(&mut self, body: &[u8]) -> Result<(), CheckpointError> {
        self.checkpoints.members(body)
    }

    /// Keeps entries from this one on that are still there, for members that need them, as far as
    /// [`Options::entry_bytes_kept`](crate::Options::entry_bytes_kept) and the disk allow: [`Journal::first_index`] says what is there. A
    /// start keeps all that it finds until it is told.
    pub fn retain_from(&mut self, index: u64) {
        let place = self.entries().map(|entries| {
            let table = entries.table();
            table.place(index.max(table.base().index + 1))
        });
        if let Some(place) = place {
            let from = place.map_or(self.records.open_number(), |(segment, _)| segment);
            self.segments.keep_entries(from, self.options.entry_bytes_kept);
        }
    }

    /// Asks for an entry; [`Completion::Entry`] answers.
    pub fn read_entry(&mut self, ticket: Ticket, index: u64) {
        let answer = match self.locate_entry(index) {
            Err(error) => Err(error),
            Ok((place, meta)) => match self.records.cached_entry(place, meta.bytes) {
                Some(bytes) if meta.kind == EntryKind::Records => Ok(Entry {
                    id: meta.id,
                    kind: meta.kind,
                    bytes,
                }),
                _ if self.reads.push_entry(ticket, index) => return,
                _ => Err(EntryError::Unreadable {
                    index,
                    damaged: false,
                    reason: "too many entries wait to be read".to_owned(),
                }),
            },
        };
        self.completions.push(Completion::Entry((ticket, answer)));
    }

    fn locate_entry(&self, index: u64) -> Result<((u64, u32), EntryMeta), EntryError> {
        let table = self.entries().ok_or(EntryError::Unknown(index))?.table();
        match table.place(index).zip(table.get(index)) {
            Some(found) => Ok(found),
            None if index > table.last().index => Err(EntryError::Unknown(index)),
            None => Err(EntryError::Purged(index)),
        }
    }

    pub(super) fn next_entry_read(&mut self) -> Option<JobKind> {
        while let Some((ticket, index)) = self.reads.pop_entry() {
            match self.locate_entry(index) {
                Ok(((segment, offset), meta)) => {
                    let (segment, _) = self.segments.pin(segment);
                    return Some(JobKind::Entry(EntryJob {
                        ticket,
                        identity: self.scope.identity,
                        keys: self.scope.keys.clone(),
                        segment,
                        offset,
                        meta,
                    }));
                }
                // It went while it waited.
                Err(error) => self.completions.push(Completion::Entry((ticket, Err(error)))),
            }
        }
        None
    }

    pub(super) fn entry_read(&mut self, ticket: Ticket, segment: SegmentId, index: u64, result: io::Result<Entry>) {
        self.reads.end();
        self.segments.unpin(segment.number);
        let answer = result.map_err(|error| EntryError::Unreadable {
            index,
            damaged: is_damage(&error),
            reason: error.to_string(),
        });
        self.completions.push(Completion::Entry((ticket, answer)));
    }

    /// What this member promised last.
    pub fn vote(&self) -> Vote {
        self.votes.vote()
    }

    /// Writes down a promise; [`Completion::VoteWritten`] answers when it is on the disk, before which it may not be given. One that comes
    /// before an earlier one was written takes its place.
    pub fn write_vote(&mut self, ticket: Ticket, vote: Vote) {
        debug_assert!(self.is_member(), "who votes is a member of a cluster");
        self.votes.push(ticket, vote);
    }

    pub(super) fn next_vote(&mut self) -> Option<JobKind> {
        if self.poisoned.is_some() {
            return None;
        }
        let vote = self.votes.begin()?;
        Some(JobKind::Vote {
            slot: vote.encode(&self.scope.identity),
            offset: vote.offset(),
        })
    }

    pub(super) fn vote_written(&mut self, result: io::Result<()>) {
        let written = self.votes.end();
        match result {
            // Nobody knows now what a later start would read.
            Err(error) => self.poison(format!("writing down a vote: {error}")),
            Ok(()) => self
                .completions
                .extend(written.into_iter().map(Completion::VoteWritten)),
        }
    }
}
