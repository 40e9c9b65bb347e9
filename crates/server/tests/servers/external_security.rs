//! Attached to a NATS server of somebody else (streaming-protocol.md §11): every form of credentials, and TLS. No secret is shown.

use std::process::Command;

use crate::credentials::{Certificates, operator_mode};
use crate::nats::{Nats, attached, connection, installed_or_skipped, ready, refusal};
use crate::support::Server;
use nkeys::KeyPair;

/// A server whose streaming part is configured so.
fn configured(nats: &Nats, streaming: &str, more: &[&str]) -> Command {
    let file = nats.path("streaming.conf");
    std::fs::write(&file, format!("streaming {{ {streaming} }}\n")).unwrap();
    let mut command = attached(&nats.url(), more);
    command.arg("-sc").arg(file);
    command
}

/// It is let in, and shows no secret.
fn let_in(mut command: Command, nats: &Nats, secrets: &[&str]) {
    let server = ready(&mut command, &nats.address());
    assert_eq!(connection(&server)["connected"], true);
    let shown = connection(&server).to_string();
    let (status, log) = server.signal_and_wait(rustix::process::Signal::TERM);
    assert_eq!(status.code(), Some(143));
    hidden(&log, secrets);
    hidden(&[shown], secrets);
}

/// It is not let in, for a reason that begins so, and shows no secret.
fn kept_out(command: Command, reason: &str, secrets: &[&str]) {
    let log = refusal(command);
    assert!(
        log.iter()
            .any(|line| line.contains("Failed to start") && line.contains(reason)),
        "{reason}: {log:#?}"
    );
    hidden(&log, secrets);
}

fn hidden(lines: &[String], secrets: &[&str]) {
    for secret in secrets {
        assert!(
            !lines.iter().any(|line| line.contains(secret)),
            "{secret} is shown: {lines:#?}"
        );
    }
}

/// §13.8 DontEmbedNATS*.
#[test]
fn user_and_password_in_the_url_in_the_file_and_by_flags() {
    let nats = Nats::configured("authorization { user: derek, password: porkchop }\n");
    let secrets = ["porkchop", "lambchop"];
    let at = |userinfo: &str| {
        attached(
            &format!("nats://{userinfo}@{}", nats.address()),
            &["-D", "-V", "-SD", "-SV"],
        )
    };
    let_in(at("derek:porkchop"), &nats, &secrets);
    let_in(at("derek:p%6Frkchop"), &nats, &secrets);
    let_in(
        configured(&nats, "username: derek, password: porkchop", &["-DV"]),
        &nats,
        &secrets,
    );
    let_in(
        attached(&nats.url(), &["-user", "derek", "-pass", "porkchop"]),
        &nats,
        &secrets,
    );
    kept_out(at("derek:lambchop"), "Authorization Violation", &secrets);
    kept_out(attached(&nats.url(), &[]), "Authorization Violation", &secrets);
    let wrong = configured(&nats, "username: derek, password: lambchop", &[]);
    kept_out(wrong, "Authorization Violation", &secrets);
}

#[test]
fn a_token_in_the_url_in_the_file_and_by_flag() {
    let nats = Nats::configured("authorization { token: s3cr3t }\n");
    let secrets = ["s3cr3t", "t0k3n"];
    let_in(
        attached(&format!("nats://s3cr3t@{}", nats.address()), &["-DV"]),
        &nats,
        &secrets,
    );
    let_in(configured(&nats, "token: s3cr3t", &[]), &nats, &secrets);
    let_in(attached(&nats.url(), &["-auth", "s3cr3t"]), &nats, &secrets);
    kept_out(
        configured(&nats, "token: t0k3n", &[]),
        "Authorization Violation",
        &secrets,
    );
}

#[test]
fn the_seed_of_a_key() {
    let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
    let nats = Nats::configured(&format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}\n",
        key.public_key()
    ));
    let seeds = [key.seed().unwrap(), other.seed().unwrap()];
    let secrets = [&seeds[0][..], &seeds[1][..]];
    let file = nats.path("seed.txt");
    let with = || {
        configured(
            &nats,
            &format!("nkey_seed_file: \"{}\"", file.display()),
            &["-DV", "-SDV"],
        )
    };
    std::fs::write(&file, &seeds[0]).unwrap();
    let_in(with(), &nats, &secrets);
    std::fs::write(&file, &seeds[1]).unwrap();
    kept_out(with(), "Authorization Violation", &secrets);
    std::fs::write(&file, "SUNOTASEED").unwrap();
    kept_out(with(), "the seed in", &["SUNOTASEED"]);
    std::fs::remove_file(&file).unwrap();
    kept_out(with(), "cannot read the nkey_seed_file", &secrets);
}

/// §13.8 DontEmbedNATS*.
#[test]
fn a_credentials_file() {
    if installed_or_skipped("a credentials file").is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (file, configuration) = operator_mode(directory.path());
    // Where it listens is said by flags.
    let configuration: Vec<&str> = configuration
        .lines()
        .filter(|line| !line.starts_with("listen"))
        .collect();
    let nats = Nats::configured(&(configuration.join("\n") + "\n"));
    let text = std::fs::read_to_string(&file).unwrap();
    let secrets: Vec<&str> = text.lines().filter(|line| line.len() > 50).collect();
    let with = configured(&nats, &format!("credentials: \"{}\"", file.display()), &["-DV", "-SDV"]);
    let_in(with, &nats, &secrets);
    kept_out(attached(&nats.url(), &[]), "Authorization Violation", &secrets);
    let none = configured(&nats, "credentials: \"/nowhere/user.creds\"", &[]);
    kept_out(
        none,
        "cannot read the credentials file /nowhere/user.creds: No such file",
        &[],
    );
}

/// §11, §13.8 DontEmbedNATS*: TLS by certificates, by the scheme, and because the server demands it.
#[test]
fn tls_with_and_without_a_certificate_of_its_own() {
    let certificates = Certificates::new();
    let path = |name: &str| certificates.path(name);
    let server_side = format!(
        "cert_file: \"{}\", key_file: \"{}\"",
        path("server.pem"),
        path("server-key.pem")
    );
    let nats = Nats::configured(&format!("tls {{ {server_side} }}\n"));
    let ca = format!("tls {{ client_ca: \"{}\" }}", path("ca.pem"));
    let_in(configured(&nats, &ca, &[]), &nats, &[]);
    let named = format!("tls {{ client_ca: \"{}\", server_name: localhost }}", path("ca.pem"));
    let_in(configured(&nats, &named, &[]), &nats, &[]);
    let_in(configured(&nats, "tls { insecure: true }", &[]), &nats, &[]);
    kept_out(
        attached(&nats.url(), &[]),
        "TLS handshake: invalid peer certificate",
        &[],
    );
    let wrong = format!(
        "tls {{ client_ca: \"{}\", server_name: \"elsewhere.org\" }}",
        path("ca.pem")
    );
    kept_out(
        configured(&nats, &wrong, &[]),
        "TLS handshake: invalid peer certificate",
        &[],
    );
    kept_out(
        configured(&nats, "tls { client_ca: \"/nowhere/ca.pem\" }", &[]),
        "client_ca /nowhere/ca.pem",
        &[],
    );

    let mutual = Nats::configured(&format!(
        "tls {{ {server_side}, ca_file: \"{}\", verify: true }}\n",
        path("ca.pem")
    ));
    let both = format!(
        "tls {{ client_ca: \"{}\", client_cert: \"{}\", client_key: \"{}\" }}",
        path("ca.pem"),
        path("client.pem"),
        path("client-key.pem")
    );
    let_in(configured(&mutual, &both, &[]), &mutual, &[]);
    let log = refusal(configured(&mutual, &ca, &[]));
    assert!(
        log.iter()
            .any(|line| line.contains("no servers available for connection")),
        "{log:#?}"
    );

    let plain = Nats::plain();
    for command in [
        attached(&plain.url(), &["-secure"]),
        attached(&format!("tls://{}", plain.address()), &[]),
        configured(&plain, &ca, &[]),
    ] {
        kept_out(command, "secure connection not available", &[]);
    }
}

/// A whole life over TLS.
#[test]
fn messages_go_through_tls() {
    let certificates = Certificates::new();
    let path = |name: &str| certificates.path(name);
    // Clients come without, as far as the server lets them.
    let nats = Nats::configured(&format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\nallow_non_tls: true\n",
        path("server.pem"),
        path("server-key.pem")
    ));
    let ca = format!("tls {{ client_ca: \"{}\" }}", path("ca.pem"));
    let server: Server = ready(&mut configured(&nats, &ca, &[]), &nats.address());
    let mut session = server.session("me");
    let large = vec![7; 500_000];
    let subscribed = session.subscribe(crate::support::requests::all("foo")).unwrap();
    for _ in 0..20 {
        session.publish("foo", &large).unwrap();
        let message = session.next_message(crate::support::PATIENCE).unwrap();
        assert_eq!(message.data, large);
        session.ack(&subscribed, message.sequence);
    }
    session.close().unwrap();
}
