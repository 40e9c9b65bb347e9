//! §1.13, §9.5: a server that is about to end lets its clients go.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use seaway_broker::{CloseReason, ConnectionFilter, ConnectionState};

use crate::routes::Member;
use crate::support::{Client, Server};

const GRACE: Duration = Duration::from_millis(300);

/// The next INFO that comes by itself.
fn news(client: &mut Client) -> serde_json::Value {
    loop {
        let line = client.line();
        if let Some(info) = line.strip_prefix("INFO ") {
            return serde_json::from_str(info).unwrap();
        }
    }
}

/// The INFO that says that the server is about to end; what came before it may have told of routes.
fn farewell(client: &mut Client) -> serde_json::Value {
    loop {
        let info = news(client);
        if info["ldm"] == true {
            return info;
        }
    }
}

#[test]
fn row_69_clients_are_told_and_closed_one_by_one() {
    const CLIENTS: usize = 20;
    let member = Member::start(|_| {});
    let mut peer = member.stranger();
    peer.send(crate::routes::connect(""));
    peer.send(crate::routes::introduction(
        "NB",
        r#","connect_urls":["10.0.0.2:4222"]"#,
    ));
    crate::routes::until_pinged(&mut peer);
    let broker = member.server.broker.clone();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| member.server.client(r#"{"verbose":false,"protocol":1}"#))
        .collect();
    let own = format!("127.0.0.1:{}", member.server.address.port());
    for client in &mut clients {
        while news(client)["connect_urls"] != serde_json::json!([own, "10.0.0.2:4222"]) {}
    }
    let mut old = member.server.client(r#"{"verbose":false,"protocol":0}"#);
    let begun = Instant::now();
    let duration = GRACE + Duration::from_secs(1);
    let leaving = member
        .server
        .runtime
        .spawn(async move { broker.lame_duck(GRACE, duration).await });
    for client in &mut clients {
        let info = farewell(client);
        assert_eq!(
            info["connect_urls"],
            serde_json::json!(["10.0.0.2:4222"]),
            "others stay"
        );
    }
    let told = farewell(&mut peer);
    assert_eq!((&told["ldm"], told.get("connect_urls")), (&true.into(), None));
    // Nobody comes any more.
    let deadline = Instant::now() + crate::support::PATIENCE;
    while TcpStream::connect(member.server.address).is_ok() {
        assert!(Instant::now() < deadline, "it still accepts clients");
    }
    // Whoever is there is served until it is closed.
    old.send("SUB foo 1\r\nPUB foo 2\r\nok\r\n");
    assert_eq!(old.message().3, b"ok");
    member.server.runtime.block_on(leaving).unwrap();
    assert!(
        begun.elapsed() >= GRACE + Duration::from_millis(400),
        "{:?}",
        begun.elapsed()
    );
    for client in &mut clients {
        client.expect_gone();
    }
    old.expect_gone();
    let filter = ConnectionFilter {
        state: ConnectionState::Closed,
        ..ConnectionFilter::default()
    };
    let closed = member.server.broker.connections(&filter);
    assert_eq!(closed.len(), CLIENTS + 1);
    let mut ends = Vec::new();
    for one in closed {
        let (when, reason) = one.ended.unwrap();
        assert_eq!(reason, CloseReason::ServerShutdown);
        ends.push(when);
    }
    ends.sort();
    let spread = ends[CLIENTS].duration_since(ends[0]).unwrap();
    assert!(spread >= Duration::from_millis(400), "one by one: {spread:?}");
    // Routes go on, so that what comes from elsewhere still reaches services of this process.
    peer.flush_past_interest("");
}

#[test]
fn row_70_without_clients_nothing_is_waited_for() {
    let server = Server::start();
    let begun = Instant::now();
    let patience = Duration::from_secs(3600);
    server.runtime.block_on(server.broker.lame_duck(patience / 2, patience));
    assert!(begun.elapsed() < crate::support::PATIENCE);
}

/// Those who leave by themselves are not waited for.
#[test]
fn it_ends_with_the_last_client() {
    let server = Server::start();
    let mut client = server.client(r#"{"verbose":false,"protocol":1}"#);
    client.line();
    let broker = server.broker.clone();
    let patience = Duration::from_secs(3600);
    let leaving = server
        .runtime
        .spawn(async move { broker.lame_duck(patience / 2, patience).await });
    assert_eq!(news(&mut client)["ldm"], true);
    drop(client);
    server.runtime.block_on(leaving).unwrap();
}
