//! The port through which the journal reaches a medium: one flat directory of files, positioned reads and writes, explicit
//! syncs. Decides nothing; says what each operation promises (docs/journal-format.md §10).

pub mod prefixed;
pub mod real;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod trial;

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// One entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Name without any path.
    pub name: String,
    /// Length in bytes; 0 for folders.
    pub length: u64,
    /// Whether the entry is itself a folder.
    pub is_folder: bool,
}

/// An open file. Handles may be shared between threads; operations are positioned and keep no cursor.
pub trait DiskFile: Send + Sync {
    /// Fills `buffer` from `offset`; an end of file before that is `UnexpectedEof`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file where necessary. A full disk is `StorageFull`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once everything written to this file before, its length included, survives a loss of power.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file to `length` bytes, or extends it with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Extends the file to `length` bytes, zeros, for all of which there is room from now on: a full disk is `StorageFull` here and
    /// not when they are written. What is written there first costs the sync behind it more than what is written over zeros.
    /// `Unsupported` where there is no such thing.
    fn allocate(&self, length: u64) -> io::Result<()> {
        let _ = length;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether an error says that there is no space left, on the medium or for this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Keeps a lock until dropped.
pub trait DiskLock: Send + Sync {
    /// Whether the file that is locked is still the one under its name. An error when that cannot be told.
    fn is_in_place(&self) -> io::Result<bool>;
}

/// Why a lock was not obtained.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it; what it wrote about itself.
    Held(String),
    /// The lock file could not be opened, locked or written.
    Io(io::Error),
}

/// A directory on some medium.
pub trait Disk: Send + Sync {
    /// Lists the directory itself (`""`) or a folder directly below it. Order is unspecified.
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>>;
    /// Names of the files in the directory itself, without folders. Asks for nothing else about them.
    fn file_names(&self) -> io::Result<Vec<String>> {
        let entries = self.list("")?.into_iter().filter(|entry| !entry.is_folder);
        Ok(entries.map(|entry| entry.name).collect())
    }
    /// Creates a file that must not exist yet. Its name is durable only after [`Disk::sync_directory`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading alone, which more may do.
    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open(name)
    }
    /// Whether a file has this name.
    fn exists(&self, name: &str) -> io::Result<bool> {
        match self.open(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
    /// Renames a file, replacing `to` if it exists. Durable only after [`Disk::sync_directory`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable only after [`Disk::sync_directory`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns once all creations, renames and removals before survive a loss of power.
    fn sync_directory(&self) -> io::Result<()>;
    /// Lets some time pass before something is tried again.
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
    /// Bytes that new files may still take.
    fn space_available(&self) -> io::Result<u64>;
    /// Takes the exclusive lock `name` and writes `holder` into it, so that whoever is refused can be told.
    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError>;
    /// Takes the exclusive lock of a file that exists, and leaves what is in it as it is.
    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError>;
    /// Whether somebody has the exclusive lock of a file that exists. Who asks may be in the way of who locks, for that moment.
    fn is_locked(&self, name: &str) -> io::Result<bool>;
}
