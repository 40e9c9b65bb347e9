//! Backups of a store: made, listed, pruned, verified, restored. `docs/backup.md` describes their format.
//!
//! A backup is an *image* of a store (files, and how much of each) with a checksum for every file in a *manifest*. It lies in a
//! [`Repository`], a directory where files are named by their content and those of many backups are shared, or in an [`archive`], a
//! stream that can go anywhere. What a server archives all the time, to be had as it was at any moment, is a [`History`]. Where an image comes from, a directory at rest or a running server, is a [`Source`]'s business.

pub mod archive;
mod contents;
mod copying;
mod digest;
mod error;
mod history;
mod limits;
mod manifest;
mod names;
mod pace;
mod progress;
mod repair;
mod repository;
mod restore;
mod source;
mod tar;
mod verify;

pub use error::Error;
pub use history::{
    Archived, Archiver, History, HistoryVerified, Moment, Pruned, Reach, Step, Stretch, StretchVerified,
};
pub use limits::FILES_MAX;
pub use manifest::{Manifest, ManifestFile};
pub use names::is_history;
pub use pace::Pace;
pub use progress::Progress;
pub use repair::{Remedy, Repaired, Repairing, identity_of, repair, repair_on};
pub use repository::{Listed, Made, Making, Reading, Repository, is_repository};
pub use restore::{Change, restore, restore_archive, restore_archive_on, restore_on};
pub use source::{Origin, Rest, Source, SourceFile};
pub use verify::{BackupVerified, DamagedFile, open_archive, verify, verify_archive};
