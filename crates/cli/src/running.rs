//! `server log-level` and `server reload`: what a running server takes over without a restart.

use serde_json::{Map, Value};

use crate::change::{Confirmation, Verb, change};
use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::readable::{count, printable};

/// How much is logged from now on; what is not named stays as it is.
#[derive(clap::Args)]
pub(crate) struct LogLevelArguments {
    #[command(flatten)]
    levels: Levels,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(clap::Args)]
#[group(multiple = true, required = true)]
struct Levels {
    /// Of the broker: debug as with -D, trace as with -V, all as with -DV
    #[arg(long, value_name = "LEVEL")]
    broker: Option<Level>,
    /// Of the streaming part: debug as with -SD, trace as with -SV, all as with -SDV
    #[arg(long, value_name = "LEVEL")]
    streaming: Option<Level>,
}

/// Which lines are logged.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Level {
    /// Information, warnings and errors: what always is
    Info,
    /// These, and debug lines
    Debug,
    /// Those of info, and trace lines
    Trace,
    /// Everything
    All,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
            Level::All => "all",
        }
    }
}

/// Whether to ask first.
#[derive(clap::Args)]
pub(crate) struct ReloadArguments {
    #[command(flatten)]
    confirmation: Confirmation,
}

pub(crate) async fn log_level(arguments: LogLevelArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = Map::new();
    for (key, level) in [
        ("broker", arguments.levels.broker),
        ("streaming", arguments.levels.streaming),
    ] {
        question.extend(level.map(|level| (key.to_owned(), level.name().into())));
    }
    let words = |answer: &Value, tense: Verb| {
        let level = |pointer: &str| {
            answer
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("?")
                .to_owned()
        };
        let verb = match tense {
            Verb::Would => "Would log",
            Verb::Did => "Logs",
        };
        format!(
            "{verb} {} of the broker (before: {}) and {} of streaming (before: {}), until the next reload or restart: it is not kept.",
            level("/broker"),
            level("/before/broker"),
            level("/streaming"),
            level("/before/streaming"),
        )
    };
    change(
        "change.log_level",
        question,
        &arguments.confirmation,
        words,
        connection,
        output,
    )
    .await
}

pub(crate) async fn reload(arguments: ReloadArguments, connection: &Connection, output: &mut Output) -> Outcome {
    change(
        "change.reload",
        Map::new(),
        &arguments.confirmation,
        reloaded,
        connection,
        output,
    )
    .await
}

/// What was taken over, in words.
fn reloaded(answer: &Value, tense: Verb) -> String {
    let list = |key: &str| {
        let all = answer
            .get(key)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let words = all
            .iter()
            .filter_map(Value::as_str)
            .map(|word| printable(word).into_owned());
        words.collect::<Vec<_>>().join(", ")
    };
    let taken = match (list("reloaded").as_str(), tense) {
        ("", Verb::Would) => "Nothing would change at once".to_owned(),
        ("", Verb::Did) => "Reloaded, and nothing has changed at once".to_owned(),
        (taken, tense) => format!("{} {taken}", tense.of("Reload")),
    };
    let mut words = format!("{taken}.");
    for (key, head) in [("at_next_start", "From the next start on"), ("warnings", "Warnings")] {
        let said = list(key);
        if !said.is_empty() {
            words.push_str(&format!(" {head}: {said}."));
        }
    }
    match answer.get("closed_clients").and_then(Value::as_u64).unwrap_or(0) {
        0 => {}
        1 => words.push_str(" 1 client was closed."),
        closed => words.push_str(&format!(" {} clients were closed.", count(closed))),
    }
    words
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::arguments::CommandLine;

    #[test]
    fn levels_are_four_words() {
        for (words, expected) in [
            (&["log-level"][..], false),
            (&["log-level", "--broker", "debug"], true),
            (&["log-level", "--broker", "all", "--streaming", "info", "--yes"], true),
            (&["log-level", "--streaming", "loud"], false),
            (&["reload"], true),
            (&["reload", "--dry-run"], true),
            (&["reload", "--dry-run", "--yes"], false),
        ] {
            let line = ["seaway", "server"].iter().chain(words);
            assert_eq!(CommandLine::try_parse_from(line).is_ok(), expected, "{words:?}");
        }
    }

    #[test]
    fn what_was_reloaded_is_said() {
        let answer = json!({"reloaded": ["debug = true"], "at_next_start": ["max_pending"], "warnings": [], "closed_clients": 2});
        let expected = "Reloaded debug = true. From the next start on: max_pending. 2 clients were closed.";
        assert_eq!(reloaded(&answer, Verb::Did), expected);
        let nothing = json!({"reloaded": [], "at_next_start": [], "warnings": [], "closed_clients": 0});
        assert_eq!(reloaded(&nothing, Verb::Would), "Nothing would change at once.");
    }
}
