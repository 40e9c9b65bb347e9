//! The event store: the only writer of events, and the only publisher.
//!
//! gRPC in, SQL inside, Seaway out. What is stored and what is published cannot disagree: see [`outbox`].

mod grpc;
mod outbox;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use seaway_orders_pb::messages::event_store_server::EventStoreServer;
use seaway_orders_store::{DatabaseUrl, EventLog};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::transport::server::TcpIncoming;

use crate::program::{self, SeawayArguments, Stop};
use crate::seaway;

/// The name of the process and of its client.
const NAME: &str = "event-store";

/// Bytes of one request.
const REQUEST_BYTES_MAX: usize = 512 * 1024;

/// Keeps every change of every order, and publishes it.
#[derive(Clone, Debug, Parser)]
#[command(name = NAME)]
pub struct Arguments {
    /// Where Seaway is.
    #[command(flatten)]
    pub seaway: SeawayArguments,
    /// Where events are kept: sqlite:PATH, postgres://… or cockroachdb://…
    #[arg(
        long,
        env = "ORDERS_DATABASE",
        default_value = "sqlite:events.db",
        value_name = "URL"
    )]
    pub database: DatabaseUrl,
    /// Address to serve gRPC on; port 0 lets the system choose
    #[arg(
        long,
        env = "ORDERS_LISTEN",
        default_value = "127.0.0.1:50051",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
}

/// Runs the event store. It takes events while Seaway is away, and publishes them later.
///
/// # Errors
/// When an argument makes no sense, the address is taken, or the database cannot be used.
pub async fn run(arguments: Arguments, stop: Stop) -> anyhow::Result<()> {
    let Some(log) = stop.unless(program::open(|| EventLog::open(&arguments.database))).await else {
        return Ok(());
    };
    let log = log?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    let appended = Arc::new(Notify::new());
    let service = grpc::Service::new(log.clone(), Arc::clone(&appended));
    let service = EventStoreServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX);
    // The parts of an answer are written one after another; waiting for the first one's acknowledgement costs 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stop.requested());
    program::ready(NAME, address);
    let publishing = async {
        let Some(client) = stop.unless(seaway::connect(&arguments.seaway, NAME)).await else {
            return Ok(());
        };
        let client = client?;
        // The holder of the lease is whoever has this name at Seaway, of which there is one: a process that was killed takes
        // up its lease again at once.
        let holder = arguments.seaway.client_id.as_deref().unwrap_or(NAME);
        outbox::drain(&log, &client, holder, &appended, &stop).await;
        seaway::close(&client).await;
        anyhow::Ok(())
    };
    let (served, published) = tokio::join!(serving, publishing);
    served.context("serve gRPC")?;
    published
}
