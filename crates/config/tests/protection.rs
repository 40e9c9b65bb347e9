//! What is written to protect, and protects nothing, stops the start and names key and line: a secret that was not mounted, a
//! list without users, a misspelt block (core specification §3.1, §3.2, §3.7; `stores-and-clustering.md` §5.1).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use support::{Fake, complaint_about, options_of};

/// The five, each in the words of its place.
#[test]
fn what_protects_nothing_is_refused() {
    for (text, place, what) in [
        // stores-and-clustering.md §5.1.
        (
            "port: 1\nstreaming {\n  encryption_key: \"\"\n}",
            "f:3:3: ",
            "key encryption_key is empty",
        ),
        ("encryption_key: \"\"", "f:1:1: ", "key encryption_key is empty"),
        // Core specification §3.2.
        ("authorization { token: \"\" }", "f:1:17: ", "token is empty"),
        ("authorization {\n  users: []\n}", "f:2:3: ", "users is empty"),
        ("\nauthorization {}", "f:2:15: ", "authorization is empty"),
        (
            "authorisation { token: t }",
            "f:1:1: ",
            "unknown block \"authorisation\", which would protect nothing: did you mean \"authorization\"?",
        ),
        // Their brothers.
        ("authorization { user: \"\", password: p }", "f:1:17: ", "user is empty"),
        (
            "authorization { user: a, password: \"\" }",
            "f:1:26: ",
            "password is empty",
        ),
        (
            "authorization { users: [{ user: a, pass: \"\" }] }",
            "f:1:36: ",
            "pass is empty",
        ),
        ("authorization { users: [{ user: \"\" }] }", "f:1:27: ", "user is empty"),
        (
            "tls { cert_file: c, key_file: k, verify: true, ca_file: \"\" }",
            "f:1:48: ",
            "ca_file is empty",
        ),
        (
            "tls { cert_file: c, key_file: k, pinned_certs: [] }",
            "f:1:34: ",
            "pinned_certs is empty",
        ),
        (
            "streaming {\n authorization { token: t } }",
            "f:2:2: ",
            "authorization protects nothing inside of the streaming block",
        ),
    ] {
        let complaint = complaint_about(text);
        assert!(
            complaint.starts_with(place) && complaint.contains(what),
            "{text}: {complaint}"
        );
    }
}

/// A secret that comes from a variable which is there and empty.
#[test]
fn secrets_that_were_not_mounted_are_refused() {
    let mut fake = Fake::with_variables(&[("SECRET", "")]);
    for (text, expected) in [
        (
            "streaming { encryption_key: $SECRET }",
            "f:1:13: key encryption_key is empty",
        ),
        ("authorization { token: $SECRET }", "f:1:17: token is empty"),
        (
            "authorization { user: a, password: $SECRET }",
            "f:1:26: password is empty",
        ),
    ] {
        fake.files.insert("f", text.to_owned());
        let complaint = fake.complaint("-c f");
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
    fake.files.insert("f", "encryption_key: $SECRET".to_owned());
    // A flag with a key is stronger than the file.
    let encryption = fake.options("-c f -encryption_key k").streaming.encryption;
    assert_eq!(encryption.unwrap().key.expose(), "k");
}

/// Flags with an empty value, as a shell makes them of a variable that is not set.
#[test]
fn empty_flags_that_protect_are_refused() {
    let fake = Fake::default();
    for (flags, expected) in [
        ("-auth=", "flag -auth is empty"),
        ("-user= -pass=p", "flag -user is empty"),
        ("-user=u -pass=", "flag -pass is empty"),
        ("-encryption_key=", "flag -encryption_key is empty"),
        ("-tlscert= -tlskey=", "TLS Server certificate must be present and valid"),
        (
            "-tlscert=c -tlskey=",
            "TLS Server private key must be present and valid",
        ),
        ("-tlscert=c -tlskey=k -tlscacert=", "-tlscacert is empty"),
    ] {
        let complaint = fake.complaint(flags);
        assert!(complaint.contains(expected), "{flags}: {complaint}");
    }
}

/// A block whose name is within two letters of one that protects.
#[test]
fn blocks_that_are_nearly_known_are_refused() {
    for (name, meant) in [
        ("authorizaton", "\"authorization\""),
        ("Authorisation", "\"authorization\""),
        ("authorizations", "\"authorization\""),
        ("authorizatoin", "\"authorization\""),
        ("tsl", "\"tls\""),
        ("tls1", "\"tls\""),
        ("mtls", "\"tls\""),
        ("account", "\"accounts\""),
        ("acounts", "\"accounts\""),
        ("encryption", "encryption_key"),
        ("encription", "encryption_key"),
    ] {
        for text in [
            format!("{name} {{ a: 1 }}"),
            format!("streaming {{ {name} {{ a: 1 }} }}"),
        ] {
            let complaint = complaint_about(&text);
            assert!(
                complaint.contains("which would protect nothing") && complaint.contains(meant),
                "{text}: {complaint}"
            );
        }
    }
    assert!(complaint_about("acounts: [A]").contains("did you mean \"accounts\"?"));
    // What is not a block, what is far enough away, and what the file itself uses.
    for text in [
        "authorisation: 1",
        "author { a: 1 }",
        "tags: [a]",
        "metadata { a: 1 }",
        "tsl: [{user: a}]\nauthorization { users: $tsl }",
    ] {
        options_of(text);
    }
}

/// What protects inside of a block protects nothing at the top of a file, with or without a `streaming` block.
#[test]
fn logins_outside_of_their_block_are_refused() {
    for (key, block) in [
        ("token: s3cret", "authorization"),
        ("user: a, password: b", "authorization"),
        ("Pass: b", "authorization"),
        ("users: [{ user: a, password: b }]", "authorization"),
        ("permissions { publish: a }", "authorization"),
        ("auth: x", "authorization"),
        ("ssl {}", "tls"),
    ] {
        for text in [format!("{key}\n"), format!("{key}\nstreaming {{ store: memory }}")] {
            let complaint = complaint_about(&text);
            let expected = format!("protects nothing here: put it into {block}");
            assert!(complaint.contains(&expected), "{text}: {complaint}");
        }
    }
    // A variable, and the engine's own login beside the users that there are.
    for text in [
        "token: s3cret\nauthorization { token: $token }",
        "user: a, password: b\nauthorization { user: a, password: b }",
        "authorization { token: t }\nstreaming { token: t }",
    ] {
        options_of(text);
    }
}

/// A misspelt key that would have turned encryption on.
#[test]
fn keys_that_are_nearly_those_of_encryption_are_refused() {
    for (key, meant) in [
        ("encription_key: \"k\"", "encryption_key"),
        ("encryptionkey: \"k\"", "encryption_key"),
        ("encrypted: true", "encrypt"),
    ] {
        for text in [key.to_owned(), format!("streaming {{ {key} }}")] {
            let complaint = complaint_about(&text);
            assert!(
                complaint.contains("which would protect nothing") && complaint.contains(meant),
                "{text}: {complaint}"
            );
        }
    }
}

/// So many unknown blocks are no configuration: each could be a misspelt one, and comparing them is work.
#[test]
fn very_many_unknown_blocks_are_refused() {
    let blocks: String = (0..1_001)
        .map(|number| format!("authxrixation{number} {{}}\n"))
        .collect();
    let complaint = complaint_about(&blocks);
    assert!(
        complaint.contains("f:1001:1: more than 1000 unknown blocks"),
        "{complaint}"
    );
}

/// What protects less than it seems is said.
#[test]
fn users_without_a_password_are_named() {
    let notices = |text: &str, line: &str| {
        let text = format!("streaming {{}}\n{text}");
        Fake::with_files(&[("f", text.as_str())]).options(line).notices
    };
    let expected =
        |user: &str| format!("authorization: user {user:?} has no password: whoever gives this name is let in");
    assert_eq!(notices("authorization { user: a }", "-c f"), [expected("a")]);
    assert_eq!(notices("", "-c f -user b"), [expected("b")]);
    assert_eq!(
        notices(
            "authorization { users: [{user: c}, {user: d, password: x}, {user: e}] }",
            "-c f"
        ),
        [expected("c"), expected("e")]
    );
    assert!(notices("authorization { user: a }", "-c f -pass x").is_empty());
}

/// An empty text means the default, and that is said.
#[test]
fn an_empty_cluster_id_is_said_to_be_the_default() {
    let options = Fake::with_files(&[("f", "streaming {\n cluster_id: \"\"\n}")]).options("-c f");
    assert_eq!(options.streaming.cluster_id, "test-cluster");
    assert_eq!(
        options.notices,
        ["Key cluster_id (f:2:2) is empty, which means the default, test-cluster"]
    );
}
