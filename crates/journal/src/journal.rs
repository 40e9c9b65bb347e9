//! The journal itself: the state, and the two sides on which it is driven (jobs out, outcomes in). What each kind of step
//! does is decided in the modules beside this one.

use crate::checkpoint::Checkpoints;
use crate::commit::Writer;
use crate::disk::DiskLock;
use crate::encryption::Keys;
use crate::format::Identity;
use crate::head::Heads;
use crate::job::{Job, JobKind, Outcome, OutcomeKind};
use crate::limits::READS_MAX;
use crate::logs::Logs;
use crate::maintenance::Maintenance;
use crate::options::Options;
use crate::read::Reads;
use crate::rewrite::Rewriter;
use crate::segment::Segments;
use crate::tail::{Cache, Tail};
use crate::{Completion, LogId, Position, Statistics};
use std::sync::Arc;

/// A write-ahead log shared by many message logs. See the crate's documentation for how it is driven.
pub struct Journal {
    pub(crate) identity: Identity,
    pub(crate) epoch: u64,
    pub(crate) options: Options,
    /// With which what is written is encrypted, and what was is read.
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) logs: Logs,
    pub(crate) segments: Segments,
    pub(crate) tail: Tail,
    pub(crate) cache: Cache,
    pub(crate) writer: Writer,
    pub(crate) maintenance: Maintenance,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) rewriter: Rewriter,
    pub(crate) reads: Reads,
    pub(crate) heads: Heads,
    pub(crate) completions: Vec<Completion>,
    pub(crate) poisoned: Option<String>,
    pub(crate) statistics: Statistics,
    /// Only what is appended still goes to the disk.
    pub(crate) closing: bool,
    pub(crate) lock: Option<Box<dyn DiskLock>>,
}

impl Journal {
    /// The next job that may be run now; `None` until something changes. At most one job of the commit lane, one of the
    /// maintenance lane and a few of the reader lane are out at a time.
    pub fn next_job(&mut self) -> Option<Job> {
        loop {
            let open = self.writer.open.id;
            let kind = self
                .next_commit()
                .or_else(|| self.next_maintenance())
                .or_else(|| self.next_reader_job());
            match kind {
                Some(kind) => return Some(Job(kind)),
                // Looking for a job ended the open segment: there is a batch to commit now.
                None if self.writer.open.id != open => {}
                None => return None,
            }
        }
    }

    fn next_reader_job(&mut self) -> Option<JobKind> {
        if self.reads.outstanding >= READS_MAX || self.closing {
            return None;
        }
        let job = self
            .next_windows_job()
            .or_else(|| self.next_read())
            .or_else(|| self.next_seek())?;
        self.reads.outstanding += 1;
        Some(job)
    }

    /// Takes back what became of a job. Outcomes may come in any order.
    pub fn completed(&mut self, outcome: Outcome) {
        let elapsed = u64::try_from(outcome.elapsed.as_nanos()).unwrap_or(u64::MAX);
        match outcome.kind {
            OutcomeKind::Commit(result) => self.commit_completed(result, elapsed),
            OutcomeKind::Read { read, id, result } => self.read_completed(read, id, result),
            OutcomeKind::Seek {
                id,
                ticket,
                log,
                result,
            } => self.seek_completed(id, ticket, log, result),
            OutcomeKind::Windows(parts) => self.windows_completed(parts),
            other => {
                self.maintenance.busy = false;
                match other {
                    OutcomeKind::Prepare { number, result } => self.prepare_completed(number, result),
                    OutcomeKind::Seal {
                        id,
                        shortened,
                        directory,
                        result,
                    } => {
                        self.seal_completed(id, shortened, directory, result);
                    }
                    OutcomeKind::WriteCheckpoint { bytes, result } => self.checkpoint_written(bytes, result),
                    OutcomeKind::PublishCheckpoint(result) => self.checkpoint_published(result),
                    OutcomeKind::Remove { result } => self.remove_completed(result),
                    OutcomeKind::Runs(result) => self.rewrite_runs_read(result),
                    OutcomeKind::Gather(result) => self.rewrite_gathered(result),
                    OutcomeKind::Continue => {}
                    OutcomeKind::Commit(_)
                    | OutcomeKind::Read { .. }
                    | OutcomeKind::Seek { .. }
                    | OutcomeKind::Windows(_) => unreachable!("handled above"),
                }
            }
        }
        self.maintain();
    }

    /// Moves what happened since the last call to the end of `into`.
    pub fn poll(&mut self, into: &mut Vec<Completion>) {
        into.append(&mut self.completions);
    }

    /// Whether [`Journal::poll`] has something to give.
    pub fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }

    /// Everything up to and including this position is durable (written, when the journal runs unsynced).
    pub fn durable(&self) -> Position {
        self.writer.durable
    }

    /// Position of the newest record appended.
    pub fn appended(&self) -> Position {
        self.writer.next_position
    }

    /// Why the journal takes no more writes, if it does not.
    pub fn poison_reason(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// The epoch this start opened, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The random bytes that name this journal.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// All logs that exist, in no particular order.
    pub fn logs(&self) -> impl Iterator<Item = LogId> {
        self.logs.iter().map(|log| log.id)
    }

    /// Figures for monitoring.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            live_bytes: self.logs.bytes,
            disk_bytes: self.disk_bytes(),
            segments: (self.segments.by_number.len() + self.writer.planned.len()) as u64
                + u64::from(self.maintenance.spare.is_some()),
            logs: self.logs.len() as u64,
            checkpoint_position: self.checkpoints.begin,
            checkpoint_bytes: self.checkpoints.last_bytes,
            tail_bytes: self.tail_bytes(),
            cache_bytes: self.cache.bytes() as u64,
            ..self.statistics
        }
    }

    /// Gives up writing. What is durable can still be read; nothing is retried.
    pub(crate) fn poison(&mut self, reason: String) {
        if self.poisoned.is_some() {
            return;
        }
        self.poisoned = Some(reason.clone());
        self.completions.push(Completion::Poisoned(reason));
    }

    /// From now on only what is appended is written; maintenance and reads stop.
    pub(crate) fn begin_closing(&mut self) {
        self.closing = true;
    }

    /// Takes the lock out of the journal, so that it can outlive jobs that still run.
    pub(crate) fn take_lock(&mut self) -> Option<Box<dyn DiskLock>> {
        self.lock.take()
    }
}
