//! Requests, answers and bytes through a socket, line by line (`streaming-protocol.md` §2, §4, §13.1, §14).

use std::time::{Duration, Instant};

use crate::support::requests::{
    INVALID_PUBLISH, INVALID_SUBSCRIPTION, UNKNOWN_CLIENT, all, durable, is_quiet, next, publish, refusal,
    subscriptions, wait_for,
};
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, Subscribed, subscription};
use seaway_bench::wire::{Connection, Frame};
use seaway_stan_protocol::messages::{
    ConnectRequest, ConnectResponse, PubAck, PubMsg, SubscriptionRequest, SubscriptionResponse, UnsubscribeRequest,
};
use seaway_stan_protocol::{Message, MessageView};

/// The error in the answer to a subscribe request that is sent as it is.
fn asked(session: &mut Session, request: &SubscriptionRequest) -> String {
    let answer = session
        .request("_STAN.sub.test-cluster", &request.encode_to_vec())
        .unwrap();
    let response = SubscriptionResponse::decode(answer.as_slice()).unwrap();
    String::from_utf8(response.error.to_vec()).unwrap()
}

/// The next message on a raw connection: subject, reply subject, payload.
fn arrived(connection: &mut Connection) -> (String, String, Vec<u8>) {
    loop {
        if let Frame::Message {
            subject,
            reply,
            payload,
            ..
        } = connection.next_frame(PATIENCE).unwrap()
        {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            return (text(subject), text(reply), payload);
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn a_subscribe_request_is_put_right_field_by_field() {
    // §4, §13.1 InvalidSubRequest; §14 quirk 12.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let mut request = SubscriptionRequest::default();
    assert_eq!(asked(&mut session, &request), "stan: clientID missing");
    request.client_id = "nobody".into();
    for wait in [0, -1] {
        request.ack_wait_in_secs = wait;
        assert_eq!(
            asked(&mut session, &request),
            "stan: invalid ack wait time, should be >= 1s"
        );
    }
    request.ack_wait_in_secs = 1;
    for max in [0, -1] {
        request.max_in_flight = max;
        assert_eq!(
            asked(&mut session, &request),
            "stan: invalid MaxInflight, should be >= 1"
        );
    }
    request.max_in_flight = 1;
    for position in [-1, 5] {
        request.start_position = position;
        assert_eq!(asked(&mut session, &request), "stan: invalid start position");
    }
    request.start_position = 4;
    for subject in ["", "foo*.bar", "foo.bar*", "foo.>.*", "foo..bar", "foo/bar"] {
        request.subject = subject.to_owned().into();
        assert_eq!(asked(&mut session, &request), "stan: invalid subject", "{subject:?}");
    }
    request.subject = "foo".into();
    assert_eq!(asked(&mut session, &request), UNKNOWN_CLIENT);
    assert_eq!(
        server.get("/streaming/channelsz?channel=foo").0,
        404,
        "too early for a channel"
    );
    request.client_id = "me".into();
    request.q_group = "q".into();
    request.durable_name = "dur:name".into();
    assert_eq!(
        asked(&mut session, &request),
        "stan: durable name of a durable queue subscriber can't contain the character ':'"
    );
    assert!(
        subscriptions(&server, "foo").is_empty(),
        "refused, but the channel is there"
    );
    request.q_group = "".into();
    assert_eq!(asked(&mut session, &request), "", "a plain durable may have a colon");
    session.close().unwrap();
    assert_eq!(
        asked(&mut session, &request),
        UNKNOWN_CLIENT,
        "a durable of a client that closed"
    );
    assert!(subscriptions(&server, "foo")[0].offline);
}

#[test]
fn an_unsubscribe_request_with_a_wrong_field_changes_nothing() {
    // §2.12, §13.1 InvalidUnsubRequest, SubCloseError; the right request then works.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    for subject in ["_STAN.unsub.test-cluster", "_STAN.subclose.test-cluster"] {
        let subscribed = session.subscribe(all("foo")).unwrap();
        let right = UnsubscribeRequest {
            client_id: "me".into(),
            subject: "foo".into(),
            inbox: subscribed.ack_inbox.clone().into(),
            ..UnsubscribeRequest::default()
        };
        let with = |change: fn(&mut UnsubscribeRequest)| {
            let mut request = right.clone();
            change(&mut request);
            request
        };
        for (request, error) in [
            (UnsubscribeRequest::default(), "stan: unknown channel"),
            (with(|wrong| wrong.subject = "bar".into()), "stan: unknown channel"),
            (with(|wrong| wrong.inbox = "".into()), INVALID_SUBSCRIPTION),
            (with(|wrong| wrong.inbox = "_INBOX.other".into()), INVALID_SUBSCRIPTION),
            (with(|wrong| wrong.client_id = "".into()), UNKNOWN_CLIENT),
            (with(|wrong| wrong.client_id = "nobody".into()), UNKNOWN_CLIENT),
        ] {
            let answer = session.request(subject, &request.encode_to_vec()).unwrap();
            let response = SubscriptionResponse::decode(answer.as_slice()).unwrap();
            assert_eq!(response.error, error, "{subject} {request:?}");
        }
        assert_eq!(subscriptions(&server, "foo").len(), 1, "it is still there");
        // The durable name is ignored; nobody has to wait for the answer (§2.12).
        let answer = session.request(subject, &with(|odd| odd.durable_name = "odd".into()).encode_to_vec());
        assert_eq!(answer.unwrap(), b"", "§14 quirk 1");
        let subscribed = session.subscribe(all("foo")).unwrap();
        let unanswered = UnsubscribeRequest {
            inbox: subscribed.inbox.clone().into(),
            ..right.clone()
        };
        session.connection.publish(subject, "", &unanswered.encode_to_vec());
        session.ping().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !subscriptions(&server, "foo").is_empty() {
            assert!(
                Instant::now() < deadline,
                "{subject} without reply is done all the same"
            );
        }
    }
}

#[test]
fn a_refused_close_is_repeated() {
    // §2.13, §13.1 ConnCloseError, DoubleClose, Close, Unsubscribe.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let subscribed = session.subscribe(all("foo")).unwrap();
    let right = std::mem::replace(&mut session.client_id, "nobody".to_owned());
    assert_eq!(refusal(session.close()), UNKNOWN_CLIENT);
    assert_eq!(refusal(session.unsubscribe(&subscribed)), UNKNOWN_CLIENT);
    session.client_id = String::new();
    assert_eq!(refusal(session.close()), UNKNOWN_CLIENT);
    session.client_id = right;
    publish(&mut session, "foo", 1);
    assert_eq!(next(&mut session), (1, 0), "it is still connected and subscribed");
    session.close().unwrap();
    assert_eq!(refusal(session.close()), UNKNOWN_CLIENT);
}

#[test]
fn the_bytes_on_the_wire_are_as_specified() {
    // §2.2, §2.3, §2.15, §2.6 rules 1 and 5; §14 quirks 1, 4 and 18.
    let server = Server::in_memory(&[]);
    let mut connection = Connection::open(&server.address).unwrap();
    for subject in ["_INBOX.s", "r.*", "_STAN.acks.x"] {
        connection.subscribe(subject);
    }
    let connect = hex("0a 02 6d 65 12 09 5f 49 4e 42 4f 58 2e 68 62 18 01 22 02 63 31 28 05 30 58");
    let subscribe = hex("0a 02 6d 65 12 03 66 6f 6f 22 08 5f 49 4e 42 4f 58 2e 73 28 80 08 30 1e 3a 03 64 75 72 50 04");
    let publish = hex("0a 02 6d 65 12 02 67 31 1a 03 66 6f 6f 2a 02 68 69 32 02 63 31");
    let mut request = |subject: &str, payload: &[u8]| {
        connection.publish(subject, "r.1", payload);
        let (subject, _, payload) = arrived(&mut connection);
        assert_eq!(subject, "r.1");
        payload
    };
    let mut expected = Vec::new();
    for (number, text) in [
        (1, "_STAN.pub.test-cluster"),
        (2, "_STAN.sub.test-cluster"),
        (3, "_STAN.unsub.test-cluster"),
        (4, "_STAN.close.test-cluster"),
        (6, "_STAN.subclose.test-cluster"),
        (7, "_STAN.discover.test-cluster.pings"),
    ] {
        expected.extend([number << 3 | 2, u8::try_from(text.len()).unwrap()]);
        expected.extend(text.as_bytes());
    }
    expected.extend(hex("40 05 48 58 50 01"));
    assert_eq!(request("_STAN.discover.test-cluster", &connect), expected);
    let unknown = subscribe.iter().map(|byte| if *byte == b'e' { b'a' } else { *byte });
    assert_eq!(
        request("_STAN.sub.test-cluster", &unknown.collect::<Vec<u8>>()),
        hex("1a 16 73 74 61 6e 3a 20 75 6e 6b 6e 6f 77 6e 20 63 6c 69 65 6e 74 49 44")
    );
    let ack_inbox = |answer: Vec<u8>| {
        assert_eq!(
            (answer[0], usize::from(answer[1])),
            (0x12, answer.len() - 2),
            "field 2 alone"
        );
        answer[2..].to_vec()
    };
    let first = ack_inbox(request("_STAN.sub.test-cluster", &subscribe));
    assert_eq!(request("_STAN.discover.test-cluster.pings", &hex("0a 02 63 31")), b"");

    connection.publish("_STAN.pub.test-cluster.foo", "_STAN.acks.x", &publish);
    let (subject, reply, message) = arrived(&mut connection);
    assert_eq!(
        (&*subject, &*reply),
        ("_INBOX.s", ""),
        "the message before its PubAck, and nothing to reply to"
    );
    let head = hex("08 01 12 03 66 6f 6f 22 02 68 69 28");
    assert_eq!((&message[..head.len()], message.len()), (&head[..], head.len() + 9));
    let (subject, _, ack) = arrived(&mut connection);
    assert_eq!((&*subject, ack), ("_STAN.acks.x", hex("0a 02 67 31")));

    // Closed, resumed: another ack inbox, then the same bytes with the two fields of a redelivery behind them.
    let leave = |ack_inbox: &[u8]| {
        let mut bytes = hex("0a 02 6d 65 12 03 66 6f 6f 1a");
        bytes.push(u8::try_from(ack_inbox.len()).unwrap());
        bytes.extend(ack_inbox);
        bytes
    };
    let mut request = |subject: &str, payload: &[u8]| {
        connection.publish(subject, "r.1", payload);
        let (subject, _, payload) = arrived(&mut connection);
        assert_eq!(subject, "r.1");
        payload
    };
    assert_eq!(request("_STAN.subclose.test-cluster", &leave(&first)), b"");
    let second = ack_inbox(request("_STAN.sub.test-cluster", &subscribe));
    assert_ne!(first, second);
    let again = [message, hex("30 01 38 01")].concat();
    assert_eq!(arrived(&mut connection), ("_INBOX.s".to_owned(), String::new(), again));
    let mut request = |subject: &str, payload: &[u8]| {
        connection.publish(subject, "r.1", payload);
        arrived(&mut connection).2
    };
    assert_eq!(request("_STAN.unsub.test-cluster", &leave(&second)), b"");
    assert_eq!(request("_STAN.close.test-cluster", &hex("0a 02 6d 65")), b"");
}

#[test]
fn messages_are_decoded_leniently_where_the_format_is() {
    // §2.2: unknown fields, repeated fields, text that is no UTF-8; §2.8: no reply, `reply` copied.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let mut other = Connection::open(&server.address).unwrap();
    other.subscribe("_INBOX.raw");
    other.ping(PATIENCE).unwrap();
    let request = SubscriptionRequest {
        client_id: "me".into(),
        inbox: "_INBOX.raw".into(),
        ..all("foo")
    };
    // An unknown field 99 in front, a queue group that a later occurrence empties.
    let bytes = [hex("9a 06 01 00 1a 01 71"), request.encode_to_vec(), hex("1a 00")].concat();
    let answer = session.request("_STAN.sub.test-cluster", &bytes).unwrap();
    assert_eq!(SubscriptionResponse::decode(answer.as_slice()).unwrap().error, "");
    assert!(
        !server
            .get("/streaming/channelsz?channel=foo&subs=1")
            .1
            .contains("\"queue_name\": \"q\"")
    );
    let message = PubMsg {
        client_id: "me".into(),
        guid: b"\xff\xfe".as_slice().into(),
        subject: "foo".into(),
        reply: b"\xc0answer".as_slice().into(),
        sha256: "ignored".into(),
        ..PubMsg::default()
    };
    // Twice the GUID: the last one counts.
    let bytes = [hex("12 01 78"), message.encode_to_vec()].concat();
    let answer = session.request("_STAN.pub.test-cluster.foo", &bytes).unwrap();
    let ack = PubAck::decode(answer.as_slice()).unwrap();
    assert_eq!((&ack.guid[..], &ack.error[..]), (&b"\xff\xfe"[..], &b""[..]));
    let (_, _, payload) = arrived(&mut other);
    let received = MessageView::decode(&payload).unwrap();
    assert_eq!(
        (received.reply, received.data),
        (&b"\xc0answer"[..], &b""[..]),
        "an empty payload is one"
    );
    // Nobody waits for the ack.
    session
        .connection
        .publish("_STAN.pub.test-cluster.foo", "", &message.encode_to_vec());
    session.connection.flush().unwrap();
    let (_, _, payload) = arrived(&mut other);
    assert_eq!(MessageView::decode(&payload).unwrap().sequence, 2);
    // A wrong wire type on a known field: invalid, whatever else is right.
    let bytes = [message.encode_to_vec(), hex("18 01")].concat();
    let answer = session.request("_STAN.pub.test-cluster.foo", &bytes).unwrap();
    assert_eq!(PubAck::decode(answer.as_slice()).unwrap().error, INVALID_PUBLISH);
    // Names may be any bytes that are no wildcard.
    let odd = PubMsg {
        subject: b"odd \xff name".as_slice().into(),
        ..message
    };
    let answer = session
        .request("_STAN.pub.test-cluster.odd", &odd.encode_to_vec())
        .unwrap();
    assert_eq!(PubAck::decode(answer.as_slice()).unwrap().error, "");
}

#[test]
fn who_publishes_where_is_in_the_message() {
    // §2.3, §2.14; §13.1 ClientIDAndConnIDInPubMsg; §14 quirks 2 and 3.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let right = session.connection_id.clone();
    for (client_id, conn_id, error) in [
        ("me", &*right, ""),
        ("nobody", &*right, ""),
        ("", &*right, ""),
        ("me", "", ""),
        ("me", "wrong", INVALID_PUBLISH),
        ("nobody", "", INVALID_PUBLISH),
        ("", "", INVALID_PUBLISH),
    ] {
        let message = PubMsg {
            client_id: client_id.to_owned().into(),
            conn_id: conn_id.to_owned().into(),
            guid: "guid".into(),
            subject: "here".into(),
            ..PubMsg::default()
        };
        let answer = session
            .request("_STAN.pub.test-cluster.there", &message.encode_to_vec())
            .unwrap();
        let ack = PubAck::decode(answer.as_slice()).unwrap();
        assert_eq!(
            (&ack.guid[..], ack.error),
            (&b"guid"[..], error.into()),
            "{client_id:?} {conn_id:?}"
        );
    }
    assert_eq!(server.get("/streaming/channelsz?channel=there").0, 404);
    assert!(
        server
            .get("/streaming/channelsz?channel=here")
            .1
            .contains("\"msgs\": 4,")
    );
}

#[test]
fn ping_settings_are_echoed_to_those_who_ping() {
    // §2.3 ConnectResponse, §2.7, §13.1 Pings; §14 quirk 1 (protocol).
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    for (protocol, interval, expected) in [
        (1, -50, ("_STAN.discover.test-cluster.pings", -50, 88)),
        (7, i32::MIN, ("_STAN.discover.test-cluster.pings", i32::MIN, 88)),
        (0, 5, ("", 0, 0)),
        (-1, 5, ("", 0, 0)),
    ] {
        let request = ConnectRequest {
            client_id: format!("client{protocol}").into(),
            heartbeat_inbox: "_INBOX.hb".into(),
            protocol,
            conn_id: format!("conn{protocol}").into(),
            ping_interval: interval,
            ping_max_out: 88,
        };
        let answer = session
            .request("_STAN.discover.test-cluster", &request.encode_to_vec())
            .unwrap();
        let response = ConnectResponse::decode(answer.as_slice()).unwrap();
        assert_eq!(
            (response.error, response.protocol),
            ("".into(), 1),
            "protocol {protocol}"
        );
        assert_eq!(
            (response.ping_requests, response.ping_interval, response.ping_max_out),
            (expected.0.into(), expected.1, expected.2)
        );
        session.connection_id = format!("conn{protocol}");
        session.ping().expect("a connection ID is enough to ping");
    }
}

#[test]
fn one_failure_more_than_the_count_closes_a_client() {
    // §2.10; §14 quirk 6. The first heartbeat comes a full interval after the connect.
    let mut server = Server::in_memory(&["-hbi", "200ms", "-hbt", "50ms", "-hbf", "2"]);
    let mut session = server.session("me");
    session.answers = false;
    let begin = Instant::now();
    while session.probes == 0 {
        let _ = session.next_message(Duration::from_millis(20));
        assert!(begin.elapsed() < PATIENCE);
    }
    assert!(begin.elapsed() >= Duration::from_millis(150), "{:?}", begin.elapsed());
    while !server.get("/streaming/serverz").1.contains("\"clients\": 0,") {
        let _ = session.next_message(Duration::from_millis(20));
        assert!(begin.elapsed() < PATIENCE);
    }
    assert_eq!(session.probes, 3);
    assert!(server.wait_for_line("[Client:me] Timed out on heartbeats").is_some());
}

#[test]
fn any_payload_answers_a_heartbeat() {
    // §2.10; §14 quirk 14.
    let server = Server::in_memory(&["-hbi", "50ms", "-hbt", "100ms", "-hbf", "1"]);
    let mut connection = Connection::open(&server.address).unwrap();
    connection.subscribe("_INBOX.hb");
    connection.subscribe("answer");
    let request = ConnectRequest {
        client_id: "me".into(),
        heartbeat_inbox: "_INBOX.hb".into(),
        ..ConnectRequest::default()
    };
    connection.publish("_STAN.discover.test-cluster", "answer", &request.encode_to_vec());
    assert_eq!(arrived(&mut connection).0, "answer");
    for payload in [&b""[..], b"+OK", b"\xff\x00", &[b'x'; 4096]].iter().cycle().take(12) {
        let (subject, reply, request) = arrived(&mut connection);
        assert_eq!((&*subject, &*request), ("_INBOX.hb", &b""[..]));
        connection.publish(&reply, "", payload);
    }
    connection.flush().unwrap();
    assert!(server.get("/streaming/serverz").1.contains("\"clients\": 1,"));
}

#[test]
fn subscribe_requests_of_a_client_that_vanishes_meanwhile_name_the_reason() {
    // §13.1 SubRequestsFailedIfClientClosed.
    let server = Server::in_memory(&["-hbi", "100ms", "-hbt", "50ms", "-hbf", "1", "-msu", "0"]);
    let mut session = server.session("me");
    session.answers = false;
    let (mut taken, mut refused) = (0, 0);
    let begin = Instant::now();
    while refused < 100 {
        let request = SubscriptionRequest {
            client_id: "me".into(),
            inbox: "_INBOX.nobody".into(),
            ..subscription("foo")
        };
        match &*asked(&mut session, &request) {
            "" => {
                assert_eq!(refused, 0, "once it is gone it stays gone");
                taken += 1;
            }
            UNKNOWN_CLIENT => refused += 1,
            other => panic!("{other} after {taken} taken ones"),
        }
        assert!(begin.elapsed() < PATIENCE, "never closed: {taken}");
    }
    assert!(taken > 0);
    assert!(subscriptions(&server, "foo").is_empty());
}

#[test]
fn an_ack_for_an_unknown_channel_is_a_line_in_the_log() {
    // §2.9, §13.1 AckForUnknownChannel.
    let mut server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let subscribed = session.subscribe(all("foo")).unwrap();
    publish(&mut session, "foo", 1);
    assert_eq!(next(&mut session), (1, 0));
    let astray = Subscribed {
        channel: "nowhere".to_owned(),
        ..subscribed.clone()
    };
    session.ack(&astray, 1);
    session.connection.publish(&subscribed.ack_inbox, "", b"garbage");
    session.connection.flush().unwrap();
    assert!(
        server
            .wait_for_line("Unable to process ack seq=1, channel nowhere not found")
            .is_some()
    );
    assert_eq!(subscriptions(&server, "foo")[0].pending, 1);
    session.ack(&subscribed, 1);
    session.connection.flush().unwrap();
    wait_for(
        &server,
        "/streaming/channelsz?channel=foo&subs=1",
        "\"pending_count\": 0,",
    );
}

#[test]
fn a_subscribe_after_an_ack_begins_behind_it() {
    // §2.6 rules 4 and 7, §13.1 ProtocolOrder: the 50th ack, then NewOnly; acks come in the order of the publishes.
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let guids: Vec<String> = (0..50).map(|_| session.publish_async("foo", b"x")).collect();
    for guid in guids {
        assert_eq!(session.next_pub_ack(PATIENCE).unwrap().guid, guid.as_bytes());
    }
    session.subscribe(subscription("foo")).unwrap();
    assert!(is_quiet(&mut session));
    publish(&mut session, "foo", 2);
    assert_eq!((next(&mut session), next(&mut session)), ((51, 0), (52, 0)));
}

#[test]
fn a_replaced_client_has_the_inbox_of_its_successor() {
    // §13.1 ClientCrashAndReconnect.
    let server = Server::in_memory(&[]);
    let mut old = server.session("me");
    let (_, before) = server.get("/streaming/clientsz?client=me");
    let subscribed = old.subscribe(durable(all("foo"))).unwrap();
    drop(old);
    let mut new = server.session("me");
    let (_, after) = server.get("/streaming/clientsz?client=me");
    assert_ne!(before, after, "the heartbeat inbox is another one");
    assert!(subscriptions(&server, "foo")[0].offline);
    let resumed = new.subscribe(durable(all("foo"))).unwrap();
    assert_ne!(
        (resumed.inbox, resumed.ack_inbox),
        (subscribed.inbox, subscribed.ack_inbox)
    );
}
