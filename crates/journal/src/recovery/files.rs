//! What lies in the directory: which files are the journal's, which epochs there were, and whether all of it is somebody else's.

use super::losses::LostFile;
use super::{indispensable, io_error};
use crate::batch::BatchHeader;
use crate::disk::{DirectoryEntry, Disk};
use crate::error::OpenError;
use crate::format::{
    Cut, EpochFile, FileName, GIVEN_UP_NAME, GUARD, GUARD_NAME, Identity, LIFE_NAME, Life, SegmentHeader, SegmentId,
    TAKEN_OVER_FOLDER, checkpoint_name, decode_end, decode_life, decode_witness, end_name, epoch_name, lost_name,
};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::planted::{Fault, is_planted};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Number of a start above all: everything there is was before it.
pub(crate) const ABOVE_ALL: u64 = u64::MAX;

/// How often files may vanish while the directory is looked at.
pub(super) const LISTINGS_MAX: u32 = 10;

/// The journal's files by kind.
#[derive(Default)]
pub(crate) struct Files {
    /// Epoch files that count, oldest first.
    pub(crate) epochs: Vec<EpochFile>,
    /// Lengths of segment files that count.
    pub(crate) segments: BTreeMap<SegmentId, u64>,
    /// Those of which nothing counts.
    pub(crate) uncounted: Vec<SegmentId>,
    /// Lengths of directory files.
    pub(crate) directories: BTreeMap<SegmentId, u64>,
    /// Begin position and epoch of checkpoints.
    pub(crate) checkpoints: Vec<(u64, u64)>,
    /// Length of the largest checkpoint.
    checkpoint_bytes: u64,
    /// Where the newest epoch was ended in an orderly way, if it was.
    pub(crate) end: Option<Cut>,
    /// Files that say where some epoch was ended.
    pub(crate) ends: Vec<String>,
    /// Segments that were set aside, and copies of what was cut.
    pub(crate) cut: Vec<String>,
    /// There is a file that says that a start gave something up, and the epoch that it names.
    pub(crate) has_witness: bool,
    pub(crate) witness: Option<u64>,
    /// What starts gave up, oldest first.
    pub(crate) lost: Vec<LostFile>,
    /// Unfinished files of earlier epochs.
    pub(crate) unfinished: Vec<String>,
    /// Files of earlier epochs that count for nothing, or will once the epoch is open.
    pub(crate) obsolete: Vec<String>,
    /// Numbers of the claims before this start's.
    pub(crate) claims: Vec<u64>,
    pub(crate) remarks: Vec<String>,
    /// Highest segment number in any name, also of unfinished files.
    pub(crate) numbers_seen: u64,
    /// Highest epoch in any name.
    newest: u64,
}

/// A segment, and what the journal's other files say of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) identity: Identity,
    pub(crate) id: SegmentId,
    /// Behind this nothing counts.
    pub(crate) limit: u64,
    /// Batches reach at least up to here.
    pub(crate) least: u64,
}

/// What the names of files begin with that a restore writes, until all are there and get their own.
pub const RESTORING_PREFIX: &str = ".restoring.";

/// The file that whoever writes to a directory of backups has locked.
pub const BACKUPS_LOCK_NAME: &str = "backups.lock";

/// Whether a file of this name is a directory of backups' and no journal's.
fn is_backups_file(name: &str) -> bool {
    name == BACKUPS_LOCK_NAME || name.starts_with("backup-") && name.ends_with(".manifest")
}

/// Refuses a directory that holds the original server's store, backups, or one whose taking over or restore is not complete. Reads only.
pub(crate) fn refuse_foreign(disk: &dyn Disk) -> Result<(), OpenError> {
    let entries = disk.list("").map_err(io_error("list the journal's directory"))?;
    if let Some(entry) = entries.iter().find(|entry| entry.name.starts_with(RESTORING_PREFIX)) {
        let found = entry.name.clone();
        return Err(OpenError::UnfinishedRestore { found });
    }
    let found = |found: String| Err(OpenError::ForeignStore { found });
    let has_epoch = entries
        .iter()
        .any(|entry| matches!(FileName::parse(&entry.name), FileName::Epoch(_)));
    for entry in entries.iter().filter(|entry| !entry.is_folder) {
        let is_foreign = match entry.name.as_str() {
            // Of what takes a directory over the epoch's file is put there last.
            GUARD_NAME => !has_epoch || !is_guard(disk)?,
            name => name.starts_with("clients.dat"),
        };
        if is_foreign {
            return found(entry.name.clone());
        }
    }
    if has_epoch {
        return Ok(());
    }
    if let Some(entry) = entries.iter().find(|entry| is_backups_file(&entry.name)) {
        let found = entry.name.clone();
        return Err(OpenError::Backups { found });
    }
    for folder in entries.iter().filter(|entry| entry.is_folder) {
        let inside = disk
            .list(&folder.name)
            .map_err(io_error(format!("list {}", folder.name)))?;
        if let Some(entry) = inside.iter().find(|entry| is_foreign_channel(entry)) {
            return found(format!("{}/{}", folder.name, entry.name));
        }
    }
    Ok(())
}

/// Whether the file of that name only keeps the original server away.
fn is_guard(disk: &dyn Disk) -> Result<bool, OpenError> {
    let file = disk.open(GUARD_NAME).map_err(io_error("open server.dat"))?;
    let mut head = vec![0; GUARD.len()];
    match file.read_at(&mut head, 0) {
        Ok(()) => Ok(head == GUARD),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(io_error("read server.dat")(error)),
    }
}

fn is_foreign_channel(entry: &DirectoryEntry) -> bool {
    let is_slice = entry.name.starts_with("msgs.") && (entry.name.ends_with(".dat") || entry.name.ends_with(".idx"));
    !entry.is_folder && (entry.name == "subs.dat" || is_slice)
}

/// The newest epoch file, if there is one and it is whole. Reads only; what is wrong with its content is for [`Files::list`] to say.
///
/// # Errors
/// The directory or the file cannot be read: nothing may be taken for absent then, nor be claimed.
pub(crate) fn peek_newest_epoch(disk: &dyn Disk) -> Result<Option<EpochFile>, OpenError> {
    let mut tries = 1;
    loop {
        let names = disk.file_names().map_err(io_error("list the journal's directory"))?;
        let epochs = names.iter().filter_map(|name| match FileName::parse(name) {
            FileName::Epoch(epoch) => Some(epoch),
            _ => None,
        });
        let Some(newest) = epochs.max() else { return Ok(None) };
        match read_epoch(disk, newest) {
            Ok(epoch) => return Ok(Some(epoch)),
            Err(error) if tries < LISTINGS_MAX && has_vanished(&error) => tries += 1,
            Err(error @ (OpenError::Io { .. } | OpenError::NoSpace(_))) => return Err(error),
            Err(_) => return Ok(None),
        }
    }
}

/// Which journal a directory holds, as the file says that opens its newest epoch; `None` without one, or with one that is damaged.
///
/// # Errors
/// The directory or the file cannot be read.
pub fn newest_identity(disk: &dyn Disk) -> Result<Option<Identity>, OpenError> {
    Ok(peek_newest_epoch(disk)?.map(|epoch| epoch.identity))
}

/// Whether a directory holds the journal of a member of a cluster, as the file says that opens its newest epoch.
///
/// # Errors
/// The directory or the file cannot be read.
pub fn is_member(disk: &dyn Disk) -> Result<bool, OpenError> {
    Ok(peek_newest_epoch(disk)?.is_some_and(|epoch| epoch.is_member))
}

/// Which life of a journal a directory holds; `None` of one that was never restored, or whose file is damaged.
///
/// # Errors
/// The file cannot be read.
pub fn life_of(disk: &dyn Disk, identity: &Identity) -> Result<Option<Life>, OpenError> {
    match read_small(disk, LIFE_NAME) {
        Err(error) if has_vanished(&error) => Ok(None),
        bytes => Ok(decode_life(&bytes?, identity).ok()),
    }
}

/// Whether the journal's directory holds a file that opens an epoch: without one there is no journal. Reads names only.
///
/// # Errors
/// The directory cannot be listed.
pub fn has_epoch(disk: &dyn Disk) -> io::Result<bool> {
    let entries = disk.list("")?;
    let mut files = entries.iter().filter(|entry| !entry.is_folder);
    Ok(files.any(|entry| matches!(FileName::parse(&entry.name), FileName::Epoch(_))))
}

/// Whether an error says that a file went away between the listing and its reading.
pub(super) fn has_vanished(error: &OpenError) -> bool {
    match error {
        OpenError::Io { source, .. } => {
            matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle
            )
        }
        _ => false,
    }
}

impl Files {
    /// Looks at what is there, for a start with this number. Whoever was deposed by its claim may still be about to take one thing
    /// away: what vanishes between being listed and being read was not needed, and the next listing does without.
    pub(crate) fn list(disk: &dyn Disk, number: u64) -> Result<Files, OpenError> {
        let mut tries = 1;
        loop {
            match Files::list_once(disk, number) {
                Err(error) if tries < LISTINGS_MAX && has_vanished(&error) => tries += 1,
                result => return result,
            }
        }
    }

    fn list_once(disk: &dyn Disk, number: u64) -> Result<Files, OpenError> {
        let mut files = Files::default();
        let (mut epochs, mut losses) = (Vec::new(), Vec::new());
        for entry in disk.list("").map_err(io_error("list the journal's directory"))? {
            let name = entry.name;
            let parsed = FileName::parse(&name);
            if !entry.is_folder {
                files.newest = files.newest.max(parsed.epoch());
            }
            match parsed {
                _ if entry.is_folder && name == TAKEN_OVER_FOLDER => {}
                _ if entry.is_folder => files.remarks.push(format!("{name} is not part of the journal")),
                FileName::Lock | FileName::TakenOver | FileName::Life | FileName::Vote => {}
                FileName::GivenUp => files.has_witness = true,
                FileName::End(_) => files.ends.push(name),
                FileName::Lost(epoch) => losses.push(epoch),
                FileName::Epoch(epoch) => epochs.push(epoch),
                FileName::Claim(claim) if claim < number => files.claims.push(claim),
                FileName::Claim(_) => {}
                FileName::Segment(id) => {
                    files.numbers_seen = files.numbers_seen.max(id.number);
                    files.segments.insert(id, entry.length);
                }
                FileName::Directory(id) => {
                    files.numbers_seen = files.numbers_seen.max(id.number);
                    files.directories.insert(id, entry.length);
                }
                FileName::Checkpoint { position, epoch } => {
                    files.checkpoint_bytes = files.checkpoint_bytes.max(entry.length);
                    files.checkpoints.push((position, epoch));
                }
                FileName::Unfinished { number: segment, .. } => {
                    files.numbers_seen = files.numbers_seen.max(segment);
                    files.unfinished.push(name);
                }
                FileName::Cut => {
                    files.remarks.push(format!("{name} was set aside earlier"));
                    files.cut.push(name);
                }
                FileName::Unknown => files.remarks.push(format!("{name} is not part of the journal")),
            }
        }
        if files.newest > number {
            let by = files.newest;
            return Err(OpenError::Overtaken { number, by });
        }
        files.unfinished.sort_unstable();
        files.claims.sort_unstable();
        files.remarks.sort_unstable();
        epochs.sort_unstable();
        let epochs: Result<Vec<EpochFile>, OpenError> =
            epochs.into_iter().map(|epoch| read_epoch(disk, epoch)).collect();
        files.count(epochs?);
        files.check_chain()?;
        files.checkpoints.sort_unstable();
        files.check(disk)?;
        files.read_end(disk)?;
        files.read_losses(disk, losses)?;
        files.leave_out_uncounted();
        Ok(files)
    }

    /// Keeps the epoch files that count: the newest, and each that the one behind it names. Others are of starts that were overtaken
    /// while they opened their epoch, or are named no more because the same is said by the one that is.
    fn count(&mut self, mut epochs: Vec<EpochFile>) {
        while let Some(newest) = epochs.pop() {
            self.epochs.push(newest);
            while let Some(before) = epochs.last()
                && !follows(&newest, before.epoch)
            {
                self.obsolete.push(epoch_name(before.epoch));
                epochs.pop();
            }
        }
        self.epochs.reverse();
    }

    /// The chain ends with the first epoch, or with one whose predecessor's file went because no segment was left that it cut. While there
    /// is one, that file was taken away by somebody, and who was in the chain before it nobody knows: nothing may be left out for it.
    fn check_chain(&self) -> Result<(), OpenError> {
        let Some(oldest) = self.epochs.first() else {
            return Ok(());
        };
        let missing = oldest.previous;
        if missing == 0 || missing == oldest.epoch {
            return Ok(());
        }
        let Some(cut) = self.segments.keys().find(|id| id.epoch < missing) else {
            return Ok(());
        };
        let (name, segment) = (epoch_name(missing), cut.file_name());
        let reason = format!(
            "epoch {} follows the one that it opens, and it is not there",
            oldest.epoch
        );
        let remedy = format!(
            "Restore {name} from a copy of the directory; or, if {segment} and others of epochs before {missing} do not belong to this store, \
             move them elsewhere"
        );
        Err(indispensable(name, 0, reason, remedy))
    }

    /// Whether what a start wrote counts, as far as no cut says otherwise.
    fn counts(&self, epoch: u64) -> bool {
        let behind = self.epochs.iter().find(|other| other.epoch >= epoch);
        behind.is_some_and(|other| other.epoch == epoch || follows(other, epoch))
    }

    /// Leaves out segments of which nothing counts: nobody is to read them.
    fn leave_out_uncounted(&mut self) {
        let newest = self.newest_epoch().map_or(0, |epoch| epoch.epoch);
        let counts = |id: &SegmentId| id.epoch > newest || self.counts(id.epoch) && self.cut_of(*id) != Some(None);
        let uncounted: Vec<SegmentId> = self.segments.keys().filter(|id| !counts(id)).copied().collect();
        for id in &uncounted {
            self.segments.remove(id);
        }
        self.uncounted = uncounted;
    }

    /// Takes out the segments that count for nothing once everything ends with this one; their numbers are not used again.
    pub(crate) fn take_beyond(&mut self, last: u64) -> Vec<SegmentId> {
        let beyond = self.segments.keys().filter(|id| id.number > last);
        let beyond: Vec<SegmentId> = beyond.copied().chain(std::mem::take(&mut self.uncounted)).collect();
        for id in &beyond {
            self.segments.remove(id);
            self.numbers_seen = self.numbers_seen.max(id.number);
        }
        beyond
    }

    /// Segments that count, and those of which only the directory is there, by number.
    pub(crate) fn segments_and_orphans(&self) -> Vec<SegmentId> {
        let orphans = self.directories.keys().filter(|id| self.may_hold(**id));
        let ids: BTreeSet<SegmentId> = self.segments.keys().chain(orphans).copied().collect();
        ids.into_iter().filter(|id| !self.uncounted.contains(id)).collect()
    }

    /// Whether a segment of this name would count.
    pub(crate) fn may_hold(&self, id: SegmentId) -> bool {
        self.counts(id.epoch) && self.cut_of(id) != Some(None)
    }

    /// What the other files say of a segment that counts: where it is cut, and how far its batches reach at least.
    pub(crate) fn known(&self, id: SegmentId, identity: Identity) -> Known {
        let cut = self.cut_of(id).map(|cut| cut.unwrap_or(u64::MAX));
        let end = self.end.filter(|end| end.segment == id.number);
        let is_newest = self.newest_epoch().is_some_and(|newest| newest.epoch == id.epoch);
        let ended = end.filter(|_| is_newest).map_or(0, |end| end.offset);
        Known {
            identity,
            id,
            limit: cut.unwrap_or(u64::MAX),
            least: cut.filter(|cut| *cut != u64::MAX).unwrap_or(0).max(ended),
        }
    }

    pub(crate) fn newest_epoch(&self) -> Option<&EpochFile> {
        self.epochs.last()
    }

    /// About how many bytes a start deals with: the newest checkpoint, the directories, and segments without one.
    pub(crate) fn bytes_to_read(&self) -> u64 {
        let directories: u64 = self.directories.values().sum();
        let without = |(id, _): &(&SegmentId, &u64)| !self.directories.contains_key(id);
        let segments: u64 = self.segments.iter().filter(without).map(|(_, length)| length).sum();
        self.checkpoint_bytes + directories + segments
    }

    /// Reads where the newest epoch was ended. A file that is damaged says nothing.
    fn read_end(&mut self, disk: &dyn Disk) -> Result<(), OpenError> {
        let Some((identity, epoch)) = self.newest_epoch().map(|epoch| (epoch.identity, epoch.epoch)) else {
            return Ok(());
        };
        let name = end_name(epoch);
        if !self.ends.contains(&name) {
            return Ok(());
        }
        let bytes = read_small(disk, &name)?;
        match decode_end(&bytes, &identity, epoch) {
            Ok(end) => self.end = Some(end),
            Err(reason) => self.remarks.push(format!("{name}: {reason}; it counts for nothing")),
        }
        Ok(())
    }

    /// Reads what earlier starts gave up. What one noted that was interrupted before its epoch counted says nothing.
    fn read_losses(&mut self, disk: &dyn Disk, mut epochs: Vec<u64>) -> Result<(), OpenError> {
        let newest = self.newest_epoch().map(|epoch| (epoch.identity, epoch.epoch));
        if let Some((identity, _)) = newest.filter(|_| self.has_witness) {
            match decode_witness(&read_small(disk, GIVEN_UP_NAME)?, &identity) {
                Ok(epoch) => self.witness = Some(epoch),
                Err(reason) => self
                    .remarks
                    .push(format!("{GIVEN_UP_NAME}: {reason}; it counts for nothing")),
            }
        }
        epochs.sort_unstable();
        for epoch in epochs {
            let name = lost_name(epoch);
            let Some((identity, _)) = newest.filter(|_| self.counts(epoch)) else {
                self.obsolete.push(name);
                continue;
            };
            match LostFile::decode(&read_all(disk, &name)?, &identity, epoch) {
                Ok(lost) => self.lost.push(lost),
                Err(reason) => self.remarks.push(format!("{name}: {reason}; it counts for nothing")),
            }
        }
        Ok(())
    }

    /// Every file belongs to an epoch that was opened, and all to one journal.
    fn check(&mut self, disk: &dyn Disk) -> Result<(), OpenError> {
        let newest = self.newest_epoch().map_or(0, |epoch| epoch.epoch);
        let identity = self.newest_epoch().map(|epoch| epoch.identity);
        if let Some(other) = self.epochs.iter().find(|epoch| Some(epoch.identity) != identity) {
            let name = epoch_name(other.epoch);
            let remedy =
                format!("Move {name} elsewhere if it does not belong here, or restore it from a copy of the directory");
            return Err(indispensable(name, 16, "the file belongs to another journal", remedy));
        }
        let strangers: Vec<SegmentId> = self.segments.keys().filter(|id| id.epoch > newest).copied().collect();
        for id in strangers {
            if holds_something(disk, id, identity.as_ref())? {
                return Err(without_epoch(id.file_name(), id.epoch));
            }
            self.segments.remove(&id);
            let name = id.file_name();
            self.remarks
                .push(format!("{name} holds nothing of this journal and is left alone"));
        }
        let checkpoints = self.checkpoints.iter().find(|(_, epoch)| *epoch > newest);
        if let Some((position, epoch)) = checkpoints {
            return Err(without_epoch(checkpoint_name(*position, *epoch), *epoch));
        }
        // They say nothing that a segment does not.
        let without: Vec<SegmentId> = self
            .directories
            .keys()
            .filter(|id| id.epoch > newest)
            .copied()
            .collect();
        for id in without {
            self.directories.remove(&id);
            let name = id.directory_name();
            self.remarks.push(format!("{name} has no segment and is left alone"));
        }
        Ok(())
    }

    /// Where an epoch file cuts the segment `id`: `None` when none does, `Some(None)` when nothing of it counts. A later epoch may cut
    /// before an earlier one, when something was given up.
    pub(crate) fn cut_of(&self, id: SegmentId) -> Option<Option<u64>> {
        let later = self.epochs.iter().filter(|epoch| epoch.epoch > id.epoch);
        let cut = later
            .map(|epoch| epoch.cut)
            .min_by_key(|cut| (cut.segment, cut.offset))?;
        match cut.segment.cmp(&id.number) {
            std::cmp::Ordering::Less => Some(None),
            std::cmp::Ordering::Equal => Some(Some(cut.offset)),
            std::cmp::Ordering::Greater => Some(Some(u64::MAX)),
        }
    }
}

/// Whether a segment of an epoch that nobody opened may hold something: its header is one of this journal, or unreadable with data
/// behind it.
fn holds_something(disk: &dyn Disk, id: SegmentId, identity: Option<&Identity>) -> Result<bool, OpenError> {
    let bytes = read_all(disk, &id.file_name())?;
    let behind = bytes.get(SEGMENT_HEADER_BYTES as usize..).unwrap_or_default();
    Ok(match (SegmentHeader::decode(&bytes), identity) {
        (Ok(header), Some(identity)) => header.identity == *identity,
        (Err(_), Some(identity)) => first_batch(behind, id.seed(identity)).is_some(),
        (_, None) => behind.iter().any(|byte| *byte != 0),
    })
}

/// Where the first whole batch of a segment with this seed lies.
pub(crate) fn first_batch(bytes: &[u8], seed: u32) -> Option<usize> {
    (0..bytes.len()).step_by(8).find(|at| {
        let rest = &bytes[*at..];
        BatchHeader::decode(rest, seed).is_some_and(|header| header.is_whole(rest, seed))
    })
}

/// Whether a start that opened an epoch found what the start of epoch `before` had opened, when that has a file or segments. One whose
/// program did not say so took every epoch before it for one that counts.
fn follows(epoch: &EpochFile, before: u64) -> bool {
    if is_planted(Fault::NoPrevious) {
        return before < epoch.epoch;
    }
    before < epoch.epoch && (epoch.previous == 0 || epoch.previous == before)
}

fn without_epoch(name: String, epoch: u64) -> OpenError {
    let reason = format!("there is no file that opens its epoch {epoch}");
    let remedy = format!(
        "Restore {} from a copy of the directory; or, if {name} does not belong to this store, move it elsewhere",
        epoch_name(epoch)
    );
    indispensable(name, 0, reason, remedy)
}

fn read_epoch(disk: &dyn Disk, epoch: u64) -> Result<EpochFile, OpenError> {
    let name = epoch_name(epoch);
    let bytes = read_small(disk, &name)?;
    let restore = || format!("Restore {name} from a copy of the directory: nothing else says what it says");
    let content = EpochFile::decode(&bytes).map_err(|reason| indispensable(&name, 0, reason, restore()))?;
    if content.epoch != epoch {
        let reason = format!("the file opens epoch {}", content.epoch);
        return Err(indispensable(&name, 32, reason, restore()));
    }
    Ok(content)
}

/// The content of a file.
pub(crate) fn read_all(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, OpenError> {
    let file = disk.open(name).map_err(io_error(format!("open {name}")))?;
    let length = file.length().map_err(io_error(format!("read {name}")))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0).map_err(io_error(format!("read {name}")))?;
    Ok(bytes)
}

/// The content of a small file, or the beginning of one that should be small.
fn read_small(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, OpenError> {
    let file = disk.open(name).map_err(io_error(format!("open {name}")))?;
    let length = file.length().map_err(io_error(format!("read {name}")))?;
    let mut bytes = vec![0; length.min(4_096) as usize];
    file.read_at(&mut bytes, 0).map_err(io_error(format!("read {name}")))?;
    Ok(bytes)
}
