//! A backup as a directory that is only read: what it holds under the names that its files had in the store. What is missing of them reads
//! as zeros, which is damage to whoever looks for it, and tells what was there.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use seaway_journal::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};

use crate::manifest::ManifestFile;
use crate::repository::Reading;

/// See the module.
pub(crate) struct Contents {
    backup: Arc<Reading>,
    /// Where in the manifest each file is.
    places: HashMap<String, usize>,
}

impl Contents {
    pub(crate) fn new(backup: Arc<Reading>) -> Contents {
        let files = backup.manifest.files.iter().enumerate();
        let places = files.map(|(place, file)| (file.name.clone(), place)).collect();
        Contents { backup, places }
    }

    fn find(&self, name: &str) -> Option<&ManifestFile> {
        self.places.get(name).map(|place| &self.backup.manifest.files[*place])
    }
}

fn is_only_read<T>() -> io::Result<T> {
    Err(io::Error::new(ErrorKind::ReadOnlyFilesystem, "a backup is only read"))
}

impl Disk for Contents {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        if !folder.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        let entry = |file: &ManifestFile| DirectoryEntry {
            name: file.name.clone(),
            length: file.length,
            is_folder: false,
        };
        Ok(self.backup.manifest.files.iter().map(entry).collect())
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        is_only_read()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.find(name).ok_or(ErrorKind::NotFound)?.clone();
        let there = self.backup.length(&file).unwrap_or(0);
        Ok(Arc::new(Content {
            backup: Arc::clone(&self.backup),
            file,
            there,
        }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.find(name).is_some())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        is_only_read()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        is_only_read()
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn space_available(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn lock(&self, _: &str, _: &str) -> Result<Box<dyn DiskLock>, LockError> {
        Err(LockError::Io(ErrorKind::ReadOnlyFilesystem.into()))
    }

    fn lock_existing(&self, _: &str) -> Result<Box<dyn DiskLock>, LockError> {
        Err(LockError::Io(ErrorKind::NotFound.into()))
    }

    fn is_locked(&self, _: &str) -> io::Result<bool> {
        Err(ErrorKind::NotFound.into())
    }
}

/// A file of the backup.
struct Content {
    backup: Arc<Reading>,
    file: ManifestFile,
    /// Bytes that are there.
    there: u64,
}

impl DiskFile for Content {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset
            .checked_add(buffer.len() as u64)
            .is_none_or(|end| end > self.file.length)
        {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let there = self.there.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (found, missing) = buffer.split_at_mut(there);
        missing.fill(0);
        if found.is_empty() {
            return Ok(());
        }
        self.backup.read(&self.file, offset, found)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        is_only_read()
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.length)
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        is_only_read()
    }
}
