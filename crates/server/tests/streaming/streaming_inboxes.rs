//! Inboxes that no client library would name: they are taken as they come, and never become protocol
//! (`streaming-protocol.md` §4, last row).

use std::time::Instant;

use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, Subscribed, subscription};
use seaway_bench::wire::{Connection, Frame};
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::{ConnectRequest, ConnectResponse, SubscriptionRequest, SubscriptionResponse};

const STRANGE: [&[u8]; 8] = [
    b"",
    b" ",
    b"two words",
    b"line\r\nMSG forged 1 2\r\nhi",
    b"\r\n",
    b"a..b",
    b".a",
    b"a.",
];

/// Everything that arrives on a connection until a message on `end`: the subjects.
fn subjects_until(connection: &mut Connection, end: &str) -> Vec<Vec<u8>> {
    let mut subjects = Vec::new();
    loop {
        if let Frame::Message { subject, .. } = connection.next_frame(PATIENCE).expect("well-formed frames") {
            if subject == end.as_bytes() {
                return subjects;
            }
            subjects.push(subject);
        }
    }
}

fn subscribe_strangely(session: &mut Session, inbox: &[u8], queue: &str) -> SubscriptionResponse {
    let request = SubscriptionRequest {
        client_id: session.client_id.clone().into(),
        inbox: inbox.to_vec().into(),
        q_group: queue.to_owned().into(),
        start_position: 4,
        ..subscription("foo")
    };
    let subject = String::from_utf8_lossy(&session.response.sub_requests).into_owned();
    let answer = session.request(&subject, &request.encode_to_vec()).unwrap();
    SubscriptionResponse::decode(answer.as_slice()).unwrap()
}

#[test]
fn strange_delivery_inboxes_reach_nobody_and_harm_nobody() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let mut spy = Connection::open(&server.address).unwrap();
    spy.subscribe(">");
    spy.ping(PATIENCE).unwrap();
    for (index, inbox) in STRANGE.into_iter().enumerate() {
        for queue in [String::new(), format!("q{index}")] {
            let response = subscribe_strangely(&mut session, inbox, &queue);
            assert_eq!(response.error, "", "§4: the delivery inbox is not validated");
            assert!(!response.ack_inbox.is_empty());
        }
    }
    let well = session.subscribe(subscription("foo")).unwrap();
    session.publish("foo", b"x").unwrap();
    assert_eq!(session.next_message(PATIENCE).unwrap().inbox, well.inbox);
    session.close().unwrap();
    session.connection.publish("the.end", "", b"");
    session.connection.flush().unwrap();
    let known = [b"_STAN.".as_slice(), b"_INBOX."];
    for subject in subjects_until(&mut spy, "the.end") {
        assert!(
            known.iter().any(|prefix| subject.starts_with(prefix)),
            "{:?} got out",
            String::from_utf8_lossy(&subject)
        );
    }
}

#[test]
fn strange_heartbeat_inboxes_are_dead_clients() {
    let server = Server::in_memory(&["-hbi", "100ms", "-hbt", "50ms", "-hbf", "1"]);
    let mut connection = Connection::open(&server.address).unwrap();
    connection.subscribe("answers.*");
    let mut spy = Connection::open(&server.address).unwrap();
    spy.subscribe(">");
    spy.ping(PATIENCE).unwrap();
    for (index, inbox) in STRANGE.into_iter().enumerate() {
        // Twice: the second one asks the first one's inbox.
        for round in 0..2 {
            let request = ConnectRequest {
                client_id: format!("client-{index}").into(),
                heartbeat_inbox: inbox.to_vec().into(),
                ..ConnectRequest::default()
            };
            let reply = format!("answers.{index}-{round}");
            connection.publish("_STAN.discover.test-cluster", &reply, &request.encode_to_vec());
            let response = loop {
                if let Frame::Message { subject, payload, .. } = connection.next_frame(PATIENCE).unwrap()
                    && subject == reply.as_bytes()
                {
                    break ConnectResponse::decode(payload.as_slice()).unwrap();
                }
            };
            let expected = if inbox.is_empty() {
                "stan: invalid connection request"
            } else {
                ""
            };
            assert_eq!(response.error, expected, "{:?}", String::from_utf8_lossy(inbox));
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while !server.get("/streaming/serverz").1.contains("\"clients\": 0,") {
        assert!(Instant::now() < deadline, "nobody answers: they are closed");
    }
    connection.publish("the.end", "", b"");
    connection.flush().unwrap();
    for subject in subjects_until(&mut spy, "the.end") {
        assert!(
            subject.starts_with(b"_STAN.") || subject.starts_with(b"answers."),
            "{:?} got out",
            String::from_utf8_lossy(&subject)
        );
    }
}

/// Deliveries and probes to the server's own subjects would be requests made in its name.
#[test]
fn the_servers_own_subjects_as_inboxes_start_nothing() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let own = [
        "_STAN.pub.test-cluster.foo",
        "_STAN.close.test-cluster",
        "_STAN.discover.test-cluster",
        "_STAN.sub.test-cluster",
    ];
    for inbox in own {
        assert_eq!(subscribe_strangely(&mut session, inbox.as_bytes(), "").error, "");
    }
    let response = subscribe_strangely(&mut session, b"_INBOX.own", "");
    let ack_inbox = response.ack_inbox.clone();
    assert_eq!(subscribe_strangely(&mut session, &ack_inbox, "").error, "");
    for number in 1..=20 {
        session.publish("foo", b"x").unwrap();
        let (_, body) = server.get("/streaming/channelsz?channel=foo");
        assert!(body.contains(&format!("\"msgs\": {number},")), "{body}");
    }
    let (_, body) = server.get("/streaming/serverz");
    assert!(
        body.contains("\"in_msgs\": 20,") && body.contains("\"clients\": 1,"),
        "{body}"
    );
}

/// §6: a probe asks for its answer where only who was asked can know it: in the original's shape, and not by counting.
#[test]
fn nobody_can_guess_where_a_probe_is_answered() {
    let server = Server::in_memory(&["-hbi", "20ms", "-hbt", "10s", "-hbf", "100"]);
    let mut spy = Connection::open(&server.address).unwrap();
    spy.subscribe("heartbeats");
    spy.ping(PATIENCE).unwrap();
    let mut connection = Connection::open(&server.address).unwrap();
    let request = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "heartbeats".into(),
        ..ConnectRequest::default()
    };
    connection.subscribe("answer");
    connection.publish("_STAN.discover.test-cluster", "answer", &request.encode_to_vec());
    connection.flush().unwrap();
    let mut replies = Vec::new();
    while replies.len() < 2 {
        let Frame::Message { reply, .. } = spy.next_frame(PATIENCE).unwrap() else {
            continue;
        };
        let reply = String::from_utf8(reply).unwrap();
        let tokens: Vec<&str> = reply.split('.').collect();
        let lengths: Vec<usize> = tokens.iter().map(|token| token.len()).collect();
        assert_eq!((tokens[0], &lengths[..]), ("_INBOX", &[6, 22, 8][..]), "{reply}");
        assert!(
            reply
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
        );
        replies.push(reply.clone());
        spy.publish(&reply, "", b"");
        spy.flush().unwrap();
    }
    let digits = |reply: &str| -> usize {
        let token = reply.rsplit('.').next().unwrap();
        token.bytes().filter(u8::is_ascii_digit).count()
    };
    assert!(
        digits(&replies[0]) < 8 || digits(&replies[1]) < 8,
        "they do not count: {replies:?}"
    );
}

/// Waits until so many messages of a channel's only subscription are not acknowledged.
fn until_pending(server: &Server, channel: &str, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    let expected = format!("\"pending_count\": {count},");
    loop {
        let (_, body) = server.get(&format!("/streaming/channelsz?channel={channel}&subs=1"));
        if body.contains(&expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{expected} is not in {body}");
    }
}

/// §2.5: an ack inbox has two tokens, so that whoever may publish to `_INBOX.*` may acknowledge.
#[test]
fn acks_need_no_more_than_the_originals_permissions() {
    let directory = tempfile::tempdir().unwrap();
    let users = r#"authorization { users = [ { user: a, password: b, permissions: {
        publish: ["_STAN.>", "_INBOX.*"], subscribe: ["_INBOX.>", "_STAN.acks.>"] } } ] }"#;
    let server = Server::configured(directory.path(), users, &[]).expect("it starts");
    let connection = Connection::open_with(&server.address, r#""user":"a","pass":"b""#).unwrap();
    let mut session = Session::over(connection, "test-cluster", "me").unwrap();
    let subscribed = session.subscribe(subscription("foo")).unwrap();
    for sequence in 1..=3 {
        session.publish("foo", b"x").unwrap();
        assert_eq!(session.next_message(PATIENCE).unwrap().sequence, sequence);
    }
    until_pending(&server, "foo", 3);
    (1..=3).for_each(|sequence| session.ack(&subscribed, sequence));
    // A refusal would be an error of the connection, and end this.
    session.ping().expect("nothing was refused");
    until_pending(&server, "foo", 0);
}

/// §2.5, and no two have anything in common, of one server or of two.
#[test]
fn nobody_can_guess_an_ack_inbox() {
    let mut tokens: Vec<String> = Vec::new();
    for _ in 0..2 {
        let server = Server::in_memory(&[]);
        let mut session = server.session("me");
        for _ in 0..20 {
            let inbox = session.subscribe(subscription("foo")).unwrap().ack_inbox;
            let token = inbox.strip_prefix("_INBOX.").unwrap().to_owned();
            assert_eq!(token.len(), 22, "{inbox}");
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{inbox}");
            tokens.push(token);
        }
    }
    for (index, one) in tokens.iter().enumerate() {
        for other in &tokens[..index] {
            let equal = one
                .bytes()
                .zip(other.bytes())
                .filter(|(one, other)| one == other)
                .count();
            assert!(equal < 8, "{one} and {other} are alike");
        }
    }
}

/// The server listens where it told somebody to acknowledge, as long as that counts, and nowhere else below `_INBOX`.
#[test]
fn only_ack_inboxes_in_use_are_listened_on() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let one = session.subscribe(subscription("foo")).unwrap();
    let other = session.subscribe(subscription("foo")).unwrap();
    let mut asker = Connection::open(&server.address).unwrap();
    asker.subscribe("nobody");
    asker.subscribe("end");
    // Nobody answers an ack, but that nobody is there is told at once.
    let mut is_heard = |inbox: &str| {
        asker.publish(inbox, "nobody", b"");
        asker.publish("end", "", b"");
        subjects_until(&mut asker, "end").is_empty()
    };
    assert!(is_heard(&one.ack_inbox) && is_heard(&other.ack_inbox));
    session.close_subscription(&one).unwrap();
    assert!(!is_heard(&one.ack_inbox) && is_heard(&other.ack_inbox));
    session.close().unwrap();
    assert!(!is_heard(&other.ack_inbox));
    assert!(!is_heard("_INBOX.0123456789ABCDEFGHIJKL"));
}

/// §5.9: the same ack inboxes after a restart, so that acks of what was sent before count.
#[test]
fn an_ack_inbox_outlives_a_kill_and_so_does_a_late_ack() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    let mut subscriptions: Vec<Subscribed> = Vec::new();
    for channel in ["foo", "bar"] {
        let subscribed = session.subscribe(subscription(channel)).unwrap();
        session.publish(channel, b"x").unwrap();
        assert_eq!(session.next_message(PATIENCE).unwrap().sequence, 1);
        until_pending(&server, channel, 1);
        subscriptions.push(subscribed);
    }
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    for subscribed in &subscriptions {
        let (_, body) = server.get(&format!("/streaming/channelsz?channel={}&subs=1", subscribed.channel));
        let shown = format!("\"ack_inbox\": \"{}\"", subscribed.ack_inbox);
        assert!(body.contains(&shown), "{shown} is not in {body}");
    }
    session.reconnect(&server.address).unwrap();
    for subscribed in &subscriptions {
        session.ack(subscribed, 1);
        session.ping().unwrap();
        until_pending(&server, &subscribed.channel, 0);
    }
}
