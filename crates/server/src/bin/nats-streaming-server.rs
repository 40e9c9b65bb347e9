//! `nats-streaming-server`: the same server with the original's name, defaults and flags.

use std::process::ExitCode;

fn main() -> ExitCode {
    seaway_server::main(seaway_config::Personality::NatsStreamingServer)
}
