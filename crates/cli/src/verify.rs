//! `seaway verify`: reads a store that no server uses, or backups, and says what is damaged.

mod archives;
mod backups;
pub(crate) mod found;

use std::path::{Path, PathBuf};

use seaway_store::verify::{Damage, Verification, verify};
use seaway_store::{Cipher, Encryption, FileStoreError, OpenError};

use self::found::{document, show_channels, show_damages};
use crate::failure::{Failure, Outcome};
use crate::key;
use crate::output::Output;
use crate::readable::{counted, printable, size};

/// Which store.
#[derive(clap::Args)]
pub(crate) struct VerifyArguments {
    /// A server's data directory (its -dir), or a copy of it; a directory of backups; a backup's file .tar.zst, or - for one from the
    /// standard input; or an archive (a server's -archive)
    #[arg(value_name = "DIR|BACKUP|ARCHIVE", value_hint = clap::ValueHint::AnyPath)]
    directory: PathBuf,
    /// File with the server's encryption key [default: the variable NATS_STREAMING_ENCRYPTION_KEY]
    #[arg(long, value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
}

pub(crate) fn run(arguments: &VerifyArguments, output: &mut Output) -> Outcome {
    let key = key::read(arguments.encryption_key_file.as_deref())?;
    // The store's files say with what they are encrypted.
    let encryption = key.map(|key| Encryption::new(Cipher::Aes256Gcm, key)).transpose();
    let encryption = encryption.map_err(|error| Failure::failed(error.to_string()))?;
    if backups::is_backup(&arguments.directory) {
        let backups = backups::run(&arguments.directory, encryption.as_ref(), output);
        if !holds_store(&arguments.directory) {
            return backups;
        }
        // A store and backups in one directory: both are read, whatever became of the first.
        let store = of_store(arguments, encryption, output);
        return backups.and(store);
    }
    if archives::is_archive(&arguments.directory) {
        return archives::run(&arguments.directory, encryption.as_ref(), output);
    }
    of_store(arguments, encryption, output)
}

/// Whether a directory of backups is also one of a store.
fn holds_store(path: &Path) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|name| name.starts_with("epoch-") && name.ends_with(".epoch"))
}

fn of_store(arguments: &VerifyArguments, encryption: Option<Encryption>, output: &mut Output) -> Outcome {
    let directory = arguments.directory.display();
    let found = verify(&arguments.directory, encryption).map_err(|error| explain(arguments, &error))?;
    if output.is_json() {
        output.json(&document(&found))?;
    } else {
        show(&found, output)?;
    }
    if found.damages.is_empty() && found.refusal.is_none() && found.channels.lost == 0 {
        return match output.is_json() {
            true => Ok(()),
            false => output.line(&format!("\n{directory} is whole. Nothing was changed.")),
        };
    }
    Err(Failure::failed(verdict(&found, &directory.to_string())))
}

fn verdict(found: &Verification, directory: &str) -> String {
    if let Some(refusal) = &found.refusal {
        return format!("no server would start on {directory}: {refusal}{}", advice(refusal));
    }
    let damaged = found.damages.iter().filter(|damage| is_missed(found, damage)).count() as u64;
    if damaged == 0 && found.channels.lost == 0 {
        return format!("a server starts on {directory}, and nothing that it would deliver is damaged");
    }
    let lines = match damaged + u64::from(found.channels.lost > 0) {
        1 => "the line above says".to_owned(),
        lines => format!("{} above say", counted(lines, "line")),
    };
    format!(
        "a server starts on {directory}, and cannot deliver what {lines}; `seaway repair` mends what it can, with --from BACKUPS also \
         from backups"
    )
}

/// What to do about a store that does not open.
fn advice(refusal: &OpenError) -> String {
    match refusal {
        OpenError::Damaged { .. } => {
            ". `seaway repair` mends what it can, with --from BACKUPS also from backups; or start once with \
             -file_truncate_bad_eof, which gives up what is damaged, says what that is, and keeps copies"
                .to_owned()
        }
        OpenError::Indispensable { remedy, .. } => format!(". {remedy}"),
        _ => String::new(),
    }
}

/// Whether a server cannot deliver something for this; what was removed before is not asked for any more.
fn is_missed(found: &Verification, damage: &Damage) -> bool {
    let runs = &damage.messages;
    let is_gone = |channel: u64, last: u64| {
        let bounds = found.channels.bounds.get(&channel);
        bounds.is_none_or(|(first, _)| last < *first)
    };
    !damage.is_remade && (runs.is_empty() || !runs.iter().all(|(channel, _, last)| is_gone(channel.0, *last)))
}

fn explain(arguments: &VerifyArguments, error: &FileStoreError) -> Failure {
    let directory = arguments.directory.display();
    Failure::failed(match error {
        FileStoreError::NoStore => {
            format!("{directory} is no store of Seaway's, no directory of backups and no archive")
        }
        FileStoreError::Journal(OpenError::Locked { holder }) => {
            let holder = if holder.is_empty() {
                ""
            } else {
                &format!(" ({})", printable(holder))
            };
            format!("a server uses {directory}{holder}: stop it, or verify a copy")
        }
        FileStoreError::Journal(OpenError::KeyRequired) => key::required(&arguments.directory),
        FileStoreError::Directory { source, .. } => format!("{directory}: {source}"),
        FileStoreError::Journal(error) => format!("{directory}: {error}{}", advice(error)),
        error => format!("{directory}: {error}"),
    })
}

fn show(found: &Verification, output: &mut Output) -> Outcome {
    show_damages(found, output)?;
    for warning in &found.warnings {
        output.line(&format!("A start says: {warning}"))?;
    }
    output.line(&format!(
        "Read: {} with {}, {}.",
        counted(found.segments, "segment"),
        counted(found.records, "message record"),
        size(found.bytes),
    ))?;
    if found.is_member {
        let votes = if found.has_votes {
            ""
        } else {
            " It has no file with votes: whoever goes on from it needs a new node id."
        };
        output.line(&format!("It is of a member of a cluster (format version 3).{votes}"))?;
    }
    show_channels(found, output)
}
