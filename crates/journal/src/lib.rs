//! A group-committed write-ahead log shared by many message logs.
//!
//! The journal keeps two classes of record durable: *messages*, which live until they are trimmed or their log is deleted,
//! and *facts*, which live until a checkpoint covers them. It does not know what either means. Its format is described in
//! `docs/journal-format.md`.
//!
//! [`Journal`] is a state machine: calls change memory and queue [`Job`]s; whoever drives it runs jobs and gives their
//! [`Outcome`]s back. [`Driver`] does so with threads; a simulator may run each job at a moment of its choosing. The
//! journal reads no clock and starts no thread.
//!
//! Inside it is made of parts that nobody else reaches into: `record_log` (append, batches, commit, the segments to come),
//! `segments` (which files there are, which may go), `index` (where the messages of each log are), `checkpoints`, `reads`.
//! They meet in `journal` alone, and `recovery` makes them at a start.
//!
//! A journal may be a member's of a cluster ([`Durability::Quorum`]): its batches are entries then, and count once whoever replicates says
//! that a quorum has them. It knows neither the others nor what a quorum is.

mod archive;
mod batch;
mod check;
mod checkpoint_file;
mod checkpoints;
mod claim;
mod completion;
mod directory;
mod directory_file;
pub mod disk;
mod driver;
mod encryption;
mod entry;
mod entry_read;
mod entry_records;
mod error;
mod fetch;
mod format;
mod image;
mod index;
mod job;
mod journal;
pub mod limits;
mod lost_log;
mod messages;
mod names;
mod options;
mod pinned;
#[cfg(feature = "simulated")]
pub mod planted;
#[cfg(not(feature = "simulated"))]
mod planted;
mod reads;
mod record;
mod record_log;
mod recovery;
mod repair;
mod scope;
mod segments;
mod statistics;
mod verdict;
mod verification;
mod vote;
mod whole_file;

pub use archive::{CutFound, FollowError, Follower, ImageFileKind, Mark, ReadSegment, image_file_kind};
pub use check::FileCheck;
pub use checkpoints::CheckpointError;
pub use claim::{
    Claim, ClaimError, Holding, SeenClaim, Standing, Standpoint, newest_epoch, standing, standing_after,
    standing_after_on, standing_on,
};
pub use completion::Completion;
pub use driver::{Commit, Driver};
pub use encryption::{Cipher, Encryption};
pub use entry::{Closed, Durability, Entry, EntryAnswer, EntryError, EntryId, EntryKind, EntryMeta, Members};
pub use error::{OpenError, ReadError, Refusal};
pub use format::{
    GUARD, GUARD_NAME, Identity, LIFE_NAME, LOCK_NAME, Life, TAKEN_OVER_FOLDER, TAKEN_OVER_LOCK_NAME, encode_life,
    is_claim, is_image_file, is_journal_file,
};
pub use image::{Image, ImageFile, ImagePlan};
pub use job::{Job, Lane, Outcome};
pub use journal::Journal;
pub use messages::{LogBounds, Messages, Ticket};
pub use names::{LogId, Need, Position};
pub use options::{DamagePolicy, Options};
pub use pinned::{FoldError, FoldFor, FoldJob, Folded};
pub use record::MESSAGE_OVERHEAD_BYTES;
pub use recovery::{
    BACKUPS_LOCK_NAME, CutReport, Opened, RESTORING_PREFIX, RecoveredLog, Replay, check_fit, has_epoch, is_member,
    life_of, newest_identity,
};
pub use repair::{Donor, Remedy, Repair, Repairing, Runs, repair};
pub use statistics::{Histogram, Statistics};
pub use verification::{Damage, Verified, verify};
pub use vote::Vote;
