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
        Action::Print { stdout, exit } => {
            print!("{stdout}");
            ExitCode::from(exit)
        }
        Action::Fail { stderr, stdout, exit } => {
            eprint!("{stderr}");
            print!("{stdout}");
            ExitCode::from(exit)
        }
        Action::Run(options) => start::serve(&options, &|| reread(personality)),
    }
}

/// The options as they are now, from the same command line.
fn reread(personality: Personality) -> Result<Options, String> {
    match seaway_config::parse(personality, std::env::args_os().skip(1)) {
        Action::Run(options) => Ok(*options),
        Action::Fail { stderr, .. } => Err(stderr),
        Action::Print { .. } => Err("the command line asks for no server".to_owned()),
    }
}
