//! Reading one entry from its segment, for another member (docs/journal-format.md §14).

use crate::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::disk::Disk;
use crate::encryption::{FileCipher, Keys};
use crate::entry::{Entry, EntryKind, EntryMeta};
use crate::entry_records::read_for_members;
use crate::error::patiently;
use crate::format::{Identity, SegmentId};
use crate::limits::READ_PAUSES_MS;
use crate::messages::Ticket;
use crate::record::{self, Record};
use std::io;
use std::sync::Arc;

/// An entry, and where its batch begins.
pub(crate) struct EntryJob {
    pub(crate) ticket: Ticket,
    pub(crate) identity: Identity,
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) segment: SegmentId,
    pub(crate) offset: u32,
    pub(crate) meta: EntryMeta,
}

/// Reads it, checked against everything that is known of it.
pub(crate) fn read(disk: &dyn Disk, job: &EntryJob) -> io::Result<Entry> {
    let name = job.segment.file_name();
    let seed = job.segment.seed(&job.identity);
    let wrong = |reason: String| {
        let offset = job.offset;
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{name} at offset {offset}: {reason}"),
        )
    };
    patiently(disk, &READ_PAUSES_MS, || {
        let file = disk.open_to_read(&name)?;
        let mut bytes = vec![0; BATCH_HEADER_BYTES];
        file.read_at(&mut bytes, u64::from(job.offset))?;
        let header = BatchHeader::decode(&bytes, seed).filter(|header| header.entry.id == job.meta.id);
        let header = header.ok_or_else(|| wrong("the entry is not there any more".to_owned()))?;
        bytes.resize(header.length as usize, 0);
        file.read_at(&mut bytes, u64::from(job.offset))?;
        if !header.is_whole(&bytes, seed) {
            return Err(wrong("the entry's batch is damaged".to_owned()));
        }
        let cipher = match &job.keys {
            Some(keys) => keys.read_segment(file.as_ref(), job.segment)?,
            None => None,
        };
        let bytes = decode(job, &header, header.records(&bytes), cipher.as_deref()).map_err(wrong)?;
        Ok(Entry {
            id: job.meta.id,
            kind: job.meta.kind,
            bytes,
        })
    })
}

/// The records of its batch for another member, or the body of the only one.
fn decode(
    job: &EntryJob,
    header: &BatchHeader,
    mut records: &[u8],
    cipher: Option<&FileCipher>,
) -> Result<Vec<u8>, String> {
    let seed = job.segment.seed(&job.identity);
    let mut out = Vec::with_capacity(job.meta.bytes as usize);
    for position in (header.first_position..).take(header.count as usize) {
        let parsed = record::parse(records, seed).and_then(|parsed| parsed.expect_encrypted(cipher.is_some()));
        let parsed = parsed.map_err(|error| error.to_string())?;
        let taken = match (job.meta.kind, parsed.record) {
            (EntryKind::Records, _) => read_for_members(&parsed, cipher, position, &mut out),
            (_, Record::Entry { .. }) => parsed.body(cipher, Some(position), &mut out),
            _ => return Err("the entry holds something else".to_owned()),
        };
        taken.map_err(|error| error.to_string())?;
        records = &records[parsed.length..];
    }
    if out.len() != job.meta.bytes as usize {
        return Err("the entry has another length".to_owned());
    }
    Ok(out)
}
