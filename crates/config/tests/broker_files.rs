//! The broker side of configuration files (core specification §3.2 to §3.4, §3.7, §5.3, §5.4, §9.10).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;
use std::time::Duration;

use seaway_config::{
    ConnectionType, HandshakeFirst, Login, Permissions, ResponsePermission, SubjectRules, TlsVersion, User,
};
use support::{Fake, complaint_about, options_of};

#[test]
fn all_keys_that_concern_what_exists() {
    let options = options_of(
        r#"
        listen: "h:4333", client_advertise: "a:1", server_name: me, server_tags: [x, y]
        http: "m:8333", http_base_path: "nats/"
        MAX_CONN: 5, max_payload: 2MB, max_control_line: 2KB, max_pending: 3MB, max_subs: 7, max_sub_tokens: 8
        max_closed_clients: 9, write_deadline: "11s", ping_interval: "12s", ping_max: 13
        no_fast_producer_stall: true, no_header_support: true
        lame_duck_duration: "40s", lame_duck_grace_period: "5s"
        log_file: log, log_size_limit: 10MB, log_max_num: 3, logtime: false, logtime_utc: true
        debug: true, trace: true, max_traced_msg_len: 14, syslog: true, remote_syslog: "udp://h:514"
        pidfile: pid, ports_file_dir: ports
        "#,
    );
    let broker = options.broker;
    assert_eq!((broker.host.as_str(), broker.port), ("h", 4333));
    assert_eq!((broker.http_host.as_deref(), broker.http_port), (Some("m"), Some(8333)));
    assert_eq!(
        (broker.http_base_path.as_str(), broker.server_tags.join(" ").as_str()),
        ("/nats", "x y")
    );
    assert_eq!(
        (broker.client_advertise.as_deref(), broker.name.as_deref()),
        (Some("a:1"), Some("me"))
    );
    assert_eq!(
        (broker.max_connections, broker.max_payload, broker.max_control_line),
        (5, 2 << 20, 2048)
    );
    assert_eq!(
        (
            broker.max_pending,
            broker.max_subscriptions,
            broker.max_subscription_tokens
        ),
        (3 << 20, 7, 8)
    );
    assert_eq!(
        (broker.max_closed_clients, broker.ping_max, broker.max_traced_msg_len),
        (9, 13, 14)
    );
    assert_eq!(
        (broker.write_deadline, broker.ping_interval),
        (Duration::from_secs(11), Duration::from_secs(12))
    );
    assert_eq!(broker.lame_duck_duration, Duration::from_secs(40));
    assert_eq!(broker.lame_duck_grace_period, Duration::from_secs(5));
    assert!(broker.no_fast_producer_stall && broker.no_header_support && broker.debug && broker.trace);
    assert_eq!(
        (broker.pid_file.as_deref(), broker.ports_file_dir.as_deref()),
        (Some(Path::new("pid")), Some(Path::new("ports")))
    );
    let log = options.log;
    assert_eq!(
        (log.file.as_deref(), log.size_limit, log.max_files),
        (Some(Path::new("log")), Some(10 << 20), Some(3))
    );
    assert!(!log.time && log.utc && log.syslog);
    assert_eq!(log.remote_syslog.as_deref(), Some("udp://h:514"));
    // What is known and does nothing is said.
    assert_eq!(options.notices.len(), 2, "{:?}", options.notices);
    assert!(options.notices[0].starts_with("lame_duck_duration and lame_duck_grace_period have no effect"));
    assert!(options.notices[1].starts_with("max_traced_msg_len has no effect"));
}

#[test]
fn addresses_in_all_their_forms() {
    for (text, host, port) in [
        ("listen: \"127.0.0.1:-1\"", "127.0.0.1", 0),
        ("listen: 127.0.0.1:4333", "127.0.0.1", 4333),
        ("listen: \":4333\"", "0.0.0.0", 4333),
        ("listen: 4333", "0.0.0.0", 4333),
        ("listen: \"[::1]:4333\"", "::1", 4333),
        ("host: ::1\nport: 4333", "::1", 4333),
        ("listen: \"a:1\"\nport: 2", "a", 2),
        ("port: 2\nlisten: \"a:1\"", "a", 1),
    ] {
        let broker = options_of(text).broker;
        assert_eq!((broker.host.as_str(), broker.port), (host, port), "{text}");
    }
    let fake = Fake::with_files(&[("f", "listen: \"a:1\", http: 8333")]);
    let broker = fake.options("-c f -p 5 -m -1").broker;
    assert_eq!((broker.host.as_str(), broker.port, broker.http_port), ("a", 5, Some(0)));
}

/// §5.3: integers where durations should be are seconds, with a warning; §1.14: limits that mean "none".
#[test]
fn deprecated_forms_and_limits_of_zero() {
    let options = options_of("ping_interval: 5\nwrite_deadline: 7\nmax_connections: 0\nmax_subs: -1");
    assert_eq!(options.broker.ping_interval, Duration::from_secs(5));
    assert_eq!(options.broker.write_deadline, Duration::from_secs(7));
    assert_eq!(
        (options.broker.max_connections, options.broker.max_subscriptions),
        (65_536, usize::MAX)
    );
    assert_eq!(options.notices.len(), 2);
    assert_eq!(
        options.notices[0],
        "f:1:1: ping_interval should be a duration such as \"5s\"; 5 is taken as seconds"
    );
    assert_eq!(options_of("max_connections: -1").broker.max_connections, usize::MAX);
    // The trap of §5.1: a bare 2m is a number, and so many seconds.
    assert_eq!(
        options_of("ping_interval: 2m").broker.ping_interval,
        Duration::from_secs(2_000_000)
    );
}

#[test]
fn what_is_wrong_is_said() {
    for (text, expected) in [
        (
            "port: \"x\"",
            "f:1:7: parameter \"port\" value is expected to be int64, got string; leave out quotes",
        ),
        ("port: 70000", "f:1:1: invalid client port 70000, should be -1 to 65535"),
        ("listen: \"a:b\"", "f:1:9: could not parse listen \"a:b\""),
        (
            "listen: [1]",
            "f:1:9: parameter \"listen\" value is expected to be string, got slice",
        ),
        ("ping_interval: \"5\"", "time: invalid duration \"5\""),
        ("ping_max: 9999999999", "invalid ping_max (9999999999)"),
        (
            "max_payload: 65MB",
            "max_payload (68157440) cannot be higher than max_pending (67108864)",
        ),
        (
            "lame_duck_duration: \"29s\"",
            "invalid lame_duck_duration of 29s, minimum is 30 seconds",
        ),
        (
            "lame_duck_grace_period: \"2m\"",
            "lame_duck_grace_period must be shorter than lame_duck_duration",
        ),
        ("no_auth_user: bob", "no_auth_user: \"bob\" not present as user or nkey"),
        ("https_port: 1", "https_port needs TLS"),
    ] {
        let complaint = complaint_about(text);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
}

#[test]
fn features_that_are_not_built_are_refused_with_key_and_place() {
    for key in [
        "gateway { port: 1 }",
        "leafnodes { port: 1 }",
        "leaf { port: 1 }",
        "websocket { port: 1 }",
        "ws { port: 1 }",
        "mqtt { port: 1 }",
        "operator: x",
        "roots: [x]",
        "resolver: MEM",
        "resolver_preload { A: b }",
        "trusted_keys: x",
        "mappings { a: b }",
        "jetstream { max_mem: 1 }",
        "jetstream: enabled",
        "jetstream: true",
        "ocsp: true",
        "proxy_protocol: true",
        "trace_headers: true",
    ] {
        let complaint = complaint_about(&format!("streaming {{}}\n {key}"));
        let name = key.split([' ', ':']).next().unwrap();
        assert!(
            complaint.starts_with(&format!("f:2:2: key {name}: this build does not have ")),
            "{key}: {complaint}"
        );
    }
    for text in [
        "jetstream: disabled",
        "jetstream: false",
        "ocsp: false",
        "proxy_protocol: no",
    ] {
        assert!(options_of(text).notices.is_empty(), "{text}");
    }
}

fn login_name(user: &User) -> (&str, Option<&str>) {
    match &user.login {
        Login::Password(credentials) => (&credentials.user, Some(credentials.password.expose())),
        Login::Nkey(key) => (key, None),
    }
}

const NKEY: &str = "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN";

#[test]
fn single_users_and_tokens() {
    let authorization = options_of("authorization { username: a, pass: $2a$11$x, timeout: 1.5 }")
        .broker
        .authorization;
    let single = authorization.single.as_ref().unwrap();
    assert_eq!((single.user.as_str(), single.password.expose()), ("a", "$2a$11$x"));
    assert_eq!(authorization.timeout, Some(Duration::from_millis(1500)));
    assert!(authorization.is_required());
    let authorization = options_of("authorization { token: t, timeout: \"3s\" }")
        .broker
        .authorization;
    assert_eq!(authorization.token.unwrap().expose(), "t");
    // Flags win over the file, each for itself.
    let fake = Fake::with_files(&[("f", "authorization { user: a, password: right }")]);
    let single = fake.options("-c f -pass wrong").broker.authorization.single.unwrap();
    assert_eq!((single.user.as_str(), single.password.expose()), ("a", "wrong"));
    let single = fake.options("-user b").broker.authorization.single.unwrap();
    assert_eq!((single.user.as_str(), single.password.expose()), ("b", ""));
    assert_eq!(
        fake.options("-auth x").broker.authorization.token.unwrap().expose(),
        "x"
    );
    let shown = format!("{:?}", fake.options("-c f"));
    assert!(!shown.contains("right"), "passwords are not shown");
}

#[test]
fn users_and_permissions() {
    let authorization = options_of(&format!(
        r#"authorization {{
            default_permissions: {{ publish: "a.>" }}
            users: [
                {{ user: alice, password: p, permissions {{
                    pub {{ allow: [b, "c.*"], deny: d }}
                    sub: ["e", "f.>  group.*"]
                    allow_responses: true
                }} }}
                {{ username: bob, permission: {{ allow_responses {{ max: 5, expires: "1m" }} }} }}
                {{ user: carol, permissions: {{ allow_responses {{ max: -1, ttl: "-1s" }} }} }}
                {{ nkey: {NKEY}, allowed_connection_types: [standard, WEBSOCKET] }}
            ]
        }}
        no_auth_user: bob"#
    ))
    .broker
    .authorization;
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        authorization.default_permissions.as_ref().unwrap().publish.allow,
        ["a.>"]
    );
    let [alice, bob, carol, key] = authorization.users.as_slice() else {
        panic!("{authorization:?}");
    };
    assert_eq!(login_name(alice), ("alice", Some("p")));
    let expected = Permissions {
        publish: SubjectRules {
            allow: texts(&["b", "c.*"]),
            deny: texts(&["d"]),
        },
        subscribe: SubjectRules {
            allow: texts(&["e", "f.> group.*"]),
            deny: Vec::new(),
        },
        allow_responses: Some(ResponsePermission {
            max_messages: Some(1),
            expires: Some(Duration::from_secs(120)),
        }),
    };
    assert_eq!(alice.permissions.as_ref(), Some(&expected));
    let responses = |user: &User| user.permissions.clone().unwrap().allow_responses.unwrap();
    assert_eq!(login_name(bob), ("bob", Some("")));
    assert_eq!(
        (responses(bob).max_messages, responses(bob).expires),
        (Some(5), Some(Duration::from_secs(60)))
    );
    assert_eq!((responses(carol).max_messages, responses(carol).expires), (None, None));
    assert_eq!(login_name(key), (NKEY, None));
    assert_eq!(
        key.connection_types.as_deref(),
        Some([ConnectionType::Standard, ConnectionType::WebSocket].as_slice())
    );
    assert_eq!(authorization.find_user(&[], "bob"), Some(bob));
}

/// The texts of §3.2 and §3.3, with their places.
#[test]
fn what_is_wrong_with_an_authorization_is_said() {
    for (inside, expected) in [
        ("user: a, token: b", "f:1:15: Cannot have a user/pass and token"),
        (
            "user: a, users: [{user: b}]",
            "Can not have a single user/pass and a users array",
        ),
        ("token: a, users: [{user: b}]", "Can not have a token and a users array"),
        ("users: [{user: a}, {user: a}]", "f:1:36: Duplicate user \"a\" detected"),
        ("users: [{nkey: UABC}]", "f:1:25: Not a valid public nkey for a user"),
        (
            "users: [{nkey: U, user: a}]",
            "Nkey users do not take usernames or passwords",
        ),
        ("users: [{password: a}]", "a password needs a user"),
        ("users: [{}]", "User entry requires a user"),
        (
            "users: {user: a}",
            "parameter \"users\" value is expected to be slice, got map",
        ),
        (
            "token: 123",
            "parameter \"token\" value is expected to be string, got int64; put it in quotes",
        ),
        (
            "usr: a",
            "f:1:17: error parsing authorization config, unknown field \"usr\", did you mean \"user\"?",
        ),
        (
            "users: [{user: a, password: \"$2b$17$x\"}]",
            "the bcrypt hash of user \"a\" has cost 17, which takes too long",
        ),
        (
            "auth_callout {}",
            "this build does not have authentication by another service yet",
        ),
        (
            "users: [{user: a, permissions: {publish: \"foo..bar\"}}]",
            "subject \"foo..bar\" is not a valid subject",
        ),
        (
            "users: [{user: a, permissions: {publish: \"foo q\"}}]",
            "subject \"foo q\" is not a valid subject",
        ),
        (
            "users: [{user: a, permissions: {subscribe: {alow: x}}}]",
            "unknown field \"alow\", did you mean \"allow\"?",
        ),
        (
            "users: [{user: a, clients: [PIGEON]}]",
            "invalid connection type \"PIGEON\"",
        ),
    ] {
        let complaint = complaint_about(&format!("authorization {{ {inside} }}"));
        assert!(complaint.contains(expected), "{inside}: {complaint}");
    }
}

#[test]
fn tls_in_files_and_flags() {
    let pin = "AB".repeat(32);
    let tls = options_of(&format!(
        r#"tls {{ cert_file: c, key_file: k, ca_file: a, verify_and_map: true, timeout: 0.5, handshake_first: auto
            min_version: "1.3", cipher_suites: [TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305, TLS_AES_128_GCM_SHA256]
            curve_preferences: [X25519, CurveP256], pinned_certs: ["{pin}"] }}
            allow_non_tls: true, https_port: -1"#
    ))
    .broker
    .tls
    .unwrap();
    assert_eq!(
        (tls.cert_file.as_path(), tls.key_file.as_path(), tls.ca_file.as_deref()),
        (Path::new("c"), Path::new("k"), Some(Path::new("a")))
    );
    assert!(tls.verify && tls.verify_and_map);
    assert_eq!(tls.timeout, Some(Duration::from_millis(500)));
    assert_eq!(tls.handshake_first, HandshakeFirst::For(Duration::from_millis(50)));
    assert_eq!(tls.min_version, TlsVersion::V1_3);
    assert_eq!(
        tls.cipher_suites,
        ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
    );
    assert_eq!(
        (tls.curve_preferences.len(), tls.pinned_certs),
        (2, vec![pin.to_lowercase()])
    );
    let tls = options_of("tls { certs: [{ cert_file: c, key_file: k }] }")
        .broker
        .tls
        .unwrap();
    assert_eq!(
        (tls.cert_file.as_path(), tls.verify, tls.handshake_first),
        (Path::new("c"), false, HandshakeFirst::No)
    );
    for (inside, expected) in [
        ("", "f:1:5: missing 'cert_file' in TLS configuration"),
        ("cert_file: c", "missing 'key_file' in TLS configuration"),
        ("cert: c", "f:1:7: error parsing tls config, unknown field \"cert\""),
        (
            "cert_file: c, key_file: k, cipher_suites: [RC4]",
            "unrecognized cipher suite \"RC4\"",
        ),
        (
            "cert_file: c, key_file: k, curve_preferences: [X448]",
            "unrecognized curve preference \"X448\"",
        ),
        (
            "cert_file: c, key_file: k, min_version: \"1.1\"",
            "unsupported TLS version \"1.1\"",
        ),
        (
            "cert_file: c, key_file: k, pinned_certs: [ab]",
            "is not the SHA-256 of a key",
        ),
        (
            "cert_file: c, key_file: k, ocsp_peer: true",
            "this build does not have certificate status checks yet",
        ),
    ] {
        let complaint = complaint_about(&format!("tls {{ {inside} }}"));
        assert!(complaint.contains(expected), "{inside}: {complaint}");
    }
    // Flags replace the block, and -tls=false puts the flags aside.
    let fake = Fake::with_files(&[("f", "tls { cert_file: c, key_file: k, verify: true }")]);
    let tls = fake.options("-c f -tlscert d -tlskey e").broker.tls.unwrap();
    assert_eq!((tls.cert_file.as_path(), tls.verify), (Path::new("d"), false));
    let tls = fake.options("-c f -tls=false -tlscert d").broker.tls.unwrap();
    assert_eq!((tls.cert_file.as_path(), tls.verify), (Path::new("c"), true));
    assert_eq!(
        fake.complaint("-tlsverify"),
        "TLS Server certificate must be present and valid\n"
    );
    // What begins with tls on the streaming side asks for nothing of the broker.
    assert!(fake.options("-tls_client_cert x -secure").broker.tls.is_none());
}
