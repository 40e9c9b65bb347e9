//! Files that are taken from a copy as a whole: segments that are missing, checkpoints, and what opens epochs.

use super::plan::{Donor, Remedy, Repair};
use super::segment::write_file;
use crate::directory::{Extent, Run, read_summary};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{FileName, Identity, SegmentId, epoch_name};
use crate::recovery::files::{ABOVE_ALL, Files, Known, read_all};
use crate::recovery::io_error;
use crate::verification::{Damage, Lack, LackOf, Segment, check_file};
use std::collections::BTreeSet;
use std::ops::Range;

/// Files that open epochs are named one after the other; a directory that misses more of them is none of the journal's.
const EPOCHS_MISSING_MAX: usize = 64;

const NO_COPY: &str = "nothing to take it from: name backups with --from";

impl Repair<'_> {
    /// Brings back the files that open epochs, without which nothing else can be looked at.
    pub(super) fn epochs(&self, disk: &dyn Disk, told: &mut dyn FnMut(Damage, Remedy)) -> Result<(), OpenError> {
        for _ in 0..EPOCHS_MISSING_MAX {
            let (file, reason, error) = match Files::list(disk, ABOVE_ALL) {
                Err(error @ OpenError::Indispensable { .. }) => {
                    let OpenError::Indispensable { file, reason, .. } = &error else {
                        return Err(error);
                    };
                    (file.clone(), reason.clone(), error)
                }
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            };
            // What has no epoch names it.
            let name = epoch_name(FileName::parse(&file).epoch());
            let Some(bytes) = self.own_epoch(&name)? else {
                return Err(error);
            };
            if read_all(disk, &name).is_ok_and(|there| there == bytes) {
                return Err(error);
            }
            write_file(disk, &name, &bytes)?;
            told(Damage::of_file(name, reason), Remedy::Copied);
        }
        Ok(())
    }

    /// A file that opens an epoch, as a copy of this life of the journal has it.
    fn own_epoch(&self, name: &str) -> Result<Option<Vec<u8>>, OpenError> {
        for copy in self.copies.iter().filter(|copy| copy.is_own_life) {
            let Some(newest) = Files::list(copy.disk, ABOVE_ALL)?.newest_epoch().copied() else {
                continue;
            };
            if copy.has(name)? && check_file(copy.disk, name, newest.identity)?.is_ok() {
                return read_all(copy.disk, name).map(Some);
            }
        }
        Ok(None)
    }

    /// Takes a damaged file from the first copy that has it whole.
    pub(super) fn whole_file(&self, disk: &dyn Disk, name: &str, identity: Identity) -> Result<Remedy, OpenError> {
        let mut refused = NO_COPY;
        for copy in self.copies {
            refused = match copy.has(name)? {
                false => "no backup has this file: each was made before or after it was there",
                true if !copy.is_own_life => "the backup that has it is of another life of the store",
                true if check_file(copy.disk, name, identity)?.is_err() => "it is damaged in the backup as well",
                true => {
                    write_file(disk, name, &read_all(copy.disk, name)?)?;
                    return Ok(Remedy::Copied);
                }
            };
        }
        Ok(Remedy::None(refused.to_owned()))
    }

    /// Brings back what is not there.
    pub(super) fn lack(
        &self,
        disk: &dyn Disk,
        files: &Files,
        identity: Identity,
        lack: Lack,
        told: &mut dyn FnMut(Damage, Remedy),
    ) -> Result<(), OpenError> {
        let Lack { damage, of } = lack;
        match of {
            LackOf::Rest => told(damage, Remedy::None("nothing says what was there".to_owned())),
            LackOf::File(id, extent) => {
                let known = files.known(id, identity);
                let remedy = self.missing_file(disk, known, &|found, _| found == extent)?;
                told(damage, remedy.map_or_else(Remedy::None, |_| Remedy::Copied));
            }
            LackOf::Records {
                after,
                numbers,
                positions,
            } => {
                let filled = self.fill(disk, files, identity, (after, numbers, positions.clone()), told)?;
                if let Err(reason) = filled {
                    told(damage, Remedy::None(reason));
                }
            }
        }
        Ok(())
    }

    /// Brings back segments that hold messages that are in no file. Nothing in the journal says any more what they were: only what is of
    /// the same life of it can be believed.
    pub(super) fn lost_messages(
        &self,
        disk: &dyn Disk,
        files: &Files,
        identity: Identity,
        told: &mut dyn FnMut(Damage, Remedy),
    ) -> Result<(), OpenError> {
        let copies = self
            .copies
            .iter()
            .filter(|copy| copy.is_own_life && !self.lost.is_empty());
        for (copy, id) in copies.flat_map(|copy| copy.directories().into_iter().map(move |id| (copy, id))) {
            let name = id.file_name();
            let is_there = disk.exists(&name).map_err(io_error(format!("look for {name}")))?;
            let summary = match read_summary(copy.disk, &identity, id) {
                Ok(Ok(summary)) if !is_there && files.may_hold(id) => summary,
                _ => continue,
            };
            let is_lost = |run: &&Run| {
                let mut lost = self.lost.iter();
                lost.any(|(log, first, last)| *log == run.log && run.first <= *last && *first <= run.last)
            };
            let messages: Vec<_> = summary.runs.iter().filter(is_lost).collect();
            if messages.is_empty() {
                continue;
            }
            let remedy = self.missing_file(disk, files.known(id, identity), &|found, _| found == summary.extent)?;
            if remedy.is_ok() {
                let damage = Damage {
                    messages: messages.iter().map(|run| (run.log, run.first, run.last)).collect(),
                    is_missing: true,
                    ..Damage::of_file(name, "the file is missing, and messages in it are in no other")
                };
                told(damage, Remedy::Copied);
            }
        }
        Ok(())
    }

    /// Brings back segments that follow on the one that ends so, up to a position. `Err`: why not all of them.
    fn fill(
        &self,
        disk: &dyn Disk,
        files: &Files,
        identity: Identity,
        (mut after, numbers, positions): (Option<Extent>, Range<u64>, Range<u64>),
        told: &mut dyn FnMut(Damage, Remedy),
    ) -> Result<Result<(), String>, OpenError> {
        let mut refused = NO_COPY.to_owned();
        for id in self.segments_between(files, numbers)? {
            let follows = |found: Extent, predecessor: u32| {
                let is_behind = after
                    .is_some_and(|after| found.first_position == after.next_position && predecessor == after.checksum);
                is_behind && found.next_position <= positions.end
            };
            match self.missing_file(disk, files.known(id, identity), &follows)? {
                Ok(extent) => {
                    let reason = "the file is missing";
                    told(
                        Damage {
                            is_missing: true,
                            ..Damage::of_file(id.file_name(), reason)
                        },
                        Remedy::Copied,
                    );
                    after = Some(extent);
                }
                Err(reason) => refused = reason,
            }
            if after.is_some_and(|after| after.next_position >= positions.end) {
                return Ok(Ok(()));
            }
        }
        Ok(Err(refused))
    }

    /// Segments of the copies with numbers that may be missing, by number.
    fn segments_between(&self, files: &Files, numbers: Range<u64>) -> Result<Vec<SegmentId>, OpenError> {
        let mut found = BTreeSet::new();
        for copy in self.copies {
            let names = copy.disk.file_names();
            let names = names.map_err(io_error("list the backup"))?;
            found.extend(names.iter().filter_map(|name| match FileName::parse(name) {
                FileName::Segment(id) if numbers.contains(&id.number) => Some(id),
                _ => None,
            }));
        }
        found.retain(|id| !files.segments.contains_key(id) && files.may_hold(*id));
        Ok(found.into_iter().collect())
    }

    /// Brings back a segment, and its directory, from the first copy in which it is whole and fits what the journal says; what it covers,
    /// or why none does.
    fn missing_file(
        &self,
        disk: &dyn Disk,
        known: Known,
        fits: &dyn Fn(Extent, u32) -> bool,
    ) -> Result<Result<Extent, String>, OpenError> {
        let mut refused = NO_COPY;
        for copy in self.copies {
            if !copy.has(&known.id.file_name())? {
                refused = "no backup has this file";
                continue;
            }
            let mut segment = Segment::read(copy.disk, known)?;
            let read = segment.walk();
            let whole = read.directory.as_ref().filter(|_| read.end as u64 >= known.least);
            let Some(directory) = whole else {
                refused = "it is damaged in the backup as well, or was longer";
                continue;
            };
            let predecessor = segment.predecessor().unwrap_or_default();
            if !fits(directory.extent, predecessor) {
                refused = "the backup has another file of this name, or was made before all of it was written";
                continue;
            }
            segment.bytes.truncate(read.end);
            write_file(disk, &known.id.file_name(), &segment.bytes)?;
            write_file(disk, &known.id.directory_name(), &directory.encode(&known.identity))?;
            return Ok(Ok(directory.extent));
        }
        Ok(Err(refused.to_owned()))
    }
}

impl Donor<'_> {
    /// Segments of which it has a directory. Of one that cannot be listed none.
    fn directories(&self) -> BTreeSet<SegmentId> {
        let names = self.disk.file_names().unwrap_or_default();
        let directories = names.iter().filter_map(|name| match FileName::parse(name) {
            FileName::Directory(id) => Some(id),
            _ => None,
        });
        directories.collect()
    }

    fn has(&self, name: &str) -> Result<bool, OpenError> {
        let exists = self.disk.exists(name);
        exists.map_err(io_error(format!("look for {name} in the backup")))
    }
}
