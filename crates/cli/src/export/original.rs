//! A data directory of NATS Streaming, or its tables, made of a store that no server uses.

use std::path::Path;

use seaway_adoption::export::{self, ExportOptions, Exported, Note, Severity};
use seaway_adoption::{Cipher, Encryption, Progress};
use seaway_original::{Key, SealCipher, TablesOptions};
use serde_json::json;

use super::arguments::ExportArguments;
use crate::failure::{Failure, Outcome};
use crate::key;
use crate::output::{Output, note};
use crate::progress::while_drawn;
use crate::readable::{counted, printable, size};
use crate::sql_source::{Database, Surroundings};

pub(super) fn run(arguments: &ExportArguments, surroundings: &Surroundings, output: &mut Output) -> Outcome {
    let options = options(arguments)?;
    let database = arguments.sql.database(surroundings)?;
    // With a database nothing else is named that could be meant.
    let (store, targets) = match (&arguments.dir, &arguments.what[..], &database) {
        (Some(dir), targets, _) => (dir.as_path(), targets),
        (None, [dir], Some(_)) => (Path::new(dir), &[][..]),
        _ => {
            return Err(Failure::usage(
                "name the store of a stopped server (its -dir): --dir DIR",
            ));
        }
    };
    if arguments.check {
        let found = match database {
            Some(_) => export::survey_tables(store, &options),
            None => export::survey(store, &options),
        };
        return check(
            &found.map_err(|error| Failure::failed(error.to_string()))?,
            arguments,
            output,
        );
    }
    let progress = Progress::default();
    let (exported, place) = match (&database, targets) {
        (Some(Database { source, no_caching }), []) => {
            let tables = TablesOptions {
                sessions_are_harmless: arguments.sessions_are_harmless,
                no_caching: *no_caching || arguments.sql_no_caching,
                ..TablesOptions::default()
            };
            let exported = while_drawn(&progress, || {
                export::export_tables(store, source, &tables, &options, &progress, tell_before)
            })?;
            let caching = if tables.no_caching { " -sql_no_caching" } else { "" };
            let place = format!(
                "-store sql -sql_driver {} -sql_source SOURCE{caching}",
                source.driver().name()
            );
            (exported, place)
        }
        (None, [target]) => {
            let target = Path::new(target);
            let exported = while_drawn(&progress, || {
                export::export(store, target, &options, &progress, tell_before)
            })?;
            (exported, format!("-store file -dir {}", target.display()))
        }
        (Some(_), _) => {
            return Err(Failure::usage(
                "name a directory that is to be made, or a database, not both",
            ));
        }
        (None, _) => return Err(Failure::usage("name the one directory that is to be made")),
    };
    let exported = exported.map_err(|error| Failure::failed(error.to_string()))?;
    if output.is_json() {
        return output.json(&exported);
    }
    tell_notes(&exported, |line| output.line(line))?;
    output.line(&sums(&exported))?;
    output.line(&format!(
        "{} is as it was. Start NATS Streaming with: {}",
        store.display(),
        start_command(&exported.cluster_id, &place, &options)
    ))
}

/// Without limits: its usual ones would remove the oldest messages at once. The key is not among the flags, but in the environment.
fn start_command(cluster_id: &str, place: &str, options: &ExportOptions) -> String {
    let cluster_id = printable(cluster_id);
    let encryption = match &options.seal {
        None => "",
        Some((_, SealCipher::Aes256Gcm)) => " -encrypt -encryption_cipher AES",
        Some((_, SealCipher::ChaCha20Poly1305)) => " -encrypt -encryption_cipher CHACHA",
    };
    format!("nats-streaming-server -cid {cluster_id} {place} -mc 0 -mm 0 -mb 0 -msu 0{encryption}")
}

/// Before it is done, beside the output: which has it again, when it is done.
fn tell_before(surveyed: &Exported) {
    let _ = tell_notes(surveyed, |line| {
        note(line);
        Ok(())
    });
}

fn check(found: &Exported, arguments: &ExportArguments, output: &mut Output) -> Outcome {
    if output.is_json() {
        output.json(&json!(found))?;
    } else {
        tell_notes(found, |line| output.line(line))?;
        output.line(&sums(found))?;
    }
    let losses = losses(found);
    if losses == 0 || arguments.accept_losses {
        return match output.is_json() {
            true => Ok(()),
            false => output.line(
                "Nothing was changed. Whether messages are damaged shows when they are read: seaway verify does that.",
            ),
        };
    }
    Err(Failure::failed(format!(
        "{} above would be lost; nothing was changed. To export the rest, say so with --accept-losses",
        counted(losses, "line")
    )))
}

fn losses(found: &Exported) -> u64 {
    let losses = found.notes.iter().filter(|note| note.severity == Severity::Loss);
    losses.count() as u64
}

fn tell_notes(found: &Exported, mut line: impl FnMut(&str) -> Outcome) -> Outcome {
    for note in &found.notes {
        line(&sentence(note))?;
    }
    if found.notes_not_listed > 0 {
        line(&format!("and {}", counted(found.notes_not_listed, "more note")))?;
    }
    Ok(())
}

fn sentence(note: &Note) -> String {
    let mut text = match note.severity {
        Severity::Loss => "loss: ".to_owned(),
        Severity::Note => "note: ".to_owned(),
    };
    if let Some(channel) = &note.channel {
        text += &format!("channel {}: ", printable(channel));
    }
    match note.messages {
        Some((first, last)) if first == last => text += &format!("message {first}: "),
        Some((first, last)) => text += &format!("messages {first} to {last}: "),
        None => {}
    }
    text + &note.text
}

fn sums(found: &Exported) -> String {
    let place = match (&found.directory, &found.database) {
        (Some(directory), _) => format!("{} has", directory.display()),
        (None, Some(database)) => format!("{database} has"),
        (None, None) => "NATS Streaming would have".to_owned(),
    };
    let filled = match found.filled {
        0 => String::new(),
        filled => format!(" ({} among them in the place of others)", counted(filled, "empty one")),
    };
    format!(
        "{place} {} in {}{filled}, {}; {}, {} with {}.",
        counted(found.messages, "message"),
        counted(found.channels, "channel"),
        size(found.bytes),
        counted(found.clients, "client"),
        counted(found.subscriptions, "subscription"),
        counted(found.pending, "unacknowledged message"),
    )
}

fn options(arguments: &ExportArguments) -> Outcome<ExportOptions> {
    let key = key::read(arguments.encryption_key_file.as_deref())?;
    let seal = match (&arguments.encrypt, &key) {
        (None, _) => None,
        (Some(cipher), Some(key)) => {
            let cipher = match cipher.as_str() {
                "chacha" => SealCipher::ChaCha20Poly1305,
                _ => SealCipher::Aes256Gcm,
            };
            Some((Key::new(key), cipher))
        }
        (Some(_), None) => {
            return Err(Failure::usage(format!(
                "--encrypt needs a key: name its file with --encryption-key-file, or set {}",
                key::VARIABLE
            )));
        }
    };
    // The store's files say with what they are encrypted.
    let encryption = key.map(|key| Encryption::new(Cipher::Aes256Gcm, key)).transpose();
    Ok(ExportOptions {
        encryption: encryption.map_err(|error| Failure::failed(error.to_string()))?,
        seal,
        accepts_losses: arguments.accept_losses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `streaming-protocol.md` section 6: 0 is no limit, and what is not said is a limit.
    #[test]
    fn what_is_started_removes_nothing_and_reads_its_payloads() {
        let plain = ExportOptions {
            encryption: None,
            seal: None,
            accepts_losses: false,
        };
        let command = "nats-streaming-server -cid c -store file -dir new -mc 0 -mm 0 -mb 0 -msu 0";
        assert_eq!(start_command("c", "-store file -dir new", &plain), command);
        for (cipher, name) in [(SealCipher::Aes256Gcm, "AES"), (SealCipher::ChaCha20Poly1305, "CHACHA")] {
            let sealed = ExportOptions {
                seal: Some((Key::new(b"key"), cipher)),
                ..plain.clone()
            };
            assert_eq!(
                start_command("c", "-store file -dir new", &sealed),
                format!("{command} -encrypt -encryption_cipher {name}")
            );
        }
    }
}
