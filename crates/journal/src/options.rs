//! What the owner of a journal may choose.

use crate::claim::Claim;
use crate::encryption::Encryption;
use crate::format::Identity;
use crate::limits;

/// What to do about damage that no interrupted write explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DamagePolicy {
    /// Refuse to start and say where it is.
    #[default]
    Stop,
    /// Give up everything from the damage on: cut there, keep copies, set later segments aside, and do without messages that are in no
    /// segment. Refused at the next start after one that did so.
    CutThere,
}

/// How a journal is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether commits are synced. Without it, acknowledged messages may be lost with the power.
    pub sync: bool,
    /// Capacity of ordinary segments, bytes; the first of an epoch is smaller and they double.
    pub segment_bytes_max: u64,
    /// Bound of the memory from which the newest messages are served.
    pub tail_cache_bytes: usize,
    /// Bytes that may be appended but not durable before publishes are refused as busy.
    pub backlog_bytes_max: u64,
    /// Bytes of tail after which a checkpoint is asked for (or twice the size of the last one, if that is more).
    pub checkpoint_bytes: u64,
    /// Random bytes that name the journal; used when it is created.
    pub identity: Identity,
    /// What is written into the lock file, for whoever is refused.
    pub holder: String,
    /// What to do about damage.
    pub damage: DamagePolicy,
    /// How to encrypt what is written; needed to open a journal that is encrypted.
    pub encryption: Option<Encryption>,
    /// The journal is archived ([`Journal::archive_image`](crate::Journal::archive_image)): it keeps what is not, up to so many bytes of
    /// segments that could go otherwise.
    pub unarchived_bytes_max: Option<u64>,
    /// The claim with which it is opened; without one the journal has the directory for itself, and makes its own.
    pub claim: Option<Claim>,
}

impl Options {
    /// Defaults: synced, 64 MiB segments, 64 MiB of cache.
    pub fn new(identity: Identity) -> Options {
        Options {
            sync: true,
            segment_bytes_max: limits::SEGMENT_BYTES_MAX_DEFAULT,
            tail_cache_bytes: limits::TAIL_CACHE_BYTES_DEFAULT,
            backlog_bytes_max: limits::BACKLOG_BYTES_MAX_DEFAULT,
            checkpoint_bytes: limits::CHECKPOINT_BYTES_DEFAULT,
            identity,
            holder: crate::disk::real::holder_description(),
            damage: DamagePolicy::Stop,
            encryption: None,
            unarchived_bytes_max: None,
            claim: None,
        }
    }
}
