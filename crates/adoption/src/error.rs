//! Why a directory was not taken over: always with what to do.

use std::io;
use std::path::{Path, PathBuf};

use seaway_original::Report;
use seaway_streaming::import::ImportError;

/// See the module. Unless a variant says otherwise nothing that counts was changed, and the original still starts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Original(#[from] seaway_original::Error),
    /// It cannot be taken over as things are.
    #[error("{0}")]
    Refused(String),
    /// Something was found that has to be settled first; the report says what.
    #[error("{place} cannot be taken over before what the report says is settled", place = .0.place)]
    Findings(Box<Report>),
    /// Something is damaged and would be left out; the report says what.
    #[error("some of what {place} held is damaged, and would be left out", place = .0.place)]
    Losses(Box<Report>),
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// The new store cannot be written.
    #[error("the new store in {}: {problem}", path.display())]
    Store {
        /// Where it is made.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Error {
        Error::Refused(error.to_string())
    }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    pub(crate) fn store(path: &Path, problem: impl ToString) -> Error {
        Error::Store {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }
}
