//! Starts the whole order system: see `seaway_orders::runner`.

use std::process::ExitCode;

use seaway_orders::{program, runner};

fn main() -> ExitCode {
    program::main(runner::run)
}
