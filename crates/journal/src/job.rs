//! Jobs: everything the journal wants done to the disk, as values that a thread (or a simulator) runs. A job does I/O and
//! nothing else; what follows from its outcome is decided in `Journal::completed`.

use crate::directory::{Detail, Directory, Entry, Extent, Run, Source, Span, damaged, read_summary};
use crate::disk::{Disk, DiskFile};
use crate::format::{Identity, SegmentHeader, SegmentId};
use crate::limits::{READ_BYTES_MAX, READ_GAP_BYTES, ZERO_BYTES};
use crate::record::{self, Record};
use crate::{LogId, Message, Ticket};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Which thread a job belongs to. Jobs of one lane never run at the same time, except reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The write and sync that somebody waits for.
    Commit,
    /// Preparing, sealing, checkpoints, removal, rewriting.
    Maintenance,
    /// Cold reads; several may run at once.
    Reader,
}

/// Something to be done to the disk.
pub struct Job(pub(crate) JobKind);

pub(crate) enum JobKind {
    Commit {
        file: Arc<dyn DiskFile>,
        offset: u64,
        bytes: Arc<Vec<u8>>,
        sync: bool,
    },
    Prepare(PrepareJob),
    Seal {
        identity: Identity,
        id: SegmentId,
        extent: Extent,
        details: Arc<Vec<Detail>>,
        shorten: Option<Arc<dyn DiskFile>>,
    },
    WriteCheckpoint {
        name: String,
        file: Option<Arc<dyn DiskFile>>,
        offset: u64,
        bytes: Vec<u8>,
    },
    PublishCheckpoint {
        file: Arc<dyn DiskFile>,
        from: String,
        to: String,
        obsolete: Vec<String>,
    },
    Remove {
        names: Vec<String>,
        set_aside: Option<(String, String)>,
    },
    Runs {
        identity: Identity,
        id: SegmentId,
        source: Source,
    },
    Gather {
        identity: Identity,
        id: SegmentId,
        source: Source,
        parts: Vec<(LogId, Span)>,
    },
    Continue,
    Read(ReadJob),
    Seek(SeekJob),
    Windows {
        identity: Identity,
        parts: Vec<WindowPart>,
    },
}

pub(crate) struct PrepareJob {
    pub(crate) identity: Identity,
    pub(crate) id: SegmentId,
    pub(crate) capacity: u64,
    /// Bytes that must stay free on the disk beside the segment.
    pub(crate) headroom: u64,
    /// A dead segment's file, already set aside under this name, at least `capacity` long.
    pub(crate) recycled: Option<String>,
}

pub(crate) struct ReadJob {
    pub(crate) read: u64,
    pub(crate) identity: Identity,
    pub(crate) id: SegmentId,
    pub(crate) log: LogId,
    pub(crate) locate: Locate,
    pub(crate) bytes_max: u64,
}

/// How a read finds its records.
pub(crate) enum Locate {
    Directory(Source, Span),
    /// Sequence, offset and length of each record.
    Known(Vec<Place>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) offset: u32,
    pub(crate) size: u32,
}

pub(crate) struct SeekJob {
    pub(crate) identity: Identity,
    pub(crate) id: SegmentId,
    pub(crate) source: Source,
    pub(crate) entry: u32,
    pub(crate) count: u32,
    pub(crate) timestamp: i64,
    pub(crate) ticket: Ticket,
    pub(crate) log: LogId,
    /// The answer when no message of the searched ones is late enough.
    pub(crate) otherwise: u64,
}

/// What the entries of a window's part are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowUse {
    /// The head window of this generation.
    Head(u64),
    /// Only the sum before the first of them: a range whose base is not exact.
    Recount,
}

pub(crate) struct WindowPart {
    pub(crate) wanted_for: WindowUse,
    pub(crate) id: SegmentId,
    pub(crate) source: Source,
    pub(crate) log: LogId,
    pub(crate) from: u64,
    pub(crate) span: Span,
}

/// What became of a job.
pub struct Outcome {
    pub(crate) kind: OutcomeKind,
    /// How long it took; zero unless whoever ran it measured.
    pub elapsed: Duration,
}

pub(crate) enum OutcomeKind {
    Commit(io::Result<()>),
    Prepare {
        number: u64,
        result: io::Result<Arc<dyn DiskFile>>,
    },
    Seal {
        id: SegmentId,
        shortened: Option<u64>,
        directory: Arc<Directory>,
        result: io::Result<u64>,
    },
    WriteCheckpoint {
        bytes: u64,
        result: io::Result<Arc<dyn DiskFile>>,
    },
    PublishCheckpoint(io::Result<()>),
    Remove {
        result: io::Result<()>,
    },
    Runs(io::Result<Vec<Run>>),
    Gather(io::Result<Fetched>),
    Continue,
    Read {
        read: u64,
        id: SegmentId,
        result: io::Result<Fetched>,
    },
    Seek {
        id: SegmentId,
        ticket: Ticket,
        log: LogId,
        result: io::Result<u64>,
    },
    Windows(Vec<FetchedWindow>),
}

/// Messages fetched from a segment; bodies lie one after the other in `bytes`.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: Vec<Message>,
}

pub(crate) struct FetchedWindow {
    pub(crate) wanted_for: WindowUse,
    pub(crate) id: SegmentId,
    pub(crate) log: LogId,
    pub(crate) from: u64,
    pub(crate) result: io::Result<(u32, Vec<Entry>)>,
}

impl Job {
    /// The lane of this job.
    pub fn lane(&self) -> Lane {
        match self.0 {
            JobKind::Commit { .. } => Lane::Commit,
            JobKind::Read(_) | JobKind::Seek(_) | JobKind::Windows { .. } => Lane::Reader,
            _ => Lane::Maintenance,
        }
    }

    /// Does the work. Never panics on what the disk holds; errors are part of the outcome.
    pub fn run(self, disk: &dyn Disk) -> Outcome {
        let kind = match self.0 {
            JobKind::Commit {
                file,
                offset,
                bytes,
                sync,
            } => OutcomeKind::Commit(
                file.write_at(&bytes, offset)
                    .and_then(|()| if sync { file.sync_data() } else { Ok(()) }),
            ),
            JobKind::Prepare(job) => OutcomeKind::Prepare {
                number: job.id.number,
                result: prepare(disk, &job),
            },
            JobKind::Seal {
                identity,
                id,
                extent,
                details,
                shorten,
            } => seal(disk, &identity, id, extent, &details, shorten),
            JobKind::WriteCheckpoint {
                name,
                file,
                offset,
                bytes,
            } => OutcomeKind::WriteCheckpoint {
                bytes: bytes.len() as u64,
                result: file
                    .map_or_else(|| disk.create(&name), Ok)
                    .and_then(|file| file.write_at(&bytes, offset).map(|()| file)),
            },
            JobKind::PublishCheckpoint {
                file,
                from,
                to,
                obsolete,
            } => OutcomeKind::PublishCheckpoint(publish(disk, file.as_ref(), &from, &to, &obsolete)),
            JobKind::Remove { names, set_aside } => OutcomeKind::Remove {
                result: remove(disk, &names, set_aside.as_ref()),
            },
            JobKind::Runs { identity, id, source } => OutcomeKind::Runs(runs(disk, &identity, id, &source)),
            JobKind::Gather {
                identity,
                id,
                source,
                parts,
            } => OutcomeKind::Gather(gather(disk, &identity, id, &source, &parts)),
            JobKind::Continue => OutcomeKind::Continue,
            JobKind::Read(job) => OutcomeKind::Read {
                read: job.read,
                id: job.id,
                result: read(disk, &job),
            },
            JobKind::Seek(job) => OutcomeKind::Seek {
                id: job.id,
                ticket: job.ticket,
                log: job.log,
                result: seek(disk, &job),
            },
            JobKind::Windows { identity, parts } => OutcomeKind::Windows(
                parts
                    .into_iter()
                    .map(|part| FetchedWindow {
                        wanted_for: part.wanted_for,
                        id: part.id,
                        log: part.log,
                        from: part.from,
                        result: part.source.span(disk, &identity, part.id, &part.span),
                    })
                    .collect(),
            ),
        };
        Outcome {
            kind,
            elapsed: Duration::ZERO,
        }
    }
}

/// Makes a segment file that batches can be written to, durably.
pub(crate) fn prepare(disk: &dyn Disk, job: &PrepareJob) -> io::Result<Arc<dyn DiskFile>> {
    let name = job.id.file_name();
    let header = SegmentHeader {
        identity: job.identity,
        id: job.id,
        capacity: job.capacity,
    }
    .encode();
    if let Some(recycled) = &job.recycled {
        let file = disk.open(recycled)?;
        file.write_at(&header, 0)?;
        // The place of the first batch must look empty.
        file.write_at(&[0; crate::format::BATCH_HEADER_BYTES], header.len() as u64)?;
        file.sync_data()?;
        disk.rename(recycled, &name)?;
        disk.sync_directory()?;
        return Ok(file);
    }
    if disk.space_available()? < job.capacity.saturating_add(job.headroom) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let unfinished = format!("{name}.preparing");
    // What an earlier attempt, stopped by a full disk, may have left.
    match disk.remove(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&unfinished)?;
    let written = (|| {
        file.write_at(&header, 0)?;
        let zeros = vec![0; ZERO_BYTES.min(job.capacity as usize)];
        let mut offset = header.len() as u64;
        while offset < job.capacity {
            let piece = (job.capacity - offset).min(zeros.len() as u64);
            file.write_at(&zeros[..piece as usize], offset)?;
            offset += piece;
        }
        file.sync_data()
    })();
    if let Err(error) = written {
        // Best effort: give the space back; the start removes what stays.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    disk.rename(&unfinished, &name)?;
    disk.sync_directory()?;
    Ok(file)
}

fn seal(
    disk: &dyn Disk,
    identity: &Identity,
    id: SegmentId,
    extent: Extent,
    details: &[Detail],
    shorten: Option<Arc<dyn DiskFile>>,
) -> OutcomeKind {
    let directory = Arc::new(Directory::build(id, extent, details));
    let mut shortened = None;
    let result = (|| {
        if let Some(file) = shorten {
            let length = extent.end.next_multiple_of(4_096);
            file.set_length(length)?;
            file.sync_data()?;
            shortened = Some(length);
        }
        write_directory(disk, identity, &directory)
    })();
    OutcomeKind::Seal {
        id,
        shortened,
        directory,
        result,
    }
}

/// Writes a directory file durably; returns its length.
pub(crate) fn write_directory(disk: &dyn Disk, identity: &Identity, directory: &Directory) -> io::Result<u64> {
    let bytes = directory.encode(identity);
    write_whole(disk, &directory.id.directory_name(), &bytes)?;
    Ok(bytes.len() as u64)
}

/// Writes a file that is complete under its name, durably.
pub(crate) fn write_whole(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = format!("{name}.writing");
    match disk.remove(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&unfinished)?;
    if let Err(error) = file.write_at(bytes, 0).and_then(|()| file.sync_data()) {
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    disk.rename(&unfinished, name)?;
    disk.sync_directory()
}

fn publish(disk: &dyn Disk, file: &dyn DiskFile, from: &str, to: &str, obsolete: &[String]) -> io::Result<()> {
    file.sync_data()?;
    disk.rename(from, to)?;
    disk.sync_directory()?;
    for name in obsolete {
        disk.remove(name)?;
    }
    Ok(())
}

fn remove(disk: &dyn Disk, names: &[String], set_aside: Option<&(String, String)>) -> io::Result<()> {
    for name in names {
        match disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if let Some((from, to)) = set_aside {
        disk.rename(from, to)?;
    }
    disk.sync_directory()
}

fn runs(disk: &dyn Disk, identity: &Identity, id: SegmentId, source: &Source) -> io::Result<Vec<Run>> {
    match source {
        Source::Memory(directory) => Ok(directory.runs.clone()),
        Source::File { .. } => match read_summary(disk, identity, id)? {
            Ok(summary) => Ok(summary.runs),
            Err(reason) => Err(damaged(id, &reason)),
        },
    }
}

fn places(before: u32, entries: &[Entry]) -> impl Iterator<Item = Place> + '_ {
    let mut before = before;
    entries.iter().map(move |entry| {
        // Entries come from a page whose checksum matched; a wrapped size would be caught by the record's own length.
        let size = entry.cumulative.wrapping_sub(before);
        before = entry.cumulative;
        Place {
            sequence: entry.sequence,
            offset: entry.offset,
            size,
        }
    })
}

fn gather(
    disk: &dyn Disk,
    identity: &Identity,
    id: SegmentId,
    source: &Source,
    parts: &[(LogId, Span)],
) -> io::Result<Fetched> {
    let file = disk.open(&id.file_name())?;
    let mut fetched = Fetched::default();
    for (log, span) in parts {
        let (before, entries) = source.span(disk, identity, id, span)?;
        let places: Vec<Place> = places(before, &entries).collect();
        fetch(file.as_ref(), identity, id, *log, &places, &mut fetched)?;
    }
    Ok(fetched)
}

fn read(disk: &dyn Disk, job: &ReadJob) -> io::Result<Fetched> {
    let mut places: Vec<Place> = match &job.locate {
        Locate::Known(places) => places.clone(),
        Locate::Directory(source, span) => {
            let (before, entries) = source.span(disk, &job.identity, job.id, span)?;
            places(before, &entries).collect()
        }
    };
    let mut bytes = 0;
    let within = places
        .iter()
        .take_while(|place| {
            bytes += u64::from(place.size);
            bytes <= job.bytes_max
        })
        .count();
    places.truncate(within.max(1));
    let file = disk
        .open(&job.id.file_name())
        .map_err(|error| in_segment(job.id, &error))?;
    let mut fetched = Fetched::default();
    match fetch(file.as_ref(), &job.identity, job.id, job.log, &places, &mut fetched) {
        // What lies before the unreadable message is an answer; the error follows when that message is the first wanted.
        Err(error) if fetched.messages.is_empty() => Err(error),
        _ => Ok(fetched),
    }
}

/// Reads the records at `places`, joining neighbours into one disk read, and checks that they are what they should be.
fn fetch(
    file: &dyn DiskFile,
    identity: &Identity,
    id: SegmentId,
    log: LogId,
    places: &[Place],
    into: &mut Fetched,
) -> io::Result<()> {
    let seed = id.seed(identity);
    let mut buffer = Vec::new();
    let mut rest = places;
    while !rest.is_empty() {
        let (first, joined) = (rest[0].offset, read_neighbours(file, id, rest, &mut buffer)?);
        for place in &rest[..joined] {
            let record = &buffer[(place.offset - first) as usize..][..place.size as usize];
            let reason = match record::parse(record, seed) {
                Ok((
                    Record::Message {
                        log: found,
                        sequence,
                        timestamp,
                        body,
                        ..
                    },
                    _,
                )) if found == log && sequence == place.sequence => {
                    let start = into.bytes.len();
                    into.bytes.extend_from_slice(body);
                    into.messages.push(Message {
                        log,
                        sequence,
                        timestamp,
                        start,
                        length: body.len(),
                    });
                    continue;
                }
                Ok(_) => "another record is there".to_owned(),
                Err(error) => error.to_string(),
            };
            let text = format!("offset {}: message {}: {reason}", place.offset, place.sequence);
            return Err(in_segment(id, &io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        rest = &rest[joined..];
    }
    Ok(())
}

/// Reads the first of `places`, and those behind it that lie near, into `buffer`; returns how many.
fn read_neighbours(file: &dyn DiskFile, id: SegmentId, places: &[Place], buffer: &mut Vec<u8>) -> io::Result<usize> {
    let (first, others) = places.split_first().expect("somebody wants at least one place");
    let start = u64::from(first.offset);
    let mut end = start + u64::from(first.size);
    let mut joined = 1;
    for next in others {
        let next_end = u64::from(next.offset) + u64::from(next.size);
        let near = u64::from(next.offset) >= end && u64::from(next.offset) - end <= u64::from(READ_GAP_BYTES);
        if !near || next_end - start > READ_BYTES_MAX as u64 {
            break;
        }
        end = next_end;
        joined += 1;
    }
    if end > crate::limits::SEGMENT_BYTES_CEILING {
        return Err(damaged(id, "an entry points behind the end of any segment"));
    }
    buffer.resize((end - start) as usize, 0);
    match file.read_at(buffer, start) {
        Ok(()) => Ok(joined),
        // A place that cannot be read costs its own messages, not their neighbours.
        Err(_) if joined > 1 => read_neighbours(file, id, &places[..1], buffer),
        Err(error) => Err(in_segment(id, &error)),
    }
}

/// Says in which file.
fn in_segment(id: SegmentId, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", id.file_name()))
}

/// First sequence whose time is not before the one sought.
fn seek(disk: &dyn Disk, job: &SeekJob) -> io::Result<u64> {
    let entry = |index: u32| -> io::Result<Entry> {
        let entries = job.source.entries(disk, &job.identity, job.id, index..index + 1)?;
        entries
            .first()
            .copied()
            .ok_or_else(|| damaged(job.id, "an entry is missing"))
    };
    let (mut low, mut high) = (job.entry, job.entry + job.count);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(middle)?.timestamp < job.timestamp {
            low = middle + 1
        } else {
            high = middle
        }
    }
    if low == job.entry + job.count {
        Ok(job.otherwise)
    } else {
        Ok(entry(low)?.sequence)
    }
}
