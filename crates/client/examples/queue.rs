//! Shares the work on the channel `orders` with every other process that runs this, until Ctrl-C: each order goes to one of them.
//!
//! `cargo run -p seaway-client --example queue NAME [URL]`
#![allow(clippy::print_stdout, reason = "a program that prints")]

use seaway_client::ConnectOptions;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("give this worker a name of its own")?;
    let url = std::env::args().nth(2).unwrap_or("nats://127.0.0.1:4222".to_owned());
    let client = ConnectOptions::new("test-cluster", &name).url(url).connect().await?;

    let orders = client
        .subscribe("orders")
        .queue_group("cooks")
        .durable_name("kitchen")
        .await?;
    println!("{name} is ready");
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    // An order is acknowledged when the handler has returned; the one in work is finished before the end.
    orders
        .for_each_until(stop, async |order| println!("{name} cooks {}", order.sequence()))
        .await?;

    client.close().await?;
    Ok(())
}
