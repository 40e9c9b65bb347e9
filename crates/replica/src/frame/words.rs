//! The words of frames: versions, flags, and what can be wrong with one.

/// The version of the frames that this build writes and reads.
pub const FRAME_VERSION: u8 = 1;

/// The only group there is; more may come under the same identity.
pub(super) const GROUP: u32 = 0;

pub(super) const HEALTH_FULL: u8 = 1;
pub(super) const HEALTH_HANGING: u8 = 2;
pub(super) const HEALTH_LOW: u8 = 4;
pub(super) const HEALTH_FLAGS: u8 = HEALTH_FULL | HEALTH_HANGING | HEALTH_LOW;

/// How a member's disk is; it travels with each answer to a heartbeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// It has no room for what the leader sends.
    pub is_full: bool,
    /// It has no room for what publishers send, only for what is written to take something away. A leader whose quorum lacks room refuses
    /// publishers.
    pub is_low: bool,
    /// A write does not come to its end.
    pub is_hanging: bool,
    /// Index of the last entry that is synced.
    pub synced: u64,
}

/// Why bytes are no frame. Whoever sends such a thing is to be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the frame says.
    #[error("the frame ends early")]
    Short,
    /// More bytes than the frame says.
    #[error("{0} bytes stand behind the frame")]
    Surplus(usize),
    /// A version that this build does not read.
    #[error("frames of version {0}, this member reads version {FRAME_VERSION}")]
    Version(u8),
    /// A group of entries that there is not.
    #[error("group {0}, there is only group {GROUP}")]
    Group(u32),
    /// A kind of message that does not travel.
    #[error("a message of kind {0}, which members do not send")]
    Kind(u8),
    /// A value that no member writes.
    #[error("{0}")]
    Value(&'static str),
    /// What stands before the entries' bodies is not what was sent, or belongs to another cluster.
    #[error("the head of a frame does not have its checksum: it was damaged on the way, or is another cluster's")]
    Head,
    /// What arrived is not what was sent, or belongs to another cluster.
    #[error(
        "entry {index} of term {term} does not have its checksum: it was damaged on the way, or is another cluster's"
    )]
    Checksum {
        /// The entry's term.
        term: u64,
        /// The entry's index.
        index: u64,
    },
    /// A body that is not the entry's.
    #[error("the body of entry {index} has {given} bytes instead of {expected}")]
    Body {
        /// The entry's index.
        index: u64,
        /// The length of the body.
        given: usize,
        /// The length of the entry.
        expected: u32,
    },
}
