//! Credentials for tests: those of an operator's accounts, and certificates; included by the tests that need them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "for tests, each of which uses its part"
)]

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa};

/// A file of the form that the field's tools write, for a user of an account of an operator; the server's configuration.
pub fn operator_mode(directory: &Path) -> (PathBuf, String) {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let token = |issuer: &KeyPair, subject: &KeyPair, claims: &str| {
        let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        let (issuer_key, subject_key) = (issuer.public_key(), subject.public_key());
        let claims = format!(
            r#"{{"jti":"{subject_key}","iat":1700000000,"iss":"{issuer_key}","name":"test","sub":"{subject_key}","nats":{claims}}}"#
        );
        let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(claims.as_bytes()));
        let signature = BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{signature}")
    };
    let limits = r#""subs":-1,"data":-1,"payload":-1"#;
    let operator_token = token(&operator, &operator, r#"{"type":"operator","version":2}"#);
    let account_token = token(
        &operator,
        &account,
        &format!(
            r#"{{"limits":{{{limits},"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1}},"type":"account","version":2}}"#
        ),
    );
    let user_token = token(
        &account,
        &user,
        &format!(r#"{{"pub":{{}},"sub":{{}},{limits},"type":"user","version":2}}"#),
    );
    let file = directory.join("user.creds");
    let seed = user.seed().unwrap();
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{user_token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    fs::write(&file, text).unwrap();
    let configuration = format!(
        "listen: \"127.0.0.1:-1\"\noperator: {operator_token}\nresolver: MEMORY\nresolver_preload: {{ {}: {account_token} }}\n",
        account.public_key()
    );
    (file, configuration)
}

/// An authority, and certificates by it for a server and a client on this machine.
pub struct Certificates(tempfile::TempDir);

impl Certificates {
    pub fn new() -> Certificates {
        let directory = tempfile::tempdir().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: String| fs::write(directory.path().join(name), text).unwrap();
        write("ca.pem", authority.pem());
        for (name, purpose) in [
            ("server", ExtendedKeyUsagePurpose::ServerAuth),
            ("client", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let mut parameters = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
            parameters.distinguished_name.push(DnType::CommonName, name);
            parameters.extended_key_usages.push(purpose);
            let key = rcgen::KeyPair::generate().unwrap();
            write(
                &format!("{name}.pem"),
                parameters.signed_by(&key, &authority).unwrap().pem(),
            );
            write(&format!("{name}-key.pem"), key.serialize_pem());
        }
        Certificates(directory)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}
