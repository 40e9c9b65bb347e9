//! How a command fails: the words for people, and the exit code for scripts.

use std::io;
use std::process::ExitCode;

/// What kind of failure; each has its exit code, listed in `docs/command-line.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was asked for was refused, or went wrong on the way.
    Failed = 1,
    /// The command line asks for something that cannot be.
    Usage = 2,
    /// The channel, durable, client or context does not exist.
    NotFound = 3,
    /// Nobody answers, or not in time.
    NoServer = 4,
    /// The server knows who asks, and says no; or does not know who asks.
    NotAuthorized = 5,
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be told to the user.
    Told(Kind, String),
    /// Stored bytes that the server's medium does not give back. Who asks may go on without them.
    Unreadable(String),
    /// Whoever read the output has gone: nobody is left to be told.
    ReaderGone,
}

/// What most of this crate returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::Told(kind, message.into())
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The code that the process ends with. A reader that has had enough (`| head`) is no failure.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Told(kind, _) => ExitCode::from(*kind as u8),
            Self::Unreadable(_) => ExitCode::from(Kind::Failed as u8),
            Self::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

/// Errors of writing the output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}
