//! Mending a store with what it holds itself, and with what a backup holds.

use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use seaway_journal::disk::{Disk, real::RealDisk, trial::TrialDisk};
use seaway_journal::{Donor, Repair, has_epoch, life_of, newest_identity};
use seaway_store::verify::{Damage, Started, start_on};
use seaway_store::{Encryption, FileStoreError};

pub use seaway_journal::{Remedy, Repairing};

use crate::contents::Contents;
use crate::error::{Error, io_error};
use crate::repository::Reading;

/// What was damaged, and what was done about it.
#[derive(Debug)]
pub struct Repaired {
    /// In the order of the files.
    pub damages: Vec<(Damage, Remedy)>,
    /// What a start finds then.
    pub after: Started,
}

/// Refuses what is no store before anything is made in it, the lock's file included.
fn check_store(disk: &dyn Disk) -> Result<(), Error> {
    match has_epoch(disk).map_err(io_error("list the directory"))? {
        true => Ok(()),
        false => Err(Error::Refused(
            "there is no store of Seaway's in the directory: no file epoch-*.epoch is in it".to_owned(),
        )),
    }
}

/// What a store is called in backups: the identity of the one in a directory, and its life, when it was restored. `None` when the file
/// that says so is damaged.
///
/// # Errors
/// There is no store in the directory, or it cannot be read.
pub fn identity_of(directory: &Path) -> Result<Option<(String, Option<String>)>, Error> {
    let disk = RealDisk::existing(directory).map_err(io_error(format!("read {}", directory.display())))?;
    check_store(&disk)?;
    let Some(identity) = newest_identity(&disk).map_err(Error::Repair)? else {
        return Ok(None);
    };
    let life = life_of(&disk, &identity).map_err(Error::Repair)?;
    Ok(Some((
        HEXLOWER.encode(&identity),
        life.map(|life| HEXLOWER.encode(&life)),
    )))
}

/// Mends the store in a directory that no server uses. What is damaged or missing is taken from the first of some backups that has just
/// that; with each is said whether it is of the same life of the store.
///
/// # Errors
/// There is no store, a server uses it, its key is missing or wrong, or something cannot be read or written.
pub fn repair(
    directory: &Path,
    encryption: Option<&Encryption>,
    from: Vec<(Reading, bool)>,
    repairing: Repairing,
) -> Result<Repaired, Error> {
    let disk = RealDisk::existing(directory).and_then(RealDisk::for_owner);
    let disk = disk.map_err(io_error(format!("read {}", directory.display())))?;
    repair_on(Arc::new(disk), encryption, from, repairing)
}

/// As [`repair`], on any disk.
///
/// # Errors
/// See [`repair`].
pub fn repair_on(
    disk: Arc<dyn Disk>,
    encryption: Option<&Encryption>,
    from: Vec<(Reading, bool)>,
    repairing: Repairing,
) -> Result<Repaired, Error> {
    check_store(disk.as_ref())?;
    let contents = from
        .into_iter()
        .map(|(from, is_own)| (Contents::new(Arc::new(from)), is_own));
    let contents: Vec<(Contents, bool)> = contents.collect();
    let donors = contents.iter().map(|(disk, is_own_life)| Donor {
        disk,
        is_own_life: *is_own_life,
    });
    let donors: Vec<Donor<'_>> = donors.collect();
    let disk: Arc<dyn Disk> = match repairing {
        Repairing::Reality => disk,
        Repairing::Rehearsal => Arc::new(TrialDisk::new(disk)),
    };
    let failed = |error: FileStoreError| match error {
        FileStoreError::Journal(error) => Error::Repair(error),
        error => Error::Refused(error.to_string()),
    };
    let before = start_on(&disk, encryption.cloned()).map_err(failed)?;
    let is_known = before.refusal.is_none();
    let how = Repair {
        encryption,
        copies: &donors,
        repairing,
        is_live: &|runs| !is_known || before.channels.has_any(runs),
        lost: &before.channels.lost_runs,
    };
    let mut damages = Vec::new();
    let repaired = seaway_journal::repair(disk.as_ref(), &how, &mut |damage, remedy| {
        damages.push((damage, remedy))
    });
    repaired.map_err(Error::Repair)?;
    let after = start_on(&disk, encryption.cloned()).map_err(failed)?;
    Ok(Repaired { damages, after })
}
