//! Mending a store with what it holds itself, and with what a backup holds.

use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use seaway_journal::disk::{Disk, real::RealDisk};
use seaway_journal::{has_epoch, newest_identity};
use seaway_store::Encryption;
use seaway_store::verify::{ChannelsFound, Damage, channels};

pub use seaway_journal::{Remedy, Repairing};

use crate::contents::Contents;
use crate::error::{Error, io_error};
use crate::repository::Reading;

/// What was damaged, and what was done about it.
#[derive(Debug)]
pub struct Repaired {
    /// In the order of the files.
    pub damages: Vec<(Damage, Remedy)>,
    /// The channels, as far as the store opens.
    pub channels: ChannelsFound,
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

/// What a store is called in backups: the identity of the one in a directory. `None` when the file that says so is damaged.
///
/// # Errors
/// There is no store in the directory, or it cannot be read.
pub fn identity_of(directory: &Path) -> Result<Option<String>, Error> {
    let disk = RealDisk::existing(directory).map_err(io_error(format!("read {}", directory.display())))?;
    check_store(&disk)?;
    let identity = newest_identity(&disk).map_err(Error::Repair)?;
    Ok(identity.map(|identity| HEXLOWER.encode(&identity)))
}

/// Mends the store in a directory that no server uses. What is damaged in a segment is taken from a backup, when one is given and has
/// just that.
///
/// # Errors
/// There is no store, a server uses it, its key is missing or wrong, or something cannot be read or written.
pub fn repair(
    directory: &Path,
    encryption: Option<&Encryption>,
    from: Option<Reading>,
    repairing: Repairing,
) -> Result<Repaired, Error> {
    let disk = RealDisk::existing(directory).and_then(RealDisk::for_owner);
    let disk = disk.map_err(io_error(format!("read {}", directory.display())))?;
    let damages = repair_on(&disk, encryption, from, repairing)?;
    // A store that does not open tells no names.
    let channels = channels(directory, encryption.cloned()).unwrap_or_default();
    Ok(Repaired { damages, channels })
}

/// As [`repair`], on any disk; what was damaged, and what was done about it.
///
/// # Errors
/// See [`repair`].
pub fn repair_on(
    disk: &dyn Disk,
    encryption: Option<&Encryption>,
    from: Option<Reading>,
    repairing: Repairing,
) -> Result<Vec<(Damage, Remedy)>, Error> {
    check_store(disk)?;
    let copy = from.map(|from| Contents::new(Arc::new(from)));
    let copy = copy.as_ref().map(|copy| copy as &dyn Disk);
    let mut damages = Vec::new();
    let repaired = seaway_journal::repair(disk, encryption, copy, repairing, &mut |damage, remedy| {
        damages.push((damage, remedy));
    });
    repaired.map_err(Error::Repair)?;
    Ok(damages)
}
