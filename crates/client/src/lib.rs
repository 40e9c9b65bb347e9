//! Asynchronous client for Seaway, and for every other server that speaks NATS Streaming.
//!
//! Publish to a *channel*, an ordered log that the server keeps; subscribe to it from any point; acknowledge what was worked on.
//!
//! ```no_run
//! use seaway_client::Start;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // A server on this machine; `ConnectOptions` knows others.
//!     let client = seaway_client::connect("test-cluster", "my-service").await?;
//!     client.publish("orders", "a cup of tea").await?;
//!
//!     let mut orders = client.subscribe("orders").start(Start::AllAvailable).await?;
//!     let order = orders.next().await.ok_or("the connection has ended")?;
//!     println!("{}: {:?}", order.sequence(), order.payload());
//!     client.close().await?;
//!     Ok(())
//! }
//! ```
//!
//! # At least once
//!
//! A publish is stored when its acknowledgement comes, on disk if the server has a disk store. A delivery that is not
//! acknowledged within the subscription's AckWait comes again, so whatever works on messages has to bear repetition.
//!
//! # Connections that break
//!
//! See [`Client`]: connections are made anew, and subscriptions with them; what was not acknowledged comes again, what was does
//! not. [`Client::status`] tells.
//!
//! # Cancellation
//!
//! Every future may be dropped at any time. A dropped [`publish`](Client::publish) has sent the message or not, a dropped
//! subscribe leaves nothing behind at the server, a dropped [`next`](Subscription::next) loses no message, and a dropped
//! [`unsubscribe`](Subscription::unsubscribe) goes on in the background.
//!
//! # Features
//!
//! `async-nats`: [`ConnectOptions`] takes an existing connection of that crate, which is re-exported then.

#![warn(missing_docs)]

mod acks;
mod attention;
mod client;
mod connection;
mod delivery;
mod error;
mod handling;
mod keeper;
mod options;
mod progress;
mod publish;
mod session;
mod status;
mod subscribe;
mod subscription;
mod wanted;
mod wire;

#[cfg(feature = "async-nats")]
pub use async_nats;
pub use client::Client;
pub use error::{AckError, CloseError, ConnectError, Loss, PublishError, SubscribeError};
pub use handling::Concurrently;
pub use options::ConnectOptions;
pub use publish::PendingPublish;
pub use status::Status;
pub use subscribe::Subscribe;
pub use subscription::{Message, Subscription};
pub use wanted::Start;

/// Connects to a server on this machine, as [`ConnectOptions`] does with its defaults.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(cluster_id: &str, client_id: &str) -> Result<Client, ConnectError> {
    ConnectOptions::new(cluster_id, client_id).connect().await
}
