//! See `seaway_orders::restaurant_service`.

use std::process::ExitCode;

use seaway_orders::{program, restaurant_service};

fn main() -> ExitCode {
    program::main(restaurant_service::run)
}
