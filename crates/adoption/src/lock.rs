//! The original's own lock (`stores-and-clustering.md` §3.16), held while its directory is taken over: it excludes the active server of
//! a fault-tolerance group, and another adoption.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use seaway_store::TAKEN_OVER_LOCK_NAME;

use crate::error::Error;

/// Held until dropped. It belongs to the process: one that takes it twice is not stopped.
#[derive(Debug)]
pub(crate) struct RootLock {
    _file: File,
}

impl RootLock {
    /// Of its file.
    pub(crate) const NAME: &str = TAKEN_OVER_LOCK_NAME;

    /// Takes the lock; the file is made when there is none, as the original makes it.
    pub(crate) fn take(directory: &Path) -> Result<RootLock, Error> {
        let path = directory.join(RootLock::NAME);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(Error::io("open the lock file", &path))?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(RootLock { _file: file }),
            Err(Errno::AGAIN | Errno::ACCESS) => Err(Error::Refused(format!(
                "a running process has {} locked: stop the server that uses the directory, or let the adoption end that is under way",
                path.display()
            ))),
            Err(error) => Err(Error::io("lock", &path)(error.into())),
        }
    }
}
