//! Accounts: spaces of subjects that know nothing of one another (core specification §3.6).

use std::time::Duration;

use seaway_broker::{AccountOptions, Authorization, BrokerOptions, ConnectionFilter, ConnectionState, Reloaded};

use crate::meshes::{to, wait_for_mesh};
use crate::routes::{Member, connect, introduction, until_pinged};
use crate::support::{Client, Server, access, user, user_of};

fn account(name: &str) -> AccountOptions {
    AccountOptions {
        name: name.into(),
        ..AccountOptions::default()
    }
}

/// Users `a` and `a2` in account A, `b` in B, `g` in none, whose passwords are their names.
fn users(authorization: &mut Authorization) {
    authorization.users = vec![user_of("A", "a"), user_of("A", "a2"), user_of("B", "b"), user("g", "g")];
}

fn two_accounts(options: &mut BrokerOptions) {
    options.accounts = vec![account("A"), account("B")];
    options.access = access(users);
}

const GONE: &str = "HMSG in 9 35 35\r\nNATS/1.0 503\r\nNats-Subject: foo\r\n\r\n\r\n";

#[test]
fn line_101_the_same_subject_in_two_accounts() {
    let server = Server::with(two_accounts);
    let [mut a, mut a2, mut b, mut g] = ["a", "a2", "b", "g"].map(|name| server.user(name));
    for client in [&mut a, &mut b, &mut g] {
        client.flush("SUB foo 1\r\nSUB > 2\r\nSUB *.* q 3\r\n");
    }
    a2.flush("PUB foo 1\r\nx\r\nPUB foo.bar 1\r\ny\r\n");
    let mut got = [a.message(), a.message(), a.message(), a.message()].map(|(subject, sid, ..)| (subject, sid));
    got.sort();
    let got: Vec<(&str, &str)> = got.iter().map(|(subject, sid)| (&subject[..], &sid[..])).collect();
    assert_eq!(got, [("foo", "1"), ("foo", "2"), ("foo.bar", "2"), ("foo.bar", "3")]);
    for client in [&mut a, &mut b, &mut g] {
        client.expect_nothing_more();
    }
    b.send("PUB foo 1\r\nz\r\n");
    assert_eq!((b.message().3, b.message().3), (b"z".to_vec(), b"z".to_vec()));
    a.expect_nothing_more();
    g.expect_nothing_more();
}

/// A cached answer is the answer of one account, though one work space serves all of them.
#[test]
fn answers_of_one_account_are_not_used_in_another() {
    let server = Server::with(two_accounts);
    let [mut a, mut b] = ["a", "b"].map(|name| server.user(name));
    b.flush("SUB foo 1\r\n");
    for _ in 0..200 {
        b.send("PUB foo 1\r\nb\r\n");
        b.expect("MSG foo 1 1\r\nb\r\n");
        a.flush("SUB in 9\r\n");
        a.send("PUB foo in 1\r\na\r\n");
        a.expect(GONE);
    }
    b.expect_nothing_more();
}

#[test]
fn nobody_is_there_when_only_another_account_listens() {
    let server = Server::with(two_accounts);
    let [mut a, mut b] = ["a", "b"].map(|name| server.user(name));
    b.flush("SUB foo 1\r\n");
    a.send("SUB in 9\r\nPUB foo in 0\r\n\r\n");
    a.expect(GONE);
    b.expect_nothing_more();
}

#[test]
fn clients_are_told_their_account() {
    let server = Server::with(two_accounts);
    for (name, account) in [("a", "A"), ("g", "$G")] {
        let mut client = server.connect();
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"protocol\":1,\"user\":\"{name}\",\"pass\":\"{name}\"}}\r\nPING\r\n"
        ));
        client.expect("PONG\r\n");
        let info = client.line();
        assert!(info.contains(&format!("\"remote_account\":\"{account}\"")), "{info}");
    }
}

/// A second CONNECT takes a client to the account of its new user, and nothing of the old one with it.
#[test]
fn a_client_that_becomes_somebody_else_leaves_its_subscriptions_behind() {
    let server = Server::with(two_accounts);
    let [mut a, mut b, mut moving] = ["a", "b", "a2"].map(|name| server.user(name));
    moving.flush("SUB foo 1\r\n");
    moving.login(r#"{"verbose":false,"user":"b","pass":"b"}"#);
    moving.flush("SUB bar 2\r\n");
    a.flush("PUB foo 1\r\na\r\nPUB bar 1\r\na\r\n");
    b.flush("PUB foo 1\r\nb\r\nPUB bar 1\r\nb\r\n");
    moving.expect("MSG bar 2 1\r\nb\r\n");
    moving.expect_nothing_more();
    let count = |server: &Server, name: &str| {
        let accounts = server.broker.accounts();
        let found = accounts.into_iter().find(|known| known.name == name).unwrap();
        (found.connections, found.subscriptions, found.total_connections)
    };
    assert_eq!((count(&server, "A"), count(&server, "B")), ((1, 0, 2), (2, 1, 2)));
}

#[test]
fn who_presents_nothing_is_no_auth_user_with_its_account() {
    let server = Server::with(|options| {
        options.accounts = vec![account("A"), account("B")];
        options.access = access(|it| {
            users(it);
            it.no_auth_user = Some("b".into());
        });
    });
    let mut b = server.user("b");
    b.flush("SUB foo 1\r\n");
    server.quiet().flush("PUB foo 1\r\nx\r\n");
    b.expect("MSG foo 1 1\r\nx\r\n");
}

/// Who subscribes before the first CONNECT is somebody, and takes none of it to another account.
#[test]
fn what_was_asked_for_before_the_first_connect_stays_with_who_asked() {
    let server = Server::with(|options| {
        options.accounts = vec![account("A"), account("B")];
        options.access = access(|it| {
            users(it);
            it.no_auth_user = Some("b".into());
        });
    });
    let mut early = server.connect();
    early.send("SUB foo 1\r\nPING\r\n");
    early.expect("+OK\r\n");
    early.expect("PONG\r\n");
    let mut b = server.user("b");
    b.flush("PUB foo 1\r\nx\r\n");
    early.expect("MSG foo 1 1\r\nx\r\n");
    early.send("CONNECT {\"user\":\"a\",\"pass\":\"a\",\"verbose\":false}\r\n");
    early.flush("SUB foo 2\r\n");
    b.flush("PUB foo 1\r\ny\r\n");
    early.expect_nothing_more();
    server.user("a2").flush("PUB foo 1\r\nz\r\n");
    early.expect("MSG foo 2 1\r\nz\r\n");
}

/// §3.1: users of the system account alone do not close the server to everybody else.
#[test]
fn system_users_alone_leave_the_global_account_open() {
    let server = Server::with(|options| {
        options.access = access(|it| {
            it.system_account = Some("$SYS".into());
            it.users = vec![user_of("$SYS", "admin")];
        });
    });
    let mut anonymous = server.quiet();
    assert!(anonymous.info.get("auth_required").is_none());
    anonymous.flush("SUB foo 1\r\n");
    let mut admin = server.user("admin");
    admin.flush("PUB foo 1\r\nx\r\n");
    anonymous.expect_nothing_more();
    server
        .connect()
        .expect_refusal("CONNECT {\"user\":\"admin\",\"pass\":\"wrong\"}\r\n");
}

/// §5.8: clients whose account moved are closed, as are those of users that are gone.
#[test]
fn a_reload_closes_whoever_belongs_to_another_account() {
    let server = Server::with(two_accounts);
    let [mut stays, mut moved, mut gone] = ["a", "a2", "b"].map(|name| server.user(name));
    let options = BrokerOptions {
        accounts: vec![account("A"), account("C")],
        access: access(|it| it.users = vec![user_of("A", "a"), user_of("C", "a2")]),
        ..server.broker.options().clone()
    };
    let expected = Reloaded {
        refused: 2,
        ..Reloaded::default()
    };
    assert_eq!(server.broker.reload(&options), expected);
    for client in [&mut moved, &mut gone] {
        client.expect("-ERR 'Authorization Violation'\r\n");
        client.expect_closed();
    }
    stays.flush("SUB foo 1\r\n");
    server.user("a2").flush("PUB foo 1\r\nx\r\n");
    stays.expect_nothing_more();
}

#[test]
fn limits_of_an_account_hold_for_its_clients_alone() {
    let server = Server::with(|options| {
        two_accounts(options);
        options.accounts[0] = AccountOptions {
            max_connections: Some(1),
            max_subscriptions: Some(2),
            max_payload: Some(4),
            ..account("A")
        };
    });
    let mut a = server.user("a");
    let mut second = server.connect();
    second.send("CONNECT {\"verbose\":false,\"user\":\"a2\",\"pass\":\"a2\"}\r\n");
    second.expect("-ERR 'maximum account active connections exceeded'\r\n");
    second.expect_closed();
    a.send("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n");
    a.expect("-ERR 'maximum subscriptions exceeded'\r\n");
    a.flush("UNSUB 1\r\nSUB c 3\r\n");
    let mut b = server.user("b");
    b.flush("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nPUB x 5\r\n12345\r\n");
    a.send("PUB x 4\r\n1234\r\nPUB x 5\r\n12345\r\n");
    a.expect("-ERR 'Maximum Payload Violation'\r\n");
    a.expect_closed();
    server.wait_until("the place is free", |broker| broker.accounts()[2].connections == 0);
    server.user("a2");
}

/// §4.5: on a route the account stands in front of the subject.
#[test]
fn routes_carry_the_account() {
    let member = Member::with(|_| {}, two_accounts);
    let [mut a, mut b] = ["a", "b"].map(|name| member.server.user(name));
    a.flush("SUB foo 1\r\nSUB foo q 2\r\n");
    b.flush("SUB foo 1\r\n");
    let mut peer = member.stranger();
    peer.send(connect(r#","headers":true"#));
    peer.send(introduction("NA", r#","headers":true"#));
    let mut told = until_pinged(&mut peer);
    told.sort();
    assert_eq!(told, ["RS+ A foo", "RS+ A foo q 1", "RS+ B foo"]);
    // Messages reach the account that they name, whatever its group is called elsewhere.
    peer.flush("RMSG A foo 1\r\nx\r\nRMSG B foo | q 1\r\ny\r\nRMSG C foo 1\r\nz\r\nRMSG $G foo 1\r\nz\r\n");
    a.expect("MSG foo 1 1\r\nx\r\n");
    b.expect("MSG foo 1 1\r\ny\r\n");
    a.expect_nothing_more();
    b.expect_nothing_more();
    // What is wanted there is wanted by clients of the same account.
    peer.flush("RS+ A bar\r\nRS+ B baz q 3\r\n");
    a.flush("PUB baz 1\r\nn\r\nPUB bar 1\r\n1\r\n");
    peer.expect("RMSG A bar 1\r\n1\r\n");
    b.flush("PUB bar 1\r\nn\r\nPUB baz re 1\r\n2\r\n");
    peer.expect("RMSG B baz + re q 1\r\n2\r\n");
    peer.flush("RS- A bar\r\nRS- A baz q\r\n");
    a.flush("PUB bar 1\r\nn\r\n");
    b.flush("PUB baz 1\r\n3\r\n");
    peer.expect("RMSG B baz | q 1\r\n3\r\n");
    peer.expect_nothing_more();
}

/// What another server's clients want is known though this server hears of the account only later, by a reload.
#[test]
fn interest_in_an_account_that_comes_later_is_known() {
    let member = Member::with(
        |_| {},
        |options| options.access = access(|it| it.users = vec![user("g", "g")]),
    );
    let mut peer = member.peer("NA");
    peer.flush("RS+ A foo\r\n");
    let options = BrokerOptions {
        accounts: vec![account("A")],
        access: access(users),
        ..member.server.broker.options().clone()
    };
    member.server.broker.reload(&options);
    member.server.user("a").flush("PUB foo 1\r\nx\r\n");
    member.server.user("b").flush("PUB foo 1\r\ny\r\n");
    peer.expect("RMSG A foo 1\r\nx\r\n");
    peer.expect_nothing_more();
}

/// Another server does not fill the memory with accounts that it makes up; and what was not kept is asked for again when one of them is
/// configured.
#[test]
fn few_accounts_are_kept_that_only_another_server_speaks_of() {
    let member = Member::with(|_| {}, two_accounts);
    let before = member.server.broker.snapshot().subscriptions;
    let many: String = (0..5000).map(|index| format!("RS+ X{index} foo\r\n")).collect();
    let mut peer = member.peer("NA");
    peer.flush(&many);
    let kept = member.server.broker.snapshot().subscriptions - before;
    assert!((1..=256).contains(&kept), "{kept}");
    assert_eq!(member.server.broker.account_names(), ["$G", "$SYS", "A", "B"]);
    // What it no longer wants makes room.
    peer.flush(many.replace("RS+", "RS-"));
    peer.flush("RS+ Y foo\r\n");
    assert_eq!(member.server.broker.snapshot().subscriptions, before + 1);
    peer.flush(&many);
    let options = |name: &str| BrokerOptions {
        accounts: vec![account("A"), account("B"), account(name)],
        access: access(|it| it.users = vec![user_of("A", "a"), user_of("B", "b"), user_of(name, "new")]),
        ..member.server.broker.options().clone()
    };
    member.server.broker.reload(&options("X4999"));
    peer.expect_gone();
    member.server.wait_until("it has left", |broker| {
        broker.snapshot().subscriptions == before && broker.routes().is_empty()
    });
    let mut peer = member.peer("NA");
    peer.flush("RS+ X4999 foo\r\n");
    member.server.user("new").flush("PUB foo 1\r\nx\r\n");
    peer.expect("RMSG X4999 foo 1\r\nx\r\n");
    // Nothing was lost this time, so that it stays.
    member.server.broker.reload(&options("Z"));
    peer.expect_nothing_more();
}

/// §6.3: the connections of an account are those that are in it, open or closed; who was not let in is in none.
#[test]
fn an_account_shows_its_own_connections_and_no_others() {
    let server = Server::with(two_accounts);
    let [a, _b] = ["a", "b"].map(|name| server.user(name));
    let mut gone = server.user("a2");
    gone.stop_sending();
    gone.expect_gone();
    let _waiting = server.connect();
    server
        .connect()
        .expect_refusal("CONNECT {\"user\":\"a\",\"pass\":\"wrong\"}\r\n");
    let shown = |account: Option<&str>, state: ConnectionState| {
        let filter = ConnectionFilter {
            account: account.map(str::to_owned),
            state,
            ..ConnectionFilter::default()
        };
        let shown = server.broker.connections(&filter);
        let users = shown.into_iter().map(|one| (one.id, one.account));
        users.collect::<Vec<_>>()
    };
    server.wait_until("both ends are remembered", |_| {
        shown(None, ConnectionState::Closed).len() == 2
    });
    let in_a = Some("A".to_owned());
    assert_eq!(shown(Some("A"), ConnectionState::Open), [(a.id(), in_a.clone())]);
    assert_eq!(shown(Some("A"), ConnectionState::Closed), [(gone.id(), in_a.clone())]);
    assert_eq!(
        shown(Some("A"), ConnectionState::All),
        [(a.id(), in_a.clone()), (gone.id(), in_a)]
    );
    assert_eq!(shown(Some("$G"), ConnectionState::All), []);
    assert_eq!(shown(Some("none"), ConnectionState::All), []);
    let all = shown(None, ConnectionState::All);
    let accounts: Vec<Option<&str>> = all.iter().map(|(_, account)| account.as_deref()).collect();
    assert_eq!(accounts, [Some("A"), Some("B"), Some("A"), None, None]);
}

/// Pages of a long list are walked through whole, with some leaving and coming meanwhile.
#[test]
fn many_connections_are_all_found() {
    let server = Server::with(|options| {
        two_accounts(options);
        options.max_closed_clients = 700;
    });
    let clients: Vec<Client> = (0..600).map(|_| server.user("a")).collect();
    let mut ids: Vec<u64> = clients.iter().map(Client::id).collect();
    let shown = |account: Option<&str>, state| {
        let filter = ConnectionFilter {
            account: account.map(str::to_owned),
            state,
            ..ConnectionFilter::default()
        };
        let all = server.broker.connections(&filter).into_iter();
        all.map(|one| one.id).collect::<Vec<_>>()
    };
    ids.sort_unstable();
    assert_eq!(shown(Some("A"), ConnectionState::Open), ids);
    assert_eq!(shown(None, ConnectionState::Open), ids);
    let b: Vec<Client> = (0..200).map(|_| server.user("b")).collect();
    drop(clients);
    server.wait_until("they are gone", |broker| broker.snapshot().connections == b.len());
    server.wait_until("all are remembered", |_| shown(None, ConnectionState::Closed) == ids);
    drop(b);
    server.wait_until("the first are forgotten", |_| {
        shown(Some("B"), ConnectionState::Closed).len() == 200
    });
    assert_eq!(shown(None, ConnectionState::All).len(), 700);
    assert_eq!(shown(Some("A"), ConnectionState::All).len(), 500);
}

#[test]
fn slow_consumers_are_counted_where_they_were() {
    let server = Server::with(|options| {
        two_accounts(options);
        options.max_pending = 2 * 1024 * 1024;
    });
    let mut slow = server.user("a");
    slow.flush("SUB flood 1\r\n");
    let mut publisher = server.user("a2");
    let slow_in = |name: &str| server.broker.account(name).unwrap().slow_consumers;
    crate::pressure::publish_until(&mut publisher, || slow_in("A") > 0);
    assert_eq!((slow_in("A"), slow_in("B")), (1, 0));
    assert!(server.broker.account("none").is_none());
}

/// §1.13: an INFO at any later moment says what this client may send, as the first one behind its CONNECT does.
#[test]
fn no_later_info_takes_back_the_payload_of_the_account() {
    let server = Server::with(|options| {
        two_accounts(options);
        options.accounts[0].max_payload = Some(1000);
    });
    let mut a = server.client(r#"{"verbose":false,"protocol":1,"user":"a","pass":"a"}"#);
    let info = |client: &mut Client| -> serde_json::Value {
        let line = client.line();
        serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap()
    };
    assert_eq!(info(&mut a)["max_payload"], 1000);
    let broker = server.broker.clone();
    let patience = Duration::from_millis(200);
    server
        .runtime
        .spawn(async move { broker.lame_duck(patience, patience).await });
    let later = info(&mut a);
    assert_eq!((&later["ldm"], &later["max_payload"]), (&true.into(), &1000.into()));
}

#[test]
fn accounts_span_a_mesh() {
    let first = Member::with(|_| {}, two_accounts);
    let route = to(&first);
    let second = Member::with(|cluster| cluster.routes = vec![route], two_accounts);
    wait_for_mesh(&[&first, &second]);
    let [mut a, mut b] = ["a", "b"].map(|name| first.server.user(name));
    a.flush("SUB foo 1\r\n");
    b.flush("SUB foo 1\r\nSUB done 2\r\n");
    let mut there: Client = second.server.user("b");
    until_heard(&mut there, &mut b);
    second.server.user("a").flush("PUB foo 1\r\na\r\n");
    there.flush("PUB foo 1\r\nb\r\n");
    b.expect("MSG foo 1 1\r\nb\r\n");
    a.expect("MSG foo 1 1\r\na\r\n");
    a.expect_nothing_more();
    b.expect_nothing_more();
}

/// Publishes until it is heard over there: then everything is known that was wanted before.
fn until_heard(here: &mut Client, there: &mut Client) {
    here.flush("SUB in 7\r\n");
    loop {
        here.send("PUB done in 0\r\n\r\nPING\r\n");
        // Either the answer that nobody is there comes first, or the PONG.
        if here.line() == "PONG" {
            break;
        }
        while here.line() != "PONG" {}
    }
    assert_eq!(there.message().0, "done");
}
