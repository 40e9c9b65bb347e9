//! Whether what segments hold follows on each other: each position once, up to where others recorded that everything was durable.

use super::damage::Damage;
use super::segment::Read;
use crate::directory::{Extent, Summary};
use crate::disk::Disk;
use crate::format::{Cut, FILE_HEADER_BYTES, Identity, SegmentId, check_header, checkpoint_name, identity_at, u64_at};
use crate::names::LogId;
use crate::recovery::files::Files;
use std::io;
use std::ops::Range;

/// Something that is not there.
pub(crate) struct Lack {
    pub(crate) damage: Damage,
    pub(crate) of: LackOf,
}

/// What is not there, as far as that is known.
pub(crate) enum LackOf {
    /// A segment of which there is a directory.
    File(SegmentId, Extent),
    /// Records at these positions, which were in segments with these numbers, behind the one that ends so.
    Records {
        after: Option<Extent>,
        numbers: Range<u64>,
        positions: Range<u64>,
    },
    /// The end of a segment that is there.
    Rest,
}

/// See the module. Segments before the newest checkpoint are removed when nothing in them is live; behind it none may be missing.
pub(crate) struct Order<'a> {
    files: &'a Files,
    /// Every record from this position on is needed; none when the checkpoint does not say.
    begin: Option<u64>,
    /// The segment with the last batch so far, and what it covers; none when that is not known.
    last: Option<(SegmentId, Extent)>,
    /// The segment before the next one: it may hold nothing.
    before: Option<SegmentId>,
    /// What comes next need not follow: what was before is damaged, and that was said.
    is_excused: bool,
}

impl<'a> Order<'a> {
    pub(crate) fn begin(disk: &dyn Disk, files: &'a Files, identity: Identity) -> Order<'a> {
        let begin = match files.checkpoints.last() {
            None => Some(0),
            Some(&(position, epoch)) => {
                let name = checkpoint_name(position, epoch);
                is_header_whole(disk, &name, identity, position)
                    .unwrap_or(false)
                    .then_some(position)
            }
        };
        Order {
            files,
            begin,
            last: None,
            before: None,
            is_excused: false,
        }
    }

    /// The next segment; `read` when everything in it is whole.
    pub(crate) fn next(&mut self, id: SegmentId, read: Option<&Read>, told: &mut dyn FnMut(Lack)) {
        let Some(read) = read else {
            (self.before, self.last, self.is_excused) = (Some(id), None, true);
            return;
        };
        match read.extent() {
            Some(extent) => self.follow(id, extent, told),
            None => self.before = Some(id),
        }
    }

    /// A segment that is not there, of which a directory is.
    pub(crate) fn missing(
        &mut self,
        id: SegmentId,
        summary: io::Result<Result<Summary, String>>,
        told: &mut dyn FnMut(Lack),
    ) {
        let Ok(Ok(summary)) = summary else { return };
        let runs = summary.runs.iter();
        let messages: Vec<(LogId, u64, u64)> = runs.map(|run| (run.log, run.first, run.last)).collect();
        // Without messages it only held facts, and those are needed behind the checkpoint.
        let is_in_tail = self.begin.is_none_or(|begin| summary.extent.next_position > begin);
        if !messages.is_empty() || is_in_tail {
            let reason = "the file is missing, and its directory says what it held";
            told(Lack {
                damage: Damage {
                    length: summary.extent.end,
                    messages,
                    is_missing: true,
                    ..Damage::of_file(id.file_name(), reason)
                },
                of: LackOf::File(id, summary.extent),
            });
        }
        self.follow(id, summary.extent, told);
    }

    fn follow(&mut self, id: SegmentId, extent: Extent, told: &mut dyn FnMut(Lack)) {
        let end = self.last.map_or(0, |(_, extent)| extent.next_position);
        if extent.first_position != end && !self.is_excused && !self.is_gap(id, end) {
            self.tell(id, end, extent.first_position, told);
        }
        (self.last, self.before, self.is_excused) = (Some((id, extent)), Some(id), false);
    }

    /// Records are missing before a segment.
    fn tell(&self, next: SegmentId, from: u64, to: u64, told: &mut dyn FnMut(Lack)) {
        let last = to.saturating_sub(1);
        let neighbour = self.before.filter(|before| before.number + 1 == next.number);
        if let Some(before) = neighbour.filter(|before| before.epoch == next.epoch) {
            // No segment was between them: what is missing was at the end of the one before.
            let end = self
                .last
                .filter(|(id, _)| *id == before)
                .map_or(0, |(_, extent)| extent.end);
            let reason = format!("its last batches, with the records at positions {from} to {last}, are missing");
            told(Lack {
                damage: Damage {
                    offset: end,
                    ..Damage::of_file(before.file_name(), reason)
                },
                of: LackOf::Rest,
            });
        } else if self.begin.is_some_and(|begin| to > begin) {
            self.tell_missing(next, from, to, told);
        }
    }

    /// Of segments before the one with this number, of which the first is named.
    fn tell_missing(&self, next: SegmentId, from: u64, to: u64, told: &mut dyn FnMut(Lack)) {
        let number = self.before.map_or(1, |before| before.number + 1);
        let epoch = match self.before {
            Some(before) if number < next.number => before.epoch,
            _ => next.epoch,
        };
        let from = from.max(self.begin.unwrap_or(0));
        let last = to.saturating_sub(1);
        let reason =
            format!("the file is missing, or one behind it: the records at positions {from} to {last} are in none");
        let name = SegmentId { number, epoch }.file_name();
        told(Lack {
            damage: Damage {
                is_missing: true,
                ..Damage::of_file(name, reason)
            },
            of: LackOf::Records {
                after: self.last.map(|(_, extent)| extent),
                numbers: number..next.number,
                positions: from..to,
            },
        });
    }

    /// Whether a start gave up what was between a position and a segment.
    fn is_gap(&self, id: SegmentId, from: u64) -> bool {
        let since = self.last.map_or(0, |(id, _)| id.epoch);
        let mut opened = self.files.epochs.iter();
        opened.any(|epoch| epoch.gap && epoch.epoch > since && epoch.epoch <= id.epoch && epoch.cut.position > from)
    }

    /// Everything was told: does it reach as far as it must?
    pub(crate) fn end(mut self, told: &mut dyn FnMut(Lack)) {
        let Some(newest) = self.files.newest_epoch() else {
            return;
        };
        let known = newest.cut;
        let ended = self.files.end.unwrap_or_default();
        let required: Cut = if ended.position > known.position { ended } else { known };
        let (last, extent) = self.last.unzip();
        let end = extent.map_or(0, |extent| extent.next_position);
        let is_there = self.files.segments.keys().any(|id| id.number == required.segment);
        if self.is_excused || is_there || end >= required.position || newest.gap && required == known {
            return;
        }
        let epoch = if required == ended {
            newest.epoch
        } else {
            last.map_or(1, |last| last.epoch)
        };
        // Segments that were prepared lie behind it.
        self.before = last;
        let next = SegmentId {
            number: required.segment + 1,
            epoch,
        };
        self.tell_missing(next, end, required.position, told);
    }
}

fn is_header_whole(disk: &dyn Disk, name: &str, identity: Identity, position: u64) -> io::Result<bool> {
    let mut header = [0; FILE_HEADER_BYTES];
    disk.open_to_read(name)?.read_at(&mut header, 0)?;
    let is_whole = check_header(&header, 0, "checkpoint").is_ok();
    Ok(is_whole && identity_at(&header, 16) == identity && u64_at(&header, 40) == position)
}
