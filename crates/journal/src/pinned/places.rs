//! Where the live messages of a journal that goes on are, and how many bytes they have: found out as a start does, from the directories of
//! the segments before the tail and from what was read of the tail. Nothing is mended on the disk.

use super::tail::collect_before;
use super::windows::SegmentReader;
use super::{Pinned, PinnedSegment};
use crate::directory::{Directory, Run, Source, read_summary};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::index::{Hole, Index};
use crate::names::Position;
use crate::recovery::damaged;
use crate::segments::SegmentSet;

impl Pinned {
    /// Brings all segments into an index whose logs have their bounds; `built` are directories of the tail, and `at` is behind all of it.
    /// Returns messages that are in no segment; none but of a journal that gave some up.
    pub(super) fn find_places(
        &self,
        disk: &dyn Disk,
        index: &mut Index,
        built: Vec<Directory>,
        at: Position,
    ) -> Result<Vec<Hole>, OpenError> {
        let mut set = SegmentSet::default();
        let mut built: Vec<Option<Directory>> = built.into_iter().map(Some).collect();
        for segment in &self.segments {
            let own = built
                .iter_mut()
                .find(|own| own.as_ref().is_some_and(|own| own.id == segment.id));
            match own.and_then(Option::take) {
                Some(directory) => bring_in(index, &mut set, &directory, at),
                None => self.find_stored(disk, segment, index, &mut set, at)?,
            }
        }
        let holes = index.restored();
        match holes.first().filter(|_| !self.tolerates_holes) {
            None => Ok(holes),
            Some(hole) => {
                let (log, from) = (hole.log.0, hole.from);
                Err(damaged(
                    "the journal",
                    0,
                    format!("message {from} of log {log} is in no segment"),
                ))
            }
        }
    }

    fn find_stored(
        &self,
        disk: &dyn Disk,
        segment: &PinnedSegment,
        index: &mut Index,
        set: &mut SegmentSet,
        at: Position,
    ) -> Result<(), OpenError> {
        match &segment.directory {
            Some(Source::Memory(directory)) => bring_in(index, set, directory, at),
            Some(Source::File { .. }) if self.find_in_file(disk, segment, index, set, at)? => {}
            _ => {
                let directory = self.make_directory(disk, segment)?;
                bring_in(index, set, &directory, at);
            }
        }
        Ok(())
    }

    /// Brings a directory's file in; false when some of it cannot be read, and nothing was brought in.
    fn find_in_file(
        &self,
        disk: &dyn Disk,
        segment: &PinnedSegment,
        index: &mut Index,
        set: &mut SegmentSet,
        at: Position,
    ) -> Result<bool, OpenError> {
        let summary = read_summary(disk, &self.identity, segment.id);
        self.check()?;
        let Some(summary) = summary
            .ok()
            .and_then(Result::ok)
            .filter(|summary| summary.extent.end == segment.end)
        else {
            return Ok(false);
        };
        let source = Source::File {
            runs: summary.runs.len(),
            end: summary.extent.end,
        };
        // First whether all that is needed of its pages can be read: what is brought in stays.
        let before = |run: &Run, sequence: u64| {
            let Some(at) = (sequence - run.first).checked_sub(1) else {
                return Some(0);
            };
            let entry = run.entry + at as u32;
            let entries = source
                .entries(disk, &self.identity, segment.id, entry..entry + 1)
                .ok()?;
            entries.first().map(|entry| entry.cumulative)
        };
        let is_readable = summary.runs.iter().all(|run| {
            let first = index.bounds(run.log).map_or(run.first, |bounds| bounds.first);
            !(run.first..=run.last).contains(&first) || before(run, first).is_some()
        });
        self.check()?;
        if !is_readable {
            return Ok(false);
        }
        set.add_found(
            segment.id,
            segment.end,
            summary.extent,
            summary.length,
            source.clone(),
            summary.content,
        );
        for run in &summary.runs {
            index.restore_run(run, segment.id.number, &|sequence| before(run, sequence), set, at);
        }
        self.check()?;
        Ok(true)
    }

    /// Makes a directory from its segment, in memory.
    fn make_directory(&self, disk: &dyn Disk, segment: &PinnedSegment) -> Result<Directory, OpenError> {
        let mut reader = SegmentReader::open(self, disk, segment)?;
        let mut details = Vec::new();
        let extent = collect_before(&mut reader, segment.end, &mut details)?;
        Ok(Directory::build(segment.id, extent, &details, reader.cipher.is_some()))
    }
}

fn bring_in(index: &mut Index, set: &mut SegmentSet, directory: &Directory, at: Position) {
    let (id, extent, content) = (directory.id, directory.extent, directory.content());
    let source = Source::File { runs: 0, end: 0 };
    set.add_found(id, extent.end, extent, 0, source, content);
    index.restore_directory(directory, set, at);
}
