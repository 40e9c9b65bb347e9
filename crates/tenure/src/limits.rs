//! Numbers of this crate.

use std::time::Duration;

/// How often a server that stands by looks at the directory.
pub const STANDBY_LOOKS_EVERY: Duration = Duration::from_millis(50);

/// One look at a directory tells of this part of a lease at most: who did not look meanwhile knows nothing.
pub const STANDBY_LOOKS_PER_LEASE: u32 = 4;

/// Signs of life of the server that serves, in a lease.
pub const HEARTBEATS_PER_LEASE: u32 = 5;

/// The longest time between two of them, however long the lease.
pub const HEARTBEAT_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// A heartbeat is sent while the last write to the disk is younger than this part of a lease.
pub const HEARTBEAT_FRESHNESS: u32 = 4;

/// Signs of life stop when nothing became durable for this part of a lease although something is to.
pub const COMMITS_PER_LEASE: u32 = 2;

/// How long a member waits after a tenure that failed; the wait doubles with each.
pub const TENURE_PATIENCE_MIN: Duration = Duration::from_secs(1);

/// The longest of these waits.
pub const TENURE_PATIENCE_MAX: Duration = Duration::from_secs(60);

/// As many leases a member waits at most before it takes the tenure back from whoever took it over from its slow disk.
pub const WAITING_LEASES_MAX: u32 = 8;

/// After this time without such a loss one lease is enough again.
pub const WAITING_FORGETS: Duration = Duration::from_secs(60);
