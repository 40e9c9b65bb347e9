//! How a journal is repaired, and what is done about what is found.

use crate::disk::Disk;
use crate::encryption::Encryption;
use crate::names::LogId;

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
