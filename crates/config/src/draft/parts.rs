//! What groups of options say before it is known what they decide together.

use std::path::PathBuf;
use std::time::Duration;

use crate::options::{ClusterPeer, Credentials, MemberAddress, RouteUrl, Secret};

/// Encryption as its options say it.
#[derive(Debug, Default)]
pub(crate) struct EncryptionDraft {
    pub(crate) is_on: bool,
    pub(crate) cipher: Option<String>,
    pub(crate) key: Option<Secret>,
}

/// Fault tolerance as its options say it.
#[derive(Debug, Default)]
pub(crate) struct FaultToleranceDraft {
    pub(crate) group: Option<String>,
    pub(crate) lease: Duration,
}

/// The archive as its options say it.
#[derive(Debug, Default)]
pub(crate) struct ArchiveDraft {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) keep: Option<Duration>,
    pub(crate) max_backlog: u64,
}

/// Credentials that clients must present, as flags say it.
#[derive(Debug, Default)]
pub(crate) struct LoginFlags {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) token: Option<Secret>,
}

/// TLS as flags say it; `None` where a flag was not given.
#[derive(Debug, Default)]
pub(crate) struct TlsFlags {
    pub(crate) is_on: Option<bool>,
    pub(crate) verify: Option<bool>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
}

/// Routes to other servers as flags say it; `None` where a flag was not given.
#[derive(Debug, Default)]
pub(crate) struct ClusterFlags {
    /// Host, port and credentials on which other servers are accepted.
    pub(crate) listen: Option<(String, u16, Option<Credentials>)>,
    pub(crate) name: Option<String>,
    pub(crate) routes: Option<Vec<RouteUrl>>,
    pub(crate) advertise: Option<String>,
    pub(crate) no_advertise: Option<bool>,
    pub(crate) connect_retries: Option<u32>,
}

/// Clustering as its options say it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusteringDraft {
    pub(crate) is_on: bool,
    pub(crate) name: Option<String>,
    pub(crate) is_bootstrap: bool,
    pub(crate) peers: Vec<ClusterPeer>,
    pub(crate) listen: Option<MemberAddress>,
    pub(crate) advertise: Option<MemberAddress>,
    pub(crate) secret: Option<Secret>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) is_replication_logged: bool,
    pub(crate) are_members_changed: bool,
}
