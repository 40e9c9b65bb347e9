//! See `seaway_orders::order_service`.

use std::process::ExitCode;

use seaway_orders::{order_service, program};

fn main() -> ExitCode {
    program::main(order_service::run)
}
