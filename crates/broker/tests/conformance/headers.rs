//! §9.6: headers and no-responders.

use seaway_broker::{CloseReason, ConnectionFilter, ConnectionState};

use crate::support::{Client, Server};

const WITH_HEADERS: &str = r#"{"verbose":false,"pedantic":false,"headers":true}"#;
const NO_RESPONDERS: &str = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;

fn headers_client(server: &Server) -> Client {
    server.client(WITH_HEADERS)
}

#[test]
fn lines_71_72_77_headers_kept_or_stripped() {
    let server = Server::start();
    let mut with = headers_client(&server);
    let mut without = server.quiet();
    without.flush("SUB foo 2\r\n");
    with.send("SUB foo 1\r\nHPUB foo 12 14\r\nK1:V1,K2:V2 ok\r\nHPUB foo re 12 14\r\nK1:V1,K2:V2 ok\r\n");
    with.send("HPUB  foo\tre 012  14 \r\nK1:V1,K2:V2 ok\r\n");
    with.expect("HMSG foo 1 12 14\r\nK1:V1,K2:V2 ok\r\nHMSG foo 1 re 12 14\r\nK1:V1,K2:V2 ok\r\n");
    with.expect("HMSG foo 1 re 12 14\r\nK1:V1,K2:V2 ok\r\n");
    without.expect("MSG foo 2 2\r\nok\r\nMSG foo 2 re 2\r\nok\r\nMSG foo 2 re 2\r\nok\r\n");
}

#[test]
fn line_73_headers_from_a_client_without() {
    let server = Server::start();
    let mut client = server.quiet();
    let id = client.id();
    client.send("HPUB foo 1 2\r\nok\r\n");
    client.expect_closed();
    let filter = ConnectionFilter {
        state: ConnectionState::Closed,
        connection_id: Some(id),
        ..ConnectionFilter::default()
    };
    server.wait_until("remembered", |broker| {
        let closed = broker.connections(&filter);
        closed
            .first()
            .is_some_and(|closed| closed.ended.unwrap().1 == CloseReason::MessageHeaderViolation)
    });
}

#[test]
fn lines_74_76_bad_header_sizes() {
    let server = Server::start();
    for input in ["HPUB foo 3 2\r\n", "HPUB foo x 2\r\n", "HPUB foo 1\r\n"] {
        let mut client = headers_client(&server);
        client.send(input);
        client.expect_closed();
    }
    let mut client = headers_client(&server);
    client.send("HPUB foo 12 1048577\r\n");
    client.expect("-ERR 'Maximum Payload Violation'\r\n");
    client.expect_closed();
}

#[test]
fn line_75_empty_header_block() {
    let server = Server::start();
    let mut client = headers_client(&server);
    client.send("SUB foo 1\r\nHPUB foo 0 2\r\nok\r\nHPUB foo re 0 2\r\nok\r\n");
    client.expect("MSG foo 1 2\r\nok\r\nMSG foo 1 re 2\r\nok\r\n");
}

#[test]
fn line_78_no_responders() {
    let server = Server::start();
    let mut client = server.client(NO_RESPONDERS);
    client.send("SUB _INBOX.x.* 7\r\nPUB help _INBOX.x.1 2\r\nhi\r\nPING\r\n");
    let block = "NATS/1.0 503\r\nNats-Subject: help\r\n\r\n";
    client.expect(format!("HMSG _INBOX.x.1 7 36 36\r\n{block}\r\nPONG\r\n"));
}

#[test]
fn line_79_no_responders_without_an_inbox() {
    let server = Server::start();
    let mut client = server.client(NO_RESPONDERS);
    client.flush("PUB help _INBOX.x.1 2\r\nhi\r\n");
    // §2.5: a queue subscription on the inbox does not qualify, nor does another connection's.
    let mut other = server.quiet();
    other.flush("SUB _INBOX.> 1\r\n");
    client.flush("SUB _INBOX.x.1 q 1\r\nPUB help _INBOX.x.1 2\r\nhi\r\n");
    client.flush("SUB _INBOX.y 2\r\nPUB help 2\r\nhi\r\n");
    other.expect_nothing_more();
}

#[test]
fn lines_80_81_responders_that_come_and_go() {
    let server = Server::start();
    let mut client = server.client(NO_RESPONDERS);
    let mut responder = server.quiet();
    responder.flush("SUB help 1\r\n");
    client.flush("SUB inbox 1\r\nPUB help inbox 2\r\nhi\r\n");
    responder.expect("MSG help 1 inbox 2\r\nhi\r\n");
    responder.flush("UNSUB 1\r\n");
    client.send("PUB help inbox 2\r\nhi\r\n");
    client.expect("HMSG inbox 1 36 36\r\nNATS/1.0 503\r\nNats-Subject: help\r\n\r\n\r\n");
    client.expect_nothing_more();
}

#[test]
fn section_2_5_echo_off_counts_as_nobody() {
    let server = Server::start();
    let mut client = server.client(r#"{"verbose":false,"echo":false,"headers":true,"no_responders":true}"#);
    client.send("SUB help 1\r\nSUB inbox 2\r\nPUB help inbox 2\r\nhi\r\n");
    client.expect("HMSG inbox 2 36 36\r\nNATS/1.0 503\r\nNats-Subject: help\r\n\r\n\r\n");
    client.expect_nothing_more();
}

#[test]
fn line_82_no_header_support() {
    let server = Server::with(|options| options.no_header_support = true);
    let mut client = server.client(WITH_HEADERS);
    assert_eq!(client.info["headers"], false);
    client.send("HPUB foo 0 2\r\nok\r\n");
    client.expect_closed();
}
