//! §5.8: what a reload does to connections.

use seaway_broker::{Access, BrokerOptions, Permissions, Reloaded, Secret};

use crate::permissions::{free_client, restricted_client, rules};
use crate::support::{Server, access, user};

fn reload(server: &Server, access: Access) -> Reloaded {
    server.broker.reload(&BrokerOptions {
        access,
        ..server.broker.options().clone()
    })
}

#[test]
fn line_145_a_changed_password_closes_its_user_only() {
    let server = Server::guarded(|it| it.users = vec![user("a", "pa"), user("all", "pl")]);
    let (mut a, mut other, mut waiting) = (restricted_client(&server), free_client(&server), server.connect());
    let new = access(|it| it.users = vec![user("a", "changed"), user("all", "pl")]);
    let expected = Reloaded {
        refused: 1,
        ..Reloaded::default()
    };
    assert_eq!(reload(&server, new), expected);
    a.expect("-ERR 'Authorization Violation'\r\n");
    a.expect_closed();
    other.expect_nothing_more();
    // Whoever has not said CONNECT yet is asked by the new rules.
    waiting.login(r#"{"verbose":false,"user":"a","pass":"changed"}"#);
    server
        .connect()
        .expect_refusal("CONNECT {\"user\":\"a\",\"pass\":\"pa\"}\r\n");
}

#[test]
fn authorization_can_be_turned_on_and_off() {
    let server = Server::start();
    let (mut anonymous, mut silent) = (server.quiet(), server.connect());
    reload(&server, access(|it| it.token = Some(Secret::new("t"))));
    for client in [&mut anonymous, &mut silent] {
        client.expect("-ERR 'Authorization Violation'\r\n");
        client.expect_closed();
    }
    let mut known = server.connect();
    assert_eq!(known.info["auth_required"], true);
    known.login(r#"{"verbose":false,"auth_token":"t"}"#);
    let mut silent = server.connect();
    reload(&server, Access::default());
    known.expect_nothing_more();
    silent.expect_nothing_more();
    assert!(server.connect().info.get("auth_required").is_none());
}

#[test]
fn changed_permissions_end_what_they_no_longer_allow() {
    let with = |permissions: Option<Permissions>| {
        access(|it| {
            it.users = vec![user("a", "pa"), user("all", "pl")];
            it.users[0].permissions = permissions;
        })
    };
    let server = Server::with(|options| options.access = with(None));
    let (mut client, mut free) = (restricted_client(&server), free_client(&server));
    client.flush("SUB foo.* 1\r\nSUB bar 2\r\nSUB foo.secret q 3\r\n");
    client.send("PUB bar 1\r\nx\r\n");
    client.expect("MSG bar 2 1\r\nx\r\n");
    free.flush("PUB foo.secret 1\r\na\r\n");
    let mut both = [client.message().1, client.message().1];
    both.sort();
    assert_eq!(both, ["1", "3"]);

    let narrower = Permissions {
        publish: rules(&["foo.>"], &[]),
        subscribe: rules(&["foo.*"], &["foo.secret"]),
        ..Permissions::default()
    };
    let expected = Reloaded {
        changed: 1,
        ..Reloaded::default()
    };
    assert_eq!(reload(&server, with(Some(narrower.clone()))), expected);
    let mut lines = [client.line(), client.line()];
    lines.sort();
    assert_eq!(
        lines,
        [
            "-ERR 'Permissions Violation for Subscription to \"bar\" (sid \"2\")'",
            "-ERR 'Permissions Violation for Subscription to \"foo.secret\" (sid \"3\")'",
        ]
    );
    free.flush("PUB bar 1\r\nx\r\nPUB foo.secret 1\r\nx\r\nPUB foo.open 1\r\no\r\n");
    client.expect("MSG foo.open 1 1\r\no\r\n");
    client.send("PUB bar 1\r\nx\r\n");
    client.expect("-ERR 'Permissions Violation for Publish to \"bar\"'\r\n");
    // The same again changes nothing.
    assert_eq!(reload(&server, with(Some(narrower))), Reloaded::default());
    // And back: nothing is withheld any more.
    assert_eq!(reload(&server, with(None)), expected);
    client.flush("PUB bar 1\r\nx\r\n");
    free.flush("PUB foo.secret 1\r\ns\r\n");
    client.expect("MSG foo.secret 1 1\r\ns\r\n");
}

#[test]
fn fewer_connections_close_the_surplus() {
    let server = Server::start();
    let mut clients = [server.quiet(), server.quiet(), server.quiet()];
    let reloaded = server.broker.reload(&BrokerOptions {
        max_connections: 1,
        ..server.broker.options().clone()
    });
    assert_eq!(reloaded.surplus, 2);
    server.wait_until("two are gone", |broker| broker.snapshot().connections == 1);
    let mut refused = 0;
    for client in &mut clients {
        client.send("PING\r\n");
        match client.line().as_str() {
            "PONG" => {}
            other => {
                assert_eq!(other, "-ERR 'maximum connections exceeded'");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 2);
    let mut late = server.connect();
    late.expect("-ERR 'maximum connections exceeded'\r\n");
    late.expect_closed();
}
