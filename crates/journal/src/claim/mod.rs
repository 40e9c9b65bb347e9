//! Claims to serve from a directory (docs/journal-format.md §3): who makes one ends the tenure before it, whatever its holder does.
//!
//! A claim is a file that is created under its final name, which can happen once for each number, and never renamed. Whoever serves
//! looks whether there is a later one: after each sync and before it tells anybody that something is durable, and before it takes
//! anything out of the directory. A claimant makes its claim durable first and reads afterwards. So what was reported durable is
//! what the claimant reads, however long either of them pauses anywhere.

mod fence;
mod file;
mod holding;
mod standing;

use crate::disk::real::RealDisk;
use crate::disk::{Disk, DiskLock, LockError, is_full};
use crate::format::{FileName, LOCK_NAME, claim_name};
use crate::planted::{Fault, is_planted};
use crate::whole_file::remove_if_there;
use file::ClaimFile;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use fence::Fenced;
pub(crate) use holding::Deposed;
pub use holding::{Holding, Standpoint};
pub use standing::{SeenClaim, Standing, newest_epoch, standing, standing_after, standing_after_on, standing_on};

/// How often somebody who only looks whether a new claim is locked may be in the way of its lock.
const LOCK_TRIES: u32 = 1_000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Why a claim could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Somebody else was quicker.
    #[error("tenure {by} was claimed by somebody else at the same moment")]
    Overtaken {
        /// The number of the other's claim.
        by: u64,
    },
    /// What the claim was to follow is not there: another file system is, or the claim of a start that failed was taken back.
    #[error(
        "tenure {seen} was seen in the directory, and now its files go to {found} only: is it the directory that it was, and mounted?"
    )]
    Missing {
        /// The highest number in any name when it was decided to claim.
        seen: u64,
        /// The highest number now; 0 when there is none.
        found: u64,
    },
    /// Somebody serves from the directory who would not see a claim: a server alone, or one of a version that knows none.
    #[error("the directory is in use by another process{}", crate::error::named(holder))]
    Held {
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The operating system refused an operation.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted.
        action: String,
        /// Its error.
        source: io::Error,
    },
}

fn io_error(action: impl Into<String>) -> impl FnOnce(io::Error) -> ClaimError {
    let action = action.into();
    move |source| ClaimError::Io { action, source }
}

/// A claim to serve: the first two steps of a take-over. Its file is locked until the last clone is dropped, the store that was
/// opened with it included; the file stays.
#[derive(Clone, Debug)]
pub struct Claim(Arc<Grip>);

/// Keeps the locks.
#[derive(Debug)]
struct Grip(Arc<Holding>);

impl Drop for Grip {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Who may be in the directory at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nobody, as the lock of the directory says.
    Alone,
    /// Whoever has it open, and will find itself deposed.
    Shared,
}

impl Claim {
    /// Claims tenure `seen` + 1 of a directory, whoever serves there: that one is deposed by it. `seen` is [`Standing::number`] of what
    /// it was decided on: of several who saw the same only one gets it. `member` is what others are told of the claimant, at most 400
    /// bytes of it. The directory is created when nothing was seen (0) and it is not there.
    ///
    /// # Errors
    /// See [`ClaimError`]. A claim may be left behind, which deposes nobody else than it did already.
    pub fn make(directory: &Path, member: &str, seen: u64) -> Result<Claim, ClaimError> {
        let disk = if seen == 0 {
            RealDisk::new(directory)
        } else {
            RealDisk::existing(directory)
        };
        let disk = disk.map_err(io_error(format!("use the directory {}", directory.display())))?;
        Claim::make_on(Arc::new(disk), member, seen)
    }

    /// As [`Claim::make`], on any disk.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn make_on(disk: Arc<dyn Disk>, member: &str, seen: u64) -> Result<Claim, ClaimError> {
        let mut token = [0; 16];
        aws_lc_rs::rand::fill(&mut token)
            .map_err(|_| io_error("make a token")(io::Error::other("no random bytes for it")))?;
        let found = highest(disk.as_ref())?;
        if found < seen {
            return Err(ClaimError::Missing { seen, found });
        }
        if found > seen {
            return Err(ClaimError::Overtaken { by: found });
        }
        let directory_lock = lock_shared(disk.as_ref(), member, seen)?;
        Claim::new(disk, member, token, seen + 1, (Way::Shared, directory_lock))
    }

    /// Claims a directory that nobody else may have open. A failed start takes it back with [`Claim::withdraw`].
    pub(crate) fn alone(disk: &Arc<dyn Disk>, holder: &str, token: [u8; 16]) -> Result<Claim, ClaimError> {
        let directory_lock = lock_alone(disk.as_ref(), holder)?;
        let number = 1 + highest(disk.as_ref())?;
        Claim::new(
            Arc::clone(disk),
            holder,
            token,
            number,
            (Way::Alone, Some(directory_lock)),
        )
    }

    fn new(
        disk: Arc<dyn Disk>,
        member: &str,
        token: [u8; 16],
        number: u64,
        (way, directory_lock): (Way, Option<Box<dyn DiskLock>>),
    ) -> Result<Claim, ClaimError> {
        let claim = ClaimFile {
            number,
            member: member.to_owned(),
            token,
            counter: 0,
        };
        let holding = place(&disk, &claim, way, directory_lock)?;
        let claim = Claim(Arc::new(Grip(Arc::new(holding))));
        disk.sync_directory().map_err(io_error("make the claim durable"))?;
        // Whoever saw fewer names than there are has not claimed the last tenure.
        let newest = highest(disk.as_ref())?;
        if newest > number {
            return Err(ClaimError::Overtaken { by: newest });
        }
        Ok(claim)
    }

    /// The tenure claimed, which is the epoch that the store opened with it will have.
    pub fn number(&self) -> u64 {
        self.0.0.number()
    }

    /// For whoever lets the lease go on, and looks before it answers.
    pub fn holding(&self) -> Arc<Holding> {
        Arc::clone(&self.0.0)
    }

    pub(crate) fn held(&self) -> &Holding {
        &self.0.0
    }

    /// Takes a claim back that was made alone, as if there had been no start: what it would have cut is not cut. Only where the
    /// one before is nobody's any more, and no other file has the number. Errors leave the claim there, which does no harm.
    pub(crate) fn withdraw(self, disk: &dyn Disk) {
        let holding = self.0.0.as_ref();
        let own = claim_name(holding.number());
        let is_before = |name: &String| *name == own || FileName::parse(name).epoch() < holding.number();
        let is_unused = disk.file_names().is_ok_and(|names| names.iter().all(is_before));
        let is_free = match disk.is_locked(&claim_name(holding.number() - 1)) {
            Ok(is_locked) => !is_locked,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let holds = matches!(holding.look(), Ok(Standpoint::Holds));
        if holding.is_alone() && is_free && is_unused && holds && disk.remove(&own).is_ok() {
            // A claim that comes back with a loss of power is one that was left behind.
            let _ = disk.sync_directory();
        }
    }
}

/// The highest number in any name.
fn highest(disk: &dyn Disk) -> Result<u64, ClaimError> {
    newest_epoch(disk).map_err(io_error("list the directory"))
}

/// Takes the lock of the directory, which keeps everybody else away.
fn lock_alone(disk: &dyn Disk, holder: &str) -> Result<Box<dyn DiskLock>, ClaimError> {
    let lock = match disk.lock(LOCK_NAME, holder) {
        Ok(lock) => lock,
        Err(LockError::Held(holder)) => return Err(ClaimError::Held { holder }),
        Err(LockError::Io(error)) => return Err(io_error("lock the journal")(error)),
    };
    let standing = standing_on(disk).map_err(io_error("read the newest claim"))?;
    match standing.claim.filter(|claim| claim.is_locked) {
        Some(claim) => Err(ClaimError::Held { holder: claim.member }),
        None => Ok(lock),
    }
}

/// Takes the lock of the directory when it is free; when it is not, whoever has it must be one who looks for claims.
fn lock_shared(disk: &dyn Disk, member: &str, seen: u64) -> Result<Option<Box<dyn DiskLock>>, ClaimError> {
    match disk.lock(LOCK_NAME, member) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held(holder)) => {
            let newest = claim_name(seen);
            if disk.exists(&newest).map_err(io_error(format!("look for {newest}")))? {
                Ok(None)
            } else {
                Err(ClaimError::Held { holder })
            }
        }
        Err(LockError::Io(error)) => Err(io_error("lock the journal")(error)),
    }
}

/// Creates the claim's file, locks it, and makes what it says durable.
fn place(
    disk: &Arc<dyn Disk>,
    claim: &ClaimFile,
    way: Way,
    directory_lock: Option<Box<dyn DiskLock>>,
) -> Result<Holding, ClaimError> {
    let name = claim_name(claim.number);
    let created = if is_planted(Fault::ClaimByRename) {
        let other = format!("{name}.{}", claim.member);
        disk.create(&other)
            .and_then(|file| disk.rename(&other, &name).map(|()| file))
    } else {
        disk.create(&name)
    };
    let created = match created {
        // Nobody else has the directory open, whose unfinished files count for nothing.
        Err(error) if is_full(&error) && way == Way::Alone && remove_unfinished(disk.as_ref())? => disk.create(&name),
        created => created,
    };
    let file = match created {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ClaimError::Overtaken { by: claim.number });
        }
        Err(error) => return Err(io_error(format!("create {name}"))(error)),
    };
    let lock = lock_new(disk.as_ref(), &name)?;
    let unwritten = match file.write_at(&claim.encode(), 0).and_then(|()| file.sync_data()) {
        Ok(()) => None,
        // What counts is the name, which is there, and would be after each further try. The start may find some space.
        Err(error) if is_full(&error) => Some(claim.clone()),
        Err(error) => return Err(io_error(format!("write {name}"))(error)),
    };
    Ok(Holding::new(
        Arc::clone(disk),
        claim.number,
        (file, unwritten),
        lock,
        directory_lock,
        way == Way::Alone,
    ))
}

/// Whether there were any.
fn remove_unfinished(disk: &dyn Disk) -> Result<bool, ClaimError> {
    let names = disk.file_names().map_err(io_error("list the directory"))?;
    let is_unfinished = |name: &&String| matches!(FileName::parse(name), FileName::Unfinished { .. });
    let unfinished: Vec<&String> = names.iter().filter(is_unfinished).collect();
    for name in &unfinished {
        remove_if_there(disk, name).map_err(io_error(format!("remove {name}")))?;
    }
    Ok(!unfinished.is_empty())
}

/// Locks the file of a new claim, in whose way only those can be who look whether it is locked.
fn lock_new(disk: &dyn Disk, name: &str) -> Result<Box<dyn DiskLock>, ClaimError> {
    let mut tries = 0;
    loop {
        match disk.lock_existing(name) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held(_)) if tries < LOCK_TRIES => {
                tries += 1;
                disk.pause(LOCK_PAUSE);
            }
            Err(LockError::Held(_)) => {
                let error = io::Error::new(io::ErrorKind::ResourceBusy, "somebody else has locked it");
                return Err(io_error(format!("lock {name}"))(error));
            }
            // Whoever claimed since is so far already that it removed what is before its own claim.
            Err(LockError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                let by = highest(disk)?;
                return Err(ClaimError::Overtaken { by });
            }
            Err(LockError::Io(error)) => return Err(io_error(format!("lock {name}"))(error)),
        }
    }
}
