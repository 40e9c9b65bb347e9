//! Which journal this is and which start of it: what file names, checksum seeds and keys depend on.

use crate::encryption::{FileCipher, Keys};
use crate::format::{Identity, SegmentId};
use std::sync::Arc;

/// The journal and its start. The same for as long as it is open.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) identity: Identity,
    pub(crate) epoch: u64,
    /// With which what is written is encrypted, and what was is read.
    pub(crate) keys: Option<Arc<Keys>>,
    /// It is a member's of a cluster.
    pub(crate) is_member: bool,
}

impl Scope {
    pub(crate) fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// The segment of this start with a number.
    pub(crate) fn segment(&self, number: u64) -> SegmentId {
        SegmentId {
            number,
            epoch: self.epoch,
        }
    }

    /// What encrypts the records of a segment that this start writes.
    pub(crate) fn segment_cipher(&self, id: SegmentId) -> Option<FileCipher> {
        self.keys.as_ref().map(|keys| keys.own_segment(id))
    }
}
