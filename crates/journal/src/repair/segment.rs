//! Mending a segment that is there, and its directory file.

use super::plan::{Remedy, Repair, Repairing};
use crate::batch::BatchHeader;
use crate::directory::Directory;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::limits::{PIECE_BYTES, SEGMENT_HEADER_BYTES};
use crate::recovery::files::Known;
use crate::recovery::io_error;
use crate::verification::{Damage, Read, Segment, Told};
use crate::whole_file::{remove_if_there, write_piece};
use std::io::ErrorKind;
use std::ops::Range;

/// A segment that is looked at.
pub(super) struct Mending<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) repair: &'a Repair<'a>,
    pub(super) known: Known,
}

impl Mending<'_> {
    /// Mends what it can; what is in the segment when it is whole then.
    pub(super) fn segment(
        &self,
        has_directory: bool,
        told: &mut dyn FnMut(Damage, Remedy),
    ) -> Result<Option<Read>, OpenError> {
        let segment = Segment::read(self.disk, self.known)?;
        let mut walked = segment.walk();
        let mut of_directory = None;
        let summary = match has_directory {
            true => segment.directory(&walked, &mut 0, &mut |damage| of_directory = Some(damage))?,
            false => None,
        };
        let holes = segment.holes(&walked, summary.as_ref());
        let lost: Vec<Damage> = holes.into_iter().filter(|damage| !damage.is_remade).collect();
        let mut is_whole = lost.is_empty();
        if !lost.is_empty() {
            let places: Vec<Range<usize>> = lost.iter().map(place).collect();
            let remedy = match self.mended(&segment, &places, summary.as_ref())? {
                Ok((bytes, read)) => {
                    self.write(&bytes, &places)?;
                    (walked, is_whole) = (read, true);
                    Remedy::Copied
                }
                Err(reason) => Remedy::None(reason),
            };
            for damage in lost {
                told(damage, remedy.clone());
            }
        }
        if let Some(damage) = of_directory {
            let remedy = match walked.directory.as_ref().filter(|_| is_whole) {
                Some(directory) => {
                    self.write_directory(directory)?;
                    Remedy::Made
                }
                None => Remedy::None("its segment is damaged as well".to_owned()),
            };
            told(damage, remedy);
        }
        Ok(is_whole.then_some(walked))
    }

    /// The segment with these places as they are in a copy, and what is in it; or why that is no way with the last one. It has to be
    /// whole then, in itself and as its directory says: nothing of another life of the store comes in.
    fn mended(
        &self,
        segment: &Segment<'_>,
        places: &[Range<usize>],
        summary: Option<&Told>,
    ) -> Result<Result<(Vec<u8>, Read), String>, OpenError> {
        let mut refused = "nothing to take it from: name backups with --from".to_owned();
        for copy in self.repair.copies {
            let other = match Segment::read(copy.disk, self.known) {
                Ok(other) => other.bytes,
                Err(OpenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    refused = "no backup has this file".to_owned();
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self.mended_from(&other, segment, places, (summary, copy.is_own_life)) {
                Ok(mended) => return Ok(Ok(mended)),
                Err(reason) => reason.clone_into(&mut refused),
            }
        }
        Ok(Err(refused))
    }

    fn mended_from(
        &self,
        other: &[u8],
        segment: &Segment<'_>,
        places: &[Range<usize>],
        (summary, is_own_life): (Option<&Told>, bool),
    ) -> Result<(Vec<u8>, Read), &'static str> {
        let mut bytes = segment.bytes.clone();
        for place in places {
            let from = other.get(place.clone());
            let from = from.ok_or("the backup was made before this was written")?;
            bytes.resize(bytes.len().max(place.end), 0);
            bytes[place.clone()].copy_from_slice(from);
        }
        let mended = Segment::of_bytes(self.disk, self.known, bytes);
        let read = mended.walk();
        let end = places.iter().map(|place| place.end).max().unwrap_or(0);
        let Some(directory) = read.directory.as_ref().filter(|_| read.end >= end) else {
            return Err("it is damaged in the backup as well, or the backup has another file of this name");
        };
        let is_told = match summary {
            Some(summary) => summary.extent == directory.extent || summary.extent.end > self.known.limit,
            // What follows it says what it was.
            None => read.end > end || is_own_life,
        };
        if !is_told || !self.is_chain(&mended.bytes[..read.end]) {
            return Err("the backup has another file of this name: it is of another life of the store");
        }
        Ok((mended.bytes, read))
    }

    /// Whether each batch follows the one before it.
    fn is_chain(&self, bytes: &[u8]) -> bool {
        let seed = self.known.id.seed(&self.known.identity);
        let (mut at, mut before) = (SEGMENT_HEADER_BYTES as usize, None::<BatchHeader>);
        while at < bytes.len() {
            let Some(header) = BatchHeader::decode(&bytes[at..], seed) else {
                return false;
            };
            let follows = before.is_none_or(|before| {
                let position = before.first_position + u64::from(before.count);
                header.predecessor == before.checksum && header.first_position == position
            });
            if !follows {
                return false;
            }
            at += header.length as usize;
            before = Some(header);
        }
        true
    }

    /// Nothing that is whole is touched.
    fn write(&self, bytes: &[u8], places: &[Range<usize>]) -> Result<(), OpenError> {
        let name = self.known.id.file_name();
        let write = || {
            if self.repair.repairing == Repairing::Rehearsal {
                self.disk.remove(&name)?;
                return self.disk.create(&name)?.write_at(bytes, 0);
            }
            let file = self.disk.open(&name)?;
            for place in places {
                file.write_at(&bytes[place.clone()], place.start as u64)?;
            }
            file.sync_data()
        };
        write().map_err(io_error(format!("write {name}")))
    }

    fn write_directory(&self, directory: &Directory) -> Result<(), OpenError> {
        let bytes = directory.encode(&self.known.identity);
        write_file(self.disk, &self.known.id.directory_name(), &bytes)
    }
}

/// Writes a file that is complete under its name, durably.
pub(super) fn write_file(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), OpenError> {
    let unfinished = format!("{name}.writing");
    let write = || {
        remove_if_there(disk, &unfinished)?;
        let file = disk.create(&unfinished)?;
        for (piece, offset) in bytes.chunks(PIECE_BYTES).zip((0..).step_by(PIECE_BYTES)) {
            write_piece(file.as_ref(), piece, offset)?;
        }
        disk.rename(&unfinished, name)?;
        disk.sync_directory()
    };
    write().map_err(io_error(format!("write {name}")))
}

/// Where in its file something is damaged.
fn place(damage: &Damage) -> Range<usize> {
    let (begin, length) = (damage.offset as usize, damage.length as usize);
    begin..begin.saturating_add(length)
}
