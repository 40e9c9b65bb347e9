//! `seaway export`: what a server or a store holds, for programs and for NATS Streaming.

mod arguments;
mod at_rest;
mod from_server;
mod original;
mod span;

pub(crate) use self::arguments::ExportArguments;
use self::arguments::ExportFormat;
use crate::connection::Connection;
use crate::failure::Outcome;
use crate::output::Output;
use crate::sql_source::Surroundings;

/// From a store.
pub(crate) fn of_store(arguments: &ExportArguments, surroundings: &Surroundings, output: &mut Output) -> Outcome {
    match arguments.format {
        ExportFormat::NatsStreaming => original::run(arguments, surroundings, output),
        ExportFormat::Jsonl => at_rest::run(arguments, output),
    }
}

/// From a server.
pub(crate) async fn of_server(arguments: &ExportArguments, connection: &Connection, output: &mut Output) -> Outcome {
    from_server::run(arguments, connection, output).await
}
