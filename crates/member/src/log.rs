//! The log of a replica, over a journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use seaway_journal::disk::Disk;
use seaway_journal::{
    CheckpointError, Completion, Durability, Folded, Journal, LogId, Need, OpenError, Options, RecoveredLog, Replay,
    Vote,
};
use seaway_replica::{Checkpoint, Closed, Configuration, EntryId, EntryKind, EntryMeta, Log, Position, Refusal, Room};

use crate::jobs::{Jobs, Threads, Waker};
use crate::members::{self, KnownMembers};

/// Behind which entry every log begins: the checkpoint that stands for it names the founders, who are in no entry.
const FOUNDING: EntryId = EntryId { term: 1, index: 1 };

/// How a cluster begins.
#[derive(Debug, Clone, Default)]
pub struct Founding {
    /// Who founds it; the same for all of them.
    pub configuration: Configuration,
    /// What goes with it to whoever reads it: names, addresses. At most 60 KB.
    pub about: Bytes,
}

/// Why the log of a member does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotOpened {
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// What a founder begins with could not be written.
    #[error("the checkpoint that names the founders cannot be written: {0}")]
    Founding(String),
    /// The newest checkpoint says in a way that is not known here who the members are.
    #[error("another version wrote down who the members are")]
    Members,
    /// What an entry says cannot be read.
    #[error("{0}")]
    Entry(String),
    /// Its threads cannot be started.
    #[error("cannot start the threads of the store: {0}")]
    Threads(std::io::Error),
    /// The replica does not start over it.
    #[error(transparent)]
    Replica(#[from] seaway_replica::NotStarted),
}

/// Nobody needs the state that a journal replays when it is opened to be replicated: whoever comes to serve folds it then.
struct Nothing;

impl Replay for Nothing {
    fn fact(&mut self, _kind: u8, _body: &[u8]) {}
    fn trim(&mut self, _log: LogId, _first: u64, _body: &[u8]) {}
    fn delete(&mut self, _log: LogId, _body: &[u8]) {}
    fn log_recovered(&mut self, _log: RecoveredLog) {}
}

/// A journal as the log of a replica. It has the journal's jobs as well, since what is cut off is cut off by opening it again.
pub struct JournalLog {
    // Before the journal: what is dropped keeps the directory's lock until none of its jobs runs any more.
    jobs: Jobs,
    journal: Journal,
    options: Options,
    checkpoint: Checkpoint,
    /// Who the members are, by the entry from which on; the oldest is at or before the checkpoint's.
    known: BTreeMap<u64, KnownMembers>,
    /// The checkpoint that is being written has all its facts and lacks who the members are.
    is_finishing: bool,
    /// Checkpoints are numbered at random.
    random: fastrand::Rng,
    /// What happened while it was being opened.
    held: Vec<Completion>,
    warnings: Vec<String>,
}

impl JournalLog {
    /// Opens the journal on a disk as a member's. An empty one is founded, or, without `founding`, waits for a snapshot. `seed` is what
    /// the numbers of checkpoints are drawn from: another one at each start. Jobs are run by [`JournalLog::step`].
    ///
    /// # Errors
    /// See [`NotOpened`]; a founding that was interrupted is done again by the next start.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        founding: Option<&Founding>,
        seed: u64,
    ) -> Result<JournalLog, NotOpened> {
        let options = Options {
            durability: Durability::Quorum,
            ..options
        };
        let (journal, opened) = Journal::open(&disk, options.clone(), &mut Nothing)?;
        let cut = opened.cut.as_ref().map(|cut| {
            let (file, offset, reason) = (&cut.file, cut.offset, &cut.reason);
            format!("An interrupted write was cut from {file} at offset {offset}: {reason}")
        });
        let mut log = JournalLog {
            jobs: Jobs::Steps(disk),
            journal,
            options,
            checkpoint: Checkpoint::default(),
            known: BTreeMap::new(),
            is_finishing: false,
            random: fastrand::Rng::with_seed(seed),
            held: Vec::new(),
            warnings: cut.into_iter().chain(opened.remarks).collect(),
        };
        if let Some(founding) = founding
            && log.journal.members().is_none()
            && log.journal.last() == EntryId::default()
        {
            log.found(founding)?;
        }
        log.read_checkpoint()?;
        Ok(log)
    }

    fn found(&mut self, founding: &Founding) -> Result<(), NotOpened> {
        let failed = |error: CheckpointError| NotOpened::Founding(error.to_string());
        self.journal.found(FOUNDING);
        let members = KnownMembers {
            configuration: founding.configuration.clone(),
            about: founding.about.clone(),
        };
        let body = members::encode(&members, self.random.u64(1..));
        self.journal.begin_checkpoint().map_err(failed)?;
        self.journal.checkpoint_members(&body).map_err(failed)?;
        self.journal.finish_checkpoint().map_err(failed)?;
        while self.journal.members().is_none() {
            if !self.step() {
                let reason = self.journal.refusal().map(|refusal| refusal.to_string());
                return Err(NotOpened::Founding(reason.unwrap_or_else(|| self.failed_in_words())));
            }
        }
        Ok(())
    }

    fn failed_in_words(&mut self) -> String {
        self.journal.poll(&mut self.held);
        let abandoned = self.held.iter().find_map(|completion| match completion {
            Completion::CheckpointAbandoned(reason) => Some(reason.clone()),
            _ => None,
        });
        abandoned.unwrap_or_else(|| "nothing is written any more".to_owned())
    }

    /// What the newest checkpoint says.
    fn read_checkpoint(&mut self) -> Result<(), NotOpened> {
        let Some(newest) = self.journal.members() else {
            return Ok(());
        };
        let (members, number) = members::decode(&newest.body).ok_or(NotOpened::Members)?;
        self.checkpoint = Checkpoint {
            id: newest.id,
            configuration: members.configuration.clone(),
            number,
        };
        self.known = self.known.split_off(&newest.id.index);
        self.known.insert(newest.id.index, members);
        Ok(())
    }

    /// The bodies of all changes of members behind the checkpoint, as a replica has to know them at its start. Reads from the disk.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn changes(&mut self) -> Result<BTreeMap<u64, Bytes>, NotOpened> {
        let mut changes = BTreeMap::new();
        let from = self.journal.first_index().max(self.checkpoint.id.index + 1);
        for index in from..=self.journal.last().index {
            if self
                .journal
                .entry(index)
                .is_some_and(|meta| meta.kind == EntryKind::Change)
            {
                changes.insert(index, self.read_now(index)?);
            }
        }
        Ok(changes)
    }

    fn read_now(&mut self, index: u64) -> Result<Bytes, NotOpened> {
        self.journal.read_entry(index, index);
        loop {
            let before = self.held.len();
            self.journal.poll(&mut self.held);
            let answer = self.held[before..]
                .iter()
                .position(|completion| matches!(completion, Completion::Entry((ticket, _)) if *ticket == index));
            if let Some(place) = answer
                && let Completion::Entry((_, answer)) = self.held.remove(before + place)
            {
                let entry = answer.map_err(|error| NotOpened::Entry(error.to_string()))?;
                return Ok(Bytes::from(entry.bytes));
            }
            if !self.step() {
                return Err(NotOpened::Entry(format!("entry {index} is not read")));
            }
        }
    }

    /// From now on threads run the jobs; `waker` is called from them when there is something for [`JournalLog::drive`].
    pub(crate) fn start_threads(&mut self, waker: Waker) -> Result<(), NotOpened> {
        if let Jobs::Steps(disk) = &self.jobs {
            let threads = Threads::start(Arc::clone(disk), waker).map_err(NotOpened::Threads)?;
            self.jobs = Jobs::Threads(Box::new(threads));
        }
        Ok(())
    }

    /// Runs one job, when no threads do; whether there was one.
    pub fn step(&mut self) -> bool {
        self.jobs.step(&mut self.journal)
    }

    /// What threads have finished is taken, and what they can run given to them.
    pub(crate) fn drive(&mut self) {
        self.jobs.drive(&mut self.journal);
    }

    pub(crate) fn waker(&self) -> Option<Waker> {
        self.jobs.waker()
    }

    pub(crate) fn disk(&self) -> Option<Arc<dyn Disk>> {
        self.jobs.disk()
    }

    /// The journal beneath.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The same, to append and to read. Whoever appends leads.
    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The last entry that is both committed and synced here, as far as there are entries.
    pub(crate) fn durable_entry(&self) -> Option<u64> {
        let durable = self.journal.durable();
        let is_durable = |index: &u64| self.journal.entry(*index).is_some_and(|meta| meta.position <= durable);
        // At most as many are committed and not synced as a replica has outstanding.
        (self.journal.first_index()..=self.journal.committed())
            .rev()
            .find(is_durable)
    }

    /// The vote that was written last.
    pub fn vote(&self) -> Vote {
        self.journal.vote()
    }

    /// Moves what happened to the end of `into`.
    pub(crate) fn poll(&mut self, into: &mut Vec<Completion>) {
        let before = into.len();
        into.append(&mut self.held);
        self.journal.poll(into);
        let is_done = |completion: &Completion| matches!(completion, Completion::CheckpointDone(_));
        if into[before..].iter().any(is_done)
            && let Err(error) = self.read_checkpoint()
        {
            self.warnings.push(error.to_string());
        }
    }

    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// From this entry on these are the members, all changes up to it being made.
    pub(crate) fn set_members(&mut self, index: u64, members: KnownMembers) {
        self.known.insert(index, members);
    }

    /// The newest members.
    pub(crate) fn newest_members(&self) -> Option<&KnownMembers> {
        self.known.last_key_value().map(|(_, members)| members)
    }

    /// Begins a checkpoint as of now, or behind what was folded.
    pub(crate) fn begin_checkpoint(&mut self, folded: Option<&Folded>) -> Result<(), CheckpointError> {
        match folded {
            Some(folded) => self.journal.begin_checkpoint_behind(folded)?,
            None => self.journal.begin_checkpoint()?,
        };
        self.is_finishing = false;
        Ok(())
    }

    /// All facts of the checkpoint were given. It ends when it is known who the members are at its entry.
    pub(crate) fn finish_checkpoint(&mut self) {
        self.is_finishing = true;
    }

    /// Whether a checkpoint waits for [`JournalLog::go_on_finishing`].
    pub(crate) fn is_finishing(&self) -> bool {
        self.is_finishing
    }

    /// Ends the checkpoint when all changes of members up to its entry are made.
    pub(crate) fn go_on_finishing(&mut self, applied: u64) {
        let Some(entry) = self.journal.checkpoint_entry() else {
            self.is_finishing = false;
            return;
        };
        if entry.index > applied {
            return;
        }
        self.is_finishing = false;
        let Some((_, members)) = self.known.range(..=entry.index).next_back() else {
            self.journal.abandon_checkpoint();
            return;
        };
        let body = members::encode(members, self.random.u64(1..));
        let finished = self
            .journal
            .checkpoint_members(&body)
            .and_then(|()| self.journal.finish_checkpoint());
        if let Err(error) = finished {
            self.journal.abandon_checkpoint();
            self.warnings.push(format!("A checkpoint was given up: {error}"));
        }
    }

    /// The checkpoint that lacks facts will not get them.
    pub(crate) fn abandon_checkpoint(&mut self) {
        self.is_finishing = false;
        self.journal.abandon_checkpoint();
    }

    /// Makes what was appended lie on the disk, and lets go of it.
    pub(crate) fn close_journal(&mut self) -> Result<(), String> {
        self.jobs.close(&mut self.journal)
    }

    fn cut_behind(&mut self, after: EntryId) -> Result<(), Refusal> {
        let Some(disk) = self.jobs.disk() else {
            return Err(Refusal::Poisoned("the store is closed".to_owned()));
        };
        self.jobs.halt(&mut self.journal);
        let cut = self
            .journal
            .cut_behind(&disk, self.options.clone(), after, &mut Nothing);
        let resumed = self.jobs.resume();
        match cut {
            Ok(opened) => self.warnings.extend(opened.remarks),
            Err(error @ OpenError::Cut { .. }) if self.journal.poison_reason().is_none() => {
                return Err(Refusal::NoRoom(error.to_string()));
            }
            Err(error) => return Err(Refusal::Poisoned(error.to_string())),
        }
        self.is_finishing = false;
        resumed.map_err(|error| Refusal::Poisoned(format!("its threads cannot be started again: {error}")))
    }
}

impl Log for JournalLog {
    fn base(&self) -> EntryId {
        self.journal.purged()
    }

    fn last(&self) -> EntryId {
        self.journal.last()
    }

    fn entry(&self, index: u64) -> Option<EntryMeta> {
        self.journal.entry(index)
    }

    fn committed(&self) -> u64 {
        self.journal.committed()
    }

    fn checkpoint(&self) -> Checkpoint {
        self.checkpoint.clone()
    }

    fn synced(&self) -> Position {
        self.journal.synced()
    }

    fn has_room(&mut self, room: Room) -> bool {
        match room {
            Room::Received { entries, bytes } => self.journal.has_room(entries, bytes),
            Room::Own { bytes } => self.journal.has_room_for_own(bytes),
            Room::Ordinary => self.journal.admission(0, Need::Ordinary).is_ok(),
        }
    }

    fn append_entry(&mut self, id: EntryId, kind: EntryKind, records: &[u8]) -> Result<(), Refusal> {
        self.journal.append_entry(id, kind, records)?;
        // Otherwise it would wait for somebody who submits.
        self.journal.submit();
        Ok(())
    }

    fn truncate(&mut self, after: EntryId) -> Result<(), Refusal> {
        self.cut_behind(after)
    }

    fn install(&mut self, snapshot: &Checkpoint) -> Result<(), Refusal> {
        // Nobody stages one: `Outside::fetch` is answered with `NotStaged`.
        Err(Refusal::Entry(format!(
            "snapshot {:016x} was never fetched",
            snapshot.number
        )))
    }

    fn commit_to(&mut self, index: u64) {
        self.journal.commit_to(index);
    }

    fn lead(&mut self, term: u64, next_index: u64) {
        self.journal.lead(term, next_index);
    }

    fn follow(&mut self) {
        self.journal.end_entry();
    }

    fn close(&mut self) {
        self.journal.end_entry();
    }

    fn take_closed(&mut self) -> Option<Closed> {
        self.journal.take_closed()
    }

    fn retain_from(&mut self, index: u64) {
        self.journal.retain_from(index);
    }
}
