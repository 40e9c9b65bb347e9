//! The image of a directory that nobody serves from: what a start would look at.

use super::lock::lock;
use super::{Hold, Image, checkpoint_names, small_names};
use crate::claim::newest_epoch;
use crate::directory::read_summary;
use crate::directory_file::walk;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{Identity, SegmentHeader, SegmentId, end_name};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::recovery::files::{Files, first_batch, read_all, refuse_foreign};
use crate::recovery::io_error;
use std::sync::Arc;

/// Number of a start above all: everything there is was before it.
const ABOVE_ALL: u64 = u64::MAX;

impl Image {
    /// The image of the journal in a directory that nobody serves from, which is locked as long as the image is there. `holder` is what
    /// others are told who want to use it.
    ///
    /// # Errors
    /// There is no journal, somebody uses it, what opens its epochs is damaged, or something cannot be read.
    pub fn at_rest(disk: Arc<dyn Disk>, holder: &str) -> Result<Image, OpenError> {
        refuse_foreign(disk.as_ref())?;
        let lock = lock(disk.as_ref(), holder)?;
        let seen = newest_epoch(disk.as_ref()).map_err(io_error("list the journal's directory"))?;
        let files = Files::list(disk.as_ref(), ABOVE_ALL)?;
        let Some(newest) = files.newest_epoch() else {
            return Err(OpenError::Refused(
                "no file opens an epoch: the directory holds no store, or one that lost these files".to_owned(),
            ));
        };
        let (identity, epoch) = (newest.identity, newest.epoch);
        let is_encrypted = newest.encryption.is_some();
        let mut image = Image::empty(
            identity,
            epoch,
            is_encrypted,
            Arc::clone(&disk),
            Hold::Lock { _lock: lock, seen },
        );
        image.position = files.end.map(|end| end.position);
        let epochs: Vec<u64> = files.epochs.iter().map(|epoch| epoch.epoch).collect();
        let lost: Vec<u64> = files.lost.iter().map(|lost| lost.epoch).collect();
        for name in small_names(&epochs, &lost, files.has_witness) {
            image.add_whole(name)?;
        }
        if files.end.is_some() {
            image.add_whole(end_name(epoch))?;
        }
        for name in checkpoint_names(&files.checkpoints) {
            let length = disk.open_to_read(&name).and_then(|file| file.length());
            image.add(name.clone(), length.map_err(io_error(format!("read {name}")))?);
        }
        for (id, length) in &files.segments {
            let limit = files.cut_of(*id).map_or(*length, |cut| cut.unwrap_or(0).min(*length));
            let directory = files.directories.get(id).copied();
            let (end, directory) = image.extent(*id, limit, directory)?;
            image.add_segment(*id, end, directory);
        }
        image.sort();
        Ok(image)
    }

    /// How much of a segment counts, of which nothing counts behind `limit`, and how long its directory's file is when it may be used.
    fn extent(&mut self, id: SegmentId, limit: u64, directory: Option<u64>) -> Result<(u64, u64), OpenError> {
        let disk = Arc::clone(&self.disk);
        if let Some(length) = directory {
            let name = id.directory_name();
            match read_summary(disk.as_ref(), &self.identity, id).map_err(io_error(format!("read {name}")))? {
                Ok(summary) if summary.extent.end <= limit => return Ok((summary.extent.end, length)),
                // It speaks of what was cut: a start makes it anew, and does with one that is damaged as well.
                _ => {}
            }
        }
        let name = id.file_name();
        let mut bytes = read_all(disk.as_ref(), &name)?;
        bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        match end_of(&bytes, id, &self.identity) {
            Ok(end) => Ok((end, 0)),
            Err((offset, reason)) => {
                self.remarks.push(format!(
                    "{name} is damaged at offset {offset} and is copied as it is: {reason}"
                ));
                Ok((bytes.len() as u64, 0))
            }
        }
    }
}

/// Where the batches of a segment end; or where something is wrong before that, and what.
fn end_of(bytes: &[u8], id: SegmentId, identity: &Identity) -> Result<u64, (u64, String)> {
    let header = SegmentHeader::decode(bytes).map_err(|reason| (0, reason))?;
    let seed = id.seed(identity);
    let walked = walk(seed, header.encryption.is_some(), bytes, &mut Vec::new())?;
    let rest = bytes.get(walked.end..).unwrap_or_default();
    match first_batch(rest, seed) {
        Some(_) => Err((
            walked.end as u64,
            "a batch is missing or damaged, and valid ones follow it".to_owned(),
        )),
        None => Ok((walked.end as u64)
            .min(bytes.len() as u64)
            .max(u64::from(SEGMENT_HEADER_BYTES))),
    }
}
