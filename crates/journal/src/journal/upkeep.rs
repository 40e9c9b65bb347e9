//! What happens behind the commits: preparing segments, writing and absorbing directories, removing or recycling dead
//! segments, and deciding when a checkpoint is needed. One job of this kind is out at a time.

use super::Journal;
use crate::completion::Completion;
use crate::directory::Directory;
use crate::disk::DiskFile;
use crate::image::Cause;
use crate::job::{JobKind, OutcomeKind, Removed};
use crate::limits::STEP_LOGS_MAX;
use crate::record::MESSAGE_OVERHEAD_BYTES;
use crate::record_log::{Prepared, Spare};
use crate::segments::{self, DeadSegment};
use std::io;
use std::sync::Arc;

/// A directory on its way into the index.
struct Absorption {
    directory: Arc<Directory>,
    next_run: usize,
}

#[derive(Default)]
pub(super) struct Upkeep {
    busy: bool,
    absorption: Option<Absorption>,
    sealing: bool,
    becoming_spare: Option<Spare>,
    /// The operator was told that there is no room.
    no_room_told: bool,
    left: Left,
}

/// Files that should be gone and could not be removed.
#[derive(Default)]
struct Left {
    names: Vec<String>,
    /// They are tried again when more than this is durable.
    retry_after: u64,
    /// The operator was told of them.
    is_told: bool,
}

/// Where the space of the journal goes, in bytes.
pub(super) struct Usage {
    segments: segments::Usage,
    /// The open and the prepared segments, the spare, the checkpoint.
    other: u64,
}

impl Usage {
    pub(super) fn total(&self) -> u64 {
        self.segments.sealed + self.other
    }

    /// What could go if it were archived.
    pub(super) fn unarchived(&self) -> u64 {
        self.segments.held_by_archive
    }

    /// Of sealed segments what does not go by itself.
    pub(super) fn staying(&self) -> u64 {
        self.segments.sealed - self.segments.leaving
    }
}

impl Journal {
    /// Brings queued consequences about; called after every change, cheap when there is nothing to do.
    pub(super) fn maintain(&mut self) {
        if self.poisoned.is_some() {
            return;
        }
        self.let_image_go();
        self.let_holds_go();
        self.let_archived_go();
        self.absorb_some();
        let appended = self.records.appended();
        let ended = self.checkpoints.step(&self.index, appended);
        if ended && self.records.synced() < appended {
            self.records.submit();
        }
        self.ask_for_checkpoint();
    }

    pub(super) fn next_upkeep(&mut self) -> Option<JobKind> {
        if self.upkeep.busy || self.poisoned.is_some() {
            return None;
        }
        if self.closing {
            let needed = self.records.waits_for_file();
            let job = if needed { self.next_prepare() } else { None };
            self.upkeep.busy = job.is_some();
            return job;
        }
        // What shortens a restart goes before the next segment, which is prepared ahead: a disk that cannot keep up slows publishers
        // down, and not the checkpoints.
        let (durable, slots) = (self.records.durable(), self.index.slots());
        let job = (self.upkeep.absorption.is_some().then_some(JobKind::Continue))
            .or_else(|| self.checkpoints.next_job(durable, slots))
            .or_else(|| self.next_seal())
            .or_else(|| self.next_prepare())
            .or_else(|| self.next_removal())
            .or_else(|| self.next_rewrite())?;
        self.upkeep.busy = true;
        Some(job)
    }

    pub(super) fn upkeep_completed(&mut self, outcome: OutcomeKind) {
        self.upkeep.busy = false;
        match outcome {
            OutcomeKind::Prepare { result } => self.prepare_completed(result),
            OutcomeKind::Seal {
                shortened,
                directory,
                written,
            } => self.seal_completed(shortened, &directory, written),
            OutcomeKind::WriteCheckpoint { bytes, result } => {
                let committed = self.statistics.committed_bytes;
                if let Err(reason) = self.checkpoints.written(bytes, result, committed) {
                    self.give_up_image();
                    self.give_up_unarchived(Cause::NoSpace);
                    self.completions.push(Completion::CheckpointAbandoned(reason));
                }
            }
            OutcomeKind::PublishCheckpoint(result) => self.checkpoint_published(result),
            OutcomeKind::Remove(removed) => self.remove_completed(removed),
            OutcomeKind::Runs(result) => self.rewrite_runs_read(result),
            OutcomeKind::Gather(result) => self.rewrite_gathered(result),
            OutcomeKind::Continue => {}
            OutcomeKind::Commit(_)
            | OutcomeKind::Read { .. }
            | OutcomeKind::Seek { .. }
            | OutcomeKind::Windows(_)
            | OutcomeKind::Vote(_)
            | OutcomeKind::Entry { .. } => unreachable!("not of this lane"),
        }
    }

    fn next_prepare(&mut self) -> Option<JobKind> {
        let (job, recycles) = self.records.next_prepare(self.checkpoints.bytes() * 2)?;
        self.statistics.recycled += u64::from(recycles);
        Some(JobKind::Prepare(job))
    }

    fn prepare_completed(&mut self, result: io::Result<Arc<dyn DiskFile>>) {
        match self.records.prepared(result, &mut self.segments) {
            None => {}
            // Nobody was refused yet, and what is kept for an image is the first to go.
            Some(Prepared::Smaller) => self.give_up_kept(),
            Some(Prepared::Ready { .. }) => {
                self.upkeep.no_room_told = false;
                if self.records.take_refused() {
                    self.completions.push(Completion::SpaceBack);
                }
            }
            Some(Prepared::NoRoom) => {
                // When that gave something back, it is tried again behind the removal.
                self.give_up_kept();
                let reason = self.records.no_room().map(ToString::to_string).unwrap_or_default();
                if !std::mem::replace(&mut self.upkeep.no_room_told, true) {
                    self.completions.push(Completion::SpaceLow(reason));
                }
            }
        }
    }

    /// Keeps no more files than it has to: their space is needed.
    fn give_up_kept(&mut self) {
        self.give_up_image();
        self.give_up_unarchived(Cause::NoSpace);
        self.segments.give_up_entries();
    }

    fn next_seal(&mut self) -> Option<JobKind> {
        if self.upkeep.sealing {
            return None;
        }
        let front = self.records.next_seal()?;
        self.upkeep.sealing = true;
        Some(JobKind::Seal {
            identity: self.scope.identity,
            id: front.id,
            extent: front.extent,
            details: Arc::clone(&front.details),
            encrypted: self.scope.is_encrypted(),
            shorten: if front.shorten { front.file.clone() } else { None },
        })
    }

    fn seal_completed(
        &mut self,
        shortened: io::Result<Option<u64>>,
        directory: &Arc<Directory>,
        written: io::Result<u64>,
    ) {
        let id = directory.id;
        let shortened = match shortened {
            Ok(shortened) => shortened,
            Err(error) => return self.poison(format!("cutting off what {} does not use: {error}", id.file_name())),
        };
        if let Err(error) = &written {
            // The directory stays in memory, and the next start writes its file.
            let text = format!("{} cannot be written: {error}", id.directory_name());
            self.completions.push(Completion::Warning(text));
        }
        let file = written.ok();
        self.segments.set_directory(directory, file, shortened);
        let directory = Arc::clone(directory);
        self.upkeep.absorption = Some(Absorption { directory, next_run: 0 });
    }

    /// Brings some runs of the newest directory into the index.
    fn absorb_some(&mut self) {
        let Some(mut absorption) = self.upkeep.absorption.take() else {
            return;
        };
        let directory = &absorption.directory;
        let at = self.records.appended();
        let end = directory.runs.len().min(absorption.next_run + STEP_LOGS_MAX);
        let runs = &directory.runs[absorption.next_run..end];
        self.index
            .absorb(directory, runs, &mut self.segments, at, &mut self.completions);
        if end < directory.runs.len() {
            absorption.next_run = end;
            self.upkeep.absorption = Some(absorption);
            return;
        }
        self.segments.absorbed(directory.id.number, at);
        self.records.absorbed(directory.id.number);
        self.upkeep.sealing = false;
    }

    fn checkpoint_published(&mut self, result: io::Result<()>) {
        let committed = self.statistics.committed_bytes;
        match self.checkpoints.published(result, committed) {
            None => {}
            Some(Ok(newest)) => {
                self.segments.cover(newest.begin_segment);
                self.statistics.checkpoints += 1;
                self.completions.push(Completion::CheckpointDone(newest.begin));
            }
            Some(Err(reason)) => self.completions.push(Completion::CheckpointAbandoned(reason)),
        }
    }

    fn next_removal(&mut self) -> Option<JobKind> {
        let durable = self.records.durable();
        // What took the last messages away must not be lost itself.
        let going = self.segments.take_dead(self.lasting());
        if let Some(last) = going.iter().map(|dead| dead.id.number).max() {
            self.records.forget_entries(last);
        }
        let left = &mut self.upkeep.left;
        left.names.append(&mut self.records.take_unusable());
        let mut names = if durable > left.retry_after {
            std::mem::take(&mut left.names)
        } else {
            Vec::new()
        };
        if going.is_empty() && names.is_empty() {
            return None;
        }
        let mut set_aside = None;
        let usage = self.usage();
        let segment_bytes = self.options.segment_bytes_max;
        let is_roomy = usage.staying() + usage.other + segment_bytes <= 2 * self.index.bytes() + 2 * segment_bytes;
        let mut wanted = is_roomy && !self.records.has_spare();
        for dead in &going {
            if dead.has_directory {
                names.push(dead.id.directory_name());
            }
            if wanted && self.is_recyclable(dead) {
                wanted = false;
                let name = format!("{}.preparing", dead.id.file_name());
                set_aside = Some((dead.id.file_name(), name.clone()));
                let length = dead.length;
                self.upkeep.becoming_spare = Some(Spare { name, length });
            } else {
                names.push(dead.id.file_name());
            }
        }
        Some(JobKind::Remove { names, set_aside })
    }

    /// Whether its file can become a new segment's.
    fn is_recyclable(&self, dead: &DeadSegment) -> bool {
        let usual = self.options.segment_bytes_max;
        dead.id.epoch == self.scope.epoch && dead.is_uncut && (usual..=2 * usual).contains(&dead.length)
    }

    /// Files that stay although they should go cost space and nothing else: they are tried again.
    fn remove_completed(&mut self, mut removed: Removed) {
        let spare = self.upkeep.becoming_spare.take();
        if let Some(spare) = spare.filter(|_| removed.is_set_aside) {
            self.records.set_spare(spare);
        }
        self.records.try_again();
        let left = &mut self.upkeep.left;
        if let Some(error) = removed.error {
            let is_new = !std::mem::replace(&mut left.is_told, true);
            left.retry_after = self.records.durable();
            left.names.append(&mut removed.left);
            if is_new {
                let text = format!("Files that are not needed any more cannot be removed yet: {error}");
                self.completions.push(Completion::Warning(text));
            }
        } else if left.names.is_empty() {
            left.is_told = false;
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let segments = self.segments.usage();
        let other = segments.open + self.records.waiting_segments().1 + self.checkpoints.bytes();
        Usage { segments, other }
    }

    /// What sealed segments may take before space is won back. The aim is that everything together takes at most twice the
    /// bytes of the live bodies and three segments; but rewriting what is a quarter dead at most would never end.
    pub(super) fn sealed_allowance(&self, usage: &Usage) -> u64 {
        let overhead = self.index.messages() * MESSAGE_OVERHEAD_BYTES as u64;
        let bodies = self.index.bytes().saturating_sub(overhead);
        let segment = self.options.segment_bytes_max;
        let aim = (2 * bodies + 3 * segment).saturating_sub(usage.other + segment / 8);
        let needed = usage.segments.needed;
        aim.max(needed + needed / 4 + segment / 8)
    }

    fn ask_for_checkpoint(&mut self) {
        let usage = self.usage();
        // What the archive holds no checkpoint gives back.
        let sealed = usage.segments.sealed.saturating_sub(usage.unarchived());
        let wants_space = sealed > self.sealed_allowance(&usage) || self.records.no_room().is_some();
        let frees_space = usage.segments.held_by_checkpoint > 0 && wants_space;
        if self.checkpoints.is_due(self.statistics.committed_bytes, frees_space) {
            self.completions.push(Completion::CheckpointNeeded);
        }
    }
}
