//! What a restarted server still knows, whether it was stopped or killed (`streaming-protocol.md` §5.9 and the lines of
//! §13 about restarts).

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::requests::{
    INVALID_PUBLISH, REPLACED, SEQUENCE, TIME, UNKNOWN_CLIENT, all, durable, from, hasty, in_flight, is_quiet,
    make_durable, next, publish, queue, refusal, subscriptions, take, wait_for,
};
use crate::support::{PATIENCE, Server};
use rustix::process::Signal;
use seaway_bench::stan::{Session, subscription};
use seaway_stan_protocol::messages::SubscriptionRequest;

const ENDINGS: [Signal; 2] = [Signal::TERM, Signal::KILL];

/// Ends the server one way or the other and starts it again on the same directory.
fn restarted(server: Server, ending: Signal, directory: &Path, more: &[&str]) -> Server {
    server.signal_and_wait(ending);
    Server::with_files(directory, more)
}

/// Runs a test for both endings at once.
fn for_both_endings(test: fn(Signal, &Path)) {
    std::thread::scope(|scope| {
        for ending in ENDINGS {
            scope.spawn(move || {
                let directory = tempfile::tempdir().unwrap();
                test(ending, directory.path());
            });
        }
    });
}

fn wait_until(at: Instant) {
    while let Some(left) = at.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

#[test]
fn deadlines_are_counted_from_the_message() {
    // §5.9 (2), §5.7; §14 quirk 8; §13.4 PersistentStoreRedeliveryCount, PersistentStoreRedeliveryCbPerSub.
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut session = server.session("me");
        let patient = SubscriptionRequest {
            ack_wait_in_secs: 3,
            ..all("foo")
        };
        let patient = session.subscribe(patient).unwrap();
        let hasty = session.subscribe(hasty(durable(all("foo")))).unwrap();
        let published = Instant::now();
        publish(&mut session, "foo", 1);
        assert_eq!(take(&mut session, 2), [(1, 0), (1, 0)]);
        let again = session.next_message(PATIENCE).unwrap();
        assert_eq!((&again.inbox, again.redelivery_count), (&hasty.inbox, 1));
        wait_until(published + Duration::from_millis(1500));
        let server = restarted(server, ending, directory, &[]);
        let started = Instant::now();
        session.reconnect(&server.address).unwrap();
        let mut counts = Vec::new();
        loop {
            let message = session.next_message(PATIENCE).unwrap();
            assert_eq!((message.sequence, message.redelivered), (1, true));
            if message.inbox == patient.inbox {
                assert_eq!(message.redelivery_count, 1);
                break;
            }
            assert_eq!(message.inbox, hasty.inbox);
            counts.push(message.redelivery_count);
        }
        let (since_message, since_start) = (published.elapsed(), started.elapsed());
        assert!(
            since_message >= Duration::from_millis(2900),
            "{ending:?}: {since_message:?} of 3 s"
        );
        assert!(
            since_start < Duration::from_millis(2500),
            "{ending:?}: not an AckWait from the start"
        );
        // Sent at once at the start, when this client was not back yet, and once or twice since.
        assert!(
            counts.first().is_some_and(|first| *first <= 2) && counts.windows(2).all(|two| two[1] == two[0] + 1),
            "{ending:?}: counters restart at 1: {counts:?}"
        );
        for subscribed in [&patient, &hasty] {
            session.ack(subscribed, 1);
        }
        assert!(session.next_message(Duration::from_millis(1200)).is_err());
    });
}

#[test]
fn what_is_past_its_deadline_is_sent_at_once_to_who_held_it() {
    // §5.9 (2): never to another member at startup, also when that one is idle.
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let (mut a, mut b) = (server.session("a"), server.session("b"));
        let in_a = a.subscribe(hasty(queue(all("foo")))).unwrap();
        let published = Instant::now();
        publish(&mut a, "foo", 3);
        assert_eq!(take(&mut a, 3), [(1, 0), (2, 0), (3, 0)]);
        a.ack(&in_a, 2);
        b.subscribe(queue(all("foo"))).unwrap();
        make_durable(&mut a);
        server.signal_and_wait(ending);
        wait_until(published + Duration::from_millis(1100));
        let mut server = Server::with_files(directory, &["-SV"]);
        for sequence in [1, 3] {
            // Nobody listens there, which the log tells of.
            let what = "Nobody listens for msg sent again";
            let line = server.wait_for_line(&format!("{what} to subid=1, subject=foo, seq={sequence}"));
            assert!(line.is_some(), "{ending:?}: {:#?}", server.log);
        }
        b.reconnect(&server.address).unwrap();
        // One AckWait later the idle member is chosen; then both hold as much, and take turns (§5.6). Only what was heard counts.
        assert_eq!(take(&mut b, 2), [(1, 1), (3, 1)], "{ending:?}");
        let others = server
            .log
            .iter()
            .filter(|line| line.contains("subid=2") || line.contains("seq=2"));
        assert_eq!(others.count(), 0, "{ending:?}: {:#?}", server.log);
    });
}

#[test]
fn the_stalled_stay_stalled_and_the_others_go_on() {
    // §5.9 (1) and (3); §13.3 SubStalledSemantics, PersistentStoreNotStalledIfBelowMaxInflight,
    // PersistentStoreAutomaticDeliveryOnRestart.
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut session = server.session("me");
        let full = session.subscribe(in_flight(all("foo"), 2)).unwrap();
        let group = session.subscribe(in_flight(queue(all("foo")), 2)).unwrap();
        let room = session.subscribe(in_flight(durable(all("foo")), 2)).unwrap();
        publish(&mut session, "foo", 2);
        take(&mut session, 6);
        session.ack(&room, 1);
        make_durable(&mut session);
        let server = restarted(server, ending, directory, &[]);
        let shown = |server: &Server| {
            let mut shown: Vec<_> = subscriptions(server, "foo")
                .into_iter()
                .map(|shown| (shown.inbox == room.inbox, shown.stalled, shown.pending, shown.last_sent))
                .collect();
            shown.sort_unstable();
            shown
        };
        let expected = [(false, true, 2, 2), (false, true, 2, 2), (true, false, 1, 2)];
        assert_eq!(shown(&server), expected, "{ending:?}");
        session.reconnect(&server.address).unwrap();
        publish(&mut session, "foo", 2);
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!(
            (message.sequence, message.redelivered, &message.inbox),
            (3, false, &room.inbox)
        );
        assert!(
            is_quiet(&mut session),
            "{ending:?}: all are full, and AckWait is far away"
        );
        // The acks go to the inboxes of before (§14 quirk 4), and make room.
        for subscribed in [&full, &group, &room] {
            session.ack(subscribed, 2);
            let message = session.next_message(PATIENCE).unwrap();
            let expected = if subscribed.inbox == room.inbox { 4 } else { 3 };
            assert_eq!(
                (message.sequence, message.redelivered, &message.inbox),
                (expected, false, &subscribed.inbox)
            );
        }
        assert!(is_quiet(&mut session));
    });
}

#[test]
fn a_stalled_subscription_is_sent_again_what_it_holds_after_a_restart_too() {
    // §13.4 PersistentStoreStalledRedelivery, PersistentStoreStalledQueueRedelivery, PersistentStoreStalledDurableRedelivery.
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut session = server.session("me");
        let requests = [all("foo"), durable(all("foo")), queue(all("foo"))];
        let subscribed: Vec<_> = requests
            .into_iter()
            .map(|request| session.subscribe(hasty(in_flight(request, 1))).unwrap())
            .collect();
        publish(&mut session, "foo", 2);
        assert_eq!(take(&mut session, 3), [(1, 0); 3]);
        assert_eq!(take(&mut session, 3), [(1, 1); 3], "{ending:?}: before");
        let server = restarted(server, ending, directory, &[]);
        session.reconnect(&server.address).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 3 {
            let message = session.next_message(PATIENCE).unwrap();
            assert_eq!((message.sequence, message.redelivered), (1, true), "{ending:?}: after");
            seen.insert(message.inbox);
        }
        for one in &subscribed {
            session.ack(one, 1);
        }
        let mut fresh = 0;
        while fresh < 3 {
            fresh += usize::from(next(&mut session) == (2, 0));
        }
        // Nobody else's first delivery is flagged (PersistentStoreRedeliveredPerSub).
        let mut other = server.session("other");
        other.subscribe(all("foo")).unwrap();
        assert_eq!(take(&mut other, 2), [(1, 0), (2, 0)]);
    });
}

#[test]
fn heartbeats_start_afresh() {
    // §5.9, §2.10: failures of before do not count, and the first heartbeat comes one interval after the start.
    for_both_endings(|ending, directory| {
        let more = ["-hbi", "400ms", "-hbt", "50ms", "-hbf", "3"];
        let server = Server::with_files(directory, &more);
        let mut session = server.session("me");
        session.answers = false;
        let begin = Instant::now();
        while session.probes < 3 {
            let _ = session.next_message(Duration::from_millis(20));
            assert!(begin.elapsed() < PATIENCE);
        }
        let server = restarted(server, ending, directory, &more);
        let started = Instant::now();
        session.reconnect(&server.address).unwrap();
        session.probes = 0;
        let mut first = None;
        while !server.get("/streaming/serverz").1.contains("\"clients\": 0,") {
            let _ = session.next_message(Duration::from_millis(20));
            if session.probes > 0 {
                first.get_or_insert(started.elapsed());
            }
            assert!(begin.elapsed() < PATIENCE);
        }
        assert_eq!(session.probes, 4, "{ending:?}: fail count 3, from zero");
        assert!(first.unwrap() > Duration::from_millis(200), "{ending:?}: {first:?}");
    });
}

#[test]
fn durables_are_as_they_were_active_or_not() {
    // §13.5 PersistentStoreDurableCanReceiveAfterRestart, PersistentStoreDurableClosedStatusOnRestart,
    // PersistentStoreRecoveredDurableCanReconnect, DurableCanReconnect.
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut session = server.session("me");
        let request = durable(all("foo"));
        let subscribed = session.subscribe(request.clone()).unwrap();
        publish(&mut session, "foo", 1);
        assert_eq!(next(&mut session), (1, 0));
        session.ack(&subscribed, 1);
        make_durable(&mut session);
        let server = restarted(server, ending, directory, &[]);
        session.reconnect(&server.address).unwrap();
        let duplicate = "stan: duplicate durable registration";
        assert_eq!(refusal(session.subscribe(request.clone())), duplicate, "{ending:?}");
        publish(&mut session, "foo", 1);
        assert_eq!(next(&mut session), (2, 0), "{ending:?}");
        session.close_subscription(&subscribed).unwrap();
        let server = restarted(server, ending, directory, &[]);
        assert!(
            subscriptions(&server, "foo")[0].offline,
            "{ending:?}: closed stays closed"
        );
        session.reconnect(&server.address).unwrap();
        publish(&mut session, "foo", 1);
        assert!(is_quiet(&mut session), "{ending:?}");
        let subscribed = session.subscribe(request.clone()).unwrap();
        assert_eq!(take(&mut session, 2), [(2, 1), (3, 0)], "{ending:?}");
        session.ack(&subscribed, 2);
        session.ack(&subscribed, 3);
        session.close().unwrap();
        let server = restarted(server, ending, directory, &[]);
        assert!(subscriptions(&server, "foo")[0].offline, "{ending:?}");
        let mut session = server.session("me");
        publish(&mut session, "foo", 1);
        session.subscribe(request).unwrap();
        assert_eq!(next(&mut session), (4, 0), "{ending:?}");
    });
}

#[test]
fn an_offline_group_keeps_its_cursor_and_what_it_holds() {
    // §5.6, §5.9; §13.4 PersistentStoreDurableQueueSubRedeliveryOnRejoin; §13.6 PersistentStoreDurableQueueSub,
    // PersistentStoreNewOnHoldClearedAfterRestart.
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut a = server.session("a");
        let subscribed = a.subscribe(queue(durable(all("foo")))).unwrap();
        publish(&mut a, "foo", 5);
        take(&mut a, 5);
        for sequence in [1, 3, 5] {
            a.ack(&subscribed, sequence);
        }
        a.close().unwrap();
        let server = restarted(server, ending, directory, &[]);
        let shown = subscriptions(&server, "foo");
        assert_eq!(
            (shown.len(), shown[0].offline, shown[0].pending, shown[0].last_sent),
            (1, true, 2, 5),
            "{ending:?}"
        );
        let mut b = server.session("b");
        publish(&mut b, "foo", 1);
        b.subscribe(in_flight(queue(durable(all("foo"))), 3)).unwrap();
        assert_eq!(take(&mut b, 3), [(2, 1), (4, 1), (6, 0)], "{ending:?}");
        make_durable(&mut b);
        let server = restarted(server, ending, directory, &[]);
        b.reconnect(&server.address).unwrap();
        let shown = subscriptions(&server, "foo");
        assert_eq!(
            (shown[0].offline, shown[0].pending, shown[0].stalled),
            (false, 3, true),
            "{ending:?}"
        );
    });
}

#[test]
fn the_last_registration_of_a_client_counts() {
    // stores §8.1 (add, delete, add again); §13.1 PersistentStoreRecoverClientInfo, PersistentStoreClientPings.
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut closed = server.session("closed");
        closed.close().unwrap();
        let mut old = server.session("me");
        old.go_deaf().unwrap();
        let mut new = server.session("me");
        let server = restarted(server, ending, directory, &[]);
        for session in [&mut closed, &mut old, &mut new] {
            session.reconnect(&server.address).unwrap();
        }
        assert_eq!(refusal(closed.ping()), REPLACED, "{ending:?}");
        assert_eq!(refusal(closed.close()), UNKNOWN_CLIENT, "{ending:?}");
        assert_eq!(refusal(old.ping()), REPLACED, "{ending:?}");
        assert_eq!(refusal(old.publish("foo", b"x")), INVALID_PUBLISH, "{ending:?}");
        new.ping().unwrap();
        new.publish("foo", b"x").unwrap();
        assert!(
            server.get("/streaming/serverz").1.contains("\"clients\": 1,"),
            "{ending:?}"
        );
    });
}

#[test]
fn times_and_sequences_are_found_after_a_restart() {
    // stores §8.1, start by time, also after restart; §13.2 CSGetSeqFromStartTime, SubscriptionStartAtTime.
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut session = server.session("me");
        publish(&mut session, "foo", 3);
        let between = Instant::now() + Duration::from_millis(150);
        wait_until(between + Duration::from_millis(150));
        publish(&mut session, "foo", 3);
        let server = restarted(server, ending, directory, &[]);
        session.reconnect(&server.address).unwrap();
        let mut begins = |request: SubscriptionRequest| {
            let subscribed = session.subscribe(in_flight(request, 1)).unwrap();
            let first = session.next_message(Duration::from_millis(300)).ok();
            session.unsubscribe(&subscribed).unwrap();
            first.map(|message| message.sequence)
        };
        let at = |start_time_delta| SubscriptionRequest {
            start_time_delta,
            ..from("foo", TIME)
        };
        let hour = 3_600_000_000_000;
        assert_eq!(begins(at(hour)), Some(1), "{ending:?}");
        let middle = i64::try_from(between.elapsed().as_nanos()).unwrap();
        assert_eq!(begins(at(middle)), Some(4), "{ending:?}");
        assert_eq!(begins(at(0)), None, "{ending:?}");
        assert_eq!(begins(at(-hour)), None, "{ending:?}");
        let five = SubscriptionRequest {
            start_sequence: 5,
            ..from("foo", SEQUENCE)
        };
        assert_eq!(begins(five), Some(5), "{ending:?}");
    });
}

#[test]
fn numbers_of_subscriptions_are_not_used_again() {
    // stores §8.1: ids after restart, records for a deleted subscription; names stay unique (§14 quirk 10, §13.7
    // ChannelNameRejectedIfAlreadyExistsWithDifferentCase).
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut session = server.session("me");
        let subscribed = session.subscribe(all("foo")).unwrap();
        publish(&mut session, "foo", 2);
        take(&mut session, 2);
        session.unsubscribe(&subscribed).unwrap();
        session.ack(&subscribed, 1);
        make_durable(&mut session);
        let mut server = restarted(server, ending, directory, &["-SD"]);
        session.reconnect(&server.address).unwrap();
        assert!(subscriptions(&server, "foo").is_empty(), "{ending:?}");
        let again = session.subscribe(all("foo")).unwrap();
        assert_ne!(again.ack_inbox, subscribed.ack_inbox);
        assert!(
            server.wait_for_line("subid=2, sending from beginning, seq=1").is_some(),
            "{ending:?}"
        );
        assert_eq!(take(&mut session, 2), [(1, 0), (2, 0)]);
        session.ack(&subscribed, 1);
        session.connection.flush().unwrap();
        session.ping().unwrap();
        assert_eq!(
            subscriptions(&server, "foo")[0].pending,
            2,
            "{ending:?}: the old inbox is nobody's"
        );
        let text = r#"rejecting channel "FOO" because channel "foo" alreay exists (different cases not allowed)"#;
        assert_eq!(refusal(session.publish("FOO", b"x")), text, "{ending:?}");
        assert_eq!(refusal(session.subscribe(subscription("FOO"))), text, "{ending:?}");
    });
}

#[test]
fn a_close_in_the_last_moment_is_either_done_or_not() {
    // §2.13, §5.9: every answered request survives a kill; SIGTERM during publishes ends in order (PersistentStoreNoPanicOnShutdown).
    for_both_endings(|ending, directory| {
        let server = Server::with_files(directory, &[]);
        let mut sessions: Vec<Session> = (0..10)
            .map(|number| server.session(&format!("client{number}")))
            .collect();
        for session in &mut sessions {
            session.subscribe(durable(all("foo"))).unwrap();
            session.publish("foo", b"x").unwrap();
        }
        let mut publisher = sessions.remove(0);
        for session in &mut sessions[..4] {
            session.close().unwrap();
        }
        let mut sent = 0;
        for _ in 0..2000 {
            publisher.publish_async("foo", b"x");
            sent += 1;
        }
        publisher.connection.flush().unwrap();
        let server = restarted(server, ending, directory, &[]);
        wait_for(&server, "/streaming/serverz", "\"clients\": 6,");
        let offline = subscriptions(&server, "foo")
            .iter()
            .filter(|shown| shown.offline)
            .count();
        assert_eq!(offline, 4, "{ending:?}");
        let mut acked = 0;
        while publisher.next_pub_ack(Duration::from_millis(50)).is_ok() {
            acked += 1;
        }
        let (_, body) = server.get("/streaming/channelsz?channel=foo");
        let stored: u64 = body
            .split("\"msgs\": ")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            (10 + acked..=10 + sent).contains(&stored),
            "{ending:?}: {acked} acked of {sent}, {stored} stored"
        );
    });
}

#[test]
fn figures_of_the_server_follow_its_store() {
    // §13.9 MonitorServerz, MonitorServerzAfterRestart: a persistent store keeps them, a memory store begins at zero.
    let figures = |server: &Server| {
        let (status, body) = server.get("/streaming/serverz");
        assert_eq!(status, 200);
        [
            "clients",
            "subscriptions",
            "channels",
            "total_msgs",
            "total_bytes",
            "in_msgs",
        ]
        .map(|key| {
            let value = body.split(&format!("\"{key}\": ")).nth(1).unwrap();
            value.split([',', '\n']).next().unwrap().parse::<u64>().unwrap()
        })
    };
    let used = |server: &Server| {
        let mut session = server.session("me");
        session.subscribe(subscription("foo")).unwrap();
        let ended = session.subscribe(subscription("foo")).unwrap();
        session.subscribe(durable(subscription("bar"))).unwrap();
        publish(&mut session, "foo", 10);
        assert_eq!(figures(server)[..4], [1, 3, 2, 10]);
        session.unsubscribe(&ended).unwrap();
        let figures = figures(server);
        assert_eq!((figures[1], figures[5]), (2, 10));
        figures
    };
    let server = Server::in_memory(&[]);
    let before = used(&server);
    server.kill();
    assert_eq!(figures(&Server::in_memory(&[])), [0; 6]);
    for ending in ENDINGS {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::with_files(directory.path(), &[]);
        let stored = used(&server);
        assert_eq!(
            stored[4],
            before[4] + 40 * 10,
            "§6.1: a file store counts 40 bytes more for each"
        );
        let server = restarted(server, ending, directory.path(), &[]);
        let [kept @ .., received] = figures(&server);
        assert_eq!((&kept[..], received), (&stored[..5], 0), "{ending:?}");
    }
}
