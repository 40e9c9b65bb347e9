//! What a running journal says of an image of it: no file is touched for it.

use super::pin::Grip;
use crate::format::{Cut, Identity, SegmentId};

/// What a running journal says of its image; [`Image::open`] makes one of it.
pub struct ImagePlan {
    pub(crate) identity: Identity,
    pub(crate) epoch: u64,
    /// Everything durable ends here.
    pub(crate) end: Cut,
    /// Nothing is appended that is not durable.
    pub(crate) is_complete: bool,
    pub(crate) is_encrypted: bool,
    /// Segments with the ends of their batches, and the lengths of their directories' files; 0 without one.
    pub(crate) segments: Vec<(SegmentId, u64, u64)>,
    /// Name and length of the checkpoint.
    pub(crate) checkpoint: Option<(String, u64)>,
    /// Dropped with the plan, when nobody opens it.
    pub(crate) grip: Grip,
}
