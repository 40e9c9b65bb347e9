//! Every bound and every span of the crate, in one place. Time is counted in ticks; whoever drives a replica makes one every `TICK_MS`.

/// Milliseconds between two ticks.
pub const TICK_MS: u64 = 50;
/// Ticks between two heartbeats of a leader.
pub const HEARTBEAT_TICKS: usize = 10;
/// Ticks without a leader after which a member campaigns: drawn anew between these two for each term and role. The smaller one is also
/// how long a leader believes in a quorum that it does not hear.
pub const ELECTION_TICKS_MIN: usize = 30;
/// The larger one, itself included.
pub const ELECTION_TICKS_MAX: usize = 60;
/// Ticks until a campaign when the connection to the leader was reset, at most.
pub const CAMPAIGN_AFTER_RESET_TICKS_MAX: u64 = 3;
/// Ticks after which a write of the own disk counts as hanging; a leader then gives its leadership away.
pub const HANGING_DISK_TICKS: u64 = ELECTION_TICKS_MIN as u64;
/// Ticks after which a leader whose disk still hangs stops leading, whoever leads then.
pub const STEP_DOWN_TICKS: u64 = 2 * HANGING_DISK_TICKS;
/// Ticks without a sign of life after which a follower is taken to have given up a snapshot.
pub const SNAPSHOT_SILENCE_TICKS: u64 = 60_000 / TICK_MS;
/// Ticks without a sign of life after which nothing of the log is kept for a member.
pub const RETAIN_SILENCE_TICKS: u64 = 60_000 / TICK_MS;
/// Bytes of entries that a leader keeps for members that lack them, at most; who lacks more gets a snapshot.
pub const RETAINED_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the newest entries that a follower keeps, in case that it leads next.
pub const RETAINED_BY_FOLLOWERS_BYTES_MAX: u64 = 64 << 20;
/// Ticks for which a member that was taken out still votes: whoever made the change may have forgotten after a crash that it is
/// committed, and then needs that vote.
pub const REMOVED_STAYS_TICKS: u64 = 60_000 / TICK_MS;

/// Pieces of work whose writes are not synced yet; at this many nothing new is begun.
pub const OUTSTANDING_MAX: usize = 64;
/// Messages of entries that a leader has on the way to one follower.
pub const INFLIGHT_MESSAGES_MAX: usize = 32;
/// Bytes of batches in one message; a larger batch travels alone.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of entries that are handed on as committed at once.
pub const COMMITTED_BYTES_MAX: u64 = 256 << 20;
/// Messages that wait inside while `OUTSTANDING_MAX` is reached; what comes then is dropped, as a network may.
pub const MESSAGES_HELD_MAX: usize = 1024;
/// Requests for a confirmation of leadership that wait at once.
pub const CONFIRMATIONS_MAX: usize = 65_536;
/// Members of a cluster, learners included.
pub const MEMBERS_MAX: usize = 32;
/// Bytes that come with a change of members (names, addresses), at most.
pub const ABOUT_BYTES_MAX: usize = 16 << 10;
/// Bytes of a change of members as an entry.
pub const CHANGE_BYTES_MAX: usize = ABOUT_BYTES_MAX + 1024;
/// Entries that a learner may lack when it becomes a voter.
pub const CATCH_UP_ENTRIES_MAX: u64 = 64;

/// Entries in one frame.
pub const FRAME_ENTRIES_MAX: usize = 1_088;
/// Bytes of one entry in a frame.
pub const ENTRY_BYTES_MAX: u32 = (1 << 30) - 1;
/// Bytes of context in a frame.
pub const CONTEXT_BYTES_MAX: usize = 32;
/// Largest term and index that a frame may name, so that nothing overflows whatever a peer says.
pub const NUMBER_MAX: u64 = 1 << 62;

const _: () = assert!(ELECTION_TICKS_MIN > 2 * HEARTBEAT_TICKS && ELECTION_TICKS_MAX > ELECTION_TICKS_MIN);
const _: () =
    assert!(FRAME_ENTRIES_MAX as u64 > MESSAGE_BYTES_MAX / raft_proto::eraftpb::ENTRY_OVERHEAD_BYTES as u64 + 1);
// Whatever may be proposed can be written down by every member, sent to every member, and read there.
const _: () = assert!(2 + 9 * raft_proto::eraftpb::CHANGES_MAX + ABOUT_BYTES_MAX <= CHANGE_BYTES_MAX);
const _: () = assert!(ABOUT_BYTES_MAX <= raft_proto::eraftpb::CHANGE_CONTEXT_BYTES_MAX);
const _: () = assert!(CHANGE_BYTES_MAX <= seaway_journal::limits::MEMBERS_BYTES_MAX);
const _: () = assert!(MEMBERS_MAX <= raft_proto::eraftpb::CHANGES_MAX);
