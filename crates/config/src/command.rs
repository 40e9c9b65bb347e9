//! From a command line, the environment and configuration files to what the process shall do (specification §7.1 to §7.6).

use std::ffi::OsString;

use crate::lex::{self, CommandLine, Malformed};
use crate::nearest::nearest;
use crate::options::{Options, Personality};
use crate::resolve::{resolve, resolve_as_far};
use crate::surroundings::{Surroundings, System};
use crate::table::{self, Effect, Information};
use crate::usage::{self, usage};
use crate::value::Value;
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
    /// Send a signal to another server and exit (specification §7.7): the flag's argument, `<command>[=<pid or pid file>]`.
    Signal(String),
    /// Look whether a start could use what the options name (`-t`, `check-config`), report, and exit.
    Check(Box<Check>),
    /// Do not start, for these reasons; the log is to say so.
    Refuse {
        /// Why, at least one; texts of one line or more.
        problems: Vec<String>,
        /// The options as far as they make sense: they say where the log is.
        options: Box<Options>,
    },
    /// Print and exit, the standard error first.
    Exit {
        /// Text for the standard error, with its final newline; may be empty.
        stderr: String,
        /// Text for the standard output, with its final newline; may be empty.
        stdout: String,
        /// Exit code; 0 also for complaints where the original has it so.
        code: u8,
    },
}

/// Options that make sense by themselves. What they name, such as files of certificates, is for the server to look at: with
/// its findings [`Check::report`] says how the check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The options.
    pub options: Options,
    /// The report when nothing is found.
    valid: String,
    /// Whether the report goes to the standard output.
    is_report_output: bool,
}

impl Check {
    /// The end of the check: what to print, given the problems that were found, one text each.
    pub fn report(&self, problems: &[String]) -> Action {
        let (report, code) = match problems {
            [] => (format!("{}{}", warnings(&self.options), self.valid), 0),
            _ if self.is_report_output => (format!("{}\n", problems.join("\n")), EXIT_FAILURE),
            _ => return fail(self.options.personality, problems),
        };
        let (stderr, stdout) = match self.is_report_output {
            true => (String::new(), report),
            false => (report, String::new()),
        };
        Action::Exit { stderr, stdout, code }
    }
}

/// Decides what the process shall do; `arguments` are those after the program name. Reads configuration files and the
/// environment.
pub fn parse<I>(personality: Personality, arguments: I) -> Action
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    parse_within(personality, arguments, &System)
}

/// Like [`parse`], with an environment and files of the caller's choice.
pub fn parse_within<I>(personality: Personality, arguments: I, surroundings: &dyn Surroundings) -> Action
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut texts = Vec::new();
    for argument in arguments {
        match argument.into().into_string() {
            Ok(text) => texts.push(text),
            Err(argument) => {
                let text = format!("argument is not valid UTF-8: {}", argument.to_string_lossy());
                return fail(personality, &[text]);
            }
        }
    }
    if personality == Personality::Seaway {
        match texts.first().map(String::as_str) {
            Some("serve") => drop(texts.remove(0)),
            Some("check-config") => return check_config(&texts[1..], surroundings),
            _ => {}
        }
    }
    let line = match lex::split(&texts) {
        Ok(line) => line,
        Err(malformed) => return misused(personality, &malformed),
    };
    if let Some(action) = information(personality, &line) {
        return action;
    }
    if let Some((place, _)) = table::find("sl")
        && let Some(command) = line.values[place].as_ref().and_then(Value::present)
    {
        return Action::Signal(command);
    }
    if is_given(&line, "t") {
        return test(personality, resolve(personality, &line, surroundings));
    }
    let (options, problems) = resolve_as_far(personality, &line, surroundings);
    let options = Box::new(options);
    if problems.is_empty() {
        Action::Run(options)
    } else {
        Action::Refuse { problems, options }
    }
}

impl Options {
    /// The defaults of a binary, as its flags document them.
    pub fn new(personality: Personality) -> Self {
        /// No environment and no files.
        struct Nothing;
        impl Surroundings for Nothing {
            fn variable(&self, _: &str) -> Option<String> {
                None
            }
            fn variable_names(&self) -> Vec<String> {
                Vec::new()
            }
            fn read(&self, _: &std::path::Path) -> std::io::Result<Vec<u8>> {
                Err(std::io::ErrorKind::NotFound.into())
            }
        }
        resolve(personality, &CommandLine::empty(), &Nothing)
            .expect("the defaults of the table are valid, a test applies them")
    }
}

/// Whether a boolean flag is given and true.
fn is_given(line: &CommandLine, flag: &str) -> bool {
    table::find(flag).is_some_and(|(place, _)| line.values[place] == Some(Value::Bool(true)))
}

/// Flags and words that print something instead of starting: version before help, flags before words.
fn information(personality: Personality, line: &CommandLine) -> Option<Action> {
    let asked = |wanted: Information| {
        table::all().zip(&line.values).any(|(entry, value)| {
            matches!(entry.effect, Effect::Prints(prints) if prints == wanted) && *value == Some(Value::Bool(true))
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
                let text = format!("unrecognized command: {:?}", word.unwrap_or_default());
                return Some(fail(personality, &[text]));
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
    Some(Action::Exit {
        stderr: String::new(),
        stdout,
        code: 0,
    })
}

/// A command line that cannot be split: the original prints its usage and exits with 0, `seaway` gives a hint.
fn misused(personality: Personality, malformed: &Malformed) -> Action {
    match personality {
        Personality::NatsStreamingServer => Action::Exit {
            stderr: format!("{}\n", malformed.text),
            stdout: usage(personality),
            code: EXIT_USAGE_ORIGINAL,
        },
        Personality::Seaway => {
            let flags = table::all().flat_map(|entry| entry.flags).copied();
            let near = malformed.unknown.as_deref().and_then(|unknown| nearest(unknown, flags));
            let hint = near.map(|flag| format!("did you mean -{flag}? ")).unwrap_or_default();
            Action::Exit {
                stderr: format!("seaway: {}\n{hint}See 'seaway --help'.\n", malformed.text),
                stdout: String::new(),
                code: EXIT_USAGE_SEAWAY,
            }
        }
    }
}

/// Options with which the server cannot start, one problem a line; the original names no program before its texts.
fn fail(personality: Personality, problems: &[String]) -> Action {
    let program = match personality {
        Personality::NatsStreamingServer => "",
        Personality::Seaway => "seaway: ",
    };
    Action::Exit {
        stderr: format!("{program}{}\n", problems.join("\n")),
        stdout: String::new(),
        code: EXIT_FAILURE,
    }
}

/// `-t`: a report instead of a start. It checks the flags together with the files, as a start would.
fn test(personality: Personality, result: Result<Options, Vec<String>>) -> Action {
    let options = match result {
        Ok(options) => options,
        Err(problems) => return fail(personality, &problems),
    };
    let files = options.streaming_config_file.iter().chain(&options.config_file);
    let program = personality.program();
    let valid: String = files
        .map(|file| format!("{program}: configuration file {} is valid\n", file.display()))
        .collect();
    if valid.is_empty() {
        return fail(
            personality,
            &["-t needs a configuration file: name it with -c or -sc".to_owned()],
        );
    }
    Action::Check(Box::new(Check {
        options,
        valid,
        is_report_output: false,
    }))
}

/// `seaway check-config FILE [flags]`: the same with the report on the standard output.
fn check_config(arguments: &[String], surroundings: &dyn Surroundings) -> Action {
    let personality = Personality::Seaway;
    let Some((file, flags)) = arguments.split_first().filter(|(file, _)| !file.starts_with('-')) else {
        return Action::Exit {
            stderr: "seaway: check-config needs a file: seaway check-config FILE [flags]\n".to_owned(),
            stdout: String::new(),
            code: EXIT_USAGE_SEAWAY,
        };
    };
    let mut texts = flags.to_vec();
    texts.extend(["-c".to_owned(), file.clone()]);
    let line = match lex::split(&texts) {
        Ok(line) => line,
        Err(malformed) => return misused(personality, &malformed),
    };
    if let Some(word) = &line.word {
        return fail(personality, &[format!("check-config takes one file, found {word:?}")]);
    }
    match resolve(personality, &line, surroundings) {
        Ok(options) => Action::Check(Box::new(Check {
            options,
            valid: format!("{file}: valid\n"),
            is_report_output: true,
        })),
        Err(problems) => Action::Exit {
            stderr: String::new(),
            stdout: format!("{}\n", problems.join("\n")),
            code: EXIT_FAILURE,
        },
    }
}

fn warnings(options: &Options) -> String {
    options
        .notices
        .iter()
        .map(|notice| format!("warning: {notice}\n"))
        .collect()
}
