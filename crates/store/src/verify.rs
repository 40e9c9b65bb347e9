//! A store at rest, read from end to end: what is damaged, which messages that concerns, and whether a server would start on it.
//! Changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use seaway_journal::disk::{Disk, trial::TrialDisk};
pub use seaway_journal::{Damage, LogId};
use seaway_journal::{DamagePolicy, Durability, Encryption, Journal, OpenError, Options, is_member};
use seaway_streaming::ChannelId;
use seaway_streaming::import::channel_of_fact;

use crate::at_rest::disk_at_rest;
use crate::file::FileStoreError;
use crate::journaled::Replaying;
use crate::port::Recovery;

/// Channels as a start finds them.
#[derive(Debug, Default)]
pub struct ChannelsFound {
    /// Names, as text; one that is deleted has none.
    pub names: BTreeMap<u64, String>,
    /// First and last sequence of those that ever had a message; of none when a start refuses.
    pub bounds: BTreeMap<u64, (u64, u64)>,
    /// Messages that an earlier start gave up, or that are in no file.
    pub lost: u64,
    /// Which those are: channel, first and last sequence. The first ten thousand runs.
    pub lost_runs: Vec<(LogId, u64, u64)>,
}

impl ChannelsFound {
    /// Whether any of these messages, in runs, was not removed.
    pub fn has_any(&self, runs: &[(LogId, u64, u64)]) -> bool {
        let is_there = |(channel, _, last): &(LogId, u64, u64)| {
            let bounds = self.bounds.get(&channel.0);
            bounds.is_some_and(|(first, _)| last >= first)
        };
        runs.iter().any(is_there)
    }
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
    fn lost(&mut self, channel: ChannelId, from: u64, to: u64) {
        self.lost += (to + 1).saturating_sub(from);
        if self.lost_runs.len() < DAMAGES_LISTED_MAX {
            self.lost_runs.push((LogId(channel.0), from, to));
        }
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
    /// The store is one of a member of a cluster.
    pub is_member: bool,
    /// Of a member: there is a file with its votes. A backup has none.
    pub has_votes: bool,
    /// In the order of the files.
    pub damages: Vec<Damage>,
    /// Damages beyond those in the list.
    pub damages_not_listed: u64,
    /// What a start has; when it refuses, what one has that gives up what is damaged.
    pub channels: ChannelsFound,
    /// Why the store does not open.
    pub refusal: Option<OpenError>,
    /// It opens when what is damaged is given up: then `channels` says what is lost.
    pub may_give_up: bool,
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
    let (mut damages, mut damages_not_listed) = (Vec::new(), 0);
    let verified = seaway_journal::verify(disk.as_ref(), encryption.as_ref(), &mut |damage| {
        if damages.len() < DAMAGES_LISTED_MAX {
            damages.push(damage);
        } else {
            damages_not_listed += 1;
        }
    })?;
    let started = start_on(&disk, encryption)?;
    let is_known = started.refusal.is_none();
    // A file that is not there is not missed when all its messages were removed before.
    damages.retain(|damage| {
        !damage.is_missing || damage.messages.is_empty() || !is_known || started.channels.has_any(&damage.messages)
    });
    Ok(Verification {
        segments: verified.segments,
        records: verified.records,
        bytes: verified.bytes,
        is_member: verified.is_member,
        has_votes: verified.has_votes,
        damages,
        damages_not_listed,
        channels: started.channels,
        refusal: started.refusal,
        may_give_up: started.may_give_up,
        warnings: started.warnings,
    })
}

/// What a start finds, tried without one.
#[derive(Debug)]
pub struct Started {
    /// As in [`Verification`].
    pub channels: ChannelsFound,
    /// As in [`Verification`].
    pub refusal: Option<OpenError>,
    /// As in [`Verification`].
    pub may_give_up: bool,
    /// What it would tell.
    pub warnings: Vec<String>,
}

/// Tries to start on a disk, which stays as it is; when that is refused, also to give up what is damaged.
///
/// # Errors
/// Somebody uses the store.
pub fn start_on(disk: &Arc<dyn Disk>, encryption: Option<Encryption>) -> Result<Started, FileStoreError> {
    let attempt = |damage: DamagePolicy| {
        // Whatever is done to it from here on is not done to the disk.
        let trial: Arc<dyn Disk> = Arc::new(TrialDisk::new(Arc::clone(disk)));
        let mut channels = ChannelsFound::default();
        let started = start(&trial, encryption.clone(), damage, &mut channels);
        started.map(|warnings| (channels, warnings))
    };
    let refusal = match attempt(DamagePolicy::Stop) {
        Ok((channels, warnings)) => {
            return Ok(Started {
                channels,
                refusal: None,
                may_give_up: false,
                warnings,
            });
        }
        Err(error @ OpenError::Locked { .. }) => return Err(FileStoreError::Journal(error)),
        Err(error) => error,
    };
    let given_up = match refusal {
        OpenError::Damaged { .. } => attempt(DamagePolicy::CutThere).ok(),
        _ => None,
    };
    let may_give_up = given_up.is_some();
    let (mut channels, warnings) = given_up.unwrap_or_default();
    // Where channels begin and end then says nothing of what was removed before.
    channels.bounds.clear();
    Ok(Started {
        channels,
        refusal: Some(refusal),
        may_give_up,
        warnings,
    })
}

/// The channels of a store that no server uses, as a start finds them.
///
/// # Errors
/// See [`verify`]; the store does not open.
pub fn channels(directory: &Path, encryption: Option<Encryption>) -> Result<ChannelsFound, FileStoreError> {
    let mut channels = ChannelsFound::default();
    start(&disk_at_rest(directory)?, encryption, DamagePolicy::Stop, &mut channels)?;
    Ok(channels)
}

/// Starts on a disk on which nothing lasts; what the start would tell.
fn start(
    trial: &Arc<dyn Disk>,
    encryption: Option<Encryption>,
    damage: DamagePolicy,
    channels: &mut ChannelsFound,
) -> Result<Vec<String>, OpenError> {
    let durability = match is_member(trial.as_ref())? {
        true => Durability::Quorum,
        false => Durability::Local,
    };
    let options = Options {
        encryption,
        damage,
        durability,
        // A copy has none, and what is wrong with those of a store that is none is told by itself.
        votes_anew: true,
        ..Options::new([0; 16])
    };
    let mut replaying = Replaying {
        recovery: channels,
        progress: Arc::default(),
    };
    let (_, opened) = Journal::open(trial, options, &mut replaying)?;
    Ok(crate::file::opening_warnings(&opened))
}
