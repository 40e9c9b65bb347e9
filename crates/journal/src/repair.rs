//! Mends what [`verify`](crate::verify) finds, as far as that is possible without guessing: directory files are made again from their
//! segments, and what is damaged in a segment is taken from a copy of it. Segments never change once they are written, so a copy is one when
//! everything that is whole is the same in both. Nothing else is written.

use crate::directory::Directory;
use crate::disk::Disk;
use crate::encryption::Encryption;
use crate::error::OpenError;
use crate::format::{BatchHeader, Identity, SegmentId};
use crate::image::lock;
use crate::limits::{PIECE_BYTES, SEGMENT_HEADER_BYTES};
use crate::recovery::io_error;
use crate::verification::{Damage, Segment, Told, unlocked_files};
use crate::whole_file::{remove_if_there, write_piece};
use std::io::ErrorKind;
use std::ops::Range;

/// What is done about something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// A directory file is made again from its segment.
    Made,
    /// The bytes are taken from the copy.
    Copied,
    /// Nothing; why, in words.
    None(String),
}

/// Whether anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repairing {
    /// It is only said what would be.
    Rehearsal,
    /// It is.
    Reality,
}

/// Goes through all segments that count and their directories, and mends what is damaged; `told` hears of each damage and of what is done
/// about it. `copy` is another directory with files of the same journal: a backup, or a copy of an earlier time. The journal is locked
/// meanwhile.
///
/// # Errors
/// There is no journal, somebody uses it, its key is missing or wrong, what opens its epochs is damaged, or the directory cannot be read
/// or written.
pub fn repair(
    disk: &dyn Disk,
    encryption: Option<&Encryption>,
    copy: Option<&dyn Disk>,
    repairing: Repairing,
    told: &mut dyn FnMut(Damage, Remedy),
) -> Result<(), OpenError> {
    let _lock = lock(disk, "seaway repair")?;
    let files = unlocked_files(disk, encryption)?;
    let Some(newest) = files.newest_epoch() else {
        return Ok(());
    };
    let identity = newest.identity;
    for id in files.segments.keys().copied() {
        let has_directory = files.directories.contains_key(&id);
        let mending = Mending {
            disk,
            copy,
            identity,
            id,
            cut: files.cut_of(id),
            repairing,
        };
        mending.segment(has_directory, told)?;
    }
    Ok(())
}

/// A segment that is looked at.
struct Mending<'a> {
    disk: &'a dyn Disk,
    copy: Option<&'a dyn Disk>,
    identity: Identity,
    id: SegmentId,
    cut: Option<Option<u64>>,
    repairing: Repairing,
}

impl Mending<'_> {
    fn segment(&self, has_directory: bool, told: &mut dyn FnMut(Damage, Remedy)) -> Result<(), OpenError> {
        let mut segment = Segment::read(self.disk, self.identity, self.id, self.cut)?;
        let mut walked = segment.walk();
        let mut of_directory = None;
        let summary = match has_directory {
            true => segment.directory(&walked, &mut 0, &mut |damage| of_directory = Some(damage))?,
            false => None,
        };
        let holes = segment.holes(std::mem::take(&mut walked.holes), walked.end, summary.as_ref());
        let lost: Vec<Damage> = holes.into_iter().filter(|damage| !damage.is_remade).collect();
        let mut made = walked.directory.take();
        if !lost.is_empty() {
            let places: Vec<Range<usize>> = lost.iter().map(place).collect();
            let remedy = match self.mended(&segment, &places, summary.as_ref())? {
                Ok(mended) => {
                    if self.repairing == Repairing::Reality {
                        self.write(&mended.0, &places)?;
                    }
                    made = Some(mended.1);
                    Remedy::Copied
                }
                Err(reason) => Remedy::None(reason),
            };
            for damage in lost {
                told(damage, remedy.clone());
            }
        }
        let Some(damage) = of_directory else { return Ok(()) };
        let Some(directory) = made else {
            told(damage, Remedy::None("its segment is damaged as well".to_owned()));
            return Ok(());
        };
        if self.repairing == Repairing::Reality {
            self.write_directory(&directory)?;
        }
        told(damage, Remedy::Made);
        Ok(())
    }

    /// The segment with these places as they are in the copy, and what is in it; or why that is no way. It has to be whole then, in itself
    /// and as its directory says: nothing of another life of the store comes in.
    fn mended(
        &self,
        segment: &Segment<'_>,
        places: &[Range<usize>],
        summary: Option<&Told>,
    ) -> Result<Result<(Vec<u8>, Directory), String>, OpenError> {
        let refused = |reason: &str| Ok(Err(reason.to_owned()));
        let Some(copy) = self.copy else {
            return refused("nothing to take it from: name a backup with --from");
        };
        let other = match Segment::read(copy, self.identity, self.id, self.cut) {
            Ok(other) => other.bytes,
            Err(OpenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return refused("the backup does not have this file");
            }
            Err(error) => return Err(error),
        };
        let mut bytes = segment.bytes.clone();
        for place in places {
            let Some(from) = other.get(place.clone()) else {
                return refused("the backup was made before this was written");
            };
            bytes.resize(bytes.len().max(place.end), 0);
            bytes[place.clone()].copy_from_slice(from);
        }
        let mut mended = Segment::of_bytes(self.disk, self.identity, self.id, self.cut, bytes);
        let read = mended.walk();
        let end = places.iter().map(|place| place.end).max().unwrap_or(0);
        let Some(directory) = read.directory.filter(|_| read.end >= end) else {
            return refused("it is damaged in the backup as well, or the backup has another file of this name");
        };
        let is_told = match summary {
            Some(summary) => summary.extent == directory.extent,
            // What follows it says what it was.
            None => read.end > end,
        };
        if !is_told || !self.is_chain(&mended.bytes[..read.end]) {
            return refused("the backup has another file of this name: it is of another life of the store");
        }
        Ok(Ok((mended.bytes, directory)))
    }

    /// Whether each batch follows the one before it.
    fn is_chain(&self, bytes: &[u8]) -> bool {
        let seed = self.id.seed(&self.identity);
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
        let name = self.id.file_name();
        let write = || {
            let file = self.disk.open(&name)?;
            for place in places {
                file.write_at(&bytes[place.clone()], place.start as u64)?;
            }
            file.sync_data()
        };
        write().map_err(io_error(format!("write {name}")))
    }

    fn write_directory(&self, directory: &Directory) -> Result<(), OpenError> {
        let name = self.id.directory_name();
        let unfinished = format!("{name}.writing");
        let bytes = directory.encode(&self.identity);
        let write = || {
            remove_if_there(self.disk, &unfinished)?;
            let file = self.disk.create(&unfinished)?;
            for (piece, offset) in bytes.chunks(PIECE_BYTES).zip((0..).step_by(PIECE_BYTES)) {
                write_piece(file.as_ref(), piece, offset)?;
            }
            self.disk.rename(&unfinished, &name)?;
            self.disk.sync_directory()
        };
        write().map_err(io_error(format!("write {name}")))
    }
}

/// Where in its file something is damaged.
fn place(damage: &Damage) -> Range<usize> {
    let (begin, length) = (damage.offset as usize, damage.length as usize);
    begin..begin.saturating_add(length)
}
