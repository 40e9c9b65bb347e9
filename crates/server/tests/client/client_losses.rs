//! The Rust client when servers die, stop, forget and come back.

use std::time::Duration;

use crate::rust_client::{connect, expect, next, options, publish, wait_for, wait_for_answer};
use crate::support::{PATIENCE, Server};
use seaway_client::{CloseError, ConnectError, ConnectOptions, Loss, PublishError, Start, Status, SubscribeError};
use seaway_stan_protocol::{Message as _, messages};

/// It takes no longer than it may.
async fn in_time<Work: Future>(work: Work) -> Work::Output {
    tokio::time::timeout(PATIENCE, work).await.expect("it does not hang")
}

/// Closes a client's registration from outside, as anybody on the NATS server can.
async fn unregister(server: &Server, client_id: &'static str) {
    let nats = async_nats::connect(format!("nats://{}", server.address)).await.unwrap();
    let close = messages::CloseRequest {
        client_id: client_id.into(),
    };
    let request = nats.request("_STAN.close.test-cluster", close.encode_to_vec().into());
    request.await.unwrap();
}

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
    let status = wait_for(&client, |status| *status != Status::Unreachable).await;
    assert_eq!(status, Status::Connected, "the server remembered the client");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_died_is_told_at_once_and_that_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    // No ping comes in time: the broken NATS connection has to tell.
    let seldom = Duration::from_secs(3_600);
    let client = options(&server, "me").pings(seldom, 1).connect().await.unwrap();
    // A connection that was given is asked with each ping.
    let nats = async_nats::connect(format!("nats://{}", server.address)).await.unwrap();
    let guest = options(&server, "guest").nats(nats);
    let guest = guest.pings(Duration::from_secs(1), 1_000).connect().await.unwrap();
    server.kill();
    for client in [&client, &guest] {
        let status = wait_for(client, |status| *status != Status::Connected).await;
        assert_eq!(status, Status::Unreachable);
    }
    let _server = Server::with_files(directory.path(), &["-p", &port]);
    for client in [&client, &guest] {
        wait_for(client, |status| *status == Status::Connected).await;
        client.publish("c", "x").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_connect_waits_for_its_server_if_it_is_told_to() {
    let server = Server::in_memory(&[]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let early = options(&server, "early").retry_connect(PATIENCE);
    let hasty = options(&server, "hasty");
    server.kill();
    let error = in_time(hasty.connect()).await.expect_err("nobody is there");
    assert!(matches!(error, ConnectError::NotReached(_)), "{error}");
    let early = tokio::spawn(early.connect());
    let server = Server::in_memory(&["-p", &port]);
    let early = in_time(early).await.unwrap().expect("the server came");
    early.publish("c", "x").await.unwrap();
    // What a server refuses it will refuse again.
    let twice = options(&server, "early").retry_connect(Duration::from_secs(86_400));
    let error = in_time(twice.connect()).await.expect_err("the ID is in use");
    assert!(matches!(error, ConnectError::ClientIdInUse { .. }), "{error}");
    // The time is a bound.
    let nobody = ConnectOptions::new("c", "me").url("nats://127.0.0.1:1");
    let error = in_time(nobody.retry_connect(Duration::from_millis(200)).connect()).await;
    assert!(matches!(error, Err(ConnectError::NotReached(_))), "{error:?}");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_misses_nothing_of_a_memory_server_that_was_restarted() {
    let server = Server::in_memory(&[]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    // It asks as seldom as it may: the restart itself has to make it look.
    let client = options(&server, "reader")
        .pings(Duration::from_secs(600), 3)
        .connect()
        .await
        .unwrap();
    let mut plain = client.subscribe("c").await.unwrap();
    let mut durable = client.subscribe("c").durable_name("d").await.unwrap();
    publish(&client, "c", 1..=3).await;
    expect(&mut plain, 1..=3).await;
    expect(&mut durable, 1..=3).await;
    server.kill();
    let server = Server::in_memory(&["-p", &port]);
    // Somebody is faster than the reader, and has the channel longer than it was.
    let writer = connect(&server, "writer").await;
    publish(&writer, "c", 1..=5).await;
    expect(&mut plain, 1..=5).await;
    expect(&mut durable, 1..=5).await;
    publish(&writer, "c", 6..=6).await;
    expect(&mut plain, 6..=6).await;
    expect(&mut durable, 6..=6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_a_forgetful_server_refuses_brings_the_client_back_at_once() {
    let server = Server::in_memory(&[]);
    let client = options(&server, "me")
        .pings(Duration::from_secs(600), 3)
        .connect()
        .await
        .unwrap();
    let mut plain = client.subscribe("c").await.unwrap();
    let mut status = client.status();
    status.mark_unchanged();
    unregister(&server, "me").await;
    assert_eq!(client.publish("c", "1").await, Err(PublishError::Unregistered));
    tokio::time::timeout(PATIENCE, status.changed())
        .await
        .expect("at once")
        .unwrap();
    wait_for(&client, |status| *status == Status::Connected).await;
    publish(&client, "c", 1..=1).await;
    expect(&mut plain, 1..=1).await;
    // A subscribe finds it out as well, and needs no second attempt.
    unregister(&server, "me").await;
    let mut second = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    expect(&mut second, 1..=1).await;
    publish(&client, "c", 2..=2).await;
    expect(&mut plain, 2..=2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_in_the_middle_of_publishing() {
    const MESSAGES: u64 = 3_000;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    // What was underway at the kill stays without an answer, and is published again after this time.
    let client = options(&server, "publisher")
        .ack_timeout(Duration::from_secs(2))
        .max_publishes_in_flight(64)
        .pings(Duration::from_secs(1), 60)
        .connect()
        .await
        .unwrap();
    let mut reader = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    let publisher = client.clone();
    let (halfway, is_halfway) = tokio::sync::oneshot::channel();
    let publishing = tokio::spawn(async move {
        let mut halfway = Some(halfway);
        let mut pending = std::collections::VecDeque::new();
        let mut next = 1..=MESSAGES;
        loop {
            let number = next.next();
            if let Some(number) = number {
                let publish = publisher.publish_async("c", number.to_string()).await.expect("sent");
                pending.push_back((number, publish));
                if number == MESSAGES / 2 {
                    let _ = halfway.take().unwrap().send(());
                }
            }
            if pending.len() == 64 || number.is_none() {
                let Some((number, publish)) = pending.pop_front() else {
                    break;
                };
                let mut outcome = publish.await;
                while let Err(error) = outcome {
                    assert!(
                        matches!(error, PublishError::AckTimeout(_) | PublishError::ConnectionLost),
                        "{error}"
                    );
                    outcome = publisher.publish("c", number.to_string()).await;
                }
            }
        }
    });
    is_halfway.await.unwrap();
    server.kill();
    let _server = Server::with_files(directory.path(), &["-p", &port]);
    publishing.await.unwrap();
    client.publish("c", "end").await.unwrap();
    // Everything is there, in the order of the log, whatever was published twice.
    let mut missing: std::collections::BTreeSet<u64> = (1..=MESSAGES).collect();
    let mut last = 0;
    loop {
        let message = next(&mut reader).await;
        if message.is_redelivered() {
            continue;
        }
        assert_eq!(message.sequence(), last + 1, "the order of the log");
        last = message.sequence();
        if message.payload() == "end" {
            break;
        }
        missing.remove(&std::str::from_utf8(message.payload()).unwrap().parse().unwrap());
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_holds_nobody_up() {
    let server = Server::in_memory(&[]);
    let second = Duration::from_secs(1);
    let options = options(&server, "me").connect_timeout(second).ack_timeout(second);
    let client = options.pings(second, 60).connect().await.unwrap();
    let plain = client.subscribe("c").await.unwrap();
    let durable = client.subscribe("c").durable_name("d").await.unwrap();
    let mut ending = client.subscribe("c").await.unwrap();
    server.kill();
    let failure = in_time(client.publish("c", "x")).await.unwrap_err();
    assert_eq!(failure, PublishError::AckTimeout(second));
    drop(client.publish_async("c", "y").await.unwrap());
    assert_eq!(in_time(client.flush()).await, Err(PublishError::AckTimeout(second)));
    let _ = in_time(plain.close()).await;
    assert_eq!(
        in_time(durable.unsubscribe()).await,
        Err(SubscribeError::Timeout(second)),
        "a durable may be left"
    );
    drop(client.publish_async("c", "z").await.unwrap());
    assert_eq!(in_time(client.close()).await, Err(CloseError::Timeout(second)));
    assert!(ending.next().await.is_none());
    assert_eq!(*client.status().borrow(), Status::Ended(Loss::Closed));
    client.close().await.expect("there is nothing left to close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_is_taken_over_from_a_client_that_is_gone_and_not_from_one_that_lives() {
    let server = Server::in_memory(&[]);
    let first = connect(&server, "me").await;
    let durable = first
        .subscribe("c")
        .start(Start::AllAvailable)
        .durable_name("d")
        .await
        .unwrap();
    publish(&first, "c", 1..=2).await;
    let second = options(&server, "me").connect().await.expect_err("the first one lives");
    assert!(matches!(second, ConnectError::ClientIdInUse { .. }), "{second}");
    publish(&first, "c", 3..=3).await;
    // It goes without a word: its runtime ends under it.
    let address = server.address.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let gone = ConnectOptions::new("test-cluster", "gone").url(format!("nats://{address}"));
            std::mem::forget(gone.connect().await.unwrap());
        });
    })
    .join()
    .unwrap();
    let again = connect(&server, "gone").await;
    publish(&again, "c", 4..=4).await;
    drop(durable);
}
