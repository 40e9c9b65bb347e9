//! Making a backup in a repository: objects, then the manifest, then what goes.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::SignedDuration;
use seaway_journal::disk::Disk;
use seaway_store::verify::start_on;

use super::objects::remove_if_there;
use super::{Repository, UNFINISHED, made_of, manifest_file, name_of, object_file};
use crate::contents::Contents;
use crate::copying::{Copied, Copier};
use crate::digest::sample;
use crate::error::{Error, io_error};
use crate::limits::MANIFESTS_REMEMBERED;
use crate::manifest::{Manifest, ManifestFile};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::source::{Source, SourceFile, check, identity_of};

/// What became of a backup.
#[derive(Debug)]
pub struct Made {
    /// What it is called.
    pub name: String,
    /// What it is made of.
    pub manifest: Manifest,
    /// Files and bytes that had to be copied.
    pub copied: (u64, u64),
    /// Names of older backups that were removed for `keep`.
    pub removed: Vec<String>,
    /// What the operator should know.
    pub remarks: Vec<String>,
}

/// How a backup is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Making {
    /// How many backups of the same life of the same store stay, this one included; at least 1. None: all. Besides them stays the last
    /// one that is known to be whole, when this one is not.
    pub keep: Option<usize>,
    /// Reads everything again, and replaces what is damaged in the repository.
    pub is_full: bool,
}

/// A backup that is named later than it was begun by no more than this was made right after another, and no clock was set back.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// Files of earlier backups that were whole when they were copied: their checksums, by name, length and sample.
type Known = HashMap<(String, u64, String), String>;

/// A backup under way.
struct Attempt<'a> {
    repository: &'a Repository,
    source: &'a mut dyn Source,
    making: Making,
    known: Known,
    copier: Copier<'a>,
    copied: (u64, u64),
    /// Objects that were not there before.
    new: Vec<String>,
    /// What the operator should know.
    remarks: Vec<String>,
}

impl Repository {
    /// Makes a backup. Until it is complete nothing has its name; when it fails what was copied for it is removed.
    ///
    /// # Errors
    /// The source cannot be read, or something cannot be written.
    pub fn make(
        &self,
        source: &mut dyn Source,
        making: Making,
        pace: &mut Pace,
        progress: &Progress,
    ) -> Result<Made, Error> {
        let bytes = check(source)?;
        progress.begin(bytes);
        let _lock = self.lock()?;
        let all_read = self.remove_unnamed()?;
        let mut attempt = Attempt {
            repository: self,
            known: self.known()?,
            copier: Copier::new(source, pace, progress),
            source,
            making,
            copied: (0, 0),
            new: Vec::new(),
            remarks: Vec::new(),
        };
        let prepared = attempt.copy().and_then(|mut manifest| {
            manifest.refusal = self.refusal(&manifest);
            Ok((manifest.made, self.prepare(manifest)?))
        });
        let (begun, (name, manifest)) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                attempt.take_back();
                return Err(error);
            }
        };
        let (copied, mut remarks) = (attempt.copied, attempt.remarks);
        // When that fails nobody knows whether it is there: its objects stay, until the next backup knows.
        self.publish(&name)?;
        if manifest.made.duration_since(begun) > CLOCK_TOLERANCE {
            remarks.push(format!(
                "The clock says {begun}, and there is a backup of a later time: this one is named as the next after it, {name}"
            ));
        }
        if !all_read {
            let text = "The manifest of an older backup cannot be read: nothing that it may need is removed. See seaway verify";
            remarks.push(text.to_owned());
        }
        // From here on the backup is there, whatever else fails.
        let removed = match making.keep.map(|keep| self.prune(&manifest, keep, &name)) {
            None => Vec::new(),
            Some(Ok(pruned)) => {
                remarks.extend(pruned.kept.map(|kept| {
                    format!("{kept} is the last backup that is not known to be damaged, and is kept besides those that --keep counts")
                }));
                pruned.removed
            }
            Some(Err(error)) => {
                remarks.push(format!(
                    "The backup is complete, but older ones could not all be removed: {error}"
                ));
                Vec::new()
            }
        };
        Ok(Made {
            name,
            manifest,
            copied,
            removed,
            remarks,
        })
    }

    /// Writes what a backup consists of, whose files are there, and says what it will be called. When that fails nothing of it stays.
    fn prepare(&self, mut manifest: Manifest) -> Result<(String, Manifest), Error> {
        let disk = self.disk.as_ref();
        // Later than every other, whatever the clock says: the newest name is the newest backup.
        if let Some(newest) = self.names()?.iter().filter_map(|name| made_of(name)).max() {
            let next = newest.checked_add(SignedDuration::from_millis(1));
            let next =
                next.map_err(|_| Error::Refused("no later time than that of the newest backup is left".to_owned()))?;
            manifest.made = manifest.made.max(next);
        }
        let name = name_of(manifest.made);
        let unfinished = format!("{}{UNFINISHED}", manifest_file(&name));
        let write = || {
            let writing = disk.create(&unfinished)?;
            writing.write_at(&manifest.encode(), 0)?;
            writing.sync_data()
        };
        write().map_err(|error| {
            // The next backup removes it otherwise.
            let _ = disk.remove(&unfinished);
            io_error(format!("write {unfinished}"))(error)
        })?;
        Ok((name, manifest))
    }

    /// From here on it is there.
    fn publish(&self, name: &str) -> Result<(), Error> {
        let (disk, file) = (self.disk.as_ref(), manifest_file(name));
        let publish = || {
            disk.rename(&format!("{file}{UNFINISHED}"), &file)?;
            disk.sync_directory()
        };
        publish().map_err(io_error(format!("write {file}")))
    }

    /// Files of the newest backups, to know them again.
    fn known(&self) -> Result<Known, Error> {
        let mut known = Known::new();
        for name in self.names()?.iter().rev().take(MANIFESTS_REMEMBERED) {
            let Ok(manifest) = self.manifest(name) else { continue };
            if !manifest.checked {
                continue;
            }
            for file in manifest.files.into_iter().filter(|file| file.damaged.is_none()) {
                if let Some(sample) = file.sample {
                    known.entry((file.name, file.length, sample)).or_insert(file.sha256);
                }
            }
        }
        Ok(known)
    }

    /// Why no server would start on what a backup holds whose files are there. Nobody knows of one that is encrypted.
    fn refusal(&self, manifest: &Manifest) -> Option<String> {
        if manifest.encrypted {
            return None;
        }
        let reading = self.reading(String::new(), manifest.clone());
        let disk: Arc<dyn Disk> = Arc::new(Contents::new(Arc::new(reading)));
        match start_on(&disk, None) {
            Ok(started) => started.refusal.map(|refusal| refusal.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Removes the oldest backups of a life of a store but `keep`, of which `made` is one in any case. Manifests go first.
    fn prune(&self, manifest: &Manifest, keep: usize, made: &str) -> Result<Pruned, Error> {
        let lineage = manifest.lineage();
        let own = self.list()?.into_iter().filter(|listed| listed.name != made);
        let own = own.filter_map(|listed| Some((listed.name, listed.manifest.ok()?)));
        let mut own: Vec<(String, Manifest)> = own.filter(|(_, manifest)| manifest.lineage() == lineage).collect();
        let stay = own.split_off(own.len().saturating_sub(keep.saturating_sub(1)));
        let mut kept = None;
        if !manifest.is_known_whole() && !stay.iter().any(|(_, manifest)| manifest.is_known_whole()) {
            let whole = own.iter().rposition(|(_, manifest)| manifest.is_known_whole());
            let perhaps = || own.iter().rposition(|(_, manifest)| !manifest.is_known_damaged());
            kept = whole.or_else(perhaps).map(|index| own.remove(index).0);
        }
        let removed: Vec<String> = own.into_iter().map(|(name, _)| name).collect();
        for name in &removed {
            let file = manifest_file(name);
            self.disk.remove(&file).map_err(io_error(format!("remove {file}")))?;
        }
        if !removed.is_empty() {
            self.disk.sync_directory().map_err(io_error("sync the directory"))?;
            self.remove_unnamed()?;
        }
        Ok(Pruned { removed, kept })
    }
}

/// What became of older backups.
struct Pruned {
    removed: Vec<String>,
    /// One that stays although it was not to be kept.
    kept: Option<String>,
}

impl Attempt<'_> {
    fn copy(&mut self) -> Result<Manifest, Error> {
        let mut files = Vec::with_capacity(self.source.files().len());
        for index in 0..self.source.files().len() {
            files.push(self.file(index)?);
        }
        self.source.finish()?;
        let disk = self.repository.disk.as_ref();
        // Their names are durable before anything says that they are there.
        disk.sync_directory().map_err(io_error("sync the directory"))?;
        Ok(Manifest::new(self.source.origin(), files))
    }

    /// One file of the image: found again, or copied.
    fn file(&mut self, index: usize) -> Result<ManifestFile, Error> {
        let file = self.source.files()[index].clone();
        let source = &mut *self.source;
        let sample = match sample(file.length, |offset, bytes| source.read(index, offset, bytes)) {
            Err(Error::Unreadable(_)) => None,
            sample => sample?,
        };
        let known = sample.as_ref().and_then(|sample| {
            let known = self.known.get(&(file.name.clone(), file.length, sample.clone()));
            known.cloned()
        });
        let described = |sha256: String, damaged: Option<String>| ManifestFile {
            name: file.name.clone(),
            length: file.length,
            sha256,
            sample,
            damaged,
        };
        if let Some(sha256) = known.as_ref().filter(|_| !self.making.is_full)
            && self.repository.has_object(sha256, file.length)?
        {
            self.copier.passed(file.length);
            return Ok(described(sha256.clone(), None));
        }
        let copied = self.object(index, &file, known.as_deref())?;
        Ok(described(copied.sha256, copied.damaged))
    }

    /// Copies the content of a file. `known` is the checksum of an earlier copy: it stays when the file is damaged now.
    fn object(&mut self, index: usize, file: &SourceFile, known: Option<&str>) -> Result<Copied, Error> {
        let length = file.length;
        let writing = self.repository.begin_object()?;
        let copied = self.copier.copy(self.source, index, &mut |piece, offset| {
            // A sync of the whole would hold up a server whose store is on the same disk.
            let written = writing.write_at(piece, offset).and_then(|()| writing.sync_data());
            written.map_err(io_error("write an object"))
        })?;
        if let Some(known) = known.filter(|known| copied.damaged.is_some() && **known != copied.sha256) {
            let identity = identity_of(&self.source.origin());
            if self.repository.is_whole_file(known, &file.name, identity, length) {
                self.repository.drop_object()?;
                self.remarks.push(format!(
                    "{} of the store is damaged: the whole copy of it that was there is kept, and part of this backup. `seaway verify` of \
                     the store says what is damaged, and `seaway repair --from` these backups mends it",
                    file.name
                ));
                return Ok(Copied {
                    sha256: known.to_owned(),
                    damaged: None,
                });
            }
        }
        let sha256 = &copied.sha256;
        let is_there = self.repository.has_object(sha256, length)?;
        if is_there && (!self.making.is_full || self.repository.is_whole(sha256, length)) {
            self.repository.drop_object()?;
            return Ok(copied);
        }
        let name = object_file(sha256);
        // One that is damaged is replaced: others may need it.
        if !self
            .repository
            .disk
            .exists(&name)
            .map_err(io_error(format!("look for {name}")))?
        {
            self.new.push(name);
        }
        self.repository.name_object(writing.as_ref(), sha256)?;
        self.copied.0 += 1;
        self.copied.1 += length;
        Ok(copied)
    }

    /// Gives the space back. What cannot be removed the next backup removes.
    fn take_back(&self) {
        let disk = self.repository.disk.as_ref();
        let _ = self.repository.drop_object();
        for name in &self.new {
            let _ = remove_if_there(disk, name);
        }
    }
}
