//! §9.2: publishing and subscribing.

use crate::support::Server;

#[test]
fn lines_15_16_17_frames() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\r\nPUB foo 5\r\nhello\r\nPUB foo bar 2\r\nok\r\nPUB foo 0\r\n\r\n");
    client.expect("MSG foo 1 5\r\nhello\r\nMSG foo 1 bar 2\r\nok\r\nMSG foo 1 0\r\n\r\n");
    client.expect_nothing_more();
}

#[test]
fn section_1_2_size_text_is_forwarded_verbatim() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\r\nPUB foo 002\r\nok\r\nPUB  foo bar  02 \r\nok\r\n");
    client.expect("MSG foo 1 002\r\nok\r\nMSG foo 1 bar 02\r\nok\r\n");
}

#[test]
fn line_18_two_subscriptions_two_messages() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\r\nSUB foo 2\r\nPUB foo 2\r\nok\r\n");
    let mut sids = [client.message().1, client.message().1];
    sids.sort();
    assert_eq!(sids, ["1", "2"]);
    client.expect_nothing_more();
}

#[test]
fn line_19_sid_in_use_is_ignored() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\r\nSUB foo 1\r\nSUB bar 1\r\nPUB foo 2\r\nok\r\nPUB bar 2\r\nok\r\n");
    client.expect("MSG foo 1 2\r\nok\r\n");
    client.expect_nothing_more();
}

#[test]
fn lines_20_21_22_wildcards() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB * 1\r\nSUB foo.* 2\r\nSUB foo.> 3\r\nSUB foo.bar.> 4\r\nPUB foo.bar 2\r\nok\r\n");
    let mut sids = [client.message().1, client.message().1];
    sids.sort();
    assert_eq!(sids, ["2", "3"]);
    client.expect_nothing_more();
    client.send("SUB > 5\r\nPUB a.b.c 2\r\nok\r\n");
    client.expect("MSG a.b.c 5 2\r\nok\r\n");
    client.expect_nothing_more();
}

#[test]
fn section_1_7_odd_publish_subjects() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB > 1\r\nPUB a..b 2\r\nok\r\nPUB .a 2\r\nok\r\nPUB a. 2\r\nok\r\n");
    client.expect_nothing_more();
    client.send("PUB foo.* 2\r\nok\r\n");
    client.expect("MSG foo.* 1 2\r\nok\r\n");
    client.send("PUB _GR_.x 2\r\nok\r\n");
    client.expect("-ERR 'Permissions Violation for Publish to \"_GR_.x\"'\r\n");
    for reply in ["_R_.x", "$JS.ACK.x", "_GR_.x"] {
        client.send(format!("PUB foo {reply} 2\r\nok\r\n"));
        client.expect(format!(
            "-ERR 'Permissions Violation for Publish with Reply of \"{reply}\"'\r\n"
        ));
    }
    client.expect_nothing_more();
}

#[test]
fn line_23_unsubscribe() {
    let server = Server::start();
    let mut client = server.quiet();
    client.flush("SUB foo 1\r\nUNSUB 1\r\nUNSUB 77\r\nPUB foo 2\r\nok\r\n");
    assert_eq!(server.broker.snapshot().subscriptions, 0);
}

#[test]
fn lines_24_25_26_unsubscribe_after_a_number() {
    for across in [false, true] {
        let server = Server::start();
        let mut subscriber = server.quiet();
        let mut other = server.quiet();
        let publish = |times: usize| "PUB foo 2\r\nok\r\n".repeat(times);
        let message = "MSG foo 1 2\r\nok\r\n";
        let mut send = |subscriber: &mut crate::support::Client, times: usize| {
            if across {
                other.flush(publish(times));
            } else {
                subscriber.send(publish(times));
            }
        };
        // 24
        subscriber.flush("SUB foo 1\r\nUNSUB 1 2\r\n");
        send(&mut subscriber, 3);
        subscriber.expect(message.repeat(2));
        subscriber.expect_nothing_more();
        assert_eq!(server.broker.snapshot().subscriptions, 0);
        // 25
        subscriber.flush("SUB foo 1\r\n");
        send(&mut subscriber, 10);
        subscriber.send("UNSUB 1 5\r\n");
        send(&mut subscriber, 1);
        subscriber.expect(message.repeat(10));
        if across {
            // Without waiting, the other connection may be faster than the UNSUB: then one more is right.
            subscriber.send("PING\r\n");
            while subscriber.line() != "PONG" {}
        } else {
            subscriber.expect_nothing_more();
        }
        assert_eq!(server.broker.snapshot().subscriptions, 0);
        // 26
        subscriber.flush("SUB foo 1\r\nUNSUB 1 10\r\n");
        send(&mut subscriber, 5);
        subscriber.expect(message.repeat(5));
        subscriber.flush("UNSUB 1\r\n");
        send(&mut subscriber, 1);
        subscriber.expect_nothing_more();
    }
}

#[test]
fn line_24_counts_messages_delivered_before_the_unsub() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\r\nPUB foo 1\r\na\r\nPUB foo 1\r\nb\r\nUNSUB 1 3\r\n");
    client.send("PUB foo 1\r\nc\r\nPUB foo 1\r\nd\r\n");
    client.expect("MSG foo 1 1\r\na\r\nMSG foo 1 1\r\nb\r\nMSG foo 1 1\r\nc\r\n");
    client.expect_nothing_more();
}

#[test]
fn line_27_queue_groups_spread_at_random() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo q 1\r\nSUB foo q 2\r\n");
    client.send("PUB foo 0\r\n\r\n".repeat(1000));
    let first = (0..1000).filter(|_| client.message().1 == "1").count();
    assert!((350..=650).contains(&first), "{first}");
    client.expect_nothing_more();
}

#[test]
fn lines_28_29_groups_beside_others() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\r\nSUB foo q 2\r\nSUB foo q 3\r\nSUB foo r 4\r\nSUB foo r 5\r\n");
    client.send("PUB foo 0\r\n\r\n".repeat(100));
    let mut counts = [0; 6];
    for _ in 0..300 {
        counts[client.message().1.parse::<usize>().unwrap()] += 1;
    }
    assert_eq!(
        (counts[1], counts[2] + counts[3], counts[4] + counts[5]),
        (100, 100, 100)
    );
    client.expect_nothing_more();
}

#[test]
fn line_30_one_group_over_two_subjects() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo q 1\r\nSUB * q 2\r\n");
    client.send("PUB foo 0\r\n\r\n".repeat(50));
    for _ in 0..50 {
        client.message();
    }
    client.expect_nothing_more();
}

#[test]
fn lines_31_32_echo_off() {
    let server = Server::start();
    let mut own = server.client(r#"{"verbose":false,"echo":false}"#);
    let mut other = server.quiet();
    other.flush("SUB work q 9\r\n");
    own.flush("SUB foo 1\r\nSUB work q 2\r\n");
    own.flush("PUB foo 2\r\nok\r\n");
    other.send("PUB foo 2\r\nhi\r\n");
    own.expect("MSG foo 1 2\r\nhi\r\n");
    own.flush("PUB work 0\r\n\r\n".repeat(50));
    for _ in 0..50 {
        assert_eq!(other.message().1, "9");
    }
}

#[test]
fn line_33_order_between_two_connections() {
    let server = Server::start();
    let mut subscriber = server.quiet();
    subscriber.flush("SUB foo 1\r\n");
    let mut publisher = server.quiet();
    let mut frames = String::new();
    for number in 0..10_000 {
        let text = number.to_string();
        frames.push_str(&format!("PUB foo {}\r\n{text}\r\n", text.len()));
    }
    publisher.flush(frames);
    for number in 0..10_000 {
        assert_eq!(subscriber.message().3, number.to_string().into_bytes());
    }
}

#[test]
fn line_34_payload_that_looks_like_protocol() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\r\nPUB foo 11\r\n\r\nPUB x 1\r\n\r\n");
    client.expect("MSG foo 1 11\r\n\r\nPUB x 1\r\n\r\n");
    client.expect_nothing_more();
}

#[test]
fn line_35_payload_of_exactly_the_limit() {
    let server = Server::start();
    let mut client = server.quiet();
    let payload: Vec<u8> = (0..1_048_576u32).map(|index| (index % 251) as u8).collect();
    client.send("SUB foo 1\r\nPUB foo 1048576\r\n");
    client.send(&payload);
    client.send("\r\nPING\r\n");
    client.expect("MSG foo 1 1048576\r\n");
    assert!(client.bytes(payload.len()) == payload);
    client.expect("\r\nPONG\r\n");
}

#[test]
fn line_36_payload_in_single_bytes() {
    let server = Server::start();
    let mut client = server.quiet();
    for byte in b"SUB foo 1\r\nPUB foo bar 11\r\nhello world\r\nPING\r\n" {
        client.send([*byte]);
    }
    client.expect("MSG foo 1 bar 11\r\nhello world\r\nPONG\r\n");
}

#[test]
fn line_37_ten_thousand_in_one_write() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\r\n");
    let mut writer = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, "PUB foo 4\r\nbody\r\n".repeat(10_000).as_bytes()).unwrap();
    });
    for _ in 0..10_000 {
        assert_eq!(client.message().3, b"body");
    }
    sending.join().unwrap();
    client.expect_nothing_more();
}

#[test]
fn many_subscribers_and_a_reused_connection_slot() {
    let server = Server::start();
    let mut clients: Vec<_> = (0..50).map(|_| server.quiet()).collect();
    for client in &mut clients {
        client.flush("SUB all.* 7\r\n");
    }
    clients.truncate(25);
    server.wait_until("half are gone", |broker| broker.snapshot().subscriptions == 25);
    clients.extend((0..25).map(|_| server.quiet()));
    for client in &mut clients[25..] {
        client.flush("SUB all.* 7\r\n");
    }
    let mut publisher = server.quiet();
    publisher.flush("PUB all.x 2\r\nok\r\n");
    for client in &mut clients {
        client.expect("MSG all.x 7 2\r\nok\r\n");
        client.expect_nothing_more();
    }
}
