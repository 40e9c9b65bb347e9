//! Every endpoint against its specified text (streaming specification §8, core specification §6).

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::fake::{Fake, START_NS};
use super::*;

pub(crate) fn moment() -> Moment {
    Moment {
        now: Timestamp::from_nanosecond(i128::from(START_NS) + 62_123_456_789).unwrap(),
        zone: TimeZone::fixed(jiff::tz::offset(1)),
    }
}

pub(super) fn ask(fake: Fake, url: &str) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    runtime.block_on(Site::new(Arc::new(fake)).answer_at(moment(), path, query, Accept::Any))
}

#[track_caller]
pub(super) fn check(url: &str, expected: &str) {
    let reply = ask(Fake::default(), url);
    assert_eq!(reply.body, expected.trim_start());
    assert_eq!((reply.status, reply.content), (200, Content::Json));
}

#[track_caller]
pub(super) fn check_text(fake: Fake, url: &str, status: u16, text: &str) {
    assert_eq!(
        ask(fake, url),
        Reply {
            status,
            content: Content::Text,
            body: text.to_owned()
        }
    );
}

/// The body without the lines that depend on this machine.
fn without(body: &str, keys: &[&str]) -> String {
    body.lines()
        .filter(|line| {
            !keys
                .iter()
                .any(|key| line.trim_start().starts_with(&format!("\"{key}\":")))
        })
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn serverz_of_section_8_3() {
    let reply = ask(Fake::default(), "/streaming/serverz");
    let expected = r#"{
  "cluster_id": "test-cluster",
  "server_id": "SERVER",
  "version": "0.25.6",
  "go": "rust",
  "state": "STANDALONE",
  "now": "2023-11-14T23:14:22.123456789+01:00",
  "start_time": "2023-11-14T23:13:20+01:00",
  "uptime": "1m2s",
  "clients": 2,
  "subscriptions": 3,
  "channels": 1,
  "total_msgs": 12,
  "total_bytes": 1632,
  "in_msgs": 12,
  "in_bytes": 1900,
  "out_msgs": 13,
  "out_bytes": 1300,
}
"#;
    assert_eq!(without(&reply.body, &["open_fds", "max_fds"]), expected);
    assert!(reply.body.contains("\n  \"open_fds\": ") && reply.body.contains(",\n  \"max_fds\": "));
}

#[test]
fn states_of_section_8_3() {
    for (state, text, status) in [
        (StreamingState::FtActive, "FT_ACTIVE", 200),
        (StreamingState::FtStandby, "FT_STANDBY", 204),
        (StreamingState::Clustered, "CLUSTERED", 204),
        (StreamingState::Failed, "FAILED", 204),
        (StreamingState::Shutdown, "SHUTDOWN", 204),
    ] {
        let fake = || Fake {
            state: Some(state),
            ..Fake::default()
        };
        assert!(
            ask(fake(), "/streaming/serverz")
                .body
                .contains(&format!("\"state\": \"{text}\","))
        );
        // §8.7
        let reply = ask(fake(), "/streaming/isFTActive");
        assert_eq!(
            (reply.status, reply.content, reply.body.as_str()),
            (status, Content::Empty, "")
        );
    }
}

#[test]
fn storez_of_section_8_4() {
    check(
        "/streaming/storez",
        r#"
{
  "cluster_id": "test-cluster",
  "server_id": "SERVER",
  "now": "2023-11-14T23:14:22.123456789+01:00",
  "type": "FILE",
  "limits": {
    "max_channels": 100,
    "max_msgs": 1000000,
    "max_bytes": 5,
    "max_age": 0,
    "max_subscriptions": 1000,
    "max_inactivity": 0,
    "channels": {
      "orders": {
        "max_msgs": 10,
        "max_bytes": 5,
        "max_age": 3600000000000,
        "max_subscriptions": 1000,
        "max_inactivity": 0
      }
    }
  },
  "total_msgs": 12,
  "total_bytes": 1632
}"#,
    );
    let empty = ask(
        Fake {
            empty: true,
            ..Fake::default()
        },
        "/streaming/storez",
    );
    assert!(empty.body.contains("\"max_inactivity\": 0\n  },"), "{}", empty.body);
}

#[test]
fn clientsz_of_section_8_5() {
    check(
        "/streaming/clientsz?offset=1&limit=5",
        r#"
{
  "cluster_id": "test-cluster",
  "server_id": "SERVER",
  "now": "2023-11-14T23:14:22.123456789+01:00",
  "offset": 1,
  "limit": 5,
  "count": 1,
  "total": 2,
  "clients": [
    {
      "id": "shop",
      "hb_inbox": "_INBOX.hb",
      "subs_count": 0
    }
  ]
}"#,
    );
    check(
        "/streaming/clientsz?client=billing&subs=1",
        r#"
{
  "id": "billing",
  "hb_inbox": "_INBOX.hb",
  "subs_count": 1,
  "subscriptions": {
    "orders": [
      {
        "client_id": "billing",
        "inbox": "_INBOX.aaa",
        "ack_inbox": "_INBOX.bbb",
        "queue_name": "dur:workers",
        "is_durable": true,
        "is_offline": false,
        "max_inflight": 1024,
        "ack_wait": 30,
        "last_sent": 12,
        "pending_count": 3,
        "is_stalled": false
      }
    ]
  }
}"#,
    );
    check_text(
        Fake::default(),
        "/streaming/clientsz?client=nobody",
        404,
        "Client nobody not found\n",
    );
    // An offset beyond the end gives an empty list, and the effective numbers are echoed.
    let beyond = ask(Fake::default(), "/streaming/clientsz?offset=10&limit=-1").body;
    assert!(
        beyond.contains("\"offset\": 10,\n  \"limit\": 1024,\n  \"count\": 0,\n  \"total\": 2,\n  \"clients\": []\n}")
    );
}

#[test]
fn channelsz_of_section_8_6() {
    check(
        "/streaming/channelsz",
        r#"
{
  "cluster_id": "test-cluster",
  "server_id": "SERVER",
  "now": "2023-11-14T23:14:22.123456789+01:00",
  "offset": 0,
  "limit": 1024,
  "count": 3,
  "total": 3,
  "names": [
    "a\u003cb",
    "bar",
    "orders"
  ]
}"#,
    );
    check(
        "/streaming/channelsz?subs=1&offset=1&limit=1",
        r#"
{
  "cluster_id": "test-cluster",
  "server_id": "SERVER",
  "now": "2023-11-14T23:14:22.123456789+01:00",
  "offset": 1,
  "limit": 1,
  "count": 1,
  "total": 3,
  "channels": [
    {
      "name": "bar",
      "msgs": 12,
      "bytes": 1632,
      "first_seq": 1,
      "last_seq": 12,
      "subs_count": 0
    }
  ]
}"#,
    );
    check(
        "/streaming/channelsz?channel=a%3Cb",
        r#"
{
  "name": "a\u003cb",
  "msgs": 12,
  "bytes": 1632,
  "first_seq": 1,
  "last_seq": 12,
  "subs_count": 0
}"#,
    );
    let one = ask(Fake::default(), "/streaming/channelsz?channel=orders&subs=1").body;
    assert!(
        one.contains("\"subscriptions\": [\n    {\n      \"client_id\": \"billing\","),
        "{one}"
    );
    check_text(
        Fake::default(),
        "/streaming/channelsz?channel=none",
        404,
        "Channel none not found\n",
    );
    for url in ["/streaming/channelsz", "/streaming/channelsz?subs=1"] {
        let empty = ask(
            Fake {
                empty: true,
                ..Fake::default()
            },
            url,
        )
        .body;
        assert!(
            empty.ends_with("\"count\": 0,\n  \"total\": 0\n}"),
            "the key is omitted when empty: {empty}"
        );
    }
}

#[test]
fn callbacks_of_section_8_1() {
    let reply = ask(Fake::default(), "/streaming/channelsz?channel=bar&callback=cb");
    assert_eq!((reply.status, reply.content), (200, Content::JavaScript));
    assert!(reply.body.starts_with("cb({\n  \"name\"") && reply.body.ends_with("})"));
    assert_eq!(
        ask(Fake::default(), "/healthz?callback=cb").body,
        "cb({\"status\":\"ok\"})"
    );
    check_text(
        Fake::default(),
        "/varz?callback=a(b",
        400,
        "invalid callback, must be an identifier",
    );
    check_text(
        Fake::default(),
        "/streaming/clientsz?client=x&callback=cb",
        404,
        "Client x not found\n",
    );
}

#[test]
fn a_source_that_fails_or_hangs() {
    let broken = || Fake {
        broken: Some("recovering"),
        ..Fake::default()
    };
    check_text(
        broken(),
        "/streaming/serverz",
        500,
        "Error getting information about serverz: recovering\n",
    );
    check_text(
        broken(),
        "/connz",
        500,
        "Error getting information about connz: recovering\n",
    );
    let endless = || Fake {
        endless: true,
        ..Fake::default()
    };
    let text = "Error getting information about channelsz: the server does not answer\n";
    check_text(endless(), "/streaming/channelsz", 500, text);
    for (fake, reason) in [(broken(), "recovering"), (endless(), "the server does not answer")] {
        let reply = ask(fake, "/healthz");
        assert_eq!((reply.status, reply.content), (503, Content::Json));
        assert_eq!(
            reply.body,
            format!("{{\"status\":\"unavailable\",\"error\":\"{reason}\"}}")
        );
    }
    check_text(Fake::default(), "/nonsense", 404, "404 page not found\n");
    check_text(Fake::default(), "/streaming/", 404, "404 page not found\n");
    let long = format!("/varz?{}", "a".repeat(QUERY_LEN_MAX + 1));
    assert_eq!(ask(Fake::default(), &long).status, 400);
}

#[test]
fn varz_of_core_section_6_2() {
    let reply = ask(Fake::default(), "/varz");
    assert_eq!((reply.status, reply.content), (200, Content::Json));
    let expected = r#"{
  "server_id": "NB",
  "server_name": "me",
  "version": "2.9.24",
  "proto": 1,
  "go": "rust",
  "host": "127.0.0.1",
  "port": 4222,
  "max_connections": 65536,
  "ping_interval": 120000000000,
  "ping_max": 2,
  "http_host": "127.0.0.1",
  "http_port": 8222,
  "http_base_path": "",
  "https_port": 0,
  "auth_timeout": 2,
  "max_control_line": 4096,
  "max_payload": 1048576,
  "max_pending": 67108864,
  "cluster": {},
  "gateway": {},
  "leaf": {},
  "mqtt": {},
  "websocket": {},
  "jetstream": {},
  "tls_timeout": 2,
  "write_deadline": 10000000000,
  "start": "2023-11-14T22:13:20Z",
  "now": "2023-11-14T22:14:22.123456789Z",
  "uptime": "1m2s",
  "connections": 1,
  "total_connections": 2,
  "routes": 0,
  "remotes": 0,
  "leafnodes": 0,
  "in_msgs": 3,
  "in_bytes": 4,
  "out_msgs": 5,
  "out_bytes": 6,
  "slow_consumers": 1,
  "subscriptions": 7,
  "http_req_stats": {
    "/": 0,
    "/accountz": 0,
    "/accstatz": 0,
    "/connz": 0,
    "/gatewayz": 0,
    "/healthz": 0,
    "/ipqueuesz": 0,
    "/jsz": 0,
    "/leafz": 0,
    "/raftz": 0,
    "/routez": 0,
    "/stacksz": 0,
    "/subsz": 0,
    "/varz": 1
  },
  "config_load_time": "2023-11-14T22:13:20Z",
  "system_account": "$SYS",
  "slow_consumer_stats": {
    "clients": 1,
    "routes": 0,
    "gateways": 0,
    "leafs": 0
  }
}
"#;
    assert_eq!(without(&reply.body, &["mem", "cores", "gomaxprocs", "cpu"]), expected);
    assert!(reply.body.contains("\"uptime\": \"1m2s\",\n  \"mem\": "));
}

#[test]
fn connz_of_core_section_6_3() {
    check(
        "/connz?cid=1&subs=detail&auth=1",
        r#"
{
  "server_id": "NB",
  "now": "2023-11-14T22:14:22.123456789Z",
  "num_connections": 1,
  "total": 1,
  "offset": 0,
  "limit": 1024,
  "connections": [
    {
      "cid": 1,
      "kind": "Client",
      "type": "nats",
      "ip": "127.0.0.1",
      "port": 1001,
      "start": "2023-11-14T22:13:20.000000001Z",
      "last_activity": "2023-11-14T22:13:21Z",
      "stop": "2023-11-14T22:13:25Z",
      "reason": "Client Closed",
      "rtt": "412µs",
      "uptime": "4s",
      "idle": "4s",
      "pending_bytes": 0,
      "in_msgs": 1,
      "out_msgs": 9,
      "in_bytes": 0,
      "out_bytes": 0,
      "subscriptions": 1,
      "name": "client 1",
      "account": "$G",
      "subscriptions_list_detail": [
        {
          "subject": "foo.>",
          "sid": "1",
          "msgs": 0,
          "cid": 1
        }
      ]
    }
  ]
}"#
        .replace("foo.>", "foo.\\u003e")
        .as_str(),
    );
    let subjects = ask(Fake::default(), "/connz?subs=1&limit=1").body;
    assert!(
        subjects.contains("\"num_connections\": 1,\n  \"total\": 2,\n  \"offset\": 0,\n  \"limit\": 1,"),
        "{subjects}"
    );
    assert!(
        subjects.contains("\"subscriptions_list\": [\n        \"foo.\\u003e\"\n      ]"),
        "{subjects}"
    );
    assert!(!subjects.contains("account"), "{subjects}");
}

#[test]
fn connz_sorts_and_filters() {
    let cids = |url: &str| -> Vec<String> {
        let body = ask(Fake::default(), url).body;
        body.lines()
            .filter_map(|line| line.strip_prefix("      \"cid\": "))
            .map(|cid| cid.replace(',', ""))
            .collect()
    };
    for (query, expected) in [
        ("", &["2", "3"][..]),
        ("?sort=start&state=all", &["1", "2", "3"]),
        ("?sort=msgs_from&state=ANY", &["3", "2", "1"]),
        ("?sort=msgs_to&state=all", &["1", "2", "3"]),
        ("?sort=rtt&state=all", &["1", "2", "3"]),
        ("?sort=uptime", &["2", "3"]),
        ("?sort=stop&state=closed", &["1"]),
        ("?state=all&offset=1&limit=1", &["2"]),
        ("?cid=9", &[]),
        ("?acc=other", &[]),
        ("?acc=$G", &["2", "3"]),
        ("?user=x", &[]),
    ] {
        assert_eq!(cids(&format!("/connz{query}")), expected, "{query}");
    }
    for (query, text) in [
        ("sort=zz", "invalid sorting option: zz"),
        ("sort=stop", "sort by stop only valid on closed connections"),
        (
            "sort=reason&state=all",
            "sort by reason only valid on closed connections",
        ),
        ("state=zz", "Error decoding state for zz"),
        (
            "limit=x",
            "Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "auth=x",
            "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
    ] {
        check_text(Fake::default(), &format!("/connz?{query}"), 400, text);
    }
}
