//! Why reading or writing had to stop: always with the file, and with what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Reading or writing stopped. What is merely odd is a [`Finding`](crate::Finding) instead.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}; {advice}", path.display(), at(*offset))]
pub struct Error {
    /// The file or directory; of tables, the database.
    pub path: PathBuf,
    /// Where in the file, in bytes from its start.
    pub offset: Option<u64>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub advice: String,
}

fn at(offset: Option<u64>) -> String {
    offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default()
}

impl Error {
    pub(crate) fn new(path: &Path, problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            offset: None,
            problem: problem.into(),
            advice: advice.into(),
        }
    }

    /// Of a database.
    pub(crate) fn at(place: &str, problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Path::new(place), problem, advice)
    }

    /// The operating system refused to open or list something.
    pub(crate) fn open(path: &Path, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "name the directory that NATS Streaming was given with -dir",
            io::ErrorKind::PermissionDenied => "run as the user whose server wrote it, or as root",
            _ => "look at the disk and at the system's log",
        };
        Self::new(path, format!("cannot be read: {error}"), advice)
    }

    /// The operating system refused to write something.
    pub(crate) fn write(path: &Path, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room there, or name a directory on another disk"
            }
            io::ErrorKind::PermissionDenied => "run as a user who may write there",
            io::ErrorKind::AlreadyExists => "name a directory that has nothing in it",
            _ => "look at the disk and at the system's log",
        };
        Self::new(path, format!("cannot be written: {error}"), advice)
    }

    /// The operating system failed to read.
    pub(crate) fn read(path: &Path, offset: u64, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "it became shorter meanwhile: stop the server that writes it, and try again"
            }
            _ => "look at the disk and at the system's log, and copy what can still be read to another one",
        };
        Self {
            offset: Some(offset),
            ..Self::new(path, format!("cannot be read: {error}"), advice)
        }
    }
}
