//! The Rust program of the README, run by the test command as it stands.
#![allow(clippy::print_stdout, reason = "an example")]

use seaway_client::Start;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = seaway_client::connect("test-cluster", "hello-rust").await?;
    client.publish("orders", "a glass of water").await?;
    let mut orders = client
        .subscribe("orders")
        .start(Start::AllAvailable)
        .durable_name("rust-printer")
        .await?;
    while let Some(order) = orders.next().await {
        println!("{} {:?}", order.sequence(), order.payload());
        if order.payload() == "a glass of water" {
            break;
        }
    }
    client.close().await?;
    Ok(())
}
