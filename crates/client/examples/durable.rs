//! Works on the channel `orders` with a place that survives: stop it however you like, start it again, and it goes on where it
//! was.
//!
//! `cargo run -p seaway-client --example durable [URL]`
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::time::Duration;

use seaway_client::{ConnectOptions, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("nats://127.0.0.1:4222".to_owned());
    let client = ConnectOptions::new("test-cluster", "invoices")
        .url(url)
        .connect()
        .await?;

    let mut orders = client
        .subscribe("orders")
        .start(Start::AllAvailable)
        .durable_name("invoices")
        .manual_acks()
        .ack_wait(Duration::from_secs(5))
        .max_in_flight(10)
        .await?;
    while let Some(order) = orders.next().await {
        println!(
            "{}: invoiced, attempt {}",
            order.sequence(),
            order.redelivery_count() + 1
        );
        // Only now is the work done; without this the order comes again after five seconds.
        order.ack()?;
    }
    Err("the connection has ended".into())
}
