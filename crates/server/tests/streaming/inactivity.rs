//! Channels that nobody uses, as users see them go (`streaming-protocol.md` §6.4, §13.7 MaxInactivity).

use std::time::{Duration, Instant};

use crate::support::faults::Failing;
use crate::support::requests::{all, bounds, durable, next, publish, queue, refusal, wait_for};
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::Session;

fn exists(server: &Server, channel: &str) -> bool {
    server.get(&format!("/streaming/channelsz?channel={channel}")).0 == 200
}

fn wait_for_deletion(server: &mut Server, channel: &str) {
    let line = format!("Channel \"{channel}\" has been deleted");
    assert!(server.wait_for_line(&line).is_some(), "{channel} is not deleted");
    assert!(!exists(server, channel));
}

/// Lets time pass in which the session answers heartbeats.
fn pass(session: &mut Session, time: Duration) {
    assert!(session.next_message(time).is_err(), "nothing was to come");
}

#[test]
fn active_subscriptions_of_every_kind_protect_and_offline_ones_do_not() {
    // §6.4, quirk 9: plain, durable, queue, durable queue.
    let mut server = Server::in_memory(&["-mi", "400ms"]);
    let mut session = server.session("me");
    let mut subscribed = Vec::new();
    for (channel, request) in [
        ("plain", all("plain")),
        ("durable", durable(all("durable"))),
        ("group", queue(all("group"))),
        ("both", queue(durable(all("both")))),
    ] {
        session.publish(channel, b"x").unwrap();
        subscribed.push((channel, session.subscribe(request).unwrap()));
        assert_eq!(next(&mut session), (1, 0));
    }
    session.publish("idle.1", b"x").unwrap();
    wait_for_deletion(&mut server, "idle.1");
    session.publish("idle.2", b"x").unwrap();
    wait_for_deletion(&mut server, "idle.2");
    for (channel, _) in &subscribed {
        assert!(exists(&server, channel), "{channel} is in use");
    }
    for (_, subscribed) in &subscribed {
        session.close_subscription(subscribed).unwrap();
    }
    for (channel, _) in &subscribed {
        wait_for_deletion(&mut server, channel);
    }
    // Nothing is left of the durables: what comes is new, and begins at 1.
    for request in [durable(all("durable")), queue(durable(all("both")))] {
        session.subscribe(request.clone()).unwrap();
        let channel = String::from_utf8(request.subject.to_vec()).unwrap();
        session.publish(&channel, b"x").unwrap();
        assert_eq!(next(&mut session), (1, 0));
    }
    wait_for(&server, "/streaming/serverz", "\"subscriptions\": 2");
}

#[test]
fn publishing_moves_the_last_activity() {
    let mut server = Server::in_memory(&["-mi", "600ms"]);
    let mut session = server.session("me");
    for _ in 0..12 {
        session.publish("foo", b"x").unwrap();
        pass(&mut session, Duration::from_millis(120));
    }
    assert_eq!(bounds(&server, "foo"), (12, 1, 12), "it was never deleted");
    let idle = Instant::now();
    wait_for_deletion(&mut server, "foo");
    assert!(idle.elapsed() >= Duration::from_millis(400), "{:?}", idle.elapsed());
}

#[test]
fn a_subscribe_in_time_stops_the_wait_and_a_refused_one_begins_it_again() {
    let mut server = Server::in_memory(&["-mi", "700ms"]);
    let mut session = server.session("me");
    session.publish("foo", b"x").unwrap();
    pass(&mut session, Duration::from_millis(400));
    let subscribed = session.subscribe(crate::support::requests::from("foo", 0)).unwrap();
    pass(&mut session, Duration::from_millis(1000));
    assert!(exists(&server, "foo"), "it is in use");
    session.unsubscribe(&subscribed).unwrap();
    pass(&mut session, Duration::from_millis(400));
    let mut request = queue(all("foo"));
    request.durable_name = "a:b".into();
    let refused = Instant::now();
    assert!(refusal(session.subscribe(request)).contains("can't contain the character ':'"));
    wait_for_deletion(&mut server, "foo");
    assert!(
        refused.elapsed() >= Duration::from_millis(650),
        "{:?}",
        refused.elapsed()
    );
}

#[test]
fn the_loss_of_the_last_client_begins_the_wait() {
    // §13.7 MaxInactivityOnConnectionClose.
    let mut server = Server::in_memory(&["-mi", "400ms", "-hbi", "200ms", "-hbt", "100ms", "-hbf", "1"]);
    let mut closed = server.session("closed");
    closed.subscribe(all("foo")).unwrap();
    let mut lost = server.session("lost");
    lost.subscribe(durable(all("bar"))).unwrap();
    closed.close().unwrap();
    drop(lost);
    wait_for_deletion(&mut server, "foo");
    assert!(server.wait_for_line("[Client:lost] Timed out on heartbeats").is_some());
    wait_for_deletion(&mut server, "bar");
}

#[test]
fn a_restart_begins_the_wait_again() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    session.publish("foo", b"x").unwrap();
    let subscribed = session.subscribe(durable(all("foo"))).unwrap();
    session.close_subscription(&subscribed).unwrap();
    server.kill();
    let started = Instant::now();
    let mut server = Server::with_files(directory.path(), &["-mi", "1s"]);
    assert!(exists(&server, "foo"));
    wait_for_deletion(&mut server, "foo");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    // A deletion that was told is not forgotten.
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    assert!(!exists(&server, "foo"));
}

#[test]
fn limits_of_its_own_protect_a_channel_or_end_it_sooner() {
    // §6.2: zero, or less, is never.
    let directory = tempfile::tempdir().unwrap();
    let configuration = r#"streaming {
        store_limits {
            max_inactivity: "1h"
            channels {
                "temporary.>": { max_inactivity: "200ms" }
                "temporary.kept": { max_inactivity: "0s" }
                "temporary.never": { max_inactivity: "-1s" }
            }
        }
    }"#;
    let mut server = Server::configured(directory.path(), configuration, &[]).unwrap();
    let mut session = server.session("me");
    for channel in ["temporary.kept", "temporary.never", "long", "temporary.a.b"] {
        session.publish(channel, b"x").unwrap();
    }
    wait_for_deletion(&mut server, "temporary.a.b");
    session.publish("temporary.c", b"x").unwrap();
    wait_for_deletion(&mut server, "temporary.c");
    for channel in ["temporary.kept", "temporary.never", "long"] {
        assert!(exists(&server, channel), "{channel}");
    }
}

#[test]
fn a_channel_takes_nothing_while_it_is_deleted() {
    // §3, §6.4: on a disk that takes its time the deletion lasts.
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::with_files(directory.path(), &["-mi", "700ms"]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 3);
    let Some(slow) = Failing::begin(&server, "fdatasync:delay_enter=800000") else {
        return;
    };
    pass(&mut session, Duration::from_millis(1000));
    // A machine that is even slower may not have begun: then the publish was activity, and the wait begins again.
    let deadline = Instant::now() + PATIENCE;
    let subscribing = loop {
        let subscribing = refusal(session.subscribe(all("foo")));
        if subscribing != "taken" {
            break subscribing;
        }
        assert!(Instant::now() < deadline, "the deletion is never seen");
        session.close().unwrap();
        session = server.session("me");
        pass(&mut session, Duration::from_millis(1000));
    };
    assert_eq!(subscribing, "stan: channel is being deleted");
    assert_eq!(refusal(session.publish("foo", b"x")), "stan: channel is being deleted");
    drop(slow);
    wait_for_deletion(&mut server, "foo");
    session.publish("foo", b"x").unwrap();
    assert_eq!(bounds(&server, "foo"), (1, 1, 1), "a channel of that name begins at 1");
}

#[test]
fn a_channel_survives_a_store_that_does_not_take_its_deletion() {
    // §13.7 DeleteChannelStoreError.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-mi", "500ms"]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 3);
    let Some(failing) = Failing::begin(&server, "fdatasync:error=EIO") else {
        return;
    };
    // The deletion is the first thing that is written, and fails.
    let deadline = Instant::now() + PATIENCE;
    while server.get("/healthz").0 == 200 {
        assert!(Instant::now() < deadline, "nothing failed");
    }
    assert!(exists(&server, "foo"), "the channel is still there");
    assert!(refusal(session.publish("foo", b"x")).contains("the store failed"));
    drop(failing);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    // Whether the disk kept what it did not confirm is open; half a channel it must not be.
    assert!(!exists(&server, "foo") || bounds(&server, "foo") == (3, 1, 3));
}
