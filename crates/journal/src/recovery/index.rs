//! The index after a start: every segment's runs, from its directory or from what was read of it, reconciled with what the logs
//! still hold.

use super::{Recovery, Replay, damaged, io_error};
use crate::directory::{Run, Source, read_summary};
use crate::directory_file::{read_or_mend, write_directory};
use crate::error::{OpenError, is_damage};
use crate::format::{Cut, SegmentId};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;

impl Recovery<'_> {
    /// Brings all segments into the index and checks that no live message is missing. Writes nothing.
    pub(crate) fn build_index(&mut self, cut: Cut, replay: &mut dyn Replay) -> Result<(), OpenError> {
        let counts = |id: &&SegmentId| id.number <= cut.segment;
        let ids: Vec<SegmentId> = self.files.segments.keys().filter(counts).copied().collect();
        for id in ids {
            self.index_segment(id, cut)?;
            self.work.done += self.files.directories.get(&id).copied().unwrap_or(0);
            self.work.tell(replay);
        }
        self.missing = self.index.restored();
        if let Some(first) = self.missing.first().filter(|_| !self.tolerates_holes()) {
            let (log, from) = (first.log.0, first.from);
            let reason = format!("message {from} of log {log} is in no segment");
            return Err(damaged("the journal", 0, reason));
        }
        Ok(())
    }

    fn index_segment(&mut self, id: SegmentId, cut: Cut) -> Result<(), OpenError> {
        let length = self.files.segments.get(&id).copied().unwrap_or(0);
        let built = self.built.iter().position(|directory| directory.id == id);
        if built.is_none() {
            match read_summary(self.disk, &self.identity, id) {
                Ok(Ok(summary)) => {
                    self.work.bytes_read += summary.bytes_read();
                    self.segments.add_found(
                        id,
                        length,
                        summary.extent,
                        summary.length,
                        Source::File {
                            runs: summary.runs.len(),
                            end: summary.extent.end,
                        },
                        summary.content,
                    );
                    return self.absorb_from_file(id, summary.extent.end, &summary.runs, cut.position);
                }
                Ok(Err(reason)) => self
                    .remarks
                    .push(format!("{}: {reason}; it is made anew", id.directory_name())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error(format!("read {}", id.directory_name()))(error)),
            }
            if !self.rebuild_directory(id)? {
                return Ok(());
            }
        }
        let index = built.unwrap_or(self.built.len() - 1);
        let directory = Arc::new(self.built.swap_remove(index));
        let (source, content) = (Source::Memory(Arc::clone(&directory)), directory.content());
        self.segments
            .add_found(id, length, directory.extent, 0, source, content);
        self.index
            .restore_directory(&directory, &mut self.segments, cut.position);
        self.unwritten.push(directory);
        Ok(())
    }

    /// Writes the directories that had to be made. They stay in memory when that fails.
    pub(crate) fn write_directories(&mut self) {
        for directory in std::mem::take(&mut self.unwritten) {
            match write_directory(self.disk, &self.identity, &directory) {
                Ok(length) => self.segments.set_directory(&directory, Some(length), None),
                Err(error) => {
                    let name = directory.id.directory_name();
                    self.remarks.push(format!("{name} cannot be written: {error}"));
                }
            }
        }
    }

    fn absorb_from_file(&mut self, id: SegmentId, end: u64, runs: &[Run], at: u64) -> Result<(), OpenError> {
        let (disk, identity, source) = (self.disk, self.identity, Source::File { runs: runs.len(), end });
        let repaired = RefCell::new(Vec::new());
        let failure = RefCell::new(None);
        for run in runs {
            // Only a run whose front was trimmed asks. When its page can neither be read nor made again, too much counts as live;
            // one try for each segment is enough, as it may read all of it.
            let base_before = |sequence: u64| {
                let Some(entry) = (sequence - run.first)
                    .checked_sub(1)
                    .map(|index| run.entry + index as u32)
                else {
                    return Some(0);
                };
                if failure.borrow().is_some() {
                    return None;
                }
                let read = |source: &Source| source.entries(disk, &identity, id, entry..entry + 1);
                let entries = read_or_mend(disk, &identity, id, &source, &mut repaired.borrow_mut(), read);
                match entries {
                    Ok(entries) => entries.first().map(|entry| entry.cumulative),
                    Err(error) => {
                        *failure.borrow_mut() = Some(error);
                        None
                    }
                }
            };
            self.index
                .restore_run(run, id.number, &base_before, &mut self.segments, at);
        }
        self.remarks.append(&mut repaired.into_inner());
        match failure.into_inner() {
            None => Ok(()),
            Some(error) if is_damage(&error) => {
                self.remarks.push(format!(
                    "{error}; some of what was trimmed from it counts as if it were there"
                ));
                Ok(())
            }
            // It may pass, and limits would take its consequences for good.
            Some(error) => Err(io_error(format!("read {}", id.directory_name()))(error)),
        }
    }
}
