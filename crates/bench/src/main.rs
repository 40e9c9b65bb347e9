//! `seaway-bench`: the load generator as a program of its own.
#![allow(clippy::print_stderr, reason = "a command line program")]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match seaway_bench::run(seaway_bench::Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
