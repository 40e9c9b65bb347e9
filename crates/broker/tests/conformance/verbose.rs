//! §9.3: verbose and pedantic.

use crate::support::Server;

#[test]
fn lines_38_39_acknowledgements_in_order() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("CONNECT {\"pedantic\":false}\r\nSUB foo 1\r\nPUB foo 2\r\nok\r\nUNSUB 1\r\nPING\r\n");
    client.expect("+OK\r\n+OK\r\n+OK\r\nMSG foo 1 2\r\nok\r\n+OK\r\nPONG\r\n");
    client.expect_nothing_more();
    client.send("UNSUB 99\r\nSUB a 1\r\nSUB a 1\r\n");
    client.expect("+OK\r\n".repeat(3));
    client.expect_nothing_more();
}

#[test]
fn line_40_invalid_subjects() {
    let server = Server::start();
    for pedantic in [true, false] {
        let mut client = server.client(&format!("{{\"verbose\":false,\"pedantic\":{pedantic}}}"));
        for subject in ["foo.", ".foo", "foo..bar", "foo.>.bar"] {
            client.send(format!("SUB {subject} 1\r\n"));
            client.expect("-ERR 'Invalid Subject'\r\n");
        }
        client.expect_nothing_more();
    }
    let mut client = server.connect();
    client.send("SUB foo. 1\r\n");
    client.expect("-ERR 'Invalid Subject'\r\n");
    client.expect_nothing_more();
}

#[test]
fn line_41_pedantic_publish_is_refused_and_processed() {
    let server = Server::start();
    let mut client = server.client(r#"{"verbose":false,"pedantic":true}"#);
    for subject in ["foo.*", "foo.>", "foo."] {
        client.send(format!("PUB {subject} 0\r\n\r\n"));
        client.expect("-ERR 'Invalid Publish Subject'\r\n");
    }
    client.send("SUB foo.> 1\r\nPUB foo.* 0\r\n\r\n");
    client.expect("-ERR 'Invalid Publish Subject'\r\nMSG foo.* 1 0\r\n\r\n");
    client.expect_nothing_more();
    let mut verbose = server.connect();
    verbose.send("PUB foo.* 0\r\n\r\n");
    verbose.expect("-ERR 'Invalid Publish Subject'\r\n+OK\r\n");
}

#[test]
fn line_42_stars_inside_tokens_are_literal() {
    let server = Server::start();
    let mut client = server.quiet();
    client.send("SUB foo*.bar 1\r\nPUB foox.bar 0\r\n\r\nPUB foo*.bar 0\r\n\r\n");
    client.expect("MSG foo*.bar 1 0\r\n\r\n");
    client.expect_nothing_more();
}

#[test]
fn line_43_pedantic_is_the_default() {
    let server = Server::start();
    let mut client = server.client(r#"{"verbose":false}"#);
    client.send("PUB foo.* 0\r\n\r\n");
    client.expect("-ERR 'Invalid Publish Subject'\r\n");
}
