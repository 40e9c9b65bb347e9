//! The streaming side of configuration files (streaming specification §7.5, §7.6, §6.2, §13.8).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use seaway_config::{Action, ChannelLimits, Cipher, Personality, StoreKind};
use support::{Fake, complaint_about, options_of};

/// Every key of §7.6 that does something here.
#[test]
fn all_keys_of_the_streaming_block() {
    let streaming = options_of(
        r#"
        Streaming {
          ID: my-cluster, discover_prefix: _D.x
          store_type: "file", datastore: data
          sd: yes, sv: on
          hbi: "7s", hbt: "8ms", hbf: 9
          partitioning: true
          syslog_name: name
          encrypt: true, encryption_cipher: chacha, encryption_key: "secret"
          replace_duplicate_durables: true
          username: u, password: p, token: "1t"
          limits {
            mc: 10, msu: 11, mm: 12k, mb: 13KB, ma: "14s", mi: "15m"
            per_channel { foo {} }
          }
          file { sync: false }
        }"#,
    )
    .streaming;
    assert_eq!(streaming.cluster_id, "my-cluster");
    assert_eq!(streaming.discover_prefix, "_D.x");
    assert_eq!(
        (streaming.store, streaming.dir.as_path()),
        (StoreKind::File, Path::new("data"))
    );
    assert!(streaming.debug && streaming.trace && streaming.partitioning && streaming.replace_durable);
    assert!(!streaming.file_sync);
    assert_eq!(streaming.heartbeats.interval, Duration::from_secs(7));
    assert_eq!(streaming.heartbeats.timeout, Duration::from_millis(8));
    assert_eq!(streaming.heartbeats.fail_count, 9);
    assert_eq!(streaming.syslog_name.as_deref(), Some("name"));
    let encryption = streaming.encryption.unwrap();
    assert_eq!((encryption.cipher, encryption.key.expose()), (Cipher::Chacha, "secret"));
    let own = streaming.own_credentials;
    assert_eq!(own.user.as_deref(), Some("u"));
    assert_eq!(
        (own.password.unwrap().expose(), own.token.unwrap().expose()),
        ("p", "1t")
    );
    let limits = streaming.limits;
    assert_eq!(
        (limits.max_channels, limits.max_subs, limits.max_msgs, limits.max_bytes),
        (10, 11, 12_000, 13 << 10)
    );
    assert_eq!(
        (limits.max_age, limits.max_inactivity),
        (Duration::from_secs(14), Duration::from_secs(900))
    );
    assert_eq!(streaming.channel_limits.len(), 1);
}

/// Further names of the same keys.
#[test]
fn aliases_and_their_order() {
    for text in [
        "streaming { cid: a }",
        "streaming { cluster_id: a }",
        "streaming = { id: b, cluster_id: a }",
        "streaming { id: c }\nstreaming { id: a }",
        "id: a",
        "ID: a, port: 4222",
    ] {
        assert_eq!(options_of(text).streaming.cluster_id, "a", "{text}");
    }
    for key in ["limits", "store_limits", "storelimits", "Limits"] {
        let text = format!("streaming {{ {key} {{ max_channels: 5 }} }}");
        assert_eq!(options_of(&text).streaming.limits.max_channels, 5, "{text}");
    }
    for key in [
        "channels",
        "channels_limits",
        "channelslimits",
        "per_channel",
        "per_channel_limits",
    ] {
        let text = format!("store_limits {{ {key} {{ foo {{ maxcount: 5 }} }} }}");
        assert_eq!(
            options_of(&text).streaming.channel_limits[0].max_messages,
            Some(5),
            "{text}"
        );
    }
}

/// §6.2: an omitted limit is inherited, zero and below are unlimited (§13.8 ParsePerChannelLimitsSetToZero).
#[test]
fn limits_of_channels_as_written() {
    let limits = options_of(
        r#"streaming { store_limits { channels {
            "foo.>" { max_subs: 1, max_msgs: 2, max_bytes: 3KB, max_age: "4s", max_inactivity: "5s" }
            bar { msu: 0, mm: -1, mb: 0, ma: "0s", mi: "-1s" }
            "*.baz": {}
        } } }"#,
    )
    .streaming
    .channel_limits;
    let named = |pattern: &str| ChannelLimits {
        pattern: pattern.to_owned(),
        ..ChannelLimits::default()
    };
    let expected = [
        ChannelLimits {
            max_subscriptions: Some(1),
            max_messages: Some(2),
            max_bytes: Some(3 << 10),
            max_age: Some(Duration::from_secs(4)),
            max_inactivity: Some(Duration::from_secs(5)),
            ..named("foo.>")
        },
        ChannelLimits {
            max_subscriptions: Some(0),
            max_messages: Some(0),
            max_bytes: Some(0),
            max_age: Some(Duration::ZERO),
            max_inactivity: Some(Duration::ZERO),
            ..named("bar")
        },
        named("*.baz"),
    ];
    assert_eq!(limits, expected);
    assert_eq!(
        limits.iter().map(ChannelLimits::is_literal).collect::<Vec<_>>(),
        [false, true, false]
    );
}

/// §13.8 ParseWrongTypes, ParseMapStruct.
#[test]
fn wrong_types_are_refused_in_the_words_of_the_original() {
    for (text, expected) in [
        (
            "streaming: 1",
            "f:1:12: expected streaming section to be a map/struct, got int64",
        ),
        (
            "streaming { id: 1 }",
            "f:1:17: parameter \"id\" value is expected to be string, got int64",
        ),
        (
            "streaming { sd: \"yes\" }",
            "parameter \"sd\" value is expected to be bool, got string",
        ),
        (
            "streaming { hbf: \"1\" }",
            "parameter \"hbf\" value is expected to be int64, got string",
        ),
        (
            "streaming { hbi: 5m }",
            "parameter \"hbi\" value is expected to be string, got int64",
        ),
        ("streaming { hbi: \"5x\" }", "time: invalid duration \"5x\""),
        (
            "streaming { limits: [] }",
            "expected limits to be a map/struct, got slice",
        ),
        (
            "streaming { file: 1.5 }",
            "expected file to be a map/struct, got float64",
        ),
        ("streaming { tls: no }", "expected tls to be a map/struct, got bool"),
        (
            "limits { mb: \"100KB\" }",
            "parameter \"mb\" value is expected to be int64, got string",
        ),
        (
            "limits { channels: 1 }",
            "expected channels limits to be a map/struct, got int64",
        ),
        (
            "limits { channels { foo: 1 } }",
            "expected channel limits to be a map/struct, got int64",
        ),
        (
            "limits { channels { foo { mm: x } } }",
            "parameter \"mm\" value is expected to be int64, got string",
        ),
        (
            "limits { channels { foo { ma: \"1\" } } }",
            "f:1:31: time: invalid duration \"1\"",
        ),
        (
            "limits { channels { foo. {} } }",
            "f:1:21: invalid channel name \"foo.\"",
        ),
        (
            "limits { channels { \"foo.>.bar\" {} } }",
            "invalid channel name \"foo.>.bar\"",
        ),
        (
            "limits { mc: -1 }",
            "f:1:10: max channels limit cannot be negative (-1)",
        ),
        ("limits { ma: \"-1s\" }", "max age limit cannot be negative (-1s)"),
        (
            "limits { mc: 1, channels { a {}, b {}, \"c.*\" {} } }",
            "too many channels defined (2). The max channels limit is set to 1",
        ),
        ("store: tape", "f:1:1: unsupported store type: TAPE"),
        ("store: file", "for FILE stores, root directory must be specified"),
        ("partitioning: true", "stan: no configured channel"),
        ("encrypt: true", "encryption key required"),
        (
            "encryption_key: k, encryption_cipher: x",
            "encryption cipher not supported",
        ),
        ("id: a..b", "invalid cluster ID \"a..b\""),
    ] {
        let complaint = complaint_about(text);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
    // All of them are said, each on its line.
    let complaint = complaint_about("id: 1\nsd: 2\nlimits { mc: -1 }");
    assert_eq!(complaint.lines().count(), 3, "{complaint}");
}

#[test]
fn modes_that_are_not_built_are_refused_with_key_and_place() {
    for (text, expected) in [
        (
            "streaming { cluster {} }",
            "f:1:21: clustered: this build does not have clustering yet",
        ),
        (
            "streaming { sql { driver: mysql } }",
            "key driver: this build does not have an SQL store yet",
        ),
        ("streaming { store: sql }", "this build does not have an SQL store yet"),
        (
            "streaming { file { slice_archive: s } }",
            "archiving of removed messages",
        ),
        ("cluster { listen: \"h:1\" }", "without a \"streaming\" block"),
    ] {
        let complaint = complaint_about(text);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
    // Saying the default asks for nothing.
    options_of("streaming { ft_group: \"\", ns: \"\", sql { no_caching: no }, file { slice_archive: \"\" } }");
}

#[test]
fn what_has_no_effect_and_what_is_unknown_is_said() {
    let notices = options_of(
        "streaming {\n hb_intervall: \"1s\"\n file { buffer_size: 1MB }\n secure: true\n tls { client_cert: c }\n \
         my_dir: d\n dir: $my_dir\n store_limits { max_mesgs: 1, channels { foo { max_age_: \"1s\" } } } }\nprot: 1",
    )
    .notices;
    for expected in [
        "f:2:2: unknown field \"hb_intervall\", did you mean \"hb_interval\"?",
        "Key buffer_size (f:3:9) has no effect: the journal sizes its buffers by itself",
        "Key secure (f:4:2) has no effect: ",
        "Key client_cert (f:5:8) has no effect: ",
        "unknown field \"max_mesgs\", did you mean \"max_msgs\"?",
        "unknown field \"max_age_\", did you mean \"max_age\"?",
        "f:9:1: unknown field \"prot\", did you mean \"port\"?",
    ] {
        assert!(
            notices
                .iter()
                .any(|notice| notice.starts_with(expected) || notice.ends_with(expected)),
            "{expected}: {notices:#?}"
        );
    }
    // A key that only serves as a variable is not unknown.
    assert_eq!(notices.len(), 7, "{notices:#?}");
    assert!(options_of("").notices[0].contains("config has no values or is empty"));
}

/// The file store's own checks count only for file stores, whoever gives the value.
#[test]
fn options_of_the_file_store_are_checked_for_file_stores() {
    for (flag, key, value, text) in [
        (
            "file_buffer_size",
            "buffer_size",
            "-1",
            "buffer size value must be a positive number",
        ),
        (
            "file_read_buffer_size",
            "read_buffer_size",
            "-1",
            "read buffer size value must be a positive number",
        ),
        (
            "file_compact_interval",
            "compact_interval",
            "0",
            "compact interval value must at least be 1 seconds",
        ),
        (
            "file_compact_frag",
            "compact_frag",
            "0",
            "compact fragmentation value must at least be 1",
        ),
        (
            "file_compact_min_size",
            "compact_min_size",
            "-1",
            "compact minimum file size value must be a positive number",
        ),
        (
            "file_crc_poly",
            "crc_poly",
            "0",
            "crc polynomial should be between 1 and 4294967295",
        ),
        (
            "file_crc_poly",
            "crc_poly",
            "4294967296",
            "crc polynomial should be between 1 and 4294967295",
        ),
        (
            "file_slice_max_msgs",
            "slice_max_msgs",
            "-1",
            "slice max values must be positive numbers",
        ),
        (
            "file_slice_max_bytes",
            "slice_max_bytes",
            "-1",
            "slice max values must be positive numbers",
        ),
        (
            "file_slice_max_age",
            "slice_max_age",
            "-1s",
            "slice max values must be positive numbers",
        ),
        (
            "file_fds_limit",
            "fds_limit",
            "-1",
            "file descriptor limit must be a positive number",
        ),
        (
            "file_parallel_recovery",
            "parallel_recovery",
            "0",
            "parallel recovery value must be at least 1",
        ),
    ] {
        let fake = Fake::default();
        assert_eq!(
            fake.complaint(&format!("-store file -dir d -{flag} {value}")),
            format!("{text}\n"),
            "{flag}"
        );
        fake.options(&format!("-{flag} {value}"));
        let quoted = if value.ends_with('s') {
            format!("\"{value}\"")
        } else {
            value.to_owned()
        };
        let complaint = complaint_about(&format!("store: file, dir: d\nfile {{ {key}: {quoted} }}"));
        assert_eq!(complaint, format!("f:2:8: {text}\n"), "{key}");
    }
    // §13.8 FileSliceMaxBytesCmdLine: zero is a value like others.
    Fake::default().options("-store file -dir d -file_slice_max_bytes 0 -file_buffer_size 0");
}

/// §7.5, §13.8 ParseConfigureOptions.
#[test]
fn flags_win_over_variables_and_variables_over_files() {
    let mut fake = Fake::with_files(&[(
        "f",
        "streaming { id: file, limits { mb: 100KB, mm: 1 }, sd: true, hbi: \"1s\" }\nport: 1111\nlogtime: false",
    )]);
    let options = fake.options("-sc f");
    assert_eq!(options.streaming.limits.max_bytes, 102_400);
    assert!(!options.log.time && options.streaming.debug);
    assert_eq!(options.broker.port, 1111);
    fake.variables = [
        ("SEAWAY_CLUSTER_ID", "environment"),
        ("SEAWAY_MAX_BYTES", "200KB"),
        ("SEAWAY_MAX_MSGS", ""),
    ]
    .into();
    let options = fake.options("-c f -mb 300KB -SDV=false -hb_interval 2s -p 2222 -T");
    assert_eq!(options.streaming.cluster_id, "environment");
    assert_eq!(
        (options.streaming.limits.max_bytes, options.streaming.limits.max_msgs),
        (300 << 10, 1)
    );
    assert!(!options.streaming.debug && options.log.time);
    assert_eq!(options.streaming.heartbeats.interval, Duration::from_secs(2));
    assert_eq!(options.broker.port, 2222);
    assert_eq!(fake.options("-c f").streaming.limits.max_bytes, 200 << 10);
}

#[test]
fn two_files_have_one_side_each() {
    let fake = Fake::with_files(&[
        ("s", "streaming { id: from-s }\nport: 1111\nserver_name: s"),
        ("b", "streaming { id: from-b }\nport: 2222\nid: x"),
        ("plain", "id: plain, port: 3333"),
    ]);
    let options = fake.options("-sc s -c b");
    assert_eq!(
        (options.streaming.cluster_id.as_str(), options.broker.port),
        ("from-s", 2222)
    );
    assert_eq!(options.broker.name, None);
    assert_eq!(options.config_file.as_deref(), Some(Path::new("b")));
    assert_eq!(options.streaming_config_file.as_deref(), Some(Path::new("s")));
    assert!(
        options
            .notices
            .iter()
            .any(|notice| notice == "b:3:1: id concerns the streaming engine and is ignored here")
    );
    let options = fake.options("-sc plain -c b");
    assert_eq!(
        (options.streaming.cluster_id.as_str(), options.broker.port),
        ("plain", 2222)
    );
    for line in ["-sc plain", "-c plain"] {
        let options = fake.options(line);
        assert_eq!(
            (options.streaming.cluster_id.as_str(), options.broker.port),
            ("plain", 3333),
            "{line}"
        );
        assert_eq!(options.config_file.as_deref(), Some(Path::new("plain")), "{line}");
        assert_eq!(options.streaming_config_file, None);
        assert!(options.notices.is_empty(), "{:?}", options.notices);
    }
    assert_eq!(
        fake.complaint("-c none"),
        "cannot read the configuration file none: open none: no such file or directory\n"
    );
}

#[test]
fn the_encryption_key_of_the_environment_wins() {
    let mut fake = Fake::with_files(&[("f", "encryption_key: file")]);
    let key = |fake: &Fake, line: &str| {
        fake.options(line)
            .streaming
            .encryption
            .map(|e| e.key.expose().to_owned())
    };
    assert_eq!(key(&fake, "-c f").as_deref(), Some("file"));
    assert_eq!(key(&fake, "-c f -encryption_key flag").as_deref(), Some("flag"));
    fake.variables = [("NATS_STREAMING_ENCRYPTION_KEY", "environment")].into();
    assert_eq!(key(&fake, "-c f -encryption_key flag").as_deref(), Some("environment"));
    assert_eq!(key(&fake, "-encrypt").as_deref(), Some("environment"));
    let plain = fake.options("");
    assert!(plain.streaming.encryption.is_none() && plain.notices[0].contains("encryption is off"));
}

#[test]
fn variables_are_checked_and_unknown_ones_named() {
    let fake = Fake::with_variables(&[
        ("SEAWAY_MAX_BYTES", "12abc"),
        ("SEAWAY_STAN_DEBUG", "maybe"),
        ("SEAWAY_MC", "1"),
    ]);
    let complaint = fake.complaint("");
    assert!(
        complaint.contains("SEAWAY_STAN_DEBUG: invalid value \"maybe\" for a bool: parse error"),
        "{complaint}"
    );
    assert!(
        complaint.contains("SEAWAY_MAX_BYTES: max_bytes should be a size, got '12abc'"),
        "{complaint}"
    );
    let fake = Fake::with_variables(&[
        ("SEAWAY_PORT", "tcp://10.0.0.1:4222"),
        ("SEAWAY_PORT_4222_TCP", "tcp://10.0.0.1:4222"),
        ("SEAWAY_SERVICE_HOST", "10.0.0.1"),
        ("SEAWAY_PASSWORD", "x"),
        ("SEAWAY_IO_BATCH_SIZE", "1"),
    ]);
    let options = fake.options("");
    assert_eq!(options.broker.port, 4222);
    let expected = [
        "Variable SEAWAY_PORT has no effect: tcp://10.0.0.1:4222 is no number",
        "Variable SEAWAY_PASSWORD has no effect: there is no such option",
        "Variable SEAWAY_IO_BATCH_SIZE has no effect: batches form by themselves from what waits",
    ];
    assert_eq!(options.notices.len(), expected.len(), "{:#?}", options.notices);
    for (notice, expected) in options.notices.iter().zip(expected) {
        assert!(notice.starts_with(expected), "{notice}");
    }
}

/// §14 difference 5: `-t` ends here instead of starting a server.
#[test]
fn files_can_be_checked_without_a_start() {
    let fake = Fake::with_files(&[("good", "port: 1\nprot: 2"), ("bad", "port: x\nid: 1")]);
    let valid = |text: &str| Action::Exit {
        stderr: text.to_owned(),
        stdout: String::new(),
        code: 0,
    };
    let checked = |personality, line| match fake.parse(personality, line) {
        Action::Check(check) => check.report(&[]),
        action => action,
    };
    let warning = "warning: good:2:1: unknown field \"prot\", did you mean \"port\"?\n";
    assert_eq!(
        checked(Personality::NatsStreamingServer, "-t -c good"),
        valid(&format!(
            "{warning}nats-streaming-server: configuration file good is valid\n"
        ))
    );
    assert_eq!(
        checked(Personality::Seaway, "-sc good -t"),
        valid(&format!("{warning}seaway: configuration file good is valid\n"))
    );
    let complaint = fake.complaint("-t -c bad");
    assert!(
        complaint.starts_with("bad:1:7: parameter \"port\"") && complaint.contains("\nbad:2:5: parameter \"id\""),
        "{complaint}"
    );
    assert!(fake.complaint("-t -c good -mc -1").contains("max channels limit"));
    assert_eq!(
        checked(Personality::Seaway, "check-config good"),
        Action::Exit {
            stderr: String::new(),
            stdout: format!("{warning}good: valid\n"),
            code: 0
        }
    );
    // What a start would stumble over is in the report, where the caller looks for it.
    let unusable = |personality, line| match fake.parse(personality, line) {
        Action::Check(check) => check.report(&["no.pem is missing".to_owned()]),
        action => action,
    };
    assert_eq!(
        unusable(Personality::Seaway, "check-config good"),
        Action::Exit {
            stderr: String::new(),
            stdout: "no.pem is missing\n".to_owned(),
            code: 1
        }
    );
    assert_eq!(
        unusable(Personality::Seaway, "-t -c good"),
        Action::Exit {
            stderr: "seaway: no.pem is missing\n".to_owned(),
            stdout: String::new(),
            code: 1
        }
    );
    assert!(matches!(
        fake.parse(Personality::Seaway, "check-config bad"),
        Action::Exit { stdout, code: 1, .. } if stdout.starts_with("bad:1:7: ")
    ));
    assert!(matches!(
        fake.parse(Personality::Seaway, "check-config"),
        Action::Exit { code: 2, .. }
    ));
    assert!(matches!(
        fake.parse(Personality::Seaway, "check-config good more"),
        Action::Exit { code: 1, .. }
    ));
    assert!(matches!(
        fake.parse(Personality::NatsStreamingServer, "check-config good"),
        Action::Exit { code: 1, .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Known keys with values of every kind, in every block: options or complaints, and no panic.
    #[test]
    fn any_values_of_known_keys_are_taken_or_refused(lines in prop::collection::vec((
        "(streaming|store_limits|channels|authorization|users|permissions|publish|tls|file|certs|cluster|jetstream|foo)?",
        "(id|store|port|listen|http|max_bytes|mb|ma|max_age|hbi|sync|users|user|password|token|nkey|allow|deny|permissions\
          |allow_responses|max|expires|timeout|cert_file|key_file|handshake_first|min_version|pinned_certs|ping_interval\
          |lame_duck_duration|max_payload|server_name|server_tags|channels|encryption_key|partitioning|sub|publish)",
        "(1|-1|0|99999999999999|1.5|yes|off|abc|\"5m\"|\"\"|\"-1s\"|\"é\"|\\[\\]|\\[a, 1\\]|\\{\\}|\\{user: a\\}|\\[\\{user: a\\}\\])",
    ), 0..8)) {
        let mut text = String::new();
        for (block, key, value) in &lines {
            match block.is_empty() {
                true => text.push_str(&format!("{key}: {value}\n")),
                false => text.push_str(&format!("{block} {{ {key}: {value} }}\n")),
            }
        }
        let nested = format!("streaming {{ store_limits {{ {text} }} }}\nauthorization {{ {text} }}\ntls {{ {text} }}");
        for text in [text.as_str(), nested.as_str()] {
            let fake = Fake::with_files(&[("f", text)]);
            match fake.parse(Personality::NatsStreamingServer, "-c f") {
                Action::Run(options) => prop_assert!(options.broker.max_payload <= options.broker.max_pending),
                Action::Refuse { problems, .. } => prop_assert!(problems.iter().all(|text| !text.trim().is_empty())),
                Action::Exit { stderr, code, .. } => prop_assert!(code == 1 && !stderr.trim().is_empty()),
                Action::Signal(_) | Action::Check(_) => prop_assert!(false, "{text}"),
            }
        }
    }
}
