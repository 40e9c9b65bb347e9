//! A store takes the place of the original's files, in steps that can be interrupted anywhere (`docs/migration.md`).
//!
//! Until [`commit`] only flat files are added to the directory, whose names begin with a dot: the original takes every folder as a
//! channel, and no notice of them. The commit is one rename: `server.dat` becomes a file that the original refuses to start on. From
//! then on what is left to do is in a plan, and [`finish`] does it, whoever calls it and however often:
//!
//! 1. the original's files and folders, by the names in the plan, go to [`STAGING`], and the plan goes last;
//! 2. that folder gets its name, [`FOLDER`];
//! 3. the store's files get their names, an epoch's last.
//!
//! What is in the directory says which step is next, also when a channel is called like that folder: it is moved in step 1 and the
//! plan is what tells whether step 1 is over.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use seaway_original::Report;
use seaway_store::{GUARD, GUARD_NAME, TAKEN_OVER_FOLDER, beside};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lock::RootLock;

/// Where the original's files are when a directory is taken over.
pub const FOLDER: &str = TAKEN_OVER_FOLDER;
/// Where they are gathered.
pub(crate) const STAGING: &str = ".before-seaway";
/// What is to be moved; then, in the folder, what was.
pub(crate) const PLAN: &str = ".adoption.json";
/// A copy of the original's `server.dat`.
pub(crate) const SERVER: &str = ".adoption.server.dat";
/// The file that takes its place, before it does.
const NEW_GUARD: &str = ".adoption.guard";
/// An undoing is under way.
pub(crate) const UNDOING: &str = ".undoing.json";

/// Behind [`GUARD`], for who looks into the file.
const GUARD_REST: &str = " NATS Streaming must not start here.
The files it had written are in the folder before-seaway; `seaway adopt --undo` puts them back.
";

/// What a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing that is known.
    Neither,
    /// NATS Streaming's.
    Original,
    /// A store of Seaway's that was never the original's.
    Store,
    /// A store is being made here of another directory, or was and nothing says that it is complete.
    Begun,
    /// Taken over, but for steps that [`finish`] takes.
    Unfinished,
    /// Taken over.
    TakenOver,
    /// On its way back to the original.
    Undoing,
}

/// Looks what a directory is; one that is not there is nothing. Changes nothing.
///
/// # Errors
/// It cannot be read.
pub fn state(directory: &Path) -> Result<State, Error> {
    if !directory.is_dir() {
        return Ok(State::Neither);
    }
    if is_guarded(directory)? {
        let has = |name: &str| exists(&directory.join(name));
        return Ok(if has(UNDOING) {
            State::Undoing
        } else if has(PLAN) || has(STAGING) || is_beside(directory)? {
            State::Unfinished
        } else {
            State::TakenOver
        });
    }
    if beside::is_complete(directory).map_err(Error::io("list", directory))? {
        return Ok(State::Unfinished);
    }
    let is_original = exists(&directory.join(GUARD_NAME)) || !seaway_original::entries(directory)?.is_empty();
    let has_store = beside::has_store(directory).map_err(Error::io("list", directory))?;
    match (is_original, has_store) {
        (true, true) => Err(Error::Refused(format!(
            "{} holds files of NATS Streaming and a store of Seaway's: move away what is not to count",
            directory.display()
        ))),
        (true, false) => Ok(State::Original),
        (false, true) => Ok(State::Store),
        (false, false) if is_beside(directory)? => Ok(State::Begun),
        (false, false) => Ok(State::Neither),
    }
}

fn is_beside(directory: &Path) -> Result<bool, Error> {
    beside::is_there(directory).map_err(Error::io("list", directory))
}

/// Whether the original is kept away from a directory.
pub(crate) fn is_guarded(directory: &Path) -> Result<bool, Error> {
    let path = directory.join(GUARD_NAME);
    let mut head = Vec::new();
    match File::open(&path).and_then(|file| file.take(GUARD.len() as u64).read_to_end(&mut head)) {
        Ok(_) => Ok(head == GUARD),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => Ok(false),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

/// Whether something has this name, be it a link to nowhere.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// What is to be moved, and what it was.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) version: u32,
    pub(crate) adopted_at: String,
    /// Whether there was a `server.dat`.
    pub(crate) had_server: bool,
    pub(crate) entries: Vec<Name>,
    /// Each channel's last sequence.
    pub(crate) channels: Vec<(String, u64)>,
}

/// A name in a file system, which need not be text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

impl Name {
    fn new(bytes: Vec<u8>) -> Name {
        match String::from_utf8(bytes) {
            Ok(text) => Name::Text(text),
            Err(error) => Name::Bytes(error.into_bytes()),
        }
    }

    pub(crate) fn file_name(&self) -> OsString {
        match self {
            Name::Text(text) => OsString::from(text),
            Name::Bytes(bytes) => OsString::from_vec(bytes.clone()),
        }
    }

    /// A name and nothing else: no path leads out of the directory.
    fn is_plain(&self) -> bool {
        let name = self.file_name();
        let bytes = name.as_bytes();
        !bytes.is_empty() && !bytes.contains(&b'/') && bytes != b"." && bytes != b".."
    }
}

impl Plan {
    const VERSION: u32 = 1;

    pub(crate) fn read(path: &Path) -> Result<Plan, Error> {
        let text = fs::read(path).map_err(Error::io("read", path))?;
        let plan: Result<Plan, _> = serde_json::from_slice(&text);
        let problem = match plan {
            Ok(plan) if plan.version != Plan::VERSION => format!("it is of version {}", plan.version),
            Ok(plan) if !plan.entries.iter().all(Name::is_plain) => "it names what is no name of a file".to_owned(),
            Ok(plan) => return Ok(plan),
            Err(error) => error.to_string(),
        };
        Err(Error::Refused(format!(
            "{} cannot be understood ({problem}): put it back from a copy of the directory",
            path.display()
        )))
    }
}

/// What the names of files that are not complete end with.
const UNSYNCED_SUFFIX: &str = ".writing";

/// Makes a complete file or none; it is durable when its directory is synced as well. What an earlier call left under the name that it has
/// until then is nobody's.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut unsynced = path.as_os_str().to_owned();
    unsynced.push(UNSYNCED_SUFFIX);
    let unsynced = Path::new(&unsynced);
    let write = || {
        if exists(unsynced) {
            fs::remove_file(unsynced)?;
        }
        let mut file = File::create_new(unsynced)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(unsynced, path)
    };
    write().map_err(|error| {
        // Of no use, and on a full disk in the way; the error that counts is the first.
        let _ = fs::remove_file(unsynced);
        Error::io("write", path)(error)
    })
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

/// Moves what may have been moved before.
pub(crate) fn rename_if_there(from: &Path, to: &Path) -> Result<(), Error> {
    if exists(from) { rename(from, to) } else { Ok(()) }
}

/// Makes all renames in a directory durable.
pub(crate) fn sync(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(Error::io("sync", directory))
}

/// From here on the directory is Seaway's: everything before can be undone by forgetting it, everything behind is in the plan.
pub(crate) fn commit(directory: &Path, report: &Report) -> Result<(), Error> {
    let entries = seaway_original::entries(directory)?;
    check_movable(directory, &entries)?;
    let server = directory.join(GUARD_NAME);
    let had_server = exists(&server);
    if had_server {
        let bytes = fs::read(&server).map_err(Error::io("read", &server))?;
        write_whole(&directory.join(SERVER), &bytes)?;
    }
    let plan = Plan {
        version: Plan::VERSION,
        adopted_at: jiff::Timestamp::now().to_string(),
        had_server,
        entries: entries.into_iter().map(Name::new).collect(),
        channels: report
            .channels
            .iter()
            .map(|channel| (channel.name.clone(), channel.last_sequence))
            .collect(),
    };
    let path = directory.join(PLAN);
    let text = serde_json::to_vec(&plan).map_err(|error| Error::io("write", &path)(error.into()))?;
    write_whole(&path, &text)?;
    let guard = directory.join(NEW_GUARD);
    write_whole(&guard, &[GUARD, GUARD_REST.as_bytes()].concat())?;
    sync(directory)?;
    rename(&guard, &server)?;
    sync(directory)
}

/// Behind the commit there is no way back but through all of the steps: what would stop them for good is refused before.
fn check_movable(directory: &Path, entries: &[Vec<u8>]) -> Result<(), Error> {
    let refused = |path: &Path, problem: &str| Err(Error::Refused(format!("{} {problem}", path.display())));
    let folder = directory.join(FOLDER);
    let is_channel = entries.iter().any(|name| name == FOLDER.as_bytes());
    if !is_channel && exists(&folder) {
        if !fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
            return refused(
                &folder,
                "is where the original's files are to go, and is no folder: move it away",
            );
        }
        if fs::read_dir(&folder)
            .map_err(Error::io("list", &folder))?
            .next()
            .is_some()
        {
            return refused(
                &folder,
                "is where the original's files are to go, and is not empty: move it away",
            );
        }
    }
    for name in entries {
        let path = directory.join(OsStr::from_bytes(name));
        if is_mount_point(&path).map_err(Error::io("look at", &path))? {
            return refused(
                &path,
                "is a mount point, which cannot be moved: take the directory over with --to, into another one",
            );
        }
        // A folder that gets another parent is written to.
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if is_folder && rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err() {
            return refused(
                &path,
                "cannot be moved by this user: run as the user who owns it, or take the directory over with --to, into another one",
            );
        }
    }
    Ok(())
}

pub(crate) fn is_mount_point(path: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let found = statx(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Takes the steps that are left of a directory that is taken over; whether there were any.
///
/// # Errors
/// One of them cannot be taken; the next call goes on there. Or another process is at it.
pub fn finish(directory: &Path) -> Result<bool, Error> {
    if state(directory)? != State::Unfinished {
        return Ok(false);
    }
    let _lock = RootLock::take(directory)?;
    if state(directory)? == State::Unfinished {
        finish_locked(directory)?;
    }
    Ok(true)
}

pub(crate) fn finish_locked(directory: &Path) -> Result<(), Error> {
    let (plan, staging) = (directory.join(PLAN), directory.join(STAGING));
    if exists(&plan) {
        let entries = Plan::read(&plan)?.entries;
        match fs::create_dir(&staging) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", &staging)(error));
            }
            _ => sync(directory)?,
        }
        for name in entries.iter().map(Name::file_name) {
            rename_if_there(&directory.join(&name), &staging.join(&name))?;
        }
        rename_if_there(&directory.join(SERVER), &staging.join(GUARD_NAME))?;
        sync(&staging)?;
        sync(directory)?;
        rename(&plan, &staging.join(PLAN))?;
        sync(&staging)?;
        sync(directory)?;
    }
    if exists(&staging) {
        rename(&staging, &directory.join(FOLDER))?;
        sync(directory)?;
    }
    beside::put_in_place(directory).map_err(Error::io("put the store in place in", directory))
}

/// Removes what an undoing leaves that was interrupted behind its last step but one.
pub(crate) fn forget_undoing(directory: &Path) -> Result<(), Error> {
    let marker = directory.join(UNDOING);
    match fs::remove_file(&marker) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &marker)(error)),
        _ => Ok(()),
    }
}

/// Why nothing is done with a directory that is [`State::Begun`], and what is to be done.
#[must_use]
pub fn begun(directory: &Path) -> Error {
    Error::Refused(format!(
        "{shown} holds an adoption to it that has not ended: let it end, or repeat it (seaway adopt DIR --to {shown}), or remove the files \
         whose names begin with {prefix}",
        shown = directory.display(),
        prefix = beside::PREFIX
    ))
}

/// Why nothing is done with a directory that is [`State::Undoing`], and what is to be done: the words end with the command, behind which
/// the directory's name may stand.
#[must_use]
pub fn undoing(directory: &Path) -> Error {
    Error::Refused(format!(
        "{} is on its way back to NATS Streaming: finish that with seaway adopt --undo --yes",
        directory.display()
    ))
}

/// What the original's files look like from outside; it changes when one of them does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    files: u64,
    bytes: u64,
    hash: u64,
}

impl Fingerprint {
    /// Of everything in the directory and in its folders that is not this crate's.
    pub(crate) fn of(directory: &Path) -> Result<Fingerprint, Error> {
        let mut fingerprint = Fingerprint::default();
        for (name, metadata) in entries_of(directory)? {
            let is_ours = [".adopt", RootLock::NAME, ".undo"];
            if is_ours
                .iter()
                .any(|start| name.as_bytes().starts_with(start.as_bytes()))
            {
                continue;
            }
            if metadata.is_dir() {
                // A folder that is closed to this user is none of the original's, or reading it fails later.
                for (inner, metadata) in entries_of(&directory.join(&name)).unwrap_or_default() {
                    fingerprint.add(&[&name, &inner], &metadata);
                }
            } else {
                fingerprint.add(&[&name], &metadata);
            }
        }
        Ok(fingerprint)
    }

    fn add(&mut self, path: &[&OsStr], metadata: &Metadata) {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let times = (metadata.mtime(), metadata.mtime_nsec());
        (metadata.ino(), metadata.len(), times).hash(&mut hasher);
        self.files += 1;
        self.bytes += metadata.len();
        // The order of a listing says nothing.
        self.hash = self.hash.wrapping_add(hasher.finish());
    }

    /// Bytes of all files: what a store of the same content takes, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Names and metadata of what a directory holds. What vanishes meanwhile does not count.
fn entries_of(directory: &Path) -> Result<Vec<(OsString, Metadata)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let entry = entry.map_err(Error::io("list", directory))?;
        if let Ok(metadata) = entry.metadata() {
            found.push((entry.file_name(), metadata));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_told_from_folders() {
        assert!(is_mount_point(Path::new("/proc")).expect("looked at"));
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_mount_point(folder.path()).expect("looked at"));
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, unsynced) = (folder.path().join("a"), folder.path().join("a.writing"));
        fs::write(&unsynced, b"to").expect("torn");
        write_whole(&path, b"whole").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"whole");
        assert!(!exists(&unsynced));
        // It cannot get its name.
        let taken = folder.path().join("b");
        fs::create_dir_all(taken.join("c")).expect("a folder");
        write_whole(&taken, b"whole").expect_err("a folder is in the way");
        assert!(!exists(&folder.path().join("b.writing")));
    }
}
