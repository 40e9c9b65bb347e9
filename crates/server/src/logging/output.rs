//! Where lines of the log go: the standard error, a file that is rotated by size and can be opened again
//! (`nats-core.md` §5.7), or the system log. Knows nothing of what a line says.
//!
//! A failed write loses its lines: a log that cannot be written must not stop the server.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::line::Label;
use super::system::SystemLog;

/// Permissions of a new log file.
const FILE_MODE: u32 = 0o640;

/// What became of a request to open the log again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reopened {
    /// The file was opened again.
    File,
    /// There is no file: the log goes elsewhere.
    NotAFile,
}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Output {
    StandardError,
    File(LogFile),
    System(SystemLog),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::StandardError => f.write_str("the standard error"),
            Output::File(file) => write!(f, "{}", file.path.display()),
            Output::System(system) => write!(f, "the system log {}", system.target()),
        }
    }
}

/// A log file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    size: u64,
    size_limit: Option<u64>,
    /// Rotated files kept.
    max_files: Option<u32>,
    /// Size at which rotation is tried; beyond the limit only after rotation has failed.
    rotate_at: u64,
    /// Zone of the time in names of rotated files.
    zone: TimeZone,
}

impl Output {
    /// Opens a log file.
    pub(super) fn file(
        path: PathBuf,
        size_limit: Option<u64>,
        max_files: Option<u32>,
        zone: TimeZone,
    ) -> io::Result<Self> {
        let (file, size) = open(&path)?;
        let rotate_at = size_limit.unwrap_or(u64::MAX);
        Ok(Output::File(LogFile {
            path,
            file,
            size,
            size_limit,
            max_files,
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
            Output::File(_) | Output::System(_) => false,
        }
    }
}

impl Output {
    /// Writes whole lines; the system log takes them one by one, see [`SystemLog::send`].
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Output::StandardError => io::stderr().write_all(lines),
            Output::File(file) => {
                file.file.write_all(lines)?;
                file.size += lines.len() as u64;
                Ok(())
            }
            Output::System(_) => Ok(()),
        }
    }

    /// Opens the log file again; after a failure the old one is kept.
    pub(super) fn reopen(&mut self) -> io::Result<Reopened> {
        let Output::File(file) = self else {
            return Ok(Reopened::NotAFile);
        };
        (file.file, file.size) = open(&file.path)?;
        file.rotate_at = file.size_limit.unwrap_or(u64::MAX);
        Ok(Reopened::File)
    }
}

impl LogFile {
    /// Whether the file is beyond its limit with so many bytes more.
    pub(super) fn wants_rotation(&self, more: usize) -> bool {
        self.size.saturating_add(more as u64) > self.rotate_at
    }

    /// Moves the file aside and begins a new one; returns what to say about it. After a failure the old file is kept and
    /// rotation is tried again when as much again has been written.
    pub(super) fn rotate(&mut self, now: Timestamp) -> (Label, String) {
        let backup = backup_path(&self.path, &self.zone, now);
        let rotated = std::fs::rename(&self.path, &backup).and_then(|()| open(&self.path));
        let limit = self.size_limit.unwrap_or(u64::MAX);
        match rotated {
            Ok((file, size)) => {
                (self.file, self.size) = (file, size);
                self.rotate_at = limit;
                self.remove_surplus();
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

impl LogFile {
    /// Removes the oldest rotated files beyond the number to be kept. What cannot be removed is tried again next time.
    fn remove_surplus(&self) {
        let (Some(kept), Some(name)) = (self.max_files, self.path.file_name()) else {
            return;
        };
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        let mut rotated: Vec<_> = entries
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|other| is_backup_name(name.as_encoded_bytes(), other.as_encoded_bytes()))
            .collect();
        // The names sort by time.
        rotated.sort();
        let surplus = rotated.len().saturating_sub(kept as usize);
        for name in rotated.drain(..surplus) {
            let _ = std::fs::remove_file(folder.join(name));
        }
    }
}

/// Whether `other` is a name that rotation gives to a log file called `name`.
fn is_backup_name(name: &[u8], other: &[u8]) -> bool {
    const PATTERN: &[u8] = b".0000.00.00.00.00.00.000000000";
    other.strip_prefix(name).is_some_and(|rest| {
        rest.len() == PATTERN.len()
            && rest.iter().zip(PATTERN).all(|(byte, pattern)| match pattern {
                b'.' => *byte == b'.',
                _ => byte.is_ascii_digit(),
            })
    })
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
        assert!(is_backup_name(b"log", b"log.2023.11.14.22.13.20.000000005"));
        for other in [
            "log",
            "log.1",
            "log.2023.11.14.22.13.20.00000000x",
            "other.2023.11.14.22.13.20.000000005",
        ] {
            assert!(!is_backup_name(b"log", other.as_bytes()), "{other}");
        }
    }
}
