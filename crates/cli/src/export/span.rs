//! Which messages are wanted of a channel, and what became of those that were met.

use std::time::SystemTime;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::arguments::ExportArguments;
use crate::failure::{Failure, Outcome};
use crate::jsonl::{Record, Sink};
use crate::output::{Output, note};
use crate::readable::{count, counted, printable};

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
                &json!({ "file": path, "channels": self.channels, "messages": self.messages, "damaged": self.damaged }),
            )?;
        }
        if self.damaged > 0 {
            return Err(Failure::failed(format!(
                "{} damaged in the store and left out",
                match self.damaged {
                    1 => "1 message is".to_owned(),
                    damaged => format!("{} messages are", count(damaged)),
                }
            )));
        }
        Ok(())
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
pub(super) fn is_wanted(what: &[String], channel: &str) -> bool {
    what.iter()
        .any(|pattern| seaway_nats_protocol::subject::matches(pattern.as_bytes(), channel.as_bytes()))
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
