//! Segments in memory, as a start reads them: checked, made durable, and walked for what they hold.

use super::files::{LISTINGS_MAX, first_batch, has_vanished};
use super::losses::HOLDS_NOTHING;
use super::{ENCRYPTED_ALONE, Recovery, damaged, io_error};
use crate::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::directory::{Detail, Directory};
use crate::directory_file::{Walked, walk};
use crate::disk::Disk;
use crate::encryption::FileCipher;
use crate::error::OpenError;
use crate::format::{SegmentHeader, SegmentId};
use crate::limits::SEGMENT_HEADER_BYTES;
use std::io;

/// A batch as it lies in its segment.
pub(crate) struct LastBatch {
    pub(crate) id: SegmentId,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// A segment's bytes, and what is read of it.
pub(super) struct Loaded {
    pub(super) id: SegmentId,
    pub(super) seed: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) cipher: Option<FileCipher>,
    /// Where an epoch file cuts it, `u64::MAX` further on; `None` in the newest epoch.
    pub(super) cut: Option<u64>,
}

impl Loaded {
    /// Behind this nothing counts.
    pub(super) fn limit(&self) -> usize {
        let length = self.bytes.len();
        self.cut.map_or(length, |cut| length.min(cut as usize))
    }

    /// The whole batch at `offset`, when the segment's epoch is the newest.
    pub(super) fn last_batch(&self, offset: u64) -> Option<LastBatch> {
        if self.cut.is_some() {
            return None;
        }
        let rest = self.bytes.get(offset as usize..)?;
        let header = BatchHeader::decode(rest, self.seed)?;
        Some(LastBatch {
            id: self.id,
            offset,
            bytes: rest.get(..header.length as usize)?.to_vec(),
        })
    }
}

/// Reads a file that a former holder, deposed meanwhile, may have cut behind what it uses just after its length was asked for.
fn undisturbed<T>(read: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut tries = 1;
    loop {
        let read = read();
        let is_disturbed = read.as_ref().is_err_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::StaleNetworkFileHandle
            )
        });
        if !is_disturbed || tries == LISTINGS_MAX {
            return read;
        }
        tries += 1;
    }
}

/// The first batch of a segment with this seed, if it is whole, and how many bytes were read.
fn read_first_batch(disk: &dyn Disk, name: &str, seed: u32) -> io::Result<(Option<BatchHeader>, u64)> {
    let file = disk.open(name)?;
    let length = file.length()?;
    let start = u64::from(SEGMENT_HEADER_BYTES);
    let mut bytes = vec![0; (start + BATCH_HEADER_BYTES as u64).min(length) as usize];
    file.read_at(&mut bytes, 0)?;
    let first = bytes.get(start as usize..).unwrap_or_default();
    let header = BatchHeader::decode(first, seed).filter(|header| start + u64::from(header.length) <= length);
    let Some(header) = header else {
        return Ok((None, bytes.len() as u64));
    };
    let mut batch = vec![0; header.length as usize];
    file.read_at(&mut batch, start)?;
    let bytes_read = (bytes.len() + batch.len()) as u64;
    Ok((header.is_whole(&batch, seed).then_some(header), bytes_read))
}

impl Recovery<'_> {
    /// Syncs a segment of the newest epoch before anything of it is believed: its writer may have been killed between a write and
    /// its sync, and what is read from the page cache and told to the world must survive a loss of power.
    pub(super) fn make_durable(&self, loaded: &Loaded) -> Result<(), OpenError> {
        if loaded.cut.is_some() {
            return Ok(());
        }
        let name = loaded.id.file_name();
        let file = self.disk.open(&name).map_err(io_error(format!("open {name}")))?;
        file.sync_data().map_err(io_error(format!("sync {name}")))
    }

    /// The first batch of a segment, if there is a whole one.
    pub(super) fn load_first_batch(&mut self, id: SegmentId) -> Result<Option<BatchHeader>, OpenError> {
        let name = id.file_name();
        // The seed says whose the batch is, whatever became of the header.
        let seed = id.seed(&self.identity);
        let read = undisturbed(|| read_first_batch(self.disk, &name, seed));
        let (first, bytes_read) = match read.map_err(io_error(format!("read {name}"))) {
            // Removed since it was listed: another listing would be without it.
            Err(error) if has_vanished(&error) => return Ok(None),
            read => read?,
        };
        self.work.bytes_read += bytes_read;
        Ok(first)
    }

    fn check_segment_header(&self, id: SegmentId, bytes: &[u8]) -> Result<SegmentHeader, OpenError> {
        let name = id.file_name();
        let header = SegmentHeader::decode(bytes).map_err(|reason| damaged(&name, 0, reason))?;
        if header.id != id || header.identity != self.identity {
            return Err(damaged(
                name,
                16,
                "the segment's header does not fit its name or this journal",
            ));
        }
        Ok(header)
    }

    /// Leaves out files behind the segment with which everything ends that are no segments of this journal, and hold nothing of it.
    pub(super) fn leave_out_strangers(&mut self, end: u64) -> Result<(), OpenError> {
        let behind = self.files.segments.iter().filter(|(id, _)| id.number > end);
        let behind: Vec<(SegmentId, u64)> = behind.map(|(id, length)| (*id, *length)).collect();
        for (id, length) in behind {
            match self.is_stranger(id, length) {
                Ok(true) => self.give_up_segments(&[id], HOLDS_NOTHING),
                Ok(false) => {}
                // A former holder removed it after it was listed: nothing of it was needed.
                Err(error) if has_vanished(&error) => {
                    self.files.segments.remove(&id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a file that is named like a segment is none of this journal, and holds nothing of it.
    fn is_stranger(&mut self, id: SegmentId, length: u64) -> Result<bool, OpenError> {
        let name = id.file_name();
        let read = || {
            let mut header = vec![0; length.min(u64::from(SEGMENT_HEADER_BYTES)) as usize];
            self.disk.open(&name)?.read_at(&mut header, 0).map(|()| header)
        };
        let header = undisturbed(read).map_err(io_error(format!("read {name}")))?;
        Ok(self.check_segment_header(id, &header).is_err() && self.is_empty(id)?)
    }

    /// Whether no batch of this journal is in a segment, so that nothing that was promised is.
    pub(super) fn is_empty(&mut self, id: SegmentId) -> Result<bool, OpenError> {
        let loaded = self.load_anyway(id)?;
        let behind = loaded.bytes.get(SEGMENT_HEADER_BYTES as usize..).unwrap_or_default();
        Ok(first_batch(behind, loaded.seed).is_none())
    }

    /// A segment, whatever its header says. What is encrypted in it stays so when the header does not help.
    pub(super) fn load_anyway(&mut self, id: SegmentId) -> Result<Loaded, OpenError> {
        match self.load(id) {
            Err(OpenError::Damaged { .. }) => Ok(Loaded {
                id,
                seed: id.seed(&self.identity),
                bytes: self.read_segment_file(id)?,
                cipher: None,
                cut: self.files.cut_of(id).map(|cut| cut.unwrap_or(0)),
            }),
            loaded => loaded,
        }
    }

    fn read_segment_file(&self, id: SegmentId) -> Result<Vec<u8>, OpenError> {
        let name = id.file_name();
        let read = || {
            let file = self.disk.open(&name)?;
            let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or(usize::MAX)];
            file.read_at(&mut bytes, 0).map(|()| bytes)
        };
        undisturbed(read).map_err(io_error(format!("read {name}")))
    }

    pub(super) fn load(&mut self, id: SegmentId) -> Result<Loaded, OpenError> {
        let name = id.file_name();
        let bytes = self.read_segment_file(id)?;
        let header = self.check_segment_header(id, &bytes)?;
        let cipher = match (&header.encryption, &self.keys) {
            (None, _) => None,
            (Some(_), None) => return Err(damaged(name, 76, ENCRYPTED_ALONE)),
            (Some(encryption), Some(keys)) => {
                let cipher = keys.of_segment(encryption, id);
                Some(cipher.map_err(|reason| damaged(&name, 76, reason))?)
            }
        };
        self.work.bytes_read += bytes.len() as u64;
        let cut = self.files.cut_of(id).map(|cut| cut.unwrap_or(0));
        Ok(Loaded {
            id,
            seed: id.seed(&self.identity),
            bytes,
            cipher,
            cut,
        })
    }

    /// Details of all messages of a segment up to an offset. Behind a damaged batch there are none, unless the operator gives it up:
    /// then those of all batches that are whole.
    pub(super) fn walk(&mut self, loaded: &Loaded, end: usize, details: &mut Vec<Detail>) -> Result<Walked, OpenError> {
        let (seed, encrypted, name) = (loaded.seed, loaded.cipher.is_some(), loaded.id.file_name());
        let bytes = &loaded.bytes[..end];
        let unreadable = |(offset, reason): (u64, String)| damaged(&name, offset, reason);
        let mut walked = walk(seed, encrypted, bytes, details).map_err(unreadable)?;
        while self.gives_up()
            && let Some(next) = first_batch(bytes.get(walked.end..).unwrap_or_default(), seed)
        {
            self.remarks.push(format!(
                "{name} is damaged at offset {}: {next} bytes of it are lost",
                walked.end
            ));
            walked.end += next;
            walked.go_on(seed, encrypted, bytes, details).map_err(unreadable)?;
        }
        Ok(walked)
    }

    /// Makes the directory of a segment before the tail from the segment itself; false when the segment is left out of everything.
    pub(super) fn rebuild_directory(&mut self, id: SegmentId) -> Result<bool, OpenError> {
        let loaded = match self.load(id) {
            // A former holder had begun to remove it before it was deposed. If it was needed, messages are missing.
            Err(error) if has_vanished(&error) => {
                self.files.segments.remove(&id);
                return Ok(false);
            }
            Err(OpenError::Damaged { .. }) if self.is_empty(id)? => {
                self.give_up_segments(&[id], HOLDS_NOTHING);
                return Ok(false);
            }
            Err(OpenError::Damaged { .. }) if self.gives_up() => {
                self.give_up_segments(&[id], "cannot be read");
                return Ok(false);
            }
            loaded => loaded?,
        };
        let limit = loaded.limit();
        let mut details = Vec::new();
        let walked = self.walk(&loaded, limit, &mut details)?;
        if first_batch(loaded.bytes.get(walked.end..limit).unwrap_or_default(), loaded.seed).is_some() {
            let reason = "a batch is missing or damaged, and valid ones follow it";
            return Err(damaged(id.file_name(), walked.end as u64, reason));
        }
        let encrypted = loaded.cipher.is_some();
        self.built
            .push(Directory::build(id, walked.extent(), &details, encrypted));
        Ok(true)
    }
}
