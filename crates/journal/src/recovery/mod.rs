//! Opening a journal (docs/journal-format.md §3, §9): looks at the directory, reads checkpoint and tail into the owner's hands,
//! cuts the previous epoch and opens the next. The only part that does I/O on the caller's thread.

pub(crate) mod checkpoint;
mod details;
mod entries;
mod epoch;
pub(crate) mod files;
mod given_up;
mod index;
mod loaded;
pub(crate) mod losses;
mod lost;
mod older_entries;
mod salvage;
mod scan;

use crate::checkpoints::{Checkpoints, Published};
use crate::claim::{Claim, ClaimError, Deposed, Fenced, Standpoint};
use crate::directory::Directory;
use crate::disk::{Disk, is_full};
use crate::encryption::{Encryption, KeyError, Keys};
use crate::entry::Durability;
use crate::error::OpenError;
use crate::format::{Cut, EpochFile, GIVEN_UP_NAME, Identity, SegmentId};
use crate::index::{Hole, Index};
use crate::job::{PrepareJob, prepare};
use crate::journal::{Journal, Parts};
use crate::limits::{SEGMENT_BYTES_FIRST, SEGMENT_BYTES_FULL_DISK, SEGMENT_BYTES_MIN};
use crate::names::{LogId, Position};
use crate::options::{DamagePolicy, Options};
use crate::planted::{Fault, is_planted};
use crate::record_log::{FirstSegment, RecordLog};
use crate::scope::Scope;
use crate::segments::SegmentSet;
use crate::vote::{self, Counted};
use crate::whole_file::remove_if_there;
use entries::EntriesRead;
use files::Files;
pub use files::{BACKUPS_LOCK_NAME, RESTORING_PREFIX, has_epoch, is_member, life_of, newest_identity};
use losses::GivenUp;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Receives the state at start: the newest checkpoint's facts, then every record after its begin in order, then the logs.
pub trait Replay {
    /// A fact, of the checkpoint or of the tail.
    fn fact(&mut self, kind: u8, body: &[u8]);
    /// The facts so far were the checkpoint's; what follows are the records after this position.
    fn tail_begins(&mut self, position: Position) {
        let _ = position;
    }
    /// A message of the tail; `size` is the length of its body in bytes.
    fn message(&mut self, log: LogId, sequence: u64, timestamp: i64, size: u32) {
        let _ = (log, sequence, timestamp, size);
    }
    /// Messages below `first` were trimmed.
    fn trim(&mut self, log: LogId, first: u64, body: &[u8]);
    /// The log was deleted.
    fn delete(&mut self, log: LogId, body: &[u8]);
    /// So many bytes of those to be read in all, as far as that is known yet, and so many facts and records are done.
    fn progressed(&mut self, bytes_done: u64, bytes_total: u64, records: u64) {
        let _ = (bytes_done, bytes_total, records);
    }
    /// Every fact and record was given. Nothing has been written yet: an error ends the opening and leaves the directory as
    /// it is.
    fn verify(&mut self) -> Result<(), String> {
        Ok(())
    }
    /// A fact that lies behind damage and is given up, in the order in which they were written: it says what is lost, and counts
    /// for nothing.
    fn fact_given_up(&mut self, kind: u8, body: &[u8]) {
        let _ = (kind, body);
    }
    /// The deletion of a log that lies behind damage and is given up.
    fn deletion_given_up(&mut self, log: LogId) {
        let _ = log;
    }
    /// Messages of a log, from its first to its last, that were given up and are in no segment: by this start, or by an earlier one.
    /// Called before [`Replay::log_recovered`].
    fn lost(&mut self, log: LogId, from: u64, to: u64) {
        let _ = (log, from, to);
    }
    /// A log as it is now; called last, once for each log that was appended to and not deleted.
    fn log_recovered(&mut self, log: RecoveredLog);
}

/// A log as recovery found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveredLog {
    /// Its id.
    pub log: LogId,
    /// Oldest live sequence; `last + 1` when there is none.
    pub first: u64,
    /// Newest sequence ever appended.
    pub last: u64,
    /// How many of them were given up and are in no segment.
    pub lost: u64,
    /// Record bytes of live messages.
    pub bytes: u64,
    /// Time of the message `last`, also when that one is trimmed.
    pub last_timestamp: i64,
}

/// Data that was given up at the end of the previous epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutReport {
    /// Name of the segment.
    pub file: String,
    /// Offset of the first byte that does not count.
    pub offset: u64,
    /// Why.
    pub reason: String,
    /// It was an interrupted write, which nobody was promised anything of. Otherwise it is damage that was given up.
    pub is_torn: bool,
}

/// What opening found, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The epoch opened, from 1.
    pub epoch: u64,
    /// Whether the journal was created.
    pub created: bool,
    /// Position of the newest record.
    pub position: Position,
    /// Begin of the checkpoint that was used, if there was one.
    pub checkpoint: Option<Position>,
    /// Records read after it.
    pub tail_records: u64,
    /// Bytes read of checkpoint, segments and directories.
    pub bytes_read: u64,
    /// An interrupted write (or tolerated damage) at the end.
    pub cut: Option<CutReport>,
    /// Names in the directory that are none of the journal's, and other remarks.
    pub remarks: Vec<String>,
}

pub(crate) fn io_error(action: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let action = action.into();
    move |source| {
        if let Some(deposed) = Deposed::of(&source) {
            let (number, by) = (deposed.number, deposed.by);
            OpenError::Overtaken { number, by }
        } else if is_full(&source) {
            OpenError::NoSpace(source)
        } else {
            OpenError::Io { action, source }
        }
    }
}

pub(crate) fn damaged(file: impl Into<String>, offset: u64, reason: impl Into<String>) -> OpenError {
    OpenError::Damaged {
        file: file.into(),
        offset,
        reason: reason.into(),
    }
}

pub(crate) fn indispensable(
    file: impl Into<String>,
    offset: u64,
    reason: impl Into<String>,
    remedy: impl Into<String>,
) -> OpenError {
    OpenError::Indispensable {
        file: file.into(),
        offset,
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

/// Everything recovery gathers before a journal exists.
pub(crate) struct Recovery<'a> {
    pub(crate) disk: &'a Fenced<'a>,
    pub(crate) options: &'a Options,
    pub(crate) identity: Identity,
    pub(crate) files: Files,
    pub(crate) index: Index,
    pub(crate) segments: SegmentSet,
    /// Directories that had to be made from the segments themselves.
    pub(crate) built: Vec<Directory>,
    pub(crate) remarks: Vec<String>,
    pub(crate) work: Work,
    pub(crate) keys: Option<Arc<Keys>>,
    /// The readable body of the record that is being replayed.
    pub(crate) body: Vec<u8>,
    /// What lies behind damage that is given up: nothing is touched before all was read.
    pub(crate) given_up: GivenUp,
    /// How many of the files that say what was lost earlier count already.
    losses_seen: usize,
    /// Epoch of the checkpoint that is used.
    checkpoint_epoch: Option<u64>,
    /// Directories that are in memory and shall be written.
    unwritten: Vec<Arc<Directory>>,
    /// Messages that are in no segment.
    missing: Vec<Hole>,
    /// The claim is not to be taken back.
    stays: &'a Cell<bool>,
    /// The epoch's file is there.
    is_published: bool,
    /// Segments that an earlier start, interrupted, left to be set aside.
    left_to_set_aside: Vec<SegmentId>,
    /// Of a member of a cluster.
    entries: Option<EntriesRead>,
}

/// What is wrong with an encrypted file in a journal that is not.
pub(crate) const ENCRYPTED_ALONE: &str = "the file is encrypted, and its journal is not";

/// What a start has to read: told while it goes on, and afterwards.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    /// Bytes of files that are dealt with.
    pub(crate) done: u64,
    /// Bytes of all files that have to be dealt with.
    pub(crate) total: u64,
    /// Bytes that were read for it: of a directory only the table of runs is.
    pub(crate) bytes_read: u64,
    /// Entries of the checkpoint and records of the tail.
    pub(crate) records: u64,
}

impl Work {
    pub(crate) fn tell(&self, replay: &mut dyn Replay) {
        replay.progressed(self.done, self.total.max(self.done), self.records);
    }
}

impl Journal {
    /// Opens the journal in `disk`'s directory, creating it when there is none, and replays its state.
    pub fn open(
        disk: &Arc<dyn Disk>,
        options: Options,
        replay: &mut dyn Replay,
    ) -> Result<(Journal, Opened), OpenError> {
        let mut options = options;
        options.segment_bytes_max = options.segment_bytes_max.max(SEGMENT_BYTES_MIN);
        // What is not on the disk was promised to nobody, and others count on it.
        options.sync |= options.durability == Durability::Quorum;
        files::refuse_foreign(disk.as_ref())?;
        // Before the claim: a wrong key leaves everything as it is.
        let peeked = files::peek_newest_epoch(disk.as_ref())?;
        unlock(peeked.as_ref(), &options)?;
        let stands_alone = options.durability == Durability::Local && !options.leaves_cluster;
        if stands_alone && peeked.as_ref().is_some_and(|newest| newest.is_member) {
            return Err(OpenError::Member);
        }
        let claim = match options.claim.take() {
            Some(claim) => claim,
            None => Claim::alone(disk, &options.holder, options.identity)?,
        };
        let stays = Cell::new(false);
        let opened = Journal::open_claimed(disk.as_ref(), options, &claim, &stays, replay);
        // Who was overtaken finds files gone, and may take that for damage.
        let standpoint = opened.is_err().then(|| claim.held().look());
        match standpoint {
            Some(Ok(Standpoint::Deposed { by })) => {
                let number = claim.number();
                return Err(OpenError::Overtaken { number, by });
            }
            Some(_) if !stays.get() => claim.withdraw(disk.as_ref()),
            _ => {}
        }
        opened
    }

    /// `stays` becomes true when the claim has to stay, whatever fails: what was changed was changed for its epoch.
    fn open_claimed(
        disk: &dyn Disk,
        options: Options,
        claim: &Claim,
        stays: &Cell<bool>,
        replay: &mut dyn Replay,
    ) -> Result<(Journal, Opened), OpenError> {
        let disk = &Fenced::new(disk, claim.held());
        let mut recovery = Recovery::begin(disk, &options, stays)?;
        let identity = recovery.identity;
        let checkpoint = recovery.read_checkpoint(replay)?;
        let position = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.published.begin);
        recovery.checkpoint_epoch = checkpoint.as_ref().map(|checkpoint| checkpoint.epoch);
        if options.durability == Durability::Quorum {
            let members = checkpoint.as_ref().and_then(|read| read.published.members.as_ref());
            let base = members.map(|members| members.id).unwrap_or_default();
            let begin = checkpoint.as_ref().map_or(Cut::default(), |checkpoint| checkpoint.tail);
            recovery.entries = Some(EntriesRead::new(base, begin, options.cut_after));
        }
        replay.tail_begins(position);
        let tail = recovery.read_tail(checkpoint.as_ref(), replay)?;
        recovery.read_older_entries(checkpoint.as_ref().map(|checkpoint| checkpoint.tail))?;
        let vote = recovery.read_vote()?;
        replay.verify().map_err(OpenError::Refused)?;
        if let Some(last) = tail.last.as_ref().filter(|_| !is_planted(Fault::LastBatchNotAgain)) {
            recovery
                .when_full(tail.end, |disk| Recovery::write_again(disk, last))
                .map_err(io_error(format!(
                    "write the last batch of {} again",
                    last.id.file_name()
                )))?;
        }
        // Until here nothing was changed, and from here on nothing that is on the disk stops the start.
        recovery.build_index(tail.end, replay)?;
        recovery.check_promises(tail.report.as_ref())?;
        if recovery.gives_up() {
            stays.set(true);
        }
        recovery.copy_what_is_given_up()?;
        let vote = recovery.make_vote_file(vote, tail.end)?;
        let epoch = recovery.open_epoch(tail.end)?;
        // Before directories are written: they can wait in memory when the disk is full, records cannot.
        let first = recovery.first_segment(epoch, tail.end)?;
        recovery.write_directories();
        // What was read is final when nobody has claimed since: the next claimant finds this epoch's cut.
        disk.holding()
            .guard()
            .map_err(io_error("look whether the claim holds"))?;
        tell_logs(&recovery.index, &recovery.missing, replay);
        let opened = Opened {
            epoch,
            created: recovery.files.epochs.is_empty(),
            position: tail.end.position,
            checkpoint: checkpoint.as_ref().map(|checkpoint| checkpoint.published.begin),
            tail_records: tail.records,
            bytes_read: recovery.work.bytes_read,
            cut: tail.report,
            remarks: recovery.remarks.clone(),
        };
        let found = Found {
            tolerates_holes: recovery.tolerates_holes(),
            keys: recovery.keys,
            index: recovery.index,
            segments: recovery.segments,
            entries: recovery.entries,
            checkpoint: checkpoint.map(|checkpoint| checkpoint.published),
            tail_bytes: tail.bytes,
            end: tail.end,
            first,
            vote,
        };
        Ok((Journal::go_on(found, identity, options, claim.clone()), opened))
    }

    /// The journal that goes on behind what a start found.
    fn go_on(found: Found, identity: Identity, mut options: Options, claim: Claim) -> Journal {
        let scope = Scope {
            identity,
            epoch: found.first.id.epoch,
            keys: found.keys,
            is_member: options.durability == Durability::Quorum,
        };
        // The keys are derived by now; the secret itself is not kept.
        options.encryption = None;
        let (mut newest, mut segments) = (found.checkpoint, found.segments);
        if let Some(newest) = newest.as_mut()
            && found.entries.as_ref().is_some_and(|entries| entries.stood_alone)
        {
            newest.members = None;
        }
        segments.cover(newest.as_ref().map_or(0, |newest| newest.begin_segment));
        // A long tail makes this start ask for a checkpoint soon.
        let mut checkpoints = Checkpoints::new(options.checkpoint_bytes, newest, found.tail_bytes);
        checkpoints.begin_synced(found.end.position);
        let replicated = found.entries.map(EntriesRead::finish);
        Journal::assemble(Parts {
            records: RecordLog::new(&scope, &options, found.first, found.end, replicated, &mut segments),
            checkpoints,
            scope,
            options,
            index: found.index,
            segments,
            vote: found.vote,
            tolerates_holes: found.tolerates_holes,
            claim,
        })
    }
}

/// Gives the logs of an index to its owner, and before them which messages are in no segment.
pub(crate) fn tell_logs(index: &Index, missing: &[Hole], replay: &mut dyn Replay) {
    let mut lost: BTreeMap<LogId, u64> = BTreeMap::new();
    for hole in missing {
        replay.lost(hole.log, hole.from, hole.to);
        *lost.entry(hole.log).or_default() += hole.to - hole.from + 1;
    }
    for slot in 0..index.slots() {
        let Some((log, bounds)) = index.slot(slot) else {
            continue;
        };
        replay.log_recovered(RecoveredLog {
            log,
            first: bounds.first,
            last: bounds.last,
            lost: lost.get(&log).copied().unwrap_or(0),
            bytes: bounds.bytes,
            last_timestamp: bounds.last_timestamp,
        });
    }
}

/// What a start found, and made.
struct Found {
    tolerates_holes: bool,
    keys: Option<Arc<Keys>>,
    index: Index,
    segments: SegmentSet,
    entries: Option<EntriesRead>,
    checkpoint: Option<Published>,
    tail_bytes: u64,
    end: Cut,
    first: FirstSegment,
    vote: Counted,
}

/// Whether the journal on a disk could be opened with this key, as far as that shows without opening it; changes nothing. A disk
/// without one can.
///
/// # Errors
/// It is no journal of ours, or of another key.
pub fn check_fit(disk: &dyn Disk, encryption: Option<&Encryption>) -> Result<(), OpenError> {
    files::refuse_foreign(disk)?;
    let options = Options {
        encryption: encryption.cloned(),
        ..Options::new(Identity::default())
    };
    let peeked = files::peek_newest_epoch(disk)?;
    match peeked {
        Some(newest) => unlock(Some(&newest), &options).map(drop),
        None => Ok(()),
    }
}

/// The keys of a journal with this newest epoch file; `None` when it is not encrypted and shall not be.
pub(crate) fn unlock(newest: Option<&EpochFile>, options: &Options) -> Result<Option<Arc<Keys>>, OpenError> {
    let identity = newest.map_or(options.identity, |epoch| epoch.identity);
    let existing = newest.and_then(|epoch| epoch.encryption.as_ref());
    match (&options.encryption, existing) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(OpenError::KeyRequired),
        (Some(encryption), existing) => match encryption.keys(existing, &identity) {
            Ok(keys) => Ok(Some(Arc::new(keys))),
            Err(KeyError) => Err(OpenError::WrongKey),
        },
    }
}

impl<'a> Recovery<'a> {
    /// Looks at what is there.
    fn begin(disk: &'a Fenced<'a>, options: &'a Options, stays: &'a Cell<bool>) -> Result<Recovery<'a>, OpenError> {
        let files = Files::list(disk, disk.writer())?;
        // One that was interrupted before its epoch counted gave nothing up.
        let gave_up = files.witness.is_some() && files.witness == files.newest_epoch().map(|epoch| epoch.epoch);
        if gave_up && options.damage == DamagePolicy::CutThere {
            return Err(OpenError::GaveUpBefore {
                witness: GIVEN_UP_NAME.to_owned(),
            });
        }
        let identity = files.newest_epoch().map_or(options.identity, |epoch| epoch.identity);
        let keys = unlock(files.newest_epoch(), options)?;
        let mut recovery = Recovery {
            disk,
            options,
            identity,
            remarks: files.remarks.clone(),
            files,
            index: Index::default(),
            segments: SegmentSet::default(),
            built: Vec::new(),
            work: Work::default(),
            keys,
            body: Vec::new(),
            given_up: GivenUp::default(),
            losses_seen: 0,
            checkpoint_epoch: None,
            unwritten: Vec::new(),
            missing: Vec::new(),
            stays,
            is_published: false,
            left_to_set_aside: Vec::new(),
            entries: None,
        };
        recovery.leave_out_set_aside();
        recovery.work.total = recovery.files.bytes_to_read();
        Ok(recovery)
    }
}

impl Recovery<'_> {
    /// Whether a start goes on although messages are in no segment.
    pub(crate) fn tolerates_holes(&self) -> bool {
        let before = self.files.newest_epoch().is_some_and(|epoch| epoch.holes);
        before || self.options.damage == DamagePolicy::CutThere
    }

    /// What a member promised in elections; `None` when there is no file for that yet, or it counts no more. Writes nothing.
    fn read_vote(&self) -> Result<Option<Counted>, OpenError> {
        let Some(entries) = self.entries.as_ref().filter(|_| !self.options.votes_anew) else {
            return Ok(None);
        };
        // Since it stood alone nobody has counted on what it promised before, and it has taken what nobody else has.
        if self.files.newest_epoch().is_some_and(|newest| !newest.is_member) {
            return Ok(None);
        }
        let reason = match vote::read(self.disk, &self.identity).map_err(io_error("read the file vote"))? {
            Some(Ok(counted)) => return Ok(Some(counted)),
            Some(Err(reason)) => format!("the file vote says nothing: {reason}"),
            None => "there is no file vote".to_owned(),
        };
        if entries.is_empty() {
            return Ok(None);
        }
        Err(OpenError::VotesUnknown { reason })
    }

    /// Refuses to give up what was promised, unless the member comes back as another: what is missing then others count on, as they do on
    /// votes. Nothing was changed.
    fn check_promises(&self, cut: Option<&CutReport>) -> Result<(), OpenError> {
        if self.entries.is_none() || self.options.votes_anew {
            return Ok(());
        }
        let given_up = match cut.filter(|cut| !cut.is_torn) {
            Some(CutReport { file, offset, .. }) => Some(format!("{file} is damaged at offset {offset}")),
            None if self.gives_up() && !self.missing.is_empty() => Some("messages are in no segment".to_owned()),
            None if self.given_up.is_anything() => Some("something is damaged".to_owned()),
            None => None,
        };
        match given_up {
            None => Ok(()),
            Some(damage) => Err(OpenError::VotesUnknown {
                reason: format!("{damage}, and was to be given up"),
            }),
        }
    }

    /// A member has a file for its votes before there can be an entry.
    fn make_vote_file(&mut self, vote: Option<Counted>, cut: Cut) -> Result<Counted, OpenError> {
        if self.entries.is_some() && vote.is_none() {
            let identity = self.identity;
            self.when_full(cut, |disk| vote::create(disk, &identity))
                .map_err(io_error("make the file vote"))?;
        }
        Ok(vote.unwrap_or_default())
    }

    /// Prepares the segment in which the epoch begins; on a full disk a small one, so that acks and trims, which win space back,
    /// can be written.
    fn first_segment(&mut self, epoch: u64, cut: Cut) -> Result<FirstSegment, OpenError> {
        let number = self.files.numbers_seen + 1;
        let id = SegmentId { number, epoch };
        let encryption = self.keys.as_ref().map(|keys| keys.header);
        let is_clustered = self.options.durability == Durability::Quorum;
        let (identity, usual) = (self.identity, SEGMENT_BYTES_FIRST.min(self.options.segment_bytes_max));
        let attempt = |disk: &Fenced<'_>, least: u64, headroom: u64| {
            let mut capacity = usual;
            loop {
                let job = PrepareJob {
                    identity,
                    encryption,
                    is_clustered,
                    id,
                    capacity,
                    headroom,
                    recycled: None,
                };
                match prepare(disk, &job) {
                    Err(error) if is_full(&error) && capacity > least => {
                        capacity = (capacity / 2).max(least);
                    }
                    result => return result.map(|file| (capacity, file)),
                }
            }
        };
        // Nothing can be removed without a checkpoint, which takes space as well.
        let result = match self.when_full(cut, |disk| attempt(disk, SEGMENT_BYTES_MIN, SEGMENT_BYTES_FIRST / 4)) {
            Err(error) if is_full(&error) => attempt(self.disk, SEGMENT_BYTES_FULL_DISK, 0),
            result => result,
        };
        let (capacity, file) = result.map_err(io_error("prepare the first segment"))?;
        Ok(FirstSegment { id, capacity, file })
    }

    /// Does something that takes space; finds some when there is none, and tries again.
    fn when_full<T>(&mut self, cut: Cut, action: impl Fn(&Fenced<'_>) -> io::Result<T>) -> io::Result<T> {
        match action(self.disk) {
            Err(error) if is_full(&error) && self.free_unused(cut)? => action(self.disk),
            result => result,
        }
    }

    /// Gives back unfinished files of earlier epochs; and, when nobody else has the directory open or the cut is published, what the last
    /// epoch prepared and did not use: segments behind the cut, in which no batch counts, and the rest of the segment that is cut.
    /// Whether there was anything.
    fn free_unused(&mut self, cut: Cut) -> io::Result<bool> {
        let unfinished = std::mem::take(&mut self.files.unfinished);
        let mut freed = !unfinished.is_empty();
        for name in unfinished {
            self.stays.set(true);
            remove_if_there(self.disk, &name)?;
        }
        if self.disk.holding().is_alone() || self.is_published {
            freed |= self.free_behind(cut)?;
        }
        self.disk.sync_directory()?;
        Ok(freed)
    }

    fn free_behind(&mut self, cut: Cut) -> io::Result<bool> {
        let beyond = self.files.take_beyond(cut.segment);
        let mut freed = !beyond.is_empty();
        for id in beyond {
            self.stays.set(true);
            remove_if_there(self.disk, &id.file_name())?;
        }
        let keep = cut.offset.next_multiple_of(4_096);
        let mut segments = self.files.segments.iter_mut();
        if let Some((id, length)) = segments.find(|(id, length)| id.number == cut.segment && **length > keep) {
            let file = self.disk.open(&id.file_name())?;
            self.stays.set(true);
            self.disk.before_removal()?;
            file.set_length(keep)?;
            file.sync_data()?;
            *length = keep;
            if self.segments.contains(id.number) {
                self.segments.shorten(id.number, keep);
            }
            freed = true;
        }
        Ok(freed)
    }
}

impl From<ClaimError> for OpenError {
    fn from(error: ClaimError) -> OpenError {
        match error {
            ClaimError::Overtaken { by } => OpenError::Overtaken { number: by, by },
            ClaimError::Held { holder } => OpenError::Locked { holder },
            ClaimError::Io { action, source } => io_error(action)(source),
            missing @ ClaimError::Missing { .. } => io_error("claim the directory")(io::Error::other(missing)),
        }
    }
}
