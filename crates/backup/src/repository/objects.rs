//! The contents of files, under the names of their checksums.

use std::collections::HashSet;
use std::sync::Arc;

use seaway_journal::disk::{Disk, DiskFile};
use seaway_journal::{FileCheck, Identity};

use super::{OBJECT, Repository, UNFINISHED, object_file};
use crate::digest::Hasher;
use crate::error::{Error, io_error};
use crate::limits::PIECE_BYTES;

/// The one that is being written.
const WRITING: &str = "object.writing";

impl Repository {
    /// Whether an object of this length is there.
    pub(super) fn has_object(&self, sha256: &str, length: u64) -> Result<bool, Error> {
        let name = object_file(sha256);
        match self.disk.open_to_read(&name).and_then(|file| file.length()) {
            Ok(found) => Ok(found == length),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error(format!("look for {name}"))(error)),
        }
    }

    /// Whether an object is what its name says, read as a whole. One that cannot be read is not.
    pub(super) fn is_whole(&self, sha256: &str, length: u64) -> bool {
        let read = || {
            let file = self.disk.open_to_read(&object_file(sha256))?;
            hash(file.as_ref(), length)
        };
        read().is_ok_and(|found| found == sha256)
    }

    /// Whether an object is what its name says, and a whole file of a store under this name.
    pub(super) fn is_whole_file(&self, sha256: &str, name: &str, identity: Identity, length: u64) -> bool {
        let read = || {
            let file = self.disk.open_to_read(&object_file(sha256))?;
            let mut check = FileCheck::begin(name, identity, length);
            let found = read_pieces(file.as_ref(), length, &mut |piece| check.add(piece))?;
            std::io::Result::Ok(found == sha256 && check.finish().is_ok())
        };
        read().unwrap_or(false)
    }

    /// A file for the content of the next object.
    pub(super) fn begin_object(&self) -> Result<Arc<dyn DiskFile>, Error> {
        let create = || {
            remove_if_there(self.disk.as_ref(), WRITING)?;
            self.disk.create(WRITING)
        };
        create().map_err(io_error(format!("create {WRITING}")))
    }

    /// The object that was begun is complete: it gets its name, which is durable when the directory is synced.
    pub(super) fn name_object(&self, file: &dyn DiskFile, sha256: &str) -> Result<(), Error> {
        let name = object_file(sha256);
        let rename = || {
            file.sync_data()?;
            self.disk.rename(WRITING, &name)
        };
        rename().map_err(io_error(format!("write {name}")))
    }

    /// The object that was begun is not needed.
    pub(super) fn drop_object(&self) -> Result<(), Error> {
        remove_if_there(self.disk.as_ref(), WRITING).map_err(io_error(format!("remove {WRITING}")))
    }

    /// Removes what no backup names, and what is unfinished. Whether all manifests could be read: while one cannot, nobody knows what it
    /// names, and no object goes.
    pub(super) fn remove_unnamed(&self) -> Result<bool, Error> {
        let mut named = HashSet::new();
        let mut all_read = true;
        for listed in self.list()? {
            match listed.manifest {
                Ok(manifest) => named.extend(manifest.files.into_iter().map(|file| object_file(&file.sha256))),
                Err(_) => all_read = false,
            }
        }
        let files = self.disk.file_names().map_err(io_error("list the backups"))?;
        let is_unnamed = |name: &String| name.starts_with(OBJECT) && all_read && !named.contains(name);
        let mut any = false;
        for name in files.iter().filter(|name| is_unfinished(name) || is_unnamed(name)) {
            remove_if_there(self.disk.as_ref(), name).map_err(io_error(format!("remove {name}")))?;
            any = true;
        }
        if any {
            self.disk.sync_directory().map_err(io_error("sync the directory"))?;
        }
        Ok(all_read)
    }
}

/// Whether a file is one that a backup of ours did not finish.
fn is_unfinished(name: &str) -> bool {
    (name.starts_with(super::PREFIX) || name == WRITING) && name.ends_with(UNFINISHED)
}

/// SHA-256 of the first bytes of a file, which has at least and at most so many.
fn hash(file: &dyn DiskFile, length: u64) -> std::io::Result<String> {
    read_pieces(file, length, &mut |_| {})
}

/// The same of what is handed over piece by piece.
fn read_pieces(file: &dyn DiskFile, length: u64, out: &mut dyn FnMut(&[u8])) -> std::io::Result<String> {
    if file.length()? != length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let mut hasher = Hasher::new();
    let mut bytes = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < length {
        let piece = &mut bytes[..(length - offset).min(PIECE_BYTES as u64) as usize];
        file.read_at(piece, offset)?;
        hasher.update(piece);
        out(piece);
        offset += piece.len() as u64;
    }
    Ok(hasher.finish())
}

pub(crate) fn remove_if_there(disk: &dyn Disk, name: &str) -> std::io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
