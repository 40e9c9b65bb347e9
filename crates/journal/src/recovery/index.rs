//! The index after a start: every segment's runs, from its directory or from what was read of it, reconciled with what the logs
//! still hold.

use super::{Recovery, Replay, damaged, io_error};
use crate::OpenError;
use crate::absorb::{absorb, absorb_run};
use crate::directory::{Content, Directory, Extent, Run, Source, read_summary};
use crate::format::{Cut, SegmentId};
use crate::job::write_directory;
use crate::segment::{Segment, SegmentState};
use std::io;
use std::sync::Arc;

impl Recovery<'_> {
    /// Brings all segments into the index, writing directories that are missing, and checks that no live message is.
    pub(crate) fn build_index(&mut self, cut: Cut, replay: &mut dyn Replay) -> Result<(), OpenError> {
        let ids: Vec<SegmentId> = self.files.segments.keys().copied().collect();
        for id in ids {
            self.index_segment(id, cut)?;
            self.work.done += self.files.directories.get(&id).copied().unwrap_or(0);
            self.work.tell(replay);
        }
        let (mut total, mut messages) = (0, 0);
        for log in self.logs.iter_mut() {
            let mut next = log.first;
            for range in &log.ranges {
                if range.first > next {
                    break;
                }
                next = range.last + 1;
            }
            if next <= log.last {
                let reason = format!("message {next} of log {} is in no segment", log.id.0);
                return Err(damaged("the journal", 0, reason));
            }
            log.bytes = log.ranges.iter().map(crate::logs::Range::live_bytes).sum();
            total += log.bytes;
            messages += log.count();
        }
        self.logs.bytes = total;
        self.logs.messages = messages;
        Ok(())
    }

    fn index_segment(&mut self, id: SegmentId, cut: Cut) -> Result<(), OpenError> {
        let length = self.files.segments.get(&id).copied().unwrap_or(0);
        let built = self.built.iter().position(|directory| directory.id == id);
        if built.is_none() {
            match read_summary(self.disk, &self.identity, id) {
                Ok(Ok(summary)) => {
                    self.work.bytes_read += summary.bytes_read();
                    self.add_segment(
                        id,
                        length,
                        summary.extent,
                        summary.length,
                        Source::File {
                            runs: summary.runs.len(),
                        },
                        summary.content,
                    );
                    self.absorb_from_file(id, &summary.runs, cut.position);
                    return Ok(());
                }
                Ok(Err(reason)) => self
                    .remarks
                    .push(format!("{}: {reason}; it is made anew", id.directory_name())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error(format!("read {}", id.directory_name()))(error)),
            }
            self.rebuild_directory(id)?;
        }
        let index = built.unwrap_or(self.built.len() - 1);
        let directory = self.built.swap_remove(index);
        let (source, directory_length, directory) = self.keep_directory(directory)?;
        self.add_segment(
            id,
            length,
            directory.extent,
            directory_length,
            source,
            directory.content(),
        );
        for run in &directory.runs {
            if let Some(log) = self.logs.get_mut(run.log) {
                absorb_run(log, run, &directory, &mut self.segments, cut.position);
            }
        }
        Ok(())
    }

    /// Writes a directory; keeps it in memory when the disk is full.
    fn keep_directory(&mut self, directory: Directory) -> Result<(Source, u64, Arc<Directory>), OpenError> {
        let directory = Arc::new(directory);
        match write_directory(self.disk, &self.identity, &directory) {
            Ok(length) => Ok((
                Source::File {
                    runs: directory.runs.len(),
                },
                length,
                directory,
            )),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.remarks
                    .push(format!("no space for {}", directory.id.directory_name()));
                Ok((Source::Memory(Arc::clone(&directory)), 0, directory))
            }
            Err(error) => Err(io_error(format!("write {}", directory.id.directory_name()))(error)),
        }
    }

    fn add_segment(
        &mut self,
        id: SegmentId,
        length: u64,
        extent: Extent,
        directory_length: u64,
        source: Source,
        content: Content,
    ) {
        let mut segment = Segment::new(id, length, SegmentState::Sealed);
        segment.extent = extent;
        segment.directory_length = directory_length;
        segment.source = source;
        segment.content = content;
        self.segments.by_number.insert(id.number, segment);
    }

    fn absorb_from_file(&mut self, id: SegmentId, runs: &[Run], at: u64) {
        let (disk, identity, source) = (self.disk, self.identity, Source::File { runs: runs.len() });
        for run in runs {
            let Some(log) = self.logs.get_mut(run.log) else {
                continue;
            };
            // Only a run whose front was trimmed asks; when its page cannot be read, too much counts as live.
            let base_before = |sequence: u64| {
                let Some(entry) = (sequence - run.first)
                    .checked_sub(1)
                    .map(|index| run.entry + index as u32)
                else {
                    return Some(0);
                };
                let entries = source.entries(disk, &identity, id, entry..entry + 1);
                let entries = entries.ok()?;
                entries.first().map(|entry| entry.cumulative)
            };
            absorb(log, run, id.number, &base_before, &mut self.segments, at);
        }
    }
}
