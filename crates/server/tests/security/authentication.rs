//! Who may use the server, and for what (streaming-protocol.md §7.3, §13.8; nats-core.md §3, §9.7), through the binary.

use std::fs;
use std::io;
use std::time::Duration;

use crate::support::{Binary, PATIENCE, Server};
use seaway_bench::stan::{Session, subscription};
use seaway_bench::wire::Connection;

fn connect(server: &Server, credentials: &str) -> io::Result<Connection> {
    Connection::open_with(&server.address, credentials)
}

#[track_caller]
fn expect_refused(server: &Server, credentials: &str) {
    match connect(server, credentials) {
        Err(error) => assert_eq!(error.to_string(), "Authorization Violation"),
        Ok(_) => panic!("let in with {credentials}"),
    }
}

/// A whole streaming life: connect, publish, receive, close.
fn stream(connection: Connection, client_id: &str) {
    let mut session = Session::over(connection, "test-cluster", client_id).unwrap();
    session.publish("orders", b"one").unwrap();
    let mut request = subscription("orders");
    request.start_position = 4;
    let subscribed = session.subscribe(request).unwrap();
    let received = session.next_message(PATIENCE).unwrap();
    assert_eq!((received.sequence, received.data.as_slice()), (1, b"one".as_slice()));
    session.ack(&subscribed, received.sequence);
    session.close().unwrap();
}

/// §13.8 Authentication*: user and password by flags; the server needs no credentials of its own.
#[test]
fn user_and_password_by_flags() {
    let server = Server::in_memory(&["-user", "derek", "-pass", "porkchop"]);
    for wrong in [
        r#""echo":true"#,
        r#""user":"derek","pass":"pork""#,
        r#""user":"other","pass":"porkchop""#,
        r#""auth_token":"porkchop""#,
    ] {
        expect_refused(&server, wrong);
    }
    stream(connect(&server, r#""user":"derek","pass":"porkchop""#).unwrap(), "me");

    let _kept = connect(&server, r#""user":"derek","pass":"porkchop","name":"kept""#).unwrap();
    let (_, varz) = server.get("/varz");
    assert!(varz.contains("\"auth_required\": true"), "{varz}");
    let (_, connz) = server.get("/connz?auth=1");
    assert!(connz.contains("\"authorized_user\": \"derek\""), "{connz}");
    let (_, log) = server.signal_and_wait(rustix::process::Signal::INT);
    let said = |text: &str| log.iter().any(|line| line.contains(text));
    assert!(said("Plaintext passwords detected, use nkeys or bcrypt"), "{log:#?}");
    assert!(said("authentication error - User \"other\""), "{log:#?}");
    assert!(!said("Authentication is off"));
    assert!(
        !said("porkchop") && !connz.contains("porkchop"),
        "a password is shown: {log:#?}"
    );
}

/// §13.8: user only, which an empty password matches.
#[test]
fn user_without_a_password() {
    let server = Server::in_memory(&["-user", "derek"]);
    expect_refused(&server, r#""user":"derek","pass":"x""#);
    stream(connect(&server, r#""user":"derek""#).unwrap(), "me");
}

/// §13.8: a token by flag.
#[test]
fn token_by_flag() {
    let server = Server::in_memory(&["-auth", "t0ken", "-D", "-V"]);
    expect_refused(&server, r#""auth_token":"other""#);
    stream(connect(&server, r#""auth_token":"t0ken""#).unwrap(), "me");
    let (_, log) = server.signal_and_wait(rustix::process::Signal::INT);
    assert!(
        !log.iter().any(|line| line.contains("t0ken")),
        "a token is shown: {log:#?}"
    );
}

const USERS: &str = r#"
authorization {
  timeout: 3
  users = [
    { user: "all", password: "pw-all" }
    { user: "reader", password: "$2a$04$HASH"
      permissions: {
        publish: { deny: "_STAN.pub.test-cluster.secret" }
        subscribe: { deny: "_STAN.pub.>" }
      }
    }
  ]
}
"#;

fn with_users(directory: &std::path::Path) -> std::path::PathBuf {
    let hash = bcrypt::hash("pw-reader", 4).unwrap();
    let file = directory.join("server.conf");
    let hash = hash.trim_start_matches("$2b$04$");
    fs::write(&file, USERS.replace("$2a$04$HASH", &format!("$2b$04${hash}"))).unwrap();
    file
}

/// nats-core.md §3.3, streaming-protocol.md §13.8 Authentication*: permissions hold for streaming subjects as for any other.
#[test]
fn permissions_of_streaming_clients() {
    let directory = tempfile::tempdir().unwrap();
    let file = with_users(directory.path());
    let server = Server::in_memory(&["-c", file.to_str().unwrap()]);
    expect_refused(&server, r#""user":"reader","pass":"wrong""#);
    stream(connect(&server, r#""user":"all","pass":"pw-all""#).unwrap(), "all");

    let connection = connect(&server, r#""user":"reader","pass":"pw-reader""#).unwrap();
    let mut reader = Session::over(connection, "test-cluster", "reader").unwrap();
    reader.publish("orders", b"two").unwrap();
    let refused = reader.publish("secret", b"x").unwrap_err().to_string();
    assert_eq!(
        refused,
        "Permissions Violation for Publish to \"_STAN.pub.test-cluster.secret\""
    );
    // The refused publication never became a channel, and the session goes on.
    let (_, channels) = server.get("/streaming/channelsz");
    assert!(
        channels.contains("\"orders\"") && !channels.contains("\"secret\""),
        "{channels}"
    );
    reader.publish("orders", b"three").unwrap();
    // Nobody looks over the shoulders of publishers who may not.
    let mut spy = connect(&server, r#""user":"reader","pass":"pw-reader""#).unwrap();
    spy.subscribe("_STAN.pub.test-cluster.orders");
    let error = spy.ping(Duration::from_secs(10)).unwrap_err().to_string();
    assert_eq!(
        error,
        "Permissions Violation for Subscription to \"_STAN.pub.test-cluster.orders\""
    );
}

/// §13.8 Authentication*, ServerAuthInConfig: a wrong `-pass` beside right credentials in the file ends the start; right ones,
/// and none at all, do not.
#[test]
fn own_credentials_beside_a_list_of_users() {
    let directory = tempfile::tempdir().unwrap();
    let file = with_users(directory.path());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        format!("{text}\nstreaming {{ username: all, password: pw-all }}\n"),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["-p", "-1", "-c", file, "-pass", "wrong"];
    let (status, _, stderr) = crate::support::run(Binary::NatsStreamingServer, &arguments, directory.path());
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("Failed to start: nats: Authorization Violation"),
        "{stderr}"
    );
    for more in [
        &["-c", file][..],
        &["-c", file, "-user", "reader", "-pass", "pw-reader"],
    ] {
        let server = Server::in_memory(more);
        stream(connect(&server, r#""user":"all","pass":"pw-all""#).unwrap(), "me");
    }
}

/// nats-core.md §9.7 line 100: contradictions end the start with exit code 1.
#[test]
fn contradictions_end_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for (number, (text, expected)) in [
        (
            "authorization { user: a, password: b, token: c }",
            "Cannot have a user/pass and token",
        ),
        (
            "authorization { users = [{user: a, password: b}, {user: a, password: c}] }",
            "Duplicate user \"a\" detected",
        ),
        (
            "authorization { token: t, users = [{user: a, password: b}] }",
            "Can not have a token and a users array",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let file = directory.path().join(format!("{number}.conf"));
        fs::write(&file, text).unwrap();
        let arguments = ["-p", "-1", "-c", file.to_str().unwrap()];
        let (status, stdout, stderr) = crate::support::run(Binary::NatsStreamingServer, &arguments, directory.path());
        assert_eq!(status.code(), Some(1), "{stdout}{stderr}");
        assert!(stderr.contains(expected), "{stdout}{stderr}");
    }
}
