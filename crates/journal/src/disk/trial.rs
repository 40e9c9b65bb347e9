//! A directory in which everything can be tried and nothing is changed: what is made there is in memory, and what is there is only read.

use super::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room that new files seem to have: as much as a start needs, whatever the disk has.
const SPACE_BYTES: u64 = 1 << 40;

/// What is behind a name, where that is not the directory's own file of this name.
enum Layer {
    /// A file that was made here.
    Made(Arc<Made>),
    /// The directory's file that had this name.
    Renamed(String),
    Gone,
}

/// See the module.
pub struct TrialDisk {
    disk: Arc<dyn Disk>,
    layers: Mutex<BTreeMap<String, Layer>>,
}

impl TrialDisk {
    /// On top of a directory.
    pub fn new(disk: Arc<dyn Disk>) -> TrialDisk {
        TrialDisk {
            disk,
            layers: Mutex::default(),
        }
    }

    fn layers(&self) -> MutexGuard<'_, BTreeMap<String, Layer>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name that a file has in the directory; none when it is not there, or was made here.
    fn underneath(&self, name: &str) -> Option<String> {
        match self.layers().get(name) {
            None => Some(name.to_owned()),
            Some(Layer::Renamed(from)) => Some(from.clone()),
            Some(Layer::Made(_) | Layer::Gone) => None,
        }
    }
}

impl Disk for TrialDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = self.disk.list(folder)?;
        if !folder.is_empty() {
            return Ok(entries);
        }
        let layers = self.layers();
        let mut shown = Vec::new();
        for (name, layer) in layers.iter() {
            let length = match layer {
                Layer::Made(made) => made.length()?,
                Layer::Renamed(from) => {
                    let entry = entries.iter().find(|entry| entry.name == *from);
                    entry.map_or(0, |entry| entry.length)
                }
                Layer::Gone => continue,
            };
            shown.push(DirectoryEntry {
                name: name.clone(),
                length,
                is_folder: false,
            });
        }
        entries.retain(|entry| !layers.contains_key(&entry.name));
        entries.extend(shown);
        Ok(entries)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.exists(name)? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let made = Arc::new(Made::default());
        self.layers().insert(name.to_owned(), Layer::Made(Arc::clone(&made)));
        Ok(made)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(Layer::Made(made)) = self.layers().get(name) {
            return Ok(Arc::clone(made) as Arc<dyn DiskFile>);
        }
        let name = self.underneath(name).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(Kept(self.disk.open_to_read(&name)?)))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        if let Some(Layer::Made(_)) = self.layers().get(name) {
            return Ok(true);
        }
        self.underneath(name).map_or(Ok(false), |name| self.disk.exists(&name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if !self.exists(from)? {
            return Err(ErrorKind::NotFound.into());
        }
        let mut layers = self.layers();
        let moved = match layers.insert(from.to_owned(), Layer::Gone) {
            None => Layer::Renamed(from.to_owned()),
            Some(layer) => layer,
        };
        layers.insert(to.to_owned(), moved);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.exists(name)? {
            return Err(ErrorKind::NotFound.into());
        }
        self.layers().insert(name.to_owned(), Layer::Gone);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn space_available(&self) -> io::Result<u64> {
        Ok(SPACE_BYTES)
    }

    /// Nothing is written into the file; whoever has the lock is in the way all the same.
    fn lock(&self, name: &str, _holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        match self.is_locked(name) {
            Ok(true) => Err(LockError::Held(String::new())),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(LockError::Io(error)),
            _ => Ok(Box::new(Trial)),
        }
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        match self.exists(name) {
            Ok(true) => self.lock(name, ""),
            Ok(false) => Err(LockError::Io(ErrorKind::NotFound.into())),
            Err(error) => Err(LockError::Io(error)),
        }
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.underneath(name)
            .map_or(Ok(false), |name| self.disk.is_locked(&name))
    }
}

/// Nobody else is there to take it.
struct Trial;

impl DiskLock for Trial {
    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// A file of the directory. What is written to it must be what it holds.
struct Kept(Arc<dyn DiskFile>);

fn is_only_read() -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, "the directory is only read")
}

impl DiskFile for Kept {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut there = vec![0; bytes.len()];
        self.0.read_at(&mut there, offset)?;
        if there == bytes { Ok(()) } else { Err(is_only_read()) }
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        if self.0.length()? == length {
            Ok(())
        } else {
            Err(is_only_read())
        }
    }
}

/// A file in memory.
#[derive(Default)]
struct Made(Mutex<Vec<u8>>);

impl Made {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a file in memory.
fn place(offset: u64, length: usize) -> io::Result<std::ops::Range<usize>> {
    let begin = usize::try_from(offset).map_err(|_| ErrorKind::StorageFull)?;
    let end = begin.checked_add(length).ok_or(ErrorKind::StorageFull)?;
    Ok(begin..end)
}

impl DiskFile for Made {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let range = place(offset, buffer.len())?;
        buffer.copy_from_slice(self.bytes().get(range).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let range = place(offset, bytes.len())?;
        let mut file = self.bytes();
        if file.len() < range.end {
            file.resize(range.end, 0);
        }
        file[range].copy_from_slice(bytes);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(|_| ErrorKind::StorageFull)?;
        self.bytes().resize(length, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::real::RealDisk;

    #[test]
    fn what_is_done_is_seen_here_and_nowhere_else() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        for name in ["a", "b", "c"] {
            std::fs::write(folder.path().join(name), name)?;
        }
        let trial = TrialDisk::new(Arc::new(RealDisk::new(folder.path())?));
        trial.rename("a", "d")?;
        trial.remove("b")?;
        trial.create("e")?.write_at(b"made", 2)?;
        trial.rename("e", "c")?;
        let mut seen = trial.list("")?;
        seen.sort_by(|one, other| one.name.cmp(&other.name));
        let seen: Vec<(&str, u64)> = seen.iter().map(|entry| (&entry.name[..], entry.length)).collect();
        assert_eq!(seen, [("c", 6), ("d", 1)]);
        let mut bytes = [9; 6];
        trial.open("c")?.read_at(&mut bytes, 0)?;
        assert_eq!(&bytes, b"\0\0made");
        let moved = trial.open("d")?;
        moved.read_at(&mut bytes[..1], 0)?;
        assert_eq!(bytes[0], b'a');
        moved.write_at(b"a", 0)?;
        assert!(moved.write_at(b"x", 0).is_err() && moved.set_length(0).is_err());
        for gone in ["a", "b", "e"] {
            assert!(!trial.exists(gone)? && trial.open(gone).is_err(), "{gone}");
        }
        for name in ["a", "b", "c"] {
            assert_eq!(std::fs::read(folder.path().join(name))?, name.as_bytes());
        }
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 3);
        Ok(())
    }
}
