//! Queue groups through a socket (`streaming-protocol.md` §5.6, §5.9, §13.4, §13.6).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, Subscribed, subscription};
use seaway_stan_protocol::messages::SubscriptionRequest;

const QUIET: Duration = Duration::from_millis(150);
const FIRST: i32 = 4;

/// A member of group `q` on `foo`, from the first message on.
fn member() -> SubscriptionRequest {
    SubscriptionRequest {
        q_group: "q".into(),
        start_position: FIRST,
        ..subscription("foo")
    }
}

fn durable(request: SubscriptionRequest) -> SubscriptionRequest {
    SubscriptionRequest {
        durable_name: "dur".into(),
        ..request
    }
}

fn with(request: SubscriptionRequest, max_in_flight: i32, ack_wait_in_secs: i32) -> SubscriptionRequest {
    SubscriptionRequest {
        max_in_flight,
        ack_wait_in_secs,
        ..request
    }
}

fn publish(session: &mut Session, count: usize) {
    for _ in 0..count {
        session.publish("foo", b"x").unwrap();
    }
}

fn next(session: &mut Session) -> (u64, u32) {
    let message = session.next_message(PATIENCE).unwrap();
    assert_eq!(
        message.redelivered,
        message.redelivery_count > 0,
        "the flag and the count agree"
    );
    (message.sequence, message.redelivery_count)
}

fn take(session: &mut Session, count: usize) -> Vec<(u64, u32)> {
    (0..count).map(|_| next(session)).collect()
}

fn is_quiet(session: &mut Session) -> bool {
    session.next_message(QUIET).is_err()
}

/// The pending counts of all subscriptions on `foo`, in ascending order.
fn pending(server: &Server) -> Vec<u64> {
    let (_, body) = server.get("/streaming/channelsz?channel=foo&subs=1");
    let mut counts: Vec<u64> = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"pending_count\": "))
        .map(|rest| rest.trim_end_matches(',').parse().unwrap())
        .collect();
    counts.sort_unstable();
    counts
}

fn wait_for_pending(server: &Server, expected: &[u64]) {
    let deadline = Instant::now() + PATIENCE;
    while pending(server) != expected {
        assert!(
            Instant::now() < deadline,
            "{:?} instead of {expected:?}",
            pending(server)
        );
    }
}

/// Two publishes: the second makes durable whatever was acknowledged before the first.
fn make_durable(session: &mut Session) {
    for _ in 0..2 {
        session.publish("elsewhere", b"x").unwrap();
    }
}

#[test]
fn idle_members_take_turns_and_a_busy_one_is_passed_by() {
    // §5.6; §13.6 QueueWithOneStalledMemberDoesNotStallGroup; §13.2 SubStartPositionWithQueueSub.
    let server = Server::in_memory(&[]);
    let (mut a, mut b) = (server.session("a"), server.session("b"));
    let in_a = a.subscribe(with(member(), 1, 30)).unwrap();
    let in_b = b.subscribe(with(member(), 3, 30)).unwrap();
    publish(&mut a, 6);
    assert_eq!(next(&mut a), (1, 0));
    assert_eq!(take(&mut b, 3), [(2, 0), (3, 0), (4, 0)]);
    assert!(is_quiet(&mut a) && is_quiet(&mut b), "both are full");
    b.ack(&in_b, 3);
    assert_eq!(next(&mut b), (5, 0));
    a.ack(&in_a, 1);
    assert_eq!(next(&mut a), (6, 0));
    // A joiner shares the cursor, whatever it asks for.
    let mut c = server.session("c");
    c.subscribe(SubscriptionRequest {
        start_position: 3,
        start_sequence: 1,
        ..member()
    })
    .unwrap();
    assert!(is_quiet(&mut c));
    publish(&mut b, 2);
    assert_eq!(take(&mut c, 2), [(7, 0), (8, 0)]);
}

#[test]
fn everyone_gets_a_share_of_many_messages() {
    // §13.6 QueueMaxInFlight, QueueGroupUnStalledOnAcks.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let members: Vec<Subscribed> = (0..4)
        .map(|_| session.subscribe(with(member(), 5, 30)).unwrap())
        .collect();
    for _ in 0..10_000 {
        session.publish_async("foo", b"x");
    }
    let (mut seen, mut shares) = (BTreeSet::new(), [0; 4]);
    while seen.len() < 10_000 {
        let message = session.next_message(PATIENCE).unwrap();
        assert!(!message.redelivered && seen.insert(message.sequence), "{message:?}");
        let at = members.iter().position(|member| member.inbox == message.inbox).unwrap();
        shares[at] += 1;
        session.ack(&members[at], message.sequence);
    }
    assert!(shares.iter().all(|share| *share > 1000), "{shares:?}");
    session.connection.flush().unwrap();
    wait_for_pending(&server, &[0, 0, 0, 0]);
}

#[test]
fn a_leaver_hands_over_what_it_holds() {
    // §13.6 QueueSubscriberTransferPendingMsgsOnClose, QueueSubsWithDifferentAckWait; §13.4
    // QueueRedeliveryWithMsgsReassignedToMemberWithAcksPending, DurableQueueSubRedeliveryOnRejoin.
    let server = Server::in_memory(&[]);
    for (round, close) in [
        |session: &mut Session, subscribed: &Subscribed| session.close_subscription(subscribed),
        |session: &mut Session, subscribed: &Subscribed| session.unsubscribe(subscribed),
        |session: &mut Session, _: &Subscribed| session.close(),
    ]
    .into_iter()
    .enumerate()
    {
        for durably in [false, true] {
            let channel = format!("foo.{round}.{durably}");
            let request = |max_in_flight, ack_wait| {
                let request = with(member(), max_in_flight, ack_wait);
                let request = if durably { durable(request) } else { request };
                SubscriptionRequest {
                    subject: channel.clone().into(),
                    ..request
                }
            };
            let (mut a, mut b) = (server.session("a"), server.session("b"));
            let in_a = a.subscribe(request(100, 60)).unwrap();
            for _ in 0..100 {
                a.publish(&channel, b"x").unwrap();
            }
            assert_eq!(take(&mut a, 100).last(), Some(&(100, 0)));
            let in_b = b.subscribe(request(1, 60)).unwrap();
            b.publish(&channel, b"x").unwrap();
            assert_eq!(next(&mut b), (101, 0));
            let begin = Instant::now();
            close(&mut a, &in_a).unwrap();
            let again: Vec<_> = (1..=100).map(|sequence| (sequence, 1)).collect();
            assert_eq!(take(&mut b, 100), again, "round {round} {durably}");
            assert!(begin.elapsed() < Duration::from_secs(5), "not after AckWait");
            for sequence in 1..=101 {
                b.ack(&in_b, sequence);
            }
            b.publish(&channel, b"x").unwrap();
            assert_eq!(next(&mut b), (102, 0), "the group goes on");
            let _ = a.close();
            b.close().unwrap();
        }
    }
}

#[test]
fn the_messages_of_a_dying_member_go_to_the_healthy_one() {
    // §13.4 IgnoreFailedHBInAckRedeliveryForQGroup, and the end of the dead one.
    let server = Server::in_memory(&["-hbi", "100ms", "-hbt", "50ms", "-hbf", "15"]);
    let (mut dying, mut healthy) = (server.session("dying"), server.session("healthy"));
    dying.subscribe(with(member(), 1024, 1)).unwrap();
    let in_healthy = healthy.subscribe(with(member(), 1024, 1)).unwrap();
    publish(&mut healthy, 10);
    dying.go_deaf().unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        let (sequence, _) = next(&mut healthy);
        healthy.ack(&in_healthy, sequence);
        seen.insert(sequence);
    }
    // New messages avoid it as well.
    for sequence in 11..=20 {
        publish(&mut healthy, 1);
        assert_eq!(next(&mut healthy).0, sequence);
        healthy.ack(&in_healthy, sequence);
    }
    let deadline = Instant::now() + PATIENCE;
    while !server.get("/streaming/serverz").1.contains("\"clients\": 1,") {
        assert!(Instant::now() < deadline);
        let _ = healthy.next_message(Duration::from_millis(20));
    }
    wait_for_pending(&server, &[0]);
}

#[test]
fn expired_messages_change_hands_and_late_acks_find_them() {
    // §13.4 QueueAckRemovesFromOwningMember, QueueRedeliveryCount.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let (mut a, mut b) = (server.session("a"), server.session("b"));
    let in_a = a.subscribe(with(member(), 1, 1)).unwrap();
    publish(&mut a, 1);
    assert_eq!(next(&mut a), (1, 0));
    let in_b = b.subscribe(with(member(), 1, 60)).unwrap();
    // Full itself, the first member is not chosen.
    assert_eq!(next(&mut b), (1, 1), "counted over members");
    wait_for_pending(&server, &[0, 1]);
    a.ack(&in_a, 1);
    a.connection.flush().unwrap();
    wait_for_pending(&server, &[0, 0]);
    make_durable(&mut a);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    wait_for_pending(&server, &[0, 0]);
    a.reconnect(&server.address).unwrap();
    b.reconnect(&server.address).unwrap();
    publish(&mut a, 2);
    let got: BTreeSet<u64> = [next(&mut a), next(&mut b)]
        .into_iter()
        .inspect(|(_, count)| assert_eq!(*count, 0))
        .map(|(sequence, _)| sequence)
        .collect();
    assert_eq!(got, BTreeSet::from([2, 3]));
    b.unsubscribe(&in_b).unwrap();
}

#[test]
fn a_message_that_moved_stays_with_its_new_holder_after_a_kill() {
    // §13.4 PersistentStorePersistMsgRedeliveredToDifferentQSub, PersistentStoreAckMsgRedeliveredToDifferentQueueSub.
    for acknowledged in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::with_files(directory.path(), &[]);
        let (mut a, mut b) = (server.session("a"), server.session("b"));
        a.subscribe(with(member(), 1, 1)).unwrap();
        publish(&mut a, 1);
        assert_eq!(next(&mut a), (1, 0));
        let in_b = b.subscribe(with(member(), 1, 60)).unwrap();
        assert_eq!(next(&mut b), (1, 1));
        if acknowledged {
            b.ack(&in_b, 1);
            b.connection.flush().unwrap();
            wait_for_pending(&server, &[0, 0]);
        }
        make_durable(&mut a);
        server.kill();
        let server = Server::with_files(directory.path(), &[]);
        a.reconnect(&server.address).unwrap();
        b.reconnect(&server.address).unwrap();
        let holding = u64::from(!acknowledged);
        wait_for_pending(&server, &[0, holding]);
        let (_, body) = server.get("/streaming/clientsz?client=b&subs=1");
        assert!(
            body.contains(&format!("\"pending_count\": {holding},")),
            "it is with b: {body}"
        );
        assert!(a.next_message(Duration::from_millis(1300)).is_err(), "one AckWait of a");
        assert!(is_quiet(&mut b));
    }
}

#[test]
fn a_group_goes_on_after_a_kill() {
    // §5.9, §13.6 PersistentStoreQueueSubLeavingUpdateQGroupLastSent, PersistentStoreNewOnHoldClearedAfterRestart.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let (mut a, mut b) = (server.session("a"), server.session("b"));
    let in_a = a.subscribe(with(member(), 1024, 1)).unwrap();
    let in_b = b.subscribe(with(member(), 1024, 1)).unwrap();
    publish(&mut a, 3);
    assert_eq!(take(&mut a, 2), [(1, 0), (3, 0)]);
    assert_eq!(next(&mut b), (2, 0));
    a.ack(&in_a, 1);
    b.ack(&in_b, 2);
    // The holder of the last message leaves, having acknowledged it: the cursor is not rewound.
    a.ack(&in_a, 3);
    a.unsubscribe(&in_a).unwrap();
    make_durable(&mut b);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    b.reconnect(&server.address).unwrap();
    assert!(
        b.next_message(Duration::from_millis(1300)).is_err(),
        "everything was acknowledged"
    );
    publish(&mut b, 2);
    assert_eq!(take(&mut b, 2), [(4, 0), (5, 0)]);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    b.reconnect(&server.address).unwrap();
    publish(&mut b, 1);
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        let (sequence, _) = next(&mut b);
        b.ack(&in_b, sequence);
        seen.insert(sequence);
    }
    assert_eq!(seen, BTreeSet::from([4, 5, 6]));
    b.connection.flush().unwrap();
    wait_for_pending(&server, &[0]);
}

#[test]
fn a_group_that_nobody_is_in_starts_again() {
    // §13.6 QueueGroupRemovedOnLastMemberLeaving, §5.10.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    publish(&mut session, 2);
    for ends in [Session::unsubscribe, Session::close_subscription] {
        let (one, two) = (
            session.subscribe(member()).unwrap(),
            session.subscribe(member()).unwrap(),
        );
        assert_eq!(take(&mut session, 2), [(1, 0), (2, 0)]);
        ends(&mut session, &one).unwrap();
        assert_eq!(take(&mut session, 2), [(1, 1), (2, 1)], "what one held goes to two");
        ends(&mut session, &two).unwrap();
    }
}

#[test]
fn a_durable_group_waits_for_its_next_member_over_a_kill() {
    // §13.6 BasicDurableQueueSub, PersistentStoreDurableQueueSub; §13.4 PersistentStoreDurableQueueSubRedeliveryOnRejoin.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let (mut a, mut b) = (server.session("a"), server.session("b"));
    let in_a = a.subscribe(durable(member())).unwrap();
    let in_b = b.subscribe(durable(member())).unwrap();
    publish(&mut a, 4);
    assert_eq!(take(&mut a, 2), [(1, 0), (3, 0)]);
    assert_eq!(take(&mut b, 2), [(2, 0), (4, 0)]);
    a.ack(&in_a, 1);
    a.close_subscription(&in_a).unwrap();
    assert_eq!(next(&mut b), (3, 1));
    b.ack(&in_b, 4);
    b.close().unwrap();
    publish(&mut a, 1);
    assert!(is_quiet(&mut a) && is_quiet(&mut b));
    server.kill();

    let server = Server::with_files(directory.path(), &[]);
    let mut c = server.session("c");
    c.connection.subscribe(&in_a.inbox);
    c.connection.subscribe(&in_b.inbox);
    c.publish("foo", b"x").unwrap();
    assert!(is_quiet(&mut c), "§13.5: nothing goes to the inboxes of those who left");
    let (_, body) = server.get("/streaming/channelsz?channel=foo&subs=1");
    assert!(
        body.contains("\"subs_count\": 1,") && body.contains("\"is_offline\": true,"),
        "{body}"
    );
    let in_c = c.subscribe(with(durable(member()), 2, 30)).unwrap();
    assert_eq!(
        take(&mut c, 2),
        [(2, 1), (3, 1)],
        "counts begin again, pending ones first"
    );
    assert!(is_quiet(&mut c));
    c.ack(&in_c, 2);
    c.ack(&in_c, 3);
    assert_eq!(take(&mut c, 2), [(5, 0), (6, 0)]);
    c.unsubscribe(&in_c).unwrap();
    c.subscribe(durable(member())).unwrap();
    assert_eq!(next(&mut c), (1, 0), "unsubscribed by the last: forgotten");
}

#[test]
fn groups_durables_and_plain_subscriptions_are_independent() {
    // §5.6, §5.10, §13.6 DurableAndNonDurableQueueSub.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let plain = SubscriptionRequest {
        q_group: "".into(),
        ..member()
    };
    let other_group = SubscriptionRequest {
        q_group: "r".into(),
        ..member()
    };
    let requests = [member(), durable(member()), durable(plain.clone()), plain, other_group];
    let inboxes: BTreeSet<String> = requests
        .into_iter()
        .map(|request| session.subscribe(request).unwrap().inbox)
        .collect();
    publish(&mut session, 1);
    let got: BTreeSet<String> = (0..5).map(|_| session.next_message(PATIENCE).unwrap().inbox).collect();
    assert_eq!(got, inboxes);
    let colon = SubscriptionRequest {
        durable_name: "a:b".into(),
        ..member()
    };
    assert_eq!(
        session.subscribe(colon).unwrap_err().to_string(),
        "stan: durable name of a durable queue subscriber can't contain the character ':'"
    );
}

#[test]
fn members_that_crash_together_come_back_without_waiting() {
    // §13.4 QueueRedeliveryAfterMembersCrash.
    for durably in [false, true] {
        let server = Server::in_memory(&[]);
        let request = || {
            let request = with(member(), 1, 60);
            if durably { durable(request) } else { request }
        };
        let (mut a, mut b) = (server.session("a"), server.session("b"));
        a.subscribe(request()).unwrap();
        b.subscribe(request()).unwrap();
        publish(&mut a, 4);
        assert_eq!((next(&mut a), next(&mut b)), ((1, 0), (2, 0)));
        let begin = Instant::now();
        a.go_deaf().unwrap();
        b.go_deaf().unwrap();
        let (mut a, mut b) = (server.session("a"), server.session("b"));
        let (in_a, in_b) = (a.subscribe(request()).unwrap(), b.subscribe(request()).unwrap());
        let mut seen = BTreeSet::new();
        while seen.len() < 4 {
            for (session, subscribed) in [(&mut a, &in_a), (&mut b, &in_b)] {
                if let Ok(message) = session.next_message(Duration::from_millis(50)) {
                    session.ack(subscribed, message.sequence);
                    session.connection.flush().unwrap();
                    seen.insert(message.sequence);
                }
            }
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "{durably}: only {seen:?} came"
            );
        }
    }
}

#[test]
fn a_member_that_does_not_read_holds_only_itself() {
    // §5.6, §5.7: what a group holds goes to the one that resumes it; what is new goes to whoever can take it.
    const HELD: usize = 6_000;
    let server = Server::in_memory(&[]);
    let mut publisher = server.session("publisher");
    let mut first = server.session("first");
    let held = first.subscribe(durable(with(member(), 10_000, 3600))).unwrap();
    let payload = vec![b'x'; 4096];
    for _ in 0..HELD {
        publisher.publish_async("foo", &payload);
    }
    publisher.connection.flush().unwrap();
    assert_eq!(take(&mut first, HELD).last(), Some(&(HELD as u64, 0)));
    first.close_subscription(&held).unwrap();
    // More than sockets and the server's queue hold is to be sent again to a client that never reads.
    let mut slow = server.session("slow");
    slow.subscribe(durable(with(member(), 10_000, 3600))).unwrap();
    let mut idle = server.session("idle");
    idle.subscribe(durable(with(member(), 10_000, 3600))).unwrap();
    publish(&mut publisher, 10);
    let new: Vec<_> = (1..=10).map(|more| (HELD as u64 + more, 0)).collect();
    assert_eq!(take(&mut idle, 10), new);
}
