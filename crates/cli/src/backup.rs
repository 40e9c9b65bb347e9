//! `seaway backup`: of a running server, or of the store of a stopped one, into a directory of backups, a file, or a stream.

mod remote;

use std::io::{IsTerminal as _, stdout};
use std::path::{Path, PathBuf};

use seaway_backup::archive::{is_archive, write, write_file};
use seaway_backup::{Making, Manifest, Pace, Progress, Repository, Rest, Source};
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, note};
use crate::progress::while_drawn_of;
use crate::readable::{count, counted, parse_size, size};
use remote::Remote;

/// What to back up, and where to.
#[derive(clap::Args)]
pub(crate) struct BackupArguments {
    /// A directory of backups, which share what they have in common; a file that ends with .tar.zst; or - for the standard output
    #[arg(long, value_name = "DIR|FILE|-", value_hint = clap::ValueHint::AnyPath)]
    to: PathBuf,
    /// The store of a stopped server (its -dir) [default: ask the server, which goes on serving]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Keep so many backups of this store in the directory, this one included, and remove older ones [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    keep: Option<u64>,
    /// Copy at most so many bytes per second (20M, 1G: powers of 1024; 0: no bound) [default: 16M of a running server, no bound with
    /// --dir]
    #[arg(long, value_name = "BYTES", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Read everything again, also what the directory has, and replace what is damaged there
    #[arg(long)]
    full: bool,
}

/// A size, or 0.
fn parse_rate(text: &str) -> Result<u64, String> {
    match text {
        "0" => Ok(0),
        text => parse_size(text),
    }
}

/// Bytes per second of a backup of a running server, whose publishers are to notice little of it.
const SERVED_RATE: u64 = 16 << 20;

/// Where a backup goes.
enum Place<'a> {
    Repository(&'a Path),
    File(&'a Path),
    Stream,
}

impl BackupArguments {
    /// Whether a server is to be asked.
    pub(crate) fn asks_server(&self) -> bool {
        self.dir.is_none()
    }

    fn place(&self) -> Outcome<Place<'_>> {
        let place = match self.to.as_path() {
            path if path == Path::new("-") => Place::Stream,
            path if is_archive(path) => Place::File(path),
            path if looks_like_archive(path) => {
                let shown = path.display();
                return Err(Failure::usage(format!(
                    "{shown}: an archive's name ends with .tar.zst; any other is taken for a directory of backups, and is to have no such \
                     ending"
                )));
            }
            path => Place::Repository(path),
        };
        if !matches!(place, Place::Repository(_)) {
            let of_directory = [("--keep", self.keep.is_some()), ("--full", self.full)];
            if let Some((flag, _)) = of_directory.iter().find(|(_, is_given)| *is_given) {
                return Err(Failure::usage(format!("{flag} belongs to a directory of backups")));
            }
        }
        if matches!(place, Place::Stream) && stdout().is_terminal() {
            return Err(Failure::usage(
                "a backup is nothing for a terminal: redirect the standard output",
            ));
        }
        Ok(place)
    }
}

/// Of a store at rest.
pub(crate) fn of_store(arguments: &BackupArguments, output: &mut Output) -> Outcome {
    let place = arguments.place()?;
    let Some(directory) = &arguments.dir else {
        return Err(Failure::usage("name the store: --dir DIR"));
    };
    let mut rest = Rest::open(directory).map_err(|error| {
        let shown = directory.display();
        let text = format!("{shown}: {error}");
        Failure::failed(match error {
            seaway_backup::Error::Store(seaway_store::OpenError::Locked { .. }) => {
                format!("{text}: back it up through the server, without --dir")
            }
            _ => text,
        })
    })?;
    make(arguments, &place, &mut rest, output)
}

/// Of a running server.
pub(crate) async fn of_server(arguments: &BackupArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let place = arguments.place()?;
    let mut remote = Remote::begin(connection, tokio::runtime::Handle::current()).await?;
    let made = make(arguments, &place, &mut remote, output);
    // The server keeps files for it until it hears of its end, or nothing for a minute.
    remote.end().await;
    made
}

fn make(
    arguments: &BackupArguments,
    place: &Place<'_>,
    source: &mut (dyn Source + Send),
    output: &mut Output,
) -> Outcome {
    let progress = Progress::default();
    let usual = arguments.asks_server().then_some(SERVED_RATE);
    let mut pace = Pace::new(arguments.rate.or(usual).filter(|rate| *rate > 0));
    let draw = || (progress.bytes_total(), progress.bytes_done());
    let failed = |error: seaway_backup::Error| Failure::failed(format!("no backup was made: {error}"));
    match place {
        Place::Repository(directory) => {
            let repository = Repository::open(directory).map_err(failed)?;
            let making = Making {
                keep: arguments.keep.map(|keep| usize::try_from(keep).unwrap_or(usize::MAX)),
                is_full: arguments.full,
            };
            let made = while_drawn_of(draw, || repository.make(source, making, &mut pace, &progress))?;
            let made = made.map_err(failed)?;
            for remark in &made.remarks {
                note(remark);
            }
            let (files, bytes) = made.copied;
            let mut text = format!(
                "Backup {} in {}: {}; copied {} of {}, {}.",
                made.name,
                directory.display(),
                shown(&made.manifest),
                count(files),
                counted(made.manifest.files.len() as u64, "file"),
                size(bytes),
            );
            if !made.removed.is_empty() {
                text.push_str(&format!(
                    " Removed {}.",
                    counted(made.removed.len() as u64, "older backup")
                ));
            }
            let mut document = document(&made.manifest);
            document["name"] = made.name.into();
            document["copied_files"] = files.into();
            document["copied_bytes"] = bytes.into();
            document["removed"] = made.removed.into();
            output.done(&text, &document)?;
            judge(&made.manifest)
        }
        Place::File(path) => {
            let manifest = while_drawn_of(draw, || write_file(source, path, &mut pace, &progress))?;
            let manifest = manifest.map_err(failed)?;
            let text = format!("Backup in {}: {}.", path.display(), shown(&manifest));
            output.done(&text, &document(&manifest))?;
            judge(&manifest)
        }
        Place::Stream => {
            let manifest = while_drawn_of(draw, || write(source, stdout().lock(), &mut pace, &progress))?;
            let manifest = manifest.map_err(failed)?;
            note(&format!("Backup: {}.", shown(&manifest)));
            judge(&manifest)
        }
    }
}

/// Endings of archives and compressed files that are none of ours.
const OTHER_ENDINGS: [&str; 8] = ["tar", "gz", "tgz", "zst", "bz2", "xz", "zip", "7z"];

/// Whether somebody who names such a place means a file.
fn looks_like_archive(path: &Path) -> bool {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| OTHER_ENDINGS.contains(&ending.as_str())) && !path.is_dir()
}

/// Files that are named of a damaged store.
const DAMAGES_LISTED_MAX: usize = 20;

/// A backup of a damaged store is one, and nobody is to take it for a whole one.
fn judge(manifest: &Manifest) -> Outcome {
    if !manifest.is_known_damaged() {
        return Ok(());
    }
    let damages: Vec<(&str, &str)> = manifest.damages().collect();
    for (name, reason) in damages.iter().take(DAMAGES_LISTED_MAX) {
        note(&format!("{name} is damaged, and in the backup as it is: {reason}"));
    }
    if damages.len() > DAMAGES_LISTED_MAX {
        let more = (damages.len() - DAMAGES_LISTED_MAX) as u64;
        note(&format!("and {}; --json has all", counted(more, "more damaged file")));
    }
    if let Some(refusal) = &manifest.refusal {
        note(&format!("No server would start on what is in the backup: {refusal}"));
    }
    Err(Failure::failed(
        "the backup was made, and THE STORE IS DAMAGED: `seaway verify` says which messages that concerns, of the stopped server's directory \
         or of the backup, and `seaway repair DIR --from BACKUPS` mends it from older backups; keep those",
    ))
}

/// What a backup holds, in words.
pub(crate) fn shown(manifest: &Manifest) -> String {
    let position = match manifest.position {
        Some(position) => format!("{} up to position {}", size(manifest.bytes()), count(position)),
        None => format!("{} of a server that was killed", size(manifest.bytes())),
    };
    match manifest.encrypted {
        true => format!("{position}, encrypted"),
        false => position,
    }
}

pub(crate) fn document(manifest: &Manifest) -> Value {
    json!({
        "made": manifest.made.to_string(),
        "identity": manifest.identity,
        "epoch": manifest.epoch,
        "position": manifest.position,
        "encrypted": manifest.encrypted,
        "files": manifest.files.len(),
        "bytes": manifest.bytes(),
        "life": manifest.life,
        "whole": manifest.is_known_whole(),
        "damaged_when_made": manifest.damages().map(|(file, reason)| json!({ "file": file, "reason": reason })).collect::<Vec<_>>(),
        "refusal": manifest.refusal,
    })
}
