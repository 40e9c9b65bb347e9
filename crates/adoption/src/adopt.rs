//! One adoption from its beginning to its end.

use std::path::{Path, PathBuf};

use seaway_original::{Kind, Report, Source, Stopped, StoreLock, TablesOptions, Verdict};
use seaway_store::{Encryption, FileOptions, beside};
use serde::Serialize;

use crate::error::Error;
use crate::in_place::{self, Fingerprint, State};
use crate::lock::RootLock;
use crate::progress::Progress;
use crate::transfer::{Tally, Terms, Transfer, free_bytes, token};
use crate::verify;

/// How a directory is taken over.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How the original's server was configured.
    pub original: seaway_original::Options,
    /// Another directory for the store; the original's is only read then.
    pub to: Option<PathBuf>,
    /// Counts when the directory says none, and must otherwise agree with it.
    pub cluster_id: Option<String>,
    /// Whether what is damaged may be left out.
    pub accepts_losses: bool,
    /// Whether payloads that look encrypted are plain; without it and without a key they stop the adoption.
    pub payloads_are_plain: bool,
    /// How the new store is encrypted, if it is.
    pub encryption: Option<Encryption>,
}

/// What an adoption has done.
#[derive(Debug, Clone, Serialize)]
pub struct Adopted {
    /// Where the store is.
    pub directory: PathBuf,
    /// Where the original's files are now; none when they are where they were.
    pub originals: Option<PathBuf>,
    /// The cluster ID of the store.
    pub cluster_id: String,
    /// Empty messages in the place of missing ones.
    pub filled: u64,
    /// Durables left out because another had the same client and names.
    pub left_out: u64,
    /// What was read.
    pub report: Report,
}

/// What a call of [`adopt`] came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// All of it.
    Adopted(Box<Adopted>),
    /// An earlier adoption was interrupted in its last steps; they are taken now.
    Finished,
}

/// Takes over the data directory of a stopped server. Interrupted before the original's files are moved it leaves the original as it
/// was, and begins anew when it is called again; later it goes on.
///
/// # Errors
/// See [`Error`].
pub fn adopt(directory: &Path, options: &Options, progress: &Progress) -> Result<Outcome, Error> {
    if is_unfinished(directory)? {
        return in_place::finish(directory).map(|_| Outcome::Finished);
    }
    match &options.to {
        Some(place) => adopt_elsewhere(directory, place, options, progress),
        None => adopt_in_place(directory, options, progress),
    }
}

/// Whether only the last steps are left of an earlier adoption; refuses what is not to be taken over.
fn is_unfinished(directory: &Path) -> Result<bool, Error> {
    let text = match in_place::state(directory)? {
        // Reading says what is missing where there is nothing.
        State::Original | State::Neither => return Ok(false),
        State::Unfinished => return Ok(true),
        State::Undoing => return Err(in_place::undoing(directory)),
        State::Begun => return Err(in_place::begun(directory)),
        State::TakenOver => "was taken over before: start the server on it",
        State::Store => "holds a store of Seaway's already",
    };
    Err(Error::Refused(format!("{} {text}", directory.display())))
}

/// The original's directory may be one that cannot be written to: nothing is locked in it.
fn adopt_elsewhere(directory: &Path, place: &Path, options: &Options, progress: &Progress) -> Result<Outcome, Error> {
    if in_place::finish(place)? {
        return Ok(Outcome::Finished);
    }
    check_outside(directory, place)?;
    adopt_to(place, || make(directory, place, options, progress))
}

/// Takes over the tables that a stopped server has in a database, which are left as they are; the server's lease of them is held
/// meanwhile (`stores-and-clustering.md` §4.4, §4.5). The store is made in `place`, whatever `options` say of one. Interrupted, it leaves
/// nothing that counts, and begins anew when it is called again.
///
/// # Errors
/// See [`Error`].
pub fn adopt_tables(
    source: &Source,
    tables: &TablesOptions,
    place: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Outcome, Error> {
    if in_place::finish(place)? {
        return Ok(Outcome::Finished);
    }
    adopt_to(place, || {
        let lock = StoreLock::take(source, &token())?;
        let bytes = seaway_original::tables_bytes(source)?;
        progress.expect(bytes);
        check_room(place, bytes, true)?;
        let tables = TablesOptions {
            lock_session: lock.as_ref().map(StoreLock::session),
            free_bytes: Some(free_bytes(place)?),
            ..tables.clone()
        };
        let made = write(place, options, progress, |transfer| {
            seaway_original::read_tables(source, &tables, transfer, |_| {})
        });
        let is_held = || lock.as_ref().map_or(Ok(()), StoreLock::check).map_err(Error::from);
        let made = made.and_then(|made| is_held().map(|()| made));
        made.inspect_err(|_| discard(place))
    })
}

/// Makes a store in a directory that is empty, or holds an attempt that was interrupted.
fn adopt_to(place: &Path, make: impl FnOnce() -> Result<Made, Error>) -> Result<Outcome, Error> {
    prepare_vacant(place)?;
    let _lock = RootLock::take(place)?;
    // Another process may have been at it until now.
    if in_place::state(place)? == State::Unfinished {
        in_place::finish_locked(place)?;
        return Ok(Outcome::Finished);
    }
    check_vacant(place)?;
    let made = make()?;
    let completed = beside::complete(place).map_err(Error::io("complete the store in", place));
    completed.inspect_err(|_| discard(place))?;
    in_place::finish_locked(place)?;
    Ok(Outcome::Adopted(Box::new(made.adopted(place, None))))
}

fn adopt_in_place(directory: &Path, options: &Options, progress: &Progress) -> Result<Outcome, Error> {
    // What is no directory of the original's gets no lock file.
    if in_place::state(directory)? == State::Neither {
        seaway_original::check(directory, &options.original, |_| {})?;
    }
    let _lock = RootLock::take(directory)?;
    // Another process may have been at it until now.
    if is_unfinished(directory)? {
        in_place::finish_locked(directory)?;
        return Ok(Outcome::Finished);
    }
    let mut options = options.clone();
    options.original.is_locked = true;
    in_place::forget_undoing(directory)?;
    let made = make(directory, directory, &options, progress)?;
    in_place::commit(directory, &made.report).inspect_err(|_| discard(directory))?;
    in_place::finish_locked(directory)?;
    let adopted = made.adopted(directory, Some(directory.join(in_place::FOLDER)));
    Ok(Outcome::Adopted(Box::new(adopted)))
}

/// A complete store that is not in place yet.
struct Made {
    report: Report,
    tally: Tally,
}

impl Made {
    fn adopted(self, directory: &Path, originals: Option<PathBuf>) -> Adopted {
        Adopted {
            directory: directory.to_owned(),
            originals,
            cluster_id: self.tally.cluster_id,
            filled: self.tally.filled,
            left_out: self.tally.left_out,
            report: self.report,
        }
    }
}

fn make(directory: &Path, place: &Path, options: &Options, progress: &Progress) -> Result<Made, Error> {
    let files = Fingerprint::of(directory)?;
    progress.expect(files.bytes());
    check_room(place, files.bytes(), options.to.is_some())?;
    let made = write(place, options, progress, |transfer| {
        seaway_original::read(directory, &options.original, transfer, |_| {})
    });
    let made = made.and_then(|made| check_unchanged(directory, &files).map(|()| made));
    made.inspect_err(|_| discard(place))
}

fn check_unchanged(directory: &Path, files: &Fingerprint) -> Result<(), Error> {
    if Fingerprint::of(directory)? != *files {
        return Err(Error::Refused(format!(
            "the files in {} changed while they were read: stop the server that writes them, and try again",
            directory.display()
        )));
    }
    if seaway_original::has_open_files(directory) {
        return Err(Error::Refused(format!(
            "a running process has files in {} open: stop the server first",
            directory.display()
        )));
    }
    Ok(())
}

/// What is left of an attempt is cleared by the next one at the latest. Once a directory is guarded, and as long as nobody knows, the store
/// is what counts.
fn discard(place: &Path) {
    if matches!(in_place::is_guarded(place), Ok(false)) {
        let _ = beside::discard(place);
    }
}

/// Makes the store of what `read` gives, beside whatever is in `place`, and opens it once.
fn write<'a>(
    place: &'a Path,
    options: &'a Options,
    progress: &'a Progress,
    read: impl FnOnce(&mut Transfer<'a>) -> Result<Report, Stopped<Error>>,
) -> Result<Made, Error> {
    let file = FileOptions {
        encryption: options.encryption.clone(),
        ..FileOptions::default()
    };
    let mut transfer = Transfer::new(Terms {
        place,
        cluster_id: options.cluster_id.as_deref(),
        file: file.clone(),
        accepts_losses: options.accepts_losses,
        progress,
    });
    let report = read(&mut transfer).map_err(|stopped| match stopped {
        Stopped::Unreadable(error) => Error::Original(error),
        Stopped::NotTaken(error) => error,
    })?;
    judge(&report, options)?;
    let tally = transfer.finish()?;
    verify::open_once(place, file, &tally.cluster_id, &tally.bounds)?;
    Ok(Made { report, tally })
}

/// Whether what was found lets the adoption go on.
fn judge(report: &Report, options: &Options) -> Result<(), Error> {
    match report.verdict {
        Verdict::Refused => return Err(Error::Findings(Box::new(report.clone()))),
        Verdict::Losses if !options.accepts_losses => return Err(Error::Losses(Box::new(report.clone()))),
        Verdict::Losses | Verdict::Ready => {}
    }
    let looks_encrypted = report
        .findings
        .iter()
        .any(|finding| finding.kind == Kind::LooksEncrypted);
    if looks_encrypted && !options.payloads_are_plain {
        return Err(Error::Refused(
            "payloads look encrypted, and no key was given: give the server's key with --encryption-key-file, or say that they are plain \
             with --payloads-are-plain"
                .to_owned(),
        ));
    }
    Ok(())
}

fn check_room(place: &Path, bytes: u64, is_elsewhere: bool) -> Result<(), Error> {
    let needed = seaway_original::needed_bytes(bytes);
    let free = free_bytes(place)?.saturating_add(beside::bytes(place).map_err(Error::io("list", place))?);
    if free >= needed {
        return Ok(());
    }
    let advice = match is_elsewhere {
        true => "name another directory",
        false => "name a directory on another disk with --to",
    };
    Err(Error::Refused(format!(
        "about {needed} bytes are needed in {}, and {free} are free: {advice}",
        place.display()
    )))
}

/// A store that is made elsewhere does not lie in the directory that is taken over.
fn check_outside(directory: &Path, place: &Path) -> Result<(), Error> {
    let canonical = |path: &Path| std::fs::canonicalize(path).map_err(Error::io("find", path));
    let from = canonical(directory)?;
    let absolute = std::path::absolute(place).map_err(Error::io("find", place))?;
    let there = absolute
        .ancestors()
        .find(|path| in_place::exists(path))
        .unwrap_or(&absolute);
    if canonical(there)?.starts_with(&from) {
        return Err(Error::Refused(format!(
            "{} lies in the directory that is taken over, where every folder is a channel: name one outside of it",
            place.display()
        )));
    }
    Ok(())
}

/// Makes the directory of a store that is made from scratch, or sees that it may be made in one that is there.
pub(crate) fn prepare_vacant(place: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(place).map_err(Error::io("create", place))?;
    check_vacant(place)
}

/// It is empty, or holds an interrupted attempt.
fn check_vacant(place: &Path) -> Result<(), Error> {
    let entries = std::fs::read_dir(place).map_err(Error::io("list", place))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("list", place))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(beside::PREFIX) && name != "lost+found" && name != RootLock::NAME {
            return Err(Error::Refused(format!(
                "{} is not empty: it holds {name}",
                place.display()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use seaway_store::{GUARD, GUARD_NAME};

    use super::*;

    #[test]
    fn a_store_is_discarded_only_where_nothing_guards_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (guard, file) = (folder.path().join(GUARD_NAME), folder.path().join(".adopting.x"));
        fs::write(&file, b"x").expect("a file of a store");
        fs::write(&guard, GUARD).expect("guarded");
        discard(folder.path());
        assert!(file.exists(), "guarded");
        fs::remove_file(&guard).expect("removed");
        symlink(&guard, &guard).expect("what cannot be read");
        discard(folder.path());
        assert!(file.exists(), "nobody knows");
        fs::remove_file(&guard).expect("removed");
        fs::write(&guard, b"the original's").expect("not guarded");
        discard(folder.path());
        assert!(!file.exists(), "not guarded");
    }
}
