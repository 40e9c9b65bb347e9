//! Reads every file of a journal and checks all that can be checked, whether or not a start would look at it: checksums of batches,
//! records and checkpoints, that directories say what their segments hold, and that nothing is missing between them
//! (docs/journal-format.md §3 to §8). Changes nothing.

mod damage;
mod order;
mod readable;
mod segment;

use crate::check::FileCheck;
use crate::directory::read_summary;
use crate::disk::Disk;
use crate::encryption::Encryption;
use crate::error::OpenError;
use crate::format::{Identity, VOTE_NAME, checkpoint_name};
use crate::limits::PIECE_BYTES;
use crate::options::Options;
use crate::recovery::files::{ABOVE_ALL, Files, peek_newest_epoch};
use crate::recovery::{io_error, unlock};
use crate::vote;
pub use damage::Damage;
pub(crate) use order::{Lack, LackOf, Order};
pub(crate) use readable::is_unreadable;
pub(crate) use segment::{Read, Segment, Told};

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segment files that count.
    pub segments: u64,
    /// Whole records of messages in them, also of those that were trimmed and of copies.
    pub records: u64,
    /// Bytes of segments and directories.
    pub bytes: u64,
    /// The journal is a member's of a cluster (docs/journal-format.md §14).
    pub is_member: bool,
    /// Of a member's: there is a file with its votes. A backup has none, and whoever goes on from it needs a new node id.
    pub has_votes: bool,
}

/// The files of a journal whose key fits.
pub(crate) fn unlocked_files(disk: &dyn Disk, encryption: Option<&Encryption>) -> Result<Files, OpenError> {
    let newest = peek_newest_epoch(disk)?;
    let options = Options {
        encryption: encryption.cloned(),
        ..Options::new([0; 16])
    };
    unlock(newest.as_ref(), &options)?;
    Files::list(disk, ABOVE_ALL)
}

/// Reads all segments that count, their directories and the newest checkpoint; `told` hears of each damage. One segment at a time is in
/// memory. What cannot be read is damaged.
///
/// # Errors
/// There is no journal, its key is missing or wrong, what opens its epochs is damaged, or the directory cannot be read.
pub fn verify(
    disk: &dyn Disk,
    encryption: Option<&Encryption>,
    told: &mut dyn FnMut(Damage),
) -> Result<Verified, OpenError> {
    let files = unlocked_files(disk, encryption)?;
    let newest = files.newest_epoch().ok_or_else(no_epoch)?;
    let identity = newest.identity;
    let mut verified = Verified {
        is_member: newest.is_member,
        ..Verified::default()
    };
    if newest.is_member {
        verified.has_votes = check_vote(disk, identity, told)?;
    }
    if let Some(damage) = check_checkpoint(disk, &files, identity)? {
        told(damage);
    }
    let mut order = Order::begin(disk, &files, identity);
    for id in files.segments_and_orphans() {
        if !files.segments.contains_key(&id) {
            order.missing(id, read_summary(disk, &identity, id), &mut |lack| told(lack.damage));
            continue;
        }
        let has_directory = files.directories.contains_key(&id);
        let segment = Segment::read(disk, files.known(id, identity))?;
        verified.segments += 1;
        verified.bytes += segment.bytes.len() as u64;
        let walked = segment.walk();
        verified.records += walked.records;
        let summary = match has_directory {
            true => segment.directory(&walked, &mut verified.bytes, told)?,
            false => None,
        };
        let holes = segment.holes(&walked, summary.as_ref());
        let whole = holes.is_empty().then_some(&walked);
        order.next(id, whole, &mut |lack| told(lack.damage));
        holes.into_iter().for_each(&mut *told);
    }
    order.end(&mut |lack| told(lack.damage));
    Ok(verified)
}

pub(crate) fn no_epoch() -> OpenError {
    OpenError::Refused(
        "no file opens an epoch (epoch-….epoch): the directory holds no store, or one that lost these files".to_owned(),
    )
}

/// Whether there is a file with a member's votes; `told` hears when it says nothing.
fn check_vote(disk: &dyn Disk, identity: Identity, told: &mut dyn FnMut(Damage)) -> Result<bool, OpenError> {
    let reason = match vote::read(disk, &identity) {
        Ok(None) => return Ok(false),
        Ok(Some(Ok(_))) => return Ok(true),
        Ok(Some(Err(reason))) => reason,
        Err(error) if is_unreadable(&error) => format!("it cannot be read: {error}"),
        Err(error) => return Err(io_error("read the file vote")(error)),
    };
    told(Damage::of_file(VOTE_NAME.to_owned(), reason));
    Ok(true)
}

/// What is wrong with the checkpoint from which a start begins.
pub(crate) fn check_checkpoint(
    disk: &dyn Disk,
    files: &Files,
    identity: Identity,
) -> Result<Option<Damage>, OpenError> {
    let Some(&(position, epoch)) = files.checkpoints.last() else {
        return Ok(None);
    };
    let name = checkpoint_name(position, epoch);
    let checked = check_file(disk, &name, identity)?;
    Ok(checked.err().map(|reason| Damage::of_file(name, reason)))
}

/// Checks a file of a journal on its own, whatever it is; the inner error says what is wrong.
///
/// # Errors
/// The operating system has no means to read it now.
pub(crate) fn check_file(disk: &dyn Disk, name: &str, identity: Identity) -> Result<Result<(), String>, OpenError> {
    let read = || {
        let file = disk.open_to_read(name)?;
        let length = file.length()?;
        let (mut check, mut offset) = (FileCheck::begin(name, identity, length), 0);
        let mut bytes = vec![0; PIECE_BYTES];
        while offset < length {
            let piece = &mut bytes[..(length - offset).min(PIECE_BYTES as u64) as usize];
            file.read_at(piece, offset)?;
            check.add(piece);
            offset += piece.len() as u64;
        }
        Ok(check.finish())
    };
    match read() {
        Err(error) if is_unreadable(&error) => Ok(Err(format!("it cannot be read: {error}"))),
        checked => checked.map_err(io_error(format!("read {name}"))),
    }
}
