//! A store that no server uses, opened to be read: nothing that is done to it lasts.

use std::path::Path;
use std::sync::Arc;

use seaway_journal::disk::{Disk, real::RealDisk, trial::TrialDisk};
use seaway_journal::{Encryption, OpenError, Options, is_journal_file, standing_on};

use crate::file::{FileStore, FileStoreError, fresh_identity, unusable};
use crate::port::Recovery;

/// Nothing new lasts: what is prepared for it stays small.
const SEGMENT_BYTES: u64 = 1 << 20;

impl FileStore {
    /// Opens the store of a directory that no server uses, to read it: whatever is done to it is not done to the directory. The key is
    /// needed when the store is encrypted; how, its files say.
    ///
    /// # Errors
    /// See [`FileStoreError`]; [`OpenError::Locked`] when a server uses it.
    pub fn open_at_rest(
        directory: &Path,
        encryption: Option<Encryption>,
        waker: impl Fn() + Send + Sync + 'static,
        recovery: &mut dyn Recovery,
    ) -> Result<FileStore, FileStoreError> {
        let disk = disk_at_rest(directory)?;
        let options = Options {
            encryption,
            segment_bytes_max: SEGMENT_BYTES,
            ..Options::new(fresh_identity())
        };
        FileStore::open_with(disk, options, Arc::default(), waker, recovery)
    }
}

/// A directory with a store that no server uses, on which nothing lasts.
pub(crate) fn disk_at_rest(directory: &Path) -> Result<Arc<dyn Disk>, FileStoreError> {
    let disk = RealDisk::existing(directory).map_err(|source| unusable(directory, source))?;
    let disk: Arc<dyn Disk> = Arc::new(TrialDisk::new(Arc::new(disk)));
    let unreadable = |source| OpenError::Io {
        action: "list the directory".to_owned(),
        source,
    };
    let names = disk.file_names().map_err(unreadable)?;
    // One without a file that opens its epoch is a store, and damaged.
    if !names.iter().any(|name| is_journal_file(name)) {
        return Err(FileStoreError::NoStore);
    }
    let standing = standing_on(disk.as_ref()).map_err(unreadable)?;
    if let Some(claim) = standing.claim.filter(|claim| claim.is_locked) {
        return Err(FileStoreError::Journal(OpenError::Locked { holder: claim.member }));
    }
    Ok(disk)
}
