//! A store that is full, unreadable or broken under a running server, as clients see it (`streaming-protocol.md` §13.1 to
//! §13.5, the lines about store failures).

use std::time::{Duration, Instant};

use crate::support::faults::Failing;
use crate::support::requests::{
    FIRST, LAST, NEW_ONLY, SEQUENCE, TIME, all, durable, from, hasty, is_quiet, next, publish, refusal, subscriptions,
    take,
};
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::Session;
use seaway_stan_protocol::messages::SubscriptionRequest;

fn open(server: &Server, client_id: &str) -> std::io::Result<Session> {
    Session::open(&server.address, "test-cluster", client_id)
}

/// Everything that would have to be written down is refused with this text, and nothing is left of it.
fn check_refusals(server: &Server, session: &mut Session, text: &str) {
    // ClientStoreError.
    let error = refusal(open(server, "late"));
    assert!(error.contains(text), "{error} instead of {text}");
    assert_eq!(server.get("/streaming/clientsz?client=late").0, 404);
    // StartPositionFailures.
    for position in [NEW_ONLY, LAST, TIME, SEQUENCE, FIRST] {
        let request = SubscriptionRequest {
            start_sequence: 1,
            start_time_delta: 3_600_000_000_000,
            ..from("foo", position)
        };
        let error = refusal(session.subscribe(request));
        assert!(error.contains(text), "{position}: {error}");
    }
    // UpdateSubFailure, NumSubsOnSubFailure.
    let error = refusal(session.subscribe(durable(all("foo"))));
    assert!(error.contains(text), "{error}");
    let shown = subscriptions(server, "foo");
    assert_eq!(
        (shown.len(), shown[0].offline, shown[0].pending),
        (1, true, 1),
        "{shown:?}"
    );
}

/// A durable that is offline and holds message 1 of `foo`.
fn offline_durable(session: &mut Session) {
    let subscribed = session.subscribe(durable(all("foo"))).unwrap();
    publish(session, "foo", 1);
    assert_eq!(next(session), (1, 0));
    session.close_subscription(&subscribed).unwrap();
}

#[test]
fn a_full_disk_refuses_what_grows_and_lets_go_what_ends() {
    // §13.1 ClientStoreError; §13.2 StartPositionFailures; §13.5 UpdateSubFailure, NumSubsOnSubFailure.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    let mut leaving = server.session("leaving");
    offline_durable(&mut session);
    let plain = leaving.subscribe(all("bar")).unwrap();
    publish(&mut leaving, "bar", 1);
    assert_eq!(next(&mut leaving), (1, 0));
    // No segment can be created any more; what is prepared is soon used up.
    let Some(full) = Failing::begin(&server, "openat:error=ENOSPC") else {
        return;
    };
    let mut stored = 0;
    let mut error = String::new();
    for size in [32 * 1024, 1024, 1] {
        error = loop {
            match session.publish("bulk", &vec![b'x'; size]) {
                Ok(()) => stored += 1,
                Err(error) => break error.to_string(),
            }
            assert!(stored < 10_000, "the disk is never full");
        };
    }
    assert!(error.contains("space"), "{error}");
    // A connect is the smallest of what needs room: behind it nothing has.
    let mut registered = Vec::new();
    while let Ok(client) = open(&server, &format!("small{}", registered.len())) {
        registered.push(client);
        assert!(registered.len() < 1_000, "the disk is never full");
    }
    check_refusals(&server, &mut session, &error);
    assert_eq!(refusal(session.publish("new", b"x")), error);
    assert_eq!(server.get("/streaming/channelsz?channel=new").0, 404);
    // What is over needs no space: acks, ends, deliveries.
    leaving.ack(&plain, 1);
    leaving.unsubscribe(&plain).unwrap();
    leaving.close().expect("ClientStoreError: a close succeeds");
    session.ping().unwrap();
    drop(full);
    let deadline = Instant::now() + PATIENCE;
    while session.publish("bulk", b"x").is_err() {
        assert!(Instant::now() < deadline, "there is space again");
    }
    session.subscribe(durable(all("foo"))).unwrap();
    assert_eq!(next(&mut session), (1, 1));
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    let (_, body) = server.get("/streaming/channelsz?channel=bulk");
    assert!(body.contains(&format!("\"msgs\": {},", stored + 1)), "{stored}: {body}");
    assert_eq!(
        server.get("/streaming/clientsz?client=leaving").0,
        404,
        "closed is closed"
    );
}

#[test]
fn unreadable_messages_are_tried_again() {
    // §5.5, §13.3 MsgLookupFailures: nothing until the error clears, then everything, and redeliveries with growing counts.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 20);
    server.kill();
    // Nothing is in memory now.
    let mut server = Server::with_files(directory.path(), &[]);
    session.reconnect(&server.address).unwrap();
    let Some(unreadable) = Failing::begin(&server, "pread64:error=EIO") else {
        return;
    };
    let subscribed = session.subscribe(hasty(all("foo"))).unwrap();
    assert!(server.wait_for_line("of channel \"foo\" cannot be read").is_some());
    assert!(is_quiet(&mut session));
    drop(unreadable);
    // They were passed over, so what comes first is an attempt like any later one.
    let sequences: Vec<u64> = take(&mut session, 20)
        .into_iter()
        .map(|(sequence, _)| sequence)
        .collect();
    assert_eq!(sequences, Vec::from_iter(1..=20));
    for sequence in 2..=20 {
        session.ack(&subscribed, sequence);
    }
    let (sequence, first) = next(&mut session);
    assert!(sequence == 1 && first >= 1, "{sequence}, {first}");
    let Some(unreadable) = Failing::begin(&server, "pread64:error=EIO") else {
        return;
    };
    assert!(
        session.next_message(Duration::from_millis(1500)).is_err(),
        "one AckWait and a half"
    );
    session.ping().expect("everything else goes on");
    drop(unreadable);
    let (sequence, count) = next(&mut session);
    assert!(sequence == 1 && count > first, "{count}");
    assert_eq!(next(&mut session), (1, count + 1));
}

#[test]
fn a_broken_store_says_so_to_everybody_and_delivers_what_it_has() {
    // §13.1 ClientStoreError; §13.2 StartPositionFailures; §13.3 SendMsgToSubStoreFailure; §13.5 UpdateSubFailure,
    // NumSubsOnSubFailure. Deliberately different: nothing is confirmed that a restart would take back.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    let mut reader = server.session("reader");
    offline_durable(&mut session);
    publish(&mut session, "bar", 4);
    let subscribed = reader
        .subscribe(SubscriptionRequest {
            max_in_flight: 1,
            ..hasty(all("bar"))
        })
        .unwrap();
    assert_eq!(next(&mut reader), (1, 0));
    let Some(broken) = Failing::begin(&server, "fdatasync:error=EIO") else {
        return;
    };
    let error = refusal(session.publish("bar", b"x"));
    assert!(error.contains("the store failed"), "{error}");
    check_refusals(&server, &mut session, "the store failed");
    for sequence in 1..=3 {
        // SendMsgToSubStoreFailure: that it was sent cannot be recorded; it is sent all the same.
        reader.ack(&subscribed, sequence);
        let (arrived, _) = next(&mut reader);
        assert_eq!(arrived, sequence + 1);
    }
    assert_eq!(next(&mut reader), (4, 1), "redelivery goes on");
    session.ping().unwrap();
    let error = refusal(reader.close());
    assert!(
        error.contains("the store failed"),
        "a close that would not last is refused: {error}"
    );
    drop(broken);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    // The one that was refused may have been written before its sync failed; those that were acknowledged are there.
    let (_, body) = server.get("/streaming/channelsz?channel=bar");
    assert!(body.contains("\"msgs\": 4,") || body.contains("\"msgs\": 5,"), "{body}");
    assert!(subscriptions(&server, "foo")[0].offline);
}
