//! What a journal remembers of its archive.

use super::pin::Kept;

/// What is archived, and what is being copied.
pub(crate) struct Archiving {
    /// Bytes of segments that could go otherwise.
    pub(crate) held_bytes_max: u64,
    /// Segments below this number are archived.
    pub(crate) archived_below: u64,
    /// The image that is being copied, and the segment in which it ends.
    pub(crate) copying: Option<(Kept, u64)>,
    /// What is not archived was given up, and is not kept before somebody begins to copy again.
    pub(crate) is_given_up: bool,
}

impl Archiving {
    pub(crate) fn new(held_bytes_max: u64) -> Archiving {
        Archiving {
            held_bytes_max,
            archived_below: 0,
            copying: None,
            is_given_up: false,
        }
    }
}

/// Why what is not archived is kept no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    NoSpace,
    TooMuch,
}
