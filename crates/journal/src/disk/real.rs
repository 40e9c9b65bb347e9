//! A directory of the operating system: positioned reads and writes, `fdatasync`, `fsync` of the directory, `flock`.

use super::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Modes of what is created: nobody else's business. In a directory that its group may write to, as the members of a
/// fault-tolerance group with different users share it, the group may read and write the files, too.
const FILE_MODE: u32 = 0o600;
const SHARED_FILE_MODE: u32 = 0o660;
const FOLDER_MODE: u32 = 0o700;
const GROUP_WRITES: u32 = 0o020;

/// A directory on a local file system.
pub struct RealDisk {
    path: PathBuf,
    directory: File,
    file_mode: u32,
    /// Whose files are made, when they are not this process's.
    owner: Option<(u32, u32)>,
}

impl RealDisk {
    /// Uses `path`. When it does not exist it is created, and its parents, durably, for nobody but this user; one that exists keeps
    /// its modes and its group.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<RealDisk> {
        let path = path.into();
        create_durably(&path)?;
        RealDisk::existing(path)
    }

    /// Uses `path`, which is there.
    ///
    /// # Errors
    /// `NotFound` when it is not, and what the operating system says.
    pub fn existing(path: impl Into<PathBuf>) -> io::Result<RealDisk> {
        let path = path.into();
        let directory = File::open(&path)?;
        let is_shared = directory.metadata()?.mode() & GROUP_WRITES != 0;
        Ok(RealDisk {
            path,
            directory,
            file_mode: if is_shared { SHARED_FILE_MODE } else { FILE_MODE },
            owner: None,
        })
    }

    /// Called as root: gives every new file to the owner and the group of the directory, as whose the server runs that is to read it.
    ///
    /// # Errors
    /// The operating system does not tell whose the directory is.
    pub fn for_owner(mut self) -> io::Result<RealDisk> {
        let metadata = self.directory.metadata()?;
        let is_anothers = rustix::process::geteuid().is_root() && metadata.uid() != 0;
        self.owner = is_anothers.then(|| (metadata.uid(), metadata.gid()));
        Ok(self)
    }

    /// See [`RealDisk::for_owner`].
    fn give(&self, file: &File) -> io::Result<()> {
        match self.owner {
            Some((user, group)) => std::os::unix::fs::fchown(file, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    /// In a directory for a group: what this process's umask took from the group is given to it, as far as the file is this user's.
    /// Where there are no modes, or others, they are the administrator's business.
    fn share(&self, file: &File) {
        if self.file_mode == SHARED_FILE_MODE {
            let _ = file.set_permissions(Permissions::from_mode(SHARED_FILE_MODE));
        }
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a directory and those above it that are missing; each is there after a loss of power.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Ok(target) = std::fs::read_link(path) {
        let text = format!(
            "{} is a symbolic link to {}, which is no directory",
            path.display(),
            target.display()
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    if path.exists() {
        let text = format!("{} is a file, not a directory", path.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    create_durably(parent)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        // Somebody else was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    File::open(parent)?.sync_all()
}

/// Describes this process for a lock file: `pid 4711, started 2026-11-23T10:00:00Z` (the time of the call).
pub fn holder_description() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    format!("pid {}, started {}", std::process::id(), civil_time(seconds))
}

/// Seconds since 1970 as an RFC 3339 time in UTC.
fn civil_time(seconds: u64) -> String {
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of year 0 of a 400-year era, so that leap days come last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// An entry of a listing, with what the operating system says of it; none when its file vanished meanwhile, or its name is no text
/// and so none of the journal's. One that it cannot speak of may be anything: what is not listed is taken for absent.
fn listed(name: OsString, metadata: io::Result<Metadata>) -> io::Result<Option<DirectoryEntry>> {
    let (Some(metadata), Ok(name)) = (unless_gone(metadata)?, name.into_string()) else {
        return Ok(None);
    };
    let is_folder = metadata.is_dir();
    Ok(Some(DirectoryEntry {
        name,
        length: if is_folder { 0 } else { metadata.len() },
        is_folder,
    }))
}

/// None when the file has gone since its name was read.
fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length).map_err(|error| match error {
            Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL => io::ErrorKind::Unsupported.into(),
            error => error.into(),
        })
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

struct RealLock {
    /// Locked until it is closed.
    _file: File,
    path: PathBuf,
    /// Device and number of the file.
    inode: (u64, u64),
}

impl RealLock {
    fn new(file: File, path: PathBuf) -> io::Result<RealLock> {
        let metadata = file.metadata()?;
        Ok(RealLock {
            _file: file,
            path,
            inode: (metadata.dev(), metadata.ino()),
        })
    }
}

impl DiskLock for RealLock {
    fn is_in_place(&self) -> io::Result<bool> {
        // By the path, which tells of a directory that was moved, too. Asked at every commit.
        match std::fs::metadata(&self.path) {
            Ok(named) => Ok(self.inode == (named.dev(), named.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Disk for RealDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(self.path.join(folder))? {
            let entry = entry?;
            entries.extend(listed(entry.file_name(), entry.metadata())?);
        }
        Ok(entries)
    }

    fn file_names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            // The listing itself says it where it can: a standby asks this again and again, of thousands of files.
            if unless_gone(entry.file_type())?.is_some_and(|kind| !kind.is_dir()) {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(self.file_mode)
            .open(self.path.join(name))?;
        self.give(&file)?;
        self.share(&file);
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(
            OpenOptions::new().read(true).write(true).open(self.path.join(name))?,
        )))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(File::open(self.path.join(name))?)))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        // Asked at every commit: without a path that has to be put together.
        match rustix::fs::statat(&self.directory, name, rustix::fs::AtFlags::empty()) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn space_available(&self) -> io::Result<u64> {
        let status = rustix::fs::fstatvfs(&self.directory)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(self.file_mode)
            .open(self.path.join(name))
            .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder's text is only a courtesy: whatever can be read of it is told.
                let _ = file.take(4_096).read_to_string(&mut text);
                return Err(LockError::Held(text.trim().to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        self.give(&file).map_err(LockError::Io)?;
        self.share(&file);
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(holder.as_bytes())?;
            file.write_all(b"\n")
        };
        write(&mut file).map_err(LockError::Io)?;
        let lock = RealLock::new(file, self.path.join(name)).map_err(LockError::Io)?;
        Ok(Box::new(lock))
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(String::new())),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        let lock = RealLock::new(file, path).map_err(LockError::Io)?;
        Ok(Box::new(lock))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        // A lock that several may have: those who ask are not in each other's way.
        match File::open(self.path.join(name))?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only root can give files away: for anybody else this is about files that stay its own.
    #[test]
    fn root_makes_files_for_the_owner_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(directory.path(), Some(4_711), Some(4_712)).unwrap();
        }
        let disk = RealDisk::existing(directory.path()).unwrap().for_owner().unwrap();
        disk.create("new").unwrap();
        let _lock = disk.lock("lock", "a test").unwrap();
        let expected = std::fs::metadata(directory.path()).unwrap();
        for name in ["new", "lock"] {
            let found = std::fs::metadata(directory.path().join(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), (expected.uid(), expected.gid()), "{name}");
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777)
    }

    #[test]
    fn what_is_created_is_nobody_elses_business_and_what_is_there_stays_as_it_is() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("x/y/z");
        let disk = RealDisk::new(&path)?;
        drop(disk.create("a")?);
        assert!(disk.lock("l", "me").is_ok());
        for created in ["x", "x/y", "x/y/z"] {
            assert_eq!(mode(&folder.path().join(created)), 0o700, "{created}");
        }
        assert_eq!((mode(&path.join("a")), mode(&path.join("l"))), (0o600, 0o600));
        // A directory for a group.
        let shared = folder.path().join("shared");
        std::fs::create_dir(&shared)?;
        std::fs::set_permissions(&shared, Permissions::from_mode(0o2770))?;
        let disk = RealDisk::new(&shared)?;
        drop(disk.create("a")?);
        assert!(disk.lock("l", "me").is_ok());
        assert_eq!(mode(&shared), 0o2770);
        // Whatever the umask, which usually takes the right to write from the group.
        assert_eq!((mode(&shared.join("a")), mode(&shared.join("l"))), (0o660, 0o660));
        Ok(())
    }

    #[test]
    fn a_file_of_which_nothing_can_be_told_is_not_left_out_of_a_listing() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let name = || OsString::from("a");
        let gone = std::fs::metadata(folder.path().join("a"));
        assert_eq!(listed(name(), gone)?, None);
        for error in [Errno::IO, Errno::STALE, Errno::ACCESS] {
            let told = listed(name(), Err(error.into())).map_err(|error| error.raw_os_error());
            assert_eq!(told, Err(Some(error.raw_os_error())));
        }
        let disk = RealDisk::new(folder.path().join("data"))?;
        disk.create("a")?.write_at(b"four", 0)?;
        std::fs::create_dir(disk.path().join("b"))?;
        let entry = |name: &str, length, is_folder| DirectoryEntry {
            name: name.to_owned(),
            length,
            is_folder,
        };
        let mut entries = disk.list("")?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(entries, [entry("a", 4, false), entry("b", 0, true)]);
        assert_eq!(disk.file_names()?, ["a"]);
        Ok(())
    }

    #[test]
    fn a_link_to_nowhere_is_called_so() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let link = folder.path().join("data");
        std::os::unix::fs::symlink("nowhere", &link)?;
        for path in [link.clone(), link.join("below")] {
            let Err(error) = RealDisk::new(&path) else {
                return Err(io::Error::other("created"));
            };
            assert!(error.to_string().contains("symbolic link to nowhere"), "{error}");
        }
        std::fs::create_dir(folder.path().join("nowhere"))?;
        RealDisk::new(&link)?;
        let absent = folder.path().join("absent");
        assert!(RealDisk::existing(&absent).is_err() && !absent.exists());
        Ok(())
    }

    #[test]
    fn a_file_is_called_so_wherever_it_is_in_the_path() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("file");
        std::fs::write(&file, b"")?;
        for path in [file.clone(), file.join("data"), file.join("a/b")] {
            let Err(error) = RealDisk::new(&path) else {
                return Err(io::Error::other("created"));
            };
            assert_eq!(
                error.to_string(),
                format!("{} is a file, not a directory", file.display())
            );
        }
        Ok(())
    }

    #[test]
    fn a_lock_whose_file_was_removed_or_replaced_is_not_in_place() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let disk = RealDisk::new(folder.path().join("data"))?;
        let Ok(lock) = disk.lock("l", "me") else {
            return Err(io::Error::other("not locked"));
        };
        assert!(lock.is_in_place()? && disk.exists("l")? && disk.is_locked("l")?);
        assert!(matches!(disk.lock_existing("l"), Err(LockError::Held(_))));
        std::fs::remove_file(disk.path().join("l"))?;
        assert!(!lock.is_in_place()? && !disk.exists("l")?);
        std::fs::write(disk.path().join("l"), b"another")?;
        assert!(!lock.is_in_place()? && !disk.is_locked("l")?);
        std::fs::remove_dir_all(disk.path())?;
        assert!(!lock.is_in_place()?);
        Ok(())
    }

    #[test]
    fn a_file_is_locked_as_it_is_until_its_lock_is_dropped() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let disk = RealDisk::new(folder.path())?;
        disk.create("a")?.write_at(b"content", 0)?;
        let Ok(lock) = disk.lock_existing("a") else {
            return Err(io::Error::other("not locked"));
        };
        assert!(disk.is_locked("a")? && disk.is_locked("a")?);
        let read = disk.open_to_read("a")?;
        assert!(read.length()? == 7 && read.write_at(b"C", 0).is_err());
        assert_eq!(std::fs::read(folder.path().join("a"))?, b"content");
        drop(lock);
        assert!(!disk.is_locked("a")? && disk.lock_existing("a").is_ok());
        assert!(matches!(disk.lock_existing("b"), Err(LockError::Io(_))) && disk.is_locked("b").is_err());
        Ok(())
    }

    #[test]
    fn civil_times() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(civil_time(seconds), expected);
        }
    }
}
