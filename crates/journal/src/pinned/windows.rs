//! Segments read piece by piece, in order: one read of the disk for many batches.

use super::{Pinned, PinnedSegment};
use crate::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::disk::{Disk, DiskFile};
use crate::encryption::FileCipher;
use crate::error::OpenError;
use crate::format::{SegmentHeader, SegmentId};
use crate::limits::PIECE_BYTES;
use crate::recovery::{damaged, io_error};
use std::sync::Arc;

/// A segment, and the piece of it that was read last.
pub(super) struct SegmentReader<'a> {
    pinned: &'a Pinned,
    pub(super) id: SegmentId,
    pub(super) seed: u32,
    pub(super) cipher: Option<Arc<FileCipher>>,
    file: Arc<dyn DiskFile>,
    end: u64,
    begin: u64,
    bytes: Vec<u8>,
}

impl<'a> SegmentReader<'a> {
    pub(super) fn open(pinned: &'a Pinned, disk: &dyn Disk, segment: &PinnedSegment) -> Result<Self, OpenError> {
        let (id, name) = (segment.id, segment.id.file_name());
        let opened = disk.open_to_read(&name).and_then(|file| {
            let mut header = [0; crate::format::FILE_HEADER_BYTES];
            file.read_at(&mut header, 0).map(|()| (file, header))
        });
        pinned.check()?;
        let (file, header) = opened.map_err(io_error(format!("read {name}")))?;
        let header = SegmentHeader::decode(&header).map_err(|reason| damaged(&name, 0, reason))?;
        if header.id != id || header.identity != pinned.identity {
            return Err(damaged(
                name,
                16,
                "the segment's header does not fit its name or this journal",
            ));
        }
        let cipher = match (&header.encryption, &pinned.keys) {
            (None, _) => None,
            (Some(_), None) => return Err(damaged(name, 76, crate::recovery::ENCRYPTED_ALONE)),
            (Some(encryption), Some(keys)) => {
                let cipher = keys.of_segment(encryption, id);
                Some(Arc::new(cipher.map_err(|reason| damaged(&name, 76, reason))?))
            }
        };
        Ok(SegmentReader {
            pinned,
            id,
            seed: id.seed(&pinned.identity),
            cipher,
            file,
            end: segment.end,
            begin: 0,
            bytes: Vec::new(),
        })
    }

    /// Bytes of the segment, at most up to where what may be read ends.
    fn bytes_at(&mut self, offset: u64, length: usize) -> Result<&[u8], OpenError> {
        let end = offset + length as u64;
        if end > self.end {
            return Err(damaged(self.id.file_name(), offset, "a batch reaches over the end"));
        }
        let is_there = offset >= self.begin && end <= self.begin + self.bytes.len() as u64;
        if !is_there {
            let wanted = (length.max(PIECE_BYTES) as u64).min(self.end - offset);
            self.bytes.resize(wanted as usize, 0);
            self.begin = offset;
            let read = self.file.read_at(&mut self.bytes, offset);
            if read.is_err() {
                self.bytes.clear();
            }
            self.pinned.check()?;
            read.map_err(io_error(format!("read {}", self.id.file_name())))?;
        }
        let at = (offset - self.begin) as usize;
        Ok(&self.bytes[at..at + length])
    }

    /// The whole batch at an offset, its header first; `None` at the end.
    pub(super) fn batch(&mut self, offset: u64) -> Result<Option<(BatchHeader, &[u8])>, OpenError> {
        if offset >= self.end {
            return Ok(None);
        }
        let (id, seed) = (self.id, self.seed);
        let wrong = move |reason: &str| damaged(id.file_name(), offset, reason);
        let head = self.bytes_at(offset, BATCH_HEADER_BYTES)?;
        let header = BatchHeader::decode(head, seed).ok_or_else(|| wrong("there is no batch"))?;
        let bytes = self.bytes_at(offset, header.length as usize)?;
        match header.is_whole(bytes, seed) && header.epoch == id.epoch {
            true => Ok(Some((header, bytes))),
            false => Err(wrong("the batch is damaged")),
        }
    }
}
