//! Routes to other servers: the flags, the block, and who wins (core specification §4.2, §9.10).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use seaway_config::{ClusterOptions, RouteUrl};
use support::Fake;

fn cluster(line: &str) -> ClusterOptions {
    Fake::default().options(line).broker.cluster.unwrap()
}

fn cluster_of(text: &str, line: &str) -> ClusterOptions {
    let text = format!("streaming {{}}\n{text}");
    let fake = Fake::with_files(&[("f", text.as_str())]);
    fake.options(&format!("-c f {line}")).broker.cluster.unwrap()
}

fn complaint_about(text: &str) -> String {
    let text = format!("streaming {{}}\n{text}");
    Fake::with_files(&[("f", text.as_str())]).complaint("-c f")
}

fn shown(routes: &[RouteUrl]) -> Vec<(&str, u16)> {
    routes.iter().map(|route| (route.host.as_str(), route.port)).collect()
}

#[test]
fn flags_say_everything() {
    let cluster = cluster(
        "-cluster nats://r:s3cret@127.0.0.1:6333 -cluster_name mesh -routes nats://a:1,nats-route://u:p@b:2 \
         -cluster_advertise c:3 -no_advertise -connect_retries 5",
    );
    assert_eq!((cluster.host.as_str(), cluster.port), ("127.0.0.1", Some(6333)));
    assert_eq!(cluster.name.as_deref(), Some("mesh"));
    assert_eq!(shown(&cluster.routes), [("a", 1), ("b", 2)]);
    assert_eq!(cluster.routes[1].credentials.as_ref().unwrap().password.expose(), "p");
    let credentials = cluster.credentials.unwrap();
    assert_eq!(
        (credentials.user.as_str(), credentials.password.expose()),
        ("r", "s3cret")
    );
    assert_eq!(
        (
            cluster.advertise.as_deref(),
            cluster.no_advertise,
            cluster.connect_retries
        ),
        (Some("c:3"), true, 5)
    );
}

#[test]
fn the_block_says_everything_and_flags_win() {
    let text = "cluster {\n name: mesh\n listen: \"127.0.0.1:6333\"\n authorization { user: r, password: s3cret, timeout: 3 }\n \
                routes: [\"nats://a:1\", \"nats://b:2\"]\n advertise: \"c:3\"\n no_advertise: true\n connect_retries: 5\n}";
    let cluster = cluster_of(text, "");
    assert_eq!((cluster.host.as_str(), cluster.port), ("127.0.0.1", Some(6333)));
    assert_eq!(
        (cluster.name.as_deref(), cluster.auth_timeout),
        (Some("mesh"), Some(Duration::from_secs(3)))
    );
    assert_eq!(shown(&cluster.routes), [("a", 1), ("b", 2)]);
    assert_eq!(
        (
            cluster.advertise.as_deref(),
            cluster.no_advertise,
            cluster.connect_retries
        ),
        (Some("c:3"), true, 5)
    );
    let flags = cluster_of(
        text,
        "-routes nats://z:9 -cluster_name other -cluster nats://h:7 -no_advertise=false",
    );
    assert_eq!(
        (shown(&flags.routes), flags.name.as_deref()),
        (vec![("z", 9)], Some("other"))
    );
    assert_eq!(
        (flags.host.as_str(), flags.port, flags.no_advertise),
        ("h", Some(7), false)
    );
    assert_eq!(flags.credentials, cluster.credentials, "the URL names none");
    assert_eq!(cluster_of("cluster { port: 6222 }", "").host, "0.0.0.0");
    assert_eq!(cluster_of("cluster { listen: 4248 }", "").port, Some(4248));
    assert_eq!(cluster_of("cluster { host: h, port: -1, name: n }", "").port, Some(0));
}

#[test]
fn a_cluster_without_a_port_is_none() {
    for text in ["cluster {}", "cluster { name: x }", "cluster { port: 0 }"] {
        let text = format!("streaming {{}}\n{text}");
        let fake = Fake::with_files(&[("f", text.as_str())]);
        assert_eq!(fake.options("-c f").broker.cluster, None, "{text}");
    }
    let options = Fake::default().options("-cluster_name x");
    assert!(options.broker.cluster.is_none() && options.notices[0].contains("no effect without -cluster"));
    let complaint = Fake::default().complaint("-routes nats://a:1");
    assert_eq!(
        complaint,
        "solicited routes require cluster capabilities, e.g. --cluster\n"
    );
    assert!(complaint_about("cluster { routes: [\"nats://a:1\"] }").contains("solicited routes require"));
    // A name that is made up is said to be.
    let options = Fake::default().options("-cluster nats://h:1");
    assert!(
        options.notices[0].starts_with("the cluster has no name"),
        "{:?}",
        options.notices
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_without_secrets() {
    for (text, expected) in [
        (
            "cluster { authorization { users: [] } }",
            "f:2:27: Cluster authorization does not allow multiple users",
        ),
        (
            "cluster { authorization { token: t } }",
            "f:2:27: Cluster authorization does not support tokens",
        ),
        ("cluster { authorization {} }", "cluster authorization is empty"),
        ("cluster { authorization { user: \"\" } }", "user is empty"),
        ("cluster { authorization { password: p } }", "a password needs a user"),
        ("cluster { port: 70000 }", "70000 is no port"),
        (
            "cluster { port: \"6222\" }",
            "parameter \"port\" value is expected to be int64",
        ),
        ("cluster { name: \"a b\" }", "contains blanks"),
        (
            "cluster { prot: 6222 }",
            "unknown field \"prot\", did you mean \"port\"?",
        ),
        (
            "cluster { routes: [\"http://a:1\"] }",
            "f:2:20: unknown scheme \"http\"",
        ),
        (
            "cluster { routes: [\"nats://u:hidden@:1\"] }",
            "a route needs host and port",
        ),
        (
            "cluster { permissions { import: a } }",
            "this build does not have import and export permissions of routes yet",
        ),
        (
            "cluster { port: 1, tls { cert_file: a, key_file: b } }",
            "cluster tls needs a ca_file",
        ),
        (
            "cluster { port: 1, authorization { user: a, password: \"$2a$11$ooo\" } }",
            "the password is a bcrypt hash",
        ),
    ] {
        let complaint = complaint_about(text);
        assert!(
            complaint.contains(expected) && !complaint.contains("hidden"),
            "{text}: {complaint}"
        );
    }
    let text = "streaming {}\ncluster { port: 1, name: n, pool_size: 3, compression: s2_auto }";
    let options = Fake::with_files(&[("f", text)]).options("-c f");
    assert_eq!(options.notices.len(), 2, "{:?}", options.notices);
}

/// A route reads no larger frames, whatever this server's own clients may send.
#[test]
fn what_routes_cannot_carry_is_refused() {
    let complaint =
        |line: &str| complaint_about(&format!("{line}\nmax_pending: 100MB\ncluster {{ port: 1, name: n }}"));
    assert_eq!(
        complaint("max_payload: 67108865"),
        "max_payload (67108865) cannot be higher than 67108864 in a cluster: routes to other servers carry no more\n"
    );
    assert_eq!(
        complaint("max_control_line: 65537"),
        "max_control_line (65537) cannot be higher than 65536 in a cluster: routes to other servers carry no more\n"
    );
    let most = "max_payload: 64MB\nmax_control_line: 64KB\nmax_pending: 100MB";
    assert!(
        cluster_of(&format!("{most}\ncluster {{ port: 1, name: n }}"), "")
            .port
            .is_some()
    );
    // Alone, or with a cluster that has no port, there are no routes.
    for text in ["max_payload: 90MB", "max_payload: 90MB\ncluster { name: n }"] {
        let text = format!("streaming {{}}\nmax_pending: 100MB\n{text}");
        let options = Fake::with_files(&[("f", text.as_str())]).options("-c f");
        assert_eq!(options.broker.max_payload, 90 << 20);
    }
}
