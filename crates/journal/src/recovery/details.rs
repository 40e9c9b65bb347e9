//! What a start finds out of the messages of a segment in the tail: from its directory file, or while it reads the segment.

use super::entries::EntriesRead;
use super::loaded::Loaded;
use super::scan::Reader;
use super::{Recovery, damaged};
use crate::directory::{Detail, Directory, Extent, read_summary};
use crate::directory_file::walk;
use crate::error::OpenError;

/// What is known of the messages of a segment that is being read.
pub(super) enum Details {
    Read(Vec<Detail>),
    /// Its directory file has them, of batches up to this offset.
    InFile(u64),
}

impl Details {
    pub(super) fn collected(&mut self) -> Option<&mut Vec<Detail>> {
        match self {
            Details::Read(details) => Some(details),
            Details::InFile(_) => None,
        }
    }
}

impl Recovery<'_> {
    /// Details of what lies before `start` in a segment, unless it has a directory file.
    pub(super) fn details_before(&mut self, loaded: &Loaded, start: u64) -> Result<Details, OpenError> {
        let known = self.files.directories.contains_key(&loaded.id);
        if known && let Ok(Ok(summary)) = read_summary(self.disk, &self.identity, loaded.id) {
            return Ok(Details::InFile(summary.extent.end));
        }
        let mut details = Vec::new();
        let end = start.min(loaded.bytes.len() as u64) as usize;
        self.walk(loaded, end, &mut details)?;
        Ok(Details::Read(details))
    }

    pub(super) fn finish_segment(
        &mut self,
        loaded: &Loaded,
        offset: usize,
        first_position: u64,
        reader: &Reader,
        details: Details,
    ) -> Result<(), OpenError> {
        let cut = self.entries.as_ref().and_then(EntriesRead::cut);
        let (offset, end) = match cut {
            Some(cut) if cut.segment < loaded.id.number => return Ok(()),
            Some(cut) => (cut.offset as usize, cut),
            None => (offset, reader.end),
        };
        let details = match details {
            Details::Read(details) => details,
            Details::InFile(end) if end <= offset as u64 => return Ok(()),
            // The directory was synced, and what it speaks of was not.
            Details::InFile(_) => {
                let mut details = Vec::new();
                let encrypted = loaded.cipher.is_some();
                walk(loaded.seed, encrypted, &loaded.bytes[..offset], &mut details)
                    .map_err(|(offset, reason)| damaged(loaded.id.file_name(), offset, reason))?;
                details
            }
        };
        let extent = Extent {
            end: offset as u64,
            first_position,
            next_position: end.position,
            checksum: end.checksum,
        };
        let encrypted = loaded.cipher.is_some();
        self.built
            .push(Directory::build(loaded.id, extent, &details, encrypted));
        Ok(())
    }
}
