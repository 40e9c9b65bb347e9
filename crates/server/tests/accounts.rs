//! Accounts and the services of the system account, through the binary (core specification §2.6, §3.6).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use seaway_bench::stan::Session;
use seaway_bench::wire::{Connection, Frame};
use serde_json::Value;
use support::{PATIENCE, Server};

const ACCOUNTS: &str = r#"
    accounts {
        A { users: [{ user: a, password: a }, { user: limited, password: l, permissions: {
            publish: { allow: ["$SYS.REQ.USER.INFO", "x"], deny: "y" }, subscribe: "_INBOX.>", allow_responses: true } }] }
        B { users: [{ user: b, password: b }] }
        $SYS { users: [{ user: admin, password: s }] }
    }
"#;

fn server(directory: &tempfile::TempDir, more: &str) -> Server {
    let configuration = format!("{ACCOUNTS}{more}");
    Server::configured(directory.path(), &configuration, &[]).unwrap_or_else(|log| panic!("not ready: {log:#?}"))
}

fn user(server: &Server, name: &str, password: &str) -> Connection {
    let credentials = format!(r#""name":"{name}","user":"{name}","pass":"{password}""#);
    Connection::open_with(&server.address, &credentials).unwrap()
}

/// Asks, and collects what is answered until nothing more was sent before a PONG behind it.
fn ask(connection: &mut Connection, subject: &str, request: &str) -> Option<Value> {
    let inbox = format!("_INBOX.{}", fastrand::u64(..));
    connection.subscribe(&inbox);
    connection.publish(subject, &inbox, request.as_bytes());
    connection.flush().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connection.next_frame(deadline.saturating_duration_since(Instant::now())) {
            Ok(Frame::Message { subject, payload, .. }) if subject == inbox.as_bytes() => {
                return match payload.starts_with(b"NATS/1.0 503") || payload.is_empty() {
                    true => None,
                    false => Some(serde_json::from_slice(&payload).unwrap()),
                };
            }
            Ok(_) => {}
            Err(error) => panic!("no answer to {subject}: {error}"),
        }
    }
}

/// §5.8: a user that moves to another account leaves its connection, and one that stays keeps it; other imports are refused.
#[test]
fn a_reload_moves_users_and_refuses_other_imports() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let (mut a, mut b) = (user(&server, "a", "a"), user(&server, "b", "b"));
    let file = directory.path().join("server.conf");
    let imports =
        "accounts { A { imports: [{ stream: { account: B, subject: x } }] }, B { exports: [{ stream: x }] } }";
    std::fs::write(&file, imports).unwrap();
    server.signal(rustix::process::Signal::HUP);
    let mut server = server;
    let refused = server.wait_for_line("[ERR] Reload: ").unwrap();
    assert!(refused.contains("imports of accounts"), "{refused}");
    a.ping(PATIENCE).unwrap();
    let moved = ACCOUNTS.replace("{ user: b, password: b }", "{ user: c, password: c }");
    let moved = moved.replace("accounts {", "accounts { D { users: [{ user: b, password: b }] }");
    std::fs::write(&file, moved).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_line("Reloaded server configuration").unwrap();
    b.ping(PATIENCE).unwrap_err();
    a.ping(PATIENCE).unwrap();
    let (_, connz) = {
        let _again = user(&server, "b", "b");
        server.get("/connz?acc=D")
    };
    assert!(connz.contains("\"account\": \"D\""), "{connz}");
}

/// §5.8: the streaming server does not move by a reload, and the order of imports means nothing.
#[test]
fn a_reload_does_not_move_the_streaming_server() {
    let directory = tempfile::tempdir().unwrap();
    let streaming = "streaming { accounts: [A] }";
    let imports = |imports: [&str; 2]| {
        let import = |subject: &str| format!("{{ stream: {{ account: B, subject: {subject} }} }}");
        let imports = imports.map(import).join(", ");
        let of_a = ACCOUNTS.replace("A { users", &format!("A {{ imports: [{imports}], users"));
        of_a.replace("B { users", "B { exports: [{ stream: \">\" }], users")
    };
    let configuration = format!("{}{streaming}", imports(["x", "y"]));
    let mut server = Server::configured(directory.path(), &configuration, &[]).unwrap();
    let file = directory.path().join("server.conf");
    let moved = configuration.replace(streaming, "streaming { accounts: [B] }");
    std::fs::write(&file, moved).unwrap();
    server.signal(rustix::process::Signal::HUP);
    let refused = server.wait_for_line("[ERR] Reload: ").unwrap();
    let expected = "config reload not supported for accounts of the streaming block: old=A, new=B";
    assert!(refused.contains(expected), "{refused}");
    std::fs::write(&file, format!("{}{streaming}", imports(["y", "x"]))).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_line("Reloaded server configuration").unwrap();
    let mut session = Session::over(user(&server, "a", "a"), "test-cluster", "me").unwrap();
    session.publish("orders", b"one").unwrap();
}

/// The engine serves the account that is named, and no other.
#[test]
fn the_streaming_server_is_in_the_account_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "streaming { accounts: [B] }");
    let mut session = Session::over(user(&server, "b", "b"), "test-cluster", "me").unwrap();
    session.publish("orders", b"one").unwrap();
    session.close().unwrap();
    let mut elsewhere = user(&server, "a", "a");
    assert!(
        ask(&mut elsewhere, "_STAN.discover.test-cluster", "x").is_none(),
        "nobody is there"
    );
}

#[test]
fn every_client_may_ask_about_itself_and_its_account() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let (mut a, mut limited, mut b) = (
        user(&server, "a", "a"),
        user(&server, "limited", "l"),
        user(&server, "b", "b"),
    );
    let info = ask(&mut a, "$SYS.REQ.USER.INFO", "").unwrap();
    assert_eq!(
        (&info["data"]["user"], &info["data"]["account"]),
        (&"a".into(), &"A".into())
    );
    assert!(
        info["data"].get("permissions").is_none() && info["server"]["id"].is_string(),
        "{info}"
    );
    let info = ask(&mut limited, "$SYS.REQ.USER.INFO", "").unwrap();
    let expected = serde_json::json!({
        "publish": { "allow": ["$SYS.REQ.USER.INFO", "x"], "deny": ["y"] },
        "subscribe": { "allow": ["_INBOX.>"] },
        "responses": { "max": 1, "ttl": 120_000_000_000_u64 },
    });
    assert_eq!(info["data"]["permissions"], expected);
    for subject in ["$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"] {
        // Another account's name in the request changes nothing.
        let connz = ask(&mut b, subject, r#"{"acc":"A","account":"A"}"#).unwrap();
        let connections = connz["data"]["connections"].as_array().unwrap();
        assert_eq!(connections.len(), 1, "{connz}");
        assert_eq!(
            (&connections[0]["account"], &connections[0]["name"]),
            (&"B".into(), &"b".into())
        );
    }
    let statz = ask(&mut a, "$SYS.REQ.ACCOUNT.PING.STATZ", "").unwrap();
    assert_eq!(statz["data"]["account_statz"][0]["acc"], "A");
    assert_eq!(statz["data"]["account_statz"].as_array().unwrap().len(), 1);
    // Everything else is the system account's.
    for subject in [
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.VARZ",
        "$SYS.REQ.ACCOUNT.A.CONNZ",
    ] {
        assert!(ask(&mut a, subject, "").is_none(), "{subject}");
    }
}

#[test]
fn lines_104_and_105_the_system_account_asks_servers() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut a = user(&server, "a", "a");
    let mut admin = user(&server, "admin", "s");
    let info = ask(&mut admin, "$SYS.REQ.USER.INFO", "").unwrap();
    assert_eq!(info["data"]["account"], "$SYS");
    let ping = ask(&mut admin, "$SYS.REQ.SERVER.PING", "").unwrap();
    assert_eq!(ping["statsz"]["connections"], 2, "{ping}");
    let id = ping["server"]["id"].as_str().unwrap().to_owned();
    for (endpoint, key) in [
        ("VARZ", "uptime"),
        ("CONNZ", "connections"),
        ("SUBSZ", "num_subscriptions"),
        ("ROUTEZ", "routes"),
        ("ACCOUNTZ", "accounts"),
        ("HEALTHZ", "status"),
        ("JSZ", "disabled"),
    ] {
        for asked in ["PING", &id] {
            let answer = ask(&mut admin, &format!("$SYS.REQ.SERVER.{asked}.{endpoint}"), "").unwrap();
            assert!(!answer["data"][key].is_null(), "{asked}.{endpoint}: {answer}");
        }
    }
    let info = ask(&mut admin, "$SYS.REQ.ACCOUNT.A.INFO", "").unwrap();
    assert_eq!(
        (&info["data"]["account_name"], &info["data"]["client_connections"]),
        (&"A".into(), &1.into())
    );
    let connz = ask(&mut admin, "$SYS.REQ.ACCOUNT.A.CONNZ", "").unwrap();
    let cid = connz["data"]["connections"][0]["cid"].as_u64().unwrap();
    // A connection is closed by its number, at the server that is named.
    let unknown = ask(&mut admin, &format!("$SYS.REQ.SERVER.{id}.KICK"), r#"{"cid":99999}"#).unwrap();
    assert_eq!(unknown["error"]["code"], 404);
    ask(
        &mut admin,
        &format!("$SYS.REQ.SERVER.{id}.KICK"),
        &format!("{{\"cid\":{cid}}}"),
    )
    .unwrap();
    a.ping(PATIENCE).unwrap_err();
}

#[test]
fn whoever_listens_hears_how_a_server_is_and_that_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut admin = user(&server, "admin", "s");
    admin.subscribe("$SYS.SERVER.>");
    admin.ping(PATIENCE).unwrap();
    let mut hear = |ending: &str, patience: Duration| loop {
        match admin.next_frame(patience) {
            Ok(Frame::Message { subject, payload, .. }) if subject.ends_with(ending.as_bytes()) => {
                return serde_json::from_slice::<Value>(&payload).unwrap();
            }
            Ok(_) => {}
            Err(error) => panic!("{ending}: {error}"),
        }
    };
    let statistics = hear(".STATSZ", Duration::from_secs(30));
    assert!(statistics["statsz"]["cores"].as_u64() > Some(0), "{statistics}");
    server.signal(rustix::process::Signal::TERM);
    assert!(hear(".SHUTDOWN", PATIENCE)["server"]["id"].is_string());
    server.wait();
}

/// Answers go to inboxes, and to no service of another server.
#[test]
fn a_flood_of_requests_and_replies_that_are_services_harm_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let (mut flooding, mut a) = (user(&server, "admin", "s"), user(&server, "a", "a"));
    for _ in 0..20_000 {
        flooding.publish("$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.PING.VARZ", b"");
        flooding.publish("$SYS.REQ.SERVER.PING.VARZ", "_INBOX.nobody", b"");
    }
    flooding.flush().unwrap();
    let begin = Instant::now();
    for _ in 0..20 {
        a.ping(PATIENCE).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let mut admin = user(&server, "admin", "s");
    assert!(ask(&mut admin, "$SYS.REQ.SERVER.PING", "").is_some());
}

/// §2.6: what clients of an account ask about themselves takes no room from the system account, nor from other accounts.
#[test]
fn a_flood_of_own_requests_takes_no_room_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut flooding: Vec<Connection> = (0..40).map(|_| user(&server, "a", "a")).collect();
    let (mut b, mut admin) = (user(&server, "b", "b"), user(&server, "admin", "s"));
    let request = br#"{"sort":"bytes_to","state":2,"subscriptions":true}"#;
    for _ in 0..10 {
        for connection in &mut flooding {
            for _ in 0..200 {
                connection.publish("$SYS.REQ.ACCOUNT.PING.CONNZ", "_INBOX.nobody", request);
            }
            connection.flush().unwrap();
        }
        // What is asked meanwhile is answered, every time.
        let ping = ask(&mut admin, "$SYS.REQ.SERVER.PING", "").unwrap();
        assert_eq!(ping["statsz"]["active_accounts"], 3, "{ping}");
        let statz = ask(&mut b, "$SYS.REQ.ACCOUNT.PING.STATZ", "").unwrap();
        assert_eq!(statz["data"]["account_statz"][0]["conns"], 1);
    }
}

/// §2.7: the services of the system account are services like others.
#[test]
fn an_operator_may_let_another_account_ask_the_services_of_the_system_account() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = r#"accounts {
        OPS { users: [{ user: ops, password: o }], imports: [{ service: { account: "$SYS", subject: "$SYS.REQ.SERVER.PING" }, to: "servers.ping" }] }
        $SYS { users: [{ user: admin, password: s }], exports: [{ service: "$SYS.REQ.SERVER.PING", accounts: [OPS], response: stream }] }
    }"#;
    let server = Server::configured(directory.path(), configuration, &[]).unwrap();
    let mut ops = user(&server, "ops", "o");
    let ping = ask(&mut ops, "servers.ping", "").unwrap();
    assert_eq!(ping["statsz"]["connections"], 1, "{ping}");
}

#[test]
fn without_a_system_account_nobody_answers() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "no_system_account: true");
    let mut admin = user(&server, "admin", "s");
    assert!(ask(&mut admin, "$SYS.REQ.SERVER.PING", "").is_none());
}
