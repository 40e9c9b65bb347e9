//! The archive of a server, as `seaway verify` reads it.

use std::path::Path;

use seaway_backup::{HistoryVerified, Pace, Progress, StretchVerified, is_history};
use seaway_store::{Encryption, FileStoreError, OpenError};
use serde_json::{Value, json};

use super::found::{self, show_channels, show_damages};
use crate::archive::{document, failed, moment, opened};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, note};
use crate::progress::while_drawn_of;
use crate::readable::counted;

/// Pieces that are named of a damaged stretch.
const DAMAGES_LISTED_MAX: usize = 20;

/// Whether a directory is an archive.
pub(super) fn is_archive(path: &Path) -> bool {
    is_history(path).unwrap_or(false)
}

pub(super) fn run(path: &Path, encryption: Option<&Encryption>, output: &mut Output) -> Outcome {
    let history = opened(path)?;
    let progress = Progress::default();
    let draw = || (progress.bytes_total(), progress.bytes_done());
    let read = while_drawn_of(draw, || history.verify(encryption, &mut Pace::new(None), &progress))?;
    let HistoryVerified { stretches, unreadable } = read.map_err(|error| failed(path, &error))?;
    for (name, reason) in &unreadable {
        match output.is_json() {
            true => output.json(&json!({ "link": name, "unreadable": reason }))?,
            false => output.line(&format!("{name} cannot be read: {reason}"))?,
        }
    }
    for one in &stretches {
        match output.is_json() {
            true => output.json(&as_document(one))?,
            false => show(one, output)?,
        }
    }
    let path = path.display();
    let damaged = stretches.iter().filter(|one| is_damaged(one)).count() as u64 + unreadable.len() as u64;
    let locked = stretches.iter().filter(|one| has_other_key(one)).count() as u64;
    match damaged {
        0 if locked > 0 => Err(Failure::failed(format!(
            "the encryption key is not the one of {} in {path}: everything there has the right checksum, and nobody looked into the stores",
            counted(locked, "stretch")
        ))),
        0 if output.is_json() => Ok(()),
        0 => output.line(&format!("\n{path} is whole. Nothing was changed.")),
        _ => Err(Failure::failed(format!(
            "{path} is damaged: the lines above say from which moment on it is whole. A server that archives to it goes on; to begin anew, with \
             everything it has, give it an empty directory"
        ))),
    }
}

/// Whether the key that was given is not the store's.
fn has_other_key(one: &StretchVerified) -> bool {
    matches!(&one.store, Some(Err(FileStoreError::Journal(OpenError::WrongKey))))
}

fn is_damaged(one: &StretchVerified) -> bool {
    let is_bad = match &one.store {
        None => false,
        Some(Err(_)) => !has_other_key(one),
        Some(Ok(found)) => !found.damages.is_empty() || found.refusal.is_some(),
    };
    is_bad || !one.damaged.is_empty()
}

fn show(one: &StretchVerified, output: &mut Output) -> Outcome {
    let stretch = &one.stretch;
    let moments = match stretch.first() {
        Some(first) => format!("{} to {}", moment(first), moment(stretch.until)),
        None => "no moment yet".to_owned(),
    };
    output.line(&format!(
        "{moments}: {}, store {}, {}",
        if is_damaged(one) { "DAMAGED" } else { "whole" },
        stretch.store(),
        counted(stretch.links() as u64, "link"),
    ))?;
    for (name, reason) in one.damaged.iter().take(DAMAGES_LISTED_MAX) {
        output.line(&format!("{name}: {reason}"))?;
    }
    if let Some(more) = one
        .damaged
        .len()
        .checked_sub(DAMAGES_LISTED_MAX)
        .filter(|more| *more > 0)
    {
        output.line(&format!("and {}; --json has all", counted(more as u64, "more file")))?;
    }
    match (one.damaged.is_empty(), one.whole_from) {
        (true, _) => {}
        (false, Some(from)) => output.line(&format!("From {} on nothing of that is needed.", moment(from)))?,
        (false, None) => output.line("Every moment needs some of that.")?,
    }
    match &one.store {
        None => Ok(()),
        Some(Err(FileStoreError::Journal(OpenError::WrongKey))) => {
            output.line("The encryption key is another: the store in it was not looked into")
        }
        Some(Err(error)) => output.line(&format!("The store at its end cannot be read: {error}")),
        Some(Ok(found)) => {
            show_damages(found, output)?;
            if let Some(refusal) = &found.refusal {
                note(&format!("No server would start on the store at its end: {refusal}"));
            }
            show_channels(found, output)
        }
    }
}

fn as_document(one: &StretchVerified) -> Value {
    let mut made = document(&one.stretch);
    let damaged = one.damaged.iter();
    made["damaged"] = damaged
        .map(|(name, reason)| json!({ "file": name, "reason": reason }))
        .collect();
    made["whole_from"] = one.whole_from.map(|from| moment(from).to_string()).into();
    made["channels"] = match &one.store {
        None => Value::Null,
        Some(Ok(found)) => found::document(found),
        Some(Err(error)) => json!({ "error": error.to_string() }),
    };
    made
}
