//! A part of a directory: the files whose names begin with a prefix, which the journal does not see. So a journal can be made beside
//! whatever else lies there.

use super::real::RealDisk;
use super::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use std::io;
use std::sync::Arc;

/// See the module.
pub struct PrefixedDisk {
    disk: RealDisk,
    prefix: String,
}

impl PrefixedDisk {
    /// The files of `disk` whose names begin with `prefix`, which holds no separator of paths.
    pub fn new(disk: RealDisk, prefix: &str) -> PrefixedDisk {
        PrefixedDisk {
            disk,
            prefix: prefix.to_owned(),
        }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Disk for PrefixedDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        if !folder.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = self.disk.list("")?.into_iter().filter(|entry| !entry.is_folder);
        let own = entries.filter_map(|entry| {
            let name = entry.name.strip_prefix(&self.prefix)?.to_owned();
            Some(DirectoryEntry { name, ..entry })
        });
        Ok(own.collect())
    }

    fn file_names(&self) -> io::Result<Vec<String>> {
        let names = self.disk.file_names()?.into_iter();
        Ok(names
            .filter_map(|name| Some(name.strip_prefix(&self.prefix)?.to_owned()))
            .collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(&self.name(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.name(name))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open_to_read(&self.name(name))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.disk.exists(&self.name(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.name(from), &self.name(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.name(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }

    fn space_available(&self) -> io::Result<u64> {
        self.disk.space_available()
    }

    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock(&self.name(name), holder)
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock_existing(&self.name(name))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.disk.is_locked(&self.name(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_prefix_is_seen_and_made() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("a"), b"somebody else's")?;
        std::fs::create_dir(folder.path().join(".new.folder"))?;
        let disk = PrefixedDisk::new(RealDisk::new(folder.path())?, ".new.");
        assert!(disk.list("")?.is_empty() && !disk.exists("a")?);
        disk.create("a")?.write_at(b"mine", 0)?;
        disk.rename("a", "b")?;
        let names: Vec<(String, u64)> = disk
            .list("")?
            .into_iter()
            .map(|entry| (entry.name, entry.length))
            .collect();
        assert_eq!(names, [("b".to_owned(), 4)]);
        assert_eq!(disk.file_names()?, ["b"]);
        assert_eq!(std::fs::read(folder.path().join(".new.b"))?, b"mine");
        disk.remove("b")?;
        assert!(disk.list("")?.is_empty());
        assert_eq!(std::fs::read(folder.path().join("a"))?, b"somebody else's");
        Ok(())
    }
}
