//! Backups, as `seaway verify` reads them.

use std::io::stdin;
use std::path::Path;

use seaway_backup::archive::is_archive;
use seaway_backup::{
    BackupVerified, Error, Manifest, Pace, Progress, Repository, is_repository, open_archive, verify, verify_archive,
};
use seaway_store::verify::Verification;
use seaway_store::{Encryption, FileStoreError, OpenError};
use serde_json::{Value, json};

use super::found::{document, show_channels, show_damages};
use crate::backup::shown;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, note};
use crate::progress::while_drawn_of;
use crate::readable::counted;

/// Whether it is backups that are to be read, and no store.
pub(super) fn is_backup(path: &Path) -> bool {
    path == Path::new("-") || is_archive(path) || is_repository(path).unwrap_or(false)
}

pub(super) fn run(path: &Path, encryption: Option<&Encryption>, output: &mut Output) -> Outcome {
    let is_stream = path == Path::new("-");
    if is_stream || is_archive(path) {
        return of_archive(path, is_stream, output);
    }
    let failed = |error: Error| Failure::failed(format!("{}: {error}", path.display()));
    let repository = Repository::existing(path).map_err(failed)?;
    let progress = Progress::default();
    let draw = || (progress.bytes_total(), progress.bytes_done());
    let found = while_drawn_of(draw, || {
        verify(&repository, encryption, &mut Pace::new(None), &progress)
    })?;
    let found = found.map_err(failed)?;
    let damaged = found.iter().filter(|one| is_damaged(one)).count() as u64;
    for one in &found {
        match output.is_json() {
            true => output.json(&as_document(one))?,
            false => show(one, output)?,
        }
    }
    let path = path.display();
    let locked = found.iter().filter(|one| has_other_key(one)).count() as u64;
    match (found.len() as u64, damaged) {
        (0, _) => Err(Failure::failed(format!("{path} holds no backup"))),
        (all, 0) if locked > 0 => Err(Failure::failed(format!(
            "the encryption key is not the one of {locked} of {} in {path}: every file there has the right checksum, and nobody looked into \
             the stores",
            counted(all, "backup")
        ))),
        (_, 0) if output.is_json() => Ok(()),
        (all, 0) => output.line(&format!(
            "\n{path} is whole, with {}. Nothing was changed.",
            counted(all, "backup")
        )),
        (all, damaged) => Err(Failure::failed(format!(
            "{damaged} of {} in {path} cannot be restored as they were made. `seaway backup --full` replaces what is damaged as far as the \
             store still has it whole",
            counted(all, "backup")
        ))),
    }
}

fn of_archive(path: &Path, is_stream: bool, output: &mut Output) -> Outcome {
    let progress = Progress::default();
    let draw = || (progress.bytes_total(), progress.bytes_done());
    let read = || {
        let pace = &mut Pace::new(None);
        match is_stream {
            true => verify_archive(stdin().lock(), pace, &progress),
            false => verify_archive(open_archive(path)?, pace, &progress),
        }
    };
    let manifest: Manifest = while_drawn_of(draw, read)?.map_err(|error| {
        let advice = match error {
            Error::Damaged(_) => {
                ". As far as it can be read, tar --zstd -xf makes a directory of it, of which seaway verify says which messages are \
                 missing"
            }
            _ => "",
        };
        Failure::failed(format!("{}: {error}{advice}", path.display()))
    })?;
    let mut document = crate::backup::document(&manifest);
    document["damaged"] = json!([]);
    if manifest.is_known_damaged() {
        if output.is_json() {
            output.json(&document)?;
        }
        show_when_made(&manifest, output)?;
        return Err(Failure::failed(format!(
            "{} is what was written, of a store that was damaged then",
            path.display()
        )));
    }
    let text = format!(
        "{} is whole: {}. Nothing was changed.",
        path.display(),
        shown(&manifest)
    );
    output.done(&text, &document)
}

/// Whether the key that was given is not the backup's.
fn has_other_key(one: &BackupVerified) -> bool {
    matches!(&one.store, Some(Err(FileStoreError::Journal(OpenError::WrongKey))))
}

fn is_damaged(one: &BackupVerified) -> bool {
    let is_bad = |store: &Result<Verification, FileStoreError>| {
        store
            .as_ref()
            .map_or(true, |found| !found.damages.is_empty() || found.refusal.is_some())
    };
    let is_store_bad = !has_other_key(one) && one.store.as_ref().is_some_and(is_bad);
    let was_bad = one.manifest.as_ref().map_or(true, Manifest::is_known_damaged);
    was_bad || !one.damaged.is_empty() || is_store_bad
}

/// What was wrong when a backup was made.
fn show_when_made(manifest: &Manifest, output: &mut Output) -> Outcome {
    if output.is_json() {
        return Ok(());
    }
    for (name, reason) in manifest.damages() {
        output.line(&format!("{name} was damaged when the backup was made: {reason}"))?;
    }
    match &manifest.refusal {
        Some(refusal) => output.line(&format!(
            "No server would have started on it when it was made: {refusal}"
        )),
        None => Ok(()),
    }
}

fn show(one: &BackupVerified, output: &mut Output) -> Outcome {
    let manifest = match &one.manifest {
        Ok(manifest) => manifest,
        Err(reason) => return output.line(&format!("{}: its manifest cannot be read: {reason}", one.name)),
    };
    let is_whole = if is_damaged(one) { "DAMAGED" } else { "whole" };
    output.line(&format!("{}: {is_whole}, {}", one.name, shown(manifest)))?;
    show_when_made(manifest, output)?;
    for file in &one.damaged {
        output.line(&format!("{}, in {}: {}", file.name, file.object, file.reason))?;
    }
    match &one.store {
        None if !one.damaged.is_empty() => {
            note("With the key (--encryption-key-file) this would say which messages are damaged.");
            Ok(())
        }
        None => Ok(()),
        Some(Err(FileStoreError::Journal(OpenError::WrongKey))) => {
            output.line("The encryption key is another: the store in it was not looked into")
        }
        Some(Err(error)) => output.line(&format!("The store in it cannot be read: {error}")),
        Some(Ok(found)) => {
            show_damages(found, output)?;
            if let Some(refusal) = &found.refusal {
                output.line(&format!("No server would start on it: {refusal}"))?;
            }
            show_channels(found, output)
        }
    }
}

fn as_document(one: &BackupVerified) -> Value {
    let mut made = match &one.manifest {
        Ok(manifest) => crate::backup::document(manifest),
        Err(reason) => json!({ "unreadable": reason }),
    };
    made["name"] = one.name.clone().into();
    let damaged = one.damaged.iter();
    made["damaged"] = damaged
        .map(|file| json!({ "file": file.name, "object": file.object, "reason": file.reason }))
        .collect();
    made["store"] = match &one.store {
        None => Value::Null,
        Some(Ok(found)) => document(found),
        Some(Err(error)) => json!({ "error": error.to_string() }),
    };
    made
}
