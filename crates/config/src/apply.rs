//! From a command line to what the process shall do (specification §7.1 to §7.5).

use std::ffi::OsString;

use crate::go;
use crate::lex::{self, CommandLine, Malformed};
use crate::options::{Options, Personality, StoreKind};
use crate::table::{self, Effect, Flag, Information, Kind, Value};
use crate::usage::{self, usage};
use crate::{BROKER_VERSION, SEAWAY_VERSION, STREAMING_VERSION};

/// Exit code for a command line that the flag parser of the original does not understand (specification §7.4: its
/// usage printer exits first).
const EXIT_USAGE_ORIGINAL: u8 = 0;
/// Exit code of `seaway` for the same.
const EXIT_USAGE_SEAWAY: u8 = 2;
/// Exit code for options with which the server cannot start (specification §7.4).
const EXIT_FAILURE: u8 = 1;

/// What the process shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start the server.
    Run(Box<Options>),
    /// Print and exit.
    Print {
        /// Text for the standard output, with its final newline.
        stdout: String,
        /// Exit code.
        exit: u8,
    },
    /// Complain and exit.
    Fail {
        /// Text for the standard error, with its final newline.
        stderr: String,
        /// Text for the standard output that follows it, may be empty.
        stdout: String,
        /// Exit code; 0 where the original has it so.
        exit: u8,
    },
}

/// Decides what the process shall do; `arguments` are those after the program name.
pub fn parse<I>(personality: Personality, arguments: I) -> Action
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut texts = Vec::new();
    for argument in arguments {
        match argument.into().into_string() {
            Ok(text) => texts.push(text),
            Err(argument) => {
                return fail(
                    personality,
                    &format!("argument is not valid UTF-8: {}", argument.to_string_lossy()),
                );
            }
        }
    }
    let mut arguments = texts.as_slice();
    if personality == Personality::Seaway && arguments.first().is_some_and(|first| first == "serve") {
        arguments = &arguments[1..];
    }
    match lex::split(arguments) {
        Err(malformed) => misused(personality, &malformed),
        Ok(line) => match information(personality, &line) {
            Some(action) => action,
            None => match apply(personality, &line) {
                Ok(options) => Action::Run(Box::new(options)),
                Err(text) => fail(personality, &text),
            },
        },
    }
}

/// The defaults of a binary.
pub(crate) fn defaults(personality: Personality) -> Options {
    let line = CommandLine {
        values: vec![None; table::len()],
        word: None,
    };
    apply(personality, &line).expect("the defaults of the table are valid, a test applies them")
}

/// Flags and words that print something instead of starting: version before help, flags before words.
fn information(personality: Personality, line: &CommandLine) -> Option<Action> {
    let asked = |wanted: Information| {
        table::all().zip(&line.values).any(|(flag, value)| {
            matches!(flag.effect, Effect::Prints(prints) if prints == wanted) && *value == Some(Value::Bool(true))
        })
    };
    let word = line.word.as_deref();
    let information = match [Information::Version, Information::Help, Information::TlsHelp]
        .into_iter()
        .find(|i| asked(*i))
    {
        Some(information) => information,
        None => match word?.to_lowercase().as_str() {
            "version" => Information::Version,
            "help" => Information::Help,
            _ => {
                return Some(fail(
                    personality,
                    &format!("unrecognized command: {:?}", word.unwrap_or_default()),
                ));
            }
        },
    };
    let stdout = match information {
        Information::Help => usage(personality),
        Information::TlsHelp => usage::TLS_HELP.to_owned(),
        Information::Version => match personality {
            Personality::Seaway => format!("seaway v{SEAWAY_VERSION}\n"),
            Personality::NatsStreamingServer => {
                format!("nats-streaming-server version {STREAMING_VERSION}, nats-server: v{BROKER_VERSION}\n")
            }
        },
    };
    Some(Action::Print { stdout, exit: 0 })
}

/// A command line that cannot be split: the original prints its usage and exits with 0, `seaway` gives a hint.
fn misused(personality: Personality, malformed: &Malformed) -> Action {
    match personality {
        Personality::NatsStreamingServer => Action::Fail {
            stderr: format!("{}\n", malformed.text),
            stdout: usage(personality),
            exit: EXIT_USAGE_ORIGINAL,
        },
        Personality::Seaway => {
            let nearest = malformed.unknown.as_deref().and_then(nearest_name);
            let hint = nearest
                .map(|name| format!("did you mean -{name}? "))
                .unwrap_or_default();
            Action::Fail {
                stderr: format!("seaway: {}\n{hint}See 'seaway --help'.\n", malformed.text),
                stdout: String::new(),
                exit: EXIT_USAGE_SEAWAY,
            }
        }
    }
}

/// Options with which the server cannot start; the original names no program before its texts.
fn fail(personality: Personality, text: &str) -> Action {
    let stderr = match personality {
        Personality::NatsStreamingServer => format!("{text}\n"),
        Personality::Seaway => format!("seaway: {text}\n"),
    };
    Action::Fail {
        stderr,
        stdout: String::new(),
        exit: EXIT_FAILURE,
    }
}

/// Applies values and defaults in the order of the table, then what overrides, then what concerns several options.
fn apply(personality: Personality, line: &CommandLine) -> Result<Options, String> {
    let mut options = Options::blank(personality);
    for (flag, given) in table::all().zip(&line.values) {
        match flag.effect {
            Effect::Sets(set) => set(&mut options, &effective(personality, flag, given.as_ref())?)?,
            Effect::Nothing(reason) if given.is_some() => {
                effective(personality, flag, given.as_ref())?;
                options
                    .notices
                    .push(format!("Flag -{} has no effect: {reason}", flag.long_name()));
            }
            Effect::NotBuilt(what) if given.is_some() => {
                if effective(personality, flag, given.as_ref())? != effective(personality, flag, None)? {
                    return Err(format!(
                        "flag -{}: this build does not have {what} yet",
                        flag.long_name()
                    ));
                }
            }
            Effect::Overrides(_) | Effect::Nothing(_) | Effect::NotBuilt(_) | Effect::Prints(_) => {}
        }
    }
    for (flag, given) in table::all().zip(&line.values) {
        if let (Effect::Overrides(set), Some(value)) = (flag.effect, given) {
            set(&mut options, value)?;
        }
    }
    if options.streaming.store == StoreKind::File && options.streaming.dir.as_os_str().is_empty() {
        return Err("for FILE stores, root directory must be specified".to_owned());
    }
    Ok(options)
}

/// The value that counts for a flag: the given one or the default. An empty text means the default.
fn effective(personality: Personality, flag: &Flag, given: Option<&Value>) -> Result<Value, String> {
    let default = flag.default(personality);
    let value = match given {
        Some(Value::Text(text)) if text.is_empty() && flag.kind == Kind::Text => Value::Text(default.to_owned()),
        Some(value) => value.clone(),
        None => lex::read(flag.kind, default).map_err(|error| error.text().to_owned())?,
    };
    match (flag.kind, value) {
        (Kind::Size, Value::Text(text)) => go::parse_size(&text)
            .map(Value::Int)
            .ok_or_else(|| format!("{} should be a size, got '{text}'", flag.long_name())),
        (_, value) => Ok(value),
    }
}

/// The known flag that is spelled most like an unknown one, if any is near.
fn nearest_name(unknown: &str) -> Option<&'static str> {
    /// Longest name that is compared; no flag is longer.
    const LEN_MAX: usize = 48;
    if unknown.len() > LEN_MAX {
        return None;
    }
    table::all()
        .flat_map(|flag| flag.names)
        .map(|name| (distance(unknown.as_bytes(), name.as_bytes()), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4 && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Number of single-byte edits between two names; `-` counts as `_`.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let same = |a: u8, b: u8| a == b || (a == b'-' && b == b'_');
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(!same(a, b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}
