//! The image of a directory that nobody serves from: what a start would look at.

use super::lock::lock;
use super::{Hold, Image, checkpoint_names, small_names};
use crate::claim::newest_epoch;
use crate::directory::read_summary;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{LIFE_NAME, end_name};
use crate::recovery::files::{ABOVE_ALL, Files, Known, has_epoch, life_of, refuse_foreign};
use crate::recovery::io_error;
use crate::verification::{Segment, is_unreadable, no_epoch};
use std::sync::Arc;

impl Image {
    /// The image of the journal in a directory that nobody serves from, which is locked as long as the image is there. `holder` is what
    /// others are told who want to use it.
    ///
    /// # Errors
    /// There is no journal, somebody uses it, what opens its epochs is damaged, or something cannot be read.
    pub fn at_rest(disk: Arc<dyn Disk>, holder: &str) -> Result<Image, OpenError> {
        refuse_foreign(disk.as_ref())?;
        // Nothing is made in a directory that is none of a journal, the lock's file included.
        if !has_epoch(disk.as_ref()).map_err(io_error("list the journal's directory"))? {
            return Err(no_epoch());
        }
        let lock = lock(disk.as_ref(), holder)?;
        let seen = newest_epoch(disk.as_ref()).map_err(io_error("list the journal's directory"))?;
        let files = Files::list(disk.as_ref(), ABOVE_ALL)?;
        let newest = files.newest_epoch().ok_or_else(no_epoch)?;
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
        image.life = life_of(disk.as_ref(), &identity)?;
        if image.life.is_some() {
            image.add_whole(LIFE_NAME.to_owned())?;
        }
        if files.end.is_some() {
            image.add_whole(end_name(epoch))?;
        }
        for name in checkpoint_names(&files.checkpoints) {
            let length = disk.open_to_read(&name).and_then(|file| file.length());
            image.add(name.clone(), length.map_err(io_error(format!("read {name}")))?);
        }
        for id in files.segments.keys() {
            let directory = files.directories.get(id).copied();
            let (end, directory) = image.extent(files.known(*id, identity), directory)?;
            image.add_segment(*id, end, directory);
        }
        image.sort();
        Ok(image)
    }

    /// How much of a segment belongs to the image, also when some of that is not there any more, and how long its directory's file is when
    /// it may be used.
    fn extent(&mut self, known: Known, directory: Option<u64>) -> Result<(u64, u64), OpenError> {
        let disk = Arc::clone(&self.disk);
        if let Some(length) = directory {
            let name = known.id.directory_name();
            match read_summary(disk.as_ref(), &self.identity, known.id) {
                Ok(Ok(summary)) if summary.extent.end <= known.limit => return Ok((summary.extent.end, length)),
                // It speaks of what was cut: a start makes it anew, and does with one that is damaged as well.
                Ok(_) => {}
                Err(error) if is_unreadable(&error) => {}
                Err(error) => return Err(io_error(format!("read {name}"))(error)),
            }
        }
        let segment = Segment::read(disk.as_ref(), known)?;
        let read = segment.walk();
        // What is damaged is copied as it is, up to its end.
        let end = match segment.holes(&read, None).last() {
            None => read.end as u64,
            Some(_) => known.least.max(segment.bytes.len() as u64).min(known.limit),
        };
        Ok((end, 0))
    }
}
