//! The Rust client over take-overs of a fault-tolerance group (`stores-and-clustering.md` §7.4): one connection and one session for all its
//! life, and it says when nobody is reached.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::rust_client::{next, options, wait_for};
use crate::support::group::{is_active, member, routes, server, wait_until, wait_until_active};
use crate::support::requests::bounds;
use rustix::process::Signal;
use seaway_client::{Client, Start, Status};

/// Publishes numbers until each is acknowledged: what a take-over leaves unknown is published again.
async fn publish(client: &Client, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        while client.publish("orders", number.to_string()).await.is_err() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_keeps_its_session_over_take_overs_and_says_when_nobody_is_reached() {
    let directory = tempfile::tempdir().unwrap();
    let home = server(Some(""), &["-cid", "elsewhere"]);
    let address = routes(&home);
    let first = member(directory.path(), "first", Some(&address), &[]);
    wait_until_active(&first);
    let second = member(directory.path(), "second", Some(&address), &[]);
    let client = options(&home, "steadfast").pings(Duration::from_secs(1), 60);
    let client = client.ack_timeout(Duration::from_secs(2)).connect().await.unwrap();
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let (noted, mut status) = (Arc::clone(&statuses), client.status());
    let noting = tokio::spawn(async move {
        while status.changed().await.is_ok() {
            noted.lock().unwrap().push(status.borrow_and_update().clone());
        }
    });
    let mut subscription = client
        .subscribe("orders")
        .durable_name("keeper")
        .start(Start::AllAvailable)
        .await
        .unwrap();
    publish(&client, 1..=10).await;
    first.kill();
    publish(&client, 11..=20).await;
    wait_until("it took over", || is_active(&second));
    // Nobody takes over from this one: it stands still, and goes on.
    second.signal(Signal::STOP);
    wait_for(&client, |status| *status == Status::Unreachable).await;
    second.signal(Signal::CONT);
    wait_for(&client, |status| *status == Status::Connected).await;
    publish(&client, 21..=30).await;
    let stored = bounds(&second, "orders").2;
    let (mut seen, mut last) = (BTreeSet::new(), 0);
    while last < stored {
        let message = next(&mut subscription).await;
        last = last.max(message.sequence());
        seen.insert(String::from_utf8(message.payload().to_vec()).unwrap());
    }
    assert_eq!(seen, (1..=30).map(|number: u64| number.to_string()).collect());
    let statuses = statuses.lock().unwrap().clone();
    assert!(statuses.contains(&Status::Unreachable), "{statuses:?}");
    let keeps = |status: &Status| matches!(status, Status::Connected | Status::Unreachable);
    assert!(statuses.iter().all(keeps), "{statuses:?}");
    let (known, _) = second.get("/streaming/clientsz?client=steadfast");
    assert_eq!(known, 200);
    client.close().await.unwrap();
    noting.abort();
}
