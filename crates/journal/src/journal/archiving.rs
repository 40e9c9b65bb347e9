//! The journal's side of an archive: files stay until whoever copies them says that they are there, within a bound; and the time is
//! written down, so that what is between two messages has one.

use super::Journal;
use crate::completion::Completion;
use crate::image::{Cause, Grip, ImagePlan, Kept, Pin};
use crate::limits::TIME_NOTED_EVERY_NS;
use crate::names::Position;
use std::sync::Arc;

impl Journal {
    /// Tells what time it is, in nanoseconds since the Unix epoch. Once a second it is written down, before the first record of a batch:
    /// what follows was not there before. While nothing is appended nothing is written, and nothing ever to a journal that is not archived:
    /// older programs read that.
    pub fn tell_time(&mut self, timestamp: i64) {
        let noted = self.records.noted_time();
        let is_due = noted.is_none_or(|(_, noted)| timestamp.abs_diff(noted) >= TIME_NOTED_EVERY_NS);
        if self.archiving.is_some() && is_due {
            self.records.note_time(timestamp);
        }
    }

    /// Whether it keeps what is not archived.
    pub fn is_archived(&self) -> bool {
        self.archiving.is_some()
    }

    /// The time that was written last, and the position of that record.
    pub fn noted_time(&self) -> Option<(Position, i64)> {
        self.records.noted_time()
    }

    /// Plans an image of everything that is durable now, for the archive. Its files, and all segments that are not archived, are kept until
    /// [`Image::archived`](crate::Image::archived) says that they are, or they become too many. One is copied at a time.
    ///
    /// # Errors
    /// There is one already, the journal is not archived, or it is being closed.
    pub fn archive_image(&mut self) -> Result<ImagePlan, String> {
        self.let_archived_go();
        if self.closing || self.claim.is_none() {
            return Err("the store is being closed".to_owned());
        }
        let end = self.records.durable_end();
        let newest = self.checkpoints.newest().cloned();
        let Some(archiving) = &mut self.archiving else {
            return Err("the store is not archived".to_owned());
        };
        if archiving.copying.is_some() {
            return Err("the store is being archived already".to_owned());
        }
        let pin = Arc::new(Pin::default());
        archiving.copying = Some((Kept(Arc::clone(&pin)), end.segment));
        archiving.is_given_up = false;
        self.checkpoints
            .keep_for_archive(newest.as_ref().map(|newest| newest.name.clone()));
        self.keep_unarchived();
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

    /// Keeps what is not archived, as far as that was not given up.
    pub(super) fn keep_unarchived(&mut self) {
        let archiving = self.archiving.as_ref().filter(|archiving| !archiving.is_given_up);
        self.segments
            .keep_unarchived(archiving.map(|archiving| archiving.archived_below));
    }

    /// Looks whether what was copied is archived, and whether too much is kept for what is not.
    pub(super) fn let_archived_go(&mut self) {
        let Some(archiving) = &mut self.archiving else { return };
        let ended = archiving.copying.take_if(|(kept, _)| !kept.0.is_held());
        let held = self.segments.usage().held_by_archive;
        if let Some((kept, end)) = ended {
            if kept.0.is_archived() {
                archiving.archived_below = archiving.archived_below.max(end);
            }
            self.checkpoints.keep_for_archive(None);
            self.keep_unarchived();
        } else if held > archiving.held_bytes_max {
            self.give_up_unarchived(Cause::TooMuch);
        }
    }

    /// Gives back the space of what is kept for the archive, which will have a gap.
    pub(super) fn give_up_unarchived(&mut self, cause: Cause) {
        let held = self.segments.usage().held_by_archive;
        let Some(archiving) = self.archiving.as_mut().filter(|_| held > 0) else {
            return;
        };
        // Before a file of it is touched: a reader looks behind each read.
        if let Some((kept, _)) = archiving.copying.take() {
            match cause {
                Cause::NoSpace => kept.0.give_up(),
                Cause::TooMuch => kept.0.outgrow(),
            }
        }
        archiving.is_given_up = true;
        archiving.archived_below = 0;
        self.checkpoints.keep_for_archive(None);
        self.keep_unarchived();
        self.statistics.archive_given_up += 1;
        let why = match cause {
            Cause::NoSpace => "the disk is full".to_owned(),
            Cause::TooMuch => "that is more than may be kept (archive_max_backlog)".to_owned(),
        };
        self.completions.push(Completion::Warning(format!(
            "The archive has a gap from now on until it is complete again: {held} bytes of the store that it did not take are not kept for \
             it any longer, as {why}"
        )));
    }
}
