//! The `accounts` block (core specification §3.6).

mod support;

use std::time::Duration;

use seaway_config::{AccountLimits, Import, ImportKind, Personality};
use seaway_nats_protocol::SubjectMapping;
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
fn imports_say_where_subjects_are_in_both_accounts() {
    let options = options_of(
        r#"accounts {
            A {
                imports: [
                    { stream: { account: B, subject: "foo.>" }, prefix: p }
                    { stream: { account: B, subject: "bar.*" }, to: "x.$1" }
                    { service: { account: B, subject: svc }, to: ask }
                    { service: { account: B, subject: many } }
                ]
            }
            B {
                exports: [
                    { stream: ">", accounts: [A] }
                    { service: svc }
                    { service: many, response_type: stream, threshold: "5s" }
                ]
            }
        }"#,
    );
    let [a, b] = options.broker.accounts.as_slice() else {
        panic!("{:?}", options.broker.accounts);
    };
    let import = |exported: &str, imported: &str, kind| Import {
        account: "B".into(),
        mapping: SubjectMapping::new(exported, imported).unwrap(),
        kind,
    };
    let service = |is_single, seconds| ImportKind::Service {
        is_single,
        threshold: Duration::from_secs(seconds),
    };
    let expected = [
        import("foo.>", "p.foo.>", ImportKind::Stream),
        import("bar.*", "x.$1", ImportKind::Stream),
        import("svc", "ask", service(true, 120)),
        import("many", "many", service(false, 5)),
    ];
    assert_eq!(a.imports, expected);
    assert_eq!(b.imports, []);
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
            "accounts { A { imports: [{ stream: { account: B, subject: foo } }] } }",
            "f:1:26: Error adding stream import \"foo\": there is no account \"B\" in the accounts block",
        ),
        (
            "accounts { A { imports: [{ service: { account: B, subject: foo } }] }, B { exports: [{ stream: foo }] } }",
            "Error adding service import \"foo\": service import not authorized: account \"B\" does not export it to \"A\"",
        ),
        (
            "accounts { A { imports: [{ stream: { account: B, subject: foo } }] }, B { exports: [{ stream: foo, accounts: [C] }] } }",
            "stream import not authorized",
        ),
        (
            "accounts { A { imports: [{ stream: { account: B, subject: \"foo.>\" } }] }, B { exports: [{ stream: \"foo.*\" }] } }",
            "stream import not authorized",
        ),
        (
            "accounts { A { imports: [{ service: { account: B, subject: \"$SEAWAY.api.x.read.>\" } }] }, B { exports: [{ service: \">\" }] } }",
            "it would reach $SEAWAY.>",
        ),
        (
            "accounts { A { imports: [{ service: { account: B, subject: \"*.discover.x\" } }] }, B { exports: [{ service: \">\" }] } }",
            "it would reach _STAN.>",
        ),
        (
            "accounts { A { imports: [{ service: { account: B, subject: \"find.here.*\" } }] }, B { exports: [{ service: \">\" }] } }\n\
             streaming { discover_prefix: \"find.here\" }",
            "it would reach find.here.>",
        ),
        (
            "accounts { A { imports: [{ stream: { account: A, subject: foo } }] } }",
            "it comes from account \"A\" itself",
        ),
        (
            "accounts { A { exports: [{ service: x }], imports: [{ service: { account: B, subject: x } }] }\n\
             B { exports: [{ service: x }], imports: [{ service: { account: A, subject: x } }] } }",
            "f:1:53: import of \"x\" from account \"B\": import forms a cycle",
        ),
        (
            "accounts { A { imports: [{ stream: { account: B, subject: \"foo.*\" }, to: bar }] }, B { exports: [{ stream: \">\" }] } }",
            "\"bar\" has to use every wildcard of \"foo.*\" once",
        ),
        (
            "accounts { A { exports: [{ stream: foo, service: foo }] } }",
            "an export is a stream or a service",
        ),
        (
            "accounts { A { exports: [{ service: foo, response: many }] } }",
            "is none of single, stream and chunk",
        ),
        (
            "accounts { A { exports: [{ stream: foo..bar }] } }",
            "subject \"foo..bar\" is not a valid subject",
        ),
        (
            "accounts { A { exports: [{ service: foo, latency: x }] } }",
            "does not have measuring of services yet",
        ),
        (
            "accounts { A { imports: [{ stream: { account: B } }] } }",
            "an import names an account and a subject",
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
            "streaming { accounts: [A] }",
            "accounts of the streaming block: \"A\" is not among the accounts",
        ),
        (
            "accounts: [A, B]\nstreaming { accounts: [A, B] }",
            "this build serves the clients of one account: name one",
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
