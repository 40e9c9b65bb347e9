//! Mends what [`verify`](crate::verify) finds, as far as that is possible without guessing: directory files are made again from their
//! segments, and what is damaged or missing is taken from copies of the same journal. Segments never change once they are written, so a
//! copy is one when everything that is whole is the same in both. Nothing that is whole is written to.

mod files;
mod segment;

use crate::directory::read_summary;
use crate::disk::Disk;
use crate::encryption::Encryption;
use crate::error::OpenError;
use crate::format::Identity;
use crate::image::lock;
use crate::names::LogId;
use crate::recovery::files::Files;
use crate::verification::{Damage, Lack, Order, check_checkpoint, no_epoch, unlocked_files};
use segment::Mending;

/// What is done about something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// A directory file is made again from its segment.
    Made,
    /// The bytes, or the file, are taken from the copy.
    Copied,
    /// Nothing; why, in words.
    None(String),
}

/// Whether anything is written to the files that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repairing {
    /// It is only said what would be. To be called on a [`TrialDisk`](crate::disk::trial::TrialDisk), which has the mended store then.
    Rehearsal,
    /// It is.
    Reality,
}

/// Another directory with files of the same journal: a backup, or a copy of an earlier time.
#[derive(Clone, Copy)]
pub struct Donor<'a> {
    /// Its files.
    pub disk: &'a dyn Disk,
    /// It is known to be of this life of the journal: no restore lies between the two. Files that nothing else vouches for are
    /// taken from such a copy alone.
    pub is_own_life: bool,
}

/// Messages in runs: log, first and last sequence.
pub type Runs = [(LogId, u64, u64)];

/// How a journal is repaired.
pub struct Repair<'a> {
    /// The key, when it is encrypted.
    pub encryption: Option<&'a Encryption>,
    /// What is taken from; the first that has it counts.
    pub copies: &'a [Donor<'a>],
    /// See [`Repairing`].
    pub repairing: Repairing,
    /// Whether any of these messages is still needed: files without such are not missed.
    pub is_live: &'a dyn Fn(&Runs) -> bool,
    /// Messages that are in no file, as a start finds out.
    pub lost: &'a Runs,
}

/// Goes through everything that [`verify`](crate::verify) reads, and mends what is damaged; `told` hears of each damage and of what is
/// done about it. The journal is locked meanwhile.
///
/// # Errors
/// There is no journal, somebody uses it, its key is missing or wrong, what opens its epochs is damaged and in no copy, or the directory
/// cannot be read or written.
pub fn repair(disk: &dyn Disk, repair: &Repair<'_>, told: &mut dyn FnMut(Damage, Remedy)) -> Result<(), OpenError> {
    let _lock = lock(disk, "seaway repair")?;
    repair.epochs(disk, told)?;
    let files = unlocked_files(disk, repair.encryption)?;
    let identity = files.newest_epoch().ok_or_else(no_epoch)?.identity;
    if let Some(damage) = check_checkpoint(disk, &files, identity)? {
        let remedy = repair.whole_file(disk, &damage.file, identity)?;
        told(damage, remedy);
    }
    let lacks = repair.segments(disk, &files, identity, told)?;
    for lack in lacks {
        repair.lack(disk, &files, identity, lack, told)?;
    }
    repair.lost_messages(disk, &files, identity, told)
}

impl Repair<'_> {
    /// Mends the segments that are there, and finds those that are not.
    fn segments(
        &self,
        disk: &dyn Disk,
        files: &Files,
        identity: Identity,
        told: &mut dyn FnMut(Damage, Remedy),
    ) -> Result<Vec<Lack>, OpenError> {
        let (mut order, mut lacks) = (Order::begin(disk, files, identity), Vec::new());
        for id in files.segments_and_orphans() {
            if !files.segments.contains_key(&id) {
                order.missing(id, read_summary(disk, &identity, id), &mut |lack| lacks.push(lack));
                continue;
            }
            let mending = Mending {
                disk,
                repair: self,
                known: files.known(id, identity),
            };
            let read = mending.segment(files.directories.contains_key(&id), told)?;
            order.next(id, read.as_ref(), &mut |lack| lacks.push(lack));
        }
        order.end(&mut |lack| lacks.push(lack));
        lacks.retain(|lack| lack.damage.messages.is_empty() || (self.is_live)(&lack.damage.messages));
        Ok(lacks)
    }
}
