//! A store that is made beside other files, under names of its own, and then put in place in steps that can be interrupted.
//!
//! Its names begin with a dot, as no channel's name does: whatever the channels of another server's directory are called, none of
//! its folders is in the way, and that server takes no notice of such files.

use std::fs::File;
use std::io;
use std::path::Path;

use seaway_journal::disk::{Disk as _, LockError, real::RealDisk};
use seaway_journal::{LOCK_NAME, has_epoch, is_claim, is_journal_file};

/// What the names of a store's files begin with until it is put in place.
pub const PREFIX: &str = ".adopting.";

/// What the names of a store's files begin with once it was set aside.
pub const UNDONE_PREFIX: &str = ".undone.";

/// Says that a store is complete, and is to be put in place.
const COMPLETE: &str = ".adopting.complete";
/// Before it says so; an attempt that ends here is none.
const COMPLETE_UNSYNCED: &str = ".adopting.complete.writing";

/// Whether a directory holds a file of a store that is not in place.
///
/// # Errors
/// The directory cannot be listed.
pub fn is_there(directory: &Path) -> io::Result<bool> {
    Ok(!names(directory)?.is_empty())
}

/// Whether [`complete`] was called and [`put_in_place`] has not ended.
///
/// # Errors
/// The directory cannot be read.
pub fn is_complete(directory: &Path) -> io::Result<bool> {
    directory.join(COMPLETE).try_exists()
}

/// Commits a store in a directory where nothing else does: from here on [`put_in_place`] is what is left to do. Without this a store that
/// is not in place may be half of one, and the files in the names' places may be another's.
///
/// # Errors
/// The directory has another store, or the file that says so cannot be made durable; [`discard`] takes it back.
pub fn complete(directory: &Path) -> io::Result<()> {
    // Whatever its files are called: two stores are none.
    if let Some(other) = names_that(directory, is_journal_file)?.first() {
        return Err(is_taken(other));
    }
    let disk = RealDisk::new(directory)?;
    File::create(directory.join(COMPLETE_UNSYNCED))?.sync_all()?;
    // The store's own names as well: nothing is known of who made them durable.
    disk.sync_directory()?;
    disk.rename(COMPLETE_UNSYNCED, COMPLETE)?;
    disk.sync_directory()
}

/// Bytes of the files of a store that is not in place.
///
/// # Errors
/// The directory cannot be listed.
pub fn bytes(directory: &Path) -> io::Result<u64> {
    let entries = RealDisk::new(directory)?.list("")?;
    let own = entries.iter().filter(|entry| entry.name.starts_with(PREFIX));
    Ok(own.map(|entry| entry.length).sum())
}

/// Whether a directory holds a store that is in place.
///
/// # Errors
/// The directory cannot be listed.
pub fn has_store(directory: &Path) -> io::Result<bool> {
    has_epoch(&RealDisk::new(directory)?)
}

/// Removes a store that is not in place. What says that it is complete goes first.
///
/// # Errors
/// A file cannot be removed.
pub fn discard(directory: &Path) -> io::Result<()> {
    let disk = RealDisk::new(directory)?;
    remove_complete(directory, &disk)?;
    for name in names(directory)? {
        disk.remove(&name)?;
    }
    disk.sync_directory()
}

/// Gives the files of a store their own names, for good. What an earlier call has renamed already is left alone. Files of epochs come
/// last, the newest at the end: without them nobody takes the rest for a store. What [`complete`] made goes behind them.
///
/// # Errors
/// One of the names is taken, and nothing was renamed over it; or a file cannot be renamed: to be called again.
pub fn put_in_place(directory: &Path) -> io::Result<()> {
    let disk = RealDisk::new(directory)?;
    let names = names(directory)?;
    check_free(directory, &names)?;
    let (epochs, others): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| name.ends_with(".epoch"));
    for name in others {
        match own_name(&name) {
            Some(own) => disk.rename(&name, own)?,
            None if name == COMPLETE => {}
            None => disk.remove(&name)?,
        }
    }
    disk.sync_directory()?;
    for name in epochs {
        disk.rename(&name, &name[PREFIX.len()..])?;
        disk.sync_directory()?;
    }
    remove_complete(directory, &disk)
}

/// Removes what says that a store is complete, for good, if it is there.
fn remove_complete(directory: &Path, disk: &RealDisk) -> io::Result<()> {
    if is_complete(directory)? {
        disk.remove(COMPLETE)?;
        disk.sync_directory()?;
    }
    Ok(())
}

/// The name that a file of a store gets; none for those that end with the making of it.
fn own_name(name: &str) -> Option<&str> {
    let own = name.strip_prefix(PREFIX)?;
    // Nobody serves from a store that is not in place, and no claim ever gets another name.
    let ends = own == LOCK_NAME || is_claim(own) || name == COMPLETE || name == COMPLETE_UNSYNCED;
    (!ends).then_some(own)
}

/// Refuses when a name that a file is to get is taken: a rename would replace what has it, another store's for all that is known.
fn check_free(directory: &Path, names: &[String]) -> io::Result<()> {
    for own in names.iter().filter_map(|name| own_name(name)) {
        match directory.join(own).symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(is_taken(own)),
        }
    }
    Ok(())
}

fn is_taken(name: &str) -> io::Error {
    let text = format!(
        "{name} is there already, and is not replaced: move it and the store that it is of elsewhere, or, to go on with that store, the \
         files whose names begin with {PREFIX}"
    );
    io::Error::new(io::ErrorKind::AlreadyExists, text)
}

/// Which process has the store of a directory open, in its own words; none when nobody has.
///
/// # Errors
/// Its lock cannot be taken for another reason.
pub fn holder(directory: &Path) -> io::Result<Option<String>> {
    match RealDisk::new(directory)?.lock(LOCK_NAME, "somebody who looks whether it is free") {
        Ok(_) => Ok(None),
        Err(LockError::Held(holder)) => Ok(Some(holder)),
        Err(LockError::Io(error)) => Err(error),
    }
}

/// Whether a directory holds a store that was set aside.
///
/// # Errors
/// The directory cannot be listed.
pub fn has_undone(directory: &Path) -> io::Result<bool> {
    Ok(!names_that(directory, |name| name.starts_with(UNDONE_PREFIX))?.is_empty())
}

/// Takes a store out of its place: its files get names that begin with [`UNDONE_PREFIX`]. What an earlier call has renamed already is left
/// alone. Files of epochs go first: without them nobody takes the rest for a store.
///
/// # Errors
/// A file cannot be renamed; to be called again.
pub fn set_aside(directory: &Path) -> io::Result<()> {
    let disk = RealDisk::new(directory)?;
    let (epochs, others): (Vec<String>, Vec<String>) = names_that(directory, is_journal_file)?
        .into_iter()
        .partition(|name| name.ends_with(".epoch"));
    for name in epochs.iter().rev() {
        disk.rename(name, &format!("{UNDONE_PREFIX}{name}"))?;
        disk.sync_directory()?;
    }
    for name in others {
        match name.as_str() {
            name if name == LOCK_NAME || is_claim(name) => disk.remove(name)?,
            name => disk.rename(name, &format!("{UNDONE_PREFIX}{name}"))?,
        }
    }
    disk.sync_directory()
}

/// Names of the files of a store that is not in place, in order.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    names_that(directory, |name| name.starts_with(PREFIX))
}

fn names_that(directory: &Path, is_meant: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let entries = RealDisk::new(directory)?.list("")?;
    let meant = entries
        .into_iter()
        .filter(|entry| !entry.is_folder && is_meant(&entry.name));
    let mut names: Vec<String> = meant.map(|entry| entry.name).collect();
    names.sort_unstable();
    Ok(names)
}
