//! Which messages are wanted of a channel, and what became of those that were met.

use std::time::SystemTime;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::arguments::ExportArguments;
use crate::failure::{Failure, Outcome};
use crate::jsonl::{Record, Sink};
use crate::output::{Output, note};
use crate::readable::{counted, printable};

/// The part of each channel that is wanted.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// The first sequence.
    pub(super) from: u64,
    /// Nanoseconds since 1970: begins with the first message that is not older.
    pub(super) since: Option<i64>,
    /// The last sequence.
    pub(super) to: u64,
    /// Nanoseconds since 1970: ends before the first message that is later.
    until: Option<i64>,
}

impl Span {
    pub(super) fn of(arguments: &ExportArguments) -> Span {
        let ago = |since| SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
        let ago = arguments.since.map(ago);
        Span {
            from: arguments.from.unwrap_or(1),
            since: arguments.at.or(ago).map(nanoseconds),
            to: arguments.to.unwrap_or(u64::MAX),
            until: arguments.until.map(nanoseconds),
        }
    }

    pub(super) fn ends_before(&self, timestamp: i64) -> bool {
        self.until.is_some_and(|until| timestamp > until)
    }
}

fn nanoseconds(time: SystemTime) -> i64 {
    let exact = jiff::Timestamp::try_from(time).map_or(i128::MAX, jiff::Timestamp::as_nanosecond);
    i64::try_from(exact).unwrap_or(i64::MAX)
}

/// What is written, and how much of it.
pub(super) struct Writing {
    sink: Sink,
    bar: ProgressBar,
    channels: u64,
    messages: u64,
    /// Messages that cannot be read.
    damaged: u64,
    /// Channels whose names JSON cannot hold.
    channels_left_out: u64,
}

impl Writing {
    pub(super) fn begin(arguments: &ExportArguments) -> Outcome<Writing> {
        let sink = Sink::open(arguments.output.as_deref())?;
        let bar = match sink.is_on_terminal() {
            true => ProgressBar::hidden(),
            false => bar(),
        };
        Ok(Writing {
            sink,
            bar,
            channels: 0,
            messages: 0,
            damaged: 0,
            channels_left_out: 0,
        })
    }

    /// A channel of about so many messages begins.
    pub(super) fn channel(&mut self, messages: u64) {
        self.channels += 1;
        self.bar.inc_length(messages);
    }

    pub(super) fn message(&mut self, record: &Record<'_>) -> Outcome {
        self.sink.write(record)?;
        self.messages += 1;
        self.bar.inc(1);
        Ok(())
    }

    pub(super) fn damaged(&mut self, channel: &str, first: u64, last: u64) {
        self.damaged += (last + 1).saturating_sub(first);
        self.bar.suspend(|| {
            note(&format!(
                "channel {}: messages {first} to {last} are damaged and left out",
                printable(channel)
            ));
        });
    }

    /// A channel whose name, which is said with escapes, is no UTF-8.
    pub(super) fn left_out(&mut self, channel: &str, messages: u64) {
        self.channels_left_out += 1;
        self.bar.suspend(|| {
            note(&format!(
                "channel {channel}: its name is no UTF-8, which JSON cannot hold: left out, with {}",
                counted(messages, "message")
            ));
        });
    }

    /// Everything was met.
    pub(super) fn finish(self, output: &mut Output) -> Outcome {
        self.bar.finish_and_clear();
        let path = self.sink.finish()?;
        if let Some(path) = &path {
            let sentence = format!(
                "Exported {} of {} to {}.",
                counted(self.messages, "message"),
                counted(self.channels, "channel"),
                path.display()
            );
            output.done(
                &sentence,
                &json!({
                    "file": path,
                    "channels": self.channels,
                    "messages": self.messages,
                    "damaged": self.damaged,
                    "channels_left_out": self.channels_left_out,
                }),
            )?;
        }
        complete(self.damaged, self.channels_left_out)
    }
}

/// A failure that says what is missing, if anything is.
fn complete(damaged: u64, channels: u64) -> Outcome {
    let mut missing = Vec::new();
    if damaged > 0 {
        let is = if damaged == 1 { "is" } else { "are" };
        missing.push(format!("{} {is} damaged in the store", counted(damaged, "message")));
    }
    if channels > 0 {
        let names = if channels == 1 { "has a name" } else { "have names" };
        missing.push(format!(
            "{} {names} that JSON cannot hold",
            counted(channels, "channel")
        ));
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(format!("{}: left out", missing.join(", and ")))),
    }
}

fn bar() -> ProgressBar {
    let bar = crate::progress::bar();
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} messages {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// Nothing was named that is there.
pub(super) fn nothing_matches(what: &[String]) -> Failure {
    let names: Vec<_> = what.iter().map(|name| printable(name)).collect();
    Failure::new(
        crate::failure::Kind::NotFound,
        format!("no channel is called {}", names.join(" or ")),
    )
}

/// Whether a channel is wanted by name or by pattern.
pub(super) fn is_wanted(what: &[String], channel: &[u8]) -> bool {
    what.iter()
        .any(|pattern| seaway_nats_protocol::subject::matches(pattern.as_bytes(), channel))
}

pub(super) fn check_named(what: &[String]) -> Outcome {
    if what.is_empty() {
        return Err(Failure::usage("name the channels, or all of them: '>'"));
    }
    let wrong = what
        .iter()
        .find(|name| !seaway_nats_protocol::subject::is_pattern(name.as_bytes()));
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(Failure::usage(format!(
            "{} is no channel and no pattern of some",
            printable(wrong)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whatever_they_are_made_of() {
        let what = ["a.*".to_owned()];
        assert!(is_wanted(&what, b"a.\xff") && !is_wanted(&what, b"b.\xff"));
    }

    #[test]
    fn what_is_missing_is_a_failure() {
        let words = |damaged, channels| match complete(damaged, channels) {
            Ok(()) => String::new(),
            Err(failure) => format!("{failure:?}"),
        };
        assert_eq!(words(0, 0), "");
        assert!(words(2, 0).contains("2 messages are damaged in the store: left out"));
        assert!(
            words(1, 1).contains("1 message is damaged in the store, and 1 channel has a name that JSON cannot hold")
        );
    }
}
