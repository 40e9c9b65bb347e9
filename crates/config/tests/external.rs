//! NATS servers of somebody else (streaming specification §11, §7.5, §7.6): what names them, and what does not go together.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use seaway_config::{ExternalNats, OwnCredentials, Secret};
use support::{Fake, complaint_about, options_of};

fn of(text: &str) -> ExternalNats {
    let options = options_of(&format!("streaming {{ ns: \"nats://h:1\", {text} }}"));
    options.streaming.external.unwrap()
}

#[test]
fn flag_file_and_variable_name_the_servers() {
    let shown = |external: Option<ExternalNats>| {
        let urls = external.map(|external| external.urls).unwrap_or_default();
        urls.iter().map(|url| url.shown()).collect::<Vec<_>>().join(" ")
    };
    let fake = Fake::default();
    assert_eq!(fake.options("").streaming.external, None);
    for flag in ["-ns", "-nats_server"] {
        let options = fake.options(&format!("{flag} nats://a,tls://b:5"));
        assert_eq!(shown(options.streaming.external), "nats://a:4222 tls://b:5");
    }
    for key in ["ns", "nats_server", "nats_server_url"] {
        let options = options_of(&format!("streaming {{ {key}: \"nats://h:1\" }}"));
        assert_eq!(shown(options.streaming.external), "nats://h:1", "{key}");
    }
    let fake = Fake::with_variables(&[("SEAWAY_NATS_SERVER", "nats://v:2")]);
    assert_eq!(shown(fake.options("").streaming.external), "nats://v:2");
}

#[test]
fn credentials_and_tls_are_those_of_the_streaming_block_and_the_flags() {
    let user = OwnCredentials {
        user: Some("u".into()),
        password: Some(Secret::new("p")),
        token: None,
    };
    assert_eq!(of("user: u, pass: p").login, user);
    assert_eq!(of("token: t").login.token, Some(Secret::new("t")));
    assert_eq!(of("credentials: f").credentials_file, Some("f".into()));
    assert_eq!(of("nkey_seed_file: f").nkey_seed_file, Some("f".into()));
    // §7.5: the broker's single user, and flags, win.
    let options = Fake::default().options("-ns nats://h:1 -user u -pass p");
    assert_eq!(options.streaming.external.unwrap().login, user);
    let options = options_of(
        "authorization { user: u, password: p }\nstreaming { ns: \"nats://h:1\", username: x, password: y }",
    );
    assert_eq!(options.streaming.external.unwrap().login, user);
    let tls = of("tls { client_cert: c, client_key: k, client_ca: a, server_name: n, insecure: true }").tls;
    assert!(tls.is_wanted && tls.insecure && tls.server_name.as_deref() == Some("n"));
    assert_eq!(
        (tls.cert_file, tls.key_file, tls.ca_file),
        (Some("c".into()), Some("k".into()), Some("a".into()))
    );
    assert!(of("secure: true").tls.is_wanted && !of("token: t").tls.is_wanted);
    assert!(of("tls { server_name: n }").tls.is_wanted);
    // What is presented to one of them is presented to all, and to those that they tell of.
    let options = Fake::default().options("-ns tls://a:1,b:2");
    assert!(options.streaming.external.unwrap().tls.is_wanted);
}

#[test]
fn what_does_not_go_together_is_refused_without_secrets() {
    for (text, expected) in [
        (
            "credentials: f, nkey_seed_file: g",
            "credentials and nkey_seed_file are two ways to log in",
        ),
        (
            "credentials: f, username: u",
            "credentials and username are two ways to log in",
        ),
        (
            "username: u, password: swordfish, token: t",
            "username and token are two ways to log in",
        ),
        ("password: swordfish", "a password for the NATS server needs a user"),
        (
            "username: u, password: \"$2a$04$swordfish\"",
            "the password for the NATS server is a bcrypt hash",
        ),
        (
            "tls { client_cert: c }",
            "a client certificate toward the NATS server and its key go together",
        ),
    ] {
        let complaint = complaint_about(&format!("streaming {{ ns: \"nats://h:1\", {text} }}"));
        assert!(
            complaint.contains(expected) && !complaint.contains("swordfish"),
            "{text}: {complaint}"
        );
    }
    let complaint = complaint_about("streaming { ns: \"h:1\" }");
    assert!(complaint.contains("malformed url: h:1"), "{complaint}");
    let options = options_of("streaming { ns: \"nats://h:1\" }\ncluster { port: 6222 }");
    assert!(options.broker.cluster.is_none());
    assert!(
        options
            .notices
            .iter()
            .any(|notice| notice.starts_with("cluster and routes have no effect"))
    );
}

#[test]
fn a_comma_in_a_password_shows_nothing_of_it() {
    for url in ["nats://u:tuna,haddock@h:4222", "nats://u:tuna,had/dock@h:4222"] {
        let error = Fake::default().complaint(&format!("-ns {url}"));
        assert!(!error.contains("tuna") && !error.contains("had"), "{error}");
        assert!(error.contains("%2C"), "{error}");
    }
}
