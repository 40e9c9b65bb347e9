//! Names of cipher suites and curves as `.conf` files have them, and what stands behind them here.

use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, DEFAULT_CIPHER_SUITES, DEFAULT_KX_GROUPS, kx_group};

use super::TlsError;

/// Curves by their names in files.
const CURVES: [(&str, &dyn SupportedKxGroup); 4] = [
    ("X25519", kx_group::X25519),
    ("CurveP256", kx_group::SECP256R1),
    ("CurveP384", kx_group::SECP384R1),
    ("X25519MLKEM768", kx_group::X25519MLKEM768),
];

/// The name of a suite in files.
pub(super) fn suite_name(suite: SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    name.replacen("TLS13_", "TLS_", 1)
}

/// The chosen suites of TLS 1.2 in their order, and those of 1.3, which cannot be chosen.
pub(super) fn cipher_suites(names: &[String]) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    if names.is_empty() {
        return Ok(DEFAULT_CIPHER_SUITES.to_vec());
    }
    let mut suites: Vec<SupportedCipherSuite> = Vec::new();
    for name in names {
        // One of the original's names lacks the digest at its end.
        let found = ALL_CIPHER_SUITES.iter().find(|suite| {
            let known = suite_name(**suite);
            known == *name || known.strip_suffix("_SHA256") == Some(name)
        });
        let found =
            found.ok_or_else(|| unknown("cipher suite", name, ALL_CIPHER_SUITES.iter().copied().map(suite_name)))?;
        suites.push(*found);
    }
    let modern = DEFAULT_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_some());
    for suite in modern {
        if !suites.contains(suite) {
            suites.push(*suite);
        }
    }
    Ok(suites)
}

pub(super) fn curves(names: &[String]) -> Result<Vec<&'static dyn SupportedKxGroup>, TlsError> {
    if names.is_empty() {
        return Ok(DEFAULT_KX_GROUPS.to_vec());
    }
    let find = |name: &String| {
        let found = CURVES.iter().find(|(known, _)| known == name);
        found
            .map(|(_, group)| *group)
            .ok_or_else(|| unknown("curve", name, CURVES.iter().map(|(known, _)| (*known).to_owned())))
    };
    names.iter().map(find).collect()
}

/// Digests in lower case; anything else than 64 hexadecimal digits is refused.
pub(super) fn normalise_pins(pins: &mut [String]) -> Result<(), TlsError> {
    for pin in pins {
        pin.make_ascii_lowercase();
        if pin.len() != 64 || !pin.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(TlsError::Unknown {
                what: "digest in pinned_certs",
                name: pin.clone(),
                known: "64 hexadecimal digits of a SHA-256".to_owned(),
            });
        }
    }
    Ok(())
}

fn unknown(what: &'static str, name: &str, known: impl Iterator<Item = String>) -> TlsError {
    TlsError::Unknown {
        what,
        name: name.to_owned(),
        known: known.collect::<Vec<_>>().join(", "),
    }
}
