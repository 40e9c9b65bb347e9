//! A directory of backups. Files are named by their content, so that those of many backups are there once, and the same name in two
//! stores, or in one store before and after a restore, is no danger.
//!
//! ```text
//! backups.lock                           locked while somebody writes here
//! backup-20260131T091500.123Z.manifest   a backup, complete
//! object-<SHA-256>                       the content of files of backups
//! *.writing                              unfinished; removed by the next backup
//! ```
//!
//! A manifest gets its name last, when everything in it is durable; it loses it first. What no manifest names is removed.

mod making;
mod objects;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use seaway_journal::disk::{Disk, DiskLock, LockError, real::RealDisk, real::holder_description};
use seaway_journal::{BACKUPS_LOCK_NAME as LOCK, has_epoch};

use crate::error::{Error, io_error};
use crate::limits::{DONORS_MAX, MANIFEST_BYTES_MAX, STORES_NAMED_MAX};
use crate::manifest::{Manifest, ManifestFile};
use crate::names::is_history;
pub use making::{Made, Making};
pub(crate) use objects::remove_if_there;

const PREFIX: &str = "backup-";
const SUFFIX: &str = ".manifest";
const UNFINISHED: &str = ".writing";
const OBJECT: &str = "object-";

/// A backup in a repository.
#[derive(Debug)]
pub struct Listed {
    /// What it is called: the time at which it was begun.
    pub name: String,
    /// What it is made of, or why that cannot be read.
    pub manifest: Result<Manifest, String>,
}

/// See the module.
pub struct Repository {
    disk: Arc<dyn Disk>,
}

/// A backup that is being read.
pub struct Reading {
    disk: Arc<dyn Disk>,
    /// What it is called.
    pub name: String,
    /// What it is made of.
    pub manifest: Manifest,
}

/// Whether a directory holds backups.
///
/// # Errors
/// It cannot be listed.
pub fn is_repository(directory: &Path) -> std::io::Result<bool> {
    let names = RealDisk::existing(directory)?.file_names()?;
    Ok(names.iter().any(|name| backup_name(name).is_some() || name == LOCK))
}

/// What the backup with a manifest of this file name is called.
fn backup_name(file: &str) -> Option<&str> {
    file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}

fn manifest_file(name: &str) -> String {
    format!("{PREFIX}{name}{SUFFIX}")
}

fn object_file(sha256: &str) -> String {
    format!("{OBJECT}{sha256}")
}

/// What a backup that is begun at this time is called.
fn name_of(made: Timestamp) -> String {
    made.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

/// When the backup of a name was begun; `None` for a name that we do not give.
fn made_of(name: &str) -> Option<Timestamp> {
    let made: Timestamp = name.parse().ok()?;
    (name_of(made) == name).then_some(made)
}

/// Says which stores there are, each with its newest backup.
fn several(stores: &BTreeMap<String, String>) -> Error {
    let named = stores.iter().take(STORES_NAMED_MAX);
    let name = |(lineage, newest): (&String, &String)| match lineage.split_once('/') {
        Some((identity, life)) => format!("{life} (restored of {identity}; its newest: {newest})"),
        None => format!("{lineage} (its newest: {newest})"),
    };
    let mut named: Vec<String> = named.map(name).collect();
    if stores.len() > named.len() {
        named.push(format!("{} more", stores.len() - named.len()));
    }
    Error::Refused(format!(
        "backups of {} stores, or lives of one, are in it: name one with --store and the beginning of its name: {}",
        stores.len(),
        named.join(", ")
    ))
}

impl Repository {
    /// The backups in a directory, which is made when it is not there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(directory: &Path) -> Result<Repository, Error> {
        let disk = RealDisk::new(directory).map_err(io_error(format!("use {}", directory.display())))?;
        if has_epoch(&disk).map_err(io_error(format!("list {}", directory.display())))? {
            let text = format!(
                "{} is a store: backups need a directory of their own",
                directory.display()
            );
            return Err(Error::Refused(text));
        }
        if is_history(directory).map_err(io_error(format!("list {}", directory.display())))? {
            return Err(Error::Refused(format!(
                "{} is the archive of a server (its -archive): backups need a directory of their own",
                directory.display()
            )));
        }
        Ok(Repository::open_on(Arc::new(disk)))
    }

    /// The backups in a directory that is there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn existing(directory: &Path) -> Result<Repository, Error> {
        let disk = RealDisk::existing(directory).map_err(io_error(format!("read {}", directory.display())))?;
        Ok(Repository::open_on(Arc::new(disk)))
    }

    /// The backups on any disk.
    pub fn open_on(disk: Arc<dyn Disk>) -> Repository {
        Repository { disk }
    }

    /// Every backup, the oldest first.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let listed = self.names()?.into_iter().map(|name| Listed {
            manifest: self.manifest(&name),
            name,
        });
        Ok(listed.collect())
    }

    /// Names of backups, the oldest first.
    fn names(&self) -> Result<Vec<String>, Error> {
        let files = self.disk.file_names().map_err(io_error("list the backups"))?;
        let mut names: Vec<String> = files
            .iter()
            .filter_map(|file| backup_name(file))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn manifest(&self, name: &str) -> Result<Manifest, String> {
        let read = || {
            let file = self.disk.open_to_read(&manifest_file(name))?;
            let length = file.length()?;
            if length > MANIFEST_BYTES_MAX {
                return Ok(None);
            }
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            file.read_at(&mut bytes, 0).map(|()| Some(bytes))
        };
        match read() {
            Ok(Some(bytes)) => Manifest::decode(&bytes),
            Ok(None) => Err("it is too long".to_owned()),
            Err(error) => Err(format!("it cannot be read: {error}")),
        }
    }

    /// The newest backup of a store, or the newest that was begun at a time or before. `store` is the beginning of the store's identity, or
    /// of the name of its life; it is needed where backups of more than one are. A whole identity names the life that was never restored,
    /// when backups of it are there.
    ///
    /// # Errors
    /// There is none, or its manifest is damaged: an older one is not taken in its place. It is not clear of which store.
    pub fn read(&self, store: Option<&str>, at: Option<Timestamp>) -> Result<Reading, Error> {
        let store = store.unwrap_or_default().to_ascii_lowercase();
        let until = at.map(name_of);
        // The newest backup of each store that may be meant.
        let mut stores: BTreeMap<String, String> = BTreeMap::new();
        let (mut meant, mut oldest) = (None, None);
        for name in self.names()?.into_iter().rev() {
            // Of which store one is that cannot be read nobody knows.
            let manifest = self.manifest(&name);
            if let Ok(manifest) = &manifest {
                if !manifest.is_of(&store) {
                    continue;
                }
                stores.entry(manifest.lineage()).or_insert_with(|| name.clone());
            }
            oldest = Some(name.clone());
            if meant.is_none() && until.as_ref().is_none_or(|until| name <= *until) {
                meant = Some((name, manifest));
            }
        }
        if stores.len() > 1 {
            // The identity alone is the whole name of the first life.
            if stores.contains_key(&store) {
                return self.read_lineage(&store, until.as_deref());
            }
            return Err(several(&stores));
        }
        let Some((name, manifest)) = meant else {
            return Err(Error::Refused(match oldest {
                Some(oldest) => format!("every backup in it is later: the oldest is {oldest}"),
                None if store.is_empty() => "there is no backup in it".to_owned(),
                None => format!("no backup in it is of the store {store}"),
            }));
        };
        let manifest = manifest.map_err(|reason| {
            let file = manifest_file(&name);
            Error::Damaged(format!(
                "the backup {name} cannot be read: {file}: {reason}. To take an older one, name its time with --at"
            ))
        })?;
        Ok(self.reading(name, manifest))
    }

    /// The same of one life.
    fn read_lineage(&self, lineage: &str, until: Option<&str>) -> Result<Reading, Error> {
        let own = self
            .newest_first()?
            .find(|(name, manifest)| manifest.lineage() == lineage && until.is_none_or(|until| name.as_str() <= until));
        let (name, manifest) = own.ok_or_else(|| Error::Refused(format!("every backup of {lineage} is later")))?;
        Ok(self.reading(name, manifest))
    }

    /// Backups whose manifests can be read, the newest first.
    fn newest_first(&self) -> Result<impl Iterator<Item = (String, Manifest)> + '_, Error> {
        let names = self.names()?.into_iter().rev();
        Ok(names.filter_map(|name| {
            let manifest = self.manifest(&name).ok()?;
            Some((name, manifest))
        }))
    }

    /// What may have whole what a store has damaged: backups of it that were begun at a time or before, those of its own life first, each
    /// the newest first, and whether they are of that life.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn donors(
        &self,
        identity: &str,
        life: Option<&str>,
        at: Option<Timestamp>,
    ) -> Result<Vec<(Reading, bool)>, Error> {
        let until = at.map(name_of);
        let of_store = self.newest_first()?.filter(|(name, manifest)| {
            manifest.identity == identity && until.as_ref().is_none_or(|until| name <= until)
        });
        let (own, others): (Vec<_>, Vec<_>) = of_store.partition(|(_, manifest)| manifest.life.as_deref() == life);
        let own = own.into_iter().map(|one| (one, true));
        let all = own.chain(others.into_iter().map(|one| (one, false)));
        let all = all.take(DONORS_MAX);
        Ok(all
            .map(|((name, manifest), is_own)| (self.reading(name, manifest), is_own))
            .collect())
    }

    /// A backup that was listed.
    pub(crate) fn reading(&self, name: String, manifest: Manifest) -> Reading {
        Reading {
            disk: Arc::clone(&self.disk),
            name,
            manifest,
        }
    }

    fn lock(&self) -> Result<Box<dyn DiskLock>, Error> {
        match self
            .disk
            .lock(LOCK, &format!("seaway backup, {}", holder_description()))
        {
            Ok(lock) => Ok(lock),
            Err(LockError::Held(holder)) => Err(Error::Refused(format!(
                "somebody else writes to these backups ({holder}): wait until that has ended"
            ))),
            Err(LockError::Io(error)) => Err(io_error(format!("lock {LOCK}"))(error)),
        }
    }
}

impl Reading {
    /// Fills `buffer` with bytes of a file.
    pub(crate) fn read(&self, file: &ManifestFile, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.disk
            .open_to_read(&object_file(&file.sha256))?
            .read_at(buffer, offset)
    }

    /// Length of a file as it is there.
    pub(crate) fn length(&self, file: &ManifestFile) -> std::io::Result<u64> {
        self.disk.open_to_read(&object_file(&file.sha256))?.length()
    }

    /// In which file of the repository the content of a file is.
    pub(crate) fn object(file: &ManifestFile) -> String {
        object_file(&file.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_named_by_their_time_and_sorted_by_it() {
        let early: Timestamp = "2026-01-31T09:15:00.123456Z".parse().unwrap_or_default();
        let late: Timestamp = "2026-01-31T09:15:01Z".parse().unwrap_or_default();
        assert_eq!(name_of(early), "20260131T091500.123Z");
        assert!(name_of(early) < name_of(late));
        assert_eq!(made_of(&name_of(early)).map(name_of), Some(name_of(early)));
        assert_eq!(made_of("x"), None);
        assert_eq!(backup_name(&manifest_file("x")), Some("x"));
        assert_eq!(backup_name("backup-x.manifest.writing"), None);
    }
}
