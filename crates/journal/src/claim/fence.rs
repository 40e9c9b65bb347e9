//! The directory as the holder of a claim may use it: before anything is taken out of it or gets another name, it looks.

use super::Holding;
use crate::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use crate::planted::{Fault, is_planted};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// See the module. Lengths are set through files, which do not look: [`Fenced::before_removal`] goes before that.
pub(crate) struct Fenced<'a> {
    disk: &'a dyn Disk,
    holding: &'a Holding,
}

impl<'a> Fenced<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, holding: &'a Holding) -> Fenced<'a> {
        Fenced { disk, holding }
    }

    /// The epoch that writes here.
    pub(crate) fn writer(&self) -> u64 {
        self.holding.number()
    }

    pub(crate) fn holding(&self) -> &Holding {
        self.holding
    }

    /// An error unless the tenure holds: before anything that cannot be taken back.
    pub(crate) fn before_removal(&self) -> io::Result<()> {
        if is_planted(Fault::NoLookBeforeRemoval) {
            return Ok(());
        }
        self.holding.guard()
    }
}

impl Disk for Fenced<'_> {
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.before_removal()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.before_removal()?;
        self.disk.remove(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        self.disk.list(folder)
    }

    fn file_names(&self) -> io::Result<Vec<String>> {
        self.disk.file_names()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open_to_read(name)
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.disk.exists(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }

    fn pause(&self, time: Duration) {
        self.disk.pause(time);
    }

    fn space_available(&self) -> io::Result<u64> {
        self.disk.space_available()
    }

    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock(name, holder)
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock_existing(name)
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.disk.is_locked(name)
    }
}
