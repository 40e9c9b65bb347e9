//! Every bound and every span of the crate, in one place.

use std::time::Duration;

/// Version of the protocol between members, of which both sides must have the same.
pub const PROTOCOL_VERSION: u16 = 1;

/// Bytes of one message of the handshake behind its head; what a stranger can make the server keep.
pub const GREETING_BYTES_MAX: usize = 1_024;
/// Bytes of a member's name and of a cluster's id.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of an address, `host:port`.
pub const ADDRESS_BYTES_MAX: usize = 300;
/// Bytes of words that one member says to another.
pub const WORDS_BYTES_MAX: usize = 400;
/// Largest number of a session, so that none can be used up by a peer.
pub const SESSION_MAX: u64 = 1 << 62;
/// Connections that have not finished their handshake, altogether.
pub const STRANGERS_MAX: usize = 64;
/// Of these, from one address (of IPv6 from one network of 64 bits).
pub const STRANGERS_OF_ONE_SOURCE_MAX: usize = 16;
/// Members that are known at once, whether listed or not; twice as many as a cluster has.
pub const PEERS_MAX: usize = 2 * seaway_replica::limits::MEMBERS_MAX;
/// Members that were taken out and are remembered, so that they are told so.
pub const DEPARTED_MAX: usize = 256;
/// Parties about which it is remembered when they were last told of.
pub const TOLD_MAX: usize = 256;

/// Length of the head of a frame.
pub const FRAME_HEAD_BYTES: usize = 8;
/// Bytes of one frame on the control connection.
pub const CONTROL_FRAME_BYTES_MAX: usize = 16 << 10;
/// Bytes of one frame on the bulk connection: the heads of all its entries, and one entry as long as an entry may be.
pub const BULK_FRAME_BYTES_MAX: usize = seaway_replica::limits::ENTRY_BYTES_MAX as usize
    + seaway_replica::FRAME_HEAD_BYTES
    + seaway_replica::limits::FRAME_ENTRIES_MAX * (seaway_replica::FRAME_ENTRY_BYTES + 1_024);
/// Bytes of one piece of a snapshot.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// Bytes of one frame on the snapshot connection.
pub const SNAPSHOT_FRAME_BYTES_MAX: usize = PIECE_BYTES_MAX + 64;
/// Bytes of a request or an answer of somebody who is no member yet.
pub const ASKED_BYTES_MAX: usize = 64 << 10;

/// Bytes that wait for the control connection of one member.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 64 << 10;
/// Frames that wait for the bulk connection of one member.
pub const BULK_QUEUE_FRAMES_MAX: usize = 32;
/// Bytes that wait for it; a frame that is larger waits alone.
pub const BULK_QUEUE_BYTES_MAX: usize = 32 << 20;
/// Frames that wait for the snapshot connection of one member.
pub const SNAPSHOT_QUEUE_FRAMES_MAX: usize = 8;
/// Bytes that wait for it.
pub const SNAPSHOT_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Bytes that have come over a control connection and are not taken; nothing more is read beyond that.
pub const CONTROL_UNTAKEN_BYTES_MAX: usize = 256 << 10;
/// The same of a bulk connection; a larger frame is taken alone.
pub const BULK_UNTAKEN_BYTES_MAX: usize = 64 << 20;
/// Bytes that are asked of the system at once when a long frame is read: a length that is claimed costs nothing before it comes.
pub const READ_BYTES: usize = 256 << 10;
/// Slices in one write.
pub const SLICES_MAX: usize = 64;
/// Queued bytes at which a batch does not wait for its end.
pub const BATCH_WAKES_BYTES: usize = 256 << 10;

/// Pieces of a snapshot that are asked for before they came.
pub const PIECES_AHEAD: u64 = 3;
/// Times that a piece is asked for again because its checksum was wrong.
pub const PIECE_ATTEMPTS_MAX: u32 = 3;
/// Fetches of snapshots at once.
pub const FETCHES_MAX: usize = 4;
/// Pieces that are read from the disk for others at once.
pub const PIECE_READS_MAX: usize = 2;

/// Seconds in which somebody is told of at most once.
pub const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Time after which a snapshot of which nothing comes is given up.
pub const FETCH_SILENCE: Duration = Duration::from_secs(60);

/// The spans that trials shorten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For a whole handshake, and for a question and its answer.
    pub handshake: Duration,
    /// For the three connections of a set to come together.
    pub gathering: Duration,
    /// Between two pings over the control connection.
    pub ping: Duration,
    /// Without a byte on the control connection it counts as lost.
    pub silence: Duration,
    /// Without progress of a write on the control connection it counts as lost; what the system is told, too (`TCP_USER_TIMEOUT`).
    pub control_stall: Duration,
    /// The same for the others.
    pub bulk_stall: Duration,
    /// First wait before a lost member is dialled again; it doubles.
    pub retry_min: Duration,
    /// Longest wait before a member is dialled again.
    pub retry_max: Duration,
    /// How long a member that was taken out stays connected: it is to hear of it, and its vote may be needed once more.
    pub linger: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            gathering: Duration::from_secs(10),
            ping: Duration::from_secs(1),
            silence: Duration::from_secs(10),
            control_stall: Duration::from_secs(5),
            bulk_stall: Duration::from_secs(10),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(2),
            linger: Duration::from_secs(60),
        }
    }
}
