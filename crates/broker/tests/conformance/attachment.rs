//! In-process parties: sinks, publishers, the gate, congestion, interest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use seaway_broker::{Attachment, Batch, Destination, Interest, Sink};

use crate::support::{PATIENCE, Server};

#[derive(Default)]
struct Seen {
    /// Origin, tag, subject, reply, headers, payload.
    messages: Vec<(u64, u64, String, Option<String>, String, String)>,
    batches: usize,
    drained: Vec<Destination>,
    interests: Vec<(String, Interest)>,
}

#[derive(Default)]
struct Recorder {
    seen: Mutex<Seen>,
    changed: Condvar,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Sink for Recorder {
    fn deliver(&self, batch: Batch) {
        let mut seen = self.seen.lock().unwrap();
        seen.batches += 1;
        for (index, message) in batch.iter().enumerate() {
            assert_eq!(&batch.data()[batch.payload_range(index).unwrap()], message.payload);
            assert_eq!(batch.get(index), Some(message));
            let reply = message.reply.map(text);
            let (subject, headers, payload) = (text(message.subject), text(message.headers), text(message.payload));
            seen.messages
                .push((batch.origin.0, message.tag, subject, reply, headers, payload));
        }
        self.changed.notify_all();
    }

    fn drained(&self, destination: Destination) {
        self.seen.lock().unwrap().drained.push(destination);
        self.changed.notify_all();
    }

    fn interest(&self, subject: &[u8], interest: Interest) {
        self.seen.lock().unwrap().interests.push((text(subject), interest));
        self.changed.notify_all();
    }
}

impl Recorder {
    fn wait<T>(&self, what: &str, condition: impl Fn(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock().unwrap();
        loop {
            if let Some(result) = condition(&seen) {
                return result;
            }
            let left = deadline
                .checked_duration_since(Instant::now())
                .unwrap_or_else(|| panic!("in vain: {what}"));
            seen = self.changed.wait_timeout(seen, left).unwrap().0;
        }
    }

    fn wait_messages(&self, count: usize) {
        self.wait("messages", |seen| (seen.messages.len() >= count).then_some(()));
    }
}

fn attach(server: &Server) -> (Arc<Recorder>, Attachment) {
    let recorder = Arc::new(Recorder::default());
    let attachment = server.broker.attach("engine", Arc::clone(&recorder) as Arc<dyn Sink>);
    (recorder, attachment)
}

#[test]
fn messages_arrive_in_batches_in_order_with_tags() {
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    attachment.subscribe("orders.*", 1, false).unwrap();
    attachment.subscribe("orders.new", 2, false).unwrap();
    attachment.subscribe("acks.>", 3, false).unwrap();
    assert!(attachment.subscribe("bad..subject", 4, false).is_err());
    let mut client = server.client(r#"{"verbose":false,"headers":true}"#);
    client
        .flush("PUB orders.old re 2\r\nok\r\nHPUB acks.1 3 5\r\nh:vxy\r\nPUB none 1\r\nx\r\nPUB orders.new 0\r\n\r\n");
    recorder.wait_messages(4);
    let id = client.id();
    let seen = recorder.seen.lock().unwrap();
    assert_eq!(seen.batches, 1, "one hand-over per read batch");
    let own = |tag: u64, subject: &str, reply: Option<&str>, headers: &str, payload: &str| {
        (
            id,
            tag,
            subject.to_owned(),
            reply.map(str::to_owned),
            headers.to_owned(),
            payload.to_owned(),
        )
    };
    assert_eq!(seen.messages[0], own(1, "orders.old", Some("re"), "", "ok"));
    assert_eq!(seen.messages[1], own(3, "acks.1", None, "h:v", "xy"));
    let mut both = [seen.messages[2].clone(), seen.messages[3].clone()];
    both.sort_by_key(|message| message.1);
    assert_eq!(
        both,
        [own(1, "orders.new", None, "", ""), own(2, "orders.new", None, "", "")]
    );
}

#[test]
fn unsubscribed_tags_and_dropped_attachments_get_nothing() {
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    attachment.subscribe("a", 1, false).unwrap();
    attachment.subscribe("b", 1, false).unwrap();
    attachment.subscribe("c", 2, false).unwrap();
    attachment.unsubscribe(1);
    attachment.unsubscribe(77);
    let mut client = server.client(r#"{"verbose":false,"headers":true,"no_responders":true}"#);
    client.flush("PUB a 0\r\n\r\nPUB b 0\r\n\r\nPUB c 0\r\n\r\n");
    recorder.wait_messages(1);
    assert_eq!(recorder.seen.lock().unwrap().messages[0].1, 2);
    assert_eq!(server.broker.snapshot().subscriptions, 1);
    drop(attachment);
    assert_eq!(server.broker.snapshot().subscriptions, 0);
    client.send("SUB inbox 1\r\nPUB c inbox 0\r\n\r\n");
    client.expect("HMSG inbox 1 33 33\r\nNATS/1.0 503\r\nNats-Subject: c\r\n\r\n\r\n");
}

#[test]
fn publishing_joins_parts_and_renames() {
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    let (other, second) = attach(&server);
    attachment.subscribe("foo", 1, false).unwrap();
    second.subscribe("foo", 5, false).unwrap();
    let mut client = server.quiet();
    client.flush("SUB foo 1\r\nSUB work q 2\r\nSUB work q 3\r\n");
    let mut publisher = attachment.publisher();
    let published = publisher.publish(b"foo", Some(b"re"), &[b"he", b"", b"llo"]);
    assert_eq!((published.receivers, published.congested), (2, None));
    assert_eq!(
        publisher
            .publish_as(b"foo", b"renamed.subject", None, &[b"x"])
            .receivers,
        2
    );
    assert_eq!(publisher.publish(b"work", None, &[]).receivers, 1);
    assert_eq!(publisher.publish(b"nobody", None, &[b"x"]).receivers, 0);
    assert_eq!(publisher.publish(b"not..valid", None, &[b"x"]).receivers, 0);
    for bad in [&b"in jected"[..], b"a\r\nPING", b"", b"a..b"] {
        assert_eq!(publisher.publish(bad, None, &[b"x"]).receivers, 0);
        assert_eq!(publisher.publish(b"foo", Some(bad), &[b"x"]).receivers, 0);
        assert_eq!(publisher.publish_as(b"foo", bad, None, &[b"x"]).receivers, 0);
    }
    publisher.flush();
    client.expect("MSG foo 1 re 5\r\nhello\r\nMSG renamed.subject 1 1\r\nx\r\n");
    assert_eq!(client.message().0, "work");
    client.expect_nothing_more();
    other.wait_messages(2);
    let id = attachment.id().0;
    let expected = (
        id,
        5,
        "foo".to_owned(),
        Some("re".to_owned()),
        String::new(),
        "hello".to_owned(),
    );
    assert_eq!(other.seen.lock().unwrap().messages[0], expected);
    assert_eq!(other.seen.lock().unwrap().messages[1].2, "renamed.subject");
    // It never gets what it publishes itself.
    assert_eq!(recorder.seen.lock().unwrap().batches, 0);
}

#[test]
fn publisher_sees_subscriptions_come_and_go() {
    let server = Server::start();
    let (_recorder, attachment) = attach(&server);
    let mut publisher = attachment.publisher();
    let mut client = server.quiet();
    for _ in 0..20 {
        client.flush("SUB inbox 1\r\n");
        assert_eq!(publisher.publish(b"inbox", None, &[b"x"]).receivers, 1);
        publisher.flush();
        client.expect("MSG inbox 1 1\r\nx\r\n");
        client.flush("UNSUB 1\r\n");
        assert_eq!(publisher.publish(b"inbox", None, &[b"x"]).receivers, 0);
    }
    drop(client);
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
}

#[test]
fn a_closed_gate_holds_publishers_and_nobody_else() {
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    attachment.subscribe("publish.>", 1, true).unwrap();
    attachment.subscribe("acks", 2, false).unwrap();
    let mut held = server.quiet();
    held.flush("SUB to.held 9\r\n");
    let mut acking = server.quiet();
    attachment.gate().close();
    assert!(attachment.gate().is_closed());
    // The batch in which it publishes is handled whole; what follows waits.
    held.send("PUB publish.a 1\r\n1\r\nPING\r\n");
    held.expect("PONG\r\n");
    recorder.wait_messages(1);
    held.send("PUB publish.a 1\r\n2\r\nPUB acks 1\r\nh\r\nPING\r\n");
    for number in 1..=20 {
        acking.flush("PUB acks 1\r\na\r\nPUB to.held 1\r\nx\r\n");
        recorder.wait_messages(1 + number);
        held.expect("MSG to.held 9 1\r\nx\r\n");
    }
    assert!(
        recorder
            .seen
            .lock()
            .unwrap()
            .messages
            .iter()
            .all(|message| message.5 != "2")
    );
    attachment.gate().open();
    held.expect("PONG\r\n");
    recorder.wait_messages(23);
    // Closing and opening again and again loses nobody.
    for _ in 0..100 {
        attachment.gate().close();
        held.send("PUB publish.a 1\r\n3\r\nPING\r\n");
        attachment.gate().open();
        held.expect("PONG\r\n");
    }
    recorder.wait_messages(123);
    held.expect_nothing_more();
}

#[test]
fn a_gate_may_open_for_some_and_then_for_others() {
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    attachment.subscribe("publish", 1, true).unwrap();
    attachment.gate().close();
    let mut held: Vec<_> = (0..3).map(|_| server.quiet()).collect();
    for (number, client) in held.iter_mut().enumerate() {
        // The batch in which it publishes is handled whole; what follows waits.
        client.send("PUB publish 1\r\nx\r\nPING\r\n");
        client.expect("PONG\r\n");
        recorder.wait_messages(number + 1);
        client.send("PING\r\n");
    }
    // They come to the gate in any order.
    server.wait_until("all three wait", |_| attachment.gate().waiting() == 3);
    assert!(attachment.gate().open_for(1), "two are left");
    assert_eq!(attachment.gate().waiting(), 2);
    // Closed again, they wait for the next opening.
    attachment.gate().close();
    assert!(!attachment.gate().go_on(1));
    assert_eq!(attachment.gate().waiting(), 2);
    assert!(attachment.gate().open_for(1), "one is left");
    assert!(!attachment.gate().go_on(1), "nobody is left");
    for client in &mut held {
        client.expect("PONG\r\n");
    }
}

#[test]
fn a_held_client_that_leaves_is_noticed_when_the_gate_opens() {
    let server = Server::with(|options| {
        options.ping_interval = Duration::from_millis(20);
        options.ping_max = 1;
    });
    let (recorder, attachment) = attach(&server);
    attachment.subscribe("publish", 1, true).unwrap();
    attachment.gate().close();
    let mut held = server.connect();
    held.send("CONNECT {\"verbose\":false}\r\nPUB publish 0\r\n\r\n");
    recorder.wait_messages(1);
    // Unread, it cannot answer: many intervals later it must still be there.
    let until = Instant::now() + Duration::from_millis(200);
    server.wait_until("ten intervals", |_| Instant::now() > until);
    assert_eq!(server.broker.snapshot().connections, 1);
    drop(held);
    attachment.gate().open();
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
}

/// Publishes until the destination counts as congested.
fn congest(publisher: &mut seaway_broker::Publisher) -> (usize, Destination) {
    let payload = vec![b'x'; 32 * 1024];
    for count in 1..100_000 {
        let published = publisher.publish(b"flood", None, &[&payload]);
        assert_eq!(published.receivers, 1);
        if let Some(destination) = published.congested {
            return (count, destination);
        }
    }
    panic!("never congested");
}

#[test]
fn congestion_is_told_and_drained_follows_exactly_once() {
    let server = Server::with(|options| options.max_pending = 4 * 1024 * 1024);
    let (recorder, attachment) = attach(&server);
    let mut client = server.quiet();
    client.flush("SUB flood 1\r\n");
    let mut publisher = attachment.publisher();
    for round in 1..=3 {
        let (count, destination) = congest(&mut publisher);
        assert_eq!(destination, Destination(client.id()));
        // Told again while it lasts, still drained once.
        assert!(publisher.publish(b"flood", None, &[b"x"]).congested.is_some());
        publisher.flush();
        for _ in 0..count {
            assert_eq!(client.message().3.len(), 32 * 1024);
        }
        assert_eq!(client.message().3, b"x");
        recorder.wait("drained", |seen| (seen.drained.len() >= round).then_some(()));
        client.expect_nothing_more();
        assert_eq!(recorder.seen.lock().unwrap().drained, vec![destination; round]);
    }
    assert_eq!(server.broker.snapshot().slow_consumers, 0);
}

#[test]
fn room_is_asked_for_before_anything_is_sent() {
    let server = Server::with(|options| options.max_pending = 4 * 1024 * 1024);
    let (recorder, attachment) = attach(&server);
    let mut client = server.quiet();
    // One destination however many subscriptions: what one fills counts for all.
    let subscriptions: String = (0..300)
        .map(|number| format!("SUB flood.{number} {number}\r\n"))
        .collect();
    client.flush(subscriptions);
    let mut publisher = attachment.publisher();
    let payload = vec![b'x'; 400 * 1024];
    let total = 300;
    let (mut sent, mut refusals) = (0, 0);
    let mut reader = Some(client);
    let mut reading = None;
    while sent < total {
        let subject = format!("flood.{sent}");
        match publisher.publish_if_room(subject.as_bytes(), None, &[&payload]) {
            Ok(receivers) => {
                assert_eq!(receivers, 1);
                sent += 1;
            }
            Err(destination) => {
                refusals += 1;
                publisher.flush();
                // It starts to read only now: until here the queue decided.
                if let Some(mut client) = reader.take() {
                    assert!(sent * payload.len() < 8 * 1024 * 1024, "{sent} were taken");
                    assert_eq!(destination, Destination(client.id()));
                    reading = Some(std::thread::spawn(move || {
                        for number in 0..total {
                            let (subject, _, _, payload) = client.message();
                            assert_eq!((subject, payload.len()), (format!("flood.{number}"), 400 * 1024));
                        }
                        client
                    }));
                }
                recorder.wait("drained", |seen| (seen.drained.len() >= refusals).then_some(()));
            }
        }
    }
    publisher.flush();
    let mut client = reading.expect("it was refused once").join().unwrap();
    client.expect_nothing_more();
    assert_eq!(
        recorder.seen.lock().unwrap().drained.len(),
        refusals,
        "told exactly once each"
    );
    assert_eq!(server.broker.snapshot().slow_consumers, 0);
    // Nobody there is nobody full.
    assert_eq!(publisher.publish_if_room(b"nobody", None, &[b"x"]), Ok(0));
}

/// Somebody who subscribes to a subject of a service very often cannot hold the service up.
#[test]
fn a_message_for_very_many_is_sent_in_slices_and_the_next_one_waits() {
    const MANY: usize = 100_000;
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    let mut many = server.quiet();
    let subscriptions: String = (0..MANY).map(|number| format!("SUB wide {number}\r\n")).collect();
    many.flush(subscriptions);
    let mut other = server.quiet();
    other.flush("SUB narrow 1\r\n");
    let reader = std::thread::spawn(move || {
        for expected in [&b"first"[..], b"second", b"third"] {
            let mut seen = vec![false; MANY];
            for _ in 0..MANY {
                let (_, sid, _, payload) = many.message();
                assert_eq!(payload, expected);
                let place = &mut seen[sid.parse::<usize>().unwrap()];
                assert!(!std::mem::replace(place, true), "{sid} got it twice");
            }
        }
        many.expect_nothing_more();
    });
    let mut publisher = attachment.publisher();
    let own = Err(Destination(attachment.id().0));
    assert_eq!(publisher.publish_if_room(b"wide", None, &[b"first"]), Ok(1));
    // Whoever asks for room is told that there is none; an answer gets in line.
    assert_eq!(publisher.publish_if_room(b"wide", None, &[b"never"]), own);
    assert_eq!(publisher.publish(b"wide", None, &[b"second"]).receivers, 1);
    let mut flushes = 0;
    while !publisher.flush() {
        flushes += 1;
        assert_eq!(publisher.publish(b"narrow", None, &[b"soon"]).receivers, 1);
        assert_eq!(publisher.publish_if_room(b"wide", None, &[b"never"]), own);
    }
    // Finding them takes a step for each, and serving them another.
    assert!(
        flushes > 2 * (2 * MANY - 40_000) / 20_000,
        "{flushes} flushes for {MANY} receivers"
    );
    for _ in 0..flushes {
        assert_eq!(other.message().3, b"soon");
    }
    let drained = recorder.seen.lock().unwrap().drained.clone();
    assert_eq!(
        drained,
        [Destination(attachment.id().0)],
        "told once that there is room"
    );
    assert_eq!(publisher.publish_if_room(b"wide", None, &[b"third"]), Ok(1));
    while !publisher.flush() {}
    reader.join().unwrap();
    // What too many ask for is lost, not kept.
    let accepted = (0..1_000).filter(|_| publisher.publish(b"wide", None, &[b"lost"]).receivers > 0);
    assert_eq!(accepted.count(), 64);
}

#[test]
fn a_congested_client_that_leaves_counts_as_drained() {
    let server = Server::with(|options| options.max_pending = 4 * 1024 * 1024);
    let (recorder, attachment) = attach(&server);
    let mut client = server.quiet();
    let id = client.id();
    client.flush("SUB flood 1\r\n");
    let mut publisher = attachment.publisher();
    congest(&mut publisher);
    publisher.flush();
    drop(client);
    recorder.wait("drained", |seen| (seen.drained == [Destination(id)]).then_some(()));
    server.wait_until("it is gone", |broker| broker.snapshot().connections == 0);
    assert_eq!(recorder.seen.lock().unwrap().drained.len(), 1);
}

#[test]
fn interest_may_be_watched_without_what_exists() {
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    let mut client = server.quiet();
    client.flush("SUB jobs.old 1\r\n");
    attachment.watch_new_interest(">").unwrap();
    client.flush("SUB jobs.new 2\r\n");
    let seen = recorder.wait("interest", |seen| seen.interests.first().cloned());
    assert_eq!(seen, ("jobs.new".to_owned(), Interest::Appeared));
}

#[test]
fn interest_of_clients_is_watched() {
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    attachment.watch_interest("jobs.>").unwrap();
    let mut client = server.quiet();
    client.flush("SUB jobs.a 1\r\nSUB jobs.a 2\r\nSUB other 3\r\nUNSUB 1\r\nUNSUB 2\r\nSUB jobs.* 4\r\n");
    drop(client);
    let expected = [
        ("jobs.a", Interest::Appeared),
        ("jobs.a", Interest::Disappeared),
        ("jobs.*", Interest::Appeared),
        ("jobs.*", Interest::Disappeared),
    ];
    recorder.wait("interest", |seen| {
        (seen.interests.len() >= expected.len()).then_some(())
    });
    let seen = recorder.seen.lock().unwrap();
    assert_eq!(
        seen.interests
            .iter()
            .map(|(text, what)| (text.as_str(), *what))
            .collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn many_producers_and_one_in_process_publisher_keep_their_orders() {
    let server = Server::start();
    let (_recorder, attachment) = attach(&server);
    let mut subscriber = server.quiet();
    subscriber.flush("SUB mix.> 1\r\n");
    let stop = AtomicBool::new(false);
    const EACH: usize = 3000;
    std::thread::scope(|scope| {
        for producer in 0..3 {
            let mut client = server.quiet();
            scope.spawn(move || {
                for chunk in 0..EACH / 100 {
                    let frames: String = (0..100)
                        .map(|index| format!("PUB mix.{producer} 8\r\n{:08}\r\n", chunk * 100 + index))
                        .collect();
                    client.flush(frames);
                }
            });
        }
        let mut publisher = attachment.publisher();
        scope.spawn(move || {
            for number in 0..EACH {
                assert_eq!(
                    publisher
                        .publish(b"mix.3", None, &[format!("{number:08}").as_bytes()])
                        .receivers,
                    1
                );
                if number % 7 == 0 {
                    publisher.flush();
                }
            }
        });
        let mut next = [0usize; 4];
        for _ in 0..EACH * 4 {
            let (subject, _, _, payload) = subscriber.message();
            let producer: usize = subject.strip_prefix("mix.").unwrap().parse().unwrap();
            assert_eq!(text(&payload), format!("{:08}", next[producer]));
            next[producer] += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    subscriber.expect_nothing_more();
}

/// Publishes blocks to all of these subjects in turn until each is refused; how many it took.
fn fill(publisher: &mut seaway_broker::Publisher, subjects: &[String], size: usize) -> usize {
    let payload = vec![b'x'; size];
    let mut sent = 0;
    loop {
        let before = sent;
        for subject in subjects {
            sent += usize::from(publisher.publish_if_room(subject.as_bytes(), None, &[&payload]).is_ok());
        }
        publisher.flush();
        if sent == before {
            return sent;
        }
        assert!(sent * size < 2 << 30, "never refused");
    }
}

/// However much one may leave in its queue before it is closed, a service leaves a few megabytes there.
#[test]
fn a_service_leaves_a_few_megabytes_with_a_slow_reader() {
    let server = Server::start();
    let (recorder, attachment) = attach(&server);
    let mut client = server.quiet();
    client.flush("SUB flood 1\r\n");
    let mut publisher = attachment.publisher();
    let sent = fill(&mut publisher, &["flood".to_owned()], 100_000);
    let held = server.broker.snapshot().outbound_bytes;
    assert!(held < 5 << 20, "{held} bytes wait");
    assert_eq!(publisher.has_receiver_with_room(b"nobody"), Ok(false));
    for _ in 0..sent {
        assert_eq!(client.message().3.len(), 100_000);
    }
    let id = Destination(client.id());
    recorder.wait("drained", |seen| seen.drained.contains(&id).then_some(()));
    server.wait_until("nothing waits", |broker| broker.snapshot().outbound_bytes == 0);
    assert_eq!(publisher.has_receiver_with_room(b"flood"), Ok(true));
}

/// All queues together have a bound: those that hold most are the first to get nothing more.
#[test]
fn all_slow_readers_together_hold_what_there_is_for_them() {
    const BOUND: usize = 32 << 20;
    let server = Server::with(|options| options.outbound_bytes_max = BOUND);
    let (_recorder, attachment) = attach(&server);
    let mut clients: Vec<_> = (0..20).map(|_| server.quiet()).collect();
    let subjects: Vec<String> = (0..20).map(|number| format!("flood.{number}")).collect();
    for (client, subject) in clients.iter_mut().zip(&subjects) {
        client.flush(format!("SUB {subject} 1\r\n"));
    }
    let mut publisher = attachment.publisher();
    fill(&mut publisher, &subjects, 50_000);
    let held = server.broker.snapshot().outbound_bytes;
    assert!(held < BOUND, "{held} bytes wait");
    // There is still room for somebody who reads.
    let mut reader = server.quiet();
    reader.flush("SUB small 1\r\n");
    assert_eq!(publisher.publish_if_room(b"small", None, &[b"x"]), Ok(1));
    publisher.flush();
    assert_eq!(reader.message().3, b"x");
    assert_eq!(server.broker.snapshot().slow_consumers, 0);
    drop(clients);
    server.wait_until("what waited for them is gone", |broker| {
        broker.snapshot().outbound_bytes == 0
    });
}

/// What is gathered before it is written has a bound, however many it is for.
#[test]
fn a_publisher_gathers_a_few_megabytes_at_most() {
    const CLIENTS: usize = 60;
    const SIZE: usize = 200_000;
    let server = Server::start();
    let (_recorder, attachment) = attach(&server);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.quiet()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.flush(format!("SUB flood.{number} 1\r\n"));
    }
    let mut publisher = attachment.publisher();
    let payload = vec![b'x'; SIZE];
    for number in 0..CLIENTS {
        let subject = format!("flood.{number}");
        assert_eq!(publisher.publish_if_room(subject.as_bytes(), None, &[&payload]), Ok(1));
    }
    publisher.flush();
    for client in &mut clients {
        assert_eq!(client.message().3.len(), SIZE);
    }
    let peak = server.broker.snapshot().gathered_bytes_peak;
    assert!((1 << 20..(4 << 20) + 2 * SIZE).contains(&peak), "{peak} bytes gathered");
}
