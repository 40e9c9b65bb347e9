//! §9.4: errors and limits.

use seaway_broker::{CloseReason, ConnectionFilter, ConnectionState};

use crate::support::Server;

/// What the server says before it closes, and the reason it remembers.
fn refused(server: &Server, input: &[u8], answer: &str, reason: CloseReason) {
    let mut client = server.client(r#"{"verbose":false,"headers":true}"#);
    let id = client.id();
    client.send(input);
    client.expect(answer);
    client.expect_closed();
    let filter = ConnectionFilter {
        state: ConnectionState::Closed,
        connection_id: Some(id),
        ..ConnectionFilter::default()
    };
    server.wait_until("the end is remembered", |broker| broker.connections(&filter).len() == 1);
    let closed = server.broker.connections(&filter).remove(0);
    assert_eq!(closed.ended.unwrap().1, reason, "{:?}", String::from_utf8_lossy(input));
}

#[test]
fn lines_44_45_46_57_unknown_operations() {
    let server = Server::start();
    let inputs: [&[u8]; 14] = [
        b"ZZZ\r\n",
        b"PUBS foo 1\r\n",
        b"SUBZZZ\r\n",
        b"UNSUBX\r\n",
        b"MSG foo 1 2\r\n",
        b"HMSG x",
        b"RS+ x",
        b"LMSG x",
        b"A- x",
        b"PUB foo 2\r\nokay\r\n",
        b"PUB foo 2\r\nok\n\n",
        b" PING\r\n",
        b"\r\n",
        b"SUB\r\n",
    ];
    for input in inputs {
        refused(
            &server,
            input,
            "-ERR 'Unknown Protocol Operation'\r\n",
            CloseReason::ProtocolViolation,
        );
    }
}

#[test]
fn line_47_malformed_arguments_close_silently() {
    let server = Server::start();
    let inputs = [
        "PUB foo\r\n",
        "SUB foo\r\n",
        "UNSUB 1 2 3\r\n",
        "PUB foo -1\r\n",
        "PUB foo 99999999999\r\n",
        "PUB a b c 1\r\n",
    ];
    for input in inputs {
        refused(&server, input.as_bytes(), "", CloseReason::ParseError);
    }
}

#[test]
fn line_48_payload_limit_before_the_body() {
    let server = Server::start();
    let answer = "-ERR 'Maximum Payload Violation'\r\n";
    refused(
        &server,
        b"PUB foo 1048577\r\n",
        answer,
        CloseReason::MaximumPayloadExceeded,
    );
    refused(
        &server,
        b"HPUB foo 1 1048577\r\n",
        answer,
        CloseReason::MaximumPayloadExceeded,
    );
    let mut with_body = b"PUB foo 1048577\r\n".to_vec();
    with_body.resize(700_000, b'x');
    refused(&server, &with_body, answer, CloseReason::MaximumPayloadExceeded);
}

#[test]
fn lines_49_50_control_line_limit() {
    let server = Server::start();
    let answer = "-ERR 'maximum control line exceeded'\r\n";
    let reason = CloseReason::MaximumControlLineExceeded;
    let whole = format!("SUB {} 1\r\n", "x".repeat(4097));
    refused(&server, whole.as_bytes(), answer, reason);
    refused(&server, format!("PUB {}", "x".repeat(5000)).as_bytes(), answer, reason);
    refused(
        &server,
        format!("CONNECT {}", "x".repeat(5000)).as_bytes(),
        answer,
        reason,
    );
    let server = Server::with(|options| options.max_control_line = 256);
    refused(&server, format!("SUB {}", "x".repeat(300)).as_bytes(), answer, reason);
    let mut client = server.quiet();
    client.flush(format!("SUB {} 1\r\n", "x".repeat(254)));
}

#[test]
fn control_lines_longer_than_a_read_buffer() {
    let server = Server::with(|options| options.max_control_line = 300_000);
    let mut client = server.quiet();
    let subject = "x".repeat(250_000);
    client.flush(format!("SUB {subject} 1\r\n"));
    client.send(format!("PUB {subject} 2\r\nok\r\nPUB {subject} 2\r\nok\r\n"));
    client.expect(format!("MSG {subject} 1 2\r\nok\r\n").repeat(2));
}

#[test]
fn line_51_max_subscriptions() {
    let server = Server::with(|options| options.max_subscriptions = 1);
    let mut client = server.quiet();
    client.send("SUB a 1\r\nSUB b 2\r\n");
    client.expect("-ERR 'maximum subscriptions exceeded'\r\n");
    client.flush("UNSUB 1\r\nSUB b 2\r\n");
}

#[test]
fn line_52_max_subscription_tokens_and_reserved_queue() {
    let server = Server::with(|options| options.max_subscription_tokens = 2);
    let mut client = server.quiet();
    client.send("SUB a.b.c 1\r\nSUB a q\"x 3\r\nSUB a _sys_ 2\r\n");
    client.expect("-ERR 'Permissions Violation for Subscription to \"a.b.c\", too many tokens'\r\n");
    client.expect("-ERR 'Permissions Violation for Subscription to \"a\" using queue \"_sys_\"'\r\n");
    client.expect_nothing_more();
}

#[test]
fn lines_53_54_55_56_58_what_is_tolerated() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo 1\nPUB foo 2\nok\r\n");
    client.expect("MSG foo 1 2\r\nok\r\n");
    client.send("Sub\tbar  2\r\npub\t bar \t 2\r\nok\r\n");
    client.expect("MSG bar 2 2\r\nok\r\n");
    client.send("PING   \r\nPINGxyz \r \r\nping\n");
    client.expect("PONG\r\nPONG\r\nPONG\r\n");
    client.flush("+OK\r\nINFO {}\r\nPONG\r\n");
}

#[test]
fn line_59_error_from_a_client() {
    let server = Server::start();
    refused(&server, b"-ERR 'x'\r\n", "", CloseReason::ClientClosed);
}

#[test]
fn end_of_stream_is_client_closed() {
    let server = Server::start();
    let mut client = server.quiet();
    let id = client.id();
    client.stop_sending();
    client.expect_closed();
    let filter = ConnectionFilter {
        state: ConnectionState::Closed,
        connection_id: Some(id),
        ..ConnectionFilter::default()
    };
    server.wait_until("closed", |broker| {
        broker
            .connections(&filter)
            .first()
            .is_some_and(|closed| closed.ended.unwrap().1 == CloseReason::ClientClosed)
    });
}
