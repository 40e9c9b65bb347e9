//! Directories of sealed segments (docs/journal-format.md §7): building one from the details of a segment, its codec, and
//! reading single entries of it. Does not know which of the messages are still live.

use crate::disk::Disk;
use crate::format::{
    ENCRYPTED_FLAG, FILE_HEADER_BYTES, Identity, NUMBER_MAX, SegmentId, check_header, check_preamble, i64_at,
    identity_at, is_encrypted, seal_header, u32_at, u64_at, write_preamble,
};
use crate::limits::SEGMENT_BYTES_CEILING;
use crate::names::LogId;
use crate::record::ENCRYPTION_BYTES;
use std::io;
use std::ops::Range;
use std::sync::Arc;

const RUN_BYTES: usize = 56;
pub(crate) const PAGE_BYTES: usize = 4_096;
const ENTRY_BYTES: usize = 24;
const ENTRIES_PER_PAGE: usize = 170;
const PAGE_CONTENT_BYTES: usize = ENTRY_BYTES * ENTRIES_PER_PAGE;
const MOVED_BIT: u32 = 1 << 31;

/// A message of a segment as it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Detail {
    pub(crate) log: LogId,
    pub(crate) sequence: u64,
    pub(crate) timestamp: i64,
    pub(crate) offset: u32,
    size_and_moved: u32,
}

impl Detail {
    pub(crate) fn new(log: LogId, sequence: u64, timestamp: i64, offset: u32, size: u32, moved: bool) -> Detail {
        debug_assert!(size < MOVED_BIT);
        let size_and_moved = size | if moved { MOVED_BIT } else { 0 };
        Detail {
            log,
            sequence,
            timestamp,
            offset,
            size_and_moved,
        }
    }
    /// Length of the record in bytes.
    pub(crate) fn size(&self) -> u32 {
        self.size_and_moved & !MOVED_BIT
    }
    pub(crate) fn is_moved(&self) -> bool {
        self.size_and_moved & MOVED_BIT != 0
    }
}

/// One message in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) timestamp: i64,
    pub(crate) offset: u32,
    /// Sum of record lengths in the run up to and including this one.
    pub(crate) cumulative: u32,
}

/// Consecutive messages of one log in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) log: LogId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) first_timestamp: i64,
    pub(crate) last_timestamp: i64,
    pub(crate) bytes: u32,
    pub(crate) entry: u32,
    pub(crate) moved: bool,
}

/// What a segment covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    /// Offset after the last batch.
    pub(crate) end: u64,
    pub(crate) first_position: u64,
    pub(crate) next_position: u64,
    pub(crate) checksum: u32,
}

/// Sums over all messages of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) messages: u64,
    /// Of their records, without what encryption adds.
    pub(crate) message_bytes: u64,
    pub(crate) encrypted: bool,
}

impl Content {
    fn of(runs: &[Run], messages: u64, encrypted: bool) -> Content {
        Content {
            messages,
            message_bytes: runs.iter().map(|run| u64::from(run.bytes)).sum(),
            encrypted,
        }
    }

    /// What encryption adds to records of so many of the bytes.
    pub(crate) fn added_to(&self, bytes: u64) -> u64 {
        if !self.encrypted {
            return 0;
        }
        // Both are below 2^31, as a segment is.
        let added = self.messages * ENCRYPTION_BYTES as u64;
        added.saturating_mul(bytes) / self.message_bytes.max(1)
    }
}

/// A directory in memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Whether the segment's records are encrypted. Lengths here are without what that adds.
    pub(crate) encrypted: bool,
    pub(crate) id: SegmentId,
    pub(crate) extent: Extent,
    pub(crate) runs: Vec<Run>,
    pub(crate) entries: Vec<Entry>,
}

impl Directory {
    pub(crate) fn build(id: SegmentId, extent: Extent, details: &[Detail], encrypted: bool) -> Directory {
        let mut sorted = details.to_vec();
        sorted.sort_unstable_by_key(|detail| (detail.log.0, detail.sequence, detail.is_moved()));
        let mut runs: Vec<Run> = Vec::new();
        let mut entries = Vec::with_capacity(sorted.len());
        for detail in &sorted {
            let continues = runs.last().is_some_and(|run| {
                run.log == detail.log
                    && run.moved == detail.is_moved()
                    && run.last.checked_add(1) == Some(detail.sequence)
            });
            if !continues {
                runs.push(Run {
                    log: detail.log,
                    first: detail.sequence,
                    last: detail.sequence,
                    first_timestamp: detail.timestamp,
                    last_timestamp: detail.timestamp,
                    bytes: 0,
                    entry: entries.len() as u32,
                    moved: detail.is_moved(),
                });
            }
            let run = runs.last_mut().expect("a run was just pushed or continues");
            run.last = detail.sequence;
            run.last_timestamp = detail.timestamp;
            run.bytes += detail.size();
            entries.push(Entry {
                sequence: detail.sequence,
                timestamp: detail.timestamp,
                offset: detail.offset,
                cumulative: run.bytes,
            });
        }
        Directory {
            encrypted,
            id,
            extent,
            runs,
            entries,
        }
    }

    pub(crate) fn content(&self) -> Content {
        Content::of(&self.runs, self.entries.len() as u64, self.encrypted)
    }

    pub(crate) fn encode(&self, identity: &Identity) -> Vec<u8> {
        let seed = self.id.directory_seed(identity);
        let mut bytes = vec![0; FILE_HEADER_BYTES];
        for run in &self.runs {
            bytes.extend_from_slice(&run.log.0.to_le_bytes());
            bytes.extend_from_slice(&run.first.to_le_bytes());
            bytes.extend_from_slice(&run.last.to_le_bytes());
            bytes.extend_from_slice(&run.first_timestamp.to_le_bytes());
            bytes.extend_from_slice(&run.last_timestamp.to_le_bytes());
            bytes.extend_from_slice(&run.bytes.to_le_bytes());
            bytes.extend_from_slice(&run.entry.to_le_bytes());
            bytes.extend_from_slice(&u32::from(run.moved).to_le_bytes());
            bytes.extend_from_slice(&0u32.to_le_bytes());
        }
        let runs_checksum = crc32c::crc32c_append(seed, &bytes[FILE_HEADER_BYTES..]);
        let header = &mut bytes[..FILE_HEADER_BYTES];
        let flags = if self.encrypted { ENCRYPTED_FLAG } else { 0 };
        write_preamble(header, b"SEAWAYDI", flags, identity);
        header[32..40].copy_from_slice(&self.id.epoch.to_le_bytes());
        header[40..48].copy_from_slice(&self.id.number.to_le_bytes());
        header[48..56].copy_from_slice(&self.extent.end.to_le_bytes());
        header[56..64].copy_from_slice(&self.extent.first_position.to_le_bytes());
        header[64..72].copy_from_slice(&self.extent.next_position.to_le_bytes());
        header[72..76].copy_from_slice(&self.extent.checksum.to_le_bytes());
        header[76..80].copy_from_slice(&(self.runs.len() as u32).to_le_bytes());
        header[80..84].copy_from_slice(&(self.entries.len() as u32).to_le_bytes());
        header[88..92].copy_from_slice(&runs_checksum.to_le_bytes());
        seal_header(header, seed);
        bytes.resize(pages_start(self.runs.len()) as usize, 0);
        for page in self.entries.chunks(ENTRIES_PER_PAGE) {
            let start = bytes.len();
            for entry in page {
                bytes.extend_from_slice(&entry.sequence.to_le_bytes());
                bytes.extend_from_slice(&entry.timestamp.to_le_bytes());
                bytes.extend_from_slice(&entry.offset.to_le_bytes());
                bytes.extend_from_slice(&entry.cumulative.to_le_bytes());
            }
            bytes.resize(start + PAGE_CONTENT_BYTES, 0);
            let checksum = crc32c::crc32c_append(seed, &bytes[start..]);
            bytes.extend_from_slice(&checksum.to_le_bytes());
            bytes.resize(start + PAGE_BYTES, 0);
        }
        bytes
    }
}

fn pages_start(runs: usize) -> u64 {
    ((FILE_HEADER_BYTES + runs * RUN_BYTES) as u64).next_multiple_of(PAGE_BYTES as u64)
}

/// Header and run table of a directory file.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) extent: Extent,
    pub(crate) runs: Vec<Run>,
    pub(crate) content: Content,
    /// Length the file must have.
    pub(crate) length: u64,
}

impl Summary {
    /// Bytes that had to be read for it.
    pub(crate) fn bytes_read(&self) -> u64 {
        (FILE_HEADER_BYTES + self.runs.len() * RUN_BYTES) as u64
    }
}

/// Reads header and run table of a directory file; the inner error says why it is no directory of this segment.
pub(crate) fn read_summary(disk: &dyn Disk, identity: &Identity, id: SegmentId) -> io::Result<Result<Summary, String>> {
    let file = disk.open(&id.directory_name())?;
    let length = file.length()?;
    if length < FILE_HEADER_BYTES as u64 {
        return Ok(Err("the file is shorter than a directory's header".to_owned()));
    }
    let mut header = vec![0; FILE_HEADER_BYTES];
    file.read_at(&mut header, 0)?;
    let runs = match check_summary_header(&header, identity, id) {
        Ok(runs) => runs,
        Err(reason) => return Ok(Err(reason)),
    };
    let entries = u32_at(&header, 80) as usize;
    let (_, expected) = pages_in(&header, runs);
    if length != expected {
        return Ok(Err(format!("the directory has {length} bytes instead of {expected}")));
    }
    let mut table = vec![0; runs * RUN_BYTES];
    file.read_at(&mut table, FILE_HEADER_BYTES as u64)?;
    if let Err(reason) = check_table(&table, runs, u32_at(&header, 88), id.directory_seed(identity)) {
        return Ok(Err(reason));
    }
    let extent = Extent {
        end: u64_at(&header, 48),
        first_position: u64_at(&header, 56),
        next_position: u64_at(&header, 64),
        checksum: u32_at(&header, 72),
    };
    let runs: Vec<Run> = table.chunks_exact(RUN_BYTES).map(decode_run).collect();
    let is_possible = |run: &Run| {
        (1..=run.last).contains(&run.first)
            && run.last < NUMBER_MAX
            && u64::from(run.entry) + (run.last - run.first) < entries as u64
    };
    if !runs.iter().all(is_possible) || extent.end > SEGMENT_BYTES_CEILING || extent.next_position >= NUMBER_MAX {
        return Ok(Err("the directory says what cannot be".to_owned()));
    }
    let content = Content::of(&runs, entries as u64, is_encrypted(&header));
    Ok(Ok(Summary {
        extent,
        runs,
        content,
        length,
    }))
}

/// How many bytes lie between a directory's header and its first page, and how many the file has in all.
pub(crate) fn pages_in(header: &[u8], runs: usize) -> (usize, u64) {
    let (begin, entries) = (pages_start(runs), u32_at(header, 80) as usize);
    let pages = (entries.div_ceil(ENTRIES_PER_PAGE) * PAGE_BYTES) as u64;
    (begin as usize - FILE_HEADER_BYTES, begin + pages)
}

/// Checks the table of so many runs, which more bytes may follow.
pub(crate) fn check_table(bytes: &[u8], runs: usize, checksum: u32, seed: u32) -> Result<(), String> {
    let table = bytes.get(..runs * RUN_BYTES);
    match table.is_some_and(|table| crc32c::crc32c_append(seed, table) == checksum) {
        true => Ok(()),
        false => Err("the checksum of the run table does not match".to_owned()),
    }
}

/// Whether a page of entries is what was written.
pub(crate) fn check_page(page: &[u8], seed: u32) -> bool {
    crc32c::crc32c_append(seed, &page[..PAGE_CONTENT_BYTES]) == u32_at(page, PAGE_CONTENT_BYTES)
}

/// Checks the header of a directory's file; how many runs it has.
pub(crate) fn check_summary_header(header: &[u8], identity: &Identity, id: SegmentId) -> Result<usize, String> {
    check_header(header, id.directory_seed(identity), "directory")?;
    check_preamble(header, b"SEAWAYDI", 0)?;
    if identity_at(header, 16) != *identity || u64_at(header, 32) != id.epoch || u64_at(header, 40) != id.number {
        return Err("the directory belongs to another segment".to_owned());
    }
    Ok(u32_at(header, 76) as usize)
}

fn decode_run(bytes: &[u8]) -> Run {
    Run {
        log: LogId(u64_at(bytes, 0)),
        first: u64_at(bytes, 8),
        last: u64_at(bytes, 16),
        first_timestamp: i64_at(bytes, 24),
        last_timestamp: i64_at(bytes, 32),
        bytes: u32_at(bytes, 40),
        entry: u32_at(bytes, 44),
        moved: u32_at(bytes, 48) & 1 != 0,
    }
}

/// Where the entries of a directory are found.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// In the directory file, whose run table has this many runs. The batches of its segment end at `end`.
    File { runs: usize, end: u64 },
    /// In memory, because the disk had no room for the file.
    Memory(Arc<Directory>),
}

impl Source {
    /// The entries numbered `range`.
    pub(crate) fn entries(
        &self,
        disk: &dyn Disk,
        identity: &Identity,
        id: SegmentId,
        range: Range<u32>,
    ) -> io::Result<Vec<Entry>> {
        match self {
            Source::Memory(directory) => directory
                .entries
                .get(range.start as usize..range.end as usize)
                .map(<[Entry]>::to_vec)
                .ok_or_else(|| damaged(id, "the directory has fewer entries than its runs say")),
            Source::File { runs, .. } => read_entries(disk, identity, id, *runs, range),
        }
    }

    /// Entries from this one on in its page of the file.
    pub(crate) fn left_in_page(&self, entry: u32) -> u32 {
        let page = ENTRIES_PER_PAGE as u32;
        page - entry % page
    }

    /// The entries of `span`, together with the cumulative size before the first of them.
    pub(crate) fn span(
        &self,
        disk: &dyn Disk,
        identity: &Identity,
        id: SegmentId,
        span: &Span,
    ) -> io::Result<(u32, Vec<Entry>)> {
        let end = span.entry + span.count;
        if let Some(before) = span.before {
            return Ok((before, self.entries(disk, identity, id, span.entry..end)?));
        }
        let start = span
            .entry
            .checked_sub(1)
            .ok_or_else(|| damaged(id, "a run begins before its directory"))?;
        let mut entries = self.entries(disk, identity, id, start..end)?;
        let before = entries.remove(0).cumulative;
        Ok((before, entries))
    }
}

/// Some consecutive entries of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) entry: u32,
    pub(crate) count: u32,
    /// Cumulative size before the first of them; `None`: the entry before tells it.
    pub(crate) before: Option<u32>,
}

fn read_entries(
    disk: &dyn Disk,
    identity: &Identity,
    id: SegmentId,
    runs: usize,
    range: Range<u32>,
) -> io::Result<Vec<Entry>> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let file = disk.open(&id.directory_name())?;
    let seed = id.directory_seed(identity);
    let (first_page, last_page) = (
        range.start as usize / ENTRIES_PER_PAGE,
        (range.end as usize - 1) / ENTRIES_PER_PAGE,
    );
    let mut pages = vec![0; (last_page - first_page + 1) * PAGE_BYTES];
    file.read_at(&mut pages, pages_start(runs) + (first_page * PAGE_BYTES) as u64)?;
    let mut entries = Vec::with_capacity(range.len());
    for (index, page) in pages.chunks_exact(PAGE_BYTES).enumerate() {
        if !check_page(page, seed) {
            return Err(damaged(
                id,
                &format!("the checksum of page {} does not match", first_page + index),
            ));
        }
        let page_first = (first_page + index) * ENTRIES_PER_PAGE;
        let from = (range.start as usize).max(page_first) - page_first;
        let to = (range.end as usize).min(page_first + ENTRIES_PER_PAGE) - page_first;
        entries.extend(
            page[from * ENTRY_BYTES..to * ENTRY_BYTES]
                .chunks_exact(ENTRY_BYTES)
                .map(|bytes| Entry {
                    sequence: u64_at(bytes, 0),
                    timestamp: i64_at(bytes, 8),
                    offset: u32_at(bytes, 16),
                    cumulative: u32_at(bytes, 20),
                }),
        );
    }
    Ok(entries)
}

pub(crate) fn damaged(id: SegmentId, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", id.directory_name()))
}
