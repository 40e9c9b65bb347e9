//! Health in three kinds, "why?", metrics, the base path, and the endpoints of absent features.

use super::fake::Fake;
use super::tests::{ask, check, check_text, moment};
use super::*;

#[test]
fn why_in_json_and_in_words() {
    check(
        "/streaming/why?channel=orders&queue=workers",
        r#"
{
  "cluster_id": "test-cluster",
  "server_id": "SERVER",
  "now": "2023-11-14T23:14:22.123456789+01:00",
  "channel": "orders",
  "verdict": "stalled",
  "words": "Two are stalled.",
  "advice": "See below.",
  "facts": {
    "known": [
      "orders"
    ]
  },
  "offset": 0,
  "limit": 100,
  "count": 1,
  "total": 2,
  "subscriptions": [
    {
      "client_id": "billing",
      "inbox": "_INBOX.aaa",
      "queue_name": "dur:workers",
      "verdict": "stalled",
      "also": [
        "messages_expired"
      ],
      "words": "It is stalled.",
      "advice": "Acknowledge.",
      "facts": {
        "pending_count": 3,
        "ack_wait_seconds": 1.5,
        "stalled_since": "2023-11-14T23:13:20+01:00",
        "unacknowledged": [
          {
            "first": 1,
            "last": 3,
            "redeliveries": 2
          }
        ]
      }
    }
  ]
}"#,
    );
    check_text(
        Fake::default(),
        "/streaming/why?channel=orders&format=text",
        200,
        "stalled: Two are stalled.\nSee below.\n\nstalled: It is stalled.\nAcknowledge.\n\n1 of 2 subscriptions shown\n",
    );
    let unknown = ask(Fake::default(), "/streaming/why?channel=order");
    assert_eq!((unknown.status, unknown.content), (404, Content::Json));
    assert!(
        unknown.body.contains("\"verdict\": \"channel_unknown\""),
        "{}",
        unknown.body
    );
    check_text(
        Fake::default(),
        "/streaming/why?channel=order&format=text",
        404,
        "channel_unknown: Two are stalled.\nSee below.\n",
    );
    assert_eq!(ask(Fake::default(), "/streaming/why").status, 400);
    assert_eq!(ask(Fake::default(), "/streaming/why?channel=a&format=xml").status, 400);
    let limited = ask(Fake::default(), "/streaming/why?channel=orders&limit=99999999&offset=3");
    assert!(
        limited.body.contains("\"offset\": 3,\n  \"limit\": 1000,"),
        "{}",
        limited.body
    );
}

#[test]
fn metrics_of_channels_and_subscriptions() {
    let reply = ask(Fake::default(), "/metrics");
    assert_eq!((reply.status, reply.content), (200, Content::Metrics));
    for line in [
        "# TYPE nss_server_msgs_total gauge",
        "nss_server_msgs_total{server_id=\"SERVER\"} 12",
        "nss_chan_last_seq{server_id=\"SERVER\",channel=\"a<b\"} 12",
        "nss_chan_subs_pending_count{server_id=\"SERVER\",channel=\"orders\",client_id=\"billing\",inbox=\"_INBOX.aaa\",\
         queue_name=\"dur:workers\",is_durable=\"true\",is_offline=\"false\",durable_name=\"\"} 3",
        "seaway_subscription_oldest_unacknowledged_seconds{channel=\"orders\",client_id=\"billing\",inbox=\"_INBOX.aaa\",\
         queue_name=\"dur:workers\",durable_name=\"\"} 2.5",
        // Each of the three parts said one.
        "seaway_stalled_subscriptions 3",
        "seaway_unacknowledged_messages 9",
        "seaway_redelivered_messages_total 4",
        "seaway_journal_commit_seconds_bucket{le=\"0.001\"} 1",
        "seaway_journal_commit_seconds_count 3",
        "seaway_journal_checkpoint_age_seconds 3",
        "seaway_ready 1",
        "seaway_bus_up 1",
    ] {
        assert!(
            reply.body.lines().any(|other| other == line),
            "{line} is missing in {}",
            reply.body
        );
    }
    let filtered = ask(Fake::default(), "/metrics?channel=ord*&channel=bar").body;
    assert!(
        filtered.contains("channel=\"bar\"") && !filtered.contains("channel=\"orders\""),
        "{filtered}"
    );
    assert!(
        filtered.contains("seaway_stalled_subscriptions 3"),
        "sums are of all channels"
    );
}

/// Dashboards must see that a server starts, or that its engine is stuck, instead of nothing.
#[test]
fn metrics_while_the_engine_does_not_answer() {
    let starting = Fake {
        engine_broken: true,
        ..Fake::default()
    };
    let stuck = Fake {
        engine_slow: true,
        ..Fake::default()
    };
    for (fake, ready) in [(starting, "\nseaway_ready 0\n"), (stuck, "\nseaway_ready 1\n")] {
        let reply = ask(fake, "/metrics");
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(
            reply.body.contains(ready) && !reply.body.contains("nss_"),
            "{}",
            reply.body
        );
    }
}

#[test]
fn health_in_three_kinds() {
    let broken = || Fake {
        engine_broken: true,
        ..Fake::default()
    };
    let unavailable = "{\"status\":\"unavailable\",\"error\":\"recovering\"}";
    for (path, status, body) in [
        ("/healthz", 503, unavailable),
        ("/healthz/ready", 503, unavailable),
        ("/healthz/live", 200, "{\"status\":\"ok\"}"),
        ("/healthz/other", 404, "404 page not found\n"),
    ] {
        let reply = ask(broken(), path);
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{path}");
    }
    assert_eq!(
        ask(Fake::default(), "/healthz?js-enabled-only=true&js-server-only=1").status,
        200
    );
    check_text(
        Fake::default(),
        "/healthz?js-server-only=zz",
        400,
        "Error decoding boolean for 'js-server-only': strconv.ParseBool: parsing \"zz\": invalid syntax",
    );
}

#[test]
fn subsz_of_core_section_6_4() {
    check(
        "/subsz?subs=1&test=foo.bar",
        r#"
{
  "server_id": "NB",
  "now": "2023-11-14T22:14:22.123456789Z",
  "num_subscriptions": 7,
  "num_cache": 0,
  "num_inserts": 0,
  "num_removes": 0,
  "num_matches": 0,
  "cache_hit_rate": 0,
  "max_fanout": 0,
  "avg_fanout": 0,
  "total": 2,
  "offset": 0,
  "limit": 1024,
  "subscriptions_list": [
    {
      "subject": "foo.\u003e",
      "sid": "1",
      "msgs": 0,
      "cid": 2
    },
    {
      "subject": "foo.\u003e",
      "sid": "1",
      "msgs": 0,
      "cid": 3
    }
  ]
}"#,
    );
    check_text(
        Fake::default(),
        "/subsz?test=foo.*",
        400,
        "invalid test subject, must be valid publish subject: foo.*",
    );
    let page = ask(Fake::default(), "/subscriptionsz?subs=1&offset=1&limit=1").body;
    assert!(
        page.contains("\"total\": 3,\n  \"offset\": 1,\n  \"limit\": 1,"),
        "{page}"
    );
    assert!(!ask(Fake::default(), "/subsz").body.contains("subscriptions_list"));
}

#[test]
fn connz_filters_by_subject() {
    let total = |url: &str| ask(Fake::default(), url).body.contains("\"total\": 1,");
    assert!(total("/connz?acc=$G&filter_subject=bar"));
    assert!(!total("/connz?acc=$G&filter_subject=foo.x"));
    check_text(
        Fake::default(),
        "/connz?filter_subject=bar",
        400,
        "filter by subject only valid with account filtering",
    );
    assert!(
        ask(Fake::default(), "/connz?mqtt_client=x")
            .body
            .contains("\"total\": 0,")
    );
}

#[test]
fn absent_features_of_core_section_6_4() {
    check(
        "/routez",
        r#"
{
  "server_id": "NB",
  "server_name": "me",
  "now": "2023-11-14T22:14:22.123456789Z",
  "num_routes": 0,
  "routes": []
}"#,
    );
    check(
        "/gatewayz",
        r#"
{
  "server_id": "NB",
  "now": "2023-11-14T22:14:22.123456789Z",
  "outbound_gateways": {},
  "inbound_gateways": {}
}"#,
    );
    check(
        "/leafz",
        r#"
{
  "server_id": "NB",
  "now": "2023-11-14T22:14:22.123456789Z",
  "leafnodes": 0,
  "leafs": null
}"#,
    );
    check(
        "/accountz",
        r#"
{
  "server_id": "NB",
  "now": "2023-11-14T22:14:22.123456789Z",
  "accounts": [
    "$G"
  ]
}"#,
    );
    for (url, text) in [
        ("/accountz?acc=$G", "\"account_name\": \"$G\","),
        ("/accstatz", "\"acc\": \"$G\","),
        ("/jsz", "\"disabled\": true,"),
        ("/ipqueuesz", "{}"),
        ("/raftz", "{}"),
        ("/debug/vars", "{}"),
    ] {
        let reply = ask(Fake::default(), url);
        assert!(
            reply.status == 200 && reply.body.contains(text),
            "{url}: {}",
            reply.body
        );
    }
    assert_eq!(ask(Fake::default(), "/accountz?acc=other").status, 400);
    assert_eq!(ask(Fake::default(), "/accstatz?unused=zz").status, 400);
    let stacks = ask(Fake::default(), "/stacksz");
    assert_eq!(stacks.content, Content::Text);
    assert!(stacks.body.contains("thread "), "{}", stacks.body);
}

/// Streaming specification §8.1: its paths ignore the base path; core specification §6.1: the broker's begin with it.
#[test]
fn base_paths() {
    let ask = |path: &str| {
        let fake = Fake {
            base_path: "/nats",
            ..Fake::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(Site::new(Arc::new(fake)).answer_at(moment(), path, "", Accept::Any))
    };
    for (path, status) in [
        ("/nats/varz", 200),
        ("/nats", 200),
        ("/nats/", 200),
        ("/varz", 404),
        ("/natsvarz", 404),
        ("/", 404),
        ("/nats/healthz", 200),
        ("/healthz", 200),
        ("/metrics", 200),
        ("/streaming", 200),
        ("/streaming/serverz", 200),
        ("/nats/streaming/serverz", 404),
    ] {
        assert_eq!(ask(path).status, status, "{path}");
    }
    assert!(ask("/nats").body.contains("href=\"/nats/varz\""));
}

#[test]
fn the_streaming_page_links_what_there_is() {
    let page = ask(Fake::default(), "/streaming").body;
    for path in [
        "/streaming/serverz",
        "/streaming/storez",
        "/streaming/clientsz",
        "/streaming/channelsz",
        "/streaming/why?channel=",
        "/metrics",
        "/healthz/ready",
        "/healthz/live",
    ] {
        assert!(page.contains(&format!("href=\"{path}\"")), "{path}");
    }
}
