//! Directory files: written whole, and made again from their segment when they are missing or damaged (docs/journal-format.md §7).

use crate::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::claim::Fenced;
use crate::directory::{Detail, Directory, Extent, Source};
use crate::disk::Disk;
use crate::entry::EntryId;
use crate::entry_records::Held;
use crate::error::{is_damage, reworded};
use crate::format::{Identity, SegmentHeader, SegmentId};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::record::{self, Record};
use crate::whole_file::write_whole;
use std::io;
use std::sync::Arc;

/// Writes a directory file durably; returns its length.
pub(crate) fn write_directory(disk: &Fenced<'_>, identity: &Identity, directory: &Directory) -> io::Result<u64> {
    let bytes = directory.encode(identity);
    write_whole(disk, &directory.id.directory_name(), &bytes)?;
    Ok(bytes.len() as u64)
}

/// Reads from a segment's directory. When that is damaged it is made again from the segment, on the disk, too, if there is room;
/// `repaired` is told. When the segment is damaged as well, the error says so.
pub(crate) fn read_or_mend<T>(
    disk: &Fenced<'_>,
    identity: &Identity,
    id: SegmentId,
    source: &Source,
    repaired: &mut Vec<String>,
    read: impl Fn(&Source) -> io::Result<T>,
) -> io::Result<T> {
    let error = match read(source) {
        Err(error) if is_damage(&error) => error,
        Err(error) => return Err(reworded(&error, format!("{}: {error}", id.directory_name()))),
        result => return result,
    };
    let Source::File { end, .. } = source else {
        return Err(error);
    };
    let directory = rebuild(disk, identity, id, *end).map_err(|reason| {
        let text = format!("{error}; it cannot be made again: {reason}");
        reworded(&reason, text)
    })?;
    if write_directory(disk, identity, &directory).is_ok() {
        repaired.push(format!("{error}; it was made again from its segment"));
    }
    read(&Source::Memory(Arc::new(directory)))
}

/// Makes the directory of a segment whose batches end at `end` from the segment itself.
fn rebuild(disk: &dyn Disk, identity: &Identity, id: SegmentId, end: u64) -> io::Result<Directory> {
    let name = id.file_name();
    let wrong = |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("{name}: {reason}"));
    let file = disk.open(&name)?;
    let length = file.length()?;
    if end < u64::from(SEGMENT_HEADER_BYTES) || length < end {
        return Err(wrong(format!("the file has {length} bytes instead of {end}")));
    }
    let mut bytes = vec![0; usize::try_from(end).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0)?;
    let header = SegmentHeader::decode(&bytes).map_err(wrong)?;
    if header.id != id || header.identity != *identity {
        return Err(wrong("the header does not fit the name or this journal".to_owned()));
    }
    let encrypted = header.encryption.is_some();
    let mut details = Vec::new();
    let walked = walk(id.seed(identity), encrypted, &bytes, &mut details)
        .map_err(|(offset, reason)| wrong(format!("offset {offset}: {reason}")))?;
    if walked.end as u64 != end {
        return Err(wrong(format!("the batch at offset {} is damaged", walked.end)));
    }
    Ok(Directory::build(id, walked.extent(), &details, encrypted))
}

/// The whole batches at the beginning of a segment.
#[derive(Default)]
pub(crate) struct Walked {
    /// Where they end.
    pub(crate) end: usize,
    first_position: u64,
    last: Option<BatchHeader>,
    /// The last of its entries.
    entry: EntryId,
}

impl Walked {
    /// None yet.
    pub(crate) fn begin() -> Walked {
        Walked {
            end: SEGMENT_HEADER_BYTES as usize,
            ..Walked::default()
        }
    }

    pub(crate) fn extent(&self) -> Extent {
        let last = self.last.as_ref();
        Extent {
            end: self.end as u64,
            first_position: self.first_position,
            next_position: last.map_or(0, |last| last.first_position + u64::from(last.count)),
            checksum: last.map_or(0, |last| last.checksum),
        }
    }
}

/// Collects the details of all whole batches at the beginning of a segment's `bytes`. `Err` is a record in a whole batch that
/// cannot be read: its offset, and why.
pub(crate) fn walk(
    seed: u32,
    encrypted: bool,
    bytes: &[u8],
    details: &mut Vec<Detail>,
) -> Result<Walked, (u64, String)> {
    let mut walked = Walked::begin();
    walked.go_on(seed, encrypted, bytes, details)?;
    Ok(walked)
}

impl Walked {
    /// Of a member of a cluster: an entry follows on the one before it, and holds what one may.
    fn check_entry(&mut self, header: &BatchHeader, records: &[u8]) -> Result<(), String> {
        let id = header.entry.id;
        if id.index == 0 {
            return Ok(());
        }
        Held::of(header, records)?;
        let last = std::mem::replace(&mut self.entry, id);
        if last.index > 0 && (id.index != last.index + 1 || id.term < last.term) {
            return Err(format!(
                "entry {} of term {} follows entry {} of term {}",
                id.index, id.term, last.index, last.term
            ));
        }
        Ok(())
    }

    /// The same for whole batches that begin at `self.end`.
    pub(crate) fn go_on(
        &mut self,
        seed: u32,
        encrypted: bool,
        bytes: &[u8],
        details: &mut Vec<Detail>,
    ) -> Result<(), (u64, String)> {
        while let Some(rest) = bytes.get(self.end..) {
            let Some(header) = BatchHeader::decode(rest, seed).filter(|header| header.is_whole(rest, seed)) else {
                break;
            };
            let records = header.records(rest);
            if let Err(reason) = self.check_entry(&header, records) {
                return Err((self.end as u64, reason));
            }
            let mut at = 0;
            while at < records.len() {
                let place = (self.end + BATCH_HEADER_BYTES + at) as u64;
                let parsed = record::parse(&records[at..], seed)
                    .and_then(|parsed| parsed.expect_encrypted(encrypted))
                    .map_err(|error| (place, error.to_string()))?;
                if let Record::Message {
                    log,
                    sequence,
                    timestamp,
                    moved,
                    ..
                } = parsed.record
                {
                    let size = parsed.plain_length();
                    details.push(Detail::new(log, sequence, timestamp, place as u32, size, moved));
                }
                at += parsed.length;
            }
            if self.last.is_none() {
                self.first_position = header.first_position;
            }
            self.end += header.length as usize;
            self.last = Some(header);
        }
        Ok(())
    }
}
