//! The shell: sockets, the engine threads, signals, start and stop, logging. The only crate that knows all others.

mod administration;
mod archive;
pub mod banner;
mod broker_options;
pub mod bus;
mod check;
mod console;
mod descriptors;
pub mod engine;
mod engine_options;
pub mod events;
pub mod files;
pub mod limits;
pub mod logging;
mod mail;
mod memory;
pub mod monitoring;
pub mod partition;
pub mod phase;
mod reload;
pub mod signal_command;
mod signals;
mod standalone;
pub mod start;
mod system_services;
pub mod tenure;
mod token;

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use seaway_config::{Action, Options, Personality};

/// What the binary's `main` does: understands the command line, as the program whose name it was started under, and performs
/// the command or serves until a signal ends it.
#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "usage, version and complaints about flags"
)]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let personality = personality_of(arguments.next().as_deref());
    let arguments: Vec<OsString> = arguments.collect();
    if personality == Personality::Seaway {
        match Purpose::of(&arguments) {
            Purpose::Command => return seaway_cli::main(arguments, &SURROUNDINGS),
            Purpose::Help => {
                let text = seaway_config::usage_with_commands(personality, &seaway_cli::overview());
                return match std::io::stdout().write_all(text.as_bytes()) {
                    Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::FAILURE,
                    _ => ExitCode::SUCCESS,
                };
            }
            Purpose::Server => {}
        }
    }
    let action = match seaway_config::parse(personality, arguments) {
        Action::Check(check) => check.report(&check::problems(&check.options)),
        action => action,
    };
    match action {
        Action::Exit { stderr, stdout, code } => {
            eprint!("{stderr}");
            print!("{stdout}");
            if code != 0 && personality == Personality::Seaway {
                eprint!("{}", misplaced_command());
            }
            ExitCode::from(code)
        }
        Action::Signal(command) => match signal_command::send(personality.program(), &command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        },
        Action::Refuse { problems, options } => {
            let exit = start::refuse(&options, &problems);
            if personality == Personality::Seaway {
                eprint!("{}", misplaced_command());
            }
            exit
        }
        Action::Run(options) => start::serve(&options, &|| reread(personality)),
        Action::Check(_) => unreachable!("the report of a check is an exit"),
    }
}

/// Whose defaults and manners belong to the name under which the program was started: a link or a copy called
/// `nats-streaming-server`, with or without something behind it like a version, behaves like that server.
fn personality_of(program: Option<&OsStr>) -> Personality {
    let name = program.and_then(|program| Path::new(program).file_name());
    let original = Personality::NatsStreamingServer;
    match name.is_some_and(|name| name.to_string_lossy().starts_with(original.program())) {
        true => original,
        false => Personality::Seaway,
    }
}

/// What the commands need to know of configuration files.
const SURROUNDINGS: seaway_cli::Surroundings = seaway_cli::Surroundings {
    sql_of_configuration: |path| {
        seaway_config::sql_store(path).map(|found| seaway_cli::SqlSection {
            driver: found.driver,
            source: found.source,
            no_caching: found.no_caching,
        })
    },
};

/// A hint for a command that stands behind its flags, where the server's flags stand.
fn misplaced_command() -> String {
    let commands = seaway_cli::command_line();
    let words = std::env::args_os().skip(2).filter_map(|word| word.into_string().ok());
    let command = { words }.find(|word| commands.find_subcommand(word).is_some());
    command.map_or_else(String::new, |command| {
        format!("Commands come first: seaway {command} ...\n")
    })
}

/// What the first word of a `seaway` command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Purpose {
    /// The server, or what its own parser prints.
    Server,
    /// The usage text of the binary.
    Help,
    /// A command, known or misspelt.
    Command,
}

impl Purpose {
    fn of(arguments: &[OsString]) -> Self {
        let Some(first) = arguments.first() else {
            return Self::Server;
        };
        let lower = first.to_string_lossy().to_lowercase();
        match lower.as_str() {
            "-h" | "-help" | "--help" => Self::Help,
            "help" if arguments.len() == 1 => Self::Help,
            "serve" | "check-config" | "version" | "" => Self::Server,
            flag if flag.starts_with('-') => Self::Server,
            _ => Self::Command,
        }
    }
}

/// The options as they are now, from the same command line.
fn reread(personality: Personality) -> Result<Options, String> {
    match seaway_config::parse(personality, std::env::args_os().skip(1)) {
        Action::Run(options) => Ok(*options),
        Action::Refuse { problems, .. } => Err(problems.join("\n")),
        Action::Exit { stderr, .. } => Err(stderr),
        Action::Signal(_) | Action::Check(_) => Err("the command line asks for no server".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_whose_manners_a_program_has() {
        let original = [
            "nats-streaming-server",
            "/usr/bin/nats-streaming-server",
            "./nats-streaming-server-0.25.6",
        ];
        for name in original {
            assert_eq!(
                personality_of(Some(OsStr::new(name))),
                Personality::NatsStreamingServer,
                "{name}"
            );
        }
        for name in [
            "seaway",
            "/opt/nats-streaming-server/seaway",
            "nats-server",
            "",
            "/",
            "..",
        ] {
            assert_eq!(personality_of(Some(OsStr::new(name))), Personality::Seaway, "{name}");
        }
        assert_eq!(personality_of(None), Personality::Seaway);
    }
}
