//! `seaway archive`: what the archive of a server (its `-archive`) reaches, and removing what is too old. `seaway restore` and `seaway verify`
//! take it as they take backups.

pub(crate) mod restoring;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use seaway_backup::{Error, History, Reach, Stretch, is_history};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::output::{Align, Output, note};
use crate::readable::{count, counted, parse_duration, parse_time, size};

/// What to do with an archive.
#[derive(clap::Subcommand)]
pub(crate) enum ArchiveCommand {
    /// List to which moments a store can be restored
    List {
        /// The archive: the -archive of a server
        #[arg(value_name = "ARCHIVE", value_hint = clap::ValueHint::DirPath)]
        archive: PathBuf,
    },
    /// Remove what only moments before another one need
    ///
    /// That moment and all later ones can still be restored to. Servers may go on archiving meanwhile.
    Prune(PruneArguments),
}

/// What may go.
#[derive(clap::Args)]
pub(crate) struct PruneArguments {
    /// The archive: the -archive of a server
    #[arg(value_name = "ARCHIVE", value_hint = clap::ValueHint::DirPath)]
    archive: PathBuf,
    /// Keep every moment from this one on
    #[arg(long, value_name = "MOMENT", value_parser = parse_time, required_unless_present = "keep")]
    before: Option<SystemTime>,
    /// Keep so much of the past (30d, 12h)
    #[arg(long, value_name = "SPAN", value_parser = parse_duration, conflicts_with = "before")]
    keep: Option<Duration>,
}

pub(crate) fn run(command: &ArchiveCommand, output: &mut Output) -> Outcome {
    match command {
        ArchiveCommand::List { archive } => list(archive, output),
        ArchiveCommand::Prune(arguments) => prune(arguments, output),
    }
}

/// A failure that names the archive.
pub(crate) fn failed(archive: &Path, error: &Error) -> Failure {
    Failure::failed(format!("{}: {error}", archive.display()))
}

/// The archive in a directory, which has to be one.
pub(crate) fn opened(archive: &Path) -> Outcome<History> {
    let history = History::existing(archive).map_err(|error| failed(archive, &error))?;
    match is_history(archive) {
        Ok(true) => Ok(history),
        _ => Err(Failure::failed(format!(
            "{} holds no archive: name the directory that is the -archive of a server",
            archive.display()
        ))),
    }
}

/// A moment of an archive as people and programs read it.
pub(crate) fn moment(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default()
}

/// What a moment is in an archive.
pub(crate) fn nanoseconds(time: SystemTime) -> Outcome<i64> {
    let moment = Timestamp::try_from(time).map_err(|error| Failure::usage(error.to_string()))?;
    i64::try_from(moment.as_nanosecond()).map_err(|_| Failure::usage(format!("no store has messages of {moment}")))
}

pub(crate) fn document(stretch: &Stretch) -> Value {
    json!({
        "store": stretch.identity,
        "life": stretch.life,
        "from": stretch.first().map(|first| moment(first).to_string()),
        "until": stretch.first().map(|_| moment(stretch.until).to_string()),
        "position": stretch.position,
        "links": stretch.links(),
        "encrypted": stretch.encrypted,
    })
}

/// Says which links cannot be read.
pub(crate) fn note_damaged(reach: &Reach) {
    for (name, reason) in &reach.damaged {
        note(&format!(
            "{name} of the archive cannot be read: {reason}. `seaway verify` says what that costs"
        ));
    }
}

/// To which moments a store can be restored.
pub(crate) fn list(archive: &Path, output: &mut Output) -> Outcome {
    let reach = opened(archive)?.reach().map_err(|error| failed(archive, &error))?;
    note_damaged(&reach);
    if output.is_json() {
        return reach
            .stretches
            .iter()
            .try_for_each(|stretch| output.json(&document(stretch)));
    }
    let row = |stretch: &Stretch| {
        let moments = stretch.first().map(|first| (moment(first), moment(stretch.until)));
        let (from, until) = moments.map_or_else(
            || ("none yet".to_owned(), String::new()),
            |(from, until)| (from.to_string(), until.to_string()),
        );
        vec![
            from,
            until,
            stretch.store(),
            count(stretch.position),
            count(stretch.links() as u64),
            if stretch.encrypted { "encrypted" } else { "" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = reach.stretches.iter().map(row).collect();
    if rows.is_empty() {
        return output.line("No moment can be restored to yet.");
    }
    let columns = [
        ("FROM", Align::Left),
        ("UNTIL", Align::Left),
        ("STORE", Align::Left),
        ("POSITION", Align::Right),
        ("LINKS", Align::Right),
        ("", Align::Left),
    ];
    output.table(&columns, &rows)?;
    match rows.len() {
        1 => Ok(()),
        _ => output.line("Every moment of a line can be restored to. Between two lines of a store nothing was archived, or it was restored."),
    }
}

fn prune(arguments: &PruneArguments, output: &mut Output) -> Outcome {
    let archive = &arguments.archive;
    let kept_from = arguments.keep.and_then(|keep| SystemTime::now().checked_sub(keep));
    let before = arguments.before.or(kept_from);
    let before = nanoseconds(before.ok_or_else(|| Failure::usage("--keep reaches back further than time itself"))?)?;
    let pruned = opened(archive)?
        .prune(before)
        .map_err(|error| failed(archive, &error))?;
    let document = json!({
        "before": moment(before).to_string(),
        "links": pruned.links,
        "pieces": pruned.pieces,
        "bytes": pruned.bytes,
    });
    let text = match pruned.links {
        0 => format!(
            "Nothing goes: everything in it is needed for {} or later.",
            moment(before)
        ),
        links => format!(
            "Removed {} and {}, {}. {} and everything later can still be restored to.",
            counted(links, "link"),
            counted(pruned.pieces, "piece"),
            size(pruned.bytes),
            moment(before)
        ),
    };
    output.done(&text, &document)
}
