//! `seaway repair`: mends the store of a stopped server, as far as that is possible without guessing.

use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use seaway_backup::archive::is_archive;
use seaway_backup::{Error, Reading, Remedy, Repaired, Repairing, Repository, identity_of, repair};
use seaway_store::verify::Damage;
use seaway_store::{Cipher, Encryption};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::key;
use crate::output::Output;
use crate::readable::{counted, parse_time};
use crate::verify::found::named;

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
    /// Of these take the newest that was begun then or before [default: the newest]
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
    let failed = |error: Error| Failure::failed(format!("{directory}: {error}"));
    let repaired = repair(&arguments.directory, encryption.as_ref(), backup(arguments)?, repairing).map_err(failed)?;
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
    if left > 0 {
        return Err(Failure::failed(format!(
            "{} in {directory} cannot be mended. A server passes over damaged messages and delivers the others; one that refuses to start \
             gives up what is damaged with -file_truncate_bad_eof",
            counted(left, "place")
        )));
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

fn backup(arguments: &RepairArguments) -> Outcome<Option<Reading>> {
    let Some(from) = &arguments.from else { return Ok(None) };
    if is_archive(from) {
        let text = "an archive cannot be looked into: restore it to a directory, back that up with --dir to a directory of backups, and \
                    name this one";
        return Err(Failure::usage(text));
    }
    let at = arguments.at.map(Timestamp::try_from).transpose();
    let at = at.map_err(|error| Failure::usage(format!("--at: {error}")))?;
    // Backups of other stores may be there as well.
    let identity = identity_of(&arguments.directory);
    let identity = identity.map_err(|error| Failure::failed(format!("{}: {error}", arguments.directory.display())))?;
    let reading = Repository::existing(from).and_then(|repository| repository.read(identity.as_deref(), at));
    let reading = reading.map_err(|error| Failure::failed(format!("{}: {error}", from.display())))?;
    Ok(Some(reading))
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
            0 => String::new(),
            length => format!(", {} from offset {}", counted(length, "byte"), damage.offset),
        };
        output.line(&format!(
            "{}{place}: {}; {}",
            damage.file,
            damage.reason,
            done(remedy, applied)
        ))?;
        for run in named(&repaired.channels, damage).take(RUNS_LISTED_MAX) {
            output.line(&format!("  {run}"))?;
        }
        if damage.messages.len() > RUNS_LISTED_MAX {
            let more = (damage.messages.len() - RUNS_LISTED_MAX) as u64;
            output.line(&format!("  and {}", counted(more, "more run")))?;
        }
    }
    Ok(())
}

fn document(repaired: &Repaired, applied: bool) -> Value {
    let damages = repaired.damages.iter().map(|(damage, remedy): &(Damage, Remedy)| {
        let messages = damage.messages.iter().map(|(channel, first, last)| {
            json!({ "channel": repaired.channels.names.get(&channel.0), "number": channel.0, "first": first, "last": last })
        });
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
            "messages": messages.collect::<Vec<_>>(),
        })
    });
    json!({ "applied": applied, "damages": damages.collect::<Vec<_>>() })
}
