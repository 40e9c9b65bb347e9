//! What the tests of the Rust client do with it again and again; included by those that do.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "for tests, each of which uses its part"
)]

use std::time::Instant;

use seaway_client::{Client, ConnectOptions, Message, Status, Subscription};

use crate::support::{PATIENCE, Server};

/// Options for a server of the tests.
pub fn options(server: &Server, client_id: &str) -> ConnectOptions {
    ConnectOptions::new("test-cluster", client_id)
        .url(format!("nats://{}", server.address))
        .connect_timeout(PATIENCE)
}

pub async fn connect(server: &Server, client_id: &str) -> Client {
    options(server, client_id)
        .connect()
        .await
        .expect("the server takes the client")
}

pub async fn publish(client: &Client, channel: &str, payloads: std::ops::RangeInclusive<u64>) {
    for number in payloads {
        client.publish(channel, number.to_string()).await.expect("acknowledged");
    }
}

pub async fn next(subscription: &mut Subscription) -> Message {
    tokio::time::timeout(PATIENCE, subscription.next())
        .await
        .expect("a message comes in time")
        .expect("the subscription goes on")
}

/// The next messages have these sequences, and their sequence as payload.
pub async fn expect(subscription: &mut Subscription, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        let message = next(subscription).await;
        assert_eq!(
            (message.sequence(), &message.payload()[..]),
            (sequence, sequence.to_string().as_bytes())
        );
        assert!(!message.is_redelivered() && message.redelivery_count() == 0);
    }
}

/// Waits until the connection is as `wanted` says.
pub async fn wait_for(client: &Client, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut status = client.status();
    let changed = status.wait_for(|status| wanted(status));
    let changed = tokio::time::timeout(PATIENCE, changed).await;
    changed
        .expect("it comes to that in time")
        .expect("the client lives")
        .clone()
}

/// Waits until a monitoring path answers with something.
pub async fn wait_for_answer(server: &Server, path: &str, wanted: impl Fn(u16, &str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = server.get(path);
        if wanted(status, &body) {
            return;
        }
        assert!(Instant::now() < deadline, "{path} still answers {status}: {body}");
        tokio::task::yield_now().await;
    }
}
