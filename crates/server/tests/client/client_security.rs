//! The Rust client with every kind of credentials, through TLS, and on a NATS connection that is not its own.

use std::fs;
use std::process::Command;

use crate::credentials::{Certificates, operator_mode};
use crate::rust_client::{connect, expect, options, publish, wait_for};
use crate::support::{PATIENCE, Server};
use nkeys::KeyPair;
use seaway_client::{Client, ConnectError, ConnectOptions, Loss, PublishError, Start, Status, SubscribeError};

/// A whole streaming life.
async fn stream(options: ConnectOptions) {
    let client = options.connect().await.unwrap_or_else(|error| panic!("{error}"));
    let mut subscription = client.subscribe("c").await.unwrap();
    client.publish("c", "x").await.unwrap();
    assert_eq!(subscription.next().await.unwrap().payload(), "x");
    client.close().await.unwrap();
}

async fn refused(options: ConnectOptions, secrets: &[&str]) {
    let error = options.connect().await.expect_err("not let in");
    assert!(
        matches!(error, ConnectError::Nats(_) | ConnectError::NotReached(_)),
        "{error}"
    );
    let words = format!("{error} {error:?}");
    assert!(
        !secrets.iter().any(|secret| words.contains(secret)),
        "a secret is shown: {words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password() {
    let server = Server::in_memory(&["-user", "derek", "-pass", "porkchop"]);
    stream(options(&server, "me").user_and_password("derek", "porkchop")).await;
    let url = format!("nats://derek:porkchop@{}", server.address);
    stream(options(&server, "me").url(url)).await;
    refused(options(&server, "me"), &[]).await;
    refused(
        options(&server, "me").user_and_password("derek", "lambchop"),
        &["lambchop"],
    )
    .await;
    let url = format!("nats://derek:lambchop@{}", server.address);
    refused(options(&server, "me").url(url), &["lambchop"]).await;
    let broken = options(&server, "me").url(format!("{},nats://derek:lambchop@host:port", server.address));
    let error = broken.connect().await.expect_err("no port").to_string();
    assert!(
        error.contains("address 2 of the URL") && !error.contains("lambchop"),
        "{error}"
    );
    let server = Server::in_memory(&["-user", "derek", "-pass", "p@rk:chop"]);
    let url = format!("{},nats://derek:p%40rk%3achop@localhost:1", server.address);
    stream(options(&server, "me").url(url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token() {
    let server = Server::in_memory(&["-auth", "s3cr3t"]);
    stream(options(&server, "me").token("s3cr3t")).await;
    stream(options(&server, "me").url(format!("nats://s3cr3t@{}", server.address))).await;
    refused(options(&server, "me").token("t0k3n"), &["t0k3n"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key() {
    let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
    let directory = tempfile::tempdir().unwrap();
    let users = format!("authorization {{ users = [ {{ nkey: {} }} ] }}", key.public_key());
    let server = Server::configured(directory.path(), &users, &[]).expect("it starts");
    stream(options(&server, "me").nkey(key.seed().unwrap())).await;
    let seed = other.seed().unwrap();
    refused(options(&server, "me").nkey(&seed), &[&seed]).await;
    refused(options(&server, "me").nkey("SUNOTASEED"), &["SUNOTASEED"]).await;
}

/// Our server does not know accounts yet; the foreign NATS server does, and nobody serves the cluster behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file() {
    let directory = tempfile::tempdir().unwrap();
    let (file, configuration) = operator_mode(directory.path());
    let missing = ConnectOptions::new("test-cluster", "me").credentials_file(directory.path().join("none.creds"));
    let error = missing.connect().await.expect_err("no file").to_string();
    assert!(error.contains("none.creds"), "{error}");
    let program = ["/usr/sbin/nats-server", "/usr/bin/nats-server"];
    let mut programs = program.into_iter();
    let Some(program) = programs.find(|program| std::path::Path::new(program).exists()) else {
        eprintln!("\n*** SKIPPED: credentials files, for nats-server is not installed ***\n");
        return;
    };
    let path = directory.path().join("nats.conf");
    fs::write(&path, configuration).unwrap();
    let mut server = Server::begin(Command::new(program).arg("-c").arg(path));
    server
        .wait_for_line("Server is ready")
        .unwrap_or_else(|| panic!("{:#?}", server.log));
    server.find_addresses();
    refused(options(&server, "me"), &[]).await;
    let error = options(&server, "me").credentials_file(file).connect().await;
    let error = error.expect_err("nobody serves streaming there");
    assert!(matches!(error, ConnectError::NoServer { .. }), "let in: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_and_without_a_certificate_of_the_client() {
    let certificates = Certificates::new();
    let path = |name: &str| certificates.path(name);
    let flags = ["-tlscert", &path("server.pem"), "-tlskey", &path("server-key.pem")];
    let server = Server::in_memory(&flags);
    stream(options(&server, "me").root_certificates(path("ca.pem"))).await;
    refused(options(&server, "me"), &[]).await;
    refused(options(&server, "me").root_certificates(path("client.pem")), &[]).await;
    refused(options(&server, "me").root_certificates(path("missing.pem")), &[]).await;

    let both_ways = ["-tlsverify", "-tlscacert", &path("ca.pem")];
    let server = Server::in_memory(&[&flags[..], &both_ways[..]].concat());
    let known = options(&server, "me").root_certificates(path("ca.pem"));
    stream(
        known
            .clone()
            .client_certificate(path("client.pem"), path("client-key.pem")),
    )
    .await;
    refused(known, &[]).await;

    let plain = Server::in_memory(&[]);
    stream(options(&plain, "me")).await;
    refused(options(&plain, "me").require_tls(true), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_forbid_a_channel_are_seen() {
    let directory = tempfile::tempdir().unwrap();
    let users = r#"authorization { users = [ { user: a, password: b, permissions: {
        publish: { deny: "_STAN.pub.test-cluster.closed" } } } ] }"#;
    let server = Server::configured(directory.path(), users, &[]).expect("it starts");
    let options = options(&server, "me").user_and_password("a", "b");
    let second = std::time::Duration::from_secs(1);
    let client = options.ack_timeout(second).connect().await.unwrap();
    client.publish("open", "x").await.unwrap();
    // NATS drops what is forbidden: the time-out tells.
    let error = client.publish("closed", "x").await;
    assert_eq!(error, Err(PublishError::AckTimeout(second)));
    client.publish("open", "y").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_connection_is_shared_and_stays_open() {
    let server = Server::in_memory(&[]);
    let nats = async_nats::connect(format!("nats://{}", server.address)).await.unwrap();
    let over = |client_id: &str| options(&server, client_id).nats(nats.clone());
    let first = over("first").connect().await.unwrap();
    let second = over("second").connect().await.unwrap();
    let mut subscription = second.subscribe("c").start(Start::AllAvailable).await.unwrap();
    publish(&first, "c", 1..=3).await;
    expect(&mut subscription, 1..=3).await;
    first.close().await.unwrap();
    publish(&second, "c", 4..=4).await;
    expect(&mut subscription, 4..=4).await;
    nats.publish("core", "x".into()).await.unwrap();
    nats.flush().await.expect("it is still open");
    // Its owner closes it: that ends the client, and no attempt is made to have it back.
    nats.drain().await.unwrap();
    let ended = wait_for(&second, |status| *status != Status::Connected).await;
    assert_eq!(ended, Status::Ended(Loss::NatsClosed));
    let none = tokio::time::timeout(PATIENCE, subscription.next())
        .await
        .expect("it ends");
    assert!(none.is_none());
    assert_eq!(subscription.failure(), Some(SubscribeError::Lost(Loss::NatsClosed)));
    assert!(matches!(second.publish("c", "5").await, Err(PublishError::NotSent(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_not_sent() {
    let server = Server::in_memory(&[]);
    let client: Client = connect(&server, "me").await;
    let error = client.publish("c", vec![0; 2 << 20]).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::NotSent(words) if words.contains("payload")),
        "{error}"
    );
    client.publish("c", vec![0; 1 << 19]).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_be_are_refused() {
    use std::time::Duration;
    let options = || ConnectOptions::new("test-cluster", "me");
    for (impossible, word) in [
        (ConnectOptions::new("", "me"), "cluster ID"),
        (ConnectOptions::new("a b", "me"), "cluster ID"),
        (ConnectOptions::new("a.*", "me"), "cluster ID"),
        (options().discover_prefix("a\r\nPUB x 0\r\n"), "discover prefix"),
        (options().discover_prefix(""), "discover prefix"),
        (options().max_publishes_in_flight(0), "in flight"),
        (options().max_publishes_in_flight(usize::MAX), "in flight"),
        (options().pings(Duration::from_millis(999), 1), "ping interval"),
        (options().pings(Duration::MAX, 1), "ping interval"),
        (options().pings(Duration::from_secs(1), 0), "ping"),
        (options().ack_timeout(Duration::ZERO), "ack timeout"),
        (options().ack_timeout(Duration::MAX), "ack timeout"),
        (options().connect_timeout(Duration::ZERO), "connect timeout"),
    ] {
        let error = impossible.connect().await.expect_err("impossible");
        assert!(
            matches!(&error, ConnectError::InvalidOption(words) if words.contains(word)),
            "{word}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_discover_prefix_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = "streaming: { discover_prefix: \"_ELSEWHERE\" }";
    let server = Server::configured(directory.path(), prefix, &[]).expect("it starts");
    stream(options(&server, "me").discover_prefix("_ELSEWHERE")).await;
    let wrong = options(&server, "me").connect().await.expect_err("nobody is there");
    assert!(matches!(wrong, ConnectError::NoServer { .. }), "{wrong}");
}
