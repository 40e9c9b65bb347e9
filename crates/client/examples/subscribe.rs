//! Shows what the channel `orders` holds, and then what comes, until Ctrl-C.
//!
//! `cargo run -p seaway-client --example subscribe [URL]`
#![allow(clippy::print_stdout, reason = "a program that prints")]

use seaway_client::{ConnectOptions, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("nats://127.0.0.1:4222".to_owned());
    let client = ConnectOptions::new("test-cluster", "reader").url(url).connect().await?;

    let mut orders = client.subscribe("orders").start(Start::AllAvailable).await?;
    loop {
        tokio::select! {
            order = orders.next() => match order {
                Some(order) => println!("{}: {}", order.sequence(), String::from_utf8_lossy(order.payload())),
                None => return Err("the connection has ended".into()),
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }

    client.close().await?;
    Ok(())
}
