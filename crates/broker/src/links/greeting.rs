//! What servers say to each other first.

use std::io;
use std::net::SocketAddr;

use seaway_nats_protocol::parse::ParseLimits;
use seaway_nats_protocol::{Parsed, RouteConnect, RouteInfo, RouteOperation, parse_route_operation};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::access::Secret;
use crate::access::nkey::nonce;
use crate::limits::{GOSSIPED_URLS_MAX, GREETING_BYTES};
use crate::mesh::{Mesh, host_and_port};
use crate::shared::Shared;

/// What bounds lines before another server has introduced itself.
pub(super) const GREETING_LIMITS: ParseLimits = ParseLimits {
    max_control_line: GREETING_BYTES,
    max_payload: 0,
    headers: false,
};

/// What this server says of itself (§4.3). Connections that carry one account alone, pools of connections, compression and leaf nodes
/// are not offered, so none is asked for.
pub(super) fn info(shared: &Shared, mesh: &Mesh) -> RouteInfo {
    let settings = shared.settings();
    let (host, port) = match &mesh.options.advertise {
        None => (mesh.options.host.clone(), mesh.bound_port()),
        Some(advertise) => split_advertised(advertise, mesh.bound_port()),
    };
    RouteInfo {
        server_id: shared.server_id.clone(),
        server_name: shared.server_name().to_owned(),
        version: shared.options.version.clone(),
        proto: 2,
        git_commit: shared.options.git_commit.clone(),
        go: "rust".into(),
        ip: match &mesh.options.advertise {
            None => String::new(),
            Some(_) => route_url(&host, port),
        },
        host,
        port,
        headers: !shared.options.no_header_support,
        auth_required: mesh.options.credentials.is_some(),
        tls_required: mesh.options.tls.is_some(),
        tls_verify: mesh.options.tls.is_some(),
        max_payload: settings.max_payload,
        nonce: nonce(),
        cluster: mesh.name(),
        cluster_dynamic: mesh.is_name_made_up(),
        ldm: *shared.leaving.borrow(),
        connect_urls: if mesh.options.no_advertise {
            Vec::new()
        } else {
            shared.own_urls()
        },
        ..RouteInfo::default()
    }
}

/// What this server presents to one that it has dialled.
pub(super) fn connect(shared: &Shared, mesh: &Mesh, credentials: Option<&(String, Secret)>) -> RouteConnect {
    let (user, pass) = credentials.map_or_else(Default::default, |(user, password)| {
        (user.clone(), password.exposed().to_owned())
    });
    RouteConnect {
        echo: true,
        user,
        pass,
        tls_required: mesh.options.tls.is_some(),
        headers: !shared.options.no_header_support,
        name: shared.server_id.clone(),
        cluster: mesh.name(),
        cluster_dynamic: mesh.is_name_made_up(),
        ..RouteConnect::default()
    }
}

/// `nats-route://host:port/`
pub(super) fn route_url(host: &str, port: u16) -> String {
    format!("nats-route://{}/", host_and_port(host, port))
}

/// Host and port of `nats-route://host:port/`; `None` for what is none.
pub(super) fn parse_route_url(url: &str) -> Option<(String, u16)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest
        .rsplit_once('@')
        .map_or(rest, |(_, rest)| rest)
        .trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn split_advertised(advertise: &str, port: u16) -> (String, u16) {
    parse_route_url(advertise).unwrap_or_else(|| {
        let host = advertise.trim_start_matches('[').trim_end_matches(']');
        (host.to_owned(), port)
    })
}

/// Where others reach the server that said `info`: where it says, else where it is seen, on the port that it listens on.
pub(super) fn address_of(info: &RouteInfo, seen: SocketAddr) -> String {
    match parse_route_url(&info.ip) {
        Some((host, port)) => route_url(&host, port),
        None => route_url(&seen.ip().to_string(), info.port),
    }
}

/// Reads what another server says of itself; it is no text that reaches far.
pub(super) fn read_info(json: &[u8]) -> Result<RouteInfo, String> {
    let mut info = RouteInfo::parse(json).map_err(|error| format!("INFO is not understood: {error}"))?;
    let is_word =
        |text: &str| !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_word(&info.server_id) {
        return Err("INFO names no server_id".to_owned());
    }
    if info.server_name.is_empty() {
        info.server_name = info.server_id.clone();
    }
    info.connect_urls.retain(|url| is_word(url));
    info.connect_urls.truncate(GOSSIPED_URLS_MAX);
    Ok(info)
}

/// Reads the INFO of a server that was dialled, and returns what came behind it.
pub(super) async fn first_info(stream: &mut TcpStream) -> io::Result<(RouteInfo, Vec<u8>)> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut received = Vec::new();
    loop {
        match parse_route_operation(&received, &GREETING_LIMITS) {
            Ok(Parsed::Operation {
                operation: RouteOperation::Info(json),
                consumed,
            }) => {
                let info = read_info(json).map_err(invalid)?;
                return Ok((info, received.split_off(consumed)));
            }
            Ok(Parsed::Incomplete { .. }) => {}
            Ok(Parsed::Operation { .. }) | Err(_) => {
                return Err(invalid(
                    "it does not speak as a server: INFO should come first".to_owned(),
                ));
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&chunk[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_section_4_3_are_read() {
        for (url, expected) in [
            ("nats-route://127.0.0.1:6222/", Some(("127.0.0.1", 6222))),
            ("nats://user:pass@host:1", Some(("host", 1))),
            ("nats-route://[::1]:6222/", Some(("::1", 6222))),
            ("host:6222", Some(("host", 6222))),
            ("nats-route://host/", None),
            ("nats-route://:6222/", None),
            ("nats-route://host:0/", None),
            ("nats-route://host:70000/", None),
            ("", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(parse_route_url(url), expected, "{url}");
        }
        assert_eq!(route_url("::1", 6222), "nats-route://[::1]:6222/");
    }

    #[test]
    fn only_words_are_taken_from_other_servers() {
        let info = read_info(br#"{"server_id":"N1","connect_urls":["a:1","b\r\nPUB x 0","",null]}"#);
        assert!(info.is_err(), "a list holds texts");
        let info = read_info(br#"{"server_id":"N1","connect_urls":["a:1","b\r\nPUB x 0",""]}"#).unwrap();
        assert_eq!(
            (info.server_name.as_str(), info.connect_urls.as_slice()),
            ("N1", &["a:1".to_owned()][..])
        );
        for bad in [&b"{}"[..], br#"{"server_id":"a b"}"#, br#"{"server_id":""}"#, b"[]"] {
            assert!(read_info(bad).is_err());
        }
    }
}
