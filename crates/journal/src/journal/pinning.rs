//! Files kept for those who read them beside the journal, and what they are given to begin with (`pinned/`).

use super::Journal;
use crate::checkpoints::CheckpointError;
use crate::entry::EntryKind;
use crate::format::FileName;
use crate::image::{Grip, Kept, Pin};
use crate::limits::HOLDS_MAX;
use crate::names::Position;
use crate::pinned::{FoldError, FoldFor, FoldJob, Folded, Hold, Pinned, PinnedSegment};
use crate::segments::Held;
use std::sync::Arc;

impl Journal {
    /// Plans to fold the journal as of an entry that is committed and synced here: what a start would give its owner then, read on a thread
    /// that may wait while this journal goes on. Its files are kept until the job is done or dropped.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub fn fold(&mut self, upto: u64, purpose: FoldFor) -> Result<FoldJob, FoldError> {
        self.check_open().map_err(FoldError::Unavailable)?;
        let newest = self.checkpoints.newest();
        let (begin, base) = newest.map_or((0, None), |newest| (newest.begin, newest.members.as_ref()));
        let base = base.map(|members| members.id).unwrap_or_default();
        let entry = self.entry(upto).map(|meta| (meta.id, meta.position));
        let (last, position) = match entry {
            _ if upto == base.index => (base, begin),
            Some(entry) if upto > base.index => entry,
            Some(_) => return Err(FoldError::Passed(upto)),
            None => return Err(FoldError::NotDurable(upto)),
        };
        if position > self.durable() {
            return Err(FoldError::NotDurable(upto));
        }
        if purpose == FoldFor::Serving && self.has_records_behind(upto) {
            return Err(FoldError::GoneOn(upto));
        }
        Ok(FoldJob {
            pinned: self.pin(self.held_for(purpose)),
            last,
            purpose,
            committed_bytes: self.statistics.committed_bytes,
        })
    }

    /// Whether the owner's records lie behind an entry.
    fn has_records_behind(&self, index: u64) -> bool {
        let mut behind = (index + 1..=self.last().index).filter_map(|index| self.entry(index));
        behind.any(|meta| meta.kind == EntryKind::Records) || self.records.owes_proposals()
    }

    fn check_open(&mut self) -> Result<(), String> {
        self.let_holds_go();
        if !self.is_member() {
            return Err("the journal stands alone".to_owned());
        }
        if self.closing || self.claim.is_none() {
            return Err("the store is being closed".to_owned());
        }
        if self.holds.len() >= HOLDS_MAX {
            return Err("as many are reading the store as may".to_owned());
        }
        Ok(())
    }

    /// Which segments a fold reads: from the newest checkpoint on, and those before it for the bytes of each log.
    fn held_for(&self, purpose: FoldFor) -> Held {
        match purpose {
            FoldFor::Serving => Held {
                up_to: self.records.durable_end().segment,
                from: None,
            },
            FoldFor::Checkpoint => Held {
                up_to: 0,
                from: Some(self.checkpoints.newest().map_or(0, |newest| newest.begin_segment)),
            },
        }
    }

    /// Keeps the newest checkpoint and some segments.
    fn pin(&mut self, segments: Held) -> Pinned {
        let pin = Arc::new(Pin::default());
        let checkpoint = self.checkpoints.newest().map(|newest| newest.name.clone());
        self.holds.push(Hold {
            kept: Kept(Arc::clone(&pin)),
            segments,
            checkpoint: checkpoint.clone(),
        });
        self.keep_held();
        let extents = self.segments.extents(self.records.durable_end());
        let segments = extents.into_iter().map(|(id, end, _)| PinnedSegment {
            id,
            end,
            directory: self.segments.directory(id.number, end),
        });
        Pinned {
            identity: self.scope.identity,
            epoch: self.scope.epoch,
            keys: self.scope.keys.clone(),
            checkpoint: checkpoint.and_then(|name| match FileName::parse(&name) {
                FileName::Checkpoint { position, epoch } => Some((position, epoch)),
                _ => None,
            }),
            segments: segments.collect(),
            tolerates_holes: self.tolerates_holes,
            grip: Grip(pin),
        }
    }

    /// Keeps no files any more for those who have read theirs.
    pub(super) fn let_holds_go(&mut self) {
        let before = self.holds.len();
        self.holds.retain(|hold| hold.kept.0.is_held());
        if self.holds.len() < before {
            self.keep_held();
        }
    }

    fn keep_held(&mut self) {
        let held = self.holds.iter().map(|hold| hold.segments);
        let held = held.fold(Held::default(), |all, one| Held {
            up_to: all.up_to.max(one.up_to),
            from: all.from.into_iter().chain(one.from).min(),
        });
        self.segments.hold(held);
        let names = self.holds.iter().filter_map(|hold| hold.checkpoint.clone());
        self.checkpoints.keep_for_readers(names.collect());
    }

    /// Begins a checkpoint behind what was folded: the facts that follow stand for everything up to that entry, whatever was appended since.
    /// Otherwise as [`Journal::begin_checkpoint`]; [`Journal::checkpoint_entry`] is that entry.
    ///
    /// # Errors
    /// A checkpoint is being written, a newer one stands for more, or the journal was opened again since.
    pub fn begin_checkpoint_behind(&mut self, folded: &Folded) -> Result<Position, CheckpointError> {
        let passed = self.checkpoints.newest().map_or(0, |newest| newest.begin);
        if folded.epoch != self.scope.epoch || folded.end.position < passed {
            return Err(CheckpointError::Passed);
        }
        let (begin, committed) = (folded.end.position, folded.committed_bytes);
        self.checkpoints
            .begin(&self.scope, begin, folded.end, committed, Some(folded.last))?;
        Ok(begin)
    }
}
