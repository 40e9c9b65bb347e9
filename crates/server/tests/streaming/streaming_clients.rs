//! Clients through a socket: duplicates, replacement, heartbeats, pings, order (`streaming-protocol.md` §2, §13.1).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, subscription};
use seaway_bench::wire::{Connection, Frame};
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::Ping;

const QUIET: Duration = Duration::from_millis(200);
const REGISTERED: &str = "stan: clientID already registered";
const REPLACED: &str = "client has been replaced or is no longer registered";
const INVALID_PUBLISH: &str = "stan: invalid publish request";
const UNKNOWN_CLIENT: &str = "stan: unknown clientID";

/// Fast heartbeats: a dead client is gone after about a second.
const FAST_HEARTBEATS: [&str; 6] = ["-hbi", "100ms", "-hbt", "50ms", "-hbf", "2"];

fn open(address: &str, client_id: &str) -> std::io::Result<Session> {
    Session::open(address, "test-cluster", client_id)
}

fn refusal<T>(outcome: std::io::Result<T>) -> String {
    match outcome {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Ends a thread of the test, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves a session (heartbeats above all) on a thread of its own while `work` runs.
fn while_serving<T>(session: &mut Session, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = session.next_message(Duration::from_millis(20));
            }
        });
        let _ending = Ending(&done);
        work()
    })
}

/// Waits until a monitoring page contains a text.
fn wait_for(server: &Server, path: &str, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, body) = server.get(path);
        if body.contains(text) {
            return;
        }
        assert!(Instant::now() < deadline, "{text} never came: {body}");
    }
}

#[test]
fn a_live_duplicate_is_refused_and_changes_nothing() {
    // §13.1 DuplicateClientIDs.
    let server = Server::in_memory(&[]);
    let mut first = server.session("me");
    let address = &server.address;
    let refused = while_serving(&mut first, || refusal(open(address, "me")));
    assert_eq!(refused, REGISTERED);
    first.publish("foo", b"x").unwrap();
    first.ping().unwrap();
    assert!(server.get("/streaming/serverz").1.contains("\"clients\": 1,"));
}

#[test]
fn a_client_that_nobody_hears_is_replaced_at_once() {
    // §2.7, §13.1 PubFailsOnClientReplaced, PingsResponseError; §14 quirk 5.
    let server = Server::in_memory(&[]);
    let mut old = server.session("me");
    let plain = old.subscribe(subscription("foo")).unwrap();
    let mut request = subscription("foo");
    request.durable_name = "dur".into();
    old.subscribe(request).unwrap();
    old.go_deaf().unwrap();
    let begin = Instant::now();
    let mut new = server.session("me");
    assert!(
        begin.elapsed() < Duration::from_millis(450),
        "no responders: not the 500 ms of a silent client, but {:?}",
        begin.elapsed()
    );
    assert_eq!(refusal(old.ping()), REPLACED);
    assert_eq!(refusal(old.publish("foo", b"x")), INVALID_PUBLISH);
    new.ping().unwrap();
    new.publish("foo", b"x").unwrap();
    assert!(
        old.next_message(QUIET).is_err(),
        "subscriptions of the old one are closed"
    );
    assert_eq!(
        refusal(old.close_subscription(&plain)),
        "stan: invalid subscription",
        "plain ones are gone"
    );
    let (_, body) = server.get("/streaming/channelsz?channel=foo&subs=1");
    assert!(
        body.contains("\"subs_count\": 1,") && body.contains("\"is_offline\": true,"),
        "{body}"
    );
}

#[test]
fn a_silent_client_is_replaced_after_the_check_and_holds_up_nobody() {
    // §2.7, §13.1 ClientsWithDupCID.
    let server = Server::in_memory(&[]);
    // Its inbox is known to the broker, but nobody answers.
    let _silent = server.session("me");
    let address = &server.address;
    let begin = Instant::now();
    thread::scope(|scope| {
        let contenders: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| (open(address, "me"), begin.elapsed())))
            .collect();
        let other = scope.spawn(|| {
            open(address, "other").unwrap();
            begin.elapsed()
        });
        let outcomes: Vec<_> = contenders.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(
            other.join().unwrap() < Duration::from_millis(400),
            "another ID waits for nothing"
        );
        let (winners, losers): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(outcome, _)| outcome.is_ok());
        assert_eq!(winners.len(), 1);
        assert!(winners[0].1 >= Duration::from_millis(500), "{:?}", winners[0].1);
        assert!(winners[0].1 < Duration::from_secs(3), "{:?}", winners[0].1);
        for (outcome, at) in losers {
            assert_eq!(refusal(outcome), REGISTERED);
            assert!(at < Duration::from_millis(400), "refused at once, not after {at:?}");
        }
        for (outcome, _) in winners {
            outcome.unwrap().publish("foo", b"x").unwrap();
        }
    });
    assert!(server.get("/streaming/serverz").1.contains("\"clients\": 2,"));
}

#[test]
fn crashed_clients_come_back_together() {
    // §13.1 ClientCrashAndReconnect.
    let server = Server::in_memory(&[]);
    let names: Vec<String> = (0..10).map(|number| format!("client-{number}")).collect();
    drop(names.iter().map(|name| server.session(name)).collect::<Vec<_>>());
    let address = &server.address;
    let begin = Instant::now();
    thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || open(address, name).unwrap().publish("foo", b"x").unwrap());
        }
    });
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn heartbeats_tell_the_living_from_the_dead() {
    // §2.10, §13.1 CheckClientHealth.
    let server = Server::in_memory(&FAST_HEARTBEATS);
    let mut alive = server.session("alive");
    let mut silent = server.session("silent");
    silent.subscribe(subscription("foo")).unwrap();
    let mut deaf = server.session("deaf");
    let mut request = subscription("foo");
    request.durable_name = "dur".into();
    deaf.subscribe(request).unwrap();
    deaf.go_deaf().unwrap();
    while_serving(&mut alive, || {
        wait_for(&server, "/streaming/serverz", "\"clients\": 1,")
    });
    assert!(alive.probes > 0);
    alive.publish("foo", b"x").unwrap();
    for (session, name) in [(&mut silent, "silent"), (&mut deaf, "deaf")] {
        assert_eq!(refusal(session.publish("foo", b"x")), INVALID_PUBLISH, "{name}");
        assert_eq!(refusal(session.ping()), REPLACED, "{name}");
        assert_eq!(refusal(session.close()), UNKNOWN_CLIENT, "{name}");
        assert_eq!(
            refusal(session.subscribe(subscription("foo"))),
            UNKNOWN_CLIENT,
            "{name}"
        );
    }
    let (_, body) = server.get("/streaming/channelsz?channel=foo&subs=1");
    assert!(
        body.contains("\"subs_count\": 1,") && body.contains("\"is_offline\": true,"),
        "{body}"
    );
}

#[test]
fn a_client_stays_usable_while_its_heartbeat_waits() {
    // §13.1 CheckClientHealthDontKeepClientLock.
    let server = Server::in_memory(&["-hbi", "50ms", "-hbt", "30s", "-hbf", "1"]);
    let mut session = server.session("me");
    session.answers = false;
    let deadline = Instant::now() + PATIENCE;
    while session.probes == 0 {
        assert!(Instant::now() < deadline);
        let _ = session.next_message(Duration::from_millis(20));
    }
    session.publish("foo", b"x").unwrap();
    session.ping().unwrap();
}

#[test]
fn a_ping_brings_the_next_heartbeat_forward() {
    // §2.11, §13.1 ClientPings.
    let server = Server::in_memory(&["-hbi", "2s", "-hbt", "50ms", "-hbf", "100"]);
    let mut session = server.session("me");
    session.answers = false;
    let deadline = Instant::now() + PATIENCE;
    while session.probes == 0 {
        assert!(Instant::now() < deadline);
        let _ = session.next_message(Duration::from_millis(20));
    }
    let begin = Instant::now();
    while session.probes == 1 {
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "the next one waits for its interval"
        );
        session.ping().unwrap();
    }
}

#[test]
fn a_heartbeat_lost_with_a_connection_is_repeated_at_a_ping() {
    // §2.11: the failed mark clears quickly once the client is back, not at the end of the heartbeat's timeout.
    let server = Server::in_memory(&["-hbi", "100ms", "-hbt", "2s", "-hbf", "100"]);
    let mut session = server.session("me");
    session.answers = false;
    let deadline = Instant::now() + PATIENCE;
    while session.probes < 2 {
        assert!(Instant::now() < deadline);
        let _ = session.next_message(Duration::from_millis(20));
    }
    let begin = Instant::now();
    session.answers = true;
    session.ping().unwrap();
    while session.probes < 3 {
        let _ = session.next_message(Duration::from_millis(20));
        assert!(begin.elapsed() < Duration::from_secs(1), "the lost one is waited for");
    }
}

#[test]
fn pings_name_a_connection() {
    // §2.11, §13.1 ClientPings.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    session.ping().unwrap();
    let right = std::mem::replace(&mut session.connection_id, "wrong".to_owned());
    assert_eq!(refusal(session.ping()), REPLACED);
    // Neither an empty ping nor garbage is answered: the answer to what follows comes first.
    let subject = String::from_utf8_lossy(&session.response.ping_requests).into_owned();
    let mut connection = Connection::open(&server.address).unwrap();
    connection.subscribe("answers.*");
    connection.publish(&subject, "answers.empty", b"");
    connection.publish(&subject, "answers.garbage", b"\xff\xff\xff");
    let ping = Ping { conn_id: right.into() };
    connection.publish(&subject, "answers.right", &ping.encode_to_vec());
    let first = loop {
        if let Frame::Message { subject, payload, .. } = connection.next_frame(PATIENCE).unwrap() {
            break (subject, payload);
        }
    };
    assert_eq!(first, (b"answers.right".to_vec(), Vec::new()));
}

#[test]
fn pings_and_connection_ids_outlive_a_restart() {
    // §13.1 PersistentStoreClientPings, PersistentStoreRecoverClientInfo.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    let address = &server.address;
    session.reconnect(address).unwrap();
    session.ping().unwrap();
    session.publish("foo", b"x").unwrap();
    assert_eq!(
        while_serving(&mut session, || refusal(open(address, "me"))),
        REGISTERED,
        "the old heartbeat inbox is asked"
    );
}

#[test]
fn recovered_clients_that_do_not_come_back_are_dropped() {
    // §13.1 PersistentStoreCheckClientHealthAfterRestart.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let sessions: Vec<Session> = (0..3)
        .map(|number| server.session(&format!("client-{number}")))
        .collect();
    server.kill();
    drop(sessions);
    let server = Server::with_files(directory.path(), &FAST_HEARTBEATS);
    wait_for(&server, "/streaming/serverz", "\"clients\": 0,");
}

#[test]
fn what_was_published_before_a_close_is_stored() {
    // §2.6 rule 3, §13.1 ProtocolOrder.
    for directory in [None, Some(tempfile::tempdir().unwrap())] {
        let server = match &directory {
            None => Server::in_memory(&[]),
            Some(directory) => Server::with_files(directory.path(), &[]),
        };
        let mut session = server.session("me");
        for number in 0..1000 {
            session.publish_async("foo", format!("{number}").as_bytes());
        }
        session.close().unwrap();
        assert_eq!(refusal(session.close()), UNKNOWN_CLIENT, "§13.1 DoubleClose");
        let (_, body) = server.get("/streaming/channelsz?channel=foo");
        assert!(body.contains("\"msgs\": 1000,"), "{body}");
        for _ in 0..1000 {
            let ack = session.next_pub_ack(PATIENCE).unwrap();
            assert_eq!(ack.error, "", "stored, and acknowledged");
        }
    }
}

#[test]
fn acks_before_an_end_are_applied_first() {
    // §2.6 rule 3, §13.1 AckProcessedBeforeClose, RaceAckOnClose.
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::with_files(directory.path(), &[]);
    for (round, connection_too) in [false, true, false, true].into_iter().enumerate() {
        let mut session = server.session("me");
        let channel = format!("foo.{round}");
        let mut request = subscription(&channel);
        request.durable_name = "dur".into();
        let subscribed = session.subscribe(request.clone()).unwrap();
        for _ in 0..50 {
            session.publish_async(&channel, b"x");
        }
        for sequence in 1..=50 {
            assert_eq!(session.next_message(PATIENCE).unwrap().sequence, sequence);
            session.ack(&subscribed, sequence);
        }
        if connection_too {
            session.close().unwrap();
        } else {
            session.close_subscription(&subscribed).unwrap();
            session.close().unwrap();
        }
        if round >= 2 {
            server.kill();
            server = Server::with_files(directory.path(), &[]);
        }
        let mut session = server.session("me");
        session.subscribe(request).unwrap();
        session.publish(&channel, b"y").unwrap();
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!((message.sequence, message.redelivered), (51, false), "round {round}");
        session.close().unwrap();
    }
}

#[test]
fn a_response_precedes_the_first_message() {
    // §2.6 rule 1, §13.1 MsgsNotSentToSubBeforeSubReqResponse: plain, queue, durable, durable queue, and resumed ones.
    let server = Server::in_memory(&["-mm", "1000"]);
    let address = &server.address;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = open(address, "publisher").unwrap();
            while !done.load(Ordering::Relaxed) {
                publisher.publish("foo", b"x").unwrap();
            }
        });
        let _ending = Ending(&done);
        let mut session = server.session("subscriber");
        for round in 0..50 {
            for (queue, durable) in [("", ""), ("q", ""), ("", "dur"), ("q", "dur")] {
                let mut request = subscription("foo");
                request.q_group = queue.into();
                request.durable_name = durable.into();
                request.start_position = 4;
                let subscribed = session.subscribe(request).unwrap();
                // What came before the response would lie here already.
                assert_eq!(session.waiting_messages(), 0, "round {round} {queue:?} {durable:?}");
                assert_eq!(session.next_message(PATIENCE).unwrap().inbox, subscribed.inbox);
                session.close_subscription(&subscribed).unwrap();
                while session.waiting_messages() > 0 {
                    session.next_message(PATIENCE).unwrap();
                }
            }
        }
    });
}

#[test]
fn a_subscription_is_ended_by_its_owner_once() {
    // §2.12, §13.1 InvalidUnsubRequest, SubCloseByInbox, SubTimeout.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let mut other = server.session("other");
    let subscribed = session.subscribe(subscription("foo")).unwrap();
    assert_eq!(refusal(other.unsubscribe(&subscribed)), UNKNOWN_CLIENT);
    let mut wrong = subscribed.clone();
    wrong.channel = "bar".to_owned();
    assert_eq!(refusal(session.unsubscribe(&wrong)), "stan: unknown channel");
    session.publish("bar", b"x").unwrap();
    assert_eq!(refusal(session.unsubscribe(&wrong)), "stan: invalid subscription");
    let mut wrong = subscribed.clone();
    wrong.ack_inbox = "_INBOX.nobody".to_owned();
    assert_eq!(refusal(session.unsubscribe(&wrong)), "stan: invalid subscription");
    session.publish("foo", b"x").unwrap();
    assert_eq!(session.next_message(PATIENCE).unwrap().sequence, 1, "it is still there");
    session.unsubscribe(&subscribed).unwrap();
    assert_eq!(refusal(session.unsubscribe(&subscribed)), "stan: invalid subscription");
    assert_eq!(
        refusal(session.close_subscription(&subscribed)),
        "stan: invalid subscription"
    );

    // By delivery inbox, as after a subscribe that timed out.
    for (queue, durable) in [("", ""), ("q", ""), ("", "dur")] {
        let mut request = subscription("foo");
        request.q_group = queue.into();
        request.durable_name = durable.into();
        let mut subscribed = session.subscribe(request).unwrap();
        subscribed.ack_inbox = subscribed.inbox.clone();
        session.close_subscription(&subscribed).unwrap();
        session.publish("foo", b"x").unwrap();
        assert!(session.next_message(QUIET).is_err(), "{queue:?} {durable:?}");
        assert_eq!(
            refusal(session.close_subscription(&subscribed)),
            "stan: invalid subscription"
        );
    }
}

#[test]
fn a_client_with_thousands_of_subscriptions_leaves_in_slices() {
    // §2.13 beside §2.6 rule 6: others are served meanwhile, and its name is free again afterwards.
    const SUBSCRIPTIONS: usize = 6000;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &["-msu", "0"]);
    let mut session = server.session("me");
    let subject = String::from_utf8_lossy(&session.response.sub_requests).into_owned();
    let replies = session.ack_subject.clone();
    for number in 0..SUBSCRIPTIONS {
        let mut request = subscription("foo");
        request.client_id = "me".into();
        request.inbox = format!("_INBOX.many.{number}").into();
        request.durable_name = if number % 2 == 0 {
            format!("dur-{number}")
        } else {
            String::new()
        }
        .into();
        session.connection.publish(&subject, &replies, &request.encode_to_vec());
    }
    session.publish("foo", b"x").unwrap();
    wait_for(
        &server,
        "/streaming/channelsz?channel=foo&subs=1",
        &format!("\"subs_count\": {SUBSCRIPTIONS},"),
    );
    let address = &server.address;
    thread::scope(|scope| {
        // The close is under way when the new one asks for the name: it waits for the end of it.
        let close = scope.spawn(|| session.close());
        let mut next = loop {
            match open(address, "me") {
                Ok(next) => break next,
                Err(error) => assert_eq!(error.to_string(), REGISTERED),
            }
        };
        close.join().unwrap().unwrap();
        next.publish("foo", b"x").unwrap();
        next.ping().unwrap();
    });
    let path = "/streaming/channelsz?channel=foo";
    wait_for(&server, "/streaming/serverz", "\"clients\": 1,");
    wait_for(
        &server,
        &format!("{path}&subs=1"),
        &format!("\"subs_count\": {},", SUBSCRIPTIONS / 2),
    );
    server.kill();
    let server = Server::with_files(directory.path(), &["-msu", "0"]);
    let (_, body) = server.get(&format!("{path}&subs=1"));
    assert_eq!(body.matches("\"is_offline\": true,").count(), SUBSCRIPTIONS / 2);
}
