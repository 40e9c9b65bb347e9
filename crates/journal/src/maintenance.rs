//! What happens behind the commits: preparing segments, writing and absorbing directories, removing or recycling dead
//! segments, and deciding when a checkpoint is needed. One job of this kind is out at a time.

use crate::Completion;
use crate::absorb::absorb_run;
use crate::directory::{Directory, Source};
use crate::disk::DiskFile;
use crate::format::SegmentId;
use crate::job::{JobKind, PrepareJob};
use crate::journal::Journal;
use crate::limits::{SEGMENT_BYTES_FIRST, STEP_LOGS_MAX};
use crate::record::MESSAGE_OVERHEAD_BYTES;
use crate::segment::{Segment, SegmentState};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// A segment file that must still be made. In the order in which they are needed.
pub(crate) struct Preparation {
    pub(crate) id: SegmentId,
    pub(crate) capacity: u64,
    pub(crate) running: bool,
}

/// A directory on its way into the index.
struct Absorption {
    directory: Arc<Directory>,
    next_run: usize,
}

/// A dead segment's file, renamed, that the next preparation may use.
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) length: u64,
}

#[derive(Default)]
pub(crate) struct Maintenance {
    pub(crate) busy: bool,
    pub(crate) preparations: VecDeque<Preparation>,
    /// The last attempt to prepare found the disk full.
    pub(crate) no_space: bool,
    /// Somebody asks again although it was full.
    pub(crate) retry_prepare: bool,
    absorption: Option<Absorption>,
    sealing: bool,
    pub(crate) spare: Option<Spare>,
    removing: Vec<u64>,
    becoming_spare: Option<Spare>,
    pub(crate) checkpoint_asked: bool,
}

/// Where the space of the journal goes, in bytes; directories count with their segments.
#[derive(Default)]
pub(crate) struct Usage {
    /// Segments that take no more batches.
    pub(crate) sealed: u64,
    /// Of these, what only waits for a checkpoint, durability or the directory of its copies.
    pub(crate) leaving: u64,
    /// Of these, what nothing but the missing checkpoint keeps.
    held_by_checkpoint: u64,
    /// What the live messages of sealed segments would take if nothing dead lay between them.
    needed: u64,
    /// The open and the prepared segments, the spare, the checkpoint.
    other: u64,
}

impl Journal {
    /// Brings queued consequences about; called after every change, cheap when there is nothing to do.
    pub(crate) fn maintain(&mut self) {
        if self.poisoned.is_some() {
            return;
        }
        self.absorb_some();
        self.checkpoint_step();
        self.ask_for_checkpoint();
    }

    pub(crate) fn next_maintenance(&mut self) -> Option<JobKind> {
        if self.maintenance.busy || self.poisoned.is_some() {
            return None;
        }
        if self.closing {
            let needed = self.writer.open.file.is_none() && self.writer.next_position > self.writer.durable;
            let job = if needed { self.next_prepare() } else { None };
            self.maintenance.busy = job.is_some();
            return job;
        }
        // What shortens a restart goes before the next segment, which is prepared ahead: a disk that cannot keep up slows publishers
        // down, and not the checkpoints.
        let job = (self.maintenance.absorption.is_some().then_some(JobKind::Continue))
            .or_else(|| self.next_checkpoint_job())
            .or_else(|| self.next_seal())
            .or_else(|| self.next_prepare())
            .or_else(|| self.next_removal())
            .or_else(|| self.next_rewrite())?;
        self.maintenance.busy = true;
        Some(job)
    }

    fn next_prepare(&mut self) -> Option<JobKind> {
        if self.maintenance.no_space && !self.maintenance.retry_prepare {
            return None;
        }
        let headroom = self.checkpoints.last_bytes * 2 + SEGMENT_BYTES_FIRST / 4;
        let open_ready = self.writer.open.file.is_some();
        let preparation = self.maintenance.preparations.front_mut()?;
        self.maintenance.retry_prepare = false;
        preparation.running = true;
        let mut capacity = preparation.capacity;
        let spare = self.maintenance.spare.take_if(|spare| spare.length >= capacity);
        if let Some(spare) = &spare {
            capacity = spare.length;
            preparation.capacity = capacity;
            self.statistics.recycled += 1;
        }
        let id = preparation.id;
        self.set_planned_capacity(id, capacity);
        Some(JobKind::Prepare(PrepareJob {
            identity: self.identity,
            encryption: self.keys.as_ref().map(|keys| keys.header),
            id,
            capacity,
            // Records already wait for the open segment: they may use the last of the disk.
            headroom: if open_ready { headroom } else { 0 },
            recycled: spare.map(|spare| spare.name),
        }))
    }

    fn set_planned_capacity(&mut self, id: SegmentId, capacity: u64) -> bool {
        match self.writer.planned.iter_mut().find(|planned| planned.id == id) {
            Some(planned) => planned.capacity = capacity,
            None => return false,
        }
        true
    }

    pub(crate) fn prepare_completed(&mut self, number: u64, result: io::Result<Arc<dyn DiskFile>>) {
        let Some(preparation) = self.maintenance.preparations.front_mut() else {
            return;
        };
        debug_assert_eq!(preparation.id.number, number);
        preparation.running = false;
        match result {
            Ok(file) => {
                self.maintenance.preparations.pop_front();
                self.maintenance.no_space = false;
                if !self.writer.set_file(number, &file) {
                    // Skipped meanwhile as too small.
                    self.segments.unpin(number);
                }
                if self.writer.refused {
                    self.writer.refused = false;
                    self.completions.push(Completion::SpaceBack);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let (id, smaller) = (preparation.id, preparation.capacity / 2);
                let is_planned = self.writer.planned.iter().any(|planned| planned.id == id);
                if is_planned && smaller >= SEGMENT_BYTES_FIRST.min(self.options.segment_bytes_max) {
                    preparation.capacity = smaller;
                    self.set_planned_capacity(id, smaller);
                } else if !self.maintenance.no_space {
                    self.maintenance.no_space = true;
                    self.completions.push(Completion::SpaceLow);
                }
            }
            Err(error) => self.poison(format!("preparing segment {number:016x}: {error}")),
        }
    }

    fn next_seal(&mut self) -> Option<JobKind> {
        if self.maintenance.sealing {
            return None;
        }
        let front = self.writer.sealing.front()?;
        if front.extent.next_position > self.writer.durable {
            return None;
        }
        self.maintenance.sealing = true;
        Some(JobKind::Seal {
            identity: self.identity,
            id: front.id,
            extent: front.extent,
            details: Arc::clone(&front.details),
            encrypted: self.keys.is_some(),
            shorten: if front.shorten { front.file.clone() } else { None },
        })
    }

    pub(crate) fn seal_completed(
        &mut self,
        id: SegmentId,
        shortened: Option<u64>,
        directory: Arc<Directory>,
        result: io::Result<u64>,
    ) {
        let segment = self.segments.get_mut(id.number);
        segment.content = directory.content();
        if let Some(length) = shortened {
            segment.length = length;
        }
        match result {
            Ok(length) => {
                segment.directory_length = length;
                segment.source = Source::File {
                    runs: directory.runs.len(),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // It stays in memory; the next start writes it.
                segment.source = Source::Memory(Arc::clone(&directory));
                self.completions
                    .push(Completion::Warning(format!("no space for {}", id.directory_name())));
            }
            Err(error) => {
                self.poison(format!("writing {}: {error}", id.directory_name()));
                return;
            }
        }
        self.maintenance.absorption = Some(Absorption { directory, next_run: 0 });
    }

    /// Brings some runs of the newest directory into the index.
    fn absorb_some(&mut self) {
        let Some(mut absorption) = self.maintenance.absorption.take() else {
            return;
        };
        let number = absorption.directory.id.number;
        let durable_from = self.writer.next_position;
        let end = absorption.directory.runs.len().min(absorption.next_run + STEP_LOGS_MAX);
        let mut overcounted = 0;
        let mut moved = Vec::new();
        for run in &absorption.directory.runs[absorption.next_run..end] {
            let Some(log) = self.logs.get_mut(run.log) else {
                continue;
            };
            let awaited = log.window.as_ref().is_some_and(|window| window.awaited);
            overcounted += absorb_run(log, run, &absorption.directory, &mut self.segments, durable_from);
            if awaited && log.window.is_none() {
                self.completions.push(Completion::HeadReady(run.log));
            }
            if run.moved {
                moved.push((run.log, run.last));
            }
        }
        self.logs.bytes -= overcounted;
        for (log, last) in moved {
            // The window went with the old places; a trim may wait for it.
            self.settle(log);
            if self
                .logs
                .get(log)
                .is_some_and(|log| log.inexact_range(last + 1).is_some())
            {
                self.want_recount(log, last + 1);
            }
        }
        absorption.next_run = end;
        if end < absorption.directory.runs.len() {
            self.maintenance.absorption = Some(absorption);
            return;
        }
        let segment = self.segments.get_mut(number);
        segment.state = SegmentState::Sealed;
        // What was trimmed or deleted before it came into the index took no reference away: all that is appended by now may
        // have to be durable before the segment goes.
        segment.released_at = segment.released_at.max(durable_from);
        self.tail.absorbed(number);
        self.writer.sealing.pop_front();
        self.maintenance.sealing = false;
    }

    /// A segment that can go: dead, before the checkpoint, what killed it durable.
    fn may_go(&self, segment: &Segment) -> bool {
        segment.is_dead()
            && segment.id.number < self.checkpoints.begin_segment
            && segment.released_at <= self.writer.durable
    }

    fn next_removal(&mut self) -> Option<JobKind> {
        let going: Vec<u64> = self
            .segments
            .by_number
            .values()
            .filter(|segment| self.may_go(segment))
            .map(|segment| segment.id.number)
            .take(64)
            .collect();
        if going.is_empty() {
            return None;
        }
        let mut names = Vec::new();
        let mut set_aside = None;
        let usage = self.usage();
        let roomy = usage.sealed - usage.leaving + usage.other + self.options.segment_bytes_max
            <= 2 * self.logs.bytes + 2 * self.options.segment_bytes_max;
        for number in &going {
            let segment = self.segments.get(*number);
            if matches!(segment.source, Source::File { .. }) {
                names.push(segment.id.directory_name());
            }
            let recyclable = segment.id.epoch == self.epoch
                && segment.length == segment.capacity
                && segment.length >= self.options.segment_bytes_max
                && segment.length <= 2 * self.options.segment_bytes_max;
            if recyclable && roomy && self.maintenance.spare.is_none() && set_aside.is_none() {
                let name = format!("{}.preparing", segment.id.file_name());
                set_aside = Some((segment.id.file_name(), name.clone()));
                self.maintenance.becoming_spare = Some(Spare {
                    name,
                    length: segment.length,
                });
            } else {
                names.push(segment.id.file_name());
            }
        }
        for number in &going {
            self.segments.by_number.remove(number);
        }
        self.maintenance.removing = going;
        Some(JobKind::Remove { names, set_aside })
    }

    pub(crate) fn remove_completed(&mut self, result: io::Result<()>) {
        self.maintenance.removing.clear();
        let spare = self.maintenance.becoming_spare.take();
        match result {
            Ok(()) => {
                if spare.is_some() {
                    self.maintenance.spare = spare;
                }
                // Space came back: what failed for lack of it is tried again.
                self.maintenance.retry_prepare = self.maintenance.no_space;
            }
            Err(error) => self.poison(format!("removing dead segments: {error}")),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for segment in self.segments.by_number.values() {
            if segment.state == SegmentState::Open {
                usage.other += segment.bytes();
                continue;
            }
            usage.sealed += segment.bytes();
            usage.needed += segment.needed();
            let dead = segment.is_sealed() && segment.references == 0;
            if dead || segment.rewritten {
                usage.leaving += segment.bytes();
            }
            if dead && segment.id.number >= self.checkpoints.begin_segment {
                usage.held_by_checkpoint += segment.bytes();
            }
        }
        usage.other += self
            .writer
            .planned
            .iter()
            .filter(|p| p.file.is_some())
            .map(|p| p.capacity)
            .sum::<u64>();
        usage.other += self.maintenance.spare.as_ref().map_or(0, |spare| spare.length) + self.checkpoints.last_bytes;
        usage
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        let usage = self.usage();
        usage.sealed + usage.other
    }

    /// What sealed segments may take before space is won back. The aim is that everything together takes at most twice the
    /// bytes of the live bodies and three segments; but rewriting what is a quarter dead at most would never end.
    pub(crate) fn sealed_allowance(&self, usage: &Usage) -> u64 {
        let bodies = self
            .logs
            .bytes
            .saturating_sub(self.logs.messages * MESSAGE_OVERHEAD_BYTES as u64);
        let segment = self.options.segment_bytes_max;
        let aim = (2 * bodies + 3 * segment).saturating_sub(usage.other + segment / 8);
        aim.max(usage.needed + usage.needed / 4 + segment / 8)
    }

    fn ask_for_checkpoint(&mut self) {
        if self.maintenance.checkpoint_asked || self.checkpoints.is_running() {
            return;
        }
        let long = self.tail_bytes() >= self.checkpoint_distance()
            && self.statistics.committed_bytes >= self.checkpoints.not_before_bytes;
        let holds_space = || {
            let usage = self.usage();
            let needed = usage.sealed > self.sealed_allowance(&usage) || self.maintenance.no_space;
            usage.held_by_checkpoint > 0 && needed
        };
        if long || holds_space() {
            self.maintenance.checkpoint_asked = true;
            self.completions.push(Completion::CheckpointNeeded);
        }
    }
}
