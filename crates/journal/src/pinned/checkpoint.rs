//! The newest checkpoint of a journal that goes on.

use super::Pinned;
use crate::disk::Disk;
use crate::entry::Members;
use crate::error::OpenError;
use crate::format::Cut;
use crate::index::Index;
use crate::names::Position;
use crate::recovery::checkpoint::{CheckpointEntry, Source, entries_of};
use crate::recovery::damaged;

/// What a checkpoint says besides facts and logs.
pub(super) struct CheckpointSeen {
    pub(super) begin: Position,
    pub(super) tail: Cut,
    pub(super) members: Option<Members>,
}

impl Pinned {
    /// Opens the newest checkpoint.
    pub(super) fn open_checkpoint(&self, disk: &dyn Disk) -> Result<Option<Source>, OpenError> {
        let Some((begin, epoch)) = self.checkpoint else {
            return Ok(None);
        };
        let source = Source::open(disk, &self.identity, self.keys.as_deref(), begin, epoch);
        self.check()?;
        source.map(Some)
    }

    /// Reads it from end to end: the logs go into `index`, each fact to `fact`.
    pub(super) fn read_checkpoint(
        &self,
        disk: &dyn Disk,
        index: &mut Index,
        fact: &mut dyn FnMut(u8, &[u8]),
    ) -> Result<CheckpointSeen, OpenError> {
        let mut seen = CheckpointSeen {
            begin: 0,
            tail: Cut::default(),
            members: None,
        };
        let Some(mut source) = self.open_checkpoint(disk)? else {
            return Ok(seen);
        };
        let name = source.name.clone();
        (seen.begin, seen.tail) = (source.begin(), source.tail());
        let mut ended = false;
        while !ended {
            let offset = source.offset;
            let block = source.next_block();
            self.check()?;
            for entry in entries_of(block?) {
                match entry.map_err(|reason| damaged(&name, offset, reason))? {
                    CheckpointEntry::Log { log, bounds, as_of } => index.restore(log, &bounds, as_of),
                    CheckpointEntry::Fact { kind, body } => fact(kind, body),
                    CheckpointEntry::Members(members) => seen.members = Some(members),
                    CheckpointEntry::End { .. } => ended = true,
                }
            }
        }
        Ok(seen)
    }
}
