//! The Rust client when its futures are dropped half-way, its handlers panic and its users are slow.

use std::collections::BTreeSet;
use std::future::IntoFuture as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::rust_client::{connect, expect, next, options, publish, wait_for_answer};
use crate::support::{PATIENCE, Server};
use seaway_client::{Client, Start, SubscribeError};

const SECOND: Duration = Duration::from_secs(1);

/// Polls a future until it has been pending `times` times, then drops it. True when it was done before.
async fn drop_after<Work: Future>(times: u32, work: Work) -> bool {
    let mut work: Pin<Box<Work>> = Box::pin(work);
    let mut pending = 0;
    let done = std::future::poll_fn(|context| {
        let is_ready = work.as_mut().poll(context).is_ready();
        pending += u32::from(!is_ready);
        match is_ready || pending >= times {
            true => std::task::Poll::Ready(is_ready),
            false => std::task::Poll::Pending,
        }
    });
    tokio::time::timeout(PATIENCE, done).await.expect("something moves")
}

/// Drops the future at its first await, then at its second, and so on, until it completes.
async fn drop_at_every_await<Work: Future>(mut work: impl FnMut() -> Work) -> u32 {
    for times in 1.. {
        if drop_after(times, work()).await {
            return times;
        }
    }
    unreachable!("it completes")
}

async fn subscribers(server: &Server, channel: &str, count: usize) {
    let wanted = format!("\"subs_count\": {count}");
    let path = format!("/streaming/channelsz?channel={channel}");
    wait_for_answer(server, &path, |_, body| body.contains(&wanted)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn futures_may_be_dropped_at_every_await() {
    let server = Server::in_memory(&[]);
    let client = options(&server, "me")
        .max_publishes_in_flight(2)
        .connect()
        .await
        .unwrap();
    let mut log = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    let mut awaits = 0;
    for round in 0..20 {
        awaits += drop_at_every_await(|| client.publish("c", "x")).await;
        awaits += drop_at_every_await(|| client.flush()).await;
        // A subscribe to the same durable waits for the one that was given up.
        awaits += drop_at_every_await(|| client.subscribe("c").durable_name("d").into_future()).await;
        let durable = client.subscribe("c").durable_name("d").await;
        let mut durable = Some(durable.unwrap_or_else(|error| panic!("round {round}: {error}")));
        awaits += drop_at_every_await(|| {
            let durable = durable.take();
            let client = client.clone();
            async move {
                match durable {
                    Some(durable) => durable.unsubscribe().await,
                    // It goes on behind the dropped future: whoever subscribes now finds the durable gone.
                    None => client.subscribe("c").durable_name("d").await?.unsubscribe().await,
                }
                .unwrap_or_else(|error| panic!("round {round}: {error}"));
                Ok::<(), SubscribeError>(())
            }
        })
        .await;
    }
    assert!(awaits > 100, "{awaits}: nothing was dropped half-way");
    // Room was given back, order kept, nothing left behind.
    client.publish("c", "end").await.unwrap();
    let mut last = 0;
    loop {
        let message = next(&mut log).await;
        assert_eq!(message.sequence(), last + 1);
        last = message.sequence();
        if message.payload() == "end" {
            break;
        }
    }
    subscribers(&server, "c", 1).await;
    while !drop_after(1, client.close()).await {
        // The runtime lets a task that never yields see nothing but pending futures.
        tokio::task::yield_now().await;
    }
    wait_for_answer(&server, "/streaming/clientsz?client=me", |status, _| status == 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscribe_that_is_dropped_still_forgets_the_durable() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "me").await;
    publish(&client, "c", 1..=2).await;
    for times in 1..=3 {
        let durable = || client.subscribe("c").start(Start::AllAvailable).durable_name("d");
        let mut first = durable().await.unwrap();
        expect(&mut first, 1..=2).await;
        drop_after(times, first.unsubscribe()).await;
        let mut second = durable().await.unwrap();
        expect(&mut second, 1..=2).await;
        second.unsubscribe().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_next_loses_nothing() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "me").await;
    let mut subscription = client.subscribe("c").max_in_flight(3).await.unwrap();
    let publisher = client.clone();
    tokio::spawn(async move { publish(&publisher, "c", 1..=200).await });
    let mut sequence = 0;
    while sequence < 200 {
        let mut waiting = Box::pin(subscription.next());
        let polled = futures_util::poll!(&mut waiting);
        let message = match polled {
            std::task::Poll::Ready(message) => message,
            std::task::Poll::Pending => {
                drop(waiting);
                tokio::task::yield_now().await;
                continue;
            }
        };
        let message = message.expect("it goes on");
        sequence += 1;
        assert_eq!((message.sequence(), message.redelivery_count()), (sequence, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_max_in_flight_comes_to_a_slow_consumer() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "me").await;
    let subscribe = client.subscribe("c").manual_acks().max_in_flight(3);
    let mut slow = subscribe.await.unwrap();
    let mut quick = client.subscribe("c").await.unwrap();
    publish(&client, "c", 1..=2_000).await;
    expect(&mut quick, 1..=2_000).await;
    let mut held = Vec::new();
    for sequence in 1..=3 {
        held.push(next(&mut slow).await);
        assert_eq!(held.last().unwrap().sequence(), sequence);
    }
    // The others have everything, and this one nothing more than it may.
    assert!(futures_util::poll!(Box::pin(slow.next())).is_pending());
    let path = "/streaming/channelsz?channel=c&subs=1";
    wait_for_answer(&server, path, |_, body| body.contains("\"pending_count\": 3")).await;
    for sequence in 4..=2_000 {
        held.remove(0).ack().unwrap();
        held.push(next(&mut slow).await);
        assert_eq!(held.last().unwrap().sequence(), sequence);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_handler_panics_comes_again() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "me").await;
    let durable = |client: &Client| {
        let durable = client.subscribe("c").start(Start::AllAvailable).durable_name("d");
        durable.ack_wait(SECOND)
    };
    publish(&client, "c", 1..=3).await;
    let subscription = durable(&client).await.unwrap();
    let handling = tokio::spawn(subscription.for_each(async |message| {
        assert!(message.sequence() < 2, "the handler breaks on purpose");
    }));
    assert!(handling.await.unwrap_err().is_panic());
    client.publish("other", "x").await.expect("the client is well");
    let mut again = durable(&client).await.unwrap();
    let message = next(&mut again).await;
    assert_eq!((message.sequence(), message.redelivery_count()), (2, 1));
    assert_eq!(next(&mut again).await.sequence(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_stopped_finishes_its_message() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "me").await;
    let durable = |client: &Client| client.subscribe("c").start(Start::AllAvailable).durable_name("d");
    publish(&client, "c", 1..=100).await;
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let stop = Mutex::new(Some(stop));
    let handled = AtomicU64::new(0);
    let subscription = durable(&client).await.unwrap();
    let stopped = async {
        let _ = is_stopped.await;
    };
    let outcome = subscription.for_each_until(stopped, async |message| {
        if message.sequence() == 10 {
            drop(stop.lock().unwrap().take());
        }
        // It is still at work when it is told to stop.
        tokio::task::yield_now().await;
        handled.store(message.sequence(), Ordering::Relaxed);
    });
    assert_eq!(outcome.await, Ok(()));
    assert_eq!(handled.load(Ordering::Relaxed), 10);
    let mut rest = durable(&client).await.unwrap();
    let next = next(&mut rest).await;
    assert_eq!(next.sequence(), 11, "10 was acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_end_while_messages_are_on_their_way() {
    let server = Server::in_memory(&[]);
    let client = connect(&server, "me").await;
    let publisher = client.clone();
    let publishing = tokio::spawn(async move { publish(&publisher, "c", 1..=3_000).await });
    // Members come and go, and what they leave unacknowledged goes to others.
    let member = |client: &Client| {
        let member = client
            .subscribe("c")
            .start(Start::AllAvailable)
            .queue_group("g")
            .durable_name("d");
        member.manual_acks().ack_wait(SECOND).max_in_flight(16)
    };
    let missing: Arc<Mutex<BTreeSet<u64>>> = Arc::new(Mutex::new((1..=3_000).collect()));
    let is_done = |missing: &Mutex<BTreeSet<u64>>| missing.lock().unwrap().is_empty();
    for round in 0.. {
        let mut leaving = member(&client).await.unwrap();
        let mut staying = member(&client).await.unwrap();
        for _ in 0..20 {
            for member in [&mut leaving, &mut staying] {
                while let std::task::Poll::Ready(Some(message)) = futures_util::poll!(Box::pin(member.next())) {
                    message.ack().unwrap();
                    missing.lock().unwrap().remove(&message.sequence());
                }
            }
            tokio::task::yield_now().await;
        }
        match round % 3 {
            0 => leaving.close().await.unwrap(),
            1 => drop(leaving),
            _ => leaving.unsubscribe().await.unwrap(),
        }
        staying.close().await.unwrap();
        if is_done(&missing) {
            break;
        }
        assert!(round < 5_000, "{} are missing", missing.lock().unwrap().len());
    }
    publishing.await.unwrap();
    let path = "/streaming/clientsz?client=me";
    wait_for_answer(&server, path, |_, body| body.contains("\"subs_count\": 0")).await;
}
