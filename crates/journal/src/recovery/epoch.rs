//! Opening the epoch (docs/journal-format.md §3, §9, §13): its file says where everything before is cut and what it follows; what that
//! makes meaningless is removed behind it, and nothing before.

use super::{Recovery, io_error};
use crate::disk::Disk;
use crate::entry::Durability;
use crate::error::OpenError;
use crate::format::{Cut, EpochFile, GIVEN_UP_NAME, SegmentId, claim_name, epoch_name, lost_name};
use crate::planted::{Fault, is_planted};
use crate::whole_file::{remove_if_there, write_whole};

/// How many claims one start removes while others may have the directory open: each takes a sync of the directory.
const CLAIMS_REMOVED_MAX: usize = 16;

impl Recovery<'_> {
    /// Records durably where everything before is cut, then removes what that makes meaningless. Returns the new epoch.
    pub(super) fn open_epoch(&mut self, cut: Cut) -> Result<u64, OpenError> {
        let epoch = self.disk.writer();
        let kept = self.still_named(cut);
        let is_member = self.options.durability == Durability::Quorum;
        let file = EpochFile {
            identity: self.identity,
            epoch,
            synced: self.options.sync,
            gap: self.given_up.gap,
            // Once some are missing they stay so; a start without them is the exception that the operator asked for.
            holes: self.tolerates_holes(),
            is_clustered: is_member || self.files.newest_epoch().is_some_and(|newest| newest.is_clustered),
            is_member,
            cut,
            previous: self.previous(kept),
            encryption: self.keys.as_ref().map(|keys| keys.header),
        };
        self.note_what_is_given_up(epoch)?;
        if is_planted(Fault::EarlyRemoval) {
            self.remove_what_is_cut(cut)?;
        }
        self.when_full(cut, |disk| write_whole(disk, &epoch_name(epoch), &file.encode()))
            .map_err(io_error("open a new epoch"))?;
        self.is_published = true;
        // From here on whoever claims finds the cut. Each removal looks first, so that only what counts for nobody goes.
        self.set_aside(epoch)?;
        self.remove_what_is_cut(cut)?;
        self.remove_epochs(kept)?;
        self.remove_claims()?;
        Ok(epoch)
    }

    /// How many of the epoch files the new one does not make needless: those at the end that cut at the same place say nothing that it
    /// does not. So starts that write nothing leave no files behind. What was given up at one of them names it.
    fn still_named(&self, cut: Cut) -> usize {
        let epochs = &self.files.epochs;
        // A version that does not say what it follows takes everything before for that.
        let stays = |epoch: &EpochFile| epoch.cut != cut || epoch.previous == 0 || !self.files.lost.is_empty();
        epochs.iter().rposition(stays).map_or(0, |last| last + 1)
    }

    /// What the new epoch follows: the newest of so many epoch files that stay, or what the first of those that go did.
    fn previous(&self, kept: usize) -> u64 {
        let epochs = &self.files.epochs;
        let followed = match (epochs[..kept].last(), epochs.first()) {
            (Some(before), _) => before.epoch,
            (None, Some(first)) if first.previous != first.epoch => first.previous,
            (None, _) => self.disk.writer(),
        };
        debug_assert!(followed > 0, "only a file that stays says nothing");
        followed
    }

    /// Removes what does not count any more, of epochs before this one.
    fn remove_what_is_cut(&mut self, cut: Cut) -> Result<(), OpenError> {
        let mut names = std::mem::take(&mut self.files.unfinished);
        names.append(&mut self.files.obsolete);
        if self.files.has_witness && !self.gives_up() {
            names.push(GIVEN_UP_NAME.to_owned());
        }
        names.append(&mut self.files.ends);
        let checkpoint_epoch = self.checkpoint_epoch;
        self.files.lost.retain(|lost| {
            // The checkpoint says it, too, or nothing but names was in it.
            let is_said = lost.logs.is_empty() || checkpoint_epoch >= Some(lost.epoch);
            if is_said {
                names.push(lost_name(lost.epoch));
            }
            !is_said
        });
        let beyond = self.files.take_beyond(cut.segment);
        names.extend(beyond.into_iter().map(SegmentId::file_name));
        let (segments, directories) = (&self.files.segments, &mut self.files.directories);
        directories.retain(|id, _| {
            let is_orphan = !segments.contains_key(id);
            if is_orphan {
                names.push(id.directory_name());
            }
            !is_orphan
        });
        self.remove_all(&names)
    }

    /// Removes epoch files that cut nothing any more: those that are not named, and the oldest, when the segment that they cut is gone.
    fn remove_epochs(&mut self, kept: usize) -> Result<(), OpenError> {
        let oldest = self.files.segments.keys().map(|id| id.number).min().unwrap_or(u64::MAX);
        let (named, unnamed) = self.files.epochs.split_at(kept);
        let ancient = named
            .iter()
            .take_while(|epoch| epoch.cut.segment < oldest && self.files.lost.is_empty());
        let names: Vec<String> = ancient.chain(unnamed).map(|epoch| epoch_name(epoch.epoch)).collect();
        self.remove_all(&names)
    }

    /// Removes the claims before this start's, the oldest first. Where others may have the directory open, each for good before the next:
    /// at no moment, also not after a loss of power, does a former holder find its own claim there and the one behind it gone. So many
    /// only, as others wait for this start to serve; what failing starts left beyond that goes with later ones.
    fn remove_claims(&mut self) -> Result<(), OpenError> {
        if is_planted(Fault::NewestClaimsFirst) {
            self.files.claims.reverse();
        }
        let names: Vec<String> = self.files.claims.iter().map(|number| claim_name(*number)).collect();
        if self.disk.holding().is_alone() {
            return self.remove_all(&names);
        }
        for name in names.into_iter().take(CLAIMS_REMOVED_MAX) {
            self.remove_all(&[name])?;
        }
        Ok(())
    }

    /// Removes files, durably; those that have gone are no error.
    fn remove_all(&self, names: &[String]) -> Result<(), OpenError> {
        for name in names {
            remove_if_there(self.disk, name).map_err(io_error(format!("remove {name}")))?;
        }
        if names.is_empty() {
            return Ok(());
        }
        self.disk.sync_directory().map_err(io_error("sync the directory"))
    }
}
