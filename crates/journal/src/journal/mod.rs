//! The journal itself: its parts, and the two sides on which it is driven (jobs out, outcomes in). Each part decides what is its
//! own; here and in the modules below they meet.

mod archiving;
mod imaging;
mod pinning;
mod reading;
mod reopening;
mod replicating;
mod rewriting;
mod upkeep;

use crate::checkpoints::{CheckpointError, Checkpoints};
use crate::claim::{Claim, Fenced};
use crate::completion::Completion;
use crate::disk::Disk;
use crate::error::Refusal;
use crate::format::{Identity, encode_end, end_name, epoch_name};
use crate::image::{Archiving, Kept};
use crate::index::Index;
use crate::job::{Job, JobKind, Outcome, OutcomeKind};
use crate::names::{LogId, Need, Position};
use crate::options::Options;
use crate::pinned::Hold;
use crate::reads::Reads;
use crate::record;
use crate::record_log::RecordLog;
use crate::scope::Scope;
use crate::segments::SegmentSet;
use crate::statistics::Statistics;
use crate::vote::{Counted, Votes};
use crate::whole_file::write_whole;
use rewriting::Rewriter;
use std::sync::Arc;
use upkeep::Upkeep;

/// A write-ahead log shared by many message logs. See the crate's documentation for how it is driven.
pub struct Journal {
    scope: Scope,
    options: Options,
    index: Index,
    segments: SegmentSet,
    records: RecordLog,
    checkpoints: Checkpoints,
    reads: Reads,
    rewriter: Rewriter,
    upkeep: Upkeep,
    completions: Vec<Completion>,
    poisoned: Option<String>,
    statistics: Statistics,
    /// Only what is appended still goes to the disk.
    closing: bool,
    /// What shows that the directory is this start's; none once it was closed.
    claim: Option<Claim>,
    /// The file that opened the epoch: without it no start finds what was written in it, so commits look for it.
    needed: Arc<str>,
    /// Files are kept for an image.
    kept: Option<Kept>,
    /// What is not archived is kept.
    archiving: Option<Archiving>,
    /// Files are kept for those who read them beside it.
    holds: Vec<Hold>,
    /// Messages may be in no segment: they were given up once.
    tolerates_holes: bool,
    /// Of a member of a cluster.
    votes: Votes,
}

/// What a start found, of which a journal is made.
pub(crate) struct Parts {
    pub(crate) scope: Scope,
    pub(crate) options: Options,
    pub(crate) index: Index,
    pub(crate) segments: SegmentSet,
    pub(crate) records: RecordLog,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) vote: Counted,
    pub(crate) tolerates_holes: bool,
    pub(crate) claim: Claim,
}

impl Journal {
    pub(crate) fn assemble(parts: Parts) -> Journal {
        let needed = Arc::from(epoch_name(parts.scope.epoch));
        let archiving = parts.options.unarchived_bytes_max.map(Archiving::new);
        let mut journal = Journal {
            scope: parts.scope,
            options: parts.options,
            index: parts.index,
            segments: parts.segments,
            records: parts.records,
            checkpoints: parts.checkpoints,
            reads: Reads::default(),
            rewriter: Rewriter::default(),
            upkeep: Upkeep::default(),
            completions: Vec::new(),
            poisoned: None,
            statistics: Statistics::default(),
            closing: false,
            claim: Some(parts.claim),
            needed,
            kept: None,
            holds: Vec::new(),
            tolerates_holes: parts.tolerates_holes,
            archiving,
            votes: Votes::new(parts.vote),
        };
        // Until somebody says which are needed.
        journal.retain_from(0);
        journal.keep_unarchived();
        journal.maintain();
        journal
    }

    /// Appends a message; its body is the concatenation of `body`. It is visible to [`Journal::message`] at once, durable
    /// once `durable()` reaches the returned position.
    ///
    /// # Panics
    /// When `sequence` is not one above the log's last (any higher one is right for a log without messages), or the body is
    /// larger than [`crate::limits::RECORD_BODY_BYTES_MAX`].
    pub fn append_message(&mut self, log: LogId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        assert!(
            sequence > 0 && sequence < u64::MAX,
            "sequence {sequence} is out of range"
        );
        let appended = self
            .records
            .append_message(false, log, sequence, timestamp, body, &mut self.segments);
        let Some(appended) = appended else {
            return self.records.discard();
        };
        self.index.append(log, sequence, timestamp, &appended);
        self.statistics.records += 1;
        appended.position
    }

    /// Appends a fact: opaque to the journal, replayed at the next start unless a checkpoint covers it. When it is urgent an answer
    /// depends on it; otherwise it may ride the next batch, or be submitted within 50 ms.
    ///
    /// # Panics
    /// When the body is larger than [`crate::limits::RECORD_BODY_BYTES_MAX`].
    pub fn append_fact(&mut self, kind: u8, body: &[u8], urgent: bool) -> Position {
        self.append(body, urgent, |out, form| record::write_fact(out, form, kind, body))
    }

    /// Removes the messages of `log` below `first` (lazily synced). A `first` above the last sequence plus one means that.
    /// `body` is replayed to the owner.
    pub fn trim(&mut self, log: LogId, first: u64, body: &[u8]) -> Position {
        let position = self.append(body, false, |out, form| record::write_trim(out, form, log, first, body));
        if self.poisoned.is_none() {
            let (records, segments) = (&self.records, &mut self.segments);
            self.index
                .forget_before(log, first, position, records, segments, &mut self.completions);
        }
        position
    }

    /// Removes `log` with all its messages. `body` is replayed to the owner. The id must never be used again.
    pub fn delete_log(&mut self, log: LogId, body: &[u8], urgent: bool) -> Position {
        let position = self.append(body, urgent, |out, form| record::write_delete(out, form, log, body));
        if self.poisoned.is_none() {
            self.index
                .forget_log(log, position, &mut self.segments, &mut self.completions);
        }
        position
    }

    fn append(&mut self, body: &[u8], urgent: bool, write: impl FnOnce(&mut Vec<u8>, record::Form) -> u32) -> Position {
        self.statistics.records += u64::from(self.poisoned.is_none());
        self.records.append(body.len(), urgent, &mut self.segments, write)
    }

    /// Hands the collected batch to the commit job, now or as soon as the running commit ends.
    pub fn submit(&mut self) {
        self.records.submit();
        self.maintain();
        self.tell_holder();
    }

    /// Whether somebody waits for something that was appended and not yet submitted.
    pub fn has_urgent(&self) -> bool {
        self.records.has_urgent()
    }

    /// Whether anything was appended and not yet submitted.
    pub fn has_unsubmitted(&self) -> bool {
        self.records.has_unsubmitted()
    }

    /// Record bytes appended and not yet durable; 0 after poisoning: nothing waits any more.
    pub fn backlog_bytes(&self) -> u64 {
        self.records.backlog_bytes()
    }

    /// Whether records of `bytes` bytes in all (their bodies) may be appended.
    ///
    /// # Errors
    /// There is no room, or not yet, or never again: the refusal says which.
    pub fn admission(&mut self, bytes: u64, need: Need) -> Result<(), Refusal> {
        match &self.poisoned {
            Some(reason) => Err(Refusal::Poisoned(reason.clone())),
            None => self.records.admission(bytes, need),
        }
    }

    /// Begins a checkpoint: the facts that follow, in as many slices as the owner likes, stand for everything appended so far.
    /// They may already reflect later records; the owner's replay of those over them must come to the same state.
    pub fn begin_checkpoint(&mut self) -> Result<Position, CheckpointError> {
        // What a checkpoint of a member stands for ends with an entry.
        let last_entry = self.is_member().then(|| {
            self.records.end_batch();
            self.last()
        });
        let (begin, tail) = (self.records.appended(), self.records.fill_start());
        let committed = self.statistics.committed_bytes;
        self.checkpoints
            .begin(&self.scope, begin, tail, committed, last_entry)?;
        Ok(begin)
    }

    /// Adds a fact to the checkpoint.
    pub fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) -> Result<(), CheckpointError> {
        self.checkpoints.fact(kind, body)
    }

    /// Checkpoint bytes that wait for the disk; an owner should pause while this is more than a few megabytes.
    pub fn checkpoint_backlog_bytes(&self) -> u64 {
        self.checkpoints.backlog_bytes()
    }

    /// Says that all facts were given. `Completion::CheckpointDone` follows when the checkpoint is durable.
    pub fn finish_checkpoint(&mut self) -> Result<(), CheckpointError> {
        self.checkpoints.finish(self.records.appended())?;
        self.submit();
        Ok(())
    }

    /// Gives up the checkpoint that lacks facts, if there is one, because who was to give them is gone. Nobody is told;
    /// `Completion::CheckpointNeeded` comes again after as many bytes as usually lie between two checkpoints.
    pub fn abandon_checkpoint(&mut self) {
        self.checkpoints.abandon(self.statistics.committed_bytes);
    }

    /// The next job that may be run now; `None` until something changes. At most one job of the commit lane, one of the
    /// maintenance lane and a few of the reader lane are out at a time.
    pub fn next_job(&mut self) -> Option<Job> {
        let claim = self.claim.clone()?;
        loop {
            let open = self.records.open_number();
            let kind = self
                .records
                .next_commit(&self.needed)
                .or_else(|| self.next_upkeep())
                .or_else(|| self.next_reader_job());
            match kind {
                Some(kind) => return Some(Job { kind, claim }),
                // Looking for a job ended the open segment: there is a batch to commit now.
                None if self.records.open_number() != open => {}
                None => return None,
            }
        }
    }

    fn next_reader_job(&mut self) -> Option<JobKind> {
        if let Some(vote) = self.next_vote() {
            return Some(vote);
        }
        if !self.reads.may_begin() || self.closing {
            return None;
        }
        let job = self.next_windows().or_else(|| self.next_entry_read()).or_else(|| {
            if self.reads.is_seek_next() {
                self.next_seek().or_else(|| self.next_read())
            } else {
                self.next_read().or_else(|| self.next_seek())
            }
        })?;
        self.reads.begin();
        Some(job)
    }

    /// Takes back what became of a job. Outcomes may come in any order.
    pub fn completed(&mut self, outcome: Outcome) {
        self.statistics.directories_rebuilt += outcome.repaired.len() as u64;
        self.completions
            .extend(outcome.repaired.into_iter().map(Completion::Warning));
        let elapsed = u64::try_from(outcome.elapsed.as_nanos()).unwrap_or(u64::MAX);
        match outcome.kind {
            OutcomeKind::Commit(result) => self.commit_completed(result, elapsed),
            OutcomeKind::Read { read, id, result } => self.read_completed(read, id, result),
            OutcomeKind::Seek {
                id,
                ticket,
                log,
                result,
                remark,
            } => {
                self.completions.extend(remark.map(Completion::Warning));
                self.seek_completed(id, ticket, log, result);
            }
            OutcomeKind::Windows(parts) => {
                self.reads.end();
                let at = self.records.appended();
                self.index
                    .windows_completed(parts, &mut self.segments, at, &mut self.completions);
            }
            OutcomeKind::Vote(result) => self.vote_written(result),
            OutcomeKind::Entry {
                ticket,
                segment,
                index,
                result,
            } => self.entry_read(ticket, segment, index, result),
            other => self.upkeep_completed(other),
        }
        // Whoever found out: nothing that is written now counts.
        if let Some(reason) = self.claim.as_ref().and_then(|claim| claim.held().reason()) {
            self.poison(reason);
        }
        self.maintain();
        self.tell_holder();
    }

    fn commit_completed(&mut self, result: std::io::Result<()>, nanoseconds: u64) {
        let durable = self.records.durable();
        let committed = match self.records.commit_completed(result) {
            None => return,
            Some(Err(reason)) => return self.poison(reason),
            Some(Ok(committed)) => committed,
        };
        let statistics = &mut self.statistics;
        statistics.commits += 1;
        statistics.committed_bytes += committed.bytes;
        statistics.batch_bytes_max = statistics.batch_bytes_max.max(committed.bytes);
        statistics.batch_bytes.observe(committed.bytes);
        statistics.batch_records.observe(u64::from(committed.records));
        statistics.commit_nanoseconds.observe(nanoseconds);
        statistics.commit_nanoseconds_max = statistics.commit_nanoseconds_max.max(nanoseconds);
        if self.is_member() {
            self.completions.push(Completion::Synced(self.records.synced()));
        }
        if self.records.durable() > durable {
            self.completions.push(Completion::Durable(self.records.durable()));
        }
        if !self.options.sync {
            let segment = self.scope.segment(committed.segment);
            self.checkpoints.written_unsynced(segment, self.records.durable());
        }
    }

    /// What a loss of power leaves for certain, and no later start takes back, ends here.
    fn lasting(&self) -> Position {
        if self.options.sync {
            self.records.durable()
        } else {
            self.checkpoints.synced()
        }
    }

    /// Moves what happened since the last call to the end of `into`.
    pub fn poll(&mut self, into: &mut Vec<Completion>) {
        into.append(&mut self.completions);
    }

    /// Whether [`Journal::poll`] has something to give.
    pub fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }

    /// Everything up to and including this position is durable (written, when the journal runs unsynced). Of a member of a cluster it is
    /// committed as well.
    pub fn durable(&self) -> Position {
        self.records.durable()
    }

    /// Position of the newest record appended.
    pub fn appended(&self) -> Position {
        self.records.appended()
    }

    /// Why the journal takes no more writes, if it does not.
    pub fn poison_reason(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// Why some publishes are refused now: the journal failed, or the last attempt to make a segment did. Asks nothing of the disk.
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.poisoned {
            Some(reason) => Some(Refusal::Poisoned(reason.clone())),
            None => self.records.no_room().cloned(),
        }
    }

    /// The epoch this start opened, from 1.
    pub fn epoch(&self) -> u64 {
        self.scope.epoch
    }

    /// The random bytes that name this journal.
    pub fn identity(&self) -> &Identity {
        &self.scope.identity
    }

    /// All logs that exist, in no particular order.
    pub fn logs(&self) -> impl Iterator<Item = LogId> {
        self.index.ids()
    }

    /// Figures for monitoring.
    pub fn statistics(&self) -> Statistics {
        let usage = self.usage();
        let newest = self.checkpoints.newest();
        Statistics {
            live_bytes: self.index.bytes(),
            disk_bytes: usage.total(),
            segments: self.segments.len() as u64 + self.records.waiting_segments().0,
            logs: self.index.len() as u64,
            checkpoint_position: newest.map_or(0, |newest| newest.begin),
            checkpoint_bytes: self.checkpoints.bytes(),
            tail_bytes: self.checkpoints.tail_bytes(self.statistics.committed_bytes),
            cache_bytes: self.records.cache_bytes() as u64,
            unarchived_bytes: usage.unarchived(),
            ..self.statistics
        }
    }

    /// Gives up writing. What is durable can still be read; nothing is retried.
    fn poison(&mut self, reason: String) {
        if self.poisoned.is_some() {
            return;
        }
        self.records.stop();
        self.poisoned = Some(reason.clone());
        self.completions.push(Completion::Poisoned(reason));
    }

    /// From now on only what is appended is written; maintenance and reads stop.
    pub(crate) fn begin_closing(&mut self) {
        self.closing = true;
        self.tell_holder();
    }

    /// Whether the disk owes anything, for the signs of life: see [`Holding::waits_for_disk`](crate::Holding::waits_for_disk).
    fn tell_holder(&self) {
        let Some(claim) = &self.claim else { return };
        // What was given up, or is to end, has to let go of the directory.
        let owes = self.closing || self.poisoned.is_some() || self.records.owes();
        claim.held().set_waiting(owes.then(|| self.records.synced()));
    }

    /// Leaves word of where everything ends, so that the next start can tell damage there from an interrupted write. For an orderly
    /// stop, when nothing is under way any more; says whether there was anything to be sure of.
    pub fn mark_end(&mut self, disk: &dyn Disk) -> bool {
        let Some(claim) = &self.claim else { return false };
        let disk = &Fenced::new(disk, claim.held());
        let is_sure = self.poisoned.is_none() && self.options.sync && self.synced() == self.appended();
        if !is_sure {
            return false;
        }
        self.closing = true;
        let end = self.records.fill_start();
        let bytes = encode_end(&self.scope.identity, self.scope.epoch, end);
        // Without this file the next start takes damage at the end for an interrupted write, as after a kill.
        write_whole(disk, &end_name(self.scope.epoch), &bytes).is_ok()
    }

    /// Gives the directory up: nothing is written any more, and others may open it.
    pub(crate) fn release_claim(&mut self) {
        self.claim = None;
    }
}
