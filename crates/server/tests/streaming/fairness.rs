//! Much work for some takes nobody else's turn: limits hold under fan-out, and publishes and seeks are answered while others catch
//! up from disk (architecture, invariant 10).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::requests::bounds;
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, subscription};

/// Publishes `count` messages with so many in flight, and looks after each so many answers.
fn publish(session: &mut Session, count: u64, size: usize, in_flight: u64, look_every: u64, mut look: impl FnMut(u64)) {
    let data = vec![b'x'; size];
    let mut sent = 0;
    for answered in 1..=count {
        while sent < count && sent - (answered - 1) < in_flight {
            session.publish_async("foo", &data);
            sent += 1;
        }
        assert_eq!(session.next_pub_ack(PATIENCE).unwrap().error, "");
        if answered % look_every == 0 {
            look(answered);
        }
    }
}

/// Listens in `connections` sessions with so many subscriptions each, and reads what comes until it is told to stop.
fn read_along(server: &Server, connections: usize, subscriptions: usize, stop: &AtomicBool, during: impl FnOnce()) {
    thread::scope(|scope| {
        for number in 0..connections {
            let mut session = server.session(&format!("reader-{number}"));
            for _ in 0..subscriptions {
                let mut request = subscription("foo");
                request.max_in_flight = 1_000_000;
                session.subscribe(request).unwrap();
            }
            scope.spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    // Nothing within this time is no fault: the publisher has ended.
                    let _ = session.connection.pump(Duration::from_millis(100), |_, _| {});
                }
            });
        }
        let _stop = AtTheEnd(|| stop.store(true, Ordering::Release));
        during();
    });
}

/// Does something when it is dropped, also by a failed assertion: whoever waits for it must not wait for ever.
struct AtTheEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtTheEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// §6.1: 300 subscriptions that take everything keep a channel no longer than its limit, and what is under way.
#[test]
fn a_limit_holds_under_fan_out() {
    const LIMIT: u64 = 100;
    const IN_FLIGHT: u64 = 256;
    let server = Server::in_memory(&["-mm", "100"]);
    let stop = AtomicBool::new(false);
    read_along(&server, 3, 100, &stop, || {
        let mut publisher = server.session("publisher");
        publish(&mut publisher, 6_000, 16, IN_FLIGHT, 200, |answered| {
            let (messages, _, last) = bounds(&server, "foo");
            // What is not answered yet, and a pass that answered and has not come to its end.
            assert!(
                messages <= LIMIT + 2 * IN_FLIGHT,
                "{messages} of {last} messages after {answered} answers"
            );
        });
    });
    // Nobody publishes any more, whatever is left to be delivered.
    crate::support::requests::wait_for_bounds(&server, "foo", (LIMIT, 5_901, 6_000));
}

/// Six that read everything from disk, with a MaxInflight that is no bound, leave a turn to publishes on another channel, and to a
/// seek by time.
#[test]
fn those_who_catch_up_leave_others_their_turns() {
    const MESSAGES: u64 = 100_000;
    const READERS: usize = 6;
    /// Publishes that are answered while all readers read, at least.
    const ANSWERS: u64 = 10;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut middle = SystemTime::now();
    publish(
        &mut server.session("writer"),
        MESSAGES,
        128,
        512,
        MESSAGES / 2,
        |answered| {
            if answered == MESSAGES / 2 {
                middle = SystemTime::now();
            }
        },
    );
    server.kill();

    // After a restart nothing is in memory.
    let server = Server::with_files(directory.path(), &[]);
    let (received, finished) = (AtomicU64::new(0), AtomicUsize::new(0));
    let total = MESSAGES * READERS as u64;
    thread::scope(|scope| {
        for number in 0..READERS {
            let mut session = server.session(&format!("reader-{number}"));
            let (received, finished) = (&received, &finished);
            scope.spawn(move || {
                let _finished = AtTheEnd(|| {
                    finished.fetch_add(1, Ordering::AcqRel);
                });
                let mut request = subscription("foo");
                (request.start_position, request.max_in_flight) = (4, 1_000_000);
                session.subscribe(request).unwrap();
                for sequence in 1..=MESSAGES {
                    assert_eq!(session.next_message(PATIENCE).unwrap().sequence, sequence);
                    received.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        let mut publisher = server.session("publisher");
        while received.load(Ordering::Acquire) == 0 && finished.load(Ordering::Acquire) == 0 {
            publisher.ping().unwrap();
        }
        let mut request = subscription("foo");
        request.start_position = 2;
        request.start_time_delta = i64::try_from(middle.elapsed().unwrap().as_nanos()).unwrap();
        server.session("seeker").subscribe(request).unwrap();
        let sought_after = received.load(Ordering::Acquire);
        // Answers between which the readers got something.
        let (mut answers, mut before) = (0, sought_after);
        while finished.load(Ordering::Acquire) < READERS {
            publisher.publish("other", b"x").unwrap();
            let now = received.load(Ordering::Acquire);
            answers += u64::from(now > before && now < total);
            before = now;
        }
        assert!(sought_after < total, "the seek waited for the readers");
        assert!(
            answers >= ANSWERS,
            "{answers} publishes were answered while others read {total} messages"
        );
    });
}
