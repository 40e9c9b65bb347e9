//! Reads every file of a journal and checks all that can be checked, whether or not a start would look at it: checksums of batches
//! and records, and that directories say what their segments hold (docs/journal-format.md §4 to §7). Changes nothing.

use crate::directory::{Directory, Extent, Source, read_summary};
use crate::directory_file::Walked;
use crate::disk::Disk;
use crate::encryption::Encryption;
use crate::error::{OpenError, is_damage};
use crate::format::{BatchHeader, FileName, Identity, SegmentHeader, SegmentId};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::names::LogId;
use crate::options::Options;
use crate::recovery::files::{Files, first_batch, peek_newest_epoch};
use crate::recovery::{io_error, unlock};
use std::ops::Range;

/// Number of a start above all: everything there is was before it.
const ABOVE_ALL: u64 = u64::MAX;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Name of the file.
    pub file: String,
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// How many bytes cannot be believed; 0 when nobody knows.
    pub length: u64,
    /// What is wrong.
    pub reason: String,
    /// Messages that lie there, in runs from a first to a last sequence, as far as the segment's directory tells.
    pub messages: Vec<(LogId, u64, u64)>,
    /// A start makes it again from what is whole: nothing is lost by it.
    pub is_remade: bool,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segment files that count.
    pub segments: u64,
    /// Whole records of messages in them, also of those that were trimmed and of copies.
    pub records: u64,
    /// Bytes of segments and directories.
    pub bytes: u64,
}

/// The files of a journal whose key fits.
pub(crate) fn unlocked_files(disk: &dyn Disk, encryption: Option<&Encryption>) -> Result<Files, OpenError> {
    let newest = peek_newest_epoch(disk)?;
    let options = Options {
        encryption: encryption.cloned(),
        ..Options::new([0; 16])
    };
    unlock(newest.as_ref(), &options)?;
    Files::list(disk, ABOVE_ALL)
}

/// Reads all segments that count and their directories; `told` hears of each damage. One segment at a time is in memory.
///
/// # Errors
/// There is no journal, its key is missing or wrong, what opens its epochs is damaged, or the directory cannot be read.
pub fn verify(
    disk: &dyn Disk,
    encryption: Option<&Encryption>,
    told: &mut dyn FnMut(Damage),
) -> Result<Verified, OpenError> {
    let files = unlocked_files(disk, encryption)?;
    let Some(newest) = files.newest_epoch() else {
        return Ok(Verified::default());
    };
    let mut verified = Verified::default();
    for id in files.segments.keys().copied() {
        let has_directory = files.directories.contains_key(&id);
        let mut segment = Segment::read(disk, newest.identity, id, files.cut_of(id))?;
        verified.segments += 1;
        verified.bytes += segment.bytes.len() as u64;
        let walked = segment.walk();
        verified.records += walked.records;
        let summary = match has_directory {
            true => segment.directory(&walked, &mut verified.bytes, told)?,
            false => None,
        };
        for hole in segment.holes(walked.holes, walked.end, summary.as_ref()) {
            told(hole);
        }
    }
    Ok(verified)
}

/// Whether these bytes are a whole segment of a journal: its header, and batches without a gap up to the end.
pub fn is_whole_segment(name: &str, identity: Identity, bytes: &[u8]) -> bool {
    let FileName::Segment(id) = FileName::parse(name) else {
        return false;
    };
    let Ok(header) = SegmentHeader::decode(bytes) else {
        return false;
    };
    let (mut walked, mut details) = (Walked::begin(), Vec::new());
    let read = walked.go_on(id.seed(&identity), header.encryption.is_some(), bytes, &mut details);
    header.id == id && header.identity == identity && read.is_ok() && walked.end == bytes.len()
}

/// A segment in memory.
pub(crate) struct Segment<'a> {
    disk: &'a dyn Disk,
    identity: Identity,
    id: SegmentId,
    pub(crate) bytes: Vec<u8>,
    /// Behind this nothing counts.
    limit: usize,
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
    records: u64,
    /// When there are no holes.
    pub(crate) directory: Option<Directory>,
}

/// What a readable directory says: where the batches end, and where each message lies.
pub(crate) struct Told {
    pub(crate) extent: Extent,
    places: Vec<(u32, LogId, u64)>,
}

impl<'a> Segment<'a> {
    pub(crate) fn read(
        disk: &'a dyn Disk,
        identity: Identity,
        id: SegmentId,
        cut: Option<Option<u64>>,
    ) -> Result<Segment<'a>, OpenError> {
        let name = id.file_name();
        let file = disk.open(&name).map_err(io_error(format!("open {name}")))?;
        let length = file.length().map_err(io_error(format!("read {name}")))?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_at(&mut bytes, 0).map_err(io_error(format!("read {name}")))?;
        Ok(Segment::of_bytes(disk, identity, id, cut, bytes))
    }

    /// The segment that these bytes are.
    pub(crate) fn of_bytes(
        disk: &'a dyn Disk,
        identity: Identity,
        id: SegmentId,
        cut: Option<Option<u64>>,
        bytes: Vec<u8>,
    ) -> Segment<'a> {
        let (header, is_encrypted) = match SegmentHeader::decode(&bytes) {
            Ok(header) if header.id != id || header.identity != identity => (
                Some("the segment's header does not fit its name or this journal".to_owned()),
                false,
            ),
            Ok(header) => (None, header.encryption.is_some()),
            Err(reason) => (Some(reason), false),
        };
        let limit = cut.map_or(bytes.len(), |cut| bytes.len().min(cut.unwrap_or(0) as usize));
        Segment {
            disk,
            identity,
            id,
            bytes,
            limit,
            is_encrypted,
            header,
        }
    }

    /// Goes through all batches, past what is damaged.
    pub(crate) fn walk(&mut self) -> Read {
        let seed = self.id.seed(&self.identity);
        let bytes = self.bytes.get(..self.limit).unwrap_or_default();
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
                .then(|| Directory::build(self.id, walked.extent(), &details, self.is_encrypted)),
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
        let name = self.id.directory_name();
        let damage = |reason: String| Damage {
            file: name.clone(),
            offset: 0,
            length: 0,
            reason,
            messages: Vec::new(),
            is_remade: read.holes.is_empty(),
        };
        let cannot = || io_error(format!("read {name}"));
        let summary = match read_summary(self.disk, &self.identity, self.id).map_err(cannot())? {
            Ok(summary) => summary,
            Err(reason) => {
                told(damage(reason));
                return Ok(None);
            }
        };
        *bytes_read += summary.length;
        let source = Source::File {
            runs: summary.runs.len(),
            end: summary.extent.end,
        };
        let (mut places, mut problem) = (Vec::new(), None);
        for run in &summary.runs {
            let range = run.entry..run.entry + (run.last - run.first + 1) as u32;
            match source.entries(self.disk, &self.identity, self.id, range) {
                Ok(entries) => places.extend(entries.iter().map(|entry| (entry.offset, run.log, entry.sequence))),
                Err(error) if is_damage(&error) => problem = Some(error.to_string()),
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
            told(damage(problem));
        }
        places.sort_unstable_by_key(|(offset, log, sequence)| (*offset, log.0, *sequence));
        Ok(Some(Told {
            extent: summary.extent,
            places,
        }))
    }

    /// What is damaged in the segment, with the messages that lie there.
    pub(crate) fn holes(&self, mut holes: Vec<(Range<usize>, String)>, end: usize, told: Option<&Told>) -> Vec<Damage> {
        let expected = told.map_or(0, |told| told.extent.end.min(self.limit as u64)) as usize;
        if expected > end {
            holes.push((end..expected, "its last batches are missing or damaged".to_owned()));
        }
        let damage = |(range, reason): (Range<usize>, String)| Damage {
            file: self.id.file_name(),
            offset: range.start as u64,
            length: range.len() as u64,
            reason,
            messages: told.map_or_else(Vec::new, |told| told.within(&range)),
            // A segment that was prepared and not used: a start leaves it out.
            is_remade: end <= SEGMENT_HEADER_BYTES as usize && expected <= end,
        };
        holes.into_iter().map(damage).collect()
    }
}

impl Told {
    /// The messages whose records begin within a range of the segment, in runs.
    fn within(&self, range: &Range<usize>) -> Vec<(LogId, u64, u64)> {
        let begin = self
            .places
            .partition_point(|(offset, ..)| (*offset as usize) < range.start);
        let end = self
            .places
            .partition_point(|(offset, ..)| (*offset as usize) < range.end);
        let mut found: Vec<(LogId, u64)> = self.places[begin..end.max(begin)]
            .iter()
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
