//! The one binary: `seaway`, and under the name `nats-streaming-server` the server that it replaces.

use std::process::ExitCode;

fn main() -> ExitCode {
    seaway_server::main()
}
