//! One slice of a channel (specification §3.7, §3.8, §3.12): what its index is worth, and where its messages are.
//!
//! Changes nothing: an index that is missing or wrong is replaced by a plan in memory, a few bytes for each time that a server
//! crashed while it wrote this slice.

use std::path::PathBuf;

use crate::crc::Crc32;
use crate::entities::has_header;
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::frames::{FILE_HEADER_BYTES, Frames, Framing, Head, RECORD_HEADER_BYTES, Recovery, Step};
use crate::limits::RUNS_MAX;
use crate::records::Message;
use crate::window::Window;

/// Bytes of an index entry.
pub(crate) const ENTRY_BYTES: u64 = 32;

/// The files of a slice.
#[derive(Debug, Clone)]
pub(crate) struct SliceFiles {
    pub(crate) number: u64,
    pub(crate) data: PathBuf,
    pub(crate) index: PathBuf,
    pub(crate) has_index: bool,
    /// Names for findings.
    pub(crate) data_name: String,
    pub(crate) index_name: String,
}

/// An entry of an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
    pub(crate) size: u32,
}

impl Entry {
    /// An entry with the right checksum.
    pub(crate) fn read(bytes: &[u8], crc: &Crc32) -> Option<Self> {
        let (entry, stored) = bytes.split_last_chunk::<4>()?;
        if crc.of(entry) != u32::from_le_bytes(*stored) {
            return None;
        }
        Some(Self {
            sequence: u64::from_le_bytes(*entry.first_chunk()?),
            offset: u64::from_le_bytes(*entry.get(8..)?.first_chunk()?),
            size: u32::from_le_bytes(*entry.get(24..)?.first_chunk()?),
        })
    }

    /// Where the encoded message begins.
    pub(crate) fn payload(&self) -> u64 {
        self.offset.saturating_add(RECORD_HEADER_BYTES)
    }

    fn end(&self) -> u64 {
        self.payload().saturating_add(u64::from(self.size))
    }
}

/// Records one after the other with ascending sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Sequences from here on are in later runs.
    pub(crate) below: Option<u64>,
}

/// Where the messages of a slice are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The index says it. Behind `end`, up to `beyond_end`, there are records that it does not know.
    Indexed { entries: u64, end: u64, beyond_end: u64 },
    /// From start to end of the data file. A later run takes the place of what earlier ones have from its first sequence on: the
    /// server gave these sequences out again because it did not see the earlier records.
    Runs(Vec<Run>),
}

/// A slice that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) files: SliceFiles,
    pub(crate) place: Place,
    /// The first sequence that it claims to have.
    pub(crate) first: Option<u64>,
}

/// What an index is worth.
enum Index {
    Missing,
    Damaged,
    Empty,
    Good(IndexSummary),
}

#[derive(Default)]
struct IndexSummary {
    entries: u64,
    first: u64,
    last: Option<Entry>,
    /// Bytes between records that no entry covers, and where they begin.
    holes: Option<(u64, u64)>,
    /// Entries whose records the data file no longer holds, and the first of their sequences.
    ahead: Option<(u64, u64)>,
}

/// Looks at a slice.
pub(crate) fn examine(files: SliceFiles, channel: &[u8], crc: &Crc32, findings: &mut Findings) -> Result<Slice, Error> {
    let mut data = Window::open(&files.data)?;
    let has_records = has_header(&mut data, &files.data_name, findings)?;
    let index = examine_index(&files, data.length(), crc, findings)?;
    if let Index::Good(summary) = &index
        && let Some((count, sequence)) = summary.ahead
    {
        findings.push(
            Finding::new(Severity::Loss, Kind::IndexAhead, &files.index_name)
                .count(count)
                .sequence(sequence),
        );
    }
    if !has_records {
        let place = Place::Runs(Vec::new());
        return Ok(Slice {
            files,
            place,
            first: None,
        });
    }
    let finding = |kind| Finding::new(Severity::Repair, kind, &files.index_name);
    let is_empty = matches!(index, Index::Empty);
    match index {
        Index::Good(summary) if summary.ahead.is_none() => {
            if is_last_entry_true(&mut data, &summary, crc)? {
                return beyond(files, summary, channel, crc, &mut data, findings);
            }
            findings.push(finding(Kind::IndexDamaged));
        }
        Index::Missing => findings.push(finding(Kind::IndexMissing)),
        Index::Damaged => findings.push(finding(Kind::IndexDamaged)),
        Index::Good(_) | Index::Empty => {}
    }
    let (runs, count) = scan(&files, channel, crc, &mut data, findings)?;
    if is_empty && count > 0 {
        findings.push(
            Finding::new(Severity::Repair, Kind::IndexBehind, &files.data_name)
                .offset(FILE_HEADER_BYTES)
                .count(count),
        );
    }
    // A later run may begin below the first.
    let first = runs.iter().map(|run| run.first).min();
    Ok(Slice {
        files,
        place: Place::Runs(runs),
        first,
    })
}

fn examine_index(files: &SliceFiles, data_length: u64, crc: &Crc32, findings: &mut Findings) -> Result<Index, Error> {
    if !files.has_index {
        return Ok(Index::Missing);
    }
    let mut window = Window::open(&files.index)?;
    let length = window.length();
    if length < FILE_HEADER_BYTES || window.bytes(0, 4)? != [1, 0, 0, 0] {
        return Ok(Index::Damaged);
    }
    let mut summary = IndexSummary::default();
    let mut covered = FILE_HEADER_BYTES;
    let mut at = FILE_HEADER_BYTES;
    while at < length {
        if length - at < ENTRY_BYTES {
            return Ok(Index::Damaged);
        }
        let bytes = window.bytes(at, ENTRY_BYTES as usize)?;
        if bytes.iter().all(|byte| *byte == 0) {
            if !window.is_zero_from(at)? {
                return Ok(Index::Damaged);
            }
            let zeros = Finding::new(Severity::Note, Kind::ZeroTail, &files.index_name);
            findings.push(zeros.offset(at).count(length - at));
            break;
        }
        let Some(entry) = Entry::read(bytes, crc) else {
            return Ok(Index::Damaged);
        };
        let is_ascending = summary.last.is_none_or(|last| last.sequence < entry.sequence);
        if entry.sequence == 0 || !is_ascending || entry.offset < covered {
            return Ok(Index::Damaged);
        }
        summary.add(entry, covered, data_length);
        covered = entry.end();
        at += ENTRY_BYTES;
    }
    Ok(if summary.entries == 0 {
        Index::Empty
    } else {
        Index::Good(summary)
    })
}

impl IndexSummary {
    fn add(&mut self, entry: Entry, covered: u64, data_length: u64) {
        if self.entries == 0 {
            self.first = entry.sequence;
        }
        self.entries += 1;
        self.last = Some(entry);
        if entry.offset > covered {
            let (_, bytes) = self.holes.get_or_insert((covered, 0));
            *bytes = bytes.saturating_add(entry.offset - covered);
        }
        if entry.end() > data_length {
            self.ahead.get_or_insert((0, entry.sequence)).0 += 1;
        }
    }
}

/// The original's own test of an index: its last entry is looked up.
fn is_last_entry_true(data: &mut Window, summary: &IndexSummary, crc: &Crc32) -> Result<bool, Error> {
    let Some(entry) = summary.last else { return Ok(false) };
    Ok(read_indexed(data, &entry, crc)?.is_some())
}

/// The message of an entry, if it is what the entry says. The entry must lie within the file.
pub(crate) fn read_indexed<'w>(data: &'w mut Window, entry: &Entry, crc: &Crc32) -> Result<Option<Message<'w>>, Error> {
    if entry.end() > data.length() {
        return Ok(None);
    }
    let bytes = data.bytes(entry.offset, 8)?.first_chunk().copied().unwrap_or_default();
    let head = Head::read(&bytes, entry.offset, Framing::Messages(b""));
    if head.size != entry.size
        || head.size > crate::limits::RECORD_BYTES_MAX
        || data.crc(crc, head.payload(), u64::from(head.size))? != head.crc
    {
        return Ok(None);
    }
    let message = Message::decode(data.bytes(head.payload(), head.size as usize)?).ok();
    Ok(message.filter(|message| message.sequence == entry.sequence))
}

/// A slice with a good index, and what lies behind its last entry.
fn beyond(
    files: SliceFiles,
    summary: IndexSummary,
    channel: &[u8],
    crc: &Crc32,
    data: &mut Window,
    findings: &mut Findings,
) -> Result<Slice, Error> {
    if let Some((offset, bytes)) = summary.holes {
        findings.push(
            Finding::new(Severity::Note, Kind::UnindexedBytes, &files.data_name)
                .offset(offset)
                .count(bytes),
        );
    }
    let (mut last, end) = summary
        .last
        .map_or((0, FILE_HEADER_BYTES), |entry| (entry.sequence, entry.end()));
    let finding = |severity, kind, offset| Finding::new(severity, kind, &files.data_name).offset(offset);
    let mut frames = Frames::new(Framing::Messages(channel), crc, Recovery::Stop, end, data.length());
    let (mut beyond_end, mut count) = (end, 0);
    let tail = loop {
        let head = match frames.step(data)? {
            Step::Record(head) => head,
            Step::Zeros { offset, length } => {
                break Some(finding(Severity::Note, Kind::ZeroTail, offset).count(length));
            }
            Step::End => break None,
            _ => break Some(finding(Severity::Repair, Kind::TornTail, beyond_end).count(data.length() - beyond_end)),
        };
        match Message::decode(data.bytes(head.payload(), head.size as usize)?) {
            Ok(message) if message.sequence > last => last = message.sequence,
            _ => break Some(finding(Severity::Repair, Kind::TornTail, beyond_end).count(data.length() - beyond_end)),
        }
        beyond_end = head.end();
        count += 1;
    };
    if count > 0 {
        findings.push(finding(Severity::Repair, Kind::IndexBehind, end).count(count));
    }
    if let Some(tail) = tail {
        findings.push(tail);
    }
    let place = Place::Indexed {
        entries: summary.entries,
        end,
        beyond_end,
    };
    Ok(Slice {
        files,
        place,
        first: Some(summary.first),
    })
}

/// The runs of a data file, and how many records they have.
fn scan(
    files: &SliceFiles,
    channel: &[u8],
    crc: &Crc32,
    data: &mut Window,
    findings: &mut Findings,
) -> Result<(Vec<Run>, u64), Error> {
    let mut frames = Frames::new(
        Framing::Messages(channel),
        crc,
        Recovery::Search,
        FILE_HEADER_BYTES,
        data.length(),
    );
    let (mut runs, mut count) = (Vec::<Run>::new(), 0);
    // What could not be read is judged by the sequence that follows.
    let mut unjudged: Option<Finding> = None;
    let finding = |severity, kind, offset| Finding::new(severity, kind, &files.data_name).offset(offset);
    loop {
        let found = match frames.step(data)? {
            Step::Record(head) => {
                let message = Message::decode(data.bytes(head.payload(), head.size as usize)?);
                let Ok(message) = message else {
                    let bad = finding(Severity::Loss, Kind::UnreadableBytes, head.offset);
                    findings.push(bad.count(head.end() - head.offset));
                    continue;
                };
                let last = runs.last().map(|run| run.last);
                if let Some(mut unjudged) = unjudged.take() {
                    let follows = last.is_some_and(|last| message.sequence <= last.saturating_add(1));
                    unjudged.severity = if follows { Severity::Repair } else { Severity::Loss };
                    findings.push(unjudged);
                }
                if !extend(&mut runs, &head, message.sequence) {
                    let rest = data.length() - head.offset;
                    findings.push(finding(Severity::Loss, Kind::TooMany, head.offset).count(rest));
                    break;
                }
                count += 1;
                continue;
            }
            Step::Unreadable { offset, length } => {
                let bad = finding(Severity::Loss, Kind::UnreadableBytes, offset).count(length);
                findings_of(unjudged.replace(bad), findings);
                continue;
            }
            Step::UnreadableTail { offset, length } => {
                finding(Severity::Loss, Kind::UnreadableBytes, offset).count(length)
            }
            Step::Torn { offset, length } => finding(Severity::Repair, Kind::TornTail, offset).count(length),
            Step::Zeros { offset, length } => finding(Severity::Note, Kind::ZeroTail, offset).count(length),
            Step::End => break,
        };
        findings.push(found);
    }
    findings_of(unjudged, findings);
    let mut below = None;
    for run in runs.iter_mut().rev() {
        run.below = below;
        below = Some(below.map_or(run.first, |below: u64| below.min(run.first)));
    }
    Ok((runs, count))
}

fn findings_of(finding: Option<Finding>, findings: &mut Findings) {
    if let Some(finding) = finding {
        findings.push(finding);
    }
}

/// Adds a record to the last run, or begins one; false when there are too many.
fn extend(runs: &mut Vec<Run>, head: &Head, sequence: u64) -> bool {
    if let Some(run) = runs.last_mut()
        && run.last < sequence
    {
        run.last = sequence;
        run.end = head.end();
        return true;
    }
    if runs.len() == RUNS_MAX {
        return false;
    }
    runs.push(Run {
        start: head.offset,
        end: head.end(),
        first: sequence,
        last: sequence,
        below: None,
    });
    true
}
