//! The engine's log lines, given to the log (`streaming-protocol.md` §9.1, §9.2).

use seaway_streaming::{Event, Level};

/// Prints one line of the engine.
pub fn log(event: Event<'_>) {
    match event.level() {
        Level::Info => tracing::info!(target: "stream", "{event}"),
        Level::Warning => tracing::warn!(target: "stream", "{event}"),
        Level::Error => tracing::error!(target: "stream", "{event}"),
        Level::Debug => tracing::debug!(target: "stream", "{event}"),
        Level::Trace => tracing::trace!(target: "stream", "{event}"),
    }
}
