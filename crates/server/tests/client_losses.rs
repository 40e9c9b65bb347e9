//! The Rust client when servers die, stop, forget and come back.

#[path = "support/rust_client.rs"]
mod rust_client;
mod support;

use std::time::Duration;

use rust_client::{expect, next, options, publish, wait_for, wait_for_answer};
use seaway_client::{Loss, PublishError, Start, Status};
use support::{PATIENCE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_with_files_is_met_again_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let client = options(&server, "survivor")
        .ack_timeout(PATIENCE)
        .connect()
        .await
        .unwrap();
    let mut subscription = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    publish(&client, "c", 1..=5).await;
    expect(&mut subscription, 1..=5).await;
    server.kill();
    let _server = Server::with_files(directory.path(), &["-p", &port]);
    for number in 6..=8u64 {
        // What was on its way to the old process has no outcome; the next attempt meets the new one.
        while let Err(error) = client.publish("c", number.to_string()).await {
            assert!(!matches!(error, PublishError::Refused(_)), "{error}");
        }
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&8) {
        let message = next(&mut subscription).await;
        if message.sequence() > 5 {
            seen.push(message.sequence());
        } else {
            assert!(message.sequence() == 5, "only the last ack may have been lost");
        }
    }
    assert_eq!(seen, [6, 7, 8]);
    assert_eq!(
        *client.status().borrow(),
        Status::Connected,
        "the server remembered the client"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_forgotten_the_client_gets_it_again() {
    let server = Server::in_memory(&[]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let client = options(&server, "forgotten")
        .pings(Duration::from_secs(1), 60)
        .connect()
        .await
        .unwrap();
    let steadfast = options(&server, "steadfast")
        .pings(Duration::from_secs(1), 60)
        .reconnect(false);
    let steadfast = steadfast.connect().await.unwrap();
    let mut durable = client.subscribe("c").durable_name("d").await.unwrap();
    let mut plain = client.subscribe("c").await.unwrap();
    publish(&client, "c", 1..=1).await;
    expect(&mut durable, 1..=1).await;
    server.kill();
    let mut status = client.status();
    status.mark_unchanged();
    let server = Server::in_memory(&["-p", &port]);
    let lost = wait_for(&steadfast, |status| matches!(status, Status::Ended(_))).await;
    assert!(
        matches!(&lost, Status::Ended(Loss::Unknown(words)) if words.contains("no longer registered")),
        "{lost:?}"
    );
    // The interruption may be over before anybody looks.
    tokio::time::timeout(PATIENCE, status.changed())
        .await
        .expect("the loss is noticed")
        .unwrap();
    wait_for(&client, |status| *status == Status::Connected).await;
    wait_for_answer(&server, "/streaming/channelsz?channel=c", |_, body| {
        body.contains("\"subs_count\": 2")
    })
    .await;
    // A memory store begins again at 1.
    publish(&client, "c", 1..=2).await;
    expect(&mut durable, 1..=2).await;
    assert!(matches!(next(&mut plain).await.sequence(), 1 | 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_interrupts_the_connection_until_it_answers() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let client = options(&server, "patient")
        .pings(Duration::from_secs(1), 1)
        .connect_timeout(Duration::from_secs(1))
        .connect()
        .await
        .unwrap();
    let mut plain = client
        .subscribe("c")
        .start(Start::AllAvailable)
        .manual_acks()
        .await
        .unwrap();
    publish(&client, "c", 1..=2).await;
    let first = next(&mut plain).await;
    expect(&mut plain, 2..=2).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let under_way = client.publish_async("c", "3").await.unwrap();
    let lost = wait_for(&client, |status| *status != Status::Connected).await;
    assert!(matches!(lost, Status::Interrupted(Loss::Silent(1))), "{lost:?}");
    assert_eq!(under_way.await, Err(PublishError::ConnectionLost));
    first.ack().expect("it is told once the connection is back");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    wait_for(&client, |status| *status == Status::Connected).await;
    while let Err(error) = client.publish("c", "end").await {
        assert!(matches!(error, PublishError::ConnectionLost), "{error}");
    }
    // 1 was acknowledged and does not come again; 2 was not, and does. 3 may have been stored.
    let mut message = next(&mut plain).await;
    assert_eq!((message.sequence(), message.redelivery_count()), (2, 1));
    while message.payload() != "end" {
        message = next(&mut plain).await;
    }
}
