//! See `seaway_orders::payment_service`.

use std::process::ExitCode;

use seaway_orders::{payment_service, program};

fn main() -> ExitCode {
    program::main(payment_service::run)
}
