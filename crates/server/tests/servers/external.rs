//! Attached to a NATS server of somebody else (streaming-protocol.md §11): what clients see of the server through it, and of the
//! connection being lost, back, paused and elsewhere.

use std::time::{Duration, Instant};

use crate::nats::{Nats, attach, attached, connection, free_port, ready, refusal};
use crate::rust_client::{connect, expect, next, options, publish, wait_for_answer};
use crate::support::group::{state, wait_until, wait_until_active};
use crate::support::requests::{all, durable, hasty, queue};
use crate::support::{Binary, PATIENCE, Server, run};
use rustix::process::Signal;
use seaway_bench::stan::Session;
use seaway_client::{Client, Start, Subscription};

fn is_connected(server: &Server) -> bool {
    connection(server)["connected"] == true
}

fn wait_until_lost(server: &Server) {
    wait_until("the connection is lost", || !is_connected(server));
}

fn wait_until_back(server: &Server) {
    wait_until("the connection is back", || is_connected(server));
}

/// §2.7 to §2.13, §11: everything a client does, over servers that are not this process; no port for clients, monitoring with all there is.
#[test]
fn a_whole_streaming_life_goes_through_it() {
    let nats = Nats::plain();
    let directory = tempfile::tempdir().unwrap();
    let store = ["-store", "file", "-dir", directory.path().to_str().unwrap()];
    let server = attach(&nats.address(), &store);
    assert!(
        !server
            .log
            .iter()
            .any(|line| line.contains("Listening for client connections"))
    );
    let mut session = server.session("me");
    for number in 1..=3u8 {
        session.publish("foo", &[number]).unwrap();
    }
    let kept = session.subscribe(durable(hasty(all("foo")))).unwrap();
    let member = session.subscribe(queue(all("foo"))).unwrap();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(message.redelivery_count, 0);
        let by = if message.inbox == kept.inbox { &kept } else { &member };
        if !(message.inbox == kept.inbox && message.sequence == 2) {
            session.ack(by, message.sequence);
        }
        seen.push((message.inbox.clone(), message.sequence));
    }
    for subscribed in [&kept, &member] {
        let of_it: Vec<u64> = seen
            .iter()
            .filter(|(inbox, _)| *inbox == subscribed.inbox)
            .map(|(_, s)| *s)
            .collect();
        assert_eq!(of_it, [1, 2, 3]);
    }
    // Not acknowledged: once more after AckWait, and no more once it is.
    let again = session.next_message(PATIENCE).unwrap();
    assert_eq!((again.sequence, again.redelivery_count), (2, 1));
    session.ack(&kept, 2);
    session.connection.flush().unwrap();
    wait_until("everything is acknowledged", || {
        !server
            .get("/streaming/channelsz?channel=foo&subs=1")
            .1
            .contains("\"pending_count\": 1")
    });
    session.unsubscribe(&member).unwrap();
    session.close_subscription(&kept).unwrap();
    session.ping().unwrap();

    let connection = connection(&server);
    assert_eq!(
        (&connection["url"], &connection["connected"]),
        (&nats.url().into(), &true.into())
    );
    assert!(
        connection["in_msgs"].as_u64().unwrap() > 5 && connection["reconnects"] == 0,
        "{connection}"
    );
    for (path, expected) in [
        ("/varz", "\"port\": 0"),
        ("/connz", "\"num_connections\": 0"),
        ("/healthz/ready", "ok"),
    ] {
        let (status, body) = server.get(path);
        assert!(status == 200 && body.contains(expected), "{path}: {status} {body}");
    }
    // It stays what it was over a restart, and what was said last has left.
    session.publish("foo", b"4").unwrap();
    let (status, log) = server.signal_and_wait(Signal::TERM);
    assert_eq!(status.code(), Some(143), "{log:#?}");
    let server = attach(&nats.address(), &store);
    let kept = session.subscribe(durable(all("foo"))).unwrap();
    let message = session.next_message(PATIENCE).unwrap();
    assert_eq!((message.sequence, &message.data[..]), (4, &b"4"[..]));
    session.ack(&kept, 4);
    session.close().unwrap();
    drop(server);
}

/// §11: no retry of the first connection. §13.8 DontEmbedNATS*.
#[test]
fn a_start_without_a_server_fails_in_words() {
    let port = free_port();
    let log = refusal(attached(&format!("nats://127.0.0.1:{port}"), &[]));
    let expected = format!(
        "Failed to start: nats: no servers available for connection: nats://127.0.0.1:{port}: Connection refused"
    );
    assert!(log.iter().any(|line| line.contains(&expected)), "{log:#?}");
    // One of a list is enough.
    let nats = Nats::plain();
    let list = format!("nats://127.0.0.1:{port}, {}", nats.url());
    let server = ready(&mut attached(&list, &[]), &nats.address());
    assert_eq!(connection(&server)["url"], nats.url());
    server.session("me").publish("foo", b"x").unwrap();
    // What is no NATS server says nothing, and is not waited for for ever.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let log = refusal(attached(&format!("nats://{}", silent.local_addr().unwrap()), &[]));
    assert!(
        log.iter().any(|line| line.contains("it does not answer in time")),
        "{log:#?}"
    );
    for (bad, expected) in [
        ("127.0.0.1:4222", "malformed url: 127.0.0.1:4222"),
        ("nats://127.0.0.1", "has no port"),
        ("nats://u:swordfish@:4222", "a NATS server has a host"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (status, _, stderr) = run(Binary::NatsStreamingServer, &["-ns", bad], directory.path());
        assert!(status.code() == Some(1) && stderr.contains(expected), "{bad}: {stderr}");
        assert!(!stderr.contains("swordfish"));
    }
}

/// §9.3: another server of the same cluster ID is found through it; one with another ID is welcome (§11).
#[test]
fn cluster_ids_share_a_server_and_one_has_only_one() {
    let nats = Nats::plain();
    let _first = attach(&nats.address(), &[]);
    let log = refusal(attached(&nats.url(), &[]));
    let expected = "discovered another streaming server with cluster ID \"test-cluster\"";
    assert!(log.iter().any(|line| line.contains(expected)), "{log:#?}");
    let _other = attach(&nats.address(), &["-cid", "other"]);
    Session::open(nats.address(), "other", "me")
        .unwrap()
        .publish("foo", b"x")
        .unwrap();
}

/// A server that gives clients up at their first silence, and one with a subscription whose acks may take a second.
async fn steadfast(nats: &Nats) -> (Server, Client, Subscription) {
    let beats = ["-hbi", "200ms", "-hbt", "1s", "-hbf", "0"];
    let server = attach(&nats.address(), &beats);
    let client = options(&server, "steadfast")
        .ack_timeout(PATIENCE)
        .connect()
        .await
        .unwrap();
    let subscription = client.subscribe("c").start(Start::AllAvailable).manual_acks();
    let subscription = subscription.ack_wait(Duration::from_secs(1)).await.unwrap();
    (server, client, subscription)
}

/// §11, §13.4 NoDuplicateRedeliveryDueToDisconnect: killed for longer than AckWait and all heartbeats, and back: nobody is given up,
/// nothing counts as sent, and one redelivery follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_and_comes_back_has_cost_nobody_anything() {
    let mut nats = Nats::plain();
    let (server, client, mut subscription) = steadfast(&nats).await;
    publish(&client, "c", 1..=2).await;
    let (first, second) = (next(&mut subscription).await, next(&mut subscription).await);
    first.ack().unwrap();
    client.flush().await.unwrap();
    wait_for_answer(&server, "/streaming/channelsz?channel=c&subs=1", |_, body| {
        body.contains("\"pending_count\": 1")
    })
    .await;
    nats.kill();
    wait_until_lost(&server);
    let lost = server.get("/healthz/ready");
    assert!(
        lost.0 == 503 && lost.1.contains("no connection to a NATS server"),
        "{lost:?}"
    );
    // Many heartbeats, and AckWait three times.
    let (begun, away) = (Instant::now(), Duration::from_millis(3_500));
    wait_until("it is away for a while", || begun.elapsed() > away);
    nats.start();
    wait_until_back(&server);
    let again = next(&mut subscription).await;
    assert_eq!((again.sequence(), again.redelivery_count()), (second.sequence(), 1));
    again.ack().unwrap();
    publish(&client, "c", 3..=3).await;
    let third = next(&mut subscription).await;
    assert_eq!((third.sequence(), third.is_redelivered()), (3, false));
    let clients = server.get("/streaming/clientsz").1;
    assert!(clients.contains("\"steadfast\""), "{clients}");
    let connection = connection(&server);
    assert!(connection["reconnects"] == 1, "{connection}");
    let (_, log) = server.signal_and_wait(Signal::TERM);
    let lines = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(lines("Timed out on heartbeats"), 0, "{log:#?}");
    assert_eq!(
        lines("connection \"_NSS-test-cluster-general\" has been disconnected"),
        1,
        "{log:#?}"
    );
    assert_eq!(
        lines("connection \"_NSS-test-cluster-general\" reconnected to NATS Server at"),
        1,
        "{log:#?}"
    );
}

/// The server stands still for longer than AckWait and all heartbeats; what clients sent meanwhile counts before they are judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_has_cost_nobody_anything() {
    let nats = Nats::plain();
    let (server, client, mut subscription) = steadfast(&nats).await;
    publish(&client, "c", 1..=1).await;
    let message = next(&mut subscription).await;
    for _ in 0..3 {
        nats.pause();
        let begun = Instant::now();
        wait_until("it stands still for a while", || {
            begun.elapsed() > Duration::from_millis(1_500)
        });
        nats.resume();
    }
    // Somebody who did not acknowledge gets it again, once things move; acknowledged in time it would not have come.
    message.ack().unwrap();
    publish(&client, "c", 2..=2).await;
    loop {
        let message = next(&mut subscription).await;
        message.ack().unwrap();
        if message.sequence() == 2 {
            break;
        }
    }
    nats.pause();
    let begun = Instant::now();
    let paused = publish(&client, "c", 3..=3);
    let resume = async {
        while begun.elapsed() < Duration::from_millis(1_500) {
            tokio::task::yield_now().await;
        }
        nats.resume();
    };
    tokio::join!(paused, resume);
    let third = next(&mut subscription).await;
    assert_eq!((third.sequence(), third.is_redelivered()), (3, false));
    third.ack().unwrap();
    let connection = connection(&server);
    assert!(connection["reconnects"] == 0, "{connection}");
    let (_, log) = server.signal_and_wait(Signal::TERM);
    assert!(
        !log.iter().any(|line| line.contains("Timed out on heartbeats")),
        "{log:#?}"
    );
}

/// Three servers in a cluster, of which one is named: the others are learnt, the connected one is killed, and then all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_the_connected_one_and_then_all() {
    let ports = [0; 3].map(|_| free_port());
    let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let member = |port: &u16| {
        Nats::configured(&format!(
            "cluster {{ name: mesh, listen: \"127.0.0.1:{port}\", routes: [ {} ] }}\n",
            routes.join(", ")
        ))
    };
    let mut members = [member(&ports[0]), member(&ports[1]), member(&ports[2])];
    let server = attach(&members[0].address(), &[]);
    wait_until("the others are learnt", || {
        connection(&server)["connect_urls"]
            .as_array()
            .is_some_and(|urls| urls.len() == 3)
    });
    // The client sits at another one.
    let mut away = attach_options(&members[1]);
    away = away.ack_timeout(PATIENCE);
    let client = away.connect().await.unwrap();
    let mut subscription = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    publish(&client, "c", 1..=3).await;
    expect(&mut subscription, 1..=3).await;
    members[0].kill();
    wait_until("another one has it", || {
        let connection = connection(&server);
        connection["connected"] == true && connection["reconnects"] == 1
    });
    publish(&client, "c", 4..=6).await;
    expect(&mut subscription, 4..=6).await;
    for member in &mut members[1..] {
        member.kill();
    }
    wait_until_lost(&server);
    for member in &mut members {
        member.start();
    }
    wait_until_back(&server);
    publish(&client, "c", 7..=9).await;
    let mut last = 6;
    while last < 9 {
        let message = next(&mut subscription).await;
        assert!(
            message.sequence() <= last + 1,
            "nothing is left out: {} after {last}",
            message.sequence()
        );
        last = last.max(message.sequence());
    }
}

fn attach_options(nats: &Nats) -> seaway_client::ConnectOptions {
    seaway_client::ConnectOptions::new("test-cluster", "me")
        .url(nats.url())
        .connect_timeout(PATIENCE)
}

/// A server that takes smaller messages than were stored before: said at the start, and nothing breaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_max_payload_is_respected() {
    let directory = tempfile::tempdir().unwrap();
    let store = ["-store", "file", "-dir", directory.path().to_str().unwrap()];
    let large = Nats::plain();
    let server = attach(&large.address(), &store);
    let client = connect(&server, "me").await;
    client.publish("c", vec![7; 100_000]).await.unwrap();
    client.publish("c", "small").await.unwrap();
    client.close().await.unwrap();
    assert_eq!(server.signal_and_wait(Signal::TERM).0.code(), Some(143));
    let small = Nats::configured("max_payload: 20000\n");
    let mut server = attach(&small.address(), &store);
    let said = "takes messages of 20000 bytes at most, less than max_payload here (1048576)";
    assert!(server.log.iter().any(|line| line.contains(said)), "{:#?}", server.log);
    let client = connect(&server, "me").await;
    let error = client.publish("c", vec![7; 100_000]).await;
    assert!(error.is_err(), "the NATS server takes no such message");
    let mut subscription = client.subscribe("c").start(Start::AllAvailable).await.unwrap();
    assert_eq!(next(&mut subscription).await.sequence(), 2, "the first cannot be sent");
    server
        .wait_for_line("is larger than what the NATS server takes (20000) and is not sent")
        .expect("the log says so");
    assert_eq!(connection(&server)["reconnects"], 0);
}

/// Permissions that forbid what the server needs: an error at the start that names the subject.
#[test]
fn a_forbidden_subject_is_named_at_the_start() {
    for (permissions, subject) in [
        (
            "subscribe: { deny: \"_STAN.sub.>\" }",
            "Subscription to \"_STAN.sub.test-cluster\"",
        ),
        (
            "subscribe: { deny: \"_STAN.pub.>\" }",
            "Subscription to \"_STAN.pub.test-cluster.>\"",
        ),
        (
            "subscribe: { deny: \"$SEAWAY.>\" }",
            "Subscription to \"$SEAWAY.api.test-cluster.>\"",
        ),
        ("publish: { deny: \"_INBOX.>\" }", "Publish to \"_INBOX."),
    ] {
        let nats = Nats::configured(&format!(
            "authorization {{ users: [ {{ user: a, password: b, permissions: {{ {permissions} }} }} ] }}\n"
        ));
        let log = refusal(attached(&format!("nats://a:b@{}", nats.address()), &[]));
        let fatal = log
            .iter()
            .find(|line| line.contains("Failed to start"))
            .unwrap_or_else(|| panic!("{log:#?}"));
        let expected = format!("refuses: Permissions Violation for {subject}");
        assert!(fatal.contains(&expected), "{permissions}: {fatal}");
    }
    // What docs/external-nats.md says is enough is enough.
    let nats = Nats::configured(
        "authorization { users: [ { user: a, password: b, permissions: {
            publish: [\"_INBOX.>\", \"_STAN.>\"], subscribe: [\"_STAN.>\", \"_INBOX.>\", \"$SEAWAY.api.test-cluster.>\"] } },
            { user: c, password: d } ], }\nno_auth_user: c\n",
    );
    let url = format!("nats://a:b@{}", nats.address());
    let server = ready(&mut attached(&url, &[]), &nats.address());
    let mut session = server.session("me");
    let subscribed = session.subscribe(all("foo")).unwrap();
    session.publish("foo", b"x").unwrap();
    let message = session.next_message(PATIENCE).unwrap();
    session.ack(&subscribed, message.sequence);
    session.close().unwrap();
}

/// `stores-and-clustering.md` §7: members of a group reach their clients, and each other, over it.
#[test]
fn a_group_takes_over_through_it() {
    let nats = Nats::plain();
    let directory = tempfile::tempdir().unwrap();
    let member = |name| {
        let directory = directory.path().to_str().unwrap();
        attached(
            &nats.url(),
            &["-store", "file", "-dir", directory, "-ft_group", "g", "-n", name],
        )
    };
    let active = ready(&mut member("a"), &nats.address());
    let mut standby = Server::begin(&mut member("b"));
    standby.wait_for_line("Starting in standby mode").expect("it stands by");
    standby.find_monitoring();
    wait_until("it knows who serves", || {
        state(&standby) == "FT_STANDBY" && state(&active) == "FT_ACTIVE"
    });
    let mut session = active.session("me");
    let subscribed = session.subscribe(durable(all("foo"))).unwrap();
    session.publish("foo", b"one").unwrap();
    let message = session.next_message(PATIENCE).unwrap();
    session.ack(&subscribed, message.sequence);
    session.ping().unwrap();
    active.kill();
    wait_until_active(&standby);
    // The client keeps its connection, and is known.
    session.ping().unwrap();
    session.publish("foo", b"two").unwrap();
    while session.next_message(PATIENCE).unwrap().data != b"two" {}
}
