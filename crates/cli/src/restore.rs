//! `seaway restore`: a store of a backup again.

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use seaway_adoption::refit::{Refit, Refitted, refit};
use seaway_backup::archive::is_archive;
use seaway_backup::{
    Change, Error, Manifest, Moment, Pace, Progress, Repository, is_history, open_archive, restore, restore_archive,
};
use seaway_nats_protocol::subject::{is_literal, is_pattern, matches};
use seaway_store::verify::{ChannelsFound, channels};
use seaway_store::{Cipher, Encryption};
use serde_json::{Value, json};

use crate::archive::{self, restoring};
use crate::backup::{document, shown};
use crate::failure::{Failure, Outcome};
use crate::key;
use crate::output::{Align, Output, note};
use crate::progress::while_drawn_of;
use crate::readable::{count, counted, parse_size, parse_time, printable, size};

/// Channels that are named, with the sequences that are given out again.
const CHANNELS_LISTED_MAX: usize = 100;

/// Channels that are named that were left out.
const LEFT_OUT_LISTED_MAX: usize = 20;

/// Which backup, and where to.
#[derive(clap::Args)]
pub(crate) struct RestoreArguments {
    /// A directory of backups, a file .tar.zst, - for the standard input, or an archive (a server's -archive)
    #[arg(value_name = "BACKUP|ARCHIVE", value_hint = clap::ValueHint::AnyPath, required_unless_present = "from")]
    backup: Option<PathBuf>,
    /// The same, behind a flag
    #[arg(long, value_name = "BACKUP|ARCHIVE", value_hint = clap::ValueHint::AnyPath, conflicts_with = "backup")]
    from: Option<PathBuf>,
    /// The directory of the new store: it is made, or is empty
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath, required_unless_present = "list")]
    to: Option<PathBuf>,
    /// Of an archive the store as it was at this moment, to the message; of backups the newest that was begun then or before [default: the
    /// newest]
    #[arg(long, value_name = "MOMENT", value_parser = parse_time)]
    at: Option<SystemTime>,
    /// Take one of the store, or of the life of it, whose name begins so; needed where backups of several are (--list shows whose each is)
    #[arg(long, value_name = "PREFIX")]
    store: Option<String>,
    /// Restore only channels that match (orders.>, several times), with their durables and what is unacknowledged [default: all]
    #[arg(long, value_name = "PATTERN")]
    channel: Vec<String>,
    /// The cluster ID of the new store; its clients are closed, and their durables stay [default: that of the backup]
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
    /// List the backups of a directory, or the moments of an archive, and restore nothing
    #[arg(long, conflicts_with_all = ["to", "at", "store", "rate", "channel", "cluster_id"])]
    list: bool,
    /// Write at most so many bytes per second (20M, 1G: powers of 1024) [default: no bound]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    rate: Option<u64>,
    /// File with the server's encryption key, to name the channels [default: the variable NATS_STREAMING_ENCRYPTION_KEY]
    #[arg(long, value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
}

pub(crate) fn run(arguments: &RestoreArguments, output: &mut Output) -> Outcome {
    let backup = arguments.place();
    let is_archived = is_history(backup).unwrap_or(false);
    match (arguments.list, is_archived) {
        (true, true) => return archive::list(backup, output),
        (true, false) => return list(backup, output),
        (false, _) => {}
    }
    let Some(to) = &arguments.to else {
        return Err(Failure::usage("name the directory of the new store: --to DIR"));
    };
    let key = key::read(arguments.encryption_key_file.as_deref())?;
    check(arguments)?;
    let encryption = key.map(|key| Encryption::new(Cipher::Aes256Gcm, key)).transpose();
    let encryption = encryption.map_err(|error| Failure::failed(error.to_string()))?;
    let mut refitted = None;
    let restored = match is_archived {
        true => as_of_moment(arguments, to, encryption.as_ref(), &mut refitted)?,
        false => restored(arguments, to, encryption.as_ref(), &mut refitted).map(Restored::Backup)?,
    };
    // With its key an encrypted store can be looked into; another one needs none.
    let is_encrypted = restored.is_encrypted();
    let encryption = encryption.filter(|_| is_encrypted);
    let is_secret = is_encrypted && encryption.is_none();
    let found = (!is_secret).then(|| channels(to, encryption)).transpose();
    let found = found.map_err(|error| {
        Failure::failed(format!(
            "{} is what the {} holds, and no server would start on it: {error}",
            to.display(),
            restored.noun()
        ))
    })?;
    tell(to, &restored, found.as_ref(), refitted.as_ref(), output)
}

/// What was restored.
enum Restored {
    Backup(Manifest),
    Moment(Moment),
}

impl Restored {
    fn is_encrypted(&self) -> bool {
        match self {
            Restored::Backup(manifest) => manifest.encrypted,
            Restored::Moment(moment) => moment.encrypted,
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Restored::Backup(_) => "backup",
            Restored::Moment(_) => "archive",
        }
    }
}

impl RestoreArguments {
    /// Of what is restored.
    fn place(&self) -> &Path {
        let named = self.backup.as_deref().or(self.from.as_deref());
        named.unwrap_or_else(|| Path::new("-"))
    }

    /// What tells the store that is wanted from the one that was.
    fn change<'a>(&self, make: &'a mut (dyn FnMut(bool) -> Result<(), String> + Send)) -> Option<Change<'a>> {
        let is_other = !self.channel.is_empty() || self.cluster_id.is_some();
        is_other.then(|| Change {
            words: format!("{:?} {:?}", self.channel, self.cluster_id),
            make,
        })
    }
}

/// Restores from an archive.
fn as_of_moment(
    arguments: &RestoreArguments,
    to: &Path,
    encryption: Option<&Encryption>,
    refitted: &mut Option<Refitted>,
) -> Outcome<Restored> {
    let wanted = restoring::Wanted {
        archive: arguments.place(),
        at: arguments.at,
        store: arguments.store.as_deref(),
        rate: arguments.rate,
    };
    let moment = restoring::found(&wanted)?;
    let mut make = |is_encrypted| refit_to(arguments, to, encryption.filter(|_| is_encrypted), refitted);
    restoring::restore(&moment, to, arguments.change(&mut make), &wanted)?;
    Ok(Restored::Moment(moment))
}

/// Patterns and a cluster ID that can be.
fn check(arguments: &RestoreArguments) -> Outcome {
    for pattern in &arguments.channel {
        if !is_pattern(pattern.as_bytes()) {
            return Err(Failure::usage(format!(
                "--channel {pattern:?} is no name of a channel and no pattern"
            )));
        }
    }
    let id = arguments.cluster_id.as_deref();
    match id.filter(|id| !is_literal(id.as_bytes())) {
        None => Ok(()),
        Some(id) => Err(Failure::usage(format!(
            "--cluster-id {id:?} is no cluster ID: it is part of subjects"
        ))),
    }
}

/// Makes of the store that is restored the one that is wanted.
fn refit_to(
    arguments: &RestoreArguments,
    to: &Path,
    encryption: Option<&Encryption>,
    refitted: &mut Option<Refitted>,
) -> Result<(), String> {
    let patterns = &arguments.channel;
    let keeps = |name: &[u8]| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern.as_bytes(), name));
    let is_encrypted = |error: &seaway_adoption::Error| error.to_string().contains("no encryption key was given");
    let wanted = Refit {
        keeps: &keeps,
        cluster_id: arguments.cluster_id.as_deref(),
    };
    let found = refit(to, encryption.cloned(), wanted).map_err(|error| match is_encrypted(&error) {
        true => format!("{error}: name the file with its key (--encryption-key-file)"),
        false => error.to_string(),
    })?;
    if found.kept == 0 && !patterns.is_empty() {
        return Err(format!("no channel in the backup matches {}", patterns.join(" or ")));
    }
    *refitted = Some(found);
    Ok(())
}

fn restored(
    arguments: &RestoreArguments,
    to: &Path,
    encryption: Option<&Encryption>,
    refitted: &mut Option<Refitted>,
) -> Outcome<Manifest> {
    // A key that is only in the environment must not encrypt what never was.
    let mut make = |is_encrypted| refit_to(arguments, to, encryption.filter(|_| is_encrypted), refitted);
    let change = arguments.change(&mut make);
    let progress = Progress::default();
    let mut pace = Pace::new(arguments.rate);
    let draw = || (progress.bytes_total(), progress.bytes_done());
    let shown = to.display();
    let failed = |error: Error| Failure::failed(format!("nothing was restored to {shown}: {error}"));
    let of_archive = |archive: Box<dyn Read + Send>, change: Option<Change<'_>>, mut pace: Pace| {
        while_drawn_of(draw, || restore_archive(archive, to, change, &mut pace, &progress))?.map_err(failed)
    };
    let backup = arguments.place();
    let is_stream = backup == Path::new("-");
    if is_stream || is_archive(backup) {
        let of_directory = [("--at", arguments.at.is_some()), ("--store", arguments.store.is_some())];
        if let Some((flag, _)) = of_directory.iter().find(|(_, is_given)| *is_given) {
            return Err(Failure::usage(format!(
                "{flag} belongs to a directory of backups, or an archive"
            )));
        }
    }
    if is_stream {
        return of_archive(Box::new(stdin()), change, pace);
    }
    if is_archive(backup) {
        return of_archive(Box::new(open_archive(backup).map_err(failed)?), change, pace);
    }
    let at = arguments.at.map(Timestamp::try_from).transpose();
    let at = at.map_err(|error| Failure::usage(format!("--at: {error}")))?;
    let reading = Repository::existing(backup).and_then(|repository| repository.read(arguments.store.as_deref(), at));
    let reading = reading.map_err(|error| Failure::failed(format!("{}: {error}", backup.display())))?;
    while_drawn_of(draw, || restore(&reading, to, change, &mut pace, &progress))?.map_err(failed)?;
    Ok(reading.manifest)
}

/// Says what of the backup is not there.
fn show_refitted(refitted: &Refitted, output: &mut Output) -> Outcome {
    let left_out = &refitted.left_out;
    if !left_out.is_empty() {
        let mut named: Vec<String> = left_out
            .iter()
            .take(LEFT_OUT_LISTED_MAX)
            .map(|name| printable(name).into_owned())
            .collect();
        if left_out.len() > named.len() {
            named.push(format!("{} more", count((left_out.len() - named.len()) as u64)));
        }
        let channels = counted(left_out.len() as u64, "channel");
        output.line(&format!(
            "Left out with their subscriptions, {channels}: {}.",
            named.join(", ")
        ))?;
    }
    match refitted.clients {
        0 => Ok(()),
        clients => output.line(&format!(
            "Closed, as they belong to the other cluster, {}: their durables are there for who connects with the same client ID.",
            counted(clients as u64, "client")
        )),
    }
}

/// What was restored, and what is there now, for programs.
fn document_of(to: &Path, restored: &Restored, found: Option<&ChannelsFound>, refitted: Option<&Refitted>) -> Value {
    let mut document = match restored {
        Restored::Backup(manifest) => document(manifest),
        Restored::Moment(moment) => json!({
            "at": archive::moment(moment.at).to_string(),
            "identity": moment.identity,
            "position": moment.position,
            "encrypted": moment.encrypted,
            "bytes": moment.bytes(),
        }),
    };
    document["restored_to"] = to.display().to_string().into();
    if let Some(refitted) = refitted {
        document["left_out"] = refitted.left_out.clone().into();
        document["clients_closed"] = refitted.clients.into();
    }
    document["channels"] = found.map_or(Value::Null, |found| {
        let channels = found.names.iter().map(|(id, name)| {
            let (first, last) = found.bounds.get(id).copied().unwrap_or((1, 0));
            json!({ "name": name, "first": first, "last": last, "next": last + 1 })
        });
        channels.collect()
    });
    document
}

/// Says what is there now, and which sequences come again.
fn tell(
    to: &Path,
    restored: &Restored,
    found: Option<&ChannelsFound>,
    refitted: Option<&Refitted>,
    output: &mut Output,
) -> Outcome {
    if output.is_json() {
        return output.json(&document_of(to, restored, found, refitted));
    }
    let (what, when) = match restored {
        Restored::Backup(manifest) => {
            if manifest.is_known_damaged() {
                note(
                    "The store was damaged when the backup was made, and is again: `seaway verify` says which messages that concerns.",
                );
            }
            (shown(manifest), manifest.made)
        }
        Restored::Moment(moment) => {
            let encrypted = if moment.encrypted { ", encrypted" } else { "" };
            let what = format!(
                "{} up to position {}{encrypted}",
                size(moment.bytes()),
                count(moment.position)
            );
            (what, archive::moment(moment.at))
        }
    };
    output.line(&format!("Restored to {}: {what}, as it was on {when}.", to.display()))?;
    if let Some(refitted) = refitted {
        show_refitted(refitted, output)?;
    }
    let Some(found) = found else {
        return output.line(
            "Its server gives out again every sequence behind the last one that is there. With the key (--encryption-key-file) this would \
             say which.",
        );
    };
    if found.names.is_empty() {
        return output.line("It has no channels.");
    }
    output.line(&format!(
        "It has {}. What was published after {} is not there, and its sequences are given out again:",
        counted(found.names.len() as u64, "channel"),
        match restored {
            Restored::Backup(_) => "the backup",
            Restored::Moment(_) => "that moment",
        }
    ))?;
    let row = |(id, name): (&u64, &String)| {
        let (first, last) = found.bounds.get(id).copied().unwrap_or((1, 0));
        let messages = (last + 1).saturating_sub(first);
        vec![printable(name).into_owned(), count(messages), count(last + 1)]
    };
    let rows: Vec<Vec<String>> = found.names.iter().take(CHANNELS_LISTED_MAX).map(row).collect();
    let columns = [
        ("CHANNEL", Align::Left),
        ("MESSAGES", Align::Right),
        ("AGAIN FROM", Align::Right),
    ];
    output.table(&columns, &rows)?;
    match found.names.len().saturating_sub(CHANNELS_LISTED_MAX) {
        0 => Ok(()),
        more => output.line(&format!("and {}; --json has all", counted(more as u64, "more channel"))),
    }
}

/// The beginnings of the names of a backup's store, and of its life when it was restored.
fn store_of(manifest: &Manifest) -> String {
    let begin = |text: &str| text.chars().take(8).collect::<String>();
    match &manifest.life {
        Some(life) => format!("{}/{}", begin(&manifest.identity), begin(life)),
        None => begin(&manifest.identity),
    }
}

fn list(backup: &Path, output: &mut Output) -> Outcome {
    let failed = |error: Error| Failure::failed(format!("{}: {error}", backup.display()));
    if is_archive(backup) || backup == Path::new("-") {
        return Err(Failure::usage(
            "an archive is one backup: --list belongs to a directory of backups",
        ));
    }
    let listed = Repository::existing(backup)
        .and_then(|repository| repository.list())
        .map_err(failed)?;
    if output.is_json() {
        for one in &listed {
            let mut document = match &one.manifest {
                Ok(manifest) => document(manifest),
                Err(reason) => json!({ "damaged": reason }),
            };
            document["name"] = one.name.clone().into();
            output.json(&document)?;
        }
        return Ok(());
    }
    if listed.is_empty() {
        return output.line("There is no backup in it.");
    }
    let row = |one: &seaway_backup::Listed| match &one.manifest {
        Ok(manifest) => vec![
            one.name.clone(),
            size(manifest.bytes()),
            manifest.position.map_or_else(|| "-".to_owned(), count),
            store_of(manifest),
            match (manifest.is_known_damaged(), manifest.encrypted) {
                (true, _) => "OF A DAMAGED STORE",
                (false, true) => "encrypted",
                (false, false) => "",
            }
            .to_owned(),
        ],
        Err(reason) => vec![
            one.name.clone(),
            "-".to_owned(),
            "-".to_owned(),
            String::new(),
            format!("damaged: {reason}"),
        ],
    };
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    let columns = [
        ("BACKUP", Align::Left),
        ("SIZE", Align::Right),
        ("POSITION", Align::Right),
        ("STORE", Align::Left),
        ("", Align::Left),
    ];
    output.table(&columns, &rows)
}
