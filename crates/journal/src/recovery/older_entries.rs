//! The entries of a member of a cluster that lie before the tail (docs/journal-format.md §14): found by the headers of their batches, from
//! the newest segment back to where one does not end where the next begins.

use super::entries::EntriesRead;
use super::{Recovery, io_error};
use crate::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::disk::{Disk, DiskFile};
use crate::entry::{EntryId, EntryKind, EntryMeta};
use crate::error::OpenError;
use crate::format::{Cut, SegmentHeader, SegmentId};
use crate::limits::{ENTRIES_MAX, SEGMENT_HEADER_BYTES};
use crate::record::{ENCRYPTION_BYTES, KIND_ENTRY};
use crate::record_log::Row;
use std::io;

/// Bytes of a batch by which it is known what sort of entry it is: its header, and a record up to the first field.
const HEAD_BYTES: usize = BATCH_HEADER_BYTES + 13;

/// What the headers of a segment say.
struct HeadersRead {
    /// What its first batch follows, and where its last one ends.
    begin: (u64, u32),
    end: (u64, u32),
    /// Its entries, oldest first.
    entries: Vec<(EntryId, Row)>,
}

impl Recovery<'_> {
    /// Takes entries in that lie before the tail, as far as they go on without a gap, and as much as may be kept.
    pub(super) fn read_older_entries(&mut self, tail: Option<Cut>) -> Result<(), OpenError> {
        let Some(mut read) = self.entries.take() else {
            return Ok(());
        };
        if let Some(tail) = tail.filter(|_| read.base().is_some()) {
            self.go_back(&mut read, tail)?;
        }
        self.entries = Some(read);
        Ok(())
    }

    fn go_back(&mut self, read: &mut EntriesRead, tail: Cut) -> Result<(), OpenError> {
        let segments = self.files.segments.range(
            ..SegmentId {
                number: tail.segment + 1,
                epoch: 0,
            },
        );
        let segments: Vec<(SegmentId, u64)> = segments.rev().map(|(id, length)| (*id, *length)).collect();
        let (mut expected, mut bytes) = ((tail.position, tail.checksum), 0);
        for (id, length) in segments {
            let limit = match id.number == tail.segment {
                true => tail.offset,
                false => self.files.known(id, self.identity).limit.min(length),
            };
            bytes += limit;
            if bytes > self.options.entry_bytes_kept || read.len() > ENTRIES_MAX {
                break;
            }
            let name = id.file_name();
            let headers = self.read_headers(id, limit).map_err(io_error(format!("read {name}")))?;
            let Some(headers) = headers else { break };
            let Some(headers) = headers else { continue };
            if headers.end != expected || !read.take_before(headers.entries) {
                break;
            }
            expected = headers.begin;
        }
        Ok(())
    }

    /// What the headers of a segment say up to an offset: nothing when there are no batches, and none when it is no member's.
    fn read_headers(&mut self, id: SegmentId, limit: u64) -> io::Result<Option<Option<HeadersRead>>> {
        let file = match self.disk.open_to_read(&id.file_name()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut head = vec![0; limit.min(u64::from(SEGMENT_HEADER_BYTES)) as usize];
        file.read_at(&mut head, 0)?;
        let header = SegmentHeader::decode(&head).ok();
        let fits = |header: &SegmentHeader| header.id == id && header.identity == self.identity && header.is_clustered;
        let Some(header) = header.filter(fits) else {
            return Ok(None);
        };
        let (seed, mut offset) = (id.seed(&self.identity), u64::from(SEGMENT_HEADER_BYTES));
        let mut read: Option<HeadersRead> = None;
        while let Some((batch, kind)) = head_at(file.as_ref(), seed, offset, limit)? {
            self.work.bytes_read += HEAD_BYTES as u64;
            let end = (batch.first_position + u64::from(batch.count), batch.checksum);
            let so_far = read.get_or_insert_with(|| HeadersRead {
                begin: (batch.first_position, batch.predecessor),
                end,
                entries: Vec::new(),
            });
            so_far.end = end;
            if batch.entry.id.index > 0 {
                let added = if header.encryption.is_some() {
                    ENCRYPTION_BYTES
                } else {
                    0
                };
                let other = BATCH_HEADER_BYTES + batch.padding as usize + batch.count as usize * added;
                let meta = EntryMeta {
                    id: batch.entry.id,
                    kind,
                    bytes: kind.bytes((batch.length as usize).saturating_sub(other)) as u32,
                    position: end.0,
                };
                so_far
                    .entries
                    .push((batch.entry.id, Row::new(&meta, id.number, offset as u32)));
            }
            offset += u64::from(batch.length);
        }
        Ok(Some(read))
    }
}

/// The header of the batch at an offset, and what its first record makes of it.
fn head_at(file: &dyn DiskFile, seed: u32, offset: u64, limit: u64) -> io::Result<Option<(BatchHeader, EntryKind)>> {
    let mut head = [0; HEAD_BYTES];
    if offset + HEAD_BYTES as u64 > limit {
        return Ok(None);
    }
    file.read_at(&mut head, offset)?;
    let header = BatchHeader::decode(&head, seed).filter(|header| offset + u64::from(header.length) <= limit);
    let kind = match head[BATCH_HEADER_BYTES + 8] {
        KIND_ENTRY => EntryKind::of_code(head[BATCH_HEADER_BYTES + 12]),
        _ => Some(EntryKind::Records),
    };
    Ok(header.zip(kind))
}
