//! What command lines do (streaming specification §7, core specification §5.5).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use seaway_config::{Action, Options, Personality, StoreKind, markdown, parse, usage};

const ORIGINAL: Personality = Personality::NatsStreamingServer;
const SEAWAY: Personality = Personality::Seaway;

#[track_caller]
fn run(personality: Personality, line: &str) -> Options {
    match parse(personality, line.split_whitespace()) {
        Action::Run(options) => *options,
        action => panic!("{line}: {action:?}"),
    }
}

#[track_caller]
fn check_fails(personality: Personality, line: &str, text: &str, code: u8) {
    match parse(personality, line.split_whitespace()) {
        Action::Exit { stderr, code: exit, .. } => {
            assert!(stderr.contains(text), "{line}: {stderr}");
            assert!(stderr.ends_with('\n'));
            assert_eq!(exit, code, "{line}");
        }
        Action::Refuse { problems, .. } => {
            assert!(problems.join("\n").contains(text), "{line}: {problems:?}");
            assert_eq!(code, 1, "{line}");
        }
        action => panic!("{line}: {action:?}"),
    }
}

#[test]
fn defaults_of_the_original() {
    let options = run(ORIGINAL, "");
    assert_eq!(options, Options::new(ORIGINAL));
    assert_eq!(options.streaming.cluster_id, "test-cluster");
    assert_eq!(options.streaming.discover_prefix, "_STAN.discover");
    assert_eq!(options.streaming.store, StoreKind::Memory);
    let limits = &options.streaming.limits;
    assert_eq!(
        (limits.max_channels, limits.max_subs, limits.max_msgs),
        (100, 1000, 1_000_000)
    );
    assert_eq!(limits.max_bytes, 1_024_000_000);
    assert_eq!(
        (limits.max_age, limits.max_inactivity),
        (Duration::ZERO, Duration::ZERO)
    );
    let heartbeats = &options.streaming.heartbeats;
    assert_eq!(
        (heartbeats.interval, heartbeats.timeout),
        (Duration::from_secs(30), Duration::from_secs(10))
    );
    assert_eq!(heartbeats.fail_count, 10);
    assert!(options.streaming.file_sync && options.log.time && !options.log.utc);
    assert_eq!((options.broker.host.as_str(), options.broker.port), ("0.0.0.0", 4222));
    assert_eq!(options.broker.http_port, None);
    assert!(options.notices.is_empty());
}

#[test]
fn defaults_of_seaway() {
    for line in ["", "serve"] {
        let options = run(SEAWAY, line);
        assert_eq!(options.streaming.store, StoreKind::File);
        assert_eq!(options.streaming.dir, Path::new("./seaway-data"));
        assert_eq!((options.broker.host.as_str(), options.broker.port), ("127.0.0.1", 4222));
        assert_eq!(options.broker.http_port, Some(8222));
    }
    assert_eq!(run(SEAWAY, "serve --addr 0.0.0.0").broker.host, "0.0.0.0");
    check_fails(ORIGINAL, "serve", "unrecognized command: \"serve\"", 1);
}

/// The line of the original's own tutorial.
#[test]
fn the_tutorial_of_the_original() {
    let options = run(ORIGINAL, "--store file --dir ./data --max_msgs 0 --max_bytes 0");
    assert_eq!(options.streaming.store, StoreKind::File);
    assert_eq!(options.streaming.dir, Path::new("./data"));
    assert_eq!(
        (options.streaming.limits.max_msgs, options.streaming.limits.max_bytes),
        (0, 0)
    );
}

#[test]
fn honoured_flags_arrive() {
    let options = run(
        ORIGINAL,
        "-cid c.d -mc 1 -msu 2 -mm 3 -mb 4KB -ma 5s -mi 6m -hbi 7s -hbt 8ms -hbf 9 -replace_durable -file_sync=false \
         -SD -SV -p -1 -a ::1 -m 8222 -n me -client_advertise h:1 -P pid -ports_file_dir ports -l log \
         -log_size_limit 10 -T=false -logtime_utc -D -V -max_traced_msg_len 11",
    );
    let streaming = &options.streaming;
    assert_eq!(streaming.cluster_id, "c.d");
    assert_eq!(
        (
            streaming.limits.max_channels,
            streaming.limits.max_subs,
            streaming.limits.max_msgs
        ),
        (1, 2, 3)
    );
    assert_eq!(streaming.limits.max_bytes, 4096);
    assert_eq!(streaming.limits.max_age, Duration::from_secs(5));
    assert_eq!(streaming.limits.max_inactivity, Duration::from_secs(360));
    assert_eq!(streaming.heartbeats.interval, Duration::from_secs(7));
    assert_eq!(streaming.heartbeats.timeout, Duration::from_millis(8));
    assert_eq!(streaming.heartbeats.fail_count, 9);
    assert!(streaming.replace_durable && !streaming.file_sync && streaming.debug && streaming.trace);
    let broker = &options.broker;
    assert_eq!(
        (broker.port, broker.http_port, broker.host.as_str()),
        (0, Some(8222), "::1")
    );
    assert_eq!(
        (broker.name.as_deref(), broker.client_advertise.as_deref()),
        (Some("me"), Some("h:1"))
    );
    assert_eq!(
        (broker.pid_file.as_deref(), broker.ports_file_dir.as_deref()),
        (Some(Path::new("pid")), Some(Path::new("ports")))
    );
    assert!(broker.debug && broker.trace && !broker.trace_verbose);
    assert_eq!(broker.max_traced_msg_len, 11);
    assert_eq!(
        (options.log.file, options.log.size_limit),
        (Some(PathBuf::from("log")), Some(10))
    );
    assert!(!options.log.time && options.log.utc);
}

#[test]
fn combined_switches_count_last() {
    for (line, debug, trace) in [
        ("-SDV", true, true),
        ("-SDV=false -SD -SV", false, false),
        ("-SD", true, false),
        ("-SV", false, true),
    ] {
        let streaming = run(ORIGINAL, line).streaming;
        assert_eq!((streaming.debug, streaming.trace), (debug, trace), "{line}");
    }
    for (line, debug, trace, verbose) in [
        ("-DV", true, true, false),
        ("-DV=false -D -V", false, false, false),
        ("-VV", false, true, true),
        ("-DVV", true, true, true),
    ] {
        let broker = run(ORIGINAL, line).broker;
        assert_eq!(
            (broker.debug, broker.trace, broker.trace_verbose),
            (debug, trace, verbose),
            "{line}"
        );
    }
}

#[test]
fn ports_may_be_chosen_by_the_system() {
    for (line, port, http_port) in [
        ("-p 0 -m 0", 4222, None),
        ("-p -1 -m -1", 0, Some(0)),
        ("-p 1 -m 65535", 1, Some(65535)),
    ] {
        let broker = run(SEAWAY, line).broker;
        assert_eq!((broker.port, broker.http_port), (port, http_port), "{line}");
    }
    check_fails(ORIGINAL, "-p 65536", "invalid client port 65536", 1);
    check_fails(ORIGINAL, "-m -2", "invalid monitoring port -2", 1);
}

/// Texts of specification §3 and §7.1 for options with which the server cannot start.
#[test]
fn options_with_which_the_server_cannot_start() {
    for (line, text) in [
        ("-mc -1", "max channels limit cannot be negative (-1)"),
        ("-msu -2", "max subscriptions limit cannot be negative (-2)"),
        ("-mm -3", "max messages limit cannot be negative (-3)"),
        ("-mb -4", "max bytes limit cannot be negative (-4)"),
        ("-ma -5s", "max age limit cannot be negative (-5s)"),
        ("-mi -6m", "max inactivity limit cannot be negative (-6m0s)"),
        ("-max_bytes 12abc", "max_bytes should be a size, got '12abc'"),
        ("-file_buffer_size x", "file_buffer_size should be a size, got 'x'"),
        ("-store foo", "unsupported store type: FOO"),
        ("-store file", "for FILE stores, root directory must be specified"),
        ("-hbf 9999999999", "invalid heartbeat fail count (9999999999)"),
        ("-cid a..b", "invalid cluster ID \"a..b\""),
        ("-cid >", "invalid cluster ID \">\""),
        ("-encrypt", "encryption key required"),
        (
            "-encryption_key k -encryption_cipher rot13",
            "encryption cipher not supported",
        ),
        ("-t", "-t needs a configuration file"),
        ("-pass p", "a password needs a user"),
        ("-user u -auth t", "Cannot have a user/pass and token"),
        (
            "-auth $2a$31$x",
            "the bcrypt hash of the token has cost 31, which takes too long to compare with: at most 16",
        ),
        ("-tls", "TLS Server certificate must be present and valid"),
        ("-tlscert f", "TLS Server private key must be present and valid"),
        ("-ms 8443", "https_port needs TLS"),
        ("foo", "unrecognized command: \"foo\""),
        ("-SD false", "unrecognized command: \"false\""),
    ] {
        check_fails(ORIGINAL, line, text, 1);
        if line != "-store file" {
            check_fails(SEAWAY, line, text, 1);
        }
    }
    // The last value counts, so an earlier bad one does no harm.
    assert_eq!(run(ORIGINAL, "-mc -1 -max_channels 5").streaming.limits.max_channels, 5);
}

/// Without `-clustered` the options of clustering do nothing, which is said.
#[test]
fn options_of_a_cluster_that_there_is_not_are_noticed() {
    for line in [
        "-cluster_node_id a",
        "-cluster_peers a,b",
        "-cluster_bootstrap",
        "-cluster_members_secret s",
        "-cluster_members_advertise h:1",
    ] {
        let notices = run(ORIGINAL, line).notices;
        assert!(
            notices[0].contains("have no effect without -clustered"),
            "{line}: {notices:?}"
        );
    }
    let notices = run(ORIGINAL, "-cluster_sync -cluster_log_path p -cluster_trailing_logs 5").notices;
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert!(notices.iter().all(|notice| notice.contains(" has no effect: ")));
}

/// What this build does not have is refused, never ignored; saying the default is no request for it.
#[test]
fn what_is_not_built_is_refused() {
    for line in [
        "-store sql",
        "-sql_driver mysql",
        "-clustered",
        "-js",
        "-file_slice_archive_script s",
    ] {
        check_fails(ORIGINAL, line, "this build does not have", 1);
    }
    let options = run(
        ORIGINAL,
        "-encrypt=false -clustered=false -sql_max_open_conns 0 -cluster_raft_logging=false -tls=false",
    );
    assert_eq!(options, Options::new(ORIGINAL));
}

#[test]
fn flags_without_effect_are_noticed_once() {
    let options = run(
        ORIGINAL,
        "-io_batch_size 1 -io_batch_size 2 -file_slice_max_bytes 0 -file_crc_poly 0xEDB88320",
    );
    assert_eq!(options.notices.len(), 3, "{:?}", options.notices);
    assert!(options.notices[0].starts_with("Flag -io_batch_size has no effect: "));
}

#[test]
fn malformed_lines_exit_as_specified() {
    // §7.4: the original prints its usage and exits with 0.
    match parse(ORIGINAL, ["-zz"]) {
        Action::Exit { stderr, stdout, code } => {
            assert_eq!(stderr, "flag provided but not defined: -zz\n");
            assert_eq!(stdout, usage(ORIGINAL));
            assert_eq!(code, 0);
        }
        action => panic!("{action:?}"),
    }
    check_fails(ORIGINAL, "-p x", "invalid value \"x\" for flag -p: parse error", 0);
    check_fails(SEAWAY, "-p x", "invalid value \"x\" for flag -p: parse error", 2);
    check_fails(SEAWAY, "-max-msg 1", "did you mean -max_msgs?", 2);
    check_fails(SEAWAY, "--data-dir x", "flag provided but not defined: -data-dir", 2);
}

/// §7.7: the argument goes to whoever sends the signal.
#[test]
fn signals_are_sent_before_anything_else() {
    let signal = Action::Signal("reload=123".into());
    for line in ["-sl reload=123", "--signal=reload=123 -store foo -c none"] {
        assert_eq!(parse(ORIGINAL, line.split_whitespace()), signal, "{line}");
    }
    assert!(matches!(parse(ORIGINAL, ["-sl="]), Action::Run(_)));
}

#[test]
fn information_is_printed() {
    let version = Action::Exit {
        stderr: String::new(),
        stdout: "nats-streaming-server version 0.25.6, nats-server: v2.9.24\n".into(),
        code: 0,
    };
    for line in ["-v", "--version", "version", "VERSION", "-h -v", "-clustered -v"] {
        assert_eq!(parse(ORIGINAL, line.split_whitespace()), version, "{line}");
    }
    let help = Action::Exit {
        stderr: String::new(),
        stdout: usage(SEAWAY),
        code: 0,
    };
    for line in ["-h", "--help", "help", "serve --help"] {
        assert_eq!(parse(SEAWAY, line.split_whitespace()), help, "{line}");
    }
    assert!(matches!(parse(SEAWAY, ["-v"]), Action::Exit { stdout, code: 0, .. } if stdout.starts_with("seaway v")));
    assert!(usage(SEAWAY).contains("(default ./seaway-data)") && !usage(ORIGINAL).contains("seaway-data"));
    assert!(matches!(parse(SEAWAY, ["-v=false"]), Action::Run(_)));
}

/// Run with `UPDATE=1` to write the file.
#[test]
fn documentation_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, markdown()).unwrap();
    }
    let is_current = std::fs::read_to_string(&path).unwrap() == markdown();
    assert!(is_current, "run this test with UPDATE=1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn arbitrary_arguments_never_panic(arguments in prop::collection::vec(prop_oneof![
        any::<String>(),
        "--?[a-zA-Z_]{1,12}(=.{0,10})?",
        "-(mc|mb|ma|p|m|cid|st|dir|hbi|hbf|n|T|SDV|max_traced_msg_len|log_size_limit)",
        "[-+0-9._a-zµ]{0,12}",
    ], 0..6)) {
        for personality in [ORIGINAL, SEAWAY] {
            if let Action::Run(options) = parse(personality, &arguments) {
                prop_assert!(!options.streaming.cluster_id.is_empty());
                prop_assert!(options.streaming.heartbeats.interval > Duration::ZERO);
            }
        }
    }
}
