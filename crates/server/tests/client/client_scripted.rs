//! The Rust client against a streaming server that is not ours and does what a test says, on NATS servers that outlive it: ours,
//! and `nats-server` where it is installed.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use crate::rust_client::{next, wait_for};
use crate::scripted::{Asked, Nats, Script, Scripted, Subscribed};
use crate::support::PATIENCE;
use seaway_client::{ConnectError, Loss, PublishError, Start, Status, SubscribeError};

const SECOND: Duration = Duration::from_secs(1);
const REPLACED: &str = "client has been replaced or is no longer registered";

/// Lets the client notice that the server has forgotten it, once.
fn forget_once(server: &Scripted) {
    server.change(|script| script.pong = Some(REPLACED));
}

fn remember(server: &Scripted) {
    server.change(|script| script.pong = Some(""));
}

async fn is_told(server: &mut Scripted, wanted: impl Fn(&Asked) -> bool) {
    server.next(|asked| wanted(&asked).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_is_no_answer_to_a_ping() {
    for nats in Nats::all() {
        let server = Scripted::start(&nats, Script::of_today()).await;
        let options = nats.options("me").connect_timeout(SECOND).pings(SECOND, 2);
        let client = options.connect().await.unwrap();
        let steadfast = nats.options("steadfast").pings(SECOND, 1).reconnect(false);
        let steadfast = steadfast.connect().await.unwrap();
        let patient = nats.options("patient").pings(SECOND, 1_000).connect().await.unwrap();
        server.leave().await;
        // The NATS server answers each ping at once, with the status that nobody listens.
        let status = wait_for(&patient, |status| *status != Status::Connected).await;
        assert_eq!(status, Status::Unreachable, "{}", nats.name);
        let is_over = |status: &Status| !matches!(status, Status::Connected | Status::Unreachable);
        let lost = wait_for(&client, is_over).await;
        assert_eq!(lost, Status::Interrupted(Loss::Silent(2)), "{}", nats.name);
        let lost = wait_for(&steadfast, is_over).await;
        assert_eq!(lost, Status::Ended(Loss::Silent(1)), "{}", nats.name);
        let late = nats.options("late").connect_timeout(SECOND).retry_connect(PATIENCE);
        let late = tokio::spawn(late.connect());
        let mut server = Scripted::start(&nats, Script::of_today()).await;
        wait_for(&client, |status| *status == Status::Connected).await;
        wait_for(&patient, |status| *status == Status::Connected).await;
        late.await
            .unwrap()
            .expect("the streaming server came behind the NATS server");
        let registered = server.next(|asked| match asked {
            Asked::Connect(ask) if ask.client_id == "me" => Some(ask),
            _ => None,
        });
        let registered = registered.await;
        assert!(server.heartbeat(&registered).await, "heartbeats are answered again");
        client.publish("c", "x").await.unwrap();
        client.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_protocol_before_pings_are_served() {
    for nats in Nats::all() {
        let mut server = Scripted::start(&nats, Script::of_old()).await;
        let client = nats.options("me").pings(SECOND, 1).connect().await.unwrap();
        client.publish("c", "x").await.unwrap();
        let mut plain = client.subscribe("c").manual_acks().await.unwrap();
        let ask = server.next_subscribe().await;
        server.deliver(&ask, 1, server.later()).await;
        next(&mut plain).await.ack().unwrap();
        assert_eq!(server.next_ack().await, 1);
        plain
            .close()
            .await
            .expect("a plain subscription is closed by unsubscribing it");
        is_told(&mut server, |asked| matches!(asked, Asked::Unsubscribe(_))).await;
        let durable = client.subscribe("c").durable_name("d").await.unwrap();
        assert_eq!(durable.close().await, Err(SubscribeError::CannotClose));
        let mut durable = client.subscribe("c").durable_name("d").await.unwrap();

        // Without pings, a refusal is all that tells of a server that has forgotten the client.
        server.change(|script| script.publish = Some("stan: invalid publish request"));
        let refused = client.publish("c", "x").await;
        assert_eq!(refused, Err(PublishError::Unregistered), "{}", nats.name);
        server.change(|script| script.publish = Some(""));
        is_told(&mut server, |asked| matches!(asked, Asked::Connect(_))).await;
        let ask = server.next_subscribe().await;
        server.deliver(&ask, 2, server.later()).await;
        assert_eq!(next(&mut durable).await.sequence(), 2);
        let pings = server.asked_so_far();
        assert!(!pings.iter().any(|asked| matches!(asked, Asked::Ping(_))), "{pings:?}");
        client.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_subscription_goes_on_at_its_first_hole() {
    for nats in Nats::all() {
        let mut server = Scripted::start(&nats, Script::of_today()).await;
        let client = nats.options("me").pings(SECOND, 60).connect().await.unwrap();
        let mut plain = client.subscribe("c").manual_acks().await.unwrap();
        let ask = server.next_subscribe().await;
        let times: Vec<i64> = (0..9).map(|_| server.later()).collect();
        let mut held = Vec::new();
        for sequence in 1..=5 {
            server.deliver(&ask, sequence, times[sequence as usize]).await;
            held.push(next(&mut plain).await);
        }
        // It arrives, and is not read before the connection is lost.
        server.deliver(&ask, 6, times[6]).await;
        for index in [0, 1, 3] {
            held[index].ack().unwrap();
            server.next_ack().await;
        }
        forget_once(&server);
        let again = server.next_subscribe().await;
        remember(&server);
        assert_eq!(
            (again.start_position, again.start_sequence),
            (3, 2),
            "at the last before the hole"
        );
        assert_ne!(again.inbox, ask.inbox, "nothing old mixes with the new");
        wait_for(&client, |status| *status == Status::Connected).await;
        held[4].ack().expect("kept");
        for sequence in 2..=7 {
            server.deliver(&again, sequence, times[sequence as usize]).await;
        }
        let mut seen = Vec::new();
        for _ in 0..3 {
            let message = next(&mut plain).await;
            message.ack().unwrap();
            seen.push((message.sequence(), message.redelivery_count()));
        }
        assert_eq!(seen, [(3, 1), (6, 0), (7, 0)], "{}", nats.name);
        let mut told = Vec::new();
        for _ in 2..=7 {
            told.push(server.next_ack().await);
        }
        told.sort_unstable();
        assert_eq!(
            told,
            [2, 3, 4, 5, 6, 7],
            "the server hears of everything that is done with"
        );
        client.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_began_anew_is_received_from_its_beginning() {
    let nats = Nats::ours();
    let mut server = Scripted::start(&nats, Script::of_today()).await;
    let client = nats.options("me").pings(SECOND, 60).connect().await.unwrap();
    let mut plain = client.subscribe("c").manual_acks().await.unwrap();
    let mut durable = client.subscribe("d").durable_name("d").manual_acks().await.unwrap();
    let (plain_ask, durable_ask) = (server.next_subscribe().await, server.next_subscribe().await);
    let old = server.later();
    for sequence in 1..=3 {
        server.deliver(&plain_ask, sequence, old).await;
        next(&mut plain).await.ack().unwrap();
        server.next_ack().await;
    }
    server.deliver(&durable_ask, 1, old).await;
    let of_the_old_channel = next(&mut durable).await;
    forget_once(&server);
    let again = server.next_subscribe().await;
    remember(&server);
    assert_eq!(again.start_sequence, 3);
    let durable_ask = server.next_subscribe().await;
    assert_eq!(durable_ask.start_position, 2, "all that came since it was asked for");
    // The channel has four new messages; a server begins at the third, as it was told to.
    let new: Vec<i64> = (0..6).map(|_| server.later()).collect();
    server.deliver(&again, 3, new[3]).await;
    server.deliver(&again, 4, new[4]).await;
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        for _ in 1..=5 {
            let message = next(&mut plain).await;
            message.ack().unwrap();
            seen.push((message.sequence(), message.redelivery_count()));
        }
        seen
    });
    let closed = server.next(|asked| match asked {
        Asked::CloseSubscription(ask) => Some(ask.inbox),
        _ => None,
    });
    assert_eq!(closed.await, again.inbox);
    let beginning = server.next_subscribe().await;
    assert_eq!((beginning.start_position, beginning.start_sequence), (3, 0));
    for sequence in 1..=5 {
        server.deliver(&beginning, sequence, new[sequence as usize]).await;
    }
    assert_eq!(reading.await.unwrap(), [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
    for sequence in 1..=5 {
        assert_eq!(server.next_ack().await, sequence);
    }
    // An acknowledgement of the old channel's message is not one of the new channel's message of the same number.
    of_the_old_channel.ack().unwrap();
    server.deliver(&durable_ask, 1, new[1]).await;
    let message = next(&mut durable).await;
    assert_eq!((message.sequence(), message.redelivery_count()), (1, 0));
    server.deliver(&durable_ask, 2, new[2]).await;
    next(&mut durable).await.ack().unwrap();
    assert_eq!(server.next_ack().await, 2, "1 is not acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_of_a_durable_outlive_a_lost_connection() {
    let nats = Nats::ours();
    let mut server = Scripted::start(&nats, Script::of_today()).await;
    let client = nats.options("me").pings(SECOND, 60).connect().await.unwrap();
    let mut durable = client.subscribe("c").durable_name("d").manual_acks().await.unwrap();
    let ask = server.next_subscribe().await;
    let times = [0, server.later(), server.later()];
    server.deliver(&ask, 1, times[1]).await;
    let first = next(&mut durable).await;
    let now = Arc::new(tokio::sync::Notify::new());
    server.change(|script| {
        script.pong = Some(REPLACED);
        script.subscribe.push_back(Subscribed::Later(Arc::clone(&now)));
    });
    let again = server.next_subscribe().await;
    remember(&server);
    first
        .ack()
        .expect("it is kept until the server delivers the message again");
    now.notify_one();
    wait_for(&client, |status| *status == Status::Connected).await;
    server.deliver_again(&again, 1, times[1], 1).await;
    server.deliver(&again, 2, times[2]).await;
    let message = next(&mut durable).await;
    assert_eq!(message.sequence(), 2, "the user is done with 1");
    assert_eq!(server.next_ack().await, 1, "and the server hears of it");
    // What the user has not acknowledged comes again, of course.
    server.deliver_again(&again, 2, times[2], 1).await;
    assert_eq!(next(&mut durable).await.redelivery_count(), 1);
    client.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_when_the_connection_is_made_anew_are_told() {
    let nats = Nats::ours();
    let mut server = Scripted::start(&nats, Script::of_today()).await;
    let client = nats.options("me").pings(SECOND, 60).connect().await.unwrap();
    let mut refused = client.subscribe("a").await.unwrap();
    let handled = client.subscribe("b").await.unwrap();
    let mut kept = client.subscribe("c").await.unwrap();
    assert_eq!(kept.failure(), None);
    for _ in 0..3 {
        server.next_subscribe().await;
    }
    let handled = tokio::spawn(handled.for_each(async |_| {}));
    let limit = "too many subscriptions per channel";
    server.change(|script| {
        script.pong = Some(REPLACED);
        script
            .subscribe
            .extend([Subscribed::Refused(limit), Subscribed::Refused("no")]);
    });
    for _ in 0..3 {
        server.next_subscribe().await;
    }
    remember(&server);
    let ended = tokio::time::timeout(PATIENCE, refused.next()).await.expect("it ends");
    assert!(ended.is_none());
    assert_eq!(refused.failure(), Some(SubscribeError::Refused(limit.to_owned())));
    assert_eq!(handled.await.unwrap(), Err(SubscribeError::Refused("no".to_owned())));
    wait_for(&client, |status| *status == Status::Connected).await;
    client.close().await.unwrap();
    assert!(kept.next().await.is_none());
    assert_eq!(kept.failure(), None, "the user closed it");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_under_the_same_id_is_told() {
    let nats = Nats::ours();
    let server = Scripted::start(&nats, Script::of_today()).await;
    let options = nats.options("me").pings(SECOND, 60).ack_timeout(SECOND);
    let client = options.connect().await.unwrap();
    let good = Script::of_today().connect;
    server.change(|script| {
        script.pong = Some(REPLACED);
        script.connect = Default::default();
        script.connect.error = "stan: clientID already registered".into();
    });
    let lost = wait_for(&client, |status| {
        matches!(status, Status::Interrupted(Loss::ClientIdInUse))
    });
    lost.await;
    let refused = client.publish("c", "x").await.unwrap_err().to_string();
    assert!(
        refused.contains("another client has registered under this client ID"),
        "{refused}"
    );
    server.change(|script| {
        script.pong = Some("");
        script.connect = good;
    });
    wait_for(&client, |status| *status == Status::Connected).await;
    client.publish("c", "x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_refusal_does_not_interrupt_the_new_connection() {
    let nats = Nats::ours();
    let mut server = Scripted::start(&nats, Script::of_today()).await;
    let client = nats.options("me").pings(SECOND, 60).connect().await.unwrap();
    let mut status = client.status();
    status.mark_unchanged();
    // A refused publish has the client ask at once, and a burst of them more than once: each question is refused.
    server.change(|script| {
        script.pong = Some(REPLACED);
        script.publish = Some("stan: invalid publish request");
    });
    for _ in 0..3 {
        let _ = client.publish("c", "x").await;
    }
    is_told(
        &mut server,
        |asked| matches!(asked, Asked::Connect(ask) if ask.client_id == "me"),
    )
    .await;
    is_told(&mut server, |asked| matches!(asked, Asked::Connect(_))).await;
    remember(&server);
    server.change(|script| script.publish = Some(""));
    wait_for(&client, |status| *status == Status::Connected).await;
    client.publish("c", "x").await.unwrap();
    // Two of its own pings later it is still the connection made then.
    let id = server.next(|asked| match asked {
        Asked::Publish(publish) if !publish.conn_id.is_empty() => Some(publish.conn_id),
        _ => None,
    });
    let _ = id.await;
    for _ in 0..2 {
        is_told(&mut server, |asked| matches!(asked, Asked::Ping(_))).await;
    }
    let asked = server.asked_so_far();
    assert!(
        !asked.iter().any(|asked| matches!(asked, Asked::Connect(_))),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_while_it_is_made_anew_is_not_served_for_nobody() {
    let nats = Nats::ours();
    let mut server = Scripted::start(&nats, Script::of_today()).await;
    let client = nats.options("me").pings(SECOND, 60).connect().await.unwrap();
    let plain = client.subscribe("c").queue_group("g").await.unwrap();
    let durable = client.subscribe("d").durable_name("d").await.unwrap();
    for _ in 0..2 {
        server.next_subscribe().await;
    }
    let now = Arc::new(tokio::sync::Notify::new());
    server.change(|script| {
        script.pong = Some(REPLACED);
        script.subscribe.push_back(Subscribed::Later(Arc::clone(&now)));
    });
    let again = server.next_subscribe().await;
    remember(&server);
    plain.close().await.expect("there is nothing to wait for");
    let forgetting = tokio::spawn(durable.unsubscribe());
    now.notify_one();
    let closed = server.next(|asked| match asked {
        Asked::CloseSubscription(ask) => Some(ask.inbox),
        _ => None,
    });
    assert_eq!(closed.await, again.inbox);
    // A durable is forgotten, although it takes a subscription to do so.
    let forgotten = server.next(|asked| match asked {
        Asked::Unsubscribe(ask) => Some(ask.durable_name),
        _ => None,
    });
    assert_eq!(forgotten.await, "d");
    forgetting.await.unwrap().expect("forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscribe_that_is_given_up_is_closed_at_the_server() {
    let nats = Nats::ours();
    let mut server = Scripted::start(&nats, Script::of_today()).await;
    let client = nats.options("me").connect_timeout(SECOND).connect().await.unwrap();
    // The server is slow to answer, and the user gives up before.
    let now = Arc::new(tokio::sync::Notify::new());
    server.change(|script| script.subscribe.push_back(Subscribed::Later(Arc::clone(&now))));
    let subscribing = tokio::spawn(client.subscribe("c").durable_name("d").into_future());
    server.next_subscribe().await;
    subscribing.abort();
    assert!(subscribing.await.unwrap_err().is_cancelled());
    now.notify_one();
    is_told(&mut server, |asked| matches!(asked, Asked::CloseSubscription(_))).await;
    // The server does not answer at all.
    server.change(|script| script.subscribe.push_back(Subscribed::Silence));
    let failure = client.subscribe("c").await.expect_err("no answer");
    assert_eq!(failure, SubscribeError::Timeout(SECOND));
    let ask = server.next_subscribe().await;
    let closed = server.next(|asked| match asked {
        Asked::CloseSubscription(ask) => Some(ask.inbox),
        _ => None,
    });
    assert_eq!(closed.await, ask.inbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_make_no_sense_are_refused() {
    let nats = Nats::ours();
    let server = Scripted::start(&nats, Script::of_today()).await;
    for hostile in ["", "a b", "a\r\nPUB x 0\r\n", "a.>", "..", "\0"] {
        server.change(|script| script.connect.pub_prefix = hostile.into());
        let failure = nats.options("me").connect().await.expect_err("no subject");
        assert!(
            matches!(failure, ConnectError::InvalidAnswer { .. }),
            "{hostile:?}: {failure}"
        );
    }
    server.change(|script| *script = Script::of_today());
    let client = nats.options("me").connect().await.unwrap();
    for hostile in ["", "a b", "a\r\nPUB x 0\r\n", "*"] {
        server.change(|script| script.subscribe.push_back(Subscribed::AckInbox(hostile)));
        let failure = client.subscribe("c").await.expect_err("no subject");
        assert!(matches!(failure, SubscribeError::Refused(_)), "{hostile:?}: {failure}");
    }
    server.change(|script| script.publish = Some("\u{fffd} whatever"));
    let refused = client.publish("c", "x").await;
    assert_eq!(refused, Err(PublishError::Refused("\u{fffd} whatever".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_make_no_sense_do_no_harm() {
    let nats = Nats::ours();
    let mut server = Scripted::start(&nats, Script::of_today()).await;
    let client = nats.options("me").connect().await.unwrap();
    let mut plain = client
        .subscribe("c")
        .start(Start::AllAvailable)
        .manual_acks()
        .await
        .unwrap();
    let ask = server.next_subscribe().await;
    server.deliver_bytes(&ask, b"\xff\xff\xff".to_vec()).await;
    server.deliver(&ask, 0, i64::MIN).await;
    server.deliver(&ask, u64::MAX, i64::MAX).await;
    for sequence in [0, u64::MAX] {
        let message = next(&mut plain).await;
        assert_eq!(message.sequence(), sequence);
        let _ = message.timestamp();
        message.ack().unwrap();
        assert_eq!(server.next_ack().await, sequence);
    }
    client.close().await.unwrap();
}
