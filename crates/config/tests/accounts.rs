//! The `accounts` block (core specification §3.6).

mod support;

use seaway_config::{AccountLimits, Personality};
use support::{Fake, complaint_about, options_of};

#[test]
fn an_account_has_users_limits_and_permissions_of_its_own() {
    let options = options_of(
        r#"authorization { default_permissions: { publish: "x" } }
        accounts {
            A {
                users: [{ user: alice, password: p }, { user: root, password: r, permissions: { publish: "a" } }]
                default_permissions: { publish: "b" }
                limits { max_connections: 3, max_subs: 4, max_payload: 5, max_leafnodes: -1 }
            }
            "B": { users [{ user: bob, password: q }], limits { max_conn: -1 } }
            $SYS { users [{ user: admin, password: s }] }
        }
        no_auth_user: bob"#,
    );
    let [a, b, system] = options.broker.accounts.as_slice() else {
        panic!("{:?}", options.broker.accounts);
    };
    assert_eq!((&a.name[..], &b.name[..], &system.name[..]), ("A", "B", "$SYS"));
    let expected = AccountLimits {
        max_connections: Some(3),
        max_subscriptions: Some(4),
        max_payload: Some(5),
    };
    assert_eq!((a.limits, b.limits), (expected, AccountLimits::default()));
    let published = |user: &seaway_config::User| user.permissions.as_ref().map(|both| both.publish.allow.clone());
    assert_eq!(published(&a.users[0]), Some(vec!["b".to_owned()]));
    assert_eq!(published(&a.users[1]), Some(vec!["a".to_owned()]));
    assert_eq!(published(&b.users[0]), None);
    assert_eq!(options.broker.system_account, "$SYS");
}

#[test]
fn accounts_may_be_a_list_of_names_or_nothing() {
    let names = |text: &str| {
        let accounts = options_of(text).broker.accounts;
        accounts.into_iter().map(|account| account.name).collect::<Vec<_>>()
    };
    assert_eq!(names("accounts: [A, B]"), ["A", "B"]);
    assert_eq!(names("accounts {}"), [""; 0]);
    assert_eq!(names("accounts: []"), [""; 0]);
    let system = |text: &str| options_of(text).broker.system_account;
    assert_eq!(system("accounts: [OPS]\nsystem_account: OPS"), "OPS");
    assert_eq!(system("system: \"$SYS\""), "$SYS");
    assert!(options_of("no_system_account: true").broker.no_system_account);
}

#[test]
fn what_is_wrong_with_accounts_is_said_with_its_place() {
    for (text, expected) in [
        ("accounts { $G {} }", "f:1:12: \"$G\" is a Reserved Account"),
        ("accounts: [\"$G\"]", "\"$G\" is a Reserved Account"),
        ("accounts: [A, A]", "f:1:15: Duplicate Account Entry: \"A\""),
        (
            "accounts { \"A B\" {} }",
            "account name \"A B\" is empty or contains blanks",
        ),
        ("accounts: [\"\"]", "account name \"\" is empty or contains blanks"),
        ("accounts: 7", "expected accounts to be a map or a list, got int64"),
        ("accounts: [{ A: 1 }]", "expected to be string, got map"),
        ("accounts { A: x }", "expected account to be a map/struct, got string"),
        (
            "accounts { A { user: [] } }",
            "error parsing account config, unknown field \"user\", did you mean \"users\"?",
        ),
        ("accounts { A { users: [] } }", "users is empty"),
        ("accounts { A { limits { max_con: 1 } } }", "did you mean \"max_conn\"?"),
        (
            "accounts { A { exports: [{ stream: foo }] } }",
            "f:1:16: account exports: this build does not have exports between accounts yet",
        ),
        (
            "accounts { A { imports: [{ stream: { account: B, subject: foo } }] } }",
            "account imports: this build does not have imports between accounts yet",
        ),
        (
            "accounts { A { jetstream: enabled } }",
            "this build does not have JetStream yet",
        ),
        (
            "accounts { A { users: [{ user: a }, { user: a }] } }",
            "Duplicate user \"a\" detected",
        ),
        (
            "accounts { A { users: [{ user: a }] }, B { users: [{ user: a }] } }",
            "Duplicate user \"a\" detected, in accounts \"A\" and \"B\"",
        ),
        (
            "authorization { users: [{ user: a }] }\naccounts { A { users: [{ user: a }] } }",
            "Duplicate user \"a\" detected, in the authorization block and in an account",
        ),
        (
            "authorization { token: t }\naccounts { A { users: [{ user: a }] } }",
            "Can not have a token and accounts",
        ),
        (
            "authorization { user: u, password: p }\naccounts { A { users: [{ user: a }] } }",
            "Can not have the single user \"u\" and users of accounts (\"a\")",
        ),
        (
            "accounts: [A]\nno_auth_user: a",
            "no_auth_user: \"a\" not present as user or nkey",
        ),
        (
            "system_account: OPS",
            "system_account: \"OPS\" is not among the accounts",
        ),
        ("system_account: \"$G\"", "\"$G\" is the account of all other clients"),
    ] {
        let complaint = complaint_about(text);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
}

/// Beside users of accounts the flags are what the streaming server presents, as beside a list of users (streaming specification §7.5).
#[test]
fn flags_beside_accounts_open_nothing() {
    let fake = Fake::with_files(&[("f", "accounts { A { users: [{ user: a, password: p }] } }")]);
    let options = match fake.parse(Personality::NatsStreamingServer, "-c f -user a -pass p") {
        seaway_config::Action::Run(options) => options,
        action => panic!("{action:?}"),
    };
    assert!(options.broker.authorization.single.is_none());
    assert_eq!(options.streaming.own_credentials.user.as_deref(), Some("a"));
}
