//! The Rust client against the real server.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::rust_client::{connect, expect, next, options, publish, wait_for_answer};
use crate::support::{PATIENCE, Server};
use seaway_client::{Client, ConnectError, ConnectOptions, Loss, PublishError, Start, Status, SubscribeError};

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_begin_where_they_were_told_to() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "starts").await;
    publish(&client, "c", 1..=3).await;
    let gap = SystemTime::now();
    while gap.elapsed().is_ok_and(|since| since < Duration::from_millis(5)) {
        tokio::task::yield_now().await;
    }
    publish(&client, "c", 4..=5).await;
    let mut subscriptions = Vec::new();
    for (start, first) in [
        (Start::NewOnly, 6),
        (Start::LastReceived, 5),
        (Start::AllAvailable, 1),
        (Start::Sequence(2), 2),
        (Start::Sequence(99), 6),
        (Start::Time(gap), 4),
        (Start::Time(gap - Duration::from_secs(3600)), 1),
        (Start::Ago(Duration::from_secs(3600)), 1),
    ] {
        subscriptions.push((client.subscribe("c").start(start).await.unwrap(), first));
    }
    let before = SystemTime::now();
    publish(&client, "c", 6..=6).await;
    for (subscription, first) in &mut subscriptions {
        expect(subscription, *first..=5).await;
        let last = next(subscription).await;
        assert!(last.sequence() == 6 && last.channel() == "c" && last.timestamp() >= before);
    }
    client.close().await.unwrap();
    assert_eq!(*client.status().borrow(), Status::Ended(Loss::Closed));
    assert!(
        subscriptions[0].0.next().await.is_none(),
        "streams end with the connection"
    );
    assert!(matches!(client.publish("c", "7").await, Err(PublishError::NotSent(_))));
    assert!(matches!(client.subscribe("c").await, Err(SubscribeError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_publishes_in_flight_keep_their_order() {
    let server = Server::in_memory(&[]);
    let client = options(&server, "async")
        .max_publishes_in_flight(100)
        .connect()
        .await
        .unwrap();
    let mut subscription = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    let mut guids = std::collections::HashSet::new();
    let mut last = None;
    for number in 1..=10_000u64 {
        let publish = client.publish_async("c", number.to_string()).await.unwrap();
        assert!(guids.insert(publish.guid().to_owned()));
        last = Some(publish);
    }
    client.flush().await.expect("nothing failed");
    last.unwrap().await.expect("acknowledged");
    expect(&mut subscription, 1..=10_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_goes_on_at_its_place_until_it_is_unsubscribed() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "durable").await;
    publish(&client, "c", 1..=4).await;
    let durable = || {
        client
            .subscribe("c")
            .start(Start::AllAvailable)
            .durable_name("d")
            .manual_acks()
    };
    let mut first = durable().await.unwrap();
    assert_eq!(durable().await.err(), Some(SubscribeError::DurableInUse));
    for _ in 1..=2 {
        next(&mut first).await.ack().unwrap();
    }
    let unacknowledged = next(&mut first).await;
    first.close().await.unwrap();
    assert!(unacknowledged.ack().is_err());
    let mut second = durable().await.unwrap();
    // 3 was delivered before; 4 may have been on its way.
    let third = next(&mut second).await;
    assert_eq!((third.sequence(), third.redelivery_count()), (3, 1));
    assert_eq!(next(&mut second).await.sequence(), 4);
    second.unsubscribe().await.unwrap();
    let mut third = durable().await.unwrap();
    expect(&mut third, 1..=4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_group_shares_the_work() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "queue").await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(client.subscribe("c").queue_group("workers").await.unwrap());
    }
    publish(&client, "c", 1..=30).await;
    let mut sequences = Vec::new();
    for member in &mut members {
        for _ in 0..10 {
            sequences.push(next(member).await.sequence());
        }
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_comes_again() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "redelivery").await;
    let second = Duration::from_secs(1);
    let mut manual = client
        .subscribe("c")
        .manual_acks()
        .ack_wait(second)
        .max_in_flight(1)
        .await
        .unwrap();
    let automatic = client.subscribe("c").ack_wait(second).max_in_flight(1).await.unwrap();
    let (seen, mut sequences) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(automatic.for_each(move |message| {
        let _ = seen.send((message.sequence(), message.redelivery_count()));
        async {}
    }));
    publish(&client, "c", 1..=3).await;
    for count in 0..=2 {
        let message = next(&mut manual).await;
        assert_eq!((message.sequence(), message.redelivery_count()), (1, count));
        if count == 2 {
            message.ack().unwrap();
            message.ack().expect("twice does no harm");
        }
    }
    assert_eq!(next(&mut manual).await.sequence(), 2);
    // The handler's messages were acknowledged when it returned: they came once, although it may hold one at a time only.
    for sequence in 1..=3 {
        assert_eq!(sequences.recv().await, Some((sequence, 0)));
    }
    assert!(sequences.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_gets_the_message_again() {
    let server = Server::in_memory(&["-m", "-1"]);
    let client = connect(&server, "failing").await;
    let orders = client.subscribe("c").ack_wait(Duration::from_secs(1)).await.unwrap();
    let (seen, mut tries) = tokio::sync::mpsc::unbounded_channel();
    let handling = tokio::spawn(orders.try_for_each(move |message| {
        let (sequence, again) = (message.sequence(), message.redelivery_count());
        let _ = seen.send((sequence, again));
        std::future::ready(if sequence == 2 && again < 2 {
            Err("not yet")
        } else {
            Ok(())
        })
    }));
    publish(&client, "c", 1..=3).await;
    for expected in [(1, 0), (2, 0), (3, 0), (2, 1), (2, 2)] {
        assert_eq!(tries.recv().await, Some(expected));
    }
    wait_for_answer(&server, "/streaming/channelsz?channel=c&subs=1", |_, body| {
        body.contains("\"pending_count\": 0")
    })
    .await;
    assert!(tries.try_recv().is_err(), "what is acknowledged does not come again");
    client.close().await.unwrap();
    handling.await.unwrap().expect("it ends with the client");
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_work_together_and_never_more_than_allowed() {
    const HANDLERS: usize = 4;
    let server = Server::in_memory(&[]);
    let client = connect(&server, "concurrent").await;
    let orders = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    publish(&client, "c", 1..=12).await;
    // Nobody passes before four are there.
    let barrier = tokio::sync::Barrier::new(HANDLERS);
    let (in_work, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let all_done = tokio::sync::Notify::new();
    let handling = orders
        .concurrently(HANDLERS)
        .for_each_until(all_done.notified(), |_| async {
            most.fetch_max(in_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait().await;
            tokio::task::yield_now().await;
            in_work.fetch_sub(1, Ordering::SeqCst);
            if done.fetch_add(1, Ordering::SeqCst) == 11 {
                all_done.notify_one();
            }
        });
    tokio::time::timeout(PATIENCE, handling)
        .await
        .expect("four handlers are at work at once")
        .unwrap();
    assert_eq!((most.into_inner(), done.into_inner()), (HANDLERS, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_work_is_finished_before_a_stop() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "stopping").await;
    let durable = || {
        client
            .subscribe("c")
            .start(Start::AllAvailable)
            .durable_name("d")
            .max_in_flight(2)
    };
    publish(&client, "c", 1..=3).await;
    let (stop, release) = (tokio::sync::Notify::new(), tokio::sync::Semaphore::new(0));
    let begun = AtomicUsize::new(0);
    let handling = durable().await.unwrap().concurrently(8);
    let handling = handling.for_each_until(stop.notified(), |_| async {
        if begun.fetch_add(1, Ordering::SeqCst) == 1 {
            // Both that may be in flight are in work: it is told to stop, and they go on.
            stop.notify_one();
            release.add_permits(2);
        }
        release.acquire().await.unwrap().forget();
    });
    tokio::time::timeout(PATIENCE, handling)
        .await
        .expect("it stops")
        .unwrap();
    let mut rest = durable().await.unwrap();
    // The third may have been on its way.
    assert_eq!(next(&mut rest).await.sequence(), 3, "1 and 2 are acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_wrong() {
    let server = Server::in_memory(&["-mc", "1", "-msu", "1"]);
    let client = connect(&server, "me").await;
    let refused = |error: ConnectError| error.to_string();
    let twice = options(&server, "me").connect().await.expect_err("the ID is in use");
    assert!(matches!(twice, ConnectError::ClientIdInUse { .. }), "{twice}");
    let invalid = options(&server, "not me").connect().await.expect_err("a blank");
    assert!(matches!(invalid, ConnectError::InvalidClientId { .. }), "{invalid}");
    let elsewhere = ConnectOptions::new("no-such-cluster", "me").url(format!("nats://{}", server.address));
    let elsewhere = elsewhere.connect().await.expect_err("nobody serves it");
    assert!(refused(elsewhere).starts_with("no streaming server answered for cluster ID \"no-such-cluster\""));
    let nobody = ConnectOptions::new("c", "me").url("nats://127.0.0.1:1").connect().await;
    assert!(matches!(
        nobody.expect_err("nobody listens"),
        ConnectError::NotReached(_)
    ));
    let pings = options(&server, "x").pings(Duration::ZERO, 1).connect().await;
    assert!(matches!(pings.expect_err("too often"), ConnectError::InvalidOption(_)));

    client.publish("first", "x").await.unwrap();
    let error = client.publish("second", "x").await.unwrap_err();
    assert_eq!(error, PublishError::Refused("too many channels".to_owned()));
    for name in ["", "a..b", "a.*", "a b", ".a"] {
        assert!(
            matches!(client.publish(name, "x").await, Err(PublishError::NotSent(_))),
            "{name}"
        );
        let error = client.subscribe(name).await.expect_err("impossible");
        assert!(
            matches!(error, SubscribeError::InvalidOption(_) | SubscribeError::Refused(_)),
            "{name}: {error}"
        );
    }
    let _one = client.subscribe("first").await.unwrap();
    let error = client.subscribe("first").await.expect_err("one is the limit");
    assert_eq!(
        error,
        SubscribeError::Refused("too many subscriptions per channel".to_owned())
    );
    let error = client
        .subscribe("first")
        .ack_wait(Duration::from_millis(900))
        .await
        .expect_err("too short");
    assert!(matches!(error, SubscribeError::InvalidOption(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_is_closed_at_the_server() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "dropping").await;
    let subscription = client.subscribe("c").await.unwrap();
    wait_for_answer(&server, "/streaming/channelsz?channel=c", |_, body| {
        body.contains("\"subs_count\": 1")
    })
    .await;
    drop(subscription);
    wait_for_answer(&server, "/streaming/channelsz?channel=c", |_, body| {
        body.contains("\"subs_count\": 0")
    })
    .await;
    // A subscribe that is given up while it is under way leaves nothing behind.
    for _ in 0..20 {
        let mut subscribing = client.subscribe("c").into_future();
        // On a busy machine it may be there already: then it is dropped as a whole.
        drop(futures_util::poll!(&mut subscribing));
        drop(subscribing);
    }
    publish(&client, "c", 1..=1).await;
    wait_for_answer(&server, "/streaming/channelsz?channel=c", |_, body| {
        body.contains("\"subs_count\": 0")
    })
    .await;
    drop(client);
    wait_for_answer(&server, "/streaming/clientsz?client=dropping", |status, _| {
        status == 404
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_waits_for_what_is_under_way() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "closing").await;
    let durable = |client: &Client| {
        client
            .subscribe("c")
            .start(Start::AllAvailable)
            .durable_name("d")
            .manual_acks()
    };
    let mut subscription = durable(&client).await.unwrap();
    for number in 1..=500u64 {
        drop(client.publish_async("c", number.to_string()).await.unwrap());
    }
    for _ in 1..=500 {
        next(&mut subscription).await.ack().unwrap();
    }
    client.close().await.unwrap();
    let again = connect(&server, "closing").await;
    let mut subscription = durable(&again).await.unwrap();
    publish(&again, "c", 501..=501).await;
    expect(&mut subscription, 501..=501).await;
}
