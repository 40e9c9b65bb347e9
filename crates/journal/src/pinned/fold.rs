//! Folding: what a journal's owner would be given by a start at an entry, read beside the journal that goes on (docs/journal-format.md §14).
//!
//! Nothing that may be taken back is in it. The checkpoint counts, so everything that it may know of was committed before it was
//! published; of the batches behind it only those up to the entry are looked at, and that one is committed. What is appended, rewritten or
//! removed meanwhile changes none of the bytes that are read: batches are never written again but by the next start, which writes the same
//! bytes; a copy changes no state; and files are kept until the reading ends.
//!
//! A checkpoint that is written with what came of it begins behind the entry. What it says of the logs the journal adds itself, and that may
//! know of later records, which are not committed yet: so it counts once they are, as any other, and is given up when they are taken back.

use super::plan::{FoldFor, FoldJob, Folded};
use super::tail::{TailRecord, TailSpan, TailVisitor};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::index::Index;
use crate::record::Record;
use crate::recovery::{Replay, tell_logs};

/// Gives records to the owner, and keeps what the logs come to.
struct Folding<'a> {
    index: &'a mut Index,
    replay: &'a mut dyn Replay,
    tolerates_holes: bool,
}

impl TailVisitor for Folding<'_> {
    fn record(&mut self, record: &TailRecord<'_>) -> Result<(), String> {
        let position = record.position;
        match record.parsed.record {
            Record::Message { moved: true, .. } | Record::Time { .. } | Record::Entry { .. } => {}
            Record::Message {
                log,
                sequence,
                timestamp,
                body,
                ..
            } => {
                self.index
                    .replay_message(log, sequence, timestamp, position, self.tolerates_holes)?;
                self.replay.message(log, sequence, timestamp, body.len() as u32);
            }
            Record::Fact { kind, .. } => self.replay.fact(kind, record.body),
            Record::Trim { log, first, .. } => {
                self.index.replay_trim(log, first, position);
                self.replay.trim(log, first, record.body);
            }
            Record::Delete { log, .. } => {
                self.index.replay_delete(log);
                self.replay.delete(log, record.body);
            }
        }
        Ok(())
    }
}

impl FoldJob {
    /// Reads, and gives `replay` what a start would: the facts of the checkpoint, every record behind it in order, then the logs as they were
    /// at the entry.
    ///
    /// # Errors
    /// Something cannot be read or is damaged, the journal has ended, or `replay` refuses what it was given. What it was given until then is
    /// good for nothing.
    pub fn run(self, disk: &dyn Disk, replay: &mut dyn Replay) -> Result<Folded, OpenError> {
        let pinned = &self.pinned;
        let mut index = Index::default();
        let checkpoint = pinned.read_checkpoint(disk, &mut index, &mut |kind, body| replay.fact(kind, body))?;
        replay.tail_begins(checkpoint.begin);
        let serves = self.purpose == FoldFor::Serving;
        let span = TailSpan {
            begin: checkpoint.begin,
            start: checkpoint.tail,
            base: checkpoint.members.map(|members| members.id).unwrap_or_default(),
            last: self.last,
            goes_on: serves,
            builds: serves,
        };
        let mut folding = Folding {
            index: &mut index,
            replay,
            tolerates_holes: pinned.tolerates_holes,
        };
        let tail = pinned.read_tail(disk, &span, &mut folding)?;
        let holes = match serves {
            true => pinned.find_places(disk, &mut index, tail.built, tail.end.position)?,
            false => Vec::new(),
        };
        replay.verify().map_err(OpenError::Refused)?;
        tell_logs(&index, &holes, replay);
        pinned.check()?;
        Ok(Folded {
            last: self.last,
            epoch: pinned.epoch,
            end: tail.end,
            committed_bytes: self.committed_bytes,
        })
    }
}
