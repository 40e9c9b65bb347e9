//! The lock of a directory that nobody serves from.

use crate::claim::standing_on;
use crate::disk::{Disk, DiskLock, LockError};
use crate::error::OpenError;
use crate::format::LOCK_NAME;
use crate::recovery::io_error;
use std::io;

/// Keeps others away, as far as they look for the lock; whoever looks for claims only is noticed by [`Image::check`].
pub(crate) fn lock(disk: &dyn Disk, holder: &str) -> Result<Option<Box<dyn DiskLock>>, OpenError> {
    let lock = match disk.lock(LOCK_NAME, holder) {
        Ok(lock) => Some(lock),
        Err(LockError::Held(holder)) => return Err(OpenError::Locked { holder }),
        // A snapshot of a file system: nobody else can write there either.
        Err(LockError::Io(error)) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => None,
        Err(LockError::Io(error)) => return Err(io_error("lock the journal")(error)),
    };
    let standing = standing_on(disk).map_err(io_error("read the newest claim"))?;
    match standing.claim.filter(|claim| claim.is_locked) {
        Some(claim) => Err(OpenError::Locked { holder: claim.member }),
        None => Ok(lock),
    }
}
