//! What a client's certificate says: names under which it may be a user, and its public key (core specification §3.7).

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// SHA-256 of the certificate's SubjectPublicKeyInfo in lower-case hexadecimal digits.
pub(crate) fn public_key_digest(certificate: &CertificateDer<'_>) -> Option<String> {
    let key = ParsedCertificate::try_from(certificate).ok()?.subject_public_key_info();
    let digest = digest::digest(&digest::SHA256, &key);
    Some(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Names of a certificate in the order in which they are tried: addresses, host names and URIs of its alternative names,
/// then its subject, as text from the last part to the first (RFC 2253) and as it stands.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let (mut addresses, mut hosts, mut uris) = (Vec::new(), Vec::new(), Vec::new());
    if let Ok(Some(extension)) = parsed.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::RFC822Name(text) => addresses.push((*text).to_owned()),
                GeneralName::DNSName(text) => hosts.push((*text).to_owned()),
                GeneralName::URI(text) => uris.push((*text).to_owned()),
                _ => {}
            }
        }
    }
    let mut names = addresses;
    names.append(&mut hosts);
    names.append(&mut uris);
    let mut parts: Vec<String> = parsed
        .subject()
        .iter_rdn()
        .map(|part| part.iter().filter_map(attribute).collect::<Vec<_>>().join("+"))
        .filter(|part| !part.is_empty())
        .collect();
    if !parts.is_empty() {
        let forward = parts.join(",");
        parts.reverse();
        names.push(parts.join(","));
        names.push(forward);
    }
    names
}

/// `KEY=value` with what has a meaning in such a text escaped.
fn attribute(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> Option<String> {
    let oid = attribute.attr_type();
    let key = match oid.to_id_string().as_str() {
        "2.5.4.3" => "CN".to_owned(),
        "2.5.4.5" => "SERIALNUMBER".to_owned(),
        "2.5.4.6" => "C".to_owned(),
        "2.5.4.7" => "L".to_owned(),
        "2.5.4.8" => "ST".to_owned(),
        "2.5.4.9" => "STREET".to_owned(),
        "2.5.4.10" => "O".to_owned(),
        "2.5.4.11" => "OU".to_owned(),
        "2.5.4.17" => "POSTALCODE".to_owned(),
        "0.9.2342.19200300.100.1.25" => "DC".to_owned(),
        other => other.to_owned(),
    };
    let value = attribute.as_str().ok()?;
    let mut escaped = String::new();
    for (index, character) in value.char_indices() {
        let outer_blank = character == ' ' && (index == 0 || index + 1 == value.len());
        let leading_sign = character == '#' && index == 0;
        if outer_blank || leading_sign || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    Some(format!("{key}={escaped}"))
}
