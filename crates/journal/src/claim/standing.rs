//! What a directory says of who serves there.

use super::file::ClaimFile;
use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::format::{FileName, claim_name, epoch_name};
use std::io;
use std::path::Path;

/// What a directory says of who serves there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The highest number in any name; 0 when there is none.
    pub number: u64,
    /// The claim of that number; none when it was opened by a version that makes none, or the claim has gone.
    pub claim: Option<SeenClaim>,
}

/// A claim, as somebody else sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenClaim {
    /// The tenure it claims.
    pub number: u64,
    /// What its holder says of itself; empty when its file is not whole yet or cannot be read.
    pub member: String,
    /// Tells this claim from every other one; zeros when its file is not whole yet or cannot be read.
    pub token: [u8; 16],
    /// Goes up as long as its holder reaches the directory and has not found itself deposed.
    pub counter: u64,
    /// Whether the file is locked: not when its holder has ended.
    pub is_locked: bool,
}

/// Reads the newest claim of a directory and whether it is locked. Changes nothing; a directory that is not there is an error.
///
/// # Errors
/// The directory cannot be listed, or does not tell whether the claim is locked. A claim that cannot be read is one that is not whole.
pub fn standing(directory: &Path) -> io::Result<Standing> {
    standing_on(&RealDisk::existing(directory)?)
}

/// As [`standing`], on any disk.
///
/// # Errors
/// See [`standing`].
pub fn standing_on(disk: &dyn Disk) -> io::Result<Standing> {
    let number = newest_epoch(disk)?;
    let claim = seen_claim(disk, number)?;
    Ok(Standing { number, claim })
}

/// As [`standing`], by who knows what it said before: while that is still so this looks up three names, however many files there are.
///
/// # Errors
/// See [`standing`].
pub fn standing_after(directory: &Path, before: &Standing) -> io::Result<Standing> {
    standing_after_on(&RealDisk::existing(directory)?, before)
}

/// As [`standing_after`], on any disk.
///
/// # Errors
/// See [`standing`].
pub fn standing_after_on(disk: &dyn Disk, before: &Standing) -> io::Result<Standing> {
    let (number, next) = (before.number, before.number + 1);
    // A later tenure begins with the next claim, which stays until this one has gone; one of a version without claims with its epoch.
    let is_newest = before.claim.is_some() && !disk.exists(&claim_name(next))? && !disk.exists(&epoch_name(next))?;
    let claim = if is_newest { seen_claim(disk, number)? } else { None };
    match claim {
        Some(_) => Ok(Standing { number, claim }),
        None => standing_on(disk),
    }
}

/// The claim of a number, when there is one.
fn seen_claim(disk: &dyn Disk, number: u64) -> io::Result<Option<SeenClaim>> {
    let name = claim_name(number);
    let is_locked = match disk.is_locked(&name) {
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => {
            let text = format!("look whether {name} is locked: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
        Ok(is_locked) => is_locked,
    };
    // Only the lock decides: what cannot be read tells as little as what is not whole.
    let read = disk.open_to_read(&name).and_then(|file| ClaimFile::read(file.as_ref()));
    let claim = match read {
        Err(error) if is_gone(&error) => return Ok(None),
        read => read.ok().flatten().unwrap_or(ClaimFile {
            number,
            member: String::new(),
            token: [0; 16],
            counter: 0,
        }),
    };
    Ok(Some(SeenClaim {
        number,
        member: claim.member,
        token: claim.token,
        counter: claim.counter,
        is_locked,
    }))
}

/// The highest epoch that a file in the journal's directory is named after, claims included; 0 when there is none. Reads names only.
///
/// # Errors
/// The directory cannot be listed.
pub fn newest_epoch(disk: &dyn Disk) -> io::Result<u64> {
    let names = disk.file_names()?;
    Ok(names
        .iter()
        .map(|name| FileName::parse(name).epoch())
        .max()
        .unwrap_or(0))
}

/// Whether an error says that a file went away.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
