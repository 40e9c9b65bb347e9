//! §9.7: what clients may do, lines 91 to 98.

use std::time::Duration;

use seaway_broker::{Permissions, ResponseRules, SubjectRules};

use crate::support::{Client, Server, user};

pub fn rules(allow: &[&str], deny: &[&str]) -> SubjectRules {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    SubjectRules {
        allow: list(allow),
        deny: list(deny),
    }
}

/// A server with user `a` of these permissions, and `all` who may do everything.
pub fn restricted(permissions: Permissions) -> Server {
    Server::guarded(|it| {
        it.users = vec![user("a", "pa"), user("all", "pl")];
        it.users[0].permissions = Some(permissions);
    })
}

pub fn restricted_client(server: &Server) -> Client {
    let mut client = server.connect();
    client.login(r#"{"verbose":false,"headers":true,"no_responders":true,"user":"a","pass":"pa"}"#);
    client
}

pub fn free_client(server: &Server) -> Client {
    let mut client = server.connect();
    client.login(r#"{"verbose":false,"headers":true,"user":"all","pass":"pl"}"#);
    client
}

#[test]
fn line_91_denied_publications() {
    let server = restricted(Permissions {
        publish: rules(&["foo.*", "req"], &["foo.secret"]),
        ..Permissions::default()
    });
    let (mut client, mut observer) = (restricted_client(&server), free_client(&server));
    observer.flush("SUB > 1\r\n");
    // More than once: the answer comes from the connection's memory then.
    for _ in 0..3 {
        for subject in ["bar", "foo.secret", "foo.a.b", "foo"] {
            client.send(format!("PUB {subject} 2\r\nno\r\n"));
            client.expect(format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n"));
        }
        client.flush("PUB foo.a 2\r\nok\r\nHPUB foo.b 2 4\r\nxxok\r\n");
        observer.expect("MSG foo.a 1 2\r\nok\r\nHMSG foo.b 1 2 4\r\nxxok\r\n");
    }
    // A refused publication is no request without responders.
    client.send("SUB inbox 1\r\nPUB bar inbox 2\r\nno\r\n");
    client.expect("-ERR 'Permissions Violation for Publish to \"bar\"'\r\n");
    client.expect_nothing_more();
    observer.expect_nothing_more();
    // Many subjects do not confuse the memory.
    let mut all = String::new();
    for number in 0..2000 {
        all.push_str(&format!("PUB foo.{number} 1\r\nx\r\nPUB bar.{number} 1\r\nx\r\n"));
    }
    client.send(&all);
    for number in 0..2000 {
        client.expect(format!(
            "-ERR 'Permissions Violation for Publish to \"bar.{number}\"'\r\n"
        ));
        observer.expect(format!("MSG foo.{number} 1 1\r\nx\r\n"));
    }
}

#[test]
fn line_91_no_acknowledgement_for_a_refusal() {
    let server = restricted(Permissions {
        publish: rules(&[], &[">"]),
        subscribe: rules(&["foo"], &[]),
        ..Permissions::default()
    });
    let mut client = server.connect();
    client.send("CONNECT {\"user\":\"a\",\"pass\":\"pa\"}\r\nPUB x 1\r\nx\r\nSUB bar 1\r\nSUB foo 2\r\nPING\r\n");
    client.expect("+OK\r\n-ERR 'Permissions Violation for Publish to \"x\"'\r\n");
    client.expect("-ERR 'Permissions Violation for Subscription to \"bar\"'\r\n+OK\r\nPONG\r\n");
}

#[test]
fn lines_92_93_denied_subscriptions() {
    let server = restricted(Permissions {
        subscribe: rules(&["foo.*", "jobs", "jobs workers.*", "only q"], &["foo.secret"]),
        ..Permissions::default()
    });
    let mut client = restricted_client(&server);
    for (arguments, tail) in [
        ("bar 1", "\"bar\""),
        ("foo.> 1", "\"foo.>\""),
        ("foo.secret 1", "\"foo.secret\""),
        ("bar q 1", "\"bar\" using queue \"q\""),
        ("foo.secret q 1", "\"foo.secret\" using queue \"q\""),
        ("jobs idlers 1", "\"jobs\" using queue \"idlers\""),
        ("only 1", "\"only\""),
    ] {
        client.send(format!("SUB {arguments}\r\n"));
        client.expect(format!("-ERR 'Permissions Violation for Subscription to {tail}'\r\n"));
    }
    client.expect_nothing_more();
    let before = server.broker.snapshot().subscriptions;
    assert_eq!(before, 0);
    client.flush("SUB foo.* 1\r\nSUB foo.a q 2\r\nSUB jobs 3\r\nSUB jobs workers.fast 4\r\nSUB only q 5\r\n");
    assert_eq!(server.broker.snapshot().subscriptions, 5);
}

#[test]
fn line_94_denied_subjects_are_withheld_from_wildcards() {
    let server = restricted(Permissions {
        subscribe: rules(&[], &["foo.secret", "bar.>"]),
        ..Permissions::default()
    });
    let (mut client, mut free) = (restricted_client(&server), free_client(&server));
    client.flush("SUB foo.* 1\r\nSUB > 2\r\nUNSUB 2 3\r\n");
    free.flush("SUB foo.* 1\r\n");
    let mut publisher = free_client(&server);
    for _ in 0..2 {
        publisher.flush("PUB foo.secret 1\r\ns\r\nPUB bar.a.b 1\r\nb\r\nPUB foo.open 1\r\no\r\n");
        free.expect("MSG foo.secret 1 1\r\ns\r\nMSG foo.open 1 1\r\no\r\n");
    }
    // Withheld messages do not count against the limit of three.
    publisher.flush("PUB last 1\r\nl\r\nPUB last 1\r\nl\r\n");
    let mut received: Vec<(String, String)> = Vec::new();
    for _ in 0..5 {
        let (subject, sid, _, _) = client.message();
        received.push((subject, sid));
    }
    client.expect_nothing_more();
    received.sort();
    let expected = [
        ("foo.open", "1"),
        ("foo.open", "1"),
        ("foo.open", "2"),
        ("foo.open", "2"),
        ("last", "2"),
    ];
    assert_eq!(
        received,
        expected.map(|(subject, sid)| (subject.to_owned(), sid.to_owned()))
    );
}

#[test]
fn line_95_a_denied_queue_member_is_passed_over() {
    let server = restricted(Permissions {
        subscribe: rules(&[], &["foo.secret", "jobs.odd q"]),
        ..Permissions::default()
    });
    let (mut client, mut free) = (restricted_client(&server), free_client(&server));
    client.flush("SUB foo.* q 1\r\nSUB jobs.* q 2\r\n");
    free.flush("SUB foo.* q 1\r\nSUB jobs.* q 2\r\n");
    let mut publisher = free_client(&server);
    for _ in 0..50 {
        publisher.send("PUB foo.secret 1\r\ns\r\nPUB jobs.odd 1\r\no\r\n");
    }
    publisher.expect_nothing_more();
    for _ in 0..50 {
        free.expect("MSG foo.secret 1 1\r\ns\r\nMSG jobs.odd 2 1\r\no\r\n");
    }
    client.expect_nothing_more();
    // With nobody else in the group, the message reaches nobody.
    free.flush("UNSUB 1\r\n");
    publisher.flush("PUB foo.secret 1\r\ns\r\n");
    client.expect_nothing_more();
}

fn responder(responses: ResponseRules) -> (Server, Client, Client) {
    let server = restricted(Permissions {
        responses: Some(responses),
        ..Permissions::default()
    });
    let (mut client, mut requester) = (restricted_client(&server), free_client(&server));
    client.flush("SUB service 1\r\n");
    requester.flush("SUB inbox.> 1\r\n");
    (server, client, requester)
}

#[track_caller]
fn expect_denied(client: &mut Client, subject: &str) {
    client.send(format!("PUB {subject} 2\r\nno\r\n"));
    client.expect(format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n"));
}

#[test]
fn line_96_one_answer_by_default() {
    let (_server, mut client, mut requester) = responder(ResponseRules::default());
    for subject in ["inbox.1", "other"] {
        expect_denied(&mut client, subject);
    }
    for inbox in ["inbox.1", "inbox.2"] {
        requester.flush(format!("PUB service {inbox} 1\r\n?\r\n"));
        client.expect(format!("MSG service 1 {inbox} 1\r\n?\r\n"));
        expect_denied(&mut client, "inbox.3");
        client.flush(format!("PUB {inbox} 1\r\n!\r\n"));
        requester.expect(format!("MSG {inbox} 1 1\r\n!\r\n"));
        expect_denied(&mut client, inbox);
    }
    // A message without a reply gives no right.
    requester.flush("PUB service 1\r\n?\r\n");
    client.expect("MSG service 1 1\r\n?\r\n");
    requester.expect_nothing_more();
}

#[test]
fn line_97_number_and_time_of_answers() {
    let (_server, mut client, mut requester) = responder(ResponseRules {
        max_messages: Some(10),
        expires: Some(Duration::from_secs(60)),
    });
    requester.flush("PUB service inbox.1 1\r\n?\r\n");
    client.expect("MSG service 1 inbox.1 1\r\n?\r\n");
    for _ in 0..10 {
        client.flush("PUB inbox.1 1\r\n!\r\n");
        requester.expect("MSG inbox.1 1 1\r\n!\r\n");
    }
    expect_denied(&mut client, "inbox.1");

    let (_server, mut client, mut requester) = responder(ResponseRules {
        max_messages: None,
        expires: Some(Duration::from_millis(50)),
    });
    requester.flush("PUB service inbox.1 1\r\n?\r\n");
    client.expect("MSG service 1 inbox.1 1\r\n?\r\n");
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        client.send("PUB inbox.1 1\r\n!\r\nPING\r\n");
        if client.line() != "PONG" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the right does not expire");
    }
}

#[test]
fn line_98_requests_of_a_restricted_client() {
    let server = restricted(Permissions {
        publish: rules(&["service"], &[]),
        subscribe: rules(&["_INBOX.>"], &[]),
        ..Permissions::default()
    });
    let (mut client, mut free) = (restricted_client(&server), free_client(&server));
    free.flush("SUB service 1\r\n");
    client.send("SUB answers 1\r\n");
    client.expect("-ERR 'Permissions Violation for Subscription to \"answers\"'\r\n");
    client.flush("SUB _INBOX.x.* 2\r\nPUB service _INBOX.x.1 1\r\n?\r\n");
    free.expect("MSG service 1 _INBOX.x.1 1\r\n?\r\n");
    free.flush("PUB _INBOX.x.1 1\r\n!\r\n");
    client.expect("MSG _INBOX.x.1 2 1\r\n!\r\n");
}

#[test]
fn section_3_3_default_permissions_are_for_users_without_their_own() {
    let server = Server::guarded(|it| {
        it.users = vec![user("a", "pa"), user("all", "pl")];
        it.users[1].permissions = Some(Permissions::default());
        it.default_permissions = Some(Permissions {
            publish: rules(&["foo"], &[]),
            ..Permissions::default()
        });
    });
    let mut client = restricted_client(&server);
    client.flush("PUB foo 1\r\nx\r\n");
    expect_denied(&mut client, "bar");
    free_client(&server).flush("PUB bar 1\r\nx\r\n");
}
