//! Where lines of the log go: the standard error, or a file that is rotated by size and can be opened again
//! (`nats-core.md` §5.7). Knows nothing of what a line says.
//!
//! A failed write is dropped: a log that cannot be written must not stop the server.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::line::{Label, LineStyle};

/// Permissions of a new log file.
const FILE_MODE: u32 = 0o640;

/// What became of a request to open the log again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopened {
    /// The file was opened again.
    File,
    /// There is no file: the log goes to the standard error.
    NotAFile,
}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Output {
    StandardError,
    File(LogFile),
}

/// A log file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    size: u64,
    size_limit: Option<u64>,
    /// Size at which rotation is tried; beyond the limit only after rotation has failed.
    rotate_at: u64,
    /// Zone of the time in names of rotated files.
    zone: TimeZone,
}

impl Output {
    /// Opens a log file.
    pub(super) fn file(path: PathBuf, size_limit: Option<u64>, zone: TimeZone) -> io::Result<Self> {
        let (file, size) = open(&path)?;
        let rotate_at = size_limit.unwrap_or(u64::MAX);
        Ok(Output::File(LogFile {
            path,
            file,
            size,
            size_limit,
            rotate_at,
            zone,
        }))
    }

    /// Whether lines are coloured: only on a terminal.
    pub(super) fn is_coloured(&self) -> bool {
        match self {
            Output::StandardError => {
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
            Output::File(_) => false,
        }
    }
}

/// An output that several threads write to.
#[derive(Debug)]
pub(super) struct SharedOutput {
    output: Mutex<Output>,
    /// For the line that tells of a rotation.
    style: LineStyle,
}

impl SharedOutput {
    pub(super) fn new(output: Output, style: LineStyle) -> Self {
        SharedOutput {
            output: Mutex::new(output),
            style,
        }
    }

    /// Writes a line, in one piece.
    pub(super) fn write(&self, line: &str) {
        match &mut *self.lock() {
            Output::StandardError => drop(io::stderr().write_all(line.as_bytes())),
            Output::File(file) => {
                file.write(line);
                if file.size > file.rotate_at {
                    let (label, text) = file.rotate(Timestamp::now());
                    file.write(&self.style.line(Timestamp::now(), label, "", &text));
                }
            }
        }
    }

    pub(super) fn reopen(&self) -> io::Result<Reopened> {
        match &mut *self.lock() {
            Output::StandardError => Ok(Reopened::NotAFile),
            Output::File(file) => {
                (file.file, file.size) = open(&file.path)?;
                Ok(Reopened::File)
            }
        }
    }

    /// A thread that panicked while it wrote has left at worst half a line.
    fn lock(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogFile {
    fn write(&mut self, line: &str) {
        if self.file.write_all(line.as_bytes()).is_ok() {
            self.size += line.len() as u64;
        }
    }

    /// Moves the file aside and begins a new one; returns what to say about it. After a failure the old file is kept and
    /// rotation is tried again when as much again has been written.
    fn rotate(&mut self, now: Timestamp) -> (Label, String) {
        let backup = backup_path(&self.path, &self.zone, now);
        let rotated = std::fs::rename(&self.path, &backup).and_then(|()| open(&self.path));
        let limit = self.size_limit.unwrap_or(u64::MAX);
        match rotated {
            Ok((file, size)) => {
                (self.file, self.size) = (file, size);
                self.rotate_at = limit;
                (
                    Label::Information,
                    format!("Rotated log, backup saved as {:?}", backup.display().to_string()),
                )
            }
            Err(error) => {
                self.rotate_at = self.size.saturating_add(limit);
                (Label::Error, format!("Unable to rotate log: {error}"))
            }
        }
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// `<file>.YYYY.MM.DD.HH.MM.SS.nnnnnnnnn`
fn backup_path(path: &Path, zone: &TimeZone, now: Timestamp) -> PathBuf {
    let time = zone.to_datetime(now);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(
        ".{:04}.{:02}.{:02}.{:02}.{:02}.{:02}.{:09}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond()
    ));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_named_after_the_time() {
        let now = Timestamp::new(1_700_000_000, 5).unwrap();
        assert_eq!(
            backup_path(Path::new("/a/log"), &TimeZone::UTC, now),
            Path::new("/a/log.2023.11.14.22.13.20.000000005")
        );
    }
}
