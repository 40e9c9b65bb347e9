//! Reading a file of an image from end to end: checked while it goes by, and with zeros where its medium does not give it back.

use seaway_journal::{FileCheck, Identity};

use crate::digest::Hasher;
use crate::error::Error;
use crate::limits::{COPIED_BYTES, UNIT_BYTES};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::source::{Source, identity_of};

/// Where the pieces of a file go, each with its offset.
pub(crate) type Pieces<'a> = &'a mut dyn FnMut(&[u8], u64) -> Result<(), Error>;

/// What was copied.
pub(crate) struct Copied {
    /// Of what was read.
    pub(crate) sha256: String,
    /// What is wrong with it.
    pub(crate) damaged: Option<String>,
}

/// Copies the files of one source.
pub(crate) struct Copier<'a> {
    identity: Identity,
    bytes: Vec<u8>,
    pace: &'a mut Pace,
    progress: &'a Progress,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(source: &dyn Source, pace: &'a mut Pace, progress: &'a Progress) -> Copier<'a> {
        Copier {
            identity: identity_of(&source.origin()),
            bytes: vec![0; pace.piece(COPIED_BYTES)],
            pace,
            progress,
        }
    }

    /// Hands over the pieces of a file, each with its offset.
    pub(crate) fn copy(&mut self, source: &mut dyn Source, index: usize, out: Pieces<'_>) -> Result<Copied, Error> {
        let file = source.files()[index].clone();
        let mut check = FileCheck::begin(&file.name, self.identity, file.length);
        let (mut hasher, mut offset, mut unreadable) = (Hasher::new(), 0, None);
        while offset < file.length {
            let length = (file.length - offset).min(self.bytes.len() as u64) as usize;
            let piece = &mut self.bytes[..length];
            self.pace.wait(length);
            match source.read(index, offset, piece) {
                Err(Error::Unreadable(_)) => {
                    let found = read_units(source, index, offset, piece)?;
                    unreadable = unreadable.or(found);
                }
                read => read?,
            }
            hasher.update(piece);
            check.add(piece);
            out(piece, offset)?;
            offset += length as u64;
            self.progress.add(length as u64);
        }
        Ok(Copied {
            sha256: hasher.finish(),
            damaged: unreadable.or(check.finish().err()),
        })
    }

    /// A file that need not be copied.
    pub(crate) fn passed(&self, bytes: u64) {
        self.progress.add(bytes);
    }
}

/// Reads a piece in small units; what cannot be read becomes zeros. The first such place, and why.
fn read_units(source: &mut dyn Source, index: usize, offset: u64, piece: &mut [u8]) -> Result<Option<String>, Error> {
    let mut first = None;
    for (unit, offset) in piece.chunks_mut(UNIT_BYTES).zip((offset..).step_by(UNIT_BYTES)) {
        match source.read(index, offset, unit) {
            Err(Error::Unreadable(reason)) => {
                unit.fill(0);
                first.get_or_insert_with(|| format!("offset {offset}: it cannot be read: {reason}"));
            }
            read => read?,
        }
    }
    Ok(first)
}
