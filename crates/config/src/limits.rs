//! Bounds on what configuration files may make this crate do.

/// Bytes of one configuration file.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Bytes of all files of one configuration together, and of all texts that variables repeat.
pub const TOTAL_BYTES_MAX: usize = 64 << 20;
/// Values of one configuration, those that variables repeat included.
pub const NODES_MAX: usize = 1_000_000;
/// Maps and arrays within each other.
pub const NESTING_MAX: usize = 64;
/// Files that include each other.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// Include statements of one configuration.
pub const INCLUDES_MAX: usize = 1_000;
/// Cost of a bcrypt hash: what is above takes longer to compare with than a client may take to log in.
pub const HASH_COST_MAX: u32 = 16;
/// Environment variables that refer to each other.
pub const VARIABLE_DEPTH_MAX: usize = 16;
/// Problems of one configuration that are listed; the rest is counted.
pub const PROBLEMS_LISTED_MAX: usize = 50;

/// Unknown blocks of one configuration; each may be a misspelt one that protects something, and is compared with those.
pub const UNKNOWN_BLOCKS_MAX: usize = 1_000;

/// Characters of a key that a message shows.
pub const KEY_SHOWN_CHARS_MAX: usize = 80;

/// Shortest lease of a fault-tolerance group: below it an ordinary hesitation of a disk is a take-over.
pub const FT_LEASE_MIN: std::time::Duration = std::time::Duration::from_millis(250);
/// Longest lease of a fault-tolerance group.
pub const FT_LEASE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// Members of a replicated cluster, as many as its replication takes.
pub const CLUSTER_MEMBERS_MAX: usize = 32;
