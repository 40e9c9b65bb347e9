//! What is read from files, and what their faults are called.

use std::fs;

use super::*;

struct Files {
    directory: PathBuf,
    options: TlsOptions,
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn files(name: &str) -> Files {
    let directory = std::env::temp_dir().join(format!("seaway-tls-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let options = TlsOptions {
        cert_file: directory.join("cert.pem"),
        key_file: directory.join("key.pem"),
        ..TlsOptions::default()
    };
    fs::write(&options.cert_file, made.cert.pem()).unwrap();
    fs::write(&options.key_file, made.signing_key.serialize_pem()).unwrap();
    Files { directory, options }
}

fn failure(options: &TlsOptions) -> String {
    Tls::load(options).unwrap_err().to_string()
}

#[test]
fn a_pair_is_loaded() {
    let files = files("pair");
    let tls = Tls::load(&files.options).unwrap();
    assert_eq!(tls.timeout(), Duration::from_secs(2));
    let verifying = TlsOptions {
        ca_file: Some(files.options.cert_file.clone()),
        verify_and_map: true,
        ..files.options.clone()
    };
    assert!(Tls::load(&verifying).unwrap().options().verify);
}

#[test]
fn faults_name_the_file_and_what_to_do() {
    let files = files("faults");
    let good = &files.options;
    let path = |name: &str| files.directory.join(name);
    let missing = TlsOptions {
        cert_file: path("none.pem"),
        ..good.clone()
    };
    let text = failure(&missing);
    assert!(
        text.contains("none.pem") && text.contains("cannot read the certificate"),
        "{text}"
    );
    let swapped = TlsOptions {
        cert_file: good.key_file.clone(),
        ..good.clone()
    };
    let text = failure(&swapped);
    assert!(
        text.contains("key.pem") && text.contains("-----BEGIN CERTIFICATE-----"),
        "{text}"
    );
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(path("other.pem"), other.signing_key.serialize_pem()).unwrap();
    let unpaired = TlsOptions {
        key_file: path("other.pem"),
        ..good.clone()
    };
    let text = failure(&unpaired);
    assert!(text.contains("other.pem") && text.contains("cert.pem"), "{text}");
    fs::write(
        path("locked.pem"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let locked = TlsOptions {
        key_file: path("locked.pem"),
        ..good.clone()
    };
    let text = failure(&locked);
    assert!(text.contains("locked.pem") && text.contains("passphrase"), "{text}");
    let alone = TlsOptions {
        verify: true,
        ..good.clone()
    };
    assert!(failure(&alone).contains("ca_file"));
}

/// Core specification §3.7: authorities that are named are read, whether or not they verify anybody yet.
#[test]
fn authorities_that_are_not_used_must_be_there_too() {
    let files = files("authorities");
    for (ca_file, expected) in [
        (
            files.directory.join("none.pem"),
            "cannot read the certificate of an authority",
        ),
        (files.options.key_file.clone(), "-----BEGIN CERTIFICATE-----"),
        (files.directory.clone(), "cannot read the certificate of an authority"),
    ] {
        let options = TlsOptions {
            ca_file: Some(ca_file),
            ..files.options.clone()
        };
        assert!(!options.verify);
        let text = failure(&options);
        assert!(text.contains(expected), "{text}");
    }
}

/// A device that never ends is read up to a bound, whichever file it stands for.
#[test]
fn files_without_an_end_are_refused() {
    let files = files("endless");
    let endless = PathBuf::from("/dev/zero");
    let certificate = TlsOptions {
        cert_file: endless.clone(),
        ..files.options.clone()
    };
    let key = TlsOptions {
        key_file: endless.clone(),
        ..files.options.clone()
    };
    let authorities = TlsOptions {
        ca_file: Some(endless),
        ..files.options.clone()
    };
    for options in [certificate, key, authorities] {
        let text = failure(&options);
        assert!(
            text.contains("/dev/zero") && text.contains("more than 16777216 bytes"),
            "{text}"
        );
    }
}

#[test]
fn names_of_suites_and_curves() {
    let files = files("suites");
    let with = |suites: &[&str], curves: &[&str]| TlsOptions {
        cipher_suites: suites.iter().map(|name| (*name).to_owned()).collect(),
        curve_preferences: curves.iter().map(|name| (*name).to_owned()).collect(),
        ..files.options.clone()
    };
    let usual = [
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        "TLS_AES_256_GCM_SHA384",
    ];
    Tls::load(&with(&usual, &["X25519", "CurveP256", "CurveP384"])).unwrap();
    let text = failure(&with(&["TLS_RSA_WITH_RC4_128_SHA"], &[]));
    assert!(
        text.contains("TLS_RSA_WITH_RC4_128_SHA") && text.contains("TLS_AES_128_GCM_SHA256"),
        "{text}"
    );
    assert!(failure(&with(&[], &["CurveP5"])).contains("CurveP5"));
    let pinned = TlsOptions {
        pinned_certs: vec!["xyz".to_owned()],
        ..files.options.clone()
    };
    assert!(failure(&pinned).contains("xyz"));
}

#[test]
fn names_of_a_certificate_come_in_their_order() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
    parameters
        .subject_alt_names
        .push(rcgen::SanType::Rfc822Name("who@example".try_into().unwrap()));
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "Sea, Way");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "who");
    let certificate = parameters.self_signed(&key).unwrap();
    assert_eq!(
        names(certificate.der()),
        [
            "who@example",
            "host.example",
            "CN=who,O=Sea\\, Way",
            "O=Sea\\, Way,CN=who"
        ]
    );
    assert_eq!(
        public_key_digest(certificate.der()).map(|digest| digest.len()),
        Some(64)
    );
    assert!(names(&CertificateDer::from(vec![1, 2, 3])).is_empty());
}
