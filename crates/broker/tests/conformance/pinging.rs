//! §9.5: pings and staleness.

use std::time::{Duration, Instant};

use seaway_broker::{CloseReason, ConnectionFilter, ConnectionState};

use crate::support::Server;

#[test]
fn line_61_ping_before_connect() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("PING\r\n");
    client.expect("PONG\r\n");
}

#[test]
fn line_62_silent_client_goes_stale() {
    let server = Server::with(|options| {
        options.ping_interval = Duration::from_millis(50);
        options.ping_max = 2;
    });
    let mut client = server.connect();
    client.expect("PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
    client.expect_closed();
    server.wait_until("it is counted", |broker| broker.snapshot().stale_connections == 1);
    let filter = ConnectionFilter {
        state: ConnectionState::Closed,
        ..ConnectionFilter::default()
    };
    server.wait_until("it is remembered", |broker| {
        broker
            .connections(&filter)
            .iter()
            .any(|closed| closed.ended.unwrap().1 == CloseReason::StaleConnection)
    });
}

#[test]
fn lines_63_64_answering_keeps_open_and_traffic_stops_pings() {
    let server = Server::with(|options| {
        options.ping_interval = Duration::from_millis(60);
        options.ping_max = 1;
    });
    let mut client = server.connect();
    for _ in 0..5 {
        client.expect("PING\r\n");
        client.send("PONG\r\n");
    }
    let id = client.id();
    let filter = ConnectionFilter {
        connection_id: Some(id),
        ..ConnectionFilter::default()
    };
    server.wait_until("round-trip time", |broker| {
        broker.connections(&filter)[0].round_trip.is_some()
    });

    // Round-trip time known: a client that is never silent for an interval is not pinged. A ping that was on its
    // way already is answered.
    let until = Instant::now() + Duration::from_millis(600);
    let mut pings = 0;
    while Instant::now() < until {
        client.send("PING\r\n");
        loop {
            match client.line().as_str() {
                "PONG" => break,
                "PING" => {
                    pings += 1;
                    client.send("PONG\r\n");
                }
                other => panic!("{other}"),
            }
        }
    }
    assert!(pings <= 1, "{pings} pings in ten intervals of constant traffic");
}

#[test]
fn line_65_first_ping_within_about_two_seconds() {
    let server = Server::start();
    let started = Instant::now();
    let mut client = server.quiet();
    client.expect("PING\r\n");
    let waited = started.elapsed();
    assert!(
        waited > Duration::from_millis(1900) && waited < Duration::from_millis(3500),
        "{waited:?}"
    );
}

#[test]
fn line_66_info_after_the_first_ping() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n");
    client.expect("PONG\r\n");
    let line = client.line();
    let info: serde_json::Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap().trim()).unwrap();
    assert_eq!(info["connect_info"], true);
    assert_eq!(info["remote_account"], "$G");
    assert_eq!(info["client_id"], client.info["client_id"]);
    client.expect_nothing_more();
    client.expect_nothing_more();
}
