//! One segment in memory: what of it is whole, what is not, and which messages that concerns.

use super::damage::Damage;
use super::readable::{Unreadable, is_unreadable, read_readable};
use crate::batch::BatchHeader;
use crate::directory::{Directory, Extent, Source, read_summary};
use crate::directory_file::Walked;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::SegmentHeader;
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::names::LogId;
use crate::record;
use crate::recovery::files::{Known, first_batch};
use crate::recovery::io_error;
use std::ops::Range;

/// A segment in memory.
pub(crate) struct Segment<'a> {
    disk: &'a dyn Disk,
    known: Known,
    pub(crate) bytes: Vec<u8>,
    /// Where zeros stand for what cannot be read, and why.
    unreadable: Unreadable,
    is_encrypted: bool,
    /// What is wrong with the header.
    header: Option<String>,
}

/// What there is of its batches.
pub(crate) struct Read {
    /// Behind the last whole batch.
    pub(crate) end: usize,
    /// What cannot be read before that, and why.
    pub(crate) holes: Vec<(Range<usize>, String)>,
    pub(crate) records: u64,
    /// When there are no holes.
    pub(crate) directory: Option<Directory>,
}

impl Read {
    /// What it covers, when it has a batch and no holes.
    pub(crate) fn extent(&self) -> Option<Extent> {
        let extent = self.directory.as_ref()?.extent;
        (extent.next_position > extent.first_position).then_some(extent)
    }
}

/// What a readable directory says: where the batches end, and where each message lies.
pub(crate) struct Told {
    pub(crate) extent: Extent,
    places: Vec<(u32, LogId, u64)>,
}

impl<'a> Segment<'a> {
    pub(crate) fn read(disk: &'a dyn Disk, known: Known) -> Result<Segment<'a>, OpenError> {
        let (bytes, unreadable) = read_readable(disk, &known.id.file_name())?;
        Ok(Segment {
            unreadable,
            ..Segment::of_bytes(disk, known, bytes)
        })
    }

    /// The segment that these bytes are.
    pub(crate) fn of_bytes(disk: &'a dyn Disk, known: Known, bytes: Vec<u8>) -> Segment<'a> {
        let (header, is_encrypted) = match SegmentHeader::decode(&bytes) {
            Ok(_) if bytes.len() < SEGMENT_HEADER_BYTES as usize => {
                (Some("the file is shorter than a segment header".to_owned()), false)
            }
            Ok(header) if header.id != known.id || header.identity != known.identity => (
                Some("the segment's header does not fit its name or this journal".to_owned()),
                false,
            ),
            Ok(header) => (None, header.encryption.is_some()),
            Err(reason) => (Some(reason), false),
        };
        Segment {
            disk,
            known,
            bytes,
            unreadable: Vec::new(),
            is_encrypted,
            header,
        }
    }

    /// Behind this nothing is there that counts.
    fn limit(&self) -> usize {
        self.known.limit.min(self.bytes.len() as u64) as usize
    }

    /// What its first batch follows: the checksum of the header of the one before it.
    pub(crate) fn predecessor(&self) -> Option<u32> {
        let first = self.bytes.get(SEGMENT_HEADER_BYTES as usize..)?;
        let header = BatchHeader::decode(first, self.known.id.seed(&self.known.identity))?;
        Some(header.predecessor)
    }

    /// Goes through all batches, past what is damaged.
    pub(crate) fn walk(&self) -> Read {
        let seed = self.known.id.seed(&self.known.identity);
        let bytes = self.bytes.get(..self.limit()).unwrap_or_default();
        let (mut walked, mut details, mut holes) = (Walked::begin(), Vec::new(), Vec::new());
        if let Some(reason) = self.header.clone() {
            holes.push((0..SEGMENT_HEADER_BYTES as usize, reason));
        }
        loop {
            if let Err((_, reason)) = walked.go_on(seed, self.is_encrypted, bytes, &mut details) {
                // Its batch is whole, so its length is known.
                let begin = walked.end;
                let batch = bytes.get(begin..).and_then(|rest| BatchHeader::decode(rest, seed));
                walked.end += batch.map_or(bytes.len() - begin, |batch| batch.length as usize);
                holes.push((begin..walked.end, reason));
                continue;
            }
            let rest = bytes.get(walked.end..).unwrap_or_default();
            let Some(next) = first_batch(rest, seed) else { break };
            let reason = "a batch is missing or damaged, and valid ones follow it".to_owned();
            holes.push((walked.end..walked.end + next, reason));
            walked.end += next;
        }
        Read {
            end: walked.end,
            records: details.len() as u64,
            directory: holes
                .is_empty()
                .then(|| Directory::build(self.known.id, walked.extent(), &details, self.is_encrypted)),
            holes,
        }
    }

    /// Reads the directory file, and compares it with the segment where that is whole.
    pub(crate) fn directory(
        &self,
        read: &Read,
        bytes_read: &mut u64,
        told: &mut dyn FnMut(Damage),
    ) -> Result<Option<Told>, OpenError> {
        let (identity, id) = (&self.known.identity, self.known.id);
        let name = id.directory_name();
        let damage = |reason: String, is_remade: bool| Damage {
            is_remade,
            ..Damage::of_file(name.clone(), reason)
        };
        let is_whole = read.holes.is_empty() && read.end as u64 >= self.known.least;
        let cannot = || io_error(format!("read {name}"));
        let summary = match read_summary(self.disk, identity, id) {
            Ok(Ok(summary)) => summary,
            Ok(Err(reason)) => {
                told(damage(reason, is_whole));
                return Ok(None);
            }
            Err(error) if is_unreadable(&error) => {
                told(damage(format!("it cannot be read: {error}"), is_whole));
                return Ok(None);
            }
            Err(error) => return Err(cannot()(error)),
        };
        *bytes_read += summary.length;
        let source = Source::File {
            runs: summary.runs.len(),
            end: summary.extent.end,
        };
        let (mut places, mut problem) = (Vec::new(), None);
        for run in &summary.runs {
            let range = run.entry..run.entry + (run.last - run.first + 1) as u32;
            match source.entries(self.disk, identity, id, range) {
                Ok(entries) => places.extend(entries.iter().map(|entry| (entry.offset, run.log, entry.sequence))),
                Err(error) if is_unreadable(&error) => problem = Some(error.to_string()),
                Err(error) => return Err(cannot()(error)),
            }
        }
        let differs = |made: &Directory| made.runs != summary.runs || made.entries.len() != places.len();
        if problem.is_none()
            && read
                .directory
                .as_ref()
                .is_some_and(|made| made.extent == summary.extent && differs(made))
        {
            problem = Some("it does not say what its segment holds".to_owned());
        }
        if let Some(problem) = problem {
            told(damage(problem, is_whole && read.end as u64 >= summary.extent.end));
        }
        places.sort_unstable_by_key(|(offset, log, sequence)| (*offset, log.0, *sequence));
        Ok(Some(Told {
            extent: summary.extent,
            places,
        }))
    }

    /// What is damaged in the segment, with the messages that lie there.
    pub(crate) fn holes(&self, read: &Read, told: Option<&Told>) -> Vec<Damage> {
        let mut holes = read.holes.clone();
        // What a directory says of the time before a cut does not count any more.
        let told_end = told.map_or(0, |told| told.extent.end.min(self.known.limit));
        let (end, expected) = (read.end, told_end.max(self.known.least) as usize);
        if expected > end {
            let length = self.bytes.len();
            let reason = match length < expected {
                true => {
                    format!("the file was cut off: it has {length} bytes, and its batches reached up to {expected}")
                }
                false => "its last batches are missing or damaged".to_owned(),
            };
            // A header that is not there is part of the same.
            let behind = holes.iter().filter(|(range, _)| range.end > end.min(length));
            let begin = behind
                .map(|(range, _)| range.start)
                .min()
                .unwrap_or(end)
                .min(end.min(length));
            holes.retain(|(range, _)| range.start < begin);
            holes.push((begin..expected, reason));
        }
        for (range, error) in &self.unreadable {
            let is_in = |hole: &&mut (Range<usize>, String)| hole.0.start < range.end && range.start < hole.0.end;
            let reason = format!(
                "{} bytes from offset {} on cannot be read: {error}",
                range.len(),
                range.start
            );
            match holes.iter_mut().find(is_in) {
                Some((_, of_hole)) => *of_hole = reason,
                None => holes.push((range.clone(), reason)),
            }
        }
        let damage = |(range, reason): (Range<usize>, String)| Damage {
            offset: range.start as u64,
            length: range.len() as u64,
            messages: told.map_or_else(Vec::new, |told| told.within(&range, &|offset| self.is_record(offset))),
            // A segment that was prepared and not used: a start leaves it out.
            is_remade: end <= SEGMENT_HEADER_BYTES as usize && expected <= end && self.unreadable.is_empty(),
            ..Damage::of_file(self.known.id.file_name(), reason)
        };
        holes.into_iter().map(damage).collect()
    }
}

impl Segment<'_> {
    /// Whether a whole record is at an offset: it can be read, whatever became of its batch.
    fn is_record(&self, offset: u32) -> bool {
        let rest = self.bytes.get(offset as usize..self.limit());
        rest.is_some_and(|rest| record::parse(rest, self.known.id.seed(&self.known.identity)).is_ok())
    }
}

impl Told {
    /// The messages whose records begin within a range of the segment and are not whole, in runs.
    fn within(&self, range: &Range<usize>, is_whole: &dyn Fn(u32) -> bool) -> Vec<(LogId, u64, u64)> {
        let begin = self
            .places
            .partition_point(|(offset, ..)| (*offset as usize) < range.start);
        let end = self
            .places
            .partition_point(|(offset, ..)| (*offset as usize) < range.end);
        let mut found: Vec<(LogId, u64)> = self.places[begin..end.max(begin)]
            .iter()
            .filter(|(offset, ..)| !is_whole(*offset))
            .map(|(_, log, sequence)| (*log, *sequence))
            .collect();
        found.sort_unstable_by_key(|(log, sequence)| (log.0, *sequence));
        let mut runs: Vec<(LogId, u64, u64)> = Vec::new();
        for (log, sequence) in found {
            match runs.last_mut() {
                Some((of, _, last)) if *of == log && sequence <= last.saturating_add(1) => *last = sequence,
                _ => runs.push((log, sequence, sequence)),
            }
        }
        runs
    }
}
