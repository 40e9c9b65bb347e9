//! Messages of a store that no server uses, a line each.

use std::ops::ControlFlow;

use seaway_adoption::rest::{Bounds, Piece, Rest};
use seaway_adoption::{Cipher, Encryption, Error};

use super::arguments::ExportArguments;
use super::span::{Span, Writing, check_named, is_wanted, nothing_matches};
use crate::failure::{Failure, Outcome};
use crate::jsonl::Record;
use crate::key;
use crate::output::Output;

pub(super) fn run(arguments: &ExportArguments, output: &mut Output) -> Outcome {
    check_named(&arguments.what)?;
    let Some(directory) = &arguments.dir else {
        return Err(Failure::usage("name the store: --dir DIR"));
    };
    let failed = |error: Error| Failure::failed(error.to_string());
    let key = key::read(arguments.encryption_key_file.as_deref())?;
    // The store's files say with what they are encrypted.
    let encryption = key.map(|key| Encryption::new(Cipher::Aes256Gcm, key)).transpose();
    let encryption = encryption.map_err(|error| Failure::failed(error.to_string()))?;
    let mut rest = Rest::open(directory, encryption).map_err(failed)?;
    let mut wanted = Vec::new();
    let mut unnameable = Vec::new();
    for channel in rest.engine().exported_channels() {
        if !is_wanted(&arguments.what, channel.name) {
            continue;
        }
        match std::str::from_utf8(channel.name) {
            Ok(name) => wanted.push((name.to_owned(), Bounds::of(&channel))),
            Err(_) => unnameable.push((channel.name.escape_ascii().to_string(), channel.messages)),
        }
    }
    if wanted.is_empty() && unnameable.is_empty() {
        return Err(nothing_matches(&arguments.what));
    }
    let mut writing = Writing::begin(arguments)?;
    for (name, messages) in unnameable {
        writing.left_out(&name, messages);
    }
    let span = Span::of(arguments);
    for (name, bounds) in wanted {
        channel(&name, bounds, span, &mut rest, &mut writing)?;
    }
    rest.check_undisturbed().map_err(failed)?;
    writing.finish(output)
}

fn channel(name: &str, all: Bounds, span: Span, rest: &mut Rest, writing: &mut Writing) -> Outcome {
    let failed = |error: Error| Failure::failed(error.to_string());
    let mut bounds = Bounds {
        first: all.first.max(span.from),
        last: all.last.min(span.to),
        ..all
    };
    if all.first == 0 || all.first > all.last {
        writing.channel(0);
        return Ok(());
    }
    if let Some(since) = span.since {
        bounds.first = bounds.first.max(rest.at_time(all.channel, since).map_err(failed)?);
    }
    writing.channel((bounds.last + 1).saturating_sub(bounds.first));
    let taken = rest.messages(bounds, |piece| match piece {
        Piece::Damaged(first, last, _) => {
            writing.damaged(name, first, last);
            ControlFlow::Continue(())
        }
        Piece::Message(message) if span.ends_before(message.timestamp) => ControlFlow::Break(Ok(())),
        Piece::Message(message) => {
            let record = Record::of(name, message.sequence, message.timestamp, message.reply, message.data);
            match writing.message(&record) {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => ControlFlow::Break(Err(failure)),
            }
        }
    });
    taken.map_err(failed)?.break_value().unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};
    use seaway_adoption::{Importer, KeptMessage};

    use super::*;
    use crate::output::Format;

    /// A subject is bytes (`nats-core.md` section 2.1), and JSON is text.
    #[test]
    fn a_channel_that_json_cannot_name_is_said_and_the_rest_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, file) = (folder.path().join("store"), folder.path().join("lines"));
        let mut importer = Importer::begin(&store, "c", None).expect("a store");
        for channel in [&b"a.\xff"[..], b"a.b"] {
            let message = KeptMessage {
                channel,
                sequence: 1,
                timestamp_ns: 1,
                reply: b"",
                data: b"tea",
            };
            importer.message(&message).expect("stored");
        }
        importer.finish().expect("a store");
        let export = |what: &str, to: &str| {
            let words = ["export", what, "--dir", store.to_str().expect("text"), "--output", to];
            let matches = ExportArguments::augment_args(clap::Command::new("export")).get_matches_from(words);
            let arguments = ExportArguments::from_arg_matches(&matches).expect("arguments");
            run(&arguments, &mut Output::new(Format::People))
        };
        let path = file.to_str().expect("text");
        let failure = format!("{:?}", export(">", path).expect_err("one is left out"));
        assert!(
            failure.contains("1 channel has a name that JSON cannot hold"),
            "{failure}"
        );
        let lines = std::fs::read_to_string(&file).expect("written");
        assert!(lines.lines().count() == 1 && lines.contains("a.b"), "{lines}");
        std::fs::remove_file(&file).expect("removed");
        export("a.b", path).expect("all that is named");
    }
}
