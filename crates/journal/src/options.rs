//! What the owner of a journal may choose.

use crate::claim::Claim;
use crate::encryption::Encryption;
use crate::entry::{Durability, EntryId};
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
    /// When a record counts: with a quorum the journal is a member's of a cluster, and what is appended are entries
    /// (docs/journal-format.md §14).
    pub durability: Durability,
    /// Of a member's: everything behind this entry is cut off. An error when some of that is committed, or it is not there.
    pub cut_after: Option<EntryId>,
    /// A journal that was a member's goes on alone: everything in it counts, whatever a quorum has. Otherwise that is refused.
    pub leaves_cluster: bool,
    /// Of a member's: it gets a new node id, and has promised nobody anything. What the file of its votes says is not looked at.
    pub votes_anew: bool,
    /// Of a member's: bytes of segments that are kept for entries alone ([`Journal::retain_from`](crate::Journal::retain_from)).
    pub entry_bytes_kept: u64,
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
            durability: Durability::Local,
            cut_after: None,
            leaves_cluster: false,
            votes_anew: false,
            entry_bytes_kept: limits::ENTRY_BYTES_KEPT_DEFAULT,
            unarchived_bytes_max: None,
            claim: None,
        }
    }
}
