//! How tables are read, and written.

use std::path::PathBuf;

use crate::encryption::Key;

/// How tables are read.
#[derive(Debug, Clone, Default)]
pub struct TablesOptions {
    /// The server's encryption key.
    pub key: Option<Key>,
    /// A cluster member's `-cluster_log_path`. By default it is looked for where a server puts it that was not told.
    pub raft_directory: Option<PathBuf>,
    /// The session of the [`StoreLock`](crate::StoreLock) that the caller holds, which is therefore not looked at.
    pub lock_session: Option<u64>,
    /// Whether other sessions in the database are none of a server's.
    pub sessions_are_harmless: bool,
    /// The server that is to start on what is written has `-sql_no_caching`. One that caches never removes what was written for one that does
    /// not, once it is acknowledged, and the reverse.
    pub no_caching: bool,
    /// An export has just written them, and they do not count yet.
    pub is_unfinished: bool,
    /// What is free where a store would be made, in bytes.
    pub free_bytes: Option<u64>,
}
