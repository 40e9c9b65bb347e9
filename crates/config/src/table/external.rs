//! Options of the connection to NATS servers of somebody else (specification §11, §7.6).

use std::path::PathBuf;

use super::entry::Effect::{Sets, Toward};
use super::entry::Group::{External, StreamingTls};
use super::entry::{Entry, Section};
use crate::draft::Draft;
use crate::options::{NatsUrl, OwnCredentials, Secret};
use crate::url::Url;
use crate::value::Kind::{Bool, Text};
use crate::value::Value;

/// Schemes of URLs of NATS servers.
const SCHEMES: &[&str] = &["nats", "tls"];
/// The port of servers in a list that names none.
const PORT_DEFAULT: u16 = 4222;

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        External,
        &["ns", "nats_server"],
        Text,
        "",
        "URL of a NATS server of somebody else, or several with commas between them: they carry the messages, and no port for \
         clients is opened",
        Sets(nats_server),
    )
    .keys(Section::Streaming, &["nats_server", "ns", "nats_server_url"]),
    Entry::new(
        External,
        &[],
        Text,
        "",
        "File with the JWT and the key of a user there",
        Toward(credentials),
    )
    .keys(Section::Streaming, &["credentials"])
    .without_variable(),
    Entry::new(
        External,
        &[],
        Text,
        "",
        "File with the seed of a user's key",
        Toward(nkey_seed_file),
    )
    .keys(Section::Streaming, &["nkey_seed_file"])
    .without_variable(),
    Entry::new(
        External,
        &[],
        Text,
        "",
        "User there; the broker inside the process needs none",
        Sets(own_user),
    )
    .keys(Section::Streaming, &["username", "user"])
    .without_variable(),
    Entry::new(External, &[], Text, "", "Its password", Sets(own_password))
        .keys(Section::Streaming, &["password", "pass"])
        .without_variable(),
    Entry::new(
        External,
        &[],
        Text,
        "",
        "Token there; the broker inside the process needs none",
        Sets(own_token),
    )
    .keys(Section::Streaming, &["token"])
    .without_variable(),
    Entry::new(
        StreamingTls,
        &["secure"],
        Bool,
        "false",
        "TLS to the NATS server; without it TLS is spoken when the server demands it, or its URL begins with tls://",
        Toward(secure),
    )
    .keys(Section::Streaming, &["secure"]),
    Entry::new(
        StreamingTls,
        &["tls_client_cert"],
        Text,
        "",
        "Client certificate toward the NATS server",
        Toward(client_cert),
    )
    .keys(Section::Tls, &["client_cert"]),
    Entry::new(
        StreamingTls,
        &["tls_client_key"],
        Text,
        "",
        "Its key",
        Toward(client_key),
    )
    .keys(Section::Tls, &["client_key"]),
    Entry::new(
        StreamingTls,
        &["tls_client_cacert"],
        Text,
        "",
        "Authority that verifies the NATS server; without it those of the system do",
        Toward(client_ca),
    )
    .keys(Section::Tls, &["client_ca", "client_cacert"]),
    Entry::new(
        StreamingTls,
        &[],
        Text,
        "",
        "Name that the certificate of the NATS server must have; without it the host of the URL",
        Toward(server_name),
    )
    .keys(Section::Tls, &["server_name", "server_hostname"])
    .without_variable(),
    Entry::new(
        StreamingTls,
        &[],
        Bool,
        "false",
        "Do not verify the NATS server: for trials",
        Toward(insecure),
    )
    .keys(Section::Tls, &["skip_verify", "insecure"])
    .without_variable(),
];

fn nats_server(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.urls = match value.present() {
        Some(text) => urls(&text)?,
        None => Vec::new(),
    };
    Ok(())
}

/// One URL with scheme, host and port, or a list with commas between them, whose members may do without a port (§11).
fn urls(text: &str) -> Result<Vec<NatsUrl>, String> {
    let is_list = text.contains(['@', ',']);
    let mut urls = Vec::new();
    for part in text.split(',').map(str::trim) {
        if part.is_empty() {
            return Err("nats_server: an entry of the list is empty".to_owned());
        }
        if !is_list && !part.contains("://") {
            return Err(format!("malformed url: {part}: it should be like nats://host:4222"));
        }
        urls.push(url(part, is_list).map_err(|why| match text.contains('@') && text.contains(',') {
            // What does not look like a part of an address may be one of a password.
            true => "nats_server: a URL is malformed; in a user and a password ',' is written %2C, '@' %40, ':' %3A and '/' %2F".to_owned(),
            false => format!("nats_server: {why}"),
        })?);
    }
    Ok(urls)
}

fn url(text: &str, is_of_list: bool) -> Result<NatsUrl, String> {
    let url = Url::parse(text, SCHEMES)?;
    if url.port.is_none_or(str::is_empty) && !is_of_list {
        return Err(format!("{text:?} has no port: it should be like nats://host:4222"));
    }
    let port = url.port(PORT_DEFAULT)?;
    if url.host.is_empty() || port == 0 {
        return Err("a NATS server has a host and a port, such as nats://host:4222".to_owned());
    }
    let (host, tls) = (url.host.to_owned(), url.scheme == Some("tls"));
    let login = match url.userinfo {
        None => OwnCredentials::default(),
        Some((user, None)) => OwnCredentials::of_token(Secret::new(user)),
        Some((user, Some(password))) => OwnCredentials::of_user(user, password),
    };
    Ok(NatsUrl { host, port, tls, login })
}

fn path(value: &Value) -> Option<PathBuf> {
    value.present().map(PathBuf::from)
}

fn credentials(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.credentials_file = path(value);
    Ok(())
}

fn nkey_seed_file(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.nkey_seed_file = path(value);
    Ok(())
}

fn own_user(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.own_credentials.user = value.present();
    Ok(())
}

fn own_password(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.own_credentials.password = value.present().map(Secret::new);
    Ok(())
}

fn own_token(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.own_credentials.token = value.present().map(Secret::new);
    Ok(())
}

fn secure(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.tls.is_wanted |= value.is_true();
    Ok(())
}

fn client_cert(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.tls.cert_file = path(value);
    Ok(())
}

fn client_key(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.tls.key_file = path(value);
    Ok(())
}

fn client_ca(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.tls.ca_file = path(value);
    Ok(())
}

fn server_name(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.tls.server_name = value.present();
    Ok(())
}

fn insecure(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.external.tls.insecure = value.is_true();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §11, §13.8 DontEmbedNATS*.
    #[test]
    fn one_url_is_whole_and_those_of_lists_need_no_port() {
        let shown = |text: &str| {
            let urls = urls(text).unwrap();
            urls.iter().map(NatsUrl::shown).collect::<Vec<_>>()
        };
        assert_eq!(shown("nats://h:4223"), ["nats://h:4223"]);
        assert_eq!(shown("tls://[::1]:1"), ["tls://[::1]:1"]);
        assert_eq!(shown(" nats://a , b:7"), ["nats://a:4222", "nats://b:7"]);
        assert_eq!(shown("nats://u:p%40@h"), ["nats://[REDACTED]@h:4222"]);
        let login = |text: &str| urls(text).unwrap().remove(0).login;
        assert_eq!(
            login("u:p%40@h"),
            OwnCredentials::of_user("u".into(), Secret::new("p@"))
        );
        assert_eq!(login("nats://tok@h:1"), OwnCredentials::of_token(Secret::new("tok")));
        for bad in [
            "nats://h",
            "h:4222",
            "h",
            " ",
            "nats://:4222",
            "http://h:1",
            "nats://h:0",
            "a,,b",
            "nats://h:x",
        ] {
            assert!(urls(bad).is_err(), "{bad}");
        }
        assert!(urls("h:4222").unwrap_err().starts_with("malformed url: h:4222"));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_secrets() {
        for bad in [
            "x://u:swordfish@h:1",
            "u:swordfish@h:99999",
            "nats://u:swordfish@:1",
            "u:swordfish@x://h",
            "u:swordfish://h",
        ] {
            let error = urls(bad).unwrap_err();
            assert!(!error.contains("swordfish"), "{error}");
        }
    }
}
