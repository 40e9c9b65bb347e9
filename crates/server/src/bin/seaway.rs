//! `seaway`: the server with today's defaults.

use std::process::ExitCode;

fn main() -> ExitCode {
    seaway_server::main(seaway_config::Personality::Seaway)
}
