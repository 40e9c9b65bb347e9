//! What a directory says of who serves there.

use super::file::ClaimFile;
use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::format::{FileName, claim_name};
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
    /// What its holder says of itself; empty when its file is not whole yet.
    pub member: String,
    /// Tells this claim from every other one; zeros when its file is not whole yet.
    pub token: [u8; 16],
    /// Goes up as long as its holder reaches the directory and has not found itself deposed.
    pub counter: u64,
    /// Whether the file is locked: not when its holder has ended.
    pub is_locked: bool,
}

/// Reads the newest claim of a directory and whether it is locked. Changes nothing; a directory that is not there is an error.
///
/// # Errors
/// The directory or the claim cannot be read.
pub fn standing(directory: &Path) -> io::Result<Standing> {
    standing_on(&RealDisk::existing(directory)?)
}

/// As [`standing`], on any disk.
///
/// # Errors
/// The directory or the claim cannot be read.
pub fn standing_on(disk: &dyn Disk) -> io::Result<Standing> {
    let number = newest_epoch(disk)?;
    let name = claim_name(number);
    let read = || {
        let file = disk.open(&name)?;
        Ok((ClaimFile::read(file.as_ref())?, disk.is_locked(&name)?))
    };
    let claim = match read() {
        Ok((claim, is_locked)) => {
            let claim = claim.unwrap_or(ClaimFile {
                number,
                member: String::new(),
                token: [0; 16],
                counter: 0,
            });
            Some(SeenClaim {
                number,
                member: claim.member,
                token: claim.token,
                counter: claim.counter,
                is_locked,
            })
        }
        Err(error) if is_gone(&error) => None,
        Err(error) => return Err(error),
    };
    Ok(Standing { number, claim })
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
