//! `seaway repair`: mends the store of a stopped server, as far as that is possible without guessing.

use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use seaway_backup::archive::is_archive;
use seaway_backup::{Error, Reading, Remedy, Repaired, Repairing, Repository, identity_of, repair};
use seaway_store::verify::Damage;
use seaway_store::{Cipher, Encryption, OpenError};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::key;
use crate::output::Output;
use crate::readable::{counted, parse_time};
use crate::verify::found::{named, runs, show_lost};

/// Runs of messages named of one damage.
const RUNS_LISTED_MAX: usize = 8;

/// Which store.
#[derive(clap::Args)]
pub(crate) struct RepairArguments {
    /// The data directory of a stopped server (its -dir)
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
    /// Do it; without this it is only said what would be done
    #[arg(long)]
    apply: bool,
    /// Take what is damaged from a directory of backups
    #[arg(long, value_name = "BACKUPS", value_hint = clap::ValueHint::DirPath)]
    from: Option<PathBuf>,
    /// Of these take none that was begun later [default: all, the newest first]
    #[arg(long, value_name = "MOMENT", value_parser = parse_time, requires = "from")]
    at: Option<SystemTime>,
    /// File with the server's encryption key [default: the variable NATS_STREAMING_ENCRYPTION_KEY]
    #[arg(long, value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
}

pub(crate) fn run(arguments: &RepairArguments, output: &mut Output) -> Outcome {
    let directory = arguments.directory.display();
    let key = key::read(arguments.encryption_key_file.as_deref())?;
    let encryption = key.map(|key| Encryption::new(Cipher::Aes256Gcm, key)).transpose();
    let encryption = encryption.map_err(|error| Failure::failed(error.to_string()))?;
    let repairing = match arguments.apply {
        true => Repairing::Reality,
        false => Repairing::Rehearsal,
    };
    let failed = |error: Error| {
        Failure::failed(match error {
            Error::Repair(OpenError::KeyRequired) => key::required(&arguments.directory),
            error => format!("{directory}: {error}"),
        })
    };
    let repaired = repair(
        &arguments.directory,
        encryption.as_ref(),
        backups(arguments)?,
        repairing,
    )
    .map_err(failed)?;
    let left = repaired
        .damages
        .iter()
        .filter(|(_, remedy)| matches!(remedy, Remedy::None(_)))
        .count() as u64;
    if output.is_json() {
        output.json(&document(&repaired, arguments.apply))?;
    } else {
        show(&repaired, arguments.apply, output)?;
    }
    let mended = repaired.damages.len() as u64 - left;
    if left > 0 || repaired.after.refusal.is_some() {
        return Err(Failure::failed(verdict(&repaired, left, &directory.to_string())));
    }
    if output.is_json() {
        return Ok(());
    }
    output.line(&match (mended, arguments.apply) {
        (0, _) => format!("There is nothing to mend in {directory}."),
        (_, true) => format!(
            "{} mended in {directory}. `seaway verify` reads all of it again.",
            counted(mended, "place")
        ),
        (_, false) => format!(
            "{} can be mended in {directory}. Nothing was changed: --apply does it.",
            counted(mended, "place")
        ),
    })
}

/// What cannot be mended, and what to do then.
fn verdict(repaired: &Repaired, left: u64, directory: &str) -> String {
    let left = match left {
        0 => String::new(),
        left => format!("{} in {directory} cannot be mended. ", counted(left, "place")),
    };
    match (&repaired.after.refusal, repaired.after.may_give_up) {
        (None, _) => format!("{left}A server starts, passes over damaged messages, and delivers the others"),
        (Some(refusal), true) => format!(
            "{left}No server starts on it: {refusal}. One that is started once with -file_truncate_bad_eof gives up what is damaged, as listed \
             above, and keeps copies"
        ),
        (Some(refusal), false) => {
            format!("{left}No server starts on it: {refusal}. Restore a backup to another directory: `seaway restore`")
        }
    }
}

/// Backups of the store, those of its own life first.
fn backups(arguments: &RepairArguments) -> Outcome<Vec<(Reading, bool)>> {
    let Some(from) = &arguments.from else {
        return Ok(Vec::new());
    };
    if is_archive(from) {
        let text = "an archive cannot be looked into: restore it to a directory, back that up with --dir to a directory of backups, and \
                    name this one";
        return Err(Failure::usage(text));
    }
    let at = arguments.at.map(Timestamp::try_from).transpose();
    let at = at.map_err(|error| Failure::usage(format!("--at: {error}")))?;
    // Backups of other stores may be there as well.
    let store = identity_of(&arguments.directory);
    let store = store.map_err(|error| Failure::failed(format!("{}: {error}", arguments.directory.display())))?;
    let failed = |error: Error| Failure::failed(format!("{}: {error}", from.display()));
    let repository = Repository::existing(from).map_err(failed)?;
    let Some((identity, life)) = store else {
        // The file that says whose it is is damaged: it can only be of the one store that is there.
        let reading = repository.read(None, at).map_err(failed)?;
        return Ok(vec![(reading, true)]);
    };
    let found = repository.donors(&identity, life.as_deref(), at).map_err(failed)?;
    match found.is_empty() {
        true => Err(failed(Error::Refused(format!(
            "no backup in it is of the store {identity}"
        )))),
        false => Ok(found),
    }
}

/// What is done, in words.
fn done(remedy: &Remedy, applied: bool) -> String {
    let (will, was) = match remedy {
        Remedy::Made => ("can be made again from its segment", "was made again from its segment"),
        Remedy::Copied => ("can be taken from the backup", "was taken from the backup"),
        Remedy::None(reason) => return format!("cannot be mended: {reason}"),
    };
    if applied { was } else { will }.to_owned()
}

fn show(repaired: &Repaired, applied: bool, output: &mut Output) -> Outcome {
    for (damage, remedy) in &repaired.damages {
        let place = match damage.length {
            _ if damage.is_missing => String::new(),
            0 => String::new(),
            length => format!(", {} from offset {}", counted(length, "byte"), damage.offset),
        };
        output.line(&format!(
            "{}{place}: {}; {}",
            damage.file,
            damage.reason,
            done(remedy, applied)
        ))?;
        for run in named(&repaired.after.channels, damage).take(RUNS_LISTED_MAX) {
            output.line(&format!("  {run}"))?;
        }
        if damage.messages.len() > RUNS_LISTED_MAX {
            let more = (damage.messages.len() - RUNS_LISTED_MAX) as u64;
            output.line(&format!("  and {}", counted(more, "more run")))?;
        }
    }
    let why = match repaired.after.may_give_up {
        true => "a start that gives up what is damaged goes on without them",
        false => "they were given up",
    };
    show_lost(&repaired.after.channels, why, output)
}

fn document(repaired: &Repaired, applied: bool) -> Value {
    let damages = repaired.damages.iter().map(|(damage, remedy): &(Damage, Remedy)| {
        let (remedy, reason) = match remedy {
            Remedy::Made => ("made", None),
            Remedy::Copied => ("copied", None),
            Remedy::None(reason) => ("none", Some(reason)),
        };
        json!({
            "file": damage.file,
            "offset": damage.offset,
            "length": damage.length,
            "reason": damage.reason,
            "remedy": remedy,
            "why_not": reason,
            "messages": runs(&repaired.after.channels, &damage.messages),
        })
    });
    let after = &repaired.after;
    json!({
        "applied": applied,
        "damages": damages.collect::<Vec<_>>(),
        "refusal": after.refusal.as_ref().map(ToString::to_string),
        "may_give_up": after.may_give_up,
        "lost": after.channels.lost,
        "lost_messages": runs(&after.channels, &after.channels.lost_runs),
    })
}
