//! Making a backup in a repository: objects, then the manifest, then what goes.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use seaway_journal::Identity;
use seaway_journal::disk::DiskFile;

use super::objects::remove_if_there;
use super::{Repository, UNFINISHED, made_of, manifest_file, name_of, object_file};
use crate::digest::{Hasher, sample};
use crate::error::{Error, io_error};
use crate::limits::{MANIFESTS_REMEMBERED, PIECE_BYTES};
use crate::manifest::{Manifest, ManifestFile};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::source::{Source, SourceFile, check};

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
    /// How many backups of the same store stay, this one included; at least 1. None: all.
    pub keep: Option<usize>,
    /// Reads everything again, and replaces what is damaged in the repository.
    pub is_full: bool,
}

/// A backup that is named later than it was begun by no more than this was made right after another, and no clock was set back.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// Files of earlier backups: their checksums, by name, length and sample.
type Known = HashMap<(String, u64, String), String>;

/// A backup under way.
struct Attempt<'a> {
    repository: &'a Repository,
    source: &'a mut dyn Source,
    making: Making,
    known: Known,
    pace: &'a mut Pace,
    progress: &'a Progress,
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
            source,
            making,
            pace,
            progress,
            copied: (0, 0),
            new: Vec::new(),
            remarks: Vec::new(),
        };
        let prepared = attempt
            .copy()
            .and_then(|manifest| Ok((manifest.made, self.prepare(manifest)?)));
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
        let removed = match making.keep.map(|keep| self.prune(&manifest.identity, keep, &name)) {
            None => Vec::new(),
            Some(Ok(removed)) => removed,
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
            for file in manifest.files {
                if let Some(sample) = file.sample {
                    known.entry((file.name, file.length, sample)).or_insert(file.sha256);
                }
            }
        }
        Ok(known)
    }

    /// Removes the oldest backups of a store but `keep`, of which `made` is one in any case. Manifests go first.
    fn prune(&self, identity: &str, keep: usize, made: &str) -> Result<Vec<String>, Error> {
        let listed = self.list()?;
        let is_own =
            |manifest: &Result<Manifest, String>| manifest.as_ref().is_ok_and(|manifest| manifest.identity == identity);
        let mut own: Vec<String> = Vec::new();
        own.extend(
            listed
                .into_iter()
                .filter(|listed| listed.name != made && is_own(&listed.manifest))
                .map(|listed| listed.name),
        );
        own.truncate(own.len().saturating_sub(keep.saturating_sub(1)));
        for name in &own {
            let file = manifest_file(name);
            self.disk.remove(&file).map_err(io_error(format!("remove {file}")))?;
        }
        if !own.is_empty() {
            self.disk.sync_directory().map_err(io_error("sync the directory"))?;
            self.remove_unnamed()?;
        }
        Ok(own)
    }
}

impl Attempt<'_> {
    fn copy(&mut self) -> Result<Manifest, Error> {
        let made = Timestamp::now();
        let mut files = Vec::with_capacity(self.source.files().len());
        for index in 0..self.source.files().len() {
            files.push(self.file(index)?);
        }
        self.source.finish()?;
        let disk = self.repository.disk.as_ref();
        // Their names are durable before anything says that they are there.
        disk.sync_directory().map_err(io_error("sync the directory"))?;
        Ok(Manifest::new(made, self.source.origin(), files))
    }

    /// One file of the image: found again, or copied.
    fn file(&mut self, index: usize) -> Result<ManifestFile, Error> {
        let file = self.source.files()[index].clone();
        let source = &mut *self.source;
        let sample = sample(file.length, |offset, bytes| source.read(index, offset, bytes))?;
        let known = sample.as_ref().and_then(|sample| {
            let known = self.known.get(&(file.name.clone(), file.length, sample.clone()));
            known.cloned()
        });
        if let Some(sha256) = known.as_ref().filter(|_| !self.making.is_full)
            && self.repository.has_object(sha256, file.length)?
        {
            self.progress.add(file.length);
            return Ok(ManifestFile {
                name: file.name,
                length: file.length,
                sha256: sha256.clone(),
                sample,
            });
        }
        let sha256 = self.object(index, &file, known.as_deref())?;
        Ok(ManifestFile {
            name: file.name,
            length: file.length,
            sha256,
            sample,
        })
    }

    /// Copies the content of a file; its checksum. `known` is that of an earlier copy: it stays when the file is damaged now.
    fn object(&mut self, index: usize, file: &SourceFile, known: Option<&str>) -> Result<String, Error> {
        let length = file.length;
        let writing = self.repository.begin_object()?;
        let mut hasher = Hasher::new();
        let mut bytes = vec![0; self.pace.piece(PIECE_BYTES).min(length.max(1) as usize)];
        let mut offset = 0;
        while offset < length {
            let piece = (length - offset).min(bytes.len() as u64) as usize;
            let piece = &mut bytes[..piece];
            self.pace.wait(piece.len());
            self.source.read(index, offset, piece)?;
            hasher.update(piece);
            writing.write_at(piece, offset).map_err(io_error("write an object"))?;
            offset += piece.len() as u64;
            self.progress.add(piece.len() as u64);
        }
        let sha256 = hasher.finish();
        if let Some(known) = known.filter(|known| *known != sha256)
            && self.is_better(known, writing.as_ref(), file)
        {
            self.repository.drop_object()?;
            self.remarks.push(format!(
                "{} of the store is damaged: the whole copy of it that was there is kept, and part of this backup. `seaway verify` of the \
                 store says what is damaged, and `seaway repair --from` these backups mends it",
                file.name
            ));
            return Ok(known.to_owned());
        }
        let is_there = self.repository.has_object(&sha256, length)?;
        if is_there && (!self.making.is_full || self.repository.is_whole(&sha256, length)) {
            self.repository.drop_object()?;
            return Ok(sha256);
        }
        let name = object_file(&sha256);
        // One that is damaged is replaced: others may need it.
        if !self
            .repository
            .disk
            .exists(&name)
            .map_err(io_error(format!("look for {name}")))?
        {
            self.new.push(name);
        }
        self.repository.name_object(writing.as_ref(), &sha256)?;
        self.copied.0 += 1;
        self.copied.1 += length;
        Ok(sha256)
    }

    /// Whether an earlier copy of a segment is whole, and what was read of it now is not.
    fn is_better(&self, known: &str, writing: &dyn DiskFile, file: &SourceFile) -> bool {
        let identity = HEXLOWER.decode(self.source.origin().identity.as_bytes());
        let identity = identity.ok().and_then(|identity| Identity::try_from(identity).ok());
        identity.is_some_and(|identity| {
            self.repository
                .is_better(known, writing, &file.name, identity, file.length)
        })
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
