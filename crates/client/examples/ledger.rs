//! Stores the orders of the channel `orders`, eight at once, until Ctrl-C. An order that cannot be stored comes again.
//!
//! `cargo run -p seaway-client --example ledger [URL]`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]

use std::time::Duration;

use seaway_client::{ConnectOptions, Message, Start};

/// Stands for a database, which has moments in which it takes nothing.
async fn store(order: &Message) -> Result<(), String> {
    match order.sequence().is_multiple_of(250) && !order.is_redelivered() {
        true => Err("the ledger is locked".to_owned()),
        false => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("nats://127.0.0.1:4222".to_owned());
    // The server may start after this program.
    let patient = ConnectOptions::new("test-cluster", "ledger").retry_connect(Duration::from_secs(60));
    let client = patient.url(url).connect().await?;

    let orders = client
        .subscribe("orders")
        .start(Start::AllAvailable)
        .durable_name("ledger")
        .ack_wait(Duration::from_secs(1))
        .await?;
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    // Acknowledged is what was stored, and nothing else.
    orders
        .concurrently(8)
        .try_for_each_until(stop, async |order| {
            store(&order)
                .await
                .inspect(|()| println!("{}: stored", order.sequence()))
                .inspect_err(|error| eprintln!("{}: {error}", order.sequence()))
        })
        .await?;

    client.close().await?;
    Ok(())
}
