//! The NATS servers of somebody else that the streaming engine is attached to (specification §11).

use std::path::PathBuf;

use super::secret::Secret;

/// How to reach them, and what to present there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExternalNats {
    /// Servers in the order in which they are tried; not empty.
    pub urls: Vec<NatsUrl>,
    /// File with a user's JWT and the seed of its key.
    pub credentials_file: Option<PathBuf>,
    /// File with the seed of a user's key.
    pub nkey_seed_file: Option<PathBuf>,
    /// User and password, or token, for servers whose URL says none.
    pub login: OwnCredentials,
    /// TLS toward them.
    pub tls: ExternalTls,
}

/// Credentials for the server's own connections to the broker (specification §7.5, §7.6). Where the engine reaches the broker
/// inside the process they are kept for comparison only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnCredentials {
    /// Name of the user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Token.
    pub token: Option<Secret>,
}

/// One of these servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsUrl {
    /// Name or address; that of an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the URL asks for TLS.
    pub tls: bool,
    /// What its URL says is to be presented there.
    pub login: OwnCredentials,
}

impl NatsUrl {
    /// The URL without what is secret in it.
    pub fn shown(&self) -> String {
        let scheme = if self.tls { "tls" } else { "nats" };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let userinfo = match (&self.login.user, &self.login.token) {
            (None, None) => "",
            _ => "[REDACTED]@",
        };
        format!("{scheme}://{userinfo}{host}:{}", self.port)
    }
}

/// TLS toward NATS servers of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExternalTls {
    /// Whether it is asked for; else it is spoken when the server demands it.
    pub is_wanted: bool,
    /// Certificate chain that is shown, PEM; with a key only.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// Authorities that verify the servers, PEM; `None` is those of the system.
    pub ca_file: Option<PathBuf>,
    /// Name that their certificates must have; `None` is the host of the URL.
    pub server_name: Option<String>,
    /// Whether their certificates are not verified.
    pub insecure: bool,
}

/// The single login of a user, or of a token.
impl OwnCredentials {
    /// A user with a password.
    pub(crate) fn of_user(user: String, password: Secret) -> OwnCredentials {
        OwnCredentials {
            user: Some(user),
            password: Some(password),
            token: None,
        }
    }

    /// A token.
    pub(crate) fn of_token(token: Secret) -> OwnCredentials {
        OwnCredentials {
            user: None,
            password: None,
            token: Some(token),
        }
    }

    /// Whether nothing is to be presented.
    pub fn is_empty(&self) -> bool {
        self.user.is_none() && self.password.is_none() && self.token.is_none()
    }
}
