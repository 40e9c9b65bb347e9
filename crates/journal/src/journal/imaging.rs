//! Images of a journal that goes on: a plan of what is durable now, and the files kept for it until they are copied or their space is
//! needed. What is kept is one number and one name, whatever there is.

use super::Journal;
use crate::image::{Grip, ImagePlan, Kept, Pin};
use std::sync::Arc;

impl Journal {
    /// Plans an image of everything that is durable now. Its files are kept until the image is dropped, or their space is needed. One
    /// image is copied at a time.
    ///
    /// # Errors
    /// There is one already.
    pub fn image(&mut self) -> Result<ImagePlan, String> {
        self.let_image_go();
        if self.kept.is_some() {
            return Err("another backup is being made of this store".to_owned());
        }
        if self.closing || self.claim.is_none() {
            return Err("the store is being closed".to_owned());
        }
        let end = self.records.durable_end();
        let pin = Arc::new(Pin::default());
        let newest = self.checkpoints.newest().cloned();
        self.segments.keep_up_to(end.segment);
        self.checkpoints.keep(newest.as_ref().map(|newest| newest.name.clone()));
        self.kept = Some(Kept(Arc::clone(&pin)));
        Ok(ImagePlan {
            identity: self.scope.identity,
            epoch: self.scope.epoch,
            end,
            is_complete: end.position == self.records.appended(),
            is_encrypted: self.scope.is_encrypted(),
            segments: self.segments.extents(end),
            checkpoint: newest.map(|newest| (newest.name, newest.bytes)),
            grip: Grip(pin),
        })
    }

    /// Whether files are kept for an image.
    pub fn keeps_image(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.0.is_held())
    }

    /// Keeps no files any more once nobody copies them.
    pub(super) fn let_image_go(&mut self) {
        if self.kept.as_ref().is_some_and(|kept| !kept.0.is_held()) {
            self.kept = None;
            self.segments.keep_none();
            self.checkpoints.keep(None);
        }
    }

    /// Gives the space of kept files back, because it is needed. Whether there was any.
    pub(super) fn give_up_image(&mut self) -> bool {
        let Some(kept) = &self.kept else { return false };
        kept.0.give_up();
        self.let_image_go();
        true
    }
}
