//! Errors of the journal, one type per family of operations.

use std::io;

/// Why a journal could not be opened. Nothing was changed on disk unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("the journal is in use by another process ({holder})")]
    Locked {
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The directory holds the files of the original NATS Streaming server.
    #[error(
        "the directory holds the data of the original NATS Streaming server ({found}); \
         it is left untouched: choose another directory"
    )]
    ForeignStore {
        /// A file by which it was recognised.
        found: String,
    },
    /// A file is damaged where that cannot come from an interrupted write (docs/journal-format.md §9).
    #[error("the journal is damaged: {file} at offset {offset}: {reason}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// Offset in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The disk is full, so that not even the first segment can be prepared.
    #[error("no space to open the journal: {0}")]
    NoSpace(io::Error),
    /// The operating system refused an operation.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted.
        action: String,
        /// Its error.
        source: io::Error,
    },
}

/// Why nothing may be appended now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The disk is full; `Completion::SpaceBack` follows when it no longer is.
    #[error("no space left for new messages")]
    NoSpace,
    /// A write or sync failed; the journal takes nothing more until it is opened again.
    #[error("the journal takes no more writes: {0}")]
    Poisoned(String),
    /// The disk is behind; `Completion::SpaceBack` or `Completion::Durable` follows.
    #[error("the journal is behind")]
    Busy,
    /// No segment can ever hold it.
    #[error("the record is too large")]
    TooLarge,
}

/// Why a read failed: file, place and reason in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read from the journal: {0}")]
pub struct ReadError(pub String);
