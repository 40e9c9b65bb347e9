//! Every bound of the reader, in one place.
//!
//! Reading a cluster member's snapshot takes its size, and its log that of the largest entry.
//! Reading a channel takes [`WINDOW_BYTES`] for each of the two files that are open, the largest message, and what
//! [`RUNS_MAX`] allows; what a report holds comes on top: a few hundred bytes for each channel, client, subscription and finding.

/// What is read of a file at once.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;
/// The largest record that is believed: NATS carries no message of more than 64 MiB.
pub const RECORD_BYTES_MAX: u32 = 128 << 20;
/// Restarts within one slice whose index is lost; what follows more of them is not taken.
pub(crate) const RUNS_MAX: usize = 16_384;
/// Bytes that may be checksummed in search of the next good record, for each byte of the file.
pub(crate) const SEARCH_FACTOR: u64 = 16;
/// Gaps listed for a channel; all are counted.
pub(crate) const GAPS_LISTED_MAX: usize = 16;
/// Findings kept, besides the first of each kind and severity; all are counted.
pub const FINDINGS_MAX: usize = 10_000;
/// Ranges of pending messages listed for a subscription; all messages are counted.
pub(crate) const PENDING_RANGES_LISTED_MAX: usize = 100;
/// Pending ranges that all subscriptions of a channel may have together.
pub(crate) const PENDING_RANGES_MAX: usize = 4 << 20;
/// Subscriptions of a channel, and clients.
pub(crate) const ENTITIES_MAX: usize = 1 << 20;
/// Bytes of a record of a client or subscription that are plausible where no record was expected.
pub(crate) const SEARCHED_ENTITY_BYTES_MAX: u32 = 64 << 10;
/// Bytes of `server.dat` that are read.
pub(crate) const SERVER_FILE_BYTES_MAX: u64 = 1 << 20;

/// What is read of a Raft log at once: its pages lie here and there.
pub(crate) const RAFT_WINDOW_BYTES: usize = 16 << 10;
/// Levels of pages in a Raft log.
pub(crate) const PAGE_DEPTH_MAX: usize = 32;
/// A Raft snapshot: clients and subscriptions, no messages.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;
/// Values within a Raft log entry.
pub(crate) const ENTRY_VALUES_MAX: u32 = 10_000;

const _: () = assert!(WINDOW_BYTES >= 64 << 10);
