//! URLs of NATS servers.

use crate::options::{Credentials, Secret};

/// `[scheme://][user[:password]@]host[:port]`. What is wrong with one is said without its password.
pub(crate) struct Url<'a> {
    pub(crate) scheme: Option<&'a str>,
    pub(crate) host: &'a str,
    pub(crate) port: Option<&'a str>,
    /// User and password; the password is missing when there is no colon before it.
    pub(crate) userinfo: Option<(String, Option<Secret>)>,
}

impl<'a> Url<'a> {
    /// Reads one with one of these schemes, the usual ones first, or with none.
    pub(crate) fn parse(url: &'a str, schemes: &[&str]) -> Result<Self, String> {
        let (scheme, rest) = match url.split_once("://") {
            None => (None, url),
            Some((scheme, rest)) if schemes.contains(&scheme) => (Some(scheme), rest),
            // What stands there may be the password of a URL without a scheme.
            Some((scheme, _)) if scheme.contains(['@', ':']) => {
                return Err("the URL has \"://\" at a wrong place".to_owned());
            }
            Some((scheme, _)) => {
                let known = schemes[..2].join(" or ");
                return Err(format!("unknown scheme {scheme:?}: it should be {known}"));
            }
        };
        let rest = rest.trim_end_matches('/');
        let (userinfo, address) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((userinfo, address)) => (Some(userinfo), address),
        };
        let (host, port) = match address.strip_prefix('[') {
            Some(inside) => match inside.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) if port.starts_with(':') => (host, Some(&port[1..])),
                _ => return Err(format!("{address:?} is no address")),
            },
            None => match address.split_once(':') {
                None => (address, None),
                Some((_, port)) if port.contains(':') => {
                    return Err(format!("{address:?} is no address: an IPv6 address stands in brackets"));
                }
                Some((host, port)) => (host, Some(port)),
            },
        };
        if !host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
            return Err(format!("{host:?} is no host"));
        }
        Ok(Url {
            scheme,
            host,
            port,
            userinfo: userinfo.map(decoded_userinfo).transpose()?,
        })
    }

    /// User and password; the user must have a name.
    pub(crate) fn credentials(self) -> Result<Option<Credentials>, String> {
        match self.userinfo {
            Some((user, _)) if user.is_empty() => Err("a password needs a user".to_owned()),
            userinfo => Ok(userinfo.map(|(user, password)| Credentials {
                user,
                password: password.unwrap_or_default(),
            })),
        }
    }

    /// The port, or this one when there is none.
    pub(crate) fn port(&self, default: u16) -> Result<u16, String> {
        match self.port {
            None | Some("") => Ok(default),
            Some(port) => port.parse().map_err(|_| format!("{port:?} is no port")),
        }
    }
}

fn decoded_userinfo(userinfo: &str) -> Result<(String, Option<Secret>), String> {
    let decoded =
        |text: &str| percent_decoded(text).ok_or("user and password of a URL: % begins two hexadecimal digits");
    Ok(match userinfo.split_once(':') {
        Some((user, password)) => (decoded(user)?, Some(Secret::new(decoded(password)?))),
        None => (decoded(userinfo)?, None),
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}
