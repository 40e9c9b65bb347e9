//! Which requests are those of the console's own pages.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use seaway_monitor::Caller;

use crate::answer::Refused;
use crate::door::Door;

/// What the console's own script sends with everything that is more than a look: a page of somebody else cannot without being asked.
const MARK: &str = "x-seaway-console";

/// The host name of `host:port`, `[::1]:port` or a name alone.
fn host_name(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    }
}

/// Whether a request may use a session or begin one.
///
/// # Errors
/// It came through a name that the server is not known by, or from a page that is not the console's.
pub(crate) fn check(door: &dyn Door, headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let name = host_name(host);
    let is_address = name.parse::<IpAddr>().is_ok();
    if !is_address && !name.eq_ignore_ascii_case("localhost") && !door.is_host(name) {
        let words = format!(
            "this server is not known as {name:?}, so nobody can log in through that name: open the console by the server's address, or add \
             the name to console_hosts"
        );
        return Err(Refused::new(StatusCode::FORBIDDEN, words));
    }
    let is_own = |origin: &str| {
        origin
            .parse::<Uri>()
            .is_ok_and(|uri| uri.authority().is_some_and(|own| own.as_str() == host))
    };
    if text(header::ORIGIN).is_some_and(|origin| !is_own(origin)) || !headers.contains_key(MARK) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "the request does not come from the console's own page",
        ));
    }
    Ok(())
}

/// Whether a link was followed from the console's own page, or by hand, as far as the browser says.
///
/// # Errors
/// It was a page of somebody else.
pub(crate) fn check_fetch(headers: &HeaderMap) -> Result<(), Refused> {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Refused::new(
            StatusCode::FORBIDDEN,
            "the request does not come from the console's own page",
        )),
    }
}

/// What a proxy says of the request that it passes on.
const FORWARDED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"];

/// Whether secrets may be sent on the way by which a request came.
///
/// # Errors
/// Others could read along.
pub(crate) fn check_privacy(caller: Caller, headers: &HeaderMap) -> Result<(), Refused> {
    let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    if caller.is_secure || caller.peer.ip().is_loopback() && !is_forwarded {
        return Ok(());
    }
    let words = match is_forwarded {
        true => {
            "passwords are not taken through a proxy, of which nobody here knows who reads along before it: use https_port, or a tunnel"
        }
        false => {
            "passwords are taken behind TLS (https_port), or on the server's own machine: on this way others could read them"
        }
    };
    Err(Refused::new(StatusCode::FORBIDDEN, words))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::door::Opened;

    struct Known;

    impl Door for Known {
        fn open(&self, _: SocketAddr) -> Result<Opened, String> {
            Err("not here".to_owned())
        }
        fn obstacle(&self) -> Option<String> {
            None
        }
        fn is_host(&self, name: &str) -> bool {
            name == "seaway.example"
        }
        fn cluster_id(&self) -> &str {
            "test-cluster"
        }
        fn discover_prefix(&self) -> &str {
            "_STAN.discover"
        }
    }

    fn checked(host: &str, origin: Option<&str>, is_marked: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::try_from(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::try_from(origin).unwrap());
        }
        if is_marked {
            headers.insert(MARK, HeaderValue::from_static("1"));
        }
        check(&Known, &headers).is_ok()
    }

    #[test]
    fn secrets_go_where_nobody_reads_along() {
        let is_private = |peer: [u8; 4], is_secure, header: Option<&'static str>| {
            let caller = Caller {
                peer: SocketAddr::from((peer, 1)),
                is_secure,
            };
            let mut headers = HeaderMap::new();
            if let Some(name) = header {
                headers.insert(name, HeaderValue::from_static("x"));
            }
            check_privacy(caller, &headers).is_ok()
        };
        assert!(is_private([127, 0, 0, 1], false, None));
        assert!(is_private([10, 0, 0, 1], true, None));
        assert!(
            is_private([10, 0, 0, 1], true, Some("via")),
            "the proxy's own way here is safe"
        );
        assert!(!is_private([10, 0, 0, 1], false, None));
        assert!(
            !is_private([127, 0, 0, 1], false, Some("x-forwarded-for")),
            "a proxy on this machine"
        );
        assert!(!is_private([127, 0, 0, 1], false, Some("forwarded")));
    }

    #[test]
    fn only_pages_of_this_host_may() {
        assert!(checked("127.0.0.1:8222", Some("http://127.0.0.1:8222"), true));
        assert!(checked("[::1]:8222", Some("http://[::1]:8222"), true));
        assert!(checked("localhost:8222", None, true));
        assert!(checked("seaway.example", Some("https://seaway.example"), true));
        assert!(
            !checked("evil.example:8222", Some("http://evil.example:8222"), true),
            "a name that was made to lead here"
        );
        assert!(
            !checked("127.0.0.1:8222", Some("http://evil.example"), true),
            "a page of somebody else"
        );
        assert!(!checked("127.0.0.1:8222", Some("null"), true));
        assert!(!checked("127.0.0.1:8222", None, false), "a form of somebody else");
        assert!(!checked("", None, true));
    }
}
