//! Files that are complete under their name, durably, and the removal of what may be gone already.

use crate::claim::Fenced;
use crate::disk::{Disk, DiskFile};
use crate::limits::PIECE_BYTES;
use std::io;

/// Writes a piece of a large file, durably: a sync of the whole would hold up the commits behind it.
pub(crate) fn write_piece(file: &dyn DiskFile, piece: &[u8], offset: u64) -> io::Result<()> {
    file.write_at(piece, offset)?;
    file.sync_data()
}

/// Writes a file that is complete under its name, durably. Nobody else has its unfinished file, whose name says who writes it.
pub(crate) fn write_whole(disk: &Fenced<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = format!("{name}.{:08x}.writing", disk.writer());
    remove_if_there(disk, &unfinished)?;
    let file = disk.create(&unfinished)?;
    let written = bytes
        .chunks(PIECE_BYTES)
        .zip((0..).step_by(PIECE_BYTES))
        .try_for_each(|(piece, offset)| write_piece(file.as_ref(), piece, offset));
    if let Err(error) = written {
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    disk.rename(&unfinished, name)?;
    disk.sync_directory()
}

pub(crate) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
