//! The monitoring endpoints over HTTP (`streaming-protocol.md` §8, `nats-core.md` §6).

use crate::support::{PATIENCE, Server};
use seaway_bench::stan::subscription;

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

/// Core specification §9.10 row 147: exact after a round trip.
#[test]
fn counters_are_current() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("client");
    let counts = || {
        let (_, body) = server.get("/varz");
        let value = |key: &str| -> u64 {
            let rest = body.split_once(&format!("\"{key}\": ")).expect("the key is there").1;
            rest.split(',').next().unwrap().parse().expect("a number")
        };
        (value("in_msgs"), value("in_bytes"))
    };
    let before = counts();
    for _ in 0..100 {
        session.connection.publish("foo", "", b"12345");
    }
    session.connection.ping(PATIENCE).unwrap();
    assert_eq!(counts(), (before.0 + 100, before.1 + 500));
}

/// Core specification §9.10 rows 148 and 149.
#[test]
fn connections_and_subscriptions_are_listed() {
    let server = Server::in_memory(&[]);
    let mut first = server.session("first");
    let mut second = server.session("second");
    first.connection.subscribe("orders.*");
    first.connection.ping(PATIENCE).unwrap();
    second.connection.ping(PATIENCE).unwrap();
    let (status, text) = server.get("/connz?sort=zz");
    assert_eq!((status, text.as_str()), (400, "invalid sorting option: zz"));
    let (_, body) = server.get("/connz?limit=1&offset=1");
    for line in [
        "\"num_connections\": 1,",
        "\"total\": 2,",
        "\"offset\": 1,",
        "\"limit\": 1,",
    ] {
        assert!(body.contains(line), "{line} is missing in {body}");
    }
    let (_, body) = server.get("/connz?subs=detail&acc=$G&filter_subject=orders.new");
    assert!(
        body.contains("\"subject\": \"orders.*\",") && body.contains("\"total\": 1,"),
        "{body}"
    );
    assert!(body.contains("\"account\": \"$G\""), "{body}");
    let (_, body) = server.get("/subsz?subs=1&test=orders.new");
    assert!(
        body.contains("\"total\": 1,") && body.contains("\"subject\": \"orders.*\","),
        "{body}"
    );
    assert_eq!(server.get("/subsz?test=orders.*").0, 400);
    drop(second);
    crate::support::requests::wait_for(&server, "/connz?state=closed", "\"reason\": \"Client Closed\"");
    let (_, body) = server.get("/connz?state=closed&sort=stop");
    assert!(
        body.contains("\"total\": 1,") && body.contains("\"stop\": \""),
        "{body}"
    );
    for (path, text) in [
        ("/routez", "\"num_routes\": 0,"),
        ("/gatewayz", "\"outbound_gateways\": {},"),
        ("/leafz", "\"leafs\": null"),
        ("/accountz", "\"$G\""),
        ("/accstatz", "\"conns\": 1,"),
        ("/jsz", "\"disabled\": true,"),
        ("/stacksz", "engine"),
    ] {
        let (status, body) = server.get(path);
        assert!(status == 200 && body.contains(text), "{path}: {body}");
    }
}

/// §8.1: the broker's endpoints begin with the base path; health in three kinds needs none.
#[test]
fn health_in_three_kinds() {
    let server = Server::in_memory(&[]);
    for path in [
        "/healthz",
        "/healthz/ready",
        "/healthz/live",
        "/healthz?js-enabled-only=true",
    ] {
        assert_eq!(server.get(path), (200, "{\"status\":\"ok\"}".to_owned()), "{path}");
    }
    assert_eq!(server.get("/healthz?details=zz").0, 400);
    let (_, page) = server.get("/streaming");
    for path in ["/streaming/serverz", "/streaming/why", "/metrics", "/healthz/live"] {
        assert!(page.contains(path), "{path}: {page}");
    }
}

/// §8.1, §13.9 MonitorClientsz, MonitorChannelsz: what is invalid gets the default, lists are in byte order.
#[test]
fn pages_of_clients_and_channels() {
    let server = Server::in_memory(&[]);
    let mut sessions: Vec<_> = ["b", "a", "C", "d", "e"].map(|id| server.session(id)).into();
    for channel in ["b", "a", "C", "d", "e"] {
        sessions[0].publish(channel, b"x").unwrap();
    }
    for (query, offset, limit, count) in [
        ("", 0, 1024, 5),
        ("?offset=-1&limit=-1", 0, 1024, 5),
        ("?offset=1", 1, 1024, 4),
        ("?offset=10", 10, 1024, 0),
        ("?limit=1", 0, 1, 1),
        ("?offset=3&limit=1", 3, 1, 1),
        ("?offset=x&limit=y", 0, 1024, 5),
    ] {
        for path in ["/streaming/clientsz", "/streaming/channelsz"] {
            let (status, body) = server.get(&format!("{path}{query}"));
            let expected =
                format!("\"offset\": {offset},\n  \"limit\": {limit},\n  \"count\": {count},\n  \"total\": 5");
            assert!(status == 200 && body.contains(&expected), "{path}{query}: {body}");
        }
    }
    let (_, body) = server.get("/streaming/channelsz");
    assert!(
        body.contains("\"C\",\n    \"a\",\n    \"b\",\n    \"d\",\n    \"e\""),
        "{body}"
    );
    let (_, body) = server.get("/streaming/clientsz");
    let ids: Vec<&str> = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"id\": "))
        .collect();
    assert_eq!(ids, ["\"C\",", "\"a\",", "\"b\",", "\"d\",", "\"e\","]);
    // §8.1: JSONP.
    let (status, body) = server.get("/streaming/channelsz?callback=show");
    assert!(
        status == 200 && body.starts_with("show({") && body.ends_with("})"),
        "{body}"
    );
}

/// §13.9 MonitorInOutMsgs, §8.6: an offline group shows its last owner until it is forgotten.
#[test]
fn counters_and_owners() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let mut request = crate::support::requests::hasty(subscription("foo"));
    request.durable_name = "dur".into();
    request.q_group = "group".into();
    let subscribed = session.subscribe(request).unwrap();
    for _ in 0..5 {
        session.publish("foo", b"hi").unwrap();
    }
    for _ in 0..10 {
        session.next_message(PATIENCE).unwrap();
    }
    let (_, body) = server.get("/streaming/serverz");
    assert!(
        body.contains("\"in_msgs\": 5,") && !body.contains("\"out_msgs\": 5,"),
        "{body}"
    );
    session.close_subscription(&subscribed).unwrap();
    let (_, body) = server.get("/streaming/channelsz?channel=foo&subs=1");
    for line in [
        "\"client_id\": \"me\",",
        "\"queue_name\": \"dur:group\",",
        "\"is_offline\": true,",
        "\"subs_count\": 1,",
    ] {
        assert!(body.contains(line), "{line} is missing in {body}");
    }
}
