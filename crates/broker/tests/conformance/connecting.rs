//! §9.1: connection and CONNECT.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::support::{Client, Server};

#[test]
fn line_1_info_of_a_plain_server() {
    let server = Server::start();
    let client = server.connect();
    let info = client.info.as_object().unwrap();
    assert_eq!(info["server_id"].as_str().unwrap().len(), 56);
    assert_eq!(info["server_id"].as_str().unwrap(), server.broker.server_id());
    assert_eq!(info["proto"], 1);
    assert_eq!(info["headers"], true);
    assert_eq!(info["max_payload"], 1_048_576);
    assert_eq!(info["client_ip"], "127.0.0.1");
    assert!(!info.contains_key("auth_required") && !info.contains_key("tls_required"));
    assert!(!info.contains_key("connect_urls"));
}

#[test]
fn section_1_1_info_line_is_short_and_ends_with_a_blank() {
    let server = Server::start();
    let mut client = Client::dial(server.address);
    let line = client.line();
    assert!(line.starts_with("INFO {") && line.ends_with("} "), "{line:?}");
    assert!(line.len() + 2 < 512, "{}", line.len());
}

#[test]
fn lines_2_3_connect_acknowledged_only_when_verbose() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("CONNECT {}\r\n");
    client.expect("+OK\r\n");
    let mut client = server.connect();
    client.send("CONNECT {\"verbose\":false}\r\nPING\r\n");
    client.expect("PONG\r\n");
    client.expect_nothing_more();
}

#[test]
fn line_4_connect_split_at_every_byte() {
    let server = Server::start();
    let mut client = server.connect();
    for byte in b"CONNECT {\"verbose\":true,\"pedantic\":false}\r\n" {
        client.send([*byte]);
    }
    client.expect("+OK\r\n");
    client.expect_nothing_more();
}

#[test]
fn lines_5_6_7_refused_connects() {
    let server = Server::start();
    let table = [
        ("CONNECT {\"protocol\":22}\r\n", "-ERR 'invalid client protocol'\r\n"),
        (
            "CONNECT {\"no_responders\":true,\"headers\":false}\r\n",
            "-ERR 'no responders requires headers support'\r\n",
        ),
        ("CONNECT {\"account\":\"x\"}\r\n", "-ERR 'Authorization Violation'\r\n"),
        (
            "CONNECT {\"new_account\":true}\r\n",
            "-ERR 'Authorization Violation'\r\n",
        ),
        ("CONNECT {bad\r\n", ""),
    ];
    for (connect, answer) in table {
        let mut client = server.connect();
        client.send(connect);
        client.expect(answer);
        client.expect_closed();
    }
}

#[test]
fn line_8_verbs_before_connect() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("SUB foo 1\r\nPUB foo 2\r\nok\r\n");
    client.expect("+OK\r\n+OK\r\nMSG foo 1 2\r\nok\r\n");
}

#[test]
fn line_9_max_connections() {
    let server = Server::with(|options| options.max_connections = 2);
    let first = server.quiet();
    let _second = server.quiet();
    let mut third = server.connect();
    third.expect("-ERR 'maximum connections exceeded'\r\n");
    third.expect_closed();
    assert_eq!(server.broker.snapshot().connections, 2);
    drop(first);
    server.wait_until("a place is free", |broker| broker.snapshot().connections == 1);
    server.quiet();
}

#[test]
fn line_11_client_ids_increase() {
    let server = Server::start();
    let (first, second) = (server.connect(), server.connect());
    assert!(first.id() > 0 && second.id() > first.id());
}

#[test]
fn line_12_client_advertise() {
    let server = Server::with(|options| options.client_advertise = Some("me:1".into()));
    let client = server.connect();
    assert_eq!(
        (
            client.info["host"].as_str().unwrap(),
            client.info["port"].as_u64().unwrap()
        ),
        ("me", 1)
    );
}

#[test]
fn line_13_port_chosen_by_the_system_is_advertised() {
    let server = Server::start();
    assert_ne!(server.address.port(), 0);
    assert_eq!(server.connect().info["port"], server.address.port());
}

#[test]
fn line_14_server_name() {
    let server = Server::with(|options| options.server_name = "srv".into());
    assert_eq!(server.connect().info["server_name"], "srv");
    let server = Server::start();
    assert_eq!(server.connect().info["server_name"], server.broker.server_id());
}

#[test]
fn section_1_1_wildcard_host_serves_both_families() {
    let server = Server::start();
    let listener = server.runtime.block_on(server.broker.listen("0.0.0.0", 0)).unwrap();
    let port = listener.address().port();
    let mut over_v4 = Client::dial(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    assert!(over_v4.line().contains("\"client_ip\":\"127.0.0.1\""));
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        let mut over_v6 = Client::dial(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
        assert!(over_v6.line().contains("\"client_ip\":\"::1\""));
    }
}

#[test]
fn section_1_5_repeated_connect_drops_the_subscriptions() {
    let server = Server::start();
    let mut client = server.quiet();
    client.flush("SUB foo 1\r\n");
    client.flush("CONNECT {\"verbose\":false}\r\n");
    client.flush("PUB foo 2\r\nok\r\n");
    assert_eq!(server.broker.snapshot().subscriptions, 0);
}

#[test]
fn closed_listener_refuses_and_keeps_clients() {
    let server = Server::start();
    let listener = server.runtime.block_on(server.broker.listen("127.0.0.1", 0)).unwrap();
    let mut client = Client::dial(listener.address());
    client.line();
    listener.close();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while std::net::TcpStream::connect(listener.address()).is_ok() {
        assert!(std::time::Instant::now() < deadline, "still accepting");
        std::thread::yield_now();
    }
    client.expect_nothing_more();
}

#[test]
fn shutdown_closes_everything_and_delivers_what_was_queued() {
    let server = Server::start();
    let mut client = server.quiet();
    client.flush("SUB foo 1\r\n");
    client.send("PUB foo 2\r\nok\r\n");
    client.expect("MSG foo 1 2\r\nok\r\n");
    server.runtime.block_on(server.broker.shutdown());
    client.expect_closed();
    assert_eq!(server.broker.snapshot().connections, 0);
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while std::net::TcpStream::connect(server.address).is_ok() {
        assert!(std::time::Instant::now() < deadline, "still accepting");
        std::thread::yield_now();
    }
}
