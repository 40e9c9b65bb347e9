//! A store at rest, read from end to end: what is damaged, which messages that concerns, and whether a server would start on it.
//! Changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use seaway_journal::disk::{Disk, trial::TrialDisk};
pub use seaway_journal::{Damage, LogId};
use seaway_journal::{Encryption, Journal, OpenError, Options};
use seaway_streaming::ChannelId;
use seaway_streaming::import::channel_of_fact;

use crate::at_rest::disk_at_rest;
use crate::file::{FileStoreError, Replaying};
use crate::port::Recovery;

/// Channels as a start finds them.
#[derive(Debug, Default)]
pub struct ChannelsFound {
    /// Names, as text; one that is deleted has none.
    pub names: BTreeMap<u64, String>,
    /// First and last sequence of those that ever had a message.
    pub bounds: BTreeMap<u64, (u64, u64)>,
    /// Messages that an earlier start gave up, or that are in no file.
    pub lost: u64,
}

impl Recovery for ChannelsFound {
    fn fact(&mut self, kind: u8, body: &[u8]) {
        if let Some((id, name)) = channel_of_fact(kind, body) {
            self.names.insert(id.0, String::from_utf8_lossy(&name).into_owned());
        }
    }
    fn channel_deleted(&mut self, channel: ChannelId) {
        self.names.remove(&channel.0);
    }
    fn lost(&mut self, _: ChannelId, from: u64, to: u64) {
        self.lost += (to + 1).saturating_sub(from);
    }
    fn channel(&mut self, channel: ChannelId, first: u64, last: u64, _: u64, _: i64) {
        self.bounds.insert(channel.0, (first, last));
    }
}

/// What [`verify`] found.
#[derive(Debug)]
pub struct Verification {
    /// Segment files.
    pub segments: u64,
    /// Whole records of messages in them, also of those that were trimmed and of copies.
    pub records: u64,
    /// Bytes read of segments and directories.
    pub bytes: u64,
    /// In the order of the files.
    pub damages: Vec<Damage>,
    /// Damages beyond those in the list.
    pub damages_not_listed: u64,
    /// As far as a start came.
    pub channels: ChannelsFound,
    /// Why the store does not open.
    pub refusal: Option<OpenError>,
    /// What a start would tell: an interrupted write that it cuts, files that are none of the store's.
    pub warnings: Vec<String>,
}

/// Damages that are listed.
const DAMAGES_LISTED_MAX: usize = 10_000;

/// Reads a store that no server uses. The key is needed when the store is encrypted.
///
/// # Errors
/// There is no store, a server uses it, the key is missing or wrong, or something cannot be read.
pub fn verify(directory: &Path, encryption: Option<Encryption>) -> Result<Verification, FileStoreError> {
    verify_on(disk_at_rest(directory)?, encryption)
}

/// As [`verify`], of a store on any disk.
///
/// # Errors
/// See [`verify`].
pub fn verify_on(disk: Arc<dyn Disk>, encryption: Option<Encryption>) -> Result<Verification, FileStoreError> {
    // Whatever is done to it from here on is not done to the disk.
    let disk: Arc<dyn Disk> = Arc::new(TrialDisk::new(disk));
    let (mut damages, mut damages_not_listed) = (Vec::new(), 0);
    let verified = seaway_journal::verify(disk.as_ref(), encryption.as_ref(), &mut |damage| {
        if damages.len() < DAMAGES_LISTED_MAX {
            damages.push(damage);
        } else {
            damages_not_listed += 1;
        }
    })?;
    let mut channels = ChannelsFound::default();
    let (refusal, warnings) = match start(&disk, encryption, &mut channels) {
        Ok(warnings) => (None, warnings),
        Err(error @ OpenError::Locked { .. }) => return Err(FileStoreError::Journal(error)),
        Err(error) => (Some(error), Vec::new()),
    };
    Ok(Verification {
        segments: verified.segments,
        records: verified.records,
        bytes: verified.bytes,
        damages,
        damages_not_listed,
        channels,
        refusal,
        warnings,
    })
}

/// The channels of a store that no server uses, as a start finds them.
///
/// # Errors
/// See [`verify`]; the store does not open.
pub fn channels(directory: &Path, encryption: Option<Encryption>) -> Result<ChannelsFound, FileStoreError> {
    let mut channels = ChannelsFound::default();
    start(&disk_at_rest(directory)?, encryption, &mut channels)?;
    Ok(channels)
}

/// Starts on a disk on which nothing lasts; what the start would tell.
fn start(
    trial: &Arc<dyn Disk>,
    encryption: Option<Encryption>,
    channels: &mut ChannelsFound,
) -> Result<Vec<String>, OpenError> {
    let options = Options {
        encryption,
        ..Options::new([0; 16])
    };
    let mut replaying = Replaying {
        recovery: channels,
        progress: Arc::default(),
    };
    let (_, opened) = Journal::open(trial, options, &mut replaying)?;
    Ok(crate::file::opening_warnings(&opened))
}
