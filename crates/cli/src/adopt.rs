//! `seaway adopt`: what a data directory or database of NATS Streaming holds, taking it over, and giving it back.

mod arguments;
mod report;
mod tables;
mod told;

use std::path::Path;

use seaway_adoption::{Error, undo};
use seaway_original::{Key, check};
use serde_json::json;

pub(crate) use self::arguments::AdoptArguments;
use self::arguments::{encryption, options};
use self::told::{finish, tell_check};
use crate::failure::{Failure, Outcome};
use crate::key;
use crate::output::Output;
use crate::readable::{counted, printable};
use crate::sql_source::Surroundings;

/// Channels named of those that would lose messages.
const CHANNELS_LISTED_MAX: usize = 20;

pub(crate) fn run(arguments: &AdoptArguments, surroundings: &Surroundings, output: &mut Output) -> Outcome {
    if let Some(database) = arguments.sql.database(surroundings)? {
        return tables::run(arguments, &database.source, output);
    }
    let Some(directory) = &arguments.directory else {
        return Err(Failure::usage(
            "name the directory that is to be taken over, or --sql-source",
        ));
    };
    if arguments.undo {
        return undo(arguments, directory, output);
    }
    if arguments.check && arguments.to.is_some() {
        return Err(Failure::usage(
            "--check makes nothing, so that there is nothing --to another directory",
        ));
    }
    let key = key::read(arguments.encryption_key_file.as_deref())?;
    let original = seaway_original::Options {
        polynomial: arguments.file_crc_poly,
        key: key.as_deref().map(Key::new),
        raft_directory: arguments.raft_dir.clone(),
        is_locked: false,
    };
    if !arguments.check {
        let options = options(arguments, original, key)?;
        return finish(output, |progress| seaway_adoption::adopt(directory, &options, progress));
    }
    let report = check(directory, &original, |_| {}).map_err(|error| Failure::failed(error.to_string()))?;
    tell_check(&report, output)
}

fn undo(arguments: &AdoptArguments, directory: &Path, output: &mut Output) -> Outcome {
    let encryption = encryption(arguments, key::read(arguments.encryption_key_file.as_deref())?)?;
    let failed = |error: Error| Failure::failed(error.to_string());
    let loss = undo::loss(directory, encryption).map_err(failed)?;
    if !arguments.yes {
        if output.is_json() {
            output.json(&loss)?;
        } else {
            for (channel, messages) in loss.channels.iter().take(CHANNELS_LISTED_MAX) {
                output.line(&format!(
                    "{}: {}",
                    printable(channel),
                    counted(*messages, "new message")
                ))?;
            }
            if loss.channels.len() > CHANNELS_LISTED_MAX {
                let more = (loss.channels.len() - CHANNELS_LISTED_MAX) as u64;
                output.line(&format!("and {}", counted(more, "more channel")))?;
            }
        }
        return Err(Failure::failed(format!(
            "NATS Streaming would go on where it was at {}: {} published since would be lost to it, and so would be what was \
             acknowledged, subscribed and deleted; nothing was changed. To do it, say --yes",
            loss.adopted_at,
            counted(loss.messages, "message"),
        )));
    }
    undo::undo(directory).map_err(failed)?;
    let sentence = format!(
        "{} is NATS Streaming's again. What Seaway had written is in its files that begin with {}: remove them when it is not needed.",
        directory.display(),
        seaway_adoption::UNDONE_PREFIX
    );
    output.done(&sentence, &json!({ "undone": true, "loss": loss }))
}
