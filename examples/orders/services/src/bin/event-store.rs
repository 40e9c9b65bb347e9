//! See `seaway_orders::event_store`.

use std::process::ExitCode;

use seaway_orders::{event_store, program};

fn main() -> ExitCode {
    program::main(event_store::run)
}
