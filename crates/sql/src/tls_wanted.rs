//! What is wanted of an encrypted connection.

use std::path::PathBuf;

/// How a connection is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// What of the other side's certificate is looked at.
    pub(crate) verify: Verify,
    /// PEM file with the roots that are trusted instead of the system's.
    pub(crate) roots: Option<PathBuf>,
    /// PEM files with a certificate of our own and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// See [`Tls::verify`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Nothing: it is encrypted, and who is there nobody knows.
    Nothing,
    /// Who has signed it.
    Authority,
    /// That, and that it names the host.
    #[default]
    Host,
}
