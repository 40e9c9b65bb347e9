//! A file as it is read: forwards mostly, through a buffer of bounded size. Opens for reading only.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::crc::Crc32;
use crate::error::Error;
use crate::limits::WINDOW_BYTES;

/// Part of a file in memory.
pub(crate) struct Window {
    file: File,
    path: PathBuf,
    length: u64,
    buffer: Vec<u8>,
    start: u64,
    /// Bytes read at once.
    ahead: usize,
}

impl Window {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Self::open_ahead(path, WINDOW_BYTES)
    }

    /// Reads `ahead` bytes at once: few for a file that is read here and there.
    pub(crate) fn open_ahead(path: &Path, ahead: usize) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| Error::open(path, &error))?;
        let length = file.metadata().map_err(|error| Error::open(path, &error))?.len();
        Ok(Self {
            file,
            path: path.to_owned(),
            length,
            buffer: Vec::new(),
            start: 0,
            ahead,
        })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// `length` bytes from `offset`, which must lie within the file. Takes memory for the larger of a window and `length`.
    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], Error> {
        let inside = offset
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip.checked_add(length).is_some_and(|end| end <= self.buffer.len()));
        let skip = match inside {
            Some(skip) => skip,
            None => {
                self.fill(offset, length)?;
                0
            }
        };
        Ok(&self.buffer[skip..skip + length])
    }

    fn fill(&mut self, offset: u64, length: usize) -> Result<(), Error> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        if length > left {
            return Err(Error::read(&self.path, offset, &io::ErrorKind::UnexpectedEof.into()));
        }
        let wanted = length.max(self.ahead.min(left));
        if self.buffer.capacity() > 2 * WINDOW_BYTES && wanted <= WINDOW_BYTES {
            // One large message does not keep its memory.
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.buffer.resize(wanted, 0);
        self.start = offset;
        let read = self.file.read_exact_at(&mut self.buffer, offset);
        read.map_err(|error| {
            self.buffer.clear();
            Error::read(&self.path, offset, &error)
        })
    }

    /// The checksum of a part of the file, however large, in bounded memory.
    pub(crate) fn crc(&mut self, crc: &Crc32, mut offset: u64, length: u64) -> Result<u32, Error> {
        let end = offset.saturating_add(length);
        let mut state = !0;
        while offset < end {
            let piece = (end - offset).min(WINDOW_BYTES as u64);
            #[expect(clippy::cast_possible_truncation, reason = "at most a window")]
            let bytes = self.bytes(offset, piece as usize)?;
            state = crc.extend(state, bytes);
            offset += piece;
        }
        Ok(!state)
    }

    /// Whether everything from `offset` to the end is zero.
    pub(crate) fn is_zero_from(&mut self, mut offset: u64) -> Result<bool, Error> {
        while offset < self.length {
            let piece = (self.length - offset).min(WINDOW_BYTES as u64);
            #[expect(clippy::cast_possible_truncation, reason = "at most a window")]
            let bytes = self.bytes(offset, piece as usize)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset += piece;
        }
        Ok(true)
    }
}
