//! See `seaway_orders::order_query_store`.

use std::process::ExitCode;

use seaway_orders::{order_query_store, program};

fn main() -> ExitCode {
    program::main(order_query_store::run)
}
