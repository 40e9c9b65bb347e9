//! Reading records out of a segment: at known places, neighbours with one disk read, decrypted, and checked to be what they
//! should be. Runs on reader and maintenance threads; decides nothing.

use crate::claim::Fenced;
use crate::directory::{Entry, Source, Span, damaged};
use crate::directory_file::read_or_mend;
use crate::disk::{Disk, DiskFile};
use crate::encryption::{FileCipher, Keys};
use crate::error::{is_damage, patiently, reworded};
use crate::format::{Identity, SegmentId};
use crate::limits::{READ_BYTES_MAX, READ_GAP_BYTES, READ_MESSAGES_MAX, READ_PAUSES_MS};
use crate::messages::{Fetched, Message};
use crate::names::LogId;
use crate::record::{self, ENCRYPTION_BYTES, Record};
use std::io;
use std::sync::Arc;

/// A read of one segment for one log.
pub(crate) struct ReadJob {
    /// Names it.
    pub(crate) read: u64,
    pub(crate) identity: Identity,
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) id: SegmentId,
    pub(crate) log: LogId,
    pub(crate) locate: Locate,
    pub(crate) bytes_max: u64,
    /// Messages in that segment from the first on, of which some are wanted: how far damage is looked for.
    pub(crate) available: u64,
    /// What the medium refuses is tried again after a while; not in a segment where that was of no use.
    pub(crate) is_patient: bool,
}

/// A read that brought nothing: how many messages from the first on cannot be read, as far as somebody looked, and why.
pub(crate) struct Unread {
    pub(crate) messages: u64,
    pub(crate) error: io::Error,
}

/// How a read finds its records.
pub(crate) enum Locate {
    Directory(Source, Span),
    /// Sequence, offset and length of each record.
    Known(Vec<Place>),
}

impl Locate {
    /// How many records.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Locate::Directory(_, span) => u64::from(span.count),
            Locate::Known(places) => places.len() as u64,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) offset: u32,
    /// Length of the record, without what encryption adds.
    pub(crate) size: u32,
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

pub(crate) fn gather(
    disk: &Fenced<'_>,
    identity: &Identity,
    keys: Option<&Keys>,
    id: SegmentId,
    source: &Source,
    parts: &[(LogId, Span)],
    repaired: &mut Vec<String>,
) -> io::Result<Fetched> {
    let segment = OpenedSegment::open(disk, identity, keys, id)?;
    let mut fetched = Fetched::default();
    for (log, span) in parts {
        let (before, entries) = read_or_mend(disk, identity, id, source, repaired, |source| {
            source.span(disk, identity, id, span)
        })?;
        let places: Vec<Place> = places(before, &entries).collect();
        fetch(&segment, *log, &places, &mut fetched)?;
    }
    Ok(fetched)
}

/// What lies before an unreadable message is an answer; the error follows when that message is the first wanted.
pub(crate) fn read(disk: &Fenced<'_>, job: &ReadJob, repaired: &mut Vec<String>) -> Result<Fetched, Unread> {
    let pauses: &[u64] = if job.is_patient { &READ_PAUSES_MS } else { &[] };
    let mut places = match &job.locate {
        Locate::Known(places) => places.clone(),
        Locate::Directory(source, span) => {
            let mut located = patiently(disk, pauses, || locate(disk, job, source, span, repaired));
            let in_page = u64::from(source.left_in_page(span.entry));
            if let Err(error) = &located
                && is_damage(error)
                && u64::from(span.count) > in_page
            {
                // Another page may be the damaged one.
                let count = in_page as u32;
                located = locate(disk, job, source, &Span { count, ..*span }, repaired);
            }
            located.map_err(|error| {
                let messages = if is_damage(&error) {
                    in_page.min(job.available)
                } else {
                    1
                };
                Unread { messages, error }
            })?
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
    let mut fetched = Fetched::default();
    let read = patiently(disk, pauses, || {
        let segment = OpenedSegment::open(disk, &job.identity, job.keys.as_deref(), job.id)?;
        match fetch(&segment, job.log, &places, &mut fetched) {
            Err(error) if fetched.messages.is_empty() => Err(error),
            _ => Ok(()),
        }
    });
    match read {
        Ok(()) => Ok(fetched),
        Err(error) if is_damage(&error) => {
            let messages = 1 + damaged_behind(disk, job, &places);
            Err(Unread { messages, error })
        }
        Err(error) => Err(Unread { messages: 1, error }),
    }
}

fn locate(
    disk: &Fenced<'_>,
    job: &ReadJob,
    source: &Source,
    span: &Span,
    repaired: &mut Vec<String>,
) -> io::Result<Vec<Place>> {
    let read = |source: &Source| source.span(disk, &job.identity, job.id, span);
    match read_or_mend(disk, &job.identity, job.id, source, repaired, read) {
        Ok((before, entries)) => Ok(places(before, &entries).collect()),
        // It may be the page before that is damaged, which would tell where the first record's length begins to count.
        Err(error) if is_damage(&error) && span.before.is_none() => {
            locate_without_before(disk, job, source, span).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

/// As [`locate`]; the first record tells its length itself.
fn locate_without_before(disk: &dyn Disk, job: &ReadJob, source: &Source, span: &Span) -> io::Result<Vec<Place>> {
    let range = span.entry..span.entry + span.count;
    let entries = source.entries(disk, &job.identity, job.id, range)?;
    let nothing = || damaged(job.id, "an entry is missing");
    let first = entries.first().ok_or_else(nothing)?;
    let segment = OpenedSegment::open(disk, &job.identity, job.keys.as_deref(), job.id)?;
    let mut length = [0; 4];
    segment.file.read_at(&mut length, u64::from(first.offset))?;
    let added = segment.length(0) as u32;
    let size = u32::from_le_bytes(length).checked_sub(added);
    let before = size
        .and_then(|size| first.cumulative.checked_sub(size))
        .ok_or_else(nothing)?;
    Ok(places(before, &entries).collect())
}

/// How many messages behind the first one, which is damaged, are so, too: whoever goes past it need not ask for each of them.
fn damaged_behind(disk: &Fenced<'_>, job: &ReadJob, places: &[Place]) -> u64 {
    let mut behind = places[1..].to_vec();
    if let Locate::Directory(source, span) = &job.locate {
        let count = job.available.min(READ_MESSAGES_MAX as u64) as u32;
        // No more than was asked for is known when the directory does not tell.
        if let Ok(all) = locate(disk, job, source, &Span { count, ..*span }, &mut Vec::new()) {
            behind = all.into_iter().skip(1).collect();
        }
    }
    let is_damaged = |place: &Place| {
        let read = patiently(disk, &[], || {
            let segment = OpenedSegment::open(disk, &job.identity, job.keys.as_deref(), job.id)?;
            fetch(&segment, job.log, std::slice::from_ref(place), &mut Fetched::default())
        });
        read.is_err_and(|error| is_damage(&error))
    };
    behind.iter().take_while(|place| is_damaged(place)).count() as u64
}

/// A segment that records are read from.
struct OpenedSegment {
    file: Arc<dyn DiskFile>,
    id: SegmentId,
    seed: u32,
    cipher: Option<Arc<FileCipher>>,
}

impl OpenedSegment {
    fn open(disk: &dyn Disk, identity: &Identity, keys: Option<&Keys>, id: SegmentId) -> io::Result<OpenedSegment> {
        let opened = disk.open(&id.file_name()).and_then(|file| {
            let cipher = match keys {
                Some(keys) => keys.read_segment(file.as_ref(), id)?,
                None => None,
            };
            Ok((file, cipher))
        });
        let (file, cipher) = opened.map_err(|error| in_segment(id, &error))?;
        let seed = id.seed(identity);
        Ok(OpenedSegment { file, id, seed, cipher })
    }

    /// Bytes of a record whose length without encryption is `size`.
    fn length(&self, size: u32) -> u64 {
        u64::from(size) + self.cipher.as_ref().map_or(0, |_| ENCRYPTION_BYTES as u64)
    }
}

/// Reads the records at `places`, joining neighbours into one disk read, and checks that they are what they should be.
fn fetch(segment: &OpenedSegment, log: LogId, places: &[Place], into: &mut Fetched) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut rest = places;
    while !rest.is_empty() {
        let (first, joined) = (rest[0].offset, read_neighbours(segment, rest, &mut buffer)?);
        for place in &rest[..joined] {
            let start = (place.offset - first) as usize;
            let record = &buffer[start..start + segment.length(place.size) as usize];
            let taken = take_message(segment, log, place, record, into).or_else(|_| {
                // What comes over the wire may be wrong once.
                let mut again = vec![0; record.len()];
                let read = segment.file.read_at(&mut again, u64::from(place.offset));
                read.map_err(|error| error.to_string())?;
                take_message(segment, log, place, &again, into)
            });
            if let Err(reason) = taken {
                let text = format!("offset {}: message {}: {reason}", place.offset, place.sequence);
                return Err(in_segment(
                    segment.id,
                    &io::Error::new(io::ErrorKind::InvalidData, text),
                ));
            }
        }
        rest = &rest[joined..];
    }
    Ok(())
}

/// Adds the message that should be in `record`.
fn take_message(
    segment: &OpenedSegment,
    log: LogId,
    place: &Place,
    record: &[u8],
    into: &mut Fetched,
) -> Result<(), String> {
    let parsed = record::parse(record, segment.seed).map_err(|error| error.to_string())?;
    let Record::Message {
        log: found,
        sequence,
        timestamp,
        ..
    } = parsed.record
    else {
        return Err("another record is there".to_owned());
    };
    if found != log || sequence != place.sequence {
        return Err("another record is there".to_owned());
    }
    let start = into.bytes.len();
    parsed
        .body(segment.cipher.as_deref(), None, &mut into.bytes)
        .map_err(|error| error.to_string())?;
    into.messages.push(Message {
        log,
        sequence,
        timestamp,
        start,
        length: into.bytes.len() - start,
    });
    Ok(())
}

/// Reads the first of `places`, and those behind it that lie near, into `buffer`; returns how many.
fn read_neighbours(segment: &OpenedSegment, places: &[Place], buffer: &mut Vec<u8>) -> io::Result<usize> {
    let (first, others) = places.split_first().expect("somebody wants at least one place");
    let start = u64::from(first.offset);
    let mut end = start + segment.length(first.size);
    let mut joined = 1;
    for next in others {
        let next_end = u64::from(next.offset) + segment.length(next.size);
        let near = u64::from(next.offset) >= end && u64::from(next.offset) - end <= u64::from(READ_GAP_BYTES);
        if !near || next_end - start > READ_BYTES_MAX as u64 {
            break;
        }
        end = next_end;
        joined += 1;
    }
    if end > crate::limits::SEGMENT_BYTES_CEILING {
        return Err(damaged(segment.id, "an entry points behind the end of any segment"));
    }
    buffer.resize((end - start) as usize, 0);
    match segment.file.read_at(buffer, start) {
        Ok(()) => Ok(joined),
        // A place that cannot be read costs its own messages, not their neighbours.
        Err(_) if joined > 1 => read_neighbours(segment, &places[..1], buffer),
        Err(error) => Err(in_segment(segment.id, &error)),
    }
}

/// Says in which file.
fn in_segment(id: SegmentId, error: &io::Error) -> io::Error {
    reworded(error, format!("{}: {error}", id.file_name()))
}
