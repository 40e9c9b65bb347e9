//! The shell: sockets, the engine thread, signals, start and stop, logging. The only crate that knows all others.

pub mod banner;
mod broker_options;
pub mod engine;
mod engine_options;
pub mod events;
pub mod files;
pub mod limits;
pub mod logging;
pub mod monitoring;
mod opening;
pub mod partition;
pub mod phase;
mod reload;
pub mod signal_command;
mod signals;
mod standalone;
pub mod start;

use std::process::ExitCode;

use seaway_config::{Action, Options, Personality};

/// What a binary's `main` does: understands the command line and serves until a signal ends it.
#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "usage, version and complaints about flags"
)]
pub fn main(personality: Personality) -> ExitCode {
    match seaway_config::parse(personality, std::env::args_os().skip(1)) {
        Action::Exit { stderr, stdout, code } => {
            eprint!("{stderr}");
            print!("{stdout}");
            ExitCode::from(code)
        }
        Action::Signal(command) => match signal_command::send(personality.program(), &command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        },
        Action::Run(options) => start::serve(&options, &|| reread(personality)),
    }
}

/// The options as they are now, from the same command line.
fn reread(personality: Personality) -> Result<Options, String> {
    match seaway_config::parse(personality, std::env::args_os().skip(1)) {
        Action::Run(options) => Ok(*options),
        Action::Exit { stderr, .. } => Err(stderr),
        Action::Signal(_) => Err("the command line asks for no server".to_owned()),
    }
}
