//! §9.7: who is let in.

use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use seaway_broker::{CloseReason, ConnectionFilter, ConnectionState, Login, Secret, User};

use crate::support::{Server, user};

/// bcrypt of `s3cret` at the lowest cost.
fn hashed() -> String {
    bcrypt::hash("s3cret", 4).unwrap()
}

fn last_reason(server: &Server) -> CloseReason {
    let closed = server.broker.connections(&ConnectionFilter {
        state: ConnectionState::Closed,
        ..ConnectionFilter::default()
    });
    closed.last().unwrap().ended.unwrap().1
}

#[test]
fn line_83_token() {
    let server = Server::guarded(|it| it.token = Some(Secret::new("t0ken")));
    for json in [
        "{}",
        r#"{"auth_token":"wrong"}"#,
        r#"{"user":"t0ken"}"#,
        r#"{"pass":"t0ken"}"#,
    ] {
        let mut client = server.connect();
        assert_eq!(client.info["auth_required"], true);
        client.expect_refusal(&format!("CONNECT {json}\r\n"));
    }
    server.wait_until("all refused are gone", |broker| broker.snapshot().connections == 0);
    assert_eq!(last_reason(&server), CloseReason::AuthenticationFailure);
    let mut client = server.connect();
    assert!(client.info.get("nonce").is_none());
    client.login(r#"{"verbose":false,"auth_token":"t0ken"}"#);
    client.flush("SUB foo 1\r\n");
    // Monitoring shows no part of the token.
    let open = server.broker.connections(&ConnectionFilter::default());
    assert_eq!(open[0].authorized_user.as_deref(), Some("[REDACTED]"));
    assert!(server.broker.snapshot().auth_required);
    assert!(!format!("{:?} {open:?}", server.broker.options()).contains("t0ken"));
}

#[test]
fn line_84_user_and_password() {
    let server = Server::guarded(|it| it.single = Some(("derek".into(), Secret::new("porkchop"))));
    for json in [
        "{}",
        r#"{"user":"derek","pass":"pork"}"#,
        r#"{"user":"other","pass":"porkchop"}"#,
        r#"{"user":"derek"}"#,
        r#"{"auth_token":"porkchop"}"#,
    ] {
        server.connect().expect_refusal(&format!("CONNECT {json}\r\n"));
    }
    server
        .connect()
        .login(r#"{"verbose":false,"user":"derek","pass":"porkchop"}"#);
    let mut verbose = server.connect();
    verbose.send("CONNECT {\"user\":\"derek\",\"pass\":\"porkchop\"}\r\nPING\r\n");
    verbose.expect("+OK\r\nPONG\r\n");
}

#[test]
fn line_84_several_users() {
    let server = Server::guarded(|it| it.users = vec![user("a", "pa"), user("b", "pb"), user("none", "")]);
    let mut kept = Vec::new();
    for (name, json) in [
        ("a", r#"{"verbose":false,"user":"a","pass":"pa"}"#),
        ("b", r#"{"verbose":false,"user":"b","pass":"pb"}"#),
        ("none", r#"{"verbose":false,"user":"none"}"#),
    ] {
        let mut client = server.connect();
        client.login(json);
        let filter = ConnectionFilter {
            connection_id: Some(client.id()),
            ..ConnectionFilter::default()
        };
        assert_eq!(
            server.broker.connections(&filter)[0].authorized_user.as_deref(),
            Some(name)
        );
        kept.push(client);
    }
    server
        .connect()
        .expect_refusal("CONNECT {\"user\":\"a\",\"pass\":\"pb\"}\r\n");
    server
        .connect()
        .expect_refusal("CONNECT {\"user\":\"c\",\"pass\":\"\"}\r\n");
}

#[test]
fn line_85_bcrypt() {
    let hash = hashed();
    let token = Server::guarded(|it| it.token = Some(Secret::new(hash.clone())));
    let password = Server::guarded(|it| it.users = vec![user("a", &hash)]);
    let token_json = |token: &str| format!(r#"{{"verbose":false,"auth_token":"{token}"}}"#);
    let password_json = |password: &str| format!(r#"{{"verbose":false,"user":"a","pass":"{password}"}}"#);
    for _ in 0..2 {
        token.connect().login(&token_json("s3cret"));
        password.connect().login(&password_json("s3cret"));
        for wrong in ["", "s3cre", &hash] {
            token
                .connect()
                .expect_refusal(&format!("CONNECT {}\r\n", token_json(wrong)));
            password
                .connect()
                .expect_refusal(&format!("CONNECT {}\r\n", password_json(wrong)));
        }
    }
}

#[test]
fn line_85_what_follows_a_slow_password_waits_and_is_not_lost() {
    let server = Server::guarded(|it| it.users = vec![user("a", &hashed())]);
    let mut client = server.connect();
    let mut all = String::from("CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"s3cret\"}\r\nSUB foo 1\r\n");
    for number in 0..200 {
        all.push_str(&format!("PUB foo 3\r\n{number:03}\r\n"));
    }
    // The rest of a message arrives after the password has been compared.
    client.send(format!("{all}PUB foo 5\r\nhel"));
    for number in 0..200 {
        client.expect(format!("MSG foo 1 3\r\n{number:03}\r\n"));
    }
    client.send("lo\r\n");
    client.expect("MSG foo 1 5\r\nhello\r\n");
    // A second CONNECT in the middle of a batch is compared as well.
    client.send(
        "PUB foo 1\r\nx\r\nCONNECT {\"user\":\"a\",\"pass\":\"s3cret\"}\r\nCONNECT {\"user\":\"a\",\"pass\":\"no\"}\r\nPING\r\n",
    );
    client.expect("MSG foo 1 1\r\nx\r\n+OK\r\n-ERR 'Authorization Violation'\r\n");
    client.expect_closed();
}

#[test]
fn line_85_slow_passwords_delay_nobody_else() {
    // Cost 11 is what `nats server passwd` generates.
    let hash = bcrypt::hash("s3cret", 11).unwrap();
    let server = Server::guarded(|it| {
        it.users = vec![user("slow", &hash), user("quick", "q")];
        // However slow the machine: what is asked here is who waits for whom.
        it.timeout = Some(Duration::from_secs(60));
    });
    let mut guessing: Vec<_> = (0..16)
        .map(|number| {
            let mut client = server.connect();
            client.send(format!("CONNECT {{\"user\":\"slow\",\"pass\":\"guess{number}\"}}\r\n"));
            client
        })
        .collect();
    let mut quick = server.connect();
    quick.login(r#"{"verbose":false,"user":"quick","pass":"q"}"#);
    quick.flush("SUB foo 1\r\n");
    // Sixteen comparisons at this cost take longer than logging in: the guesses are still open.
    let open = server.broker.snapshot().connections;
    assert!(open > 8, "{open}");
    // A client that leaves while it waits leaves nothing behind.
    drop(guessing.split_off(2));
    for client in &mut guessing {
        // On a busy machine it is asked meanwhile whether it is still there.
        let mut line = client.line();
        while line == "PING" {
            line = client.line();
        }
        assert_eq!(line, "-ERR 'Authorization Violation'");
        client.expect_closed();
    }
    server.wait_until("all are gone", |broker| broker.snapshot().connections == 1);
}

/// §3.8: the time for authentication runs while a password is compared, and a hash that takes long keeps only its own user
/// waiting.
#[test]
fn line_85_a_slow_hash_holds_up_its_own_user_only() {
    let (slow, quick) = (bcrypt::hash("s3cret", 14).unwrap(), hashed());
    let server = Server::guarded(|it| {
        it.users = vec![user("slow", &slow), user("quick", &quick)];
        it.timeout = Some(Duration::from_millis(200));
    });
    let mut waiting: Vec<_> = (0..6)
        .map(|number| {
            let mut client = server.connect();
            client.send(format!("CONNECT {{\"user\":\"slow\",\"pass\":\"guess{number}\"}}\r\n"));
            client
        })
        .collect();
    server
        .connect()
        .login(r#"{"verbose":false,"user":"quick","pass":"s3cret"}"#);
    for client in &mut waiting {
        client.expect("-ERR 'Authentication Timeout'\r\n");
        client.expect_closed();
    }
}

#[test]
fn line_86_anything_before_connect_is_refused() {
    let server = Server::guarded(|it| it.token = Some(Secret::new("t")));
    for first in [
        "PING\r\n",
        "PUB foo 2\r\nok\r\n",
        "SUB foo 1\r\n",
        "+OK\r\n",
        "INFO {}\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        // One byte is enough to know.
        "P",
    ] {
        server.connect().expect_refusal(first);
    }
    let mut client = server.connect();
    for byte in b"connect {\"verbose\":false,\"auth_token\":\"t\"}\r\n" {
        client.send([*byte]);
    }
    client.expect_nothing_more();
}

#[test]
fn line_87_authentication_timeout() {
    let server = Server::guarded(|it| {
        it.token = Some(Secret::new("t"));
        it.timeout = Some(Duration::from_millis(100));
    });
    let begun = Instant::now();
    let mut silent = server.connect();
    let mut half = server.connect();
    half.send("CONN");
    let mut known = server.connect();
    known.login(r#"{"verbose":false,"auth_token":"t"}"#);
    for client in [&mut silent, &mut half] {
        client.expect("-ERR 'Authentication Timeout'\r\n");
        client.expect_closed();
    }
    assert!(begun.elapsed() >= Duration::from_millis(100));
    known.expect_nothing_more();
    server.wait_until("both are gone", |broker| broker.snapshot().connections == 1);
    assert_eq!(last_reason(&server), CloseReason::AuthenticationTimeout);
}

#[test]
fn line_88_no_auth_user() {
    let server = Server::guarded(|it| {
        it.users = vec![user("a", "pa"), user("guest", "pg")];
        it.users[1].permissions = Some(seaway_broker::Permissions {
            publish: seaway_broker::SubjectRules {
                allow: vec!["open".into()],
                deny: Vec::new(),
            },
            ..Default::default()
        });
        it.no_auth_user = Some("guest".into());
        it.timeout = Some(Duration::from_millis(1));
    });
    let mut guest = server.connect();
    assert!(guest.info.get("auth_required").is_none());
    guest.login(r#"{"verbose":false}"#);
    guest.send("PUB other 2\r\nok\r\n");
    guest.expect("-ERR 'Permissions Violation for Publish to \"other\"'\r\n");
    guest.flush("PUB open 2\r\nok\r\n");
    // Without CONNECT the same holds, verbose as before CONNECT.
    let mut bare = server.connect();
    bare.send("PUB open 2\r\nok\r\nPUB other 2\r\nok\r\n");
    bare.expect("+OK\r\n-ERR 'Permissions Violation for Publish to \"other\"'\r\n");
    // Credentials count when they are given.
    let mut known = server.connect();
    known.login(r#"{"verbose":false,"user":"a","pass":"pa"}"#);
    known.flush("PUB other 2\r\nok\r\n");
    server
        .connect()
        .expect_refusal("CONNECT {\"user\":\"a\",\"pass\":\"pb\"}\r\n");
}

/// Base64 of the signature, in the alphabet of URLs.
fn base64_url(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let mut word = [0; 3];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
            (0..=chunk.len()).map(move |digit| char::from(digits[(word >> (18 - 6 * digit)) as usize & 63]))
        })
        .collect()
}

/// Text form of a public user key, built here from §3.4.
fn public_text(key: &[u8]) -> String {
    let mut raw = vec![20 << 3];
    raw.extend_from_slice(key);
    let crc = raw.iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    });
    raw.extend_from_slice(&crc.to_le_bytes());
    let bit = |index: usize| raw[index / 8] >> (7 - index % 8) & 1;
    (0..56)
        .map(|digit| (0..5).fold(0, |value, offset| value << 1 | bit(digit * 5 + offset)))
        .map(|value: u8| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(value)]))
        .collect()
}

#[test]
fn line_89_nkey() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let stranger = Ed25519KeyPair::generate().unwrap();
    let text = public_text(pair.public_key().as_ref());
    let nkey_user = User {
        login: Login::Nkey(text.clone()),
        account: None,
        permissions: None,
        standard_connections: true,
    };
    let server = Server::guarded(|it| it.users = vec![nkey_user, user("a", "pa")]);
    let json = |key: &str, signature: &str| format!(r#"{{"verbose":false,"nkey":"{key}","sig":"{signature}"}}"#);
    let sign = |pair: &Ed25519KeyPair, nonce: &serde_json::Value| {
        base64_url(pair.sign(nonce.as_str().unwrap().as_bytes()).as_ref())
    };

    let mut client = server.connect();
    assert_eq!(client.info["nonce"].as_str().unwrap().len(), 15);
    let old = sign(&pair, &client.info["nonce"]);
    client.login(&json(&text, &old));
    let filter = ConnectionFilter {
        connection_id: Some(client.id()),
        ..ConnectionFilter::default()
    };
    let shown = &server.broker.connections(&filter)[0].authorized_user;
    assert_eq!(shown.as_deref(), Some(text.as_str()));
    // The INFO after the first PING does not repeat the nonce.
    client.send("CONNECT {\"verbose\":false,\"protocol\":1,\"user\":\"a\",\"pass\":\"pa\"}\r\nPING\r\n");
    client.expect("PONG\r\n");
    assert!(!client.line().contains("nonce"));

    let mut client = server.connect();
    let wrong = sign(&stranger, &client.info["nonce"]);
    client.expect_refusal(&format!("CONNECT {}\r\n", json(&text, &wrong)));
    // A signature is good for one connection only.
    server
        .connect()
        .expect_refusal(&format!("CONNECT {}\r\n", json(&text, &old)));
    let mut client = server.connect();
    let signature = sign(&stranger, &client.info["nonce"]);
    let unknown = public_text(stranger.public_key().as_ref());
    client.expect_refusal(&format!("CONNECT {}\r\n", json(&unknown, &signature)));
    // Passwords go on working beside keys.
    server.connect().login(r#"{"verbose":false,"user":"a","pass":"pa"}"#);
}

#[test]
fn line_99_kinds_of_connections() {
    let server = Server::guarded(|it| {
        it.users = vec![user("web", "pw"), user("a", "pa")];
        it.users[0].standard_connections = false;
    });
    server
        .connect()
        .expect_refusal("CONNECT {\"user\":\"web\",\"pass\":\"pw\"}\r\n");
    server.connect().login(r#"{"verbose":false,"user":"a","pass":"pa"}"#);
}

#[test]
fn section_1_6_credentials_are_ignored_where_nobody_asks() {
    let server = Server::start();
    server
        .connect()
        .login(r#"{"verbose":false,"user":"a","pass":"pa","auth_token":"t","nkey":"U","sig":"x"}"#);
}

#[test]
fn section_1_5_a_repeated_connect_authenticates_again() {
    let server = Server::guarded(|it| it.users = vec![user("a", "pa"), user("b", "pb")]);
    let mut client = server.connect();
    client.login(r#"{"verbose":false,"user":"a","pass":"pa"}"#);
    client.flush("SUB foo 1\r\n");
    client.login(r#"{"verbose":false,"user":"b","pass":"pb"}"#);
    client.flush("PUB foo 2\r\nok\r\n");
    client.expect_refusal("CONNECT {\"user\":\"b\",\"pass\":\"pa\"}\r\n");
}
