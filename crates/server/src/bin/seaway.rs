//! The one binary: `seaway`, and under the name `nats-streaming-server` the server that it replaces.

use std::process::ExitCode;

/// Gives memory back that clients took and left; `.cargo/config.toml` says how soon, `docs/performance.md` why this one.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    seaway_server::main()
}
