//! The `tls` block of the broker (core specification §3.7).

use std::path::PathBuf;
use std::time::Duration;

use super::fields::wrong_type;
use super::fields::{Block, at};
use crate::conf::{Data, Node};
use crate::draft::Draft;
use crate::options::{HandshakeFirst, TlsOptions, TlsVersion};
use crate::value::Value;

const CERT: &[&str] = &["cert_file"];
const KEY: &[&str] = &["key_file"];
const CA: &[&str] = &["ca_file"];
const CERTS: &[&str] = &["certs"];
const VERIFY: &[&str] = &["verify"];
const VERIFY_AND_MAP: &[&str] = &["verify_and_map"];
const CHECK_URLS: &[&str] = &["verify_cert_and_check_known_urls"];
const PINNED: &[&str] = &["pinned_certs"];
const TIMEOUT: &[&str] = &["timeout"];
const FIRST: &[&str] = &["handshake_first", "first", "immediate"];
const MIN_VERSION: &[&str] = &["min_version"];
const SUITES: &[&str] = &["cipher_suites"];
const CURVES: &[&str] = &["curve_preferences"];
const INSECURE_SUITES: &[&str] = &["allow_insecure_cipher_suites"];
const INSECURE: &[&str] = &["insecure"];
const RATE: &[&str] = &["connection_rate_limit"];
const OCSP: &[&str] = &["ocsp_peer"];
const STORE: &[&str] = &[
    "cert_store",
    "cert_match",
    "cert_match_by",
    "cert_match_skip_invalid",
    "ca_certs_match",
];

/// Time that a client has to begin the handshake before it is sent INFO, with `handshake_first: auto`.
const HANDSHAKE_FIRST_AUTO: Duration = Duration::from_millis(50);

/// Cipher suites that this server can offer, by the names of the original.
const KNOWN_SUITES: [&str; 9] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];
/// Ending that the names of some suites may lack.
const SUITE_ENDING: &str = "_SHA256";

/// Curves that this server can offer, by the names of the original.
const KNOWN_CURVES: [&str; 4] = ["X25519", "CurveP256", "CurveP384", "CurveP521"];

/// Length of a SHA-256 in hexadecimal digits.
const PIN_LEN: usize = 64;

/// Reads the block.
pub(crate) fn set(options: &mut Draft, value: &Value) -> Result<(), String> {
    if let Value::Block(node) = value {
        let mut notices = Vec::new();
        options.broker.tls = Some(tls(node, &mut notices)?);
        options.notices.append(&mut notices);
    }
    Ok(())
}

/// Reads what the block says.
pub(super) fn tls(node: &Node, notices: &mut Vec<String>) -> Result<TlsOptions, String> {
    let known = [
        CERT,
        KEY,
        CA,
        CERTS,
        VERIFY,
        VERIFY_AND_MAP,
        CHECK_URLS,
        PINNED,
        TIMEOUT,
        FIRST,
        MIN_VERSION,
        SUITES,
        CURVES,
        INSECURE_SUITES,
        INSECURE,
        RATE,
        OCSP,
        STORE,
    ];
    let block = Block::of(node, "tls", &known.concat())?;
    for (keys, what) in [
        (CHECK_URLS, "checks of known URLs, which concern other servers,"),
        (INSECURE_SUITES, "insecure cipher suites"),
        (RATE, "a limit on the rate of TLS connections"),
        (OCSP, "certificate status checks"),
        (STORE, "certificates from the store of the system"),
    ] {
        block.refuse(keys, what)?;
    }
    if let Some(pair) = block.find(INSECURE) {
        let text = "tls insecure has no effect: it concerns connections to other servers only";
        notices.push(at(&pair.position, text));
    }
    let (cert, key) = pair(block, node)?;
    let verify_and_map = block.bool(VERIFY_AND_MAP)?.unwrap_or(false);
    Ok(TlsOptions {
        cert_file: cert,
        key_file: key,
        ca_file: block.secret(CA)?.map(PathBuf::from),
        verify: block.bool(VERIFY)?.unwrap_or(false) || verify_and_map,
        verify_and_map,
        timeout: block.time(TIMEOUT, notices)?,
        handshake_first: handshake_first(block, notices)?,
        min_version: min_version(block)?,
        cipher_suites: suites(block)?,
        curve_preferences: known_names(block, CURVES, &KNOWN_CURVES, "unrecognized curve preference")?,
        pinned_certs: pins(block)?,
    })
}

/// Certificate and key, of the block itself or of the only entry of `certs`.
fn pair(block: Block<'_>, node: &Node) -> Result<(PathBuf, PathBuf), String> {
    let (block, position) = match block.list(CERTS)? {
        None | Some([]) => (block, &node.position),
        Some([only]) => (Block::of(only, "tls certs", &[CERT, KEY].concat())?, &only.position),
        Some(_) => {
            return Err(at(
                &node.position,
                "tls certs: this build does not have several certificates yet",
            ));
        }
    };
    let file = |keys: &[&str]| match block.text(keys)?.filter(|path| !path.is_empty()) {
        Some(path) => Ok(PathBuf::from(path)),
        None => Err(at(
            position,
            format!("missing '{}' in TLS configuration", keys.concat()),
        )),
    };
    Ok((file(CERT)?, file(KEY)?))
}

fn handshake_first(block: Block<'_>, notices: &mut Vec<String>) -> Result<HandshakeFirst, String> {
    let Some(pair) = block.find(FIRST) else {
        return Ok(HandshakeFirst::No);
    };
    match &pair.node.data {
        Data::Bool(false) => Ok(HandshakeFirst::No),
        Data::Bool(true) => Ok(HandshakeFirst::Yes),
        Data::Text(text) if text.eq_ignore_ascii_case("auto") => Ok(HandshakeFirst::For(HANDSHAKE_FIRST_AUTO)),
        Data::Text(_) => {
            let patience = block.time(FIRST, notices)?;
            Ok(patience.map_or(HandshakeFirst::No, HandshakeFirst::For))
        }
        data => Err(at(&pair.node.position, wrong_type(&pair.key, "bool", data))),
    }
}

fn min_version(block: Block<'_>) -> Result<TlsVersion, String> {
    let Some(pair) = block.find(MIN_VERSION) else {
        return Ok(TlsVersion::default());
    };
    // A version without quotes is a number.
    match &pair.node.data {
        Data::Text(text) if text == "1.2" => Ok(TlsVersion::V1_2),
        Data::Text(text) if text == "1.3" => Ok(TlsVersion::V1_3),
        Data::Text(text) => Err(at(
            &pair.node.position,
            format!("unsupported TLS version {text:?}, there are 1.2 and 1.3"),
        )),
        data => Err(at(&pair.node.position, wrong_type(&pair.key, "string", data))),
    }
}

/// Suites under their full names.
fn suites(block: Block<'_>) -> Result<Vec<String>, String> {
    let named = block.texts(SUITES)?.into_iter().map(|(position, name)| {
        let full = format!("{name}{SUITE_ENDING}");
        match [name, &full].into_iter().find(|name| KNOWN_SUITES.contains(name)) {
            Some(known) => Ok(known.to_owned()),
            None => Err(at(position, format!("unrecognized cipher suite {name:?}"))),
        }
    });
    named.collect()
}

fn known_names(block: Block<'_>, keys: &[&str], known: &[&str], refusal: &str) -> Result<Vec<String>, String> {
    let named = block
        .texts(keys)?
        .into_iter()
        .map(|(position, name)| match known.contains(&name) {
            true => Ok(name.to_owned()),
            false => Err(at(position, format!("{refusal} {name:?}"))),
        });
    named.collect()
}

fn pins(block: Block<'_>) -> Result<Vec<String>, String> {
    block.filled_list(PINNED)?;
    let pins = block.texts(PINNED)?.into_iter().map(|(position, pin)| {
        let is_pin = pin.len() == PIN_LEN && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_pin {
            true => Ok(pin.to_ascii_lowercase()),
            false => Err(at(
                position,
                format!("{pin:?} is not the SHA-256 of a key in hexadecimal"),
            )),
        }
    });
    pins.collect()
}
