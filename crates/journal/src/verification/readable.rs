//! Reading what a medium gives back of a file, and where it does not.

use crate::disk::Disk;
use crate::error::{OpenError, is_refusal};
use crate::limits::PIECE_BYTES;
use crate::recovery::io_error;
use std::io::{self, ErrorKind};
use std::ops::Range;

/// What is tried on its own when a piece cannot be read: a medium fails by sectors, and file systems read so much for one.
const UNIT_BYTES: usize = 4_096;

/// Ranges that cannot be read, with the reason.
pub(super) type Unreadable = Vec<(Range<usize>, String)>;

/// Whether an error says that the medium does not give the bytes back; others say that the file is not there, or that there are no means
/// to read it now.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.kind() != ErrorKind::NotFound && !is_refusal(error)
}

/// The content of a file, with zeros where it cannot be read, and these places with the reason.
///
/// # Errors
/// It cannot be opened, or there are no means to read it now.
pub(crate) fn read_readable(disk: &dyn Disk, name: &str) -> Result<(Vec<u8>, Unreadable), OpenError> {
    let read_error = || io_error(format!("read {name}"));
    let file = disk.open_to_read(name).map_err(io_error(format!("open {name}")))?;
    let length = file.length().map_err(read_error())?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let mut unreadable = Unreadable::new();
    for (piece, begin) in bytes.chunks_mut(PIECE_BYTES).zip((0..).step_by(PIECE_BYTES)) {
        match file.read_at(piece, begin as u64) {
            Ok(()) => continue,
            Err(error) if !is_unreadable(&error) => return Err(read_error()(error)),
            Err(_) => {}
        }
        for (unit, begin) in piece.chunks_mut(UNIT_BYTES).zip((begin..).step_by(UNIT_BYTES)) {
            match file.read_at(unit, begin as u64) {
                Ok(()) => {}
                Err(error) if !is_unreadable(&error) => return Err(read_error()(error)),
                Err(error) => {
                    unit.fill(0);
                    let end = begin + unit.len();
                    match unreadable.last_mut() {
                        Some((range, _)) if range.end == begin => range.end = end,
                        _ => unreadable.push((begin..end, error.to_string())),
                    }
                }
            }
        }
    }
    Ok((bytes, unreadable))
}
