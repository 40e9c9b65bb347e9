//! What a transport is started with.

use std::sync::Arc;

use crate::asking::Answering;
use crate::events::Events;
use crate::limits::Timing;
use crate::security::Security;
use crate::snapshot::SnapshotSource;

/// Options of a transport.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen, `host:port`; port 0 lets the system choose.
    pub listen: String,
    /// The cluster's id, as configured; at most `limits::NAME_BYTES_MAX` bytes.
    pub cluster_id: String,
    /// This member's name; at most `limits::NAME_BYTES_MAX` bytes.
    pub name: String,
    /// How members know each other.
    pub security: Security,
    /// Bytes of snapshots that are sent per second, to all together; 0 is without limit.
    pub snapshot_bytes_per_second: u64,
    /// Spans.
    pub timing: Timing,
}

/// What the transport is connected to.
pub struct Ports {
    /// Takes what happens.
    pub events: Arc<dyn Events>,
    /// Answers questions of servers that may be no members.
    pub answering: Arc<dyn Answering>,
    /// Has the pieces of snapshots.
    pub snapshots: Arc<dyn SnapshotSource>,
}
