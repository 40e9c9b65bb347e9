//! Reading the files of a journal beside it, while it goes on: what it was at an entry, for whoever begins to serve or writes a follower's
//! checkpoint (`fold`), and for members that lack too much (`snapshot`). The journal keeps the files as long as somebody reads them
//! (`image/pin.rs`); nothing is written here.
//!
//! What is read was durable when the reading was planned: synced and committed. No later start takes it back, and no batch that is appended
//! meanwhile is looked at.

mod checkpoint;
mod fold;
mod places;
mod plan;
mod tail;
mod windows;

pub use plan::{FoldError, FoldFor, FoldJob, Folded};
pub(crate) use plan::{Hold, Pinned, PinnedSegment};

use crate::error::OpenError;
use crate::recovery::io_error;

impl Pinned {
    /// Whether the files are still kept. To be asked behind each read, before anything is made of it.
    fn check(&self) -> Result<(), OpenError> {
        self.grip
            .0
            .check()
            .map_err(io_error("read the store beside its server"))
    }
}
