//! A file of records that is being written (specification §3.3).

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use crate::crc::Crc32;
use crate::error::Error;

/// What every file begins with: the version.
const HEADER: [u8; 4] = [1, 0, 0, 0];
/// What is gathered before it is written.
const BUFFER_BYTES: usize = 256 << 10;
/// The largest payload of a record that says its kind.
const TYPED_BYTES_MAX: u32 = 0xFF_FFFF;

/// See the module.
pub(crate) struct RecordFile {
    path: PathBuf,
    file: BufWriter<File>,
    length: u64,
}

impl RecordFile {
    /// A new file.
    pub(crate) fn create(path: PathBuf) -> Result<RecordFile, Error> {
        let file = File::create_new(&path).map_err(|error| Error::write(&path, &error))?;
        let mut created = RecordFile {
            path,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            length: 0,
        };
        created.bytes(&HEADER)?;
        Ok(created)
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Appends a record; kind 0 for files whose records have none.
    pub(crate) fn record(&mut self, crc: &Crc32, kind: u8, payload: &[u8]) -> Result<(), Error> {
        self.record_of(crc, kind, &[payload]).map(|_| ())
    }

    /// Appends a record whose payload comes in parts; how many bytes they have together.
    pub(crate) fn record_of(&mut self, crc: &Crc32, kind: u8, parts: &[&[u8]]) -> Result<u32, Error> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let max = if kind == 0 { u32::MAX } else { TYPED_BYTES_MAX };
        let size = u32::try_from(size).ok().filter(|size| *size <= max).ok_or_else(|| {
            let problem = format!("a record of {size} bytes is larger than its format allows");
            Error::new(&self.path, problem, "leave out what it is of")
        })?;
        let sum = !parts.iter().fold(!0, |sum, part| crc.extend(sum, part));
        self.bytes(&(u32::from(kind) << 24 | size).to_le_bytes())?;
        self.bytes(&sum.to_le_bytes())?;
        for part in parts {
            self.bytes(part)?;
        }
        Ok(size)
    }

    /// Appends bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::write(&self.path, &error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// All of it is with the operating system; what is left is to sync it.
    pub(crate) fn finish(self) -> Result<(PathBuf, File), Error> {
        match self.file.into_inner() {
            Ok(file) => Ok((self.path, file)),
            Err(error) => Err(Error::write(&self.path, error.error())),
        }
    }
}
