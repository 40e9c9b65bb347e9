//! Decisions of §3.1 and what a reload makes of them.

use super::*;

fn user(name: &str, password: &str) -> User {
    User {
        login: Login::Password {
            name: name.into(),
            password: Secret::new(password),
        },
        account: None,
        permissions: None,
        standard_connections: true,
    }
}

fn access(change: impl FnOnce(&mut Authorization)) -> Access {
    let mut authorization = Authorization::default();
    change(&mut authorization);
    Access::new(&authorization).unwrap()
}

fn connect(json: &str) -> ConnectOptions {
    ConnectOptions::parse(json.as_bytes()).unwrap()
}

/// The name granted, `"-"` for nobody in particular, `"?"` for a slow question, `"!"` for a refusal.
fn outcome(access: &Access, json: &str) -> String {
    match access.decide(&connect(json), "", None) {
        Decision::Granted(None) => "-".into(),
        Decision::Granted(Some(grant)) => grant.shown().to_owned(),
        Decision::Verify { .. } => "?".into(),
        Decision::Refused => "!".into(),
    }
}

#[test]
fn decisions_of_section_3_1() {
    let open = access(|_| {});
    assert_eq!(outcome(&open, r#"{"user":"a","pass":"b"}"#), "-");
    assert!(!open.is_required());

    let single = access(|it| it.single = Some(("a".into(), Secret::new("pa"))));
    let table = [
        (r#"{"user":"a","pass":"pa"}"#, "a"),
        (r#"{"user":"a","pass":"pb"}"#, "!"),
        (r#"{"user":"b","pass":"pa"}"#, "!"),
        (r#"{"user":"a"}"#, "!"),
        ("{}", "!"),
        (r#"{"auth_token":"pa"}"#, "!"),
    ];
    for (json, expected) in table {
        assert_eq!(outcome(&single, json), expected, "{json}");
    }

    let token = access(|it| it.token = Some(Secret::new("t")));
    for (json, expected) in [
        (r#"{"auth_token":"t"}"#, "[REDACTED]"),
        (r#"{"auth_token":"u"}"#, "!"),
        ("{}", "!"),
        (r#"{"pass":"t"}"#, "!"),
    ] {
        assert_eq!(outcome(&token, json), expected, "{json}");
    }

    let users = access(|it| {
        it.users = vec![
            user("a", "pa"),
            user("b", "$2a$04$x"),
            user("empty", ""),
            user("mqtt", "pm"),
        ];
        it.users[3].standard_connections = false;
    });
    for (json, expected) in [
        (r#"{"user":"a","pass":"pa"}"#, "a"),
        (r#"{"user":"b","pass":"x"}"#, "?"),
        (r#"{"user":"empty"}"#, "empty"),
        (r#"{"user":"empty","pass":"x"}"#, "!"),
        (r#"{"user":"mqtt","pass":"pm"}"#, "!"),
        (r#"{"user":"nobody"}"#, "!"),
        ("{}", "!"),
    ] {
        assert_eq!(outcome(&users, json), expected, "{json}");
    }
    assert!(users.is_required() && !users.wants_nonce());
}

#[test]
fn no_auth_user_stands_for_clients_without_any_credentials() {
    let access = access(|it| {
        it.users = vec![user("a", "pa"), user("guest", "pg")];
        it.no_auth_user = Some("guest".into());
    });
    assert!(!access.is_required() && access.is_configured());
    assert_eq!(outcome(&access, "{}"), "guest");
    assert_eq!(outcome(&access, r#"{"user":"a","pass":"pa"}"#), "a");
    assert_eq!(outcome(&access, r#"{"user":"a"}"#), "!");
    assert_eq!(outcome(&access, r#"{"pass":"x"}"#), "!");
    assert_eq!(outcome(&access, r#"{"auth_token":"x"}"#), "!");
}

#[test]
fn contradictions_are_refused_in_the_words_of_section_3_2() {
    let refuse = |change: &dyn Fn(&mut Authorization)| {
        let mut authorization = Authorization::default();
        change(&mut authorization);
        Access::new(&authorization).unwrap_err().to_string()
    };
    let single = || Some(("a".to_owned(), Secret::new("b")));
    let token = || Some(Secret::new("t"));
    assert_eq!(
        refuse(&|it| (it.single, it.token) = (single(), token())),
        "Cannot have a user/pass and token"
    );
    assert_eq!(
        refuse(&|it| (it.single, it.users) = (single(), vec![user("a", "b")])),
        "Can not have a single user/pass and a users array"
    );
    assert_eq!(
        refuse(&|it| (it.token, it.users) = (token(), vec![user("a", "b")])),
        "Can not have a token and a users array"
    );
    assert_eq!(
        refuse(&|it| it.users = vec![user("a", "b"), user("a", "c")]),
        "Duplicate user \"a\" detected"
    );
    assert!(refuse(&|it| it.no_auth_user = Some("x".into())).starts_with("no_auth_user: \"x\" not present"));
    let slow = |cost: u32| Secret::new(format!("$2b${cost:02}$"));
    assert_eq!(
        refuse(&|it| it.single = Some(("a".into(), slow(31)))),
        "the bcrypt hash of user \"a\" has cost 31, which takes too long to compare with: at most 16"
    );
    assert!(refuse(&|it| it.token = Some(slow(17))).starts_with("the bcrypt hash of the token has cost 17"));
    access(|it| it.token = Some(slow(16)));
    let bad_key = |it: &mut Authorization| {
        it.users = vec![User {
            login: Login::Nkey("UX".into()),
            ..user("", "")
        }];
    };
    assert!(refuse(&bad_key).starts_with("Not a valid public nkey for a user"));
    let bad_rule = |it: &mut Authorization| {
        it.users = vec![user("a", "b")];
        it.default_permissions = Some(Permissions {
            publish: SubjectRules {
                allow: vec!["foo..bar".into()],
                deny: Vec::new(),
            },
            ..Permissions::default()
        });
    };
    assert_eq!(
        refuse(&bad_rule),
        "permissions of \"a\": subject \"foo..bar\" is not a valid subject"
    );
}

#[test]
fn warnings_of_the_start() {
    let plain = "Plaintext passwords detected, use nkeys or bcrypt";
    assert_eq!(access(|it| it.token = Some(Secret::new("t"))).warnings(), [plain]);
    assert!(
        access(|it| it.token = Some(Secret::new("$2a$11$x")))
            .warnings()
            .is_empty()
    );
    let unused = access(|it| it.default_permissions = Some(Permissions::default()));
    assert_eq!(unused.warnings().len(), 1);
}

#[test]
fn a_reload_keeps_who_is_still_the_same() {
    let grant_of = |access: &Access, json: &str| match access.decide(&connect(json), "", None) {
        Decision::Granted(Some(grant)) => grant,
        _ => panic!("not granted"),
    };
    let old = access(|it| it.users = vec![user("a", "pa"), user("b", "pb")]);
    let a = grant_of(&old, r#"{"user":"a","pass":"pa"}"#);
    let b = grant_of(&old, r#"{"user":"b","pass":"pb"}"#);
    let new = access(|it| it.users = vec![user("a", "changed"), user("b", "pb"), user("guest", "")]);
    assert!(new.renew(Some(&a)).is_none());
    assert!(
        new.renew(Some(&b))
            .is_some_and(|grant| grant.is_some_and(|grant| grant.shown() == "b"))
    );
    assert!(new.renew(None).is_none());
    // From a list of users to a single user with the same password, and to nobody asked.
    let single = access(|it| it.single = Some(("b".into(), Secret::new("pb"))));
    assert!(single.renew(Some(&b)).is_some() && single.renew(Some(&a)).is_none());
    assert_eq!(access(|_| {}).renew(Some(&a)), Some(None));
    let guests = access(|it| {
        it.users = vec![user("guest", "")];
        it.no_auth_user = Some("guest".into());
    });
    assert!(guests.renew(None).is_some_and(|grant| grant.is_some()));
    assert!(guests.renew(Some(&a)).is_none());
    let token = access(|it| it.token = Some(Secret::new("t")));
    let holder = grant_of(&token, r#"{"auth_token":"t"}"#);
    assert!(token.renew(Some(&holder)).is_some() && single.renew(Some(&holder)).is_none());
}

#[test]
fn certificates_name_users() {
    let access = access(|it| it.users = vec![user("a@x", "pa"), user("CN=b,O=c", "pb")]);
    let decide = |names: &[&str], json: &str| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        match access.decide(&connect(json), "", Some(&names)) {
            Decision::Granted(Some(grant)) => grant.shown().to_owned(),
            _ => "!".to_owned(),
        }
    };
    assert_eq!(decide(&["other", "a@x", "CN=b,O=c"], "{}"), "a@x");
    assert_eq!(decide(&["CN=b,O=c"], "{}"), "CN=b,O=c");
    // The certificate alone decides.
    assert_eq!(decide(&["other"], r#"{"user":"a@x","pass":"pa"}"#), "!");
    assert_eq!(decide(&[], "{}"), "!");
}
