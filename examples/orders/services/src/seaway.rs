//! The connection to Seaway, as all processes make it.

use std::time::Duration;

use anyhow::bail;
use seaway_client::{Client, ConnectError, ConnectOptions, Start, Subscribe, Subscription};

use crate::backoff::Backoff;
use crate::program::SeawayArguments;

/// How long a publish waits for its acknowledgement before it is made again.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects, however long it takes. What no waiting repairs is an error.
pub(crate) async fn connect(arguments: &SeawayArguments, name: &str) -> anyhow::Result<Client> {
    let client_id = arguments.client_id.as_deref().unwrap_or(name);
    let mut backoff = Backoff::new();
    loop {
        let options = ConnectOptions::new(&arguments.cluster_id, client_id)
            .url(&arguments.nats)
            .ack_timeout(ACK_TIMEOUT);
        match options.connect().await {
            Ok(client) => return Ok(client),
            Err(error @ (ConnectError::InvalidClientId { .. } | ConnectError::InvalidOption(_))) => bail!(error),
            Err(error) => backoff.wait(format!("Seaway at {}: {error}", arguments.nats)).await,
        }
    }
}

/// Subscribes, however long it takes.
pub(crate) async fn subscribe(subscribe: impl Fn() -> Subscribe) -> Subscription {
    let mut backoff = Backoff::new();
    loop {
        match subscribe().await {
            Ok(subscription) => return subscription,
            Err(error) => backoff.wait(format!("no subscription: {error}")).await,
        }
    }
}

/// The sequence of a channel's last message; 0 when none comes in time, which is how an empty channel looks.
pub(crate) async fn last_sequence(client: &Client, channel: &str, timeout: Duration) -> u64 {
    let mut subscription = subscribe(|| client.subscribe(channel).start(Start::LastReceived)).await;
    let message = tokio::time::timeout(timeout, subscription.next()).await;
    message.ok().flatten().map_or(0, |message| message.sequence())
}

/// Closes the connection; when the server is away it learns by itself that the client is gone.
pub(crate) async fn close(client: &Client) {
    if let Err(error) = client.close().await {
        tracing::debug!("the connection to Seaway was not closed in order: {error}");
    }
}
