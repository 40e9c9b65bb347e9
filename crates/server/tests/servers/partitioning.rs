//! A server with a part of the channels, as clients and other servers see it (`streaming-protocol.md` §10, §13.10).

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::requests::{INVALID_PUBLISH, all, bounds, durable, next, number, refusal};
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::{Session, token};
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::{
    ConnectRequest, ConnectResponse, PubMsg, SubscriptionRequest, UnsubscribeRequest,
};
use seaway_stan_protocol::partition::{decode_partitioning, encode_channel_lists, encode_partitioning};

const LISTS: &str = "_STAN.part.test-cluster";
const INVALID_SUBSCRIBE: &str = "stan: invalid subscription request";

fn configuration(entries: &[&str]) -> String {
    let entries: String = entries.iter().map(|entry| format!("{entry:?}: {{}}\n")).collect();
    format!("streaming {{ partitioning: true, store_limits {{ channels {{ {entries} }} }} }}")
}

fn serving(directory: &Path, entries: &[&str]) -> Server {
    Server::configured(directory, &configuration(entries), &[]).unwrap()
}

/// Sends a request that nobody should answer, then one that the same server answers after it.
fn is_ignored(session: &mut Session, subject: &str, payload: &[u8]) -> bool {
    let inbox = format!("ignored.{}", token());
    session.connection.subscribe(&inbox);
    session.connection.publish(subject, &inbox, payload);
    session.ping().unwrap();
    session.waiting_messages() == 0
}

#[test]
fn only_listed_channels_are_served() {
    // §13.10 PartitionsOnlyThoseWork, PartitionsWildcards.
    let directory = tempfile::tempdir().unwrap();
    let server = serving(directory.path(), &["foo.*", "bar"]);
    let mut session = server.session("me");
    for channel in ["foo.a", "bar"] {
        session.subscribe(all(channel)).unwrap();
        session.publish(channel, b"x").unwrap();
        assert_eq!(next(&mut session), (1, 0));
    }
    for channel in ["foo", "foo.a.b", "baz"] {
        // The broker may say that nobody listens; the server hears nothing of it.
        let before = number(&server, "/streaming/serverz", "in_msgs");
        let message = PubMsg {
            client_id: "me".into(),
            guid: "guid".into(),
            subject: channel.to_owned().into(),
            ..PubMsg::default()
        };
        let subject = format!("_STAN.pub.test-cluster.{channel}");
        session.connection.publish(&subject, "", &message.encode_to_vec());
        session.ping().unwrap();
        assert_eq!(number(&server, "/streaming/serverz", "in_msgs"), before);
        let request = SubscriptionRequest {
            client_id: "me".into(),
            inbox: "inbox".into(),
            ..all(channel)
        };
        assert!(
            is_ignored(&mut session, "_STAN.sub.test-cluster", &request.encode_to_vec()),
            "{channel}"
        );
        let request = UnsubscribeRequest {
            client_id: "me".into(),
            subject: channel.to_owned().into(),
            inbox: "inbox".into(),
            ..UnsubscribeRequest::default()
        };
        for subject in ["_STAN.unsub.test-cluster", "_STAN.subclose.test-cluster"] {
            assert!(
                is_ignored(&mut session, subject, &request.encode_to_vec()),
                "{channel} {subject}"
            );
        }
        assert_eq!(server.get(&format!("/streaming/channelsz?channel={channel}")).0, 404);
    }
    // What is wrong with the request itself is told whoever serves the channel.
    for channel in ["foo.*", "baz.>"] {
        assert_eq!(refusal(session.subscribe(all(channel))), "stan: invalid subject");
    }
    session.close().unwrap();
}

#[test]
fn a_publish_that_several_entries_match_is_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving(directory.path(), &["foo.*", "*.bar", "foo.>", "foo.bar"]);
    let mut session = server.session("me");
    for _ in 0..3 {
        session.publish_async("foo.bar", b"");
    }
    for _ in 0..3 {
        assert_eq!(session.next_pub_ack(PATIENCE).unwrap().error, "");
    }
    session.ping().unwrap();
    assert_eq!(bounds(&server, "foo.bar"), (3, 1, 3));
}

/// Another registration over the same NATS connection.
fn connect(session: &mut Session, client_id: &str, connection_id: &str) {
    let request = ConnectRequest {
        client_id: client_id.to_owned().into(),
        heartbeat_inbox: "nobody.there".into(),
        protocol: 1,
        conn_id: connection_id.to_owned().into(),
        ..ConnectRequest::default()
    };
    let answer = session
        .request("_STAN.discover.test-cluster", &request.encode_to_vec())
        .unwrap();
    assert_eq!(ConnectResponse::decode(answer.as_slice()).unwrap().error, "");
}

#[test]
fn a_publish_before_the_connect_waits_a_second() {
    // §13.10 PartitionsRaceOnPub.
    let directory = tempfile::tempdir().unwrap();
    let server = serving(directory.path(), &["foo"]);
    let mut session = server.session("me");
    session.client_id = "late".to_owned();
    session.connection_id = "late-connection".to_owned();
    let started = Instant::now();
    assert_eq!(refusal(session.publish("foo", b"x")), INVALID_PUBLISH);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    let again = Instant::now();
    assert_eq!(refusal(session.publish("foo", b"x")), INVALID_PUBLISH);
    assert!(again.elapsed() < Duration::from_millis(900), "{:?}", again.elapsed());
    connect(&mut session, "late", "late-connection");
    session.publish("foo", b"x").unwrap();
    // What waits when the connect comes is taken, in order.
    session.connection_id = "other-connection".to_owned();
    let guids: Vec<String> = (0..3).map(|_| session.publish_async("foo", b"x")).collect();
    connect(&mut session, "other", "other-connection");
    for guid in guids {
        let ack = session.next_pub_ack(PATIENCE).unwrap();
        assert_eq!((&ack.guid[..], &ack.error[..]), (guid.as_bytes(), &b""[..]));
    }
    assert_eq!(bounds(&server, "foo"), (4, 1, 4));
}

#[test]
fn a_subscribe_before_the_connect_waits_a_second() {
    // §13.10 PartitionsRaceOnSub.
    let directory = tempfile::tempdir().unwrap();
    let server = serving(directory.path(), &["foo"]);
    let mut session = server.session("me");
    session.client_id = "late".to_owned();
    let started = Instant::now();
    assert_eq!(refusal(session.subscribe(all("foo"))), INVALID_SUBSCRIBE);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    let again = Instant::now();
    assert_eq!(refusal(session.subscribe(all("foo"))), INVALID_SUBSCRIBE);
    assert!(again.elapsed() < Duration::from_millis(900), "{:?}", again.elapsed());
    connect(&mut session, "late", "late-connection");
    session.subscribe(all("foo")).unwrap();
}

#[test]
fn durables_are_replaced_within_a_partition() {
    // §13.5 PartitionsDurableReplaced.
    let directory = tempfile::tempdir().unwrap();
    let server = Server::configured(directory.path(), &configuration(&["foo"]), &["-replace_durable"]).unwrap();
    let mut session = server.session("me");
    let first = session.subscribe(durable(all("foo"))).unwrap();
    let second = session.subscribe(durable(all("foo"))).unwrap();
    session.publish("foo", b"x").unwrap();
    assert_eq!(session.next_message(PATIENCE).unwrap().inbox, second.inbox);
    assert_eq!(
        refusal(session.close_subscription(&first)),
        "stan: invalid subscription"
    );
    session.close_subscription(&second).unwrap();
}

#[test]
fn other_servers_lists_are_answered() {
    // §10, §13.10 PartitionsDuplicatedOnTwoServers, PartitionsConflictDueToWildcards, PartitionsInvalidRequest.
    let directory = tempfile::tempdir().unwrap();
    let server = serving(directory.path(), &["foo.*", "bar"]);
    let mut session = server.session("me");
    let list = |names: &[&[u8]]| encode_channel_lists(b"another", names, 1 << 20).unwrap().remove(0);
    for (names, overlap) in [
        (&[&b"baz"[..], b"*.bar"][..], &b""[..]),
        (&[b"baz", b"bar"], b"bar"),
        (&[b"foo.a"], b"foo.a"),
        (&[b"a", b">"], b">"),
    ] {
        let answer = session.request(LISTS, &list(names)).unwrap();
        let answer = decode_partitioning(&answer).unwrap();
        assert_eq!(answer.data, overlap);
        assert_eq!(answer.server_id.len(), 22);
    }
    for garbage in [&b""[..], b"garbage", &encode_partitioning(b"another", b"\x03\x00fo")] {
        let inbox = token();
        session.connection.subscribe(&inbox);
        session.connection.publish(LISTS, &inbox, garbage);
    }
    session.connection.publish(LISTS, "", &list(&[b"bar"]));
    // The answer to this one is the next that comes.
    let answer = session.request(LISTS, &list(&[b"baz"])).unwrap();
    assert_eq!(decode_partitioning(&answer).unwrap().data, "");
    assert_eq!(session.waiting_messages(), 0, "garbage is not answered");
    assert_eq!(
        session.next_message(Duration::from_millis(50)).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
}

#[test]
fn a_server_with_nothing_or_nonsense_to_serve_does_not_start() {
    // §13.10 PartitionsNoChannelConfiguredError, PartitionsInvalidChannelName, PartitionsMaxPayload.
    let directory = tempfile::tempdir().unwrap();
    let failure = |configuration: &str| match Server::configured(directory.path(), configuration, &[]) {
        Ok(_) => panic!("{configuration} starts"),
        Err(log) => log.join("\n"),
    };
    assert!(failure("streaming { partitioning: true }").contains("stan: no configured channel"));
    for name in [".", ".foo", "foo.", "foo*", "foo.*.", "foo.>.bar", "foo/bar"] {
        let text = failure(&configuration(&[name]));
        assert!(text.contains("channel name"), "{name}: {text}");
    }
    let long = "x".repeat(54);
    let text = failure(&format!("max_payload: 50\n{}", configuration(&[&long])));
    assert!(
        text.contains("message payload too small to send channels list"),
        "{text}"
    );
}
