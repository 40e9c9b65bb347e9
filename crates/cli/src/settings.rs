//! Which server a command speaks to, and as whom: what one source says, and how two are put together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::connection_flags::ConnectionArguments;
use crate::failure::{Failure, Outcome};

/// Begin of the names of variables. No option of the server has a variable that begins so; a test of `seaway-config` checks it.
const VARIABLE_PREFIX: &str = "SEAWAY_CLI_";

pub(crate) const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";
pub(crate) const DEFAULT_CLUSTER: &str = "test-cluster";

/// What one source says; also the content of a context's file.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) discover_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<Credentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls: bool,
}

/// How to prove who asks. Secrets are in files of their own, so that contexts can be shown; variables hold the secret itself,
/// and are never written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Credentials {
    PasswordFile(PathBuf),
    TokenFile(PathBuf),
    NkeyFile(PathBuf),
    CredsFile(PathBuf),
    #[serde(skip)]
    Password(String),
    #[serde(skip)]
    Token(String),
}

impl Credentials {
    fn belongs_to_user(&self) -> bool {
        matches!(self, Self::PasswordFile(_) | Self::Password(_))
    }
}

impl Settings {
    /// What flags say.
    pub(crate) fn of_arguments(arguments: &ConnectionArguments) -> Self {
        let files = [
            arguments.password_file.clone().map(Credentials::PasswordFile),
            arguments.token_file.clone().map(Credentials::TokenFile),
            arguments.nkey.clone().map(Credentials::NkeyFile),
            arguments.creds.clone().map(Credentials::CredsFile),
        ];
        Self {
            server: arguments.server.clone(),
            cluster: arguments.cluster.clone(),
            discover_prefix: arguments.discover_prefix.clone(),
            user: arguments.user.clone(),
            // The parser lets only one of them through.
            credentials: files.into_iter().flatten().next(),
            tls_ca: arguments.tls_ca.clone(),
            tls_cert: arguments.tls_cert.clone(),
            tls_key: arguments.tls_key.clone(),
            tls: arguments.tls,
        }
    }

    /// What variables say; an empty one says nothing.
    pub(crate) fn of_variables(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| variable(&format!("{VARIABLE_PREFIX}{name}")).filter(|value| !value.is_empty());
        let credentials = [
            get("PASSWORD").map(Credentials::Password),
            get("TOKEN").map(Credentials::Token),
            get("NKEY").map(|path| Credentials::NkeyFile(path.into())),
            get("CREDS").map(|path| Credentials::CredsFile(path.into())),
        ];
        Self {
            server: get("SERVER"),
            cluster: get("CLUSTER"),
            user: get("USER"),
            credentials: credentials.into_iter().flatten().next(),
            tls_ca: get("TLS_CA").map(PathBuf::from),
            ..Self::default()
        }
    }

    /// These settings, and where they say nothing what `weaker` says. Credentials of one user are never sent as another's.
    pub(crate) fn over(self, weaker: Self) -> Self {
        let (user, credentials) = match (self.user, self.credentials) {
            (None, None) => (weaker.user, weaker.credentials),
            (None, Some(own)) if own.belongs_to_user() => (weaker.user, Some(own)),
            // A password without a user's name is for whoever is named.
            (Some(user), None) => {
                let is_for_them = weaker.user.as_ref().is_none_or(|other| *other == user);
                let password = weaker.credentials.filter(|one| is_for_them && one.belongs_to_user());
                (Some(user), password)
            }
            (user, credentials) => (user, credentials),
        };
        Self {
            server: self.server.or(weaker.server),
            cluster: self.cluster.or(weaker.cluster),
            discover_prefix: self.discover_prefix.or(weaker.discover_prefix),
            user,
            credentials,
            tls_ca: self.tls_ca.or(weaker.tls_ca),
            tls_cert: self.tls_cert.or(weaker.tls_cert),
            tls_key: self.tls_key.or(weaker.tls_key),
            tls: self.tls || weaker.tls,
        }
    }

    /// Where the server is, without a default's help.
    pub(crate) fn server(&self) -> &str {
        self.server.as_deref().unwrap_or(DEFAULT_SERVER)
    }

    pub(crate) fn cluster(&self) -> &str {
        self.cluster.as_deref().unwrap_or(DEFAULT_CLUSTER)
    }

    /// User and credentials, those in an address if there are no others.
    pub(crate) fn login(&self) -> (Option<String>, Option<Credentials>) {
        if self.user.is_some() || self.credentials.is_some() {
            return (self.user.clone(), self.credentials.clone());
        }
        let in_address = self.server().split(',').find_map(|one| one.rsplit_once('@'));
        let Some((before, _)) = in_address else {
            return (None, None);
        };
        let login = before.split_once("://").map_or(before, |(_, login)| login);
        match login.split_once(':') {
            Some((user, password)) => (Some(decoded(user)), Some(Credentials::Password(decoded(password)))),
            None => (None, Some(Credentials::Token(decoded(login)))),
        }
    }

    /// Paths as they are seen from everywhere.
    pub(crate) fn with_absolute_paths(mut self) -> Self {
        let absolute = |path: &mut PathBuf| {
            if let Ok(whole) = std::path::absolute(&*path) {
                *path = whole;
            }
        };
        let Self {
            credentials,
            tls_ca,
            tls_cert,
            tls_key,
            ..
        } = &mut self;
        [tls_ca, tls_cert, tls_key].into_iter().flatten().for_each(absolute);
        match credentials {
            Some(
                Credentials::PasswordFile(path)
                | Credentials::TokenFile(path)
                | Credentials::NkeyFile(path)
                | Credentials::CredsFile(path),
            ) => absolute(path),
            Some(Credentials::Password(_) | Credentials::Token(_)) | None => {}
        }
        self
    }
}

/// A part of an address, with `%40` for `@` and its kind.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An address without the user and the password it may hold.
pub(crate) fn without_secret(server: &str) -> String {
    let redact = |one: &str| match one.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            match scheme {
                "" => format!("…@{host}"),
                scheme => format!("{scheme}://…@{host}"),
            }
        }
        None => one.to_owned(),
    };
    server.split(',').map(redact).collect::<Vec<_>>().join(",")
}

/// A secret from a file of its own, without the line end that editors leave.
pub(crate) fn read_secret(path: &Path) -> Outcome<String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_hold_a_login() {
        let login = |server: &str| {
            let settings = Settings {
                server: Some(server.to_owned()),
                ..Settings::default()
            };
            match settings.login() {
                (user, Some(Credentials::Password(secret) | Credentials::Token(secret))) => (user, Some(secret)),
                (user, _) => (user, None),
            }
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(login("nats://host"), (None, None));
        assert_eq!(
            login("nats://host,nats://bob:p%40%3Ass@other"),
            (some("bob"), some("p@:ss"))
        );
        assert_eq!(login("tls://t%zoken@host"), (None, some("t%zoken")));
        assert_eq!(login("bob:p@ss@host"), (some("bob"), some("p@ss")));
    }

    #[test]
    fn addresses_are_shown_without_their_secret() {
        for (server, shown) in [
            ("nats://host:4222", "nats://host:4222"),
            ("nats://bob:p@ss@host", "nats://…@host"),
            ("token@host,tls://bob:x@other", "…@host,tls://…@other"),
        ] {
            assert_eq!(without_secret(server), shown);
        }
    }
}
