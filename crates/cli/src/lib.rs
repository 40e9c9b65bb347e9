//! The commands of the `seaway` binary: publish, subscribe, look inside. `docs/command-line.md` is the manual.
//!
//! [`main`] understands a command line and performs it. The server's own flags are none of its business.

mod admin;
mod adopt;
mod archive;
mod arguments;
mod audit;
mod backup;
mod change;
mod channel_limits;
mod connection;
mod connection_flags;
mod context;
mod contexts;
mod export;
mod failover;
mod failure;
mod import;
mod install;
mod interrupt;
mod jsonl;
mod key;
mod lines;
mod look;
mod man_pages;
mod message;
mod output;
mod owners;
mod pause;
mod payload;
mod peek;
mod progress;
mod publish;
mod readable;
mod reception;
mod repair;
mod resolve;
mod restore;
mod running;
mod settings;
mod sql_source;
mod subscribe;
mod template;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser as _};

use arguments::{Command, CommandLine};
use connection::Connection;
use failure::{Failure, Outcome};
use output::{Format, Output, note};
pub use sql_source::{SqlSection, Surroundings};

/// Understands a command line (without the program's name) and performs the command. Errors are told on the standard error;
/// exit codes are those of `docs/command-line.md`.
pub fn main(arguments: impl IntoIterator<Item = OsString>, surroundings: &Surroundings) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|word| word == arguments::BENCH).is_some() {
        return bench(arguments);
    }
    let words = std::iter::once(OsString::from("seaway")).chain(arguments);
    let parsed = arguments::command_line().try_get_matches_from(words);
    let line = match parsed.and_then(|matches| CommandLine::from_arg_matches(&matches)) {
        Ok(line) => line,
        Err(error) => {
            let error = arguments::with_nearest(error);
            // A reader that has gone needs no help.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let format = match line.json {
        true => Format::Json,
        false => Format::People,
    };
    let mut output = Output::new(format);
    let outcome = perform(line, surroundings, &mut output);
    match outcome.and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was printed before belongs before.
            let _ = output.flush();
            if let Failure::Told(_, message) | Failure::Unreadable(message) = &failure {
                note(&format!("seaway: {message}"));
            }
            failure.exit_code()
        }
    }
}

/// Performs `seaway bench` with what stands behind it.
fn bench(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from("seaway bench")).chain(arguments);
    match seaway_bench::Arguments::try_parse_from(words) {
        Ok(arguments) => seaway_bench::run(arguments).unwrap_or_else(|error| {
            note(&format!("seaway: {error:#}"));
            ExitCode::FAILURE
        }),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// The commands with one line about each, indented, for the usage text of the binary.
#[must_use]
pub fn overview() -> String {
    arguments::overview()
}

/// The command line as clap knows it, for documentation and its tests.
#[must_use]
pub fn command_line() -> clap::Command {
    arguments::command_line()
}

fn perform(line: CommandLine, surroundings: &Surroundings, output: &mut Output) -> Outcome {
    let CommandLine {
        connection, command, ..
    } = line;
    if let Command::Export(arguments) = &command {
        arguments.check_flags()?;
    }
    // What needs no server.
    match command {
        Command::Context(command) => return context::run(command, &connection, output),
        Command::InstallAsNatsStreamingServer(arguments) => return install::run(&arguments, output),
        Command::Completions { shell } => return completions(shell, output),
        Command::ManPages(arguments) => return man_pages::run(&arguments, command_line(), output),
        Command::Adopt(arguments) => return adopt::run(&arguments, surroundings, output),
        Command::Export(arguments) if !arguments.asks_server() => {
            return export::of_store(&arguments, surroundings, output);
        }
        Command::Import(arguments) if !arguments.asks_server() => return import::into_store(&arguments, output),
        Command::Archive(command) => return archive::run(&command, output),
        Command::Backup(arguments) if !arguments.asks_server() => return backup::of_store(&arguments, output),
        Command::Repair(arguments) => return repair::run(&arguments, output),
        Command::Restore(arguments) => return restore::run(&arguments, output),
        Command::Verify(arguments) => return verify::run(&arguments, output),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The server's heartbeats are answered also while the output holds this thread up.
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        let connection = Connection::open(&connection).await?;
        match command {
            Command::Backup(arguments) => backup::of_server(&arguments, &connection, output).await,
            Command::Export(arguments) => export::of_server(&arguments, &connection, output).await,
            Command::Import(arguments) => import::into_server(&arguments, &connection, output).await,
            Command::Pub(arguments) => publish::run(arguments, connection, output).await,
            Command::Sub(arguments) => subscribe::run(arguments, connection, output).await,
            Command::Peek(arguments) => peek::run(arguments, &connection, output).await,
            Command::Channels(arguments) => look::channels(arguments, &connection, output).await,
            Command::Channel(command) => look::channel(command, &connection, output).await,
            Command::Durable(command) => change::durable(command, &connection, output).await,
            Command::Subscription(command) => pause::run(command, &connection, output).await,
            Command::Audit(arguments) => audit::run(arguments, &connection, output).await,
            Command::Client(command) => change::client(command, &connection, output).await,
            Command::Durables(arguments) => look::durables(arguments, &connection, output).await,
            Command::Clients(arguments) => look::clients(arguments, &connection, output).await,
            Command::Why(arguments) => look::why(arguments, &connection, output).await,
            Command::Server(command) => look::server(command, &connection, output).await,
            Command::Adopt(_)
            | Command::Archive(_)
            | Command::Context(_)
            | Command::InstallAsNatsStreamingServer(_)
            | Command::ManPages(_)
            | Command::Repair(_)
            | Command::Restore(_)
            | Command::Verify(_)
            | Command::Completions { .. } => Ok(()),
        }
    });
    runtime.shutdown_background();
    outcome
}

fn completions(shell: clap_complete::Shell, output: &mut Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "seaway", &mut script);
    output.bytes(&script)
}
