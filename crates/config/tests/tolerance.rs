//! A file that started the original starts this server, with a warning, unless it asks for what is not there or would leave
//! open what it means to protect (core specification §1.14, §3.2, §3.3, §3.7, §5.3, §5.4; streaming specification §2.10, §7.6).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use seaway_config::{Options, Personality};
use support::{Fake, complaint_about, options_of};

fn defaults() -> Options {
    Options::new(Personality::NatsStreamingServer)
}

/// The only notice of a file.
#[track_caller]
fn notice_of(text: &str) -> String {
    let notices = options_of(text).notices;
    assert_eq!(notices.len(), 1, "{text}: {notices:#?}");
    notices.into_iter().next().unwrap()
}

/// Core specification §1.14, §5.4 and streaming specification §2.10: zero, and what is below, means the default.
#[test]
fn zero_means_the_default() {
    let default = defaults();
    for (key, shown) in [
        ("max_payload", "1048576"),
        ("max_control_line", "4096"),
        ("max_pending", "67108864"),
        ("ping_max", "2"),
    ] {
        for value in ["0", "-1"] {
            let text = format!("{key}: {value}");
            assert_eq!(options_of(&text).broker, default.broker, "{text}");
            let notice = notice_of(&text);
            assert_eq!(
                notice,
                format!("Key {key} (f:1:1) of {value} means the default, {shown}")
            );
        }
    }
    for (key, shown) in [
        ("ping_interval", "2m0s"),
        ("write_deadline", "10s"),
        ("lame_duck_grace_period", "10s"),
    ] {
        for value in ["0s", "-1s"] {
            let text = format!("{key}: \"{value}\"");
            assert_eq!(options_of(&text).broker, default.broker, "{text}");
            let notice = notice_of(&text);
            assert_eq!(
                notice,
                format!("Key {key} (f:1:1) of {value} means the default, {shown}")
            );
        }
        // An integer is seconds (§5.3), and says so too.
        assert_eq!(options_of(&format!("{key}: 0")).broker, default.broker, "{key}");
    }
    for (key, shown) in [("hb_interval", "30s"), ("hbt", "10s")] {
        for value in ["0s", "-5s"] {
            let text = format!("streaming {{ {key}: \"{value}\" }}");
            assert_eq!(options_of(&text).streaming, default.streaming, "{text}");
            assert!(
                notice_of(&text).contains(&format!("of {value} means the default, {shown}")),
                "{text}"
            );
        }
    }
    // Flags and variables as well.
    assert_eq!(Fake::default().options("-hbi 0s -hbt -1s").streaming, default.streaming);
    let fake = Fake::with_variables(&[("SEAWAY_PING_MAX", "0")]);
    assert_eq!(fake.options("").broker.ping_max, 2);
    // The first failure is one too many (§2.10); below zero that is no different.
    for value in [0, -3] {
        let options = options_of(&format!("streaming {{ hbf: {value} }}"));
        assert_eq!(options.streaming.heartbeats.fail_count, 0);
    }
}

/// Core specification §3.2, §3.7, §3.8.
#[test]
fn timeouts_of_zero_mean_the_default() {
    for timeout in ["0", "-1", "0.0", "-0.5", "\"0s\"", "\"-1s\""] {
        let text = format!("authorization {{ token: t, timeout: {timeout} }}");
        assert_eq!(options_of(&text).broker.authorization.timeout, None, "{text}");
        assert_eq!(
            notice_of(&text),
            "f:1:27: authorization timeout is not above zero: the default holds"
        );
        let text = format!("tls {{ cert_file: c, key_file: k, timeout: {timeout} }}");
        assert_eq!(options_of(&text).broker.tls.unwrap().timeout, None, "{text}");
        assert_eq!(
            notice_of(&text),
            "f:1:34: tls timeout is not above zero: the default holds"
        );
    }
    let out_of_range = complaint_about("tls { cert_file: c, key_file: k, timeout: 99999999999999999999999.0 }");
    assert!(out_of_range.contains("timeout is out of range"), "{out_of_range}");
}

/// Core specification §5.4: blocks of what is not there, which ask for nothing.
#[test]
fn empty_blocks_start_with_a_warning() {
    for (key, what) in [
        ("leafnodes {}", "leaf nodes"),
        ("gateway {}", "gateways"),
        ("mqtt {}", "MQTT"),
        ("websocket {}", "WebSocket clients"),
        ("jetstream {}", "JetStream"),
        ("jetstream { enabled: false, max_mem: 1GB }", "JetStream"),
        ("mappings {}", "subject mapping"),
        ("resolver_preload {}", "operators and user tokens (JWT)"),
    ] {
        let name = key.split([' ', ':']).next().unwrap();
        let text = format!("streaming {{}}\n{key}");
        assert_eq!(
            notice_of(&text),
            format!("Key {name} (f:2:1) has no effect: it is empty, and this build does not have {what} yet"),
        );
    }
    for text in ["jetstream: disabled", "jetstream: \"disabled\"", "jetstream: false"] {
        assert!(options_of(text).notices.is_empty(), "{text}");
    }
    // The block of streaming clustering turns it on by being there (streaming specification §7.6).
    for text in ["streaming { cluster {} }", "jetstream: enabled"] {
        assert!(complaint_about(text).contains("this build does not have"), "{text}");
    }
}

#[test]
fn what_is_odd_starts_with_a_warning() {
    // Core specification §5.3: the embedded server never looks at it.
    let text = "server_name: \"a b\"";
    assert_eq!(options_of(text).broker.name.as_deref(), Some("a b"));
    assert!(notice_of(text).contains("\"a b\" has blanks"));
    // §3.7: outgoing connections only.
    let text = "tls { cert_file: c, key_file: k, insecure: true }";
    assert!(options_of(text).broker.tls.is_some());
    assert_eq!(
        notice_of(text),
        "f:1:34: tls insecure has no effect: it concerns connections to other servers only"
    );
    // §5.4: nothing listens on it.
    assert!(notice_of("prof_port: 6060").contains("there is no profiling port"));
    assert!(Fake::default().options("-profile 6060").notices[0].contains("there is no profiling port"));
}

/// Core specification §3.1: a password alone protects nothing there; a flag may name its user.
#[test]
fn a_password_without_a_user_is_said_to_protect_nothing() {
    let text = "authorization { password: secret }";
    assert!(!options_of(text).broker.authorization.is_required());
    assert_eq!(
        notice_of(text),
        "authorization lets everybody in: a password without a user protects nothing"
    );
    let fake = Fake::with_files(&[("f", text)]);
    let options = fake.options("-c f -user bob");
    let single = options.broker.authorization.single.unwrap();
    assert_eq!((single.user.as_str(), single.password.expose()), ("bob", "secret"));
    assert!(options.notices.is_empty(), "{:?}", options.notices);
    let notice = notice_of("authorization { timeout: 5 }");
    assert!(notice.contains("f:1:15: authorization lets everybody in"), "{notice}");
    let closed = options_of("authorization { timeout: 5 }, accounts { A { users: [ { user: a, password: b } ] } }");
    assert!(closed.notices.is_empty(), "{:?}", closed.notices);
}

/// Core specification §3.3: what comes in is published, what goes out is subscribed.
#[test]
fn permissions_have_the_names_of_routes_too() {
    let options = options_of(
        "authorization { users: [ { user: a, permissions { import: \"in.>\", export { allow: out, deny: \"out.secret\" } } } ] }",
    );
    let permissions = options.broker.authorization.users[0].permissions.clone().unwrap();
    assert_eq!(permissions.publish.allow, ["in.>"]);
    assert_eq!(
        (permissions.subscribe.allow, permissions.subscribe.deny),
        (vec!["out".into()], vec!["out.secret".into()])
    );
}

/// Core specification §5.3: the words that scripts look for.
#[test]
fn syntax_errors_have_the_words_of_the_original() {
    for (text, expected) in [
        ("port: {", "f:1:7: Parse error on line 1: this '{' is never closed"),
        (
            "port: 1\na: [1 2]",
            "Parse error on line 2: expected ',', a new line or ']'",
        ),
        ("a: \"x", "Parse error on line 1: this quote is never closed"),
        (
            "a: $NO_SUCH",
            "Parse error on line 1: variable reference for 'NO_SUCH' on line 1 can not be found",
        ),
    ] {
        let complaint = complaint_about(text);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
}

/// Streaming specification §7.6: unknown keys are ignored, however many there are.
#[test]
fn very_many_unknown_keys_are_counted_and_not_listed() {
    let mut text = String::new();
    for number in 0..100_000 {
        writeln!(text, "max_paylod{number}: 1").unwrap();
    }
    let options = options_of(&text);
    assert_eq!(options.notices.len(), 51);
    assert_eq!(options.notices[50], "f: and 99950 more unknown fields");
    let mut channels = String::from("store_limits { channels { foo {\n");
    for number in 0..1_000 {
        writeln!(channels, "max_subz{number}: 1").unwrap();
    }
    channels.push_str("} } }");
    let options = options_of(&channels);
    assert_eq!(options.notices.len(), 51);
    assert!(
        options.notices[50].ends_with("and 950 more unknown fields of channels"),
        "{}",
        options.notices[50]
    );
    assert_eq!(options.broker.write_deadline, Duration::from_secs(10));
}
