//! The monitoring endpoints over HTTP (`streaming-protocol.md` §8, `nats-core.md` §6).

mod support;

use seaway_bench::stan::subscription;
use support::{PATIENCE, Server};

fn keys(json: &str) -> Vec<&str> {
    json.lines()
        .filter(|line| line.starts_with("  \""))
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once('"').map(|(key, _)| key))
        .collect()
}

#[test]
fn the_broker_is_seen() {
    let server = Server::in_memory(&[]);
    assert_eq!(server.get("/healthz"), (200, "{\"status\":\"ok\"}".to_owned()));
    let mut session = server.session("client");
    session.connection.publish("foo", "", b"12345");
    session.connection.ping(PATIENCE).unwrap();
    let (status, body) = server.get("/varz");
    assert_eq!(status, 200);
    for key in [
        "server_id",
        "version",
        "max_payload",
        "in_msgs",
        "out_msgs",
        "connections",
        "subscriptions",
        "uptime",
    ] {
        assert!(keys(&body).contains(&key), "{key} is missing in {body}");
    }
    assert!(body.contains("\"connections\": 1,"), "{body}");
    let (status, body) = server.get("/connz?subs=1");
    assert_eq!(status, 200);
    assert!(body.contains("\"num_connections\": 1,"), "{body}");
    assert!(body.contains(&session.ack_subject), "{body}");
    assert_eq!(server.get("/nonsense").0, 404);
}

#[test]
fn the_streaming_server_is_seen() {
    let server = Server::in_memory(&[]);
    let (status, body) = server.get("/streaming/serverz");
    assert_eq!(status, 200);
    assert_eq!(
        keys(&body),
        [
            "cluster_id",
            "server_id",
            "version",
            "go",
            "state",
            "now",
            "start_time",
            "uptime",
            "clients",
            "subscriptions",
            "channels",
            "total_msgs",
            "total_bytes",
            "in_msgs",
            "in_bytes",
            "out_msgs",
            "out_bytes",
            "open_fds",
            "max_fds"
        ],
        "§8.3, in this order"
    );
    let mut session = server.session("client");
    let mut request = subscription("foo");
    request.durable_name = "dur".into();
    let subscribed = session.subscribe(request).unwrap();
    session.subscribe(subscription("foo")).unwrap();
    for _ in 0..5 {
        session.publish("foo", b"hi").unwrap();
    }
    for _ in 0..10 {
        session.next_message(PATIENCE).unwrap();
    }
    session.ack(&subscribed, 1);
    session.connection.ping(PATIENCE).unwrap();
    session.publish("bar", b"hi").unwrap();
    // §13.9 MonitorInOutMsgs.
    let (_, body) = server.get("/streaming/serverz");
    for line in [
        "\"clients\": 1,",
        "\"subscriptions\": 2,",
        "\"channels\": 2,",
        "\"in_msgs\": 6,",
        "\"out_msgs\": 10,",
    ] {
        assert!(body.contains(line), "{line} is missing in {body}");
    }
    let (_, body) = server.get("/streaming/channelsz?channel=foo&subs=1");
    for line in [
        "\"name\": \"foo\",",
        "\"msgs\": 5,",
        "\"first_seq\": 1,",
        "\"last_seq\": 5,",
        "\"subs_count\": 2,",
        "\"durable_name\": \"dur\",",
        "\"pending_count\": 4,",
        "\"pending_count\": 5,",
        "\"last_sent\": 5,",
        "\"max_inflight\": 1024,",
        "\"ack_wait\": 30,",
    ] {
        assert!(body.contains(line), "{line} is missing in {body}");
    }
    let (_, body) = server.get("/streaming/channelsz");
    assert!(body.contains("\"names\": [\n    \"bar\",\n    \"foo\"\n  ]"), "{body}");
    session.close_subscription(&subscribed).unwrap();
    let (_, body) = server.get("/streaming/channelsz?channel=foo&subs=1");
    assert!(
        body.contains("\"is_offline\": true,"),
        "§13.9 MonitorDurableSubs: {body}"
    );
    let (status, body) = server.get("/streaming/clientsz?client=client&subs=1");
    assert_eq!(status, 200);
    assert!(body.contains("\"id\": \"client\","), "{body}");
    assert_eq!(
        server.get("/streaming/clientsz?client=nobody"),
        (404, "Client nobody not found\n".to_owned())
    );
    assert_eq!(
        server.get("/streaming/channelsz?channel=none"),
        (404, "Channel none not found\n".to_owned())
    );
    assert_eq!(server.get("/streaming/isFTActive").0, 204);
    let (_, body) = server.get("/streaming/clientsz?offset=10&limit=-1");
    assert!(
        body.contains("\"offset\": 10,\n  \"limit\": 1024,\n  \"count\": 0,\n  \"total\": 1,"),
        "{body}"
    );
    let (_, body) = server.get("/streaming/storez");
    assert!(body.contains("\"type\": \"MEMORY\","), "{body}");
}
