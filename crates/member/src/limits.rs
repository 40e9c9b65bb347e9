//! Every bound of the crate, in one place.

/// Bytes of bodies in frames that wait for one member; a frame that would go beyond is not sent.
pub const WAITING_BYTES_MAX: u64 = 32 << 20;
/// Frames that wait for one member.
pub const WAITING_FRAMES_MAX: usize = 64;
/// Bodies that are being read for one member at once.
pub const BODIES_ASKED_MAX: usize = 48;
/// Bytes of bodies that were read last and are kept, since several members need the same.
pub const BODIES_KEPT_BYTES: usize = 8 << 20;
/// Rounds of outcomes that are looked at in one go, so that nobody waits long for the member.
pub const ROUNDS_MAX: usize = 16;
/// Warnings that wait for the owner; of more the oldest are dropped.
pub const WARNINGS_MAX: usize = 64;
/// Bytes of the newest messages that a store keeps to look up.
pub const CACHE_BYTES: usize = 32 << 20;
/// Bytes of a piece of them.
pub const CACHE_PIECE_BYTES: usize = 256 << 10;
/// Bytes of a checkpoint that wait for the disk before more facts are given.
pub const CHECKPOINT_BACKLOG_BYTES: u64 = 4 << 20;
/// Bytes of a voter's own disk and quorum apart: records that wait for a quorum before publishers are held.
pub const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;
/// Bytes of frames that wait in an inbox; whoever brings more waits.
pub const INBOX_BYTES_MAX: usize = 64 << 20;
/// Inputs that wait in an inbox.
pub const INBOX_INPUTS_MAX: usize = 16_384;
/// Seconds for which a store that is being closed waits until everything is committed.
pub const CLOSING_PATIENCE_S: u64 = 10;
/// Seconds for which a confirmation of leadership is waited for.
pub const CONFIRMING_PATIENCE_S: u64 = 5;
