//! Who may connect to the broker, what they may do, and how connections are protected (core specification §3).

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// The `authorization` block (core specification §3.2). At most one of `single`, `token` and a non-empty `users`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorization {
    /// The single user, of `user` and `password`, or of the flags `-user` and `-pass`.
    pub single: Option<Credentials>,
    /// The single token.
    pub token: Option<Secret>,
    /// Users with their own passwords or keys and permissions; names and keys are unique.
    pub users: Vec<User>,
    /// Permissions of users that have none of their own.
    pub default_permissions: Option<Permissions>,
    /// Time in which a client must authenticate itself; `None` is the default, which depends on TLS (§3.8).
    pub timeout: Option<Duration>,
}

impl Authorization {
    /// Whether clients must present anything at all.
    pub fn is_required(&self) -> bool {
        self.single.is_some() || self.token.is_some() || !self.users.is_empty()
    }
}

/// A name and its password, which is plain or a bcrypt hash (core specification §3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the user.
    pub user: String,
    /// Plain password or bcrypt hash (`$2a$…`); empty when none is set, and then an empty one matches.
    pub password: Secret,
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// By name and password.
    Password(Credentials),
    /// By a signature under this public user key (56 characters, beginning with `U`; checked).
    Nkey(String),
}

/// One entry of `users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// How the user proves who it is.
    pub login: Login,
    /// Its permissions; `None` means [`Authorization::default_permissions`].
    pub permissions: Option<Permissions>,
    /// Kinds of connections it may use; `None` means all.
    pub connection_types: Option<Vec<ConnectionType>>,
}

impl User {
    /// Its name, or its public key.
    pub fn name(&self) -> &str {
        match &self.login {
            Login::Password(credentials) => &credentials.user,
            Login::Nkey(key) => key,
        }
    }
}

/// A kind of client connection, as `allowed_connection_types` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionType {
    /// Core protocol over TCP or TLS.
    Standard,
    /// Core protocol over WebSocket.
    WebSocket,
    /// Leaf node.
    LeafNode,
    /// Leaf node over WebSocket.
    LeafNodeWebSocket,
    /// MQTT.
    Mqtt,
    /// MQTT over WebSocket.
    MqttWebSocket,
    /// Inside the process.
    InProcess,
}

/// What a user may publish and subscribe (core specification §3.3). Subjects are valid and may contain wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Rules for publishing.
    pub publish: SubjectRules,
    /// Rules for subscribing; entries may be `subject queue`.
    pub subscribe: SubjectRules,
    /// Temporary right to publish to reply subjects of delivered messages. With it and without `publish.allow`, nothing
    /// else may be published.
    pub allow_responses: Option<ResponsePermission>,
}

/// Allowed and denied subjects of one side; a denial beats everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectRules {
    /// Allowed subjects; none means that all are allowed.
    pub allow: Vec<String>,
    /// Denied subjects.
    pub deny: Vec<String>,
}

/// How long and how often a reply subject may be published to (core specification §3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponsePermission {
    /// Messages per reply subject, 1 by default; `None` is unlimited.
    pub max_messages: Option<u64>,
    /// Time after the delivery, two minutes by default; `None` is unlimited.
    pub expires: Option<Duration>,
}

impl Default for ResponsePermission {
    fn default() -> Self {
        ResponsePermission {
            max_messages: Some(1),
            expires: Some(Duration::from_secs(120)),
        }
    }
}

/// The `tls` block (core specification §3.7), for clients and HTTPS monitoring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificate chain of the server, PEM.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
    /// Authorities that verify clients, PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether clients must present a certificate that verifies; also set with `verify_and_map`.
    pub verify: bool,
    /// Whether the certificate of a client says which of [`Authorization::users`] it is.
    pub verify_and_map: bool,
    /// Time for the handshake; `None` is the default of 2 s.
    pub timeout: Option<Duration>,
    /// Whether the handshake comes before INFO.
    pub handshake_first: HandshakeFirst,
    /// Lowest version of the protocol.
    pub min_version: TlsVersion,
    /// Cipher suites by the names of the original, in order of preference; empty means the usual ones.
    pub cipher_suites: Vec<String>,
    /// Curves by the names of the original, in order of preference; empty means the usual ones.
    pub curve_preferences: Vec<String>,
    /// SHA-256 of the public keys that clients may have, 64 lower-case hexadecimal digits each; empty means any.
    pub pinned_certs: Vec<String>,
}

/// When the TLS handshake begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandshakeFirst {
    /// After INFO.
    #[default]
    No,
    /// Before INFO.
    Yes,
    /// Before INFO, unless the client is silent for this long.
    For(Duration),
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    V1_2,
    /// 1.3
    V1_3,
}
