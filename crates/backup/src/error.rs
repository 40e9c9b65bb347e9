//! Why a backup could not be made, read or restored.

use std::io;

use seaway_journal::OpenError;

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store cannot be read.
    #[error("the store cannot be backed up: {0}")]
    Store(OpenError),
    /// The store cannot be repaired.
    #[error("{0}")]
    Repair(OpenError),
    /// What is copied cannot be read any more, in words why.
    #[error("{0}")]
    Source(String),
    /// Bytes of what is copied are not given back by their medium, in words why. Others may be.
    #[error("{0}")]
    Unreadable(String),
    /// The operating system refused an operation.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted.
        action: String,
        /// Its error.
        source: io::Error,
    },
    /// A backup is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// What is asked for cannot be done as things are, in words why.
    #[error("{0}")]
    Refused(String),
}

pub(crate) fn io_error(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { action, source }
}
