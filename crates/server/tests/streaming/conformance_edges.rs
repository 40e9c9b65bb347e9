//! Extremes that the protocol allows, and orders that clients may rely on (`streaming-protocol.md` §4, §5.3, §5.6, §5.7, §14).

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::requests::{
    INVALID_PUBLISH, all, durable, firsts, hasty, in_flight, is_quiet, next, publish, queue, refusal, subscriptions,
    take,
};
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, Subscribed, subscription};
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::{PubAck, PubMsg, SubscriptionRequest};

#[test]
fn the_largest_numbers_are_taken() {
    // §4: AckWait and MaxInflight are any int32 from 1 on; start numbers are never refused.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    publish(&mut session, "foo", 3);
    for (start_position, start_sequence, start_time_delta) in
        [(4, 0, 0), (3, u64::MAX, 0), (2, 0, i64::MAX), (2, 0, i64::MIN)]
    {
        let request = SubscriptionRequest {
            ack_wait_in_secs: i32::MAX,
            max_in_flight: i32::MAX,
            start_position,
            start_sequence,
            start_time_delta,
            ..durable(subscription("foo"))
        };
        let subscribed = session.subscribe(request.clone()).unwrap();
        let from_first = start_position == 4 || start_time_delta == i64::MAX;
        let at_once = if from_first { firsts(1..=3) } else { Vec::new() };
        assert_eq!(take(&mut session, at_once.len()), at_once);
        session.close_subscription(&subscribed).unwrap();
        let subscribed = session.subscribe(request).unwrap();
        let again: Vec<_> = at_once.iter().map(|(sequence, _)| (*sequence, 1)).collect();
        assert_eq!(take(&mut session, again.len()), again);
        session.unsubscribe(&subscribed).unwrap();
    }
    let request = SubscriptionRequest {
        ack_wait_in_secs: i32::MAX,
        ..all("foo")
    };
    session.subscribe(request).unwrap();
    assert_eq!(take(&mut session, 3), firsts(1..=3));
    // A deadline of 68 years survives a restart without becoming one in the past.
    session.publish("elsewhere", b"x").unwrap();
    session.publish("elsewhere", b"x").unwrap();
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    session.reconnect(&server.address).unwrap();
    publish(&mut session, "foo", 1);
    assert_eq!(next(&mut session), (4, 0));
    assert!(is_quiet(&mut session));
}

#[test]
fn long_names_are_names() {
    // §4: the length of an ID or a name is not limited.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let id = "x".repeat(5000);
    let channel = ["token"; 200].join(".");
    let request = SubscriptionRequest {
        durable_name: "d".repeat(5000).into(),
        q_group: "q".repeat(5000).into(),
        ..all(&channel)
    };
    let mut session = server.session(&id);
    let subscribed = session.subscribe(request.clone()).unwrap();
    publish(&mut session, &channel, 1);
    assert_eq!(next(&mut session), (1, 0));
    session.close_subscription(&subscribed).unwrap();
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    session.reconnect(&server.address).unwrap();
    session.subscribe(request).unwrap();
    assert_eq!(next(&mut session).0, 1);
    session.ping().unwrap();
}

#[test]
fn channels_differ_by_more_than_case_in_any_script() {
    // §4, §6.1; §14 quirk 10.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    for (old, new) in [("Foo.Bar", "foo.bar"), ("Ä.ß", "ä.ß"), ("ДА", "да"), ("Σ", "σ")] {
        publish(&mut session, old, 1);
        let text =
            format!(r#"rejecting channel "{new}" because channel "{old}" alreay exists (different cases not allowed)"#);
        assert_eq!(refusal(session.publish(new, b"x")), text);
        assert_eq!(refusal(session.subscribe(all(new))), text);
        publish(&mut session, old, 1);
    }
}

#[test]
fn a_publish_without_guid_is_refused() {
    // §2.8: also one without anything.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let nothing = PubMsg::default();
    let no_guid = PubMsg {
        client_id: "me".into(),
        conn_id: session.connection_id.clone().into(),
        subject: "foo".into(),
        ..PubMsg::default()
    };
    for message in [nothing, no_guid] {
        let answer = session
            .request("_STAN.pub.test-cluster.foo", &message.encode_to_vec())
            .unwrap();
        let ack = PubAck::decode(answer.as_slice()).unwrap();
        assert_eq!((&ack.guid[..], ack.error), (&b""[..], INVALID_PUBLISH.into()));
    }
    assert_eq!(server.get("/streaming/channelsz?channel=foo").0, 404);
}

#[test]
fn plain_subscriptions_are_served_before_groups() {
    // §5.3: of a message that is new.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let members: BTreeSet<String> = (0..2)
        .map(|_| session.subscribe(queue(all("foo"))).unwrap().inbox)
        .collect();
    let plain: Vec<Subscribed> = [all("foo"), durable(all("foo"))]
        .into_iter()
        .map(|request| session.subscribe(request).unwrap())
        .collect();
    for sequence in 1..=20 {
        publish(&mut session, "foo", 1);
        let inboxes: Vec<String> = (0..3)
            .map(|_| {
                let message = session.next_message(PATIENCE).unwrap();
                assert_eq!(message.sequence, sequence);
                message.inbox
            })
            .collect();
        assert!(plain.iter().all(|one| inboxes[..2].contains(&one.inbox)) && members.contains(&inboxes[2]));
    }
}

#[test]
fn only_plain_durables_are_replaced() {
    // §5.7: a further subscription to a durable group is a member, also where durables may be replaced.
    let server = Server::in_memory(&["-replace_durable"]);
    let (mut a, mut b) = (server.session("a"), server.session("b"));
    for _ in 0..2 {
        for session in [&mut a, &mut b] {
            session.subscribe(queue(durable(all("foo")))).unwrap();
            session.subscribe(durable(all("bar"))).unwrap();
        }
    }
    assert_eq!(subscriptions(&server, "foo").len(), 4);
    let shown = subscriptions(&server, "bar");
    assert_eq!(shown.len(), 2, "one for each client");
    assert!(shown.iter().all(|shown| !shown.offline));
    publish(&mut a, "bar", 1);
    assert_eq!((next(&mut a), next(&mut b)), ((1, 0), (1, 0)));
    assert!(is_quiet(&mut a) && is_quiet(&mut b));
}

#[test]
fn publishes_are_acknowledged_whatever_the_batches() {
    // §13.8 IOChannel: the original's settings for its batches are taken, and change nothing that can be seen.
    for more in [
        ["-io_batch_size", "0"],
        ["-io_batch_size", "50"],
        ["-io_batch_size", "1024"],
        ["-io_sleep_time", "500"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::with_files(directory.path(), &more);
        let mut session = server.session("me");
        publish(&mut session, "foo", 500);
        assert!(
            server
                .get("/streaming/channelsz?channel=foo")
                .1
                .contains("\"msgs\": 500,"),
            "{more:?}"
        );
    }
}

#[test]
fn subscriptions_may_share_a_delivery_inbox() {
    // §2.9: the server does not look at it; each has its own ack inbox, pending messages and end.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let first = session.subscribe(hasty(all("foo"))).unwrap();
    let request = SubscriptionRequest {
        client_id: "me".into(),
        inbox: first.inbox.clone().into(),
        ..hasty(all("foo"))
    };
    let answer = session
        .request("_STAN.sub.test-cluster", &request.encode_to_vec())
        .unwrap();
    let response = seaway_stan_protocol::messages::SubscriptionResponse::decode(answer.as_slice()).unwrap();
    let second = Subscribed {
        ack_inbox: String::from_utf8(response.ack_inbox.to_vec()).unwrap(),
        ..first.clone()
    };
    assert_ne!(first.ack_inbox, second.ack_inbox);
    publish(&mut session, "foo", 1);
    assert_eq!(take(&mut session, 2), [(1, 0), (1, 0)]);
    session.ack(&first, 1);
    assert_eq!(next(&mut session), (1, 1), "the other one did not acknowledge it");
    session.unsubscribe(&first).unwrap();
    publish(&mut session, "foo", 1);
    let mut fresh = Vec::new();
    while let Ok(message) = session.next_message(std::time::Duration::from_millis(300)) {
        session.ack(&second, message.sequence);
        fresh.extend((!message.redelivered).then_some(message.sequence));
    }
    assert_eq!(fresh, [2]);
}

#[test]
fn one_connection_carries_several_clients() {
    // §2.14: libraries let streaming connections share a NATS connection; each has its ID, and its end is its own.
    let server = Server::in_memory(&[]);
    let mut session = server.session("first");
    let second = second_client(&mut session);
    publish(&mut session, "foo", 1);
    let first = (session.client_id.clone(), session.connection_id.clone());
    (session.client_id, session.connection_id) = second;
    publish(&mut session, "foo", 1);
    session.subscribe(all("foo")).unwrap();
    assert_eq!(take(&mut session, 2), firsts(1..=2));
    session.close().unwrap();
    assert_eq!(refusal(session.publish("foo", b"x")), INVALID_PUBLISH);
    (session.client_id, session.connection_id) = first;
    publish(&mut session, "foo", 1);
    session.subscribe(in_flight(all("foo"), 1)).unwrap();
    assert_eq!(next(&mut session), (1, 0));
    assert!(is_quiet(&mut session));
}

/// Registers another client over the same connection; its heartbeats are answered by the same session.
fn second_client(session: &mut Session) -> (String, String) {
    let request = seaway_stan_protocol::messages::ConnectRequest {
        client_id: "second".into(),
        heartbeat_inbox: session.ack_subject.clone().into(),
        protocol: 1,
        conn_id: "second-connection".into(),
        ..Default::default()
    };
    let answer = session
        .request("_STAN.discover.test-cluster", &request.encode_to_vec())
        .unwrap();
    let response = seaway_stan_protocol::messages::ConnectResponse::decode(answer.as_slice()).unwrap();
    assert_eq!(response.error, "");
    ("second".to_owned(), "second-connection".to_owned())
}

/// The head and the body of the answer to a request for a page.
fn page(server: &Server, path: &str) -> (String, String) {
    let mut socket = TcpStream::connect(server.monitoring.as_ref().unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn pages_say_what_they_are() {
    // §8.1; §13.9 MonitorServerz (content types, JSONP), MonitorClientz, MonitorChannelz (what is not known).
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    session.subscribe(all("foo")).unwrap();
    for path in [
        "/streaming/serverz",
        "/streaming/storez",
        "/streaming/clientsz",
        "/streaming/channelsz",
        "/streaming/clientsz?client=me",
        "/streaming/channelsz?channel=foo",
    ] {
        let (head, body) = page(&server, path);
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert!(
            head.contains("\r\ncontent-type: application/json\r\n"),
            "{path}: {head}"
        );
        assert!(head.contains("\r\naccess-control-allow-origin: *"), "{path}: {head}");
        assert!(
            body.starts_with("{\n  \"") && body.trim_end().ends_with('}'),
            "{path}: {body}"
        );
        let both = if path.contains('?') { '&' } else { '?' };
        let (head, body) = page(&server, &format!("{path}{both}callback=fn"));
        assert!(
            head.contains("\r\ncontent-type: application/javascript"),
            "{path}: {head}"
        );
        assert!(!head.contains("access-control-allow-origin"), "{path}: {head}");
        assert!(
            body.starts_with("fn({\n") && body.trim_end().ends_with("})"),
            "{path}: {body}"
        );
    }
    for (path, text) in [
        ("/streaming/clientsz?client=nobody", "Client nobody not found\n"),
        ("/streaming/channelsz?channel=none", "Channel none not found\n"),
    ] {
        let (head, body) = page(&server, path);
        assert!(
            head.starts_with("http/1.1 404 ") && head.contains("\r\ncontent-type: text/plain"),
            "{head}"
        );
        assert_eq!(body, text);
    }
    let (head, body) = page(&server, "/streaming");
    assert!(head.contains("\r\ncontent-type: text/html; charset=utf-8"), "{head}");
    for name in ["serverz", "storez", "clientsz", "channelsz"] {
        assert!(body.contains(&format!("/streaming/{name}")), "{name}: {body}");
    }
    let (head, body) = page(&server, "/streaming/isFTActive");
    assert!(head.starts_with("http/1.1 204 ") && body.is_empty(), "{head}");
}
