//! The batches behind a checkpoint, up to an entry: checked as a start checks them, but for what lies behind them, which is none of this.

use super::windows::SegmentReader;
use super::{Pinned, PinnedSegment};
use crate::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::directory::{Detail, Directory, Extent};
use crate::disk::Disk;
use crate::entry::EntryId;
use crate::error::OpenError;
use crate::format::Cut;
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::names::Position;
use crate::record::{self, Parsed, Record};
use crate::recovery::damaged;

/// A record of the tail.
pub(super) struct TailRecord<'a> {
    pub(super) position: Position,
    pub(super) parsed: Parsed<'a>,
    /// The body, decrypted; nothing of a message, into which nobody looks here.
    pub(super) body: &'a [u8],
}

/// Who goes through the tail.
pub(super) trait TailVisitor {
    /// A batch begins, of which all records follow; `bytes` is all of it. Nothing of it counts below the checkpoint's begin.
    fn batch(&mut self, header: &BatchHeader, reader: &SegmentView<'_>, bytes: &[u8]) -> Result<(), OpenError> {
        let _ = (header, reader, bytes);
        Ok(())
    }
    /// A record of it.
    fn record(&mut self, record: &TailRecord<'_>) -> Result<(), String>;
}

/// How a batch is read.
pub(super) struct SegmentView<'a> {
    pub(super) seed: u32,
    pub(super) cipher: Option<&'a crate::encryption::FileCipher>,
}

/// What the tail was.
pub(super) struct TailSeen {
    /// Behind the last entry that was wanted.
    pub(super) end: Cut,
    /// Directories of what was read, made from it.
    pub(super) built: Vec<Directory>,
}

/// Where to begin and to end.
pub(super) struct TailSpan {
    /// The checkpoint's begin: records before it are in it.
    pub(super) begin: Position,
    /// What the first batch follows, and where it is.
    pub(super) start: Cut,
    /// The last entry before that.
    pub(super) base: EntryId,
    /// The last entry that counts.
    pub(super) last: EntryId,
    /// Batches behind that entry are read as well: they hold copies, and no records of the owner.
    pub(super) goes_on: bool,
    /// Directories are wanted.
    pub(super) builds: bool,
}

/// Where the reading stands.
struct Walk<'a> {
    span: &'a TailSpan,
    end: Cut,
    /// Behind the last entry.
    found: Option<Cut>,
    body: Vec<u8>,
}

impl Pinned {
    /// Goes through the tail.
    pub(super) fn read_tail(
        &self,
        disk: &dyn Disk,
        span: &TailSpan,
        visitor: &mut dyn TailVisitor,
    ) -> Result<TailSeen, OpenError> {
        let mut walk = Walk {
            span,
            end: span.start,
            found: (span.last == span.base).then_some(span.start),
            body: Vec::new(),
        };
        let mut built = Vec::new();
        let from = span.start.segment;
        for segment in self.segments.iter().filter(|segment| segment.id.number >= from) {
            let mut details = span.builds.then(Vec::new);
            let first_position = walk.end.position;
            let went_on = self.read_segment(disk, segment, &mut walk, details.as_mut(), visitor)?;
            if let Some(details) = details.filter(|_| walk.end.segment == segment.id.number) {
                let extent = Extent {
                    end: walk.end.offset,
                    first_position,
                    next_position: walk.end.position,
                    checksum: walk.end.checksum,
                };
                let encrypted = self.keys.is_some();
                built.push(Directory::build(segment.id, extent, &details, encrypted));
            }
            if !went_on {
                break;
            }
        }
        let Some(end) = walk.found else {
            let (index, term) = (span.last.index, span.last.term);
            let reason = format!("entry {index} of term {term} is not there");
            return Err(damaged("the journal", 0, reason));
        };
        Ok(TailSeen { end, built })
    }

    /// Reads a segment; whether the next one follows.
    fn read_segment(
        &self,
        disk: &dyn Disk,
        segment: &PinnedSegment,
        walk: &mut Walk<'_>,
        mut details: Option<&mut Vec<Detail>>,
        visitor: &mut dyn TailVisitor,
    ) -> Result<bool, OpenError> {
        let mut reader = SegmentReader::open(self, disk, segment)?;
        let begins_within = segment.id.number == walk.span.start.segment;
        let start = match begins_within {
            true => walk.span.start.offset,
            false => u64::from(SEGMENT_HEADER_BYTES),
        };
        if let Some(details) = details.as_deref_mut().filter(|_| begins_within) {
            collect_before(&mut reader, start, details)?;
        }
        let mut offset = start;
        let (id, seed, cipher) = (reader.id, reader.seed, reader.cipher.clone());
        while let Some((header, bytes)) = reader.batch(offset)? {
            let mark = header.entry.id;
            if mark.index > walk.span.last.index && !walk.span.goes_on {
                return Ok(false);
            }
            let wrong = |reason: String| damaged(id.file_name(), offset, reason);
            // What a start gave up leaves a gap in the positions before the first batch of its epoch.
            let may_jump = offset == u64::from(SEGMENT_HEADER_BYTES) && header.first_position > walk.end.position;
            if header.predecessor != walk.end.checksum || (header.first_position != walk.end.position && !may_jump) {
                return Err(wrong("the batch does not continue the one before it".to_owned()));
            }
            let view = SegmentView {
                seed,
                cipher: cipher.as_deref(),
            };
            visitor.batch(&header, &view, bytes)?;
            walk.records(&header, &view, bytes, (offset, details.as_deref_mut()), visitor)
                .map_err(wrong)?;
            offset += u64::from(header.length);
            walk.end = Cut {
                segment: id.number,
                offset,
                position: header.first_position + u64::from(header.count),
                checksum: header.checksum,
            };
            if mark == walk.span.last && mark.index > 0 {
                walk.found = Some(walk.end);
                if !walk.span.goes_on {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl Walk<'_> {
    /// Gives the records of a batch to the visitor; those that the checkpoint has are only looked at for the directory.
    fn records(
        &mut self,
        header: &BatchHeader,
        view: &SegmentView<'_>,
        bytes: &[u8],
        (offset, mut details): (u64, Option<&mut Vec<Detail>>),
        visitor: &mut dyn TailVisitor,
    ) -> Result<(), String> {
        let (records, mut at) = (header.records(bytes), 0);
        for position in (header.first_position..).take(header.count as usize) {
            let parsed = record::parse(records.get(at..).unwrap_or_default(), view.seed)
                .and_then(|parsed| parsed.expect_encrypted(view.cipher.is_some()))
                .map_err(|error| error.to_string())?;
            if let Some(details) = details.as_deref_mut() {
                details.extend(detail(&parsed, offset + (BATCH_HEADER_BYTES + at) as u64));
            }
            at += parsed.length;
            if position < self.span.begin {
                continue;
            }
            self.body.clear();
            if !matches!(parsed.record, Record::Message { .. }) {
                parsed
                    .body(view.cipher, Some(position), &mut self.body)
                    .map_err(|error| error.to_string())?;
            }
            let body = &self.body;
            visitor.record(&TailRecord { position, parsed, body })?;
        }
        if at != records.len() {
            return Err("a batch holds more than its records".to_owned());
        }
        Ok(())
    }
}

/// What a directory says of a record, when it is a message.
pub(super) fn detail(parsed: &Parsed<'_>, place: u64) -> Option<Detail> {
    match parsed.record {
        Record::Message {
            log,
            sequence,
            timestamp,
            moved,
            ..
        } => {
            let size = parsed.plain_length();
            Some(Detail::new(log, sequence, timestamp, place as u32, size, moved))
        }
        _ => None,
    }
}

/// The details of the batches of a segment before an offset.
pub(super) fn collect_before(
    reader: &mut SegmentReader<'_>,
    end: u64,
    details: &mut Vec<Detail>,
) -> Result<Extent, OpenError> {
    let (id, seed, is_encrypted) = (reader.id, reader.seed, reader.cipher.is_some());
    let mut extent = Extent {
        end: u64::from(SEGMENT_HEADER_BYTES),
        ..Extent::default()
    };
    while extent.end < end {
        let offset = extent.end;
        let Some((header, bytes)) = reader.batch(offset)? else {
            break;
        };
        if offset == u64::from(SEGMENT_HEADER_BYTES) {
            extent.first_position = header.first_position;
        }
        let (records, mut at) = (header.records(bytes), 0);
        while at < records.len() {
            let place = offset + (BATCH_HEADER_BYTES + at) as u64;
            let parsed = record::parse(&records[at..], seed)
                .and_then(|parsed| parsed.expect_encrypted(is_encrypted))
                .map_err(|error| damaged(id.file_name(), place, error.to_string()))?;
            details.extend(detail(&parsed, place));
            at += parsed.length;
        }
        extent.end += u64::from(header.length);
        extent.next_position = header.first_position + u64::from(header.count);
        extent.checksum = header.checksum;
    }
    Ok(extent)
}
