//! Reading backups from end to end: whether everything is what was written, and which messages that concerns which is not.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use seaway_store::verify::{Verification, verify_on};
use seaway_store::{Encryption, FileStoreError};

use crate::archive::Entries;
use crate::contents::Contents;
use crate::digest::Hasher;
use crate::error::{Error, io_error};
use crate::limits::PIECE_BYTES;
use crate::manifest::{Manifest, ManifestFile};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::repository::{Reading, Repository};
use crate::restore::check_found;

/// A file of a backup that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// Its name in the store.
    pub name: String,
    /// The file of the repository that holds it.
    pub object: String,
    /// What is wrong.
    pub reason: String,
}

/// What was found of one backup.
#[derive(Debug)]
pub struct BackupVerified {
    /// What it is called.
    pub name: String,
    /// What it is made of, or why that cannot be read.
    pub manifest: Result<Manifest, String>,
    /// Files of it that are damaged.
    pub damaged: Vec<DamagedFile>,
    /// Of the newest backup of each store, and of each that is damaged: what the store in it holds, and which messages the damage concerns. Not of one
    /// whose key is not there.
    pub store: Option<Result<Verification, FileStoreError>>,
}

/// Reads everything in a repository once.
///
/// # Errors
/// It cannot be listed; it was interrupted.
pub fn verify(
    repository: &Repository,
    encryption: Option<&Encryption>,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<Vec<BackupVerified>, Error> {
    let listed = repository.list()?;
    let named = listed.iter().filter_map(|listed| listed.manifest.as_ref().ok());
    let named = named.flat_map(|manifest| &manifest.files);
    let objects: HashMap<&str, u64> = named.map(|file| (file.sha256.as_str(), file.length)).collect();
    progress.begin(objects.values().fold(0, |bytes, length| bytes.saturating_add(*length)));
    let mut reasons: HashMap<(String, u64), Option<String>> = HashMap::new();
    let mut newest: HashMap<String, usize> = HashMap::new();
    for (index, listed) in listed.iter().enumerate() {
        if let Ok(manifest) = &listed.manifest {
            newest.insert(manifest.lineage(), index);
        }
    }
    let mut found = Vec::new();
    for (index, listed) in listed.into_iter().enumerate() {
        let manifest = match listed.manifest {
            Ok(manifest) => manifest,
            Err(reason) => {
                found.push(BackupVerified {
                    name: listed.name,
                    manifest: Err(reason),
                    damaged: Vec::new(),
                    store: None,
                });
                continue;
            }
        };
        let backup = Arc::new(repository.reading(listed.name, manifest));
        let mut damaged = Vec::new();
        for file in &backup.manifest.files {
            let key = (file.sha256.clone(), file.length);
            if !reasons.contains_key(&key) {
                let reason = check(&backup, file, pace, progress)?;
                reasons.insert(key.clone(), reason);
            }
            damaged.extend(reasons[&key].clone().map(|reason| DamagedFile {
                name: file.name.clone(),
                object: Reading::object(file),
                reason,
            }));
        }
        let is_newest = newest.get(&backup.manifest.lineage()) == Some(&index);
        let is_looked_into = is_newest || !damaged.is_empty() || backup.manifest.is_known_damaged();
        let is_readable = !backup.manifest.encrypted || encryption.is_some();
        let store = (is_looked_into && is_readable)
            .then(|| verify_on(Arc::new(Contents::new(Arc::clone(&backup))), encryption.cloned()));
        found.push(BackupVerified {
            name: backup.name.clone(),
            manifest: Ok(backup.manifest.clone()),
            damaged,
            store,
        });
    }
    Ok(found)
}

/// What is wrong with a file of a backup.
fn check(backup: &Reading, file: &ManifestFile, pace: &mut Pace, progress: &Progress) -> Result<Option<String>, Error> {
    match backup.length(file) {
        Ok(length) if length == file.length => {}
        Ok(length) => return Ok(Some(format!("it has {length} bytes instead of {}", file.length))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Some("it is missing".to_owned())),
        Err(error) => return Ok(Some(format!("it cannot be read: {error}"))),
    }
    let mut hasher = Hasher::new();
    let mut bytes = vec![0; pace.piece(PIECE_BYTES)];
    let mut offset = 0;
    while offset < file.length {
        let piece = (file.length - offset).min(bytes.len() as u64) as usize;
        let piece = &mut bytes[..piece];
        pace.wait(piece.len());
        if let Err(error) = backup.read(file, offset, piece) {
            return Ok(Some(format!("it cannot be read at offset {offset}: {error}")));
        }
        hasher.update(piece);
        offset += piece.len() as u64;
        progress.add(piece.len() as u64);
    }
    Ok((hasher.finish() != file.sha256).then(|| "its checksum does not match".to_owned()))
}

/// Reads an archive to its end, and checks every file of it.
///
/// # Errors
/// It is damaged, was cut off, or cannot be read.
pub fn verify_archive(archive: impl Read, pace: &mut Pace, progress: &Progress) -> Result<Manifest, Error> {
    let mut entries = Entries::new(archive)?;
    let mut found = Vec::new();
    let mut bytes = vec![0; pace.piece(PIECE_BYTES)];
    let mut names = HashSet::new();
    while let Some(entry) = entries.next_file()? {
        if !names.insert(entry.name.clone()) {
            return Err(Error::Damaged(format!("the archive has {} twice", entry.name)));
        }
        let (mut hasher, mut read) = (Hasher::new(), 0);
        while read < entry.length {
            let piece = (entry.length - read).min(bytes.len() as u64) as usize;
            pace.wait(piece);
            entries.read(&mut bytes[..piece])?;
            hasher.update(&bytes[..piece]);
            read += piece as u64;
            progress.add(piece as u64);
        }
        found.push((entry.name, entry.length, hasher.finish()));
    }
    let manifest = entries.finish()?;
    check_found(&manifest, &found)?;
    Ok(manifest)
}

/// Opens an archive's file.
///
/// # Errors
/// What the operating system says.
pub fn open_archive(path: &std::path::Path) -> Result<std::fs::File, Error> {
    std::fs::File::open(path).map_err(io_error(format!("read {}", path.display())))
}
