//! Stores messages in the channel `orders`: one, then a thousand without waiting for each.
//!
//! `cargo run -p seaway-client --example publish [URL]`
#![allow(clippy::print_stdout, reason = "a program that prints")]

use seaway_client::ConnectOptions;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("nats://127.0.0.1:4222".to_owned());
    let client = ConnectOptions::new("test-cluster", "publisher")
        .url(url)
        .connect()
        .await?;

    // Once this returns, the message is stored.
    client.publish("orders", "a cup of tea").await?;

    // These are on their way together; what is refused is told by the future of each, or by the flush.
    for number in 1..=1000 {
        let publish = client.publish_async("orders", format!("order {number}")).await?;
        if number == 1000 {
            println!("the last one is {}", publish.guid());
        }
    }
    client.flush().await?;
    println!("stored 1001 messages");

    client.close().await?;
    Ok(())
}
