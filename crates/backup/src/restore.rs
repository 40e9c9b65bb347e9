//! Making a store of a backup again. Its files are written under unfinished names, checked, and get their own when all of them are right;
//! those that open epochs last, without which nobody takes the rest for a store. An interrupted restore is gone on with, or begun again.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use seaway_journal::disk::{Disk, DiskFile, DiskLock, LockError, real::RealDisk, real::holder_description};
use seaway_journal::{LIFE_NAME, LOCK_NAME, Life, RESTORING_PREFIX, encode_life, is_image_file};

use crate::archive::Entries;
use crate::digest::{Hasher, sha256};
use crate::error::{Error, io_error};
use crate::limits::PIECE_BYTES;
use crate::manifest::{Manifest, ManifestFile};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::repository::{Reading, remove_if_there};
use crate::source::identity_named;

/// Before the name of a file that is not checked yet.
const PREFIX: &str = RESTORING_PREFIX;
/// Says that all files are right, and of which backup they are.
const COMPLETE: &str = ".restoring.complete";
/// What a file system that was just made has.
const LOST_AND_FOUND: &str = "lost+found";

/// What is done to a store before its files get their names.
pub struct Change<'a> {
    /// What tells it from others: an interrupted restore is gone on with by the same.
    pub words: String,
    /// Does it, to the files that were restored, whose names begin with [`RESTORING_PREFIX`], and which are encrypted or not; or why that is
    /// not possible.
    pub make: &'a mut (dyn FnMut(bool) -> Result<(), String> + Send),
}

/// The directory of a store that is to be.
pub(crate) struct Target {
    disk: Arc<dyn Disk>,
    _lock: Box<dyn DiskLock>,
    /// The backup with this checksum of its manifest is there, and has only to be given its names.
    complete: Option<String>,
    /// The lock's file was there before.
    had_lock: bool,
}

/// Makes the store of a backup in a directory, which is made when it is not there and has to be empty otherwise.
///
/// # Errors
/// There is something in the directory; the backup is damaged; something cannot be written.
pub fn restore(
    backup: &Reading,
    directory: &Path,
    change: Option<Change<'_>>,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<(), Error> {
    restore_changed(backup, disk_of(directory)?, change, pace, progress)
}

/// The directory of a store that is to be, which is made when it is not there.
pub(crate) fn disk_of(directory: &Path) -> Result<Arc<dyn Disk>, Error> {
    let disk = RealDisk::new(directory).and_then(RealDisk::for_owner);
    let disk = disk.map_err(io_error(format!("use {}", directory.display())))?;
    Ok(Arc::new(disk))
}

/// As [`restore`], on any disk.
///
/// # Errors
/// See [`restore`].
pub fn restore_on(backup: &Reading, disk: Arc<dyn Disk>, pace: &mut Pace, progress: &Progress) -> Result<(), Error> {
    restore_changed(backup, disk, None, pace, progress)
}

fn restore_changed(
    backup: &Reading,
    disk: Arc<dyn Disk>,
    change: Option<Change<'_>>,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<(), Error> {
    let target = Target::open(disk)?;
    let manifest = &backup.manifest;
    let mark = mark(&manifest.encode(), change.as_ref());
    if target.is_complete(&mark)? {
        return target.put_in_place();
    }
    progress.begin(manifest.bytes());
    if let Err(error) = target.check_space(manifest.bytes()) {
        return Err(target.give_up(error));
    }
    let written = manifest.files.iter().try_for_each(|file| {
        let object = Reading::object(file);
        let length = backup
            .length(file)
            .map_err(io_error(format!("read {object} of the backup")))?;
        if length != file.length {
            return Err(damaged(
                file,
                &format!("{object} has {length} bytes instead of {}", file.length),
            ));
        }
        let mut writing = Writing::begin(&target, &file.name)?;
        let mut bytes = vec![0; pace.piece(PIECE_BYTES)];
        while writing.length < file.length {
            let piece = (file.length - writing.length).min(bytes.len() as u64) as usize;
            let piece = &mut bytes[..piece];
            pace.wait(piece.len());
            let read = backup.read(file, writing.length, piece);
            read.map_err(io_error(format!("read {object} of the backup")))?;
            writing.write(piece)?;
            progress.add(piece.len() as u64);
        }
        match writing.finish()? {
            found if found == file.sha256 => Ok(()),
            found => Err(damaged(file, &format!("{object} has the checksum {found}"))),
        }
    });
    match written {
        Ok(()) => target.finish(&mark, (&manifest.identity, manifest.encrypted), change),
        Err(error) => Err(target.give_up(error)),
    }
}

/// What tells one restore from another: the checksum of what says what is restored, and of what is changed.
pub(crate) fn mark(content: &[u8], change: Option<&Change<'_>>) -> String {
    let words = change.map_or("", |change| change.words.as_str());
    sha256(&[content, words.as_bytes()].concat())
}

/// As [`restore`], of an archive, which is read to its end; what it is made of.
///
/// # Errors
/// See [`restore`].
pub fn restore_archive(
    archive: impl Read,
    directory: &Path,
    change: Option<Change<'_>>,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<Manifest, Error> {
    restore_archive_changed(archive, disk_of(directory)?, change, pace, progress)
}

/// As [`restore_archive`], on any disk.
///
/// # Errors
/// See [`restore`].
pub fn restore_archive_on(
    archive: impl Read,
    disk: Arc<dyn Disk>,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<Manifest, Error> {
    restore_archive_changed(archive, disk, None, pace, progress)
}

fn restore_archive_changed(
    archive: impl Read,
    disk: Arc<dyn Disk>,
    change: Option<Change<'_>>,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<Manifest, Error> {
    let target = Target::open(disk)?;
    if target.complete.is_some() {
        return Err(Error::Refused(format!(
            "a restore that was interrupted when it was nearly done is in the directory: one of a directory of backups is finished with \
             the same backup; one of an archive cannot be: remove all files in the directory, which are the store's or begin with \
             {PREFIX}, and run it again"
        )));
    }
    let written = Entries::new(archive).and_then(|mut entries| write_entries(&target, &mut entries, pace, progress));
    match written {
        Ok(manifest) => {
            let mark = mark(&manifest.encode(), change.as_ref());
            target.finish(&mark, (&manifest.identity, manifest.encrypted), change)?;
            Ok(manifest)
        }
        Err(error) => Err(target.give_up(error)),
    }
}

/// Writes the files of an archive; its manifest comes last.
fn write_entries<R: Read>(
    target: &Target,
    entries: &mut Entries<R>,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<Manifest, Error> {
    let mut found: Vec<(String, u64, String)> = Vec::new();
    let mut bytes = vec![0; pace.piece(PIECE_BYTES)];
    while let Some(entry) = entries.next_file()? {
        let mut writing = Writing::begin(target, &entry.name)?;
        while writing.length < entry.length {
            let piece = (entry.length - writing.length).min(bytes.len() as u64) as usize;
            let piece = &mut bytes[..piece];
            pace.wait(piece.len());
            entries.read(piece)?;
            writing.write(piece)?;
            progress.add(piece.len() as u64);
        }
        let length = writing.length;
        found.push((entry.name, length, writing.finish()?));
    }
    let manifest = entries.finish()?;
    check_found(&manifest, &found)?;
    Ok(manifest)
}

/// Whether the files that an archive had are those of its manifest.
pub(crate) fn check_found(manifest: &Manifest, found: &[(String, u64, String)]) -> Result<(), Error> {
    let (by_name, mut there) = (manifest.by_name(), HashSet::with_capacity(found.len()));
    for (name, length, sha256) in found {
        there.insert(name.as_str());
        match by_name.get(name.as_str()) {
            None => {
                return Err(Error::Damaged(format!(
                    "the archive has a file {name} that its manifest does not name"
                )));
            }
            Some(file) if file.length != *length || file.sha256 != *sha256 => {
                return Err(damaged(
                    file,
                    &format!("{length} bytes with the checksum {sha256} were found"),
                ));
            }
            Some(_) => {}
        }
    }
    match manifest.files.iter().find(|file| !there.contains(file.name.as_str())) {
        Some(file) => Err(damaged(file, "it is not in the archive")),
        None => Ok(()),
    }
}

fn damaged(file: &ManifestFile, what: &str) -> Error {
    Error::Damaged(format!(
        "the backup is damaged: {} is not what was written: {what}. `seaway verify` says which messages that concerns",
        file.name
    ))
}

impl Target {
    /// Takes the directory, when nothing is in the way, and removes what an interrupted restore left that had not come far.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Target, Error> {
        let list = || disk.list("").map_err(io_error("list the directory"));
        // Before the lock, whose file is one more.
        let complete = read_complete(disk.as_ref()).map_err(io_error(format!("read {COMPLETE}")))?;
        let is_expected =
            |name: &str| name == LOCK_NAME || name.starts_with(PREFIX) || complete.is_some() && is_image_file(name);
        let mut had_lock = false;
        for entry in list()? {
            had_lock |= entry.name == LOCK_NAME;
            let is_in_the_way = match entry.is_folder {
                true => entry.name != LOST_AND_FOUND,
                false => !is_expected(&entry.name),
            };
            if is_in_the_way {
                let name = entry.name;
                return Err(Error::Refused(format!(
                    "nothing is overwritten, and {name:?} is in the directory: restore to an empty or a new one"
                )));
            }
        }
        let holder = format!("seaway restore, {}", holder_description());
        let lock = match disk.lock(LOCK_NAME, &holder) {
            Ok(lock) => lock,
            Err(LockError::Held(holder)) => {
                return Err(Error::Refused(format!("somebody uses the directory ({holder})")));
            }
            Err(LockError::Io(error)) => return Err(io_error(format!("lock {LOCK_NAME}"))(error)),
        };
        let target = Target {
            disk,
            _lock: lock,
            complete,
            had_lock,
        };
        if target.complete.is_none() {
            target.discard()?;
        }
        Ok(target)
    }

    /// Leaves the directory as it was found: nothing was written to it.
    fn leave(&self) {
        if !self.had_lock && self.complete.is_none() {
            let _ = remove_if_there(self.disk.as_ref(), LOCK_NAME);
        }
    }

    pub(crate) fn check_space(&self, bytes: u64) -> Result<(), Error> {
        let available = self
            .disk
            .space_available()
            .map_err(io_error("ask for the disk's space"))?;
        if available < bytes {
            return Err(Error::Refused(format!(
                "the backup has {bytes} bytes, and {available} are free where it is to be restored"
            )));
        }
        Ok(())
    }

    /// Whether everything of this backup is there already.
    pub(crate) fn is_complete(&self, mark: &str) -> Result<bool, Error> {
        match &self.complete {
            None => Ok(false),
            Some(of) if *of == mark => Ok(true),
            Some(_) => Err(Error::Refused(format!(
                "the restore of another backup was interrupted in the directory when it was nearly done: finish it with that one, or \
                 remove the files whose names begin with {PREFIX} and those of the store"
            ))),
        }
    }

    /// Removes unfinished files.
    fn discard(&self) -> Result<(), Error> {
        let names = self.disk.file_names().map_err(io_error("list the directory"))?;
        for name in names.iter().filter(|name| name.starts_with(PREFIX)) {
            self.disk.remove(name).map_err(io_error(format!("remove {name}")))?;
        }
        Ok(())
    }

    /// Gives the space back; what cannot be removed counts for nobody, and goes with the next attempt.
    pub(crate) fn give_up(&self, error: Error) -> Error {
        if self.discard().is_ok() {
            self.leave();
        }
        error
    }

    /// All files are right. Whoever goes on from them is another than who goes on from what was backed up, and has a name for it.
    /// The store has this identity, and is encrypted or not; `mark` tells this restore from others.
    pub(crate) fn finish(
        &self,
        mark: &str,
        (identity, is_encrypted): (&str, bool),
        change: Option<Change<'_>>,
    ) -> Result<(), Error> {
        if let Some(change) = change
            && let Err(reason) = (change.make)(is_encrypted)
        {
            return Err(self.give_up(Error::Refused(reason)));
        }
        let life = || {
            let name = format!("{PREFIX}{LIFE_NAME}");
            remove_if_there(self.disk.as_ref(), &name)?;
            let file = self.disk.create(&name)?;
            file.write_at(&encode_life(&identity_named(identity), &new_life()?), 0)?;
            file.sync_data()
        };
        life().map_err(io_error(format!("write {LIFE_NAME}")))?;
        let complete = || {
            let unfinished = format!("{COMPLETE}.writing");
            let file = self.disk.create(&unfinished)?;
            file.write_at(mark.as_bytes(), 0)?;
            file.sync_data()?;
            self.disk.sync_directory()?;
            self.disk.rename(&unfinished, COMPLETE)?;
            self.disk.sync_directory()
        };
        complete().map_err(io_error(format!("write {COMPLETE}")))?;
        self.put_in_place()
    }

    /// Gives the files their names, for good; some may have them. What else a change has left goes.
    pub(crate) fn put_in_place(&self) -> Result<(), Error> {
        let disk = self.disk.as_ref();
        let names = disk.file_names().map_err(io_error("list the directory"))?;
        let unfinished = names.iter().filter_map(|name| name.strip_prefix(PREFIX));
        let unfinished = unfinished.filter(|name| format!("{PREFIX}{name}") != COMPLETE);
        let (mut places, left): (Vec<&str>, Vec<&str>) = unfinished.partition(|name| is_image_file(name));
        places.sort_unstable();
        let is_epoch = |name: &&str| name.ends_with(".epoch");
        let (epochs, others): (Vec<&str>, Vec<&str>) = places.into_iter().partition(is_epoch);
        let rename = |name: &str| disk.rename(&format!("{PREFIX}{name}"), name);
        let place = || {
            left.into_iter()
                .try_for_each(|name| disk.remove(&format!("{PREFIX}{name}")))?;
            others.into_iter().try_for_each(rename)?;
            disk.sync_directory()?;
            for name in epochs {
                rename(name)?;
                disk.sync_directory()?;
            }
            disk.remove(COMPLETE)?;
            disk.sync_directory()
        };
        place().map_err(io_error("give the restored files their names; run it again to go on"))
    }
}

/// 16 random bytes.
fn new_life() -> std::io::Result<Life> {
    let mut life = Life::default();
    aws_lc_rs::rand::fill(&mut life).map_err(|_| std::io::Error::other("no randomness"))?;
    Ok(life)
}

/// The checksum of the manifest of which everything is there.
fn read_complete(disk: &dyn Disk) -> std::io::Result<Option<String>> {
    let file = match disk.open_to_read(COMPLETE) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; file.length()?.min(64) as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A file that is being written.
pub(crate) struct Writing {
    file: Arc<dyn DiskFile>,
    name: String,
    length: u64,
    hasher: Hasher,
}

impl Writing {
    pub(crate) fn begin(target: &Target, name: &str) -> Result<Writing, Error> {
        let name = format!("{PREFIX}{name}");
        let file = target.disk.create(&name).map_err(io_error(format!("create {name}")))?;
        Ok(Writing {
            file,
            name,
            length: 0,
            hasher: Hasher::new(),
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_at(bytes, self.length);
        written.map_err(io_error(format!("write {}", self.name)))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes it durable; its checksum.
    pub(crate) fn finish(self) -> Result<String, Error> {
        self.file.sync_data().map_err(io_error(format!("sync {}", self.name)))?;
        Ok(self.hasher.finish())
    }
}
