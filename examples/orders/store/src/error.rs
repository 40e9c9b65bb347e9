//! What can go wrong with a database, by what may be done about it.

/// Why a store could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of the database makes no sense.
    #[error("invalid database {url:?}: {why}")]
    InvalidUrl {
        /// The address, without its password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Other transactions came first, again and again. Nothing was changed.
    #[error("too many transactions at once: {0}")]
    Conflict(String),
    /// The connection broke during a commit, again and again. The change may or may not be there; asking again is safe.
    #[error("nobody knows whether the transaction was committed: {0}")]
    UnknownOutcome(String),
    /// The database cannot be reached.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// The tables were made by a newer program.
    #[error(
        "the tables of {component} have version {found}, this program knows versions up to {known}: use a newer one"
    )]
    TooNew {
        /// Which tables.
        component: &'static str,
        /// Their version.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The database refused, or holds what does not belong there.
    #[error("the database failed: {0}")]
    Failed(String),
}

impl Error {
    /// Whether trying later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::UnknownOutcome(_) | Self::Unavailable(_))
    }
}
