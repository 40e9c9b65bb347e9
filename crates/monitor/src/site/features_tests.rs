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

/// A standby has no engine, and says all the same who it is.
#[test]
fn metrics_of_a_member_of_a_group() {
    for (state, active) in [(StreamingState::FtActive, 1), (StreamingState::FtStandby, 0)] {
        let fake = Fake {
            state: Some(state),
            ..Fake::default()
        };
        let body = ask(fake, "/metrics").body;
        let has_channels = body.contains("nss_chan_last_seq");
        assert_eq!(has_channels, active == 1, "{body}");
        for line in [
            format!(
                "seaway_fault_tolerance_info{{group=\"orders\",state=\"{}\"}} 1",
                state.name()
            ),
            format!("seaway_active {active}"),
            "seaway_role_changes_total 3".to_owned(),
            "seaway_role_seconds 61".to_owned(),
            format!("nss_server_active{{server_id=\"SERVER\"}} {active}"),
        ] {
            assert!(body.lines().any(|other| other == line), "{line} is missing in {body}");
        }
    }
    assert!(!ask(Fake::default(), "/metrics").body.contains("seaway_active"));
}

#[test]
fn metrics_of_channels_and_subscriptions() {
    let reply = ask(Fake::default(), "/metrics");
    assert_eq!((reply.status, reply.content), (200, Content::Metrics));
    for line in [
        "# TYPE nss_server_msgs_total counter",
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
        "seaway_tenure 7",
        "seaway_log_lines_lost_total 5",
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

/// The series of the former exporter, with their kinds and the names of their labels.
const FORMER: &[(&str, &str, &[&str])] = &[
    ("nss_server_bytes_total", "counter", &["server_id"]),
    ("nss_server_msgs_total", "counter", &["server_id"]),
    ("nss_server_bytes_in", "counter", &["server_id"]),
    ("nss_server_bytes_out", "counter", &["server_id"]),
    ("nss_server_msgs_in", "counter", &["server_id"]),
    ("nss_server_msgs_out", "counter", &["server_id"]),
    ("nss_server_channels", "gauge", &["server_id"]),
    ("nss_server_subscriptions", "gauge", &["server_id"]),
    ("nss_server_clients", "gauge", &["server_id"]),
    ("nss_server_active", "gauge", &["server_id"]),
    (
        "nss_server_info",
        "gauge",
        &[
            "server_id",
            "cluster_id",
            "version",
            "go_version",
            "state",
            "server_role",
            "start_time",
        ],
    ),
    ("nss_chan_bytes_total", "gauge", &["server_id", "channel"]),
    ("nss_chan_msgs_total", "gauge", &["server_id", "channel"]),
    ("nss_chan_last_seq", "gauge", &["server_id", "channel"]),
    ("nss_chan_subs_last_sent", "gauge", OF_SUBSCRIPTIONS),
    ("nss_chan_subs_pending_count", "gauge", OF_SUBSCRIPTIONS),
    ("nss_chan_subs_max_inflight", "gauge", OF_SUBSCRIPTIONS),
    ("gnatsd_varz_auth_timeout", "gauge", &["server_id"]),
    ("gnatsd_varz_connections", "gauge", &["server_id"]),
    ("gnatsd_varz_cores", "gauge", &["server_id"]),
    ("gnatsd_varz_cpu", "gauge", &["server_id"]),
    ("gnatsd_varz_gomaxprocs", "gauge", &["server_id"]),
    ("gnatsd_varz_http_port", "gauge", &["server_id"]),
    ("gnatsd_varz_https_port", "gauge", &["server_id"]),
    ("gnatsd_varz_in_bytes", "gauge", &["server_id"]),
    ("gnatsd_varz_in_msgs", "gauge", &["server_id"]),
    ("gnatsd_varz_leafnodes", "gauge", &["server_id"]),
    ("gnatsd_varz_max_connections", "gauge", &["server_id"]),
    ("gnatsd_varz_max_control_line", "gauge", &["server_id"]),
    ("gnatsd_varz_max_payload", "gauge", &["server_id"]),
    ("gnatsd_varz_max_pending", "gauge", &["server_id"]),
    ("gnatsd_varz_mem", "gauge", &["server_id"]),
    ("gnatsd_varz_out_bytes", "gauge", &["server_id"]),
    ("gnatsd_varz_out_msgs", "gauge", &["server_id"]),
    ("gnatsd_varz_ping_interval", "gauge", &["server_id"]),
    ("gnatsd_varz_ping_max", "gauge", &["server_id"]),
    ("gnatsd_varz_port", "gauge", &["server_id"]),
    ("gnatsd_varz_proto", "gauge", &["server_id"]),
    ("gnatsd_varz_remotes", "gauge", &["server_id"]),
    ("gnatsd_varz_routes", "gauge", &["server_id"]),
    ("gnatsd_varz_slow_consumers", "gauge", &["server_id"]),
    ("gnatsd_varz_subscriptions", "gauge", &["server_id"]),
    ("gnatsd_varz_tls_timeout", "gauge", &["server_id"]),
    ("gnatsd_varz_total_connections", "gauge", &["server_id"]),
    ("gnatsd_varz_write_deadline", "gauge", &["server_id"]),
    ("gnatsd_connz_limit", "gauge", &["server_id"]),
    ("gnatsd_connz_num_connections", "gauge", &["server_id"]),
    ("gnatsd_connz_offset", "gauge", &["server_id"]),
    ("gnatsd_connz_total", "gauge", &["server_id"]),
    ("gnatsd_subsz_avg_fanout", "gauge", &["server_id"]),
    ("gnatsd_subsz_cache_hit_rate", "gauge", &["server_id"]),
    ("gnatsd_subsz_max_fanout", "gauge", &["server_id"]),
    ("gnatsd_subsz_num_cache", "gauge", &["server_id"]),
    ("gnatsd_subsz_num_inserts", "gauge", &["server_id"]),
    ("gnatsd_subsz_num_matches", "gauge", &["server_id"]),
    ("gnatsd_subsz_num_removes", "gauge", &["server_id"]),
    ("gnatsd_subsz_num_subscriptions", "gauge", &["server_id"]),
    ("gnatsd_routez_num_routes", "gauge", &["server_id"]),
];

const OF_SUBSCRIPTIONS: &[&str] = &[
    "server_id",
    "channel",
    "client_id",
    "inbox",
    "queue_name",
    "is_durable",
    "is_offline",
    "durable_name",
];

#[test]
fn every_series_of_the_former_exporter_is_there() {
    let body = ask(Fake::default(), "/metrics").body;
    for (name, kind, labels) in FORMER {
        let family = format!("# TYPE {name} {kind}");
        assert!(body.lines().any(|line| line == family), "{family} is missing in {body}");
        let begin = format!("{name}{{");
        let sample = body.lines().find(|line| line.starts_with(&begin));
        let sample = sample.unwrap_or_else(|| panic!("{name} has no sample: {body}"));
        let mut after = 0;
        for label in *labels {
            let place = sample
                .find(&format!("{label}=\""))
                .unwrap_or_else(|| panic!("{label} in {sample}"));
            assert!(place >= after, "{label} in {sample}");
            after = place;
        }
        assert_eq!(sample.matches("=\"").count(), labels.len(), "{sample}");
    }
    assert!(
        body.contains("nss_server_active{server_id=\"SERVER\"} 0\n"),
        "it stands alone"
    );
    // Whatever number /varz shows has its series.
    let varz: serde_json::Value = serde_json::from_str(&ask(Fake::default(), "/varz").body).unwrap();
    for (key, value) in varz.as_object().unwrap() {
        let begin = format!("gnatsd_varz_{key}{{");
        assert!(!value.is_number() || body.contains(&begin), "{begin} is missing");
    }
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

/// What one answer shows belongs together, and is taken once.
#[test]
fn the_broker_is_asked_once_for_an_answer() {
    for path in ["/metrics", "/routez?subs=1", "/subsz?subs=1", "/varz", "/connz"] {
        let fake = Fake {
            clustered: true,
            ..Fake::default()
        };
        let asked = std::sync::Arc::clone(&fake.broker_asked);
        assert_eq!(ask(fake, path).status, 200, "{path}");
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1, "{path}");
    }
}

/// What other servers want is among everything that is wanted.
#[test]
fn subscriptions_of_routes_are_listed() {
    let fake = Fake {
        clustered: true,
        ..Fake::default()
    };
    let subsz: serde_json::Value = serde_json::from_str(&ask(fake, "/subsz?subs=1&test=bar.x").body).unwrap();
    let listed = &subsz["subscriptions_list"][0];
    assert_eq!(
        (&listed["cid"], &listed["subject"], &listed["qgroup"]),
        (&9.into(), &"bar.*".into(), &"q".into())
    );
}

#[test]
fn routes_of_core_section_6_4() {
    let routez = |query: &str| {
        let fake = Fake {
            clustered: true,
            ..Fake::default()
        };
        serde_json::from_str::<serde_json::Value>(&ask(fake, &format!("/routez{query}")).body).unwrap()
    };
    let plain = routez("");
    let route = &plain["routes"][0];
    assert_eq!((&plain["num_routes"], &route["rid"]), (&1.into(), &9.into()));
    assert_eq!(
        (&route["remote_id"], &route["remote_name"]),
        (&"NR".into(), &"other".into())
    );
    assert_eq!(
        (&route["did_solicit"], &route["is_configured"]),
        (&true.into(), &true.into())
    );
    assert_eq!(
        (&route["ip"], &route["port"], &route["rtt"]),
        (&"10.0.0.2".into(), &6222.into(), &"412µs".into())
    );
    assert_eq!((&route["in_msgs"], &route["out_bytes"]), (&5.into(), &80.into()));
    assert_eq!(route["subscriptions"], 2);
    assert!(route.get("subscriptions_list").is_none() && route.get("subscriptions_list_detail").is_none());
    assert_eq!(
        routez("?subs=1")["routes"][0]["subscriptions_list"],
        serde_json::json!(["foo", "bar.*"])
    );
    let detail = &routez("?subs=detail")["routes"][0]["subscriptions_list_detail"][1];
    assert_eq!(
        (&detail["subject"], &detail["qgroup"], &detail["cid"]),
        (&"bar.*".into(), &"q".into(), &9.into())
    );
    check_text(
        Fake::default(),
        "/routez?subs=x",
        400,
        "Error decoding boolean for 'subs': strconv.ParseBool: parsing \"x\": invalid syntax",
    );
}

/// What other servers want is among all subscriptions, under the number of the route.
#[test]
fn subscriptions_of_other_servers_are_listed() {
    let fake = Fake {
        clustered: true,
        ..Fake::default()
    };
    let listed = |fake: Fake, query: &str| {
        let subsz: serde_json::Value = serde_json::from_str(&ask(fake, &format!("/subsz?subs=1{query}")).body).unwrap();
        let list = subsz["subscriptions_list"].as_array().cloned().unwrap_or_default();
        let of_route = list.into_iter().filter(|one| one["cid"] == 9);
        of_route
            .map(|one| one["subject"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(fake, ""), ["foo", "bar.*"]);
    assert!(listed(Fake::default(), "").is_empty());
    let fake = Fake {
        clustered: true,
        ..Fake::default()
    };
    assert_eq!(listed(fake, "&test=bar.x"), ["bar.*"]);
}

#[test]
fn clusters_of_core_section_6_2() {
    let varz = |clustered| {
        let fake = Fake {
            clustered,
            ..Fake::default()
        };
        serde_json::from_str::<serde_json::Value>(&ask(fake, "/varz").body).unwrap()
    };
    let expected = serde_json::json!({
        "name": "mesh",
        "addr": "0.0.0.0",
        "cluster_port": 6222,
        "auth_timeout": 2,
        "urls": ["10.0.0.2:6222"],
        "tls_timeout": 2,
        "tls_required": true,
        "tls_verify": true,
    });
    assert_eq!((&varz(true)["cluster"], &varz(true)["routes"]), (&expected, &1.into()));
    assert_eq!(
        (&varz(false)["cluster"], &varz(false)["remotes"]),
        (&serde_json::json!({}), &0.into())
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
  "system_account": "$SYS",
  "accounts": [
    "$G",
    "$SYS"
  ]
}"#,
    );
    for (url, text) in [
        ("/accountz?acc=$G", "\"account_name\": \"$G\","),
        ("/accountz?acc=$SYS", "\"is_system\": true,"),
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
    let root = ask(Fake::default(), "/").body;
    for path in [
        "/streaming/serverz",
        "/streaming/storez",
        "/streaming/clientsz",
        "/streaming/channelsz?subs=1",
        "/streaming/why?channel=&amp;format=text",
        "/metrics",
        "/healthz/ready",
        "/healthz/live",
    ] {
        for page in [&page, &root] {
            assert!(page.contains(&format!("href=\"{path}\"")), "{path}");
        }
    }
}

#[test]
fn the_start_page_says_what_runs_and_how_it_is() {
    let page = ask(Fake::default(), "/").body;
    for text in [
        "<dt>status</dt><dd class=\"state\">ready</dd>",
        "<dt>version</dt>",
        "href=\"/varz\"",
        "1m2s",
    ] {
        assert!(page.contains(text), "{text} is missing in {page}");
    }
    let stuck = Fake {
        engine_broken: true,
        ..Fake::default()
    };
    let reply = ask(stuck, "/");
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains(">not ready: "), "{}", reply.body);
}

/// A limit that says "none" is -1, whatever it is inside: readers decode signed integers.
#[test]
fn no_limit_is_shown_as_a_number_that_readers_can_hold() {
    let fake = Fake {
        unlimited: true,
        ..Fake::default()
    };
    let varz = ask(fake, "/varz").body;
    for line in ["\"max_connections\": -1,", "\"max_subscriptions\": -1,"] {
        assert!(varz.contains(line), "{line} is missing in {varz}");
    }
}
