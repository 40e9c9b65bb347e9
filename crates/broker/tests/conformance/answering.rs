//! In-process services: what an answer reaches, and what they learn of whoever asks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use seaway_broker::{Attachment, Batch, Broker, ConnectionId, Destination, Permissions, Requester, Sink};

use crate::permissions::{free_client, restricted, restricted_client, rules};
use crate::support::{Client, PATIENCE, Server, access};

/// Gives every message's origin to a test.
struct Heard(Sender<ConnectionId>);

impl Sink for Heard {
    fn deliver(&self, batch: Batch) {
        for _ in batch.iter() {
            self.0.send(batch.origin).unwrap();
        }
    }

    fn drained(&self, _destination: Destination) {}
}

fn attach(broker: &Broker, pattern: &str) -> (Attachment, Receiver<ConnectionId>) {
    let (sender, heard) = channel();
    let attachment = broker.attach("service", Arc::new(Heard(sender)));
    attachment.subscribe(pattern, 1, false).unwrap();
    (attachment, heard)
}

#[test]
fn answers_carry_headers_to_whoever_understands_them() {
    let server = Server::start();
    let (attachment, _heard) = attach(&server.broker, "service");
    let mut with_headers = server.client(r#"{"verbose":false,"headers":true}"#);
    let mut without = server.quiet();
    with_headers.flush("SUB inbox.1 7\r\n");
    without.flush("SUB inbox.2 8\r\n");
    let mut publisher = attachment.publisher();
    for inbox in [&b"inbox.1"[..], b"inbox.2"] {
        let headers = b"NATS/1.0\r\nA: b\r\n\r\n";
        assert_eq!(publisher.answer(inbox, headers, b"body").receivers, 1);
        assert_eq!(publisher.answer(inbox, b"NATS/1.0 204 End\r\n\r\n", b"").receivers, 1);
        assert_eq!(publisher.answer(inbox, b"", b"plain").receivers, 1);
    }
    for bad in [&b"in jected"[..], b"a\r\nPING", b"", b"a..b"] {
        assert_eq!(publisher.answer(bad, b"", b"x").receivers, 0);
    }
    publisher.flush();
    with_headers.expect("HMSG inbox.1 7 18 22\r\nNATS/1.0\r\nA: b\r\n\r\nbody\r\n");
    with_headers.expect("HMSG inbox.1 7 20 20\r\nNATS/1.0 204 End\r\n\r\n\r\nMSG inbox.1 7 5\r\nplain\r\n");
    without.expect("MSG inbox.2 8 4\r\nbody\r\nMSG inbox.2 8 0\r\n\r\nMSG inbox.2 8 5\r\nplain\r\n");
}

/// A client that may not publish to a service of this process cannot make another one do it: its reply subject.
#[test]
fn an_answer_is_no_request_to_an_in_process_service() {
    let server = Server::start();
    let (attachment, _heard) = attach(&server.broker, "service");
    let (_victim, victim_heard) = attach(&server.broker, "victim");
    let mut listener = server.quiet();
    listener.flush("SUB victim 1\r\n");
    let mut publisher = attachment.publisher();
    assert_eq!(publisher.answer(b"victim", b"", b"forged").receivers, 1);
    publisher.flush();
    listener.expect("MSG victim 1 6\r\nforged\r\n");
    assert!(victim_heard.try_recv().is_err());
    assert_eq!(publisher.publish(b"victim", None, &[b"meant"]).receivers, 2);
    publisher.flush();
    assert_eq!(victim_heard.recv_timeout(PATIENCE), Ok(attachment.id()));
}

/// Asks the service, which says who it was.
fn ask(server: &Server, client: &mut Client, heard: &Receiver<ConnectionId>) -> Option<Requester> {
    client.flush("PUB $S.change.purge 0\r\n\r\n");
    let origin = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(origin.0, client.id());
    server.broker.requester(origin)
}

#[test]
fn a_service_learns_what_a_requester_may_do() {
    let server = restricted(Permissions {
        publish: rules(&[">", "$S.change.>"], &["$S.change.wipe"]),
        subscribe: rules(&["_INBOX.a.>"], &[]),
        responses: None,
    });
    let (_attachment, heard) = attach(&server.broker, "$S.>");
    let mut named = restricted_client(&server);
    let requester = ask(&server, &mut named, &heard).unwrap();
    assert!(requester.is_named(b"$S.change.purge"));
    assert!(!requester.is_named(b"$S.change.wipe") && !requester.is_named(b"$S.read.all"));
    assert!(requester.may_receive(b"_INBOX.a.1") && !requester.may_receive(b"_INBOX.b.1"));

    let mut free = free_client(&server);
    let requester = ask(&server, &mut free, &heard).unwrap();
    assert!(!requester.is_named(b"$S.change.purge") && requester.may_receive(b"_INBOX.b.1"));

    let (id, other) = (ConnectionId(free.id()), ConnectionId(u64::MAX));
    drop(free);
    server.wait_until("it has gone", |broker| broker.requester(id).is_none());
    assert!(server.broker.requester(other).is_none());
}

#[test]
fn where_nobody_authenticates_everybody_may() {
    let server = Server::start();
    let (attachment, heard) = attach(&server.broker, "$S.>");
    let mut client = server.client(r#"{"verbose":false}"#);
    let requester = ask(&server, &mut client, &heard).unwrap();
    assert!(requester.is_named(b"$S.change.purge") && requester.may_receive(b"anything"));
    assert!(server.broker.requester(attachment.id()).is_none(), "not a client");

    let guarded = Server::with(|options| {
        options.access = access(|it| it.token = Some(seaway_broker::Secret::new("t")));
    });
    let (_attachment, heard) = attach(&guarded.broker, "$S.>");
    let mut client = guarded.client(r#"{"verbose":false,"auth_token":"t"}"#);
    let requester = ask(&guarded, &mut client, &heard).unwrap();
    assert!(!requester.is_named(b"$S.change.purge") && requester.may_receive(b"anything"));
}
