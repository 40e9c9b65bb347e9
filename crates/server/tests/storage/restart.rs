//! What survives the end of a process (`streaming-protocol.md` §5.9), and what a second one may not touch.

use std::time::{Duration, Instant};

use crate::support::{Binary, PATIENCE, Server, files, run};
use seaway_bench::stan::subscription;

const QUIET: Duration = Duration::from_millis(300);

#[test]
fn acknowledged_messages_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("publisher");
    for number in 0..100 {
        session.publish("orders", format!("{number}").as_bytes()).unwrap();
    }
    server.kill();

    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("reader");
    let mut request = subscription("orders");
    request.start_position = 4;
    session.subscribe(request).unwrap();
    for number in 0..100_u64 {
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(message.sequence, number + 1);
        assert_eq!(message.data, number.to_string().as_bytes());
        assert!(
            !message.redelivered,
            "§13.4 PersistentStoreRedeliveredPerSub: a new subscription's first delivery"
        );
    }
}

#[test]
fn a_client_goes_on_after_a_restart_without_any_exchange() {
    // §5.9: clients with connection ids, and the same ack inboxes.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("client");
    session.publish("orders", b"one").unwrap();
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    let connection_id = session.connection_id.clone();
    server.kill();

    let server = Server::with_files(directory.path(), &["-p", &port]);
    // Another NATS connection stands for the client's reconnect; the connection id is all that identifies it.
    let mut other = server.session("other");
    other.connection_id = connection_id;
    other.client_id = "client".to_owned();
    other
        .publish("orders", b"two")
        .expect("§13.1 PersistentStoreClientPings: the old connection id is known");
}

#[test]
fn an_ack_that_came_with_a_publish_is_as_safe_as_the_publish() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("worker");
    let mut request = subscription("orders");
    request.durable_name = "dur".into();
    let subscribed = session.subscribe(request.clone()).unwrap();
    for _ in 0..10 {
        session.publish("orders", b"x").unwrap();
        session.next_message(PATIENCE).unwrap();
    }
    // One write, hence one read of the server.
    session.publish_async("orders", b"last");
    for sequence in 1..=10 {
        session.ack(&subscribed, sequence);
    }
    session.next_pub_ack(PATIENCE).unwrap();
    server.kill();

    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("worker");
    session.subscribe(request).unwrap();
    assert_eq!(session.next_message(PATIENCE).unwrap().sequence, 11);
}

#[test]
fn a_durable_resumes_where_its_acks_ended() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("worker");
    let mut request = subscription("orders");
    request.start_position = 4;
    request.durable_name = "dur".into();
    let subscribed = session.subscribe(request.clone()).unwrap();
    for number in 0..10 {
        session.publish("orders", format!("{number}").as_bytes()).unwrap();
    }
    for _ in 0..10 {
        let message = session.next_message(PATIENCE).unwrap();
        if message.sequence <= 7 {
            session.ack(&subscribed, message.sequence);
        }
    }
    session.close_subscription(&subscribed).unwrap();
    server.kill();

    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("other");
    session.client_id = "worker".to_owned();
    session.subscribe(request).unwrap();
    for expected in 8..=10 {
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(
            message.sequence, expected,
            "§5.7: pending ones come back in ascending order"
        );
        assert!(message.redelivered);
        assert_eq!(message.redelivery_count, 1, "§5.7: counters restart at 1");
    }
    session.publish("orders", b"ten").unwrap();
    let message = session.next_message(PATIENCE).unwrap();
    assert_eq!((message.sequence, message.redelivered), (11, false));
}

#[test]
fn the_memory_store_forgets() {
    // §5.9, last paragraph.
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    session.publish("orders", b"one").unwrap();
    let connection_id = session.connection_id.clone();
    server.kill();
    let server = Server::in_memory(&[]);
    let mut other = server.session("other");
    other.connection_id = connection_id;
    let error = other.publish("orders", b"two").unwrap_err();
    assert_eq!(error.to_string(), "stan: invalid publish request");
}

#[test]
fn a_second_server_on_the_directory_is_refused_and_the_holder_named() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let path = directory.path().to_str().unwrap();
    let second = ["-p", "-1", "-store", "file", "-dir", path];
    let log = Server::start(Binary::NatsStreamingServer, &second)
        .err()
        .expect("a second server is refused");
    let fatal = log
        .iter()
        .find(|line| line.contains("[FTL]"))
        .unwrap_or_else(|| panic!("no reason: {log:#?}"));
    assert!(fatal.contains("STREAM: Failed to start:"), "§7.4: {fatal}");
    assert!(
        fatal.contains(&server.pid().to_string()),
        "the holder is named: {fatal}"
    );
}

#[test]
fn the_originals_directory_is_recognised_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["server.dat", "clients.dat"] {
        std::fs::write(directory.path().join(name), b"\x01\x00\x00\x00anything").unwrap();
    }
    std::fs::create_dir(directory.path().join("orders")).unwrap();
    std::fs::write(directory.path().join("orders/subs.dat"), b"\x01\x00\x00\x00").unwrap();
    let before = files(directory.path());
    let path = directory.path().to_str().unwrap();
    let (status, _, stderr) = run(
        Binary::NatsStreamingServer,
        &["-p", "-1", "-store", "file", "-dir", path],
        directory.path(),
    );
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("NATS Streaming"),
        "the message says whose files these are: {stderr}"
    );
    assert_eq!(files(directory.path()), before);
}

#[test]
fn another_cluster_id_is_refused_and_nothing_changes() {
    // §9.4.
    let directory = tempfile::tempdir().unwrap();
    Server::with_files(directory.path(), &[]).kill();
    let path = directory.path().to_str().unwrap();
    let arguments = ["-p", "-1", "-store", "file", "-dir", path, "-cid", "other"];
    let (status, _, stderr) = run(Binary::NatsStreamingServer, &arguments, directory.path());
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains(r#"cluster ID "other" does not match recovered value of "test-cluster""#),
        "{stderr}"
    );
}

#[test]
fn an_empty_start_is_quick_enough_to_be_unnoticed() {
    // A generous bound: the figure itself is measured, not asserted, elsewhere.
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let server = Server::with_files(directory.path(), &[]);
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(server);
}

#[test]
fn offline_durables_get_nothing_after_a_restart() {
    // §13.5 PersistentStoreDontSendToOfflineDurablesAfterServerRestart.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("worker");
    let mut request = subscription("orders");
    request.durable_name = "dur".into();
    let subscribed = session.subscribe(request).unwrap();
    session.publish("orders", b"one").unwrap();
    session.next_message(PATIENCE).unwrap();
    session.close_subscription(&subscribed).unwrap();
    server.kill();

    let server = Server::with_files(directory.path(), &[]);
    let mut listener = server.session("listener");
    listener.connection.subscribe(&subscribed.inbox);
    listener.publish("orders", b"two").unwrap();
    assert!(
        listener.next_message(QUIET).is_err(),
        "nothing is sent to the old inbox"
    );
}

/// §5.9: what is due when the server starts waits for the client that is just coming back, and counts once.
#[test]
fn what_is_due_at_the_start_waits_for_its_client() {
    const MESSAGES: u64 = 20;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("client");
    let mut request = subscription("orders");
    request.start_position = 4;
    request.ack_wait_in_secs = 1;
    session.subscribe(request).unwrap();
    for _ in 0..MESSAGES {
        session.publish("orders", b"x").unwrap();
    }
    for sequence in 1..=MESSAGES {
        assert_eq!(session.next_message(PATIENCE).unwrap().sequence, sequence);
    }
    server.kill();
    // By now every AckWait is over.
    let killed = Instant::now();
    while killed.elapsed() < Duration::from_millis(1_200) {
        std::thread::park_timeout(Duration::from_millis(100));
    }

    let server = Server::with_files(directory.path(), &[]);
    // Another client may be there first; it is nobody's turn for that.
    server.session("other").ping().unwrap();
    session.reconnect(&server.address).unwrap();
    for sequence in 1..=MESSAGES {
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(message.sequence, sequence);
        // The record of the last deliveries may be lost with the process; none was sent to nobody in between.
        let expected = if sequence <= MESSAGES / 2 { 1..=1 } else { 0..=1 };
        assert!(expected.contains(&message.redelivery_count), "{message:?}");
    }
}

/// §5.9, §5.6: of a queue group only what is due to the member that is not back waits for it; when it stays away the others get
/// that too.
#[test]
fn a_group_waits_for_none_of_its_members() {
    const MESSAGES: u64 = 10;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut members = ["one", "two"].map(|name| {
        let mut session = server.session(name);
        let mut request = subscription("orders");
        request.q_group = "workers".into();
        request.ack_wait_in_secs = 1;
        let subscribed = session.subscribe(request).unwrap();
        (session, subscribed)
    });
    for _ in 0..MESSAGES {
        members[0].0.publish("orders", b"x").unwrap();
    }
    let [held, of_the_other] = members.each_mut().map(|(session, _)| {
        let messages = (0..MESSAGES / 2).map(|_| session.next_message(PATIENCE).unwrap().sequence);
        messages.collect::<Vec<u64>>()
    });
    server.kill();
    let killed = Instant::now();
    while killed.elapsed() < Duration::from_millis(1_200) {
        std::thread::park_timeout(Duration::from_millis(100));
    }

    let server = Server::with_files(directory.path(), &[]);
    let [(mut session, subscribed), _away] = members;
    session.reconnect(&server.address).unwrap();
    let mut receive = || {
        let sequence = session.next_message(PATIENCE).unwrap().sequence;
        session.ack(&subscribed, sequence);
        session.connection.flush().unwrap();
        sequence
    };
    let mut came: Vec<u64> = (0..MESSAGES).map(|_| receive()).collect();
    // What it held itself, at once; then what the other held, for which nobody came. The record of the last deliveries may be lost
    // with the process: those are new again.
    let certain = MESSAGES as usize / 4;
    assert!(came.starts_with(&held[..certain]), "{came:?} begins with {held:?}");
    came.sort_unstable();
    let mut all = [held, of_the_other].concat();
    all.sort_unstable();
    assert_eq!(came, all);
}
