//! Where a directory is made: beside its place, under another name, until all of it is there.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;
use crate::in_place::{exists, is_mount_point, sync};
use crate::transfer::free_bytes;

/// Added to the name of a directory that is not complete.
const SUFFIX: &str = ".exporting";
/// A file in it, which says that it is one, and is locked while somebody writes. NATS Streaming takes no notice of it.
const MARK: &str = ".seaway-export";
/// What files and folders take besides what is in them.
const SPARE_BYTES: u64 = 16 << 20;

/// See the module. Dropped before it is finished, it leaves nothing.
pub(super) struct Place {
    directory: PathBuf,
    unfinished: PathBuf,
    parent: PathBuf,
    /// Locked.
    _mark: File,
    is_finished: bool,
}

impl Place {
    /// Makes room for a directory of about so many bytes that is not there yet, or empty.
    pub(super) fn prepare(directory: &Path, store: &Path, bytes: u64) -> Result<Place, Error> {
        let absolute = std::path::absolute(directory).map_err(Error::io("find", directory))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(Error::Refused(format!(
                "{} cannot be made: name a directory that is not there yet",
                directory.display()
            )));
        };
        check_vacant(&absolute)?;
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let parent = fs::canonicalize(parent).map_err(Error::io("find", parent))?;
        let store = fs::canonicalize(store).map_err(Error::io("find", store))?;
        if parent.starts_with(&store) {
            return Err(Error::Refused(format!(
                "{} lies in the directory of the store: name one outside of it",
                directory.display()
            )));
        }
        let mut unfinished = OsString::from(name);
        unfinished.push(SUFFIX);
        let unfinished = parent.join(unfinished);
        clear(&unfinished)?;
        let free = free_bytes(&parent)?;
        let needed = bytes.saturating_add(SPARE_BYTES);
        if free < needed {
            return Err(Error::Refused(format!(
                "about {needed} bytes are needed in {}, and {free} are free: make room, or name a directory on another disk",
                parent.display()
            )));
        }
        // As that of a store: what was published is for nobody else.
        let made = DirBuilder::new().mode(0o700).create(&unfinished);
        made.map_err(Error::io("create", &unfinished))?;
        let path = unfinished.join(MARK);
        let mark = File::create_new(&path).map_err(Error::io("create", &path))?;
        lock(&mark, &unfinished)?;
        Ok(Place {
            directory: parent.join(name),
            unfinished,
            parent,
            _mark: mark,
            is_finished: false,
        })
    }

    /// Where to write.
    pub(super) fn unfinished(&self) -> &Path {
        &self.unfinished
    }

    /// Everything in it is durable: it gets its name.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        // An empty directory is replaced; one that is not any more is an error.
        fs::rename(&self.unfinished, &self.directory).map_err(Error::io("put in place", &self.directory))?;
        self.is_finished = true;
        sync(&self.parent)?;
        let mark = self.directory.join(MARK);
        fs::remove_file(&mark).map_err(Error::io("remove", &mark))?;
        sync(&self.directory)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed now is removed by the next attempt, or refused by it with a reason.
            let _ = remove(&self.unfinished);
        }
    }
}

/// The directory is to be made: nobody's files are replaced.
fn check_vacant(directory: &Path) -> Result<(), Error> {
    if !exists(directory) {
        return Ok(());
    }
    let refused = |problem: &str| Err(Error::Refused(format!("{} {problem}", directory.display())));
    let found = fs::symlink_metadata(directory).map_err(Error::io("look at", directory))?;
    if !found.is_dir() {
        return refused("is there and is no directory: name one that is not there yet");
    }
    if is_mount_point(directory).map_err(Error::io("look at", directory))? {
        return refused("is a mount point, which cannot be replaced: name a directory in it");
    }
    match fs::read_dir(directory).map_err(Error::io("list", directory))?.next() {
        None => Ok(()),
        Some(_) => refused("is not empty: name a directory that is not there yet"),
    }
}

/// Removes what an interrupted attempt has left, and nothing else.
fn clear(unfinished: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(unfinished) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("look at", unfinished)(error)),
        Ok(_) => {}
    }
    match File::open(unfinished.join(MARK)) {
        Ok(mark) => lock(&mark, unfinished)?,
        // It was made, and nothing in it.
        Err(_) if fs::remove_dir(unfinished).is_ok() => return Ok(()),
        Err(_) => {
            return Err(Error::Refused(format!(
                "{} is in the way, and no export has made it: move it away",
                unfinished.display()
            )));
        }
    }
    remove(unfinished).map_err(Error::io("remove", unfinished))
}

/// The mark goes last: what is left without it would be nobody's.
fn remove(unfinished: &Path) -> io::Result<()> {
    for entry in fs::read_dir(unfinished)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != MARK {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_file(unfinished.join(MARK))?;
    fs::remove_dir(unfinished)
}

fn lock(mark: &File, unfinished: &Path) -> Result<(), Error> {
    flock(mark, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::AGAIN => Error::Refused(format!(
            "another export writes {}: let it end, or name another directory",
            unfinished.display()
        )),
        error => Error::io("lock", unfinished)(error.into()),
    })
}
