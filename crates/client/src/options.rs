//! How to connect.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ServerAddr};
use percent_encoding::percent_decode_str;

use crate::attention::Attention;
use crate::error::ConnectError;
use crate::wire::is_subject;

/// Publishes that may await their acknowledgement at once, unless set otherwise.
const MAX_PUBLISHES_IN_FLIGHT: usize = 16_384;
/// Messages that one subscription may have waiting in this process. What comes on top is dropped, and delivered again when its
/// AckWait is over.
const DELIVERIES_WAITING_MAX: usize = 1 << 16;
/// The longest timeouts.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Credentials for the NATS server.
#[derive(Clone)]
enum Credentials {
    UserAndPassword(String, String),
    Token(String),
    Nkey(String),
    File(PathBuf),
}

/// Everything about a connection; the defaults suit a server on this machine.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let Some(server) = server::start() else { return Ok(()) };
/// use std::time::Duration;
///
/// use seaway_client::ConnectOptions;
///
/// # let url = server.url();
/// let client = ConnectOptions::new("test-cluster", "billing")
///     .url(url) // nats://broker-1:4222,nats://broker-2:4222
///     .user_and_password("billing", "secret")
///     .ack_timeout(Duration::from_secs(10))
///     .connect()
///     .await?;
/// # client.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConnectOptions {
    pub(crate) cluster_id: String,
    pub(crate) client_id: String,
    url: String,
    credentials: Option<Credentials>,
    root_certificates: Option<PathBuf>,
    client_certificate: Option<(PathBuf, PathBuf)>,
    require_tls: bool,
    nats: Option<async_nats::Client>,
    pub(crate) connect_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) pings_unanswered_max: u32,
    pub(crate) discover_prefix: String,
    pub(crate) publishes_in_flight_max: usize,
    pub(crate) reconnect: bool,
    pub(crate) connect_retry: Duration,
}

impl ConnectOptions {
    /// Options with their defaults, for a streaming server with this cluster ID, as a client with this ID.
    pub fn new(cluster_id: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            client_id: client_id.into(),
            url: "nats://127.0.0.1:4222".to_owned(),
            credentials: None,
            root_certificates: None,
            client_certificate: None,
            require_tls: false,
            nats: None,
            connect_timeout: Duration::from_secs(2),
            ack_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(5),
            pings_unanswered_max: 3,
            discover_prefix: "_STAN.discover".to_owned(),
            publishes_in_flight_max: MAX_PUBLISHES_IN_FLIGHT,
            reconnect: true,
            connect_retry: Duration::ZERO,
        }
    }

    /// Address of the NATS server, or several separated by commas. Default: `nats://127.0.0.1:4222`. An address may carry
    /// credentials, `nats://user:password@host` or `nats://token@host`: those of the first that does are used for all, unless
    /// others are set.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// User and password for the NATS server.
    #[must_use]
    pub fn user_and_password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::UserAndPassword(user.into(), password.into()));
        self
    }

    /// Token for the NATS server.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::Token(token.into()));
        self
    }

    /// Seed of an nkey for the NATS server.
    #[must_use]
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::Nkey(seed.into()));
        self
    }

    /// Credentials file for the NATS server.
    #[must_use]
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Some(Credentials::File(path.into()));
        self
    }

    /// Certificates in PEM that the NATS server's certificate may be signed by, beside the system's.
    #[must_use]
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(path.into());
        self.require_tls = true;
        self
    }

    /// The client's own certificate and key, in PEM.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client_certificate = Some((certificate.into(), key.into()));
        self.require_tls = true;
        self
    }

    /// Refuse a NATS server without TLS. Default: TLS is used when the server demands it.
    #[must_use]
    pub fn require_tls(mut self, required: bool) -> Self {
        self.require_tls = required;
        self
    }

    /// Use an existing NATS connection instead of a new one; it stays open when the client is closed. Its capacity per
    /// subscription must be above each subscription's MaxInflight, or NATS drops deliveries, which then come again.
    #[cfg(feature = "async-nats")]
    #[must_use]
    pub fn nats(mut self, nats: async_nats::Client) -> Self {
        self.nats = Some(nats);
        self
    }

    /// How long the streaming server may take to answer requests: connect, subscribe, close. Default: 2 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a publish waits for its acknowledgement. Default: 30 s.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// How often the server is asked whether it still knows this connection, in whole seconds of at least one, and how many
    /// of these pings in a row may stay unanswered. Default: every 5 s, 3.
    #[must_use]
    pub fn pings(mut self, interval: Duration, unanswered_max: u32) -> Self {
        self.ping_interval = interval;
        self.pings_unanswered_max = unanswered_max;
        self
    }

    /// Prefix of the subject under which the server is discovered. Default: `_STAN.discover`.
    #[must_use]
    pub fn discover_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.discover_prefix = prefix.into();
        self
    }

    /// Publishes that may await their acknowledgement at once, at least 1; more wait their turn. Default: 16,384.
    #[must_use]
    pub fn max_publishes_in_flight(mut self, publishes: usize) -> Self {
        self.publishes_in_flight_max = publishes;
        self
    }

    /// How long the first connect is tried again while no server is reached or no streaming server answers: a service may start
    /// before its server. What the server refuses is refused at once. Default: not at all.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), seaway_client::ConnectError> {
    /// use std::time::Duration;
    ///
    /// use seaway_client::ConnectOptions;
    ///
    /// let patient = ConnectOptions::new("test-cluster", "billing").retry_connect(Duration::from_secs(60));
    /// let client = patient.connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn retry_connect(mut self, longest: Duration) -> Self {
        self.connect_retry = longest;
        self
    }

    /// Whether a lost connection is made anew and its subscriptions with it (see [`Client`](crate::Client)). Default: true.
    #[must_use]
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// The NATS connection that was given.
    pub(crate) fn existing_nats(&self) -> Option<&async_nats::Client> {
        self.nats.as_ref()
    }

    /// Whether the NATS connection was made for this client alone.
    pub(crate) fn owns_nats(&self) -> bool {
        self.nats.is_none()
    }

    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        let bad = |words: &str| Err(ConnectError::InvalidOption(words.to_owned()));
        if !is_subject(&self.cluster_id) {
            return bad("the cluster ID must be a subject without wildcards and blanks");
        }
        if !is_subject(&self.discover_prefix) {
            return bad("the discover prefix must be a subject without wildcards and blanks");
        }
        for (name, time) in [
            ("connect timeout", self.connect_timeout),
            ("ack timeout", self.ack_timeout),
        ] {
            if time.is_zero() || time > TIMEOUT_MAX {
                return bad(&format!("the {name} must be longer than nothing and at most a year"));
            }
        }
        if self.publishes_in_flight_max == 0 || self.publishes_in_flight_max > tokio::sync::Semaphore::MAX_PERMITS {
            return bad("at least one publish must be allowed in flight, and not more than a semaphore counts");
        }
        if self.ping_interval < Duration::from_secs(1) || self.ping_interval.as_secs() > i32::MAX as u64 {
            return bad("the ping interval must be at least one second");
        }
        if self.pings_unanswered_max == 0 || i32::try_from(self.pings_unanswered_max).is_err() {
            return bad("at least one ping must be allowed to be unanswered");
        }
        Ok(())
    }

    pub(crate) async fn connect_nats(&self, attention: Arc<Attention>) -> Result<async_nats::Client, ConnectError> {
        let nats = |error: &dyn std::fmt::Display| ConnectError::Nats(error.to_string());
        let servers = self.servers()?;
        let mut options = match self.credentials.clone().or_else(|| in_addresses(&servers)) {
            None => async_nats::ConnectOptions::new(),
            Some(Credentials::UserAndPassword(user, password)) => {
                async_nats::ConnectOptions::with_user_and_password(user, password)
            }
            Some(Credentials::Token(token)) => async_nats::ConnectOptions::with_token(token),
            Some(Credentials::Nkey(seed)) => async_nats::ConnectOptions::with_nkey(seed),
            Some(Credentials::File(path)) => async_nats::ConnectOptions::with_credentials_file(&path)
                .await
                .map_err(|error| nats(&format!("credentials file {}: {error}", path.display())))?,
        };
        options = options
            .name(&self.client_id)
            .subscription_capacity(DELIVERIES_WAITING_MAX.max(self.publishes_in_flight_max))
            // The streaming server may have been restarted together with the NATS server.
            .event_callback(move |event| {
                match event {
                    async_nats::Event::Connected => attention.link(false),
                    async_nats::Event::Disconnected => attention.link(true),
                    _ => {}
                }
                std::future::ready(())
            })
            .connection_timeout(self.connect_timeout)
            .max_reconnects(None)
            .require_tls(self.require_tls);
        if let Some(path) = &self.root_certificates {
            options = options.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &self.client_certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        options.connect(servers).await.map_err(|error| match error.kind() {
            ConnectErrorKind::Io | ConnectErrorKind::TimedOut | ConnectErrorKind::Dns => {
                ConnectError::NotReached(error.to_string())
            }
            _ => nats(&error),
        })
    }

    /// The addresses. Errors name them by their number, for they may hold a password.
    fn servers(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        let parse = |(index, address): (usize, &str)| {
            let words = |error| format!("address {} of the URL: {error}", index + 1);
            address
                .trim()
                .parse()
                .map_err(|error: std::io::Error| ConnectError::InvalidOption(words(error)))
        };
        self.url.split(',').enumerate().map(parse).collect()
    }
}

/// The credentials of the first address that carries some.
fn in_addresses(servers: &[ServerAddr]) -> Option<Credentials> {
    let text = |encoded: &str| percent_decode_str(encoded).decode_utf8_lossy().into_owned();
    let server = servers.iter().find(|server| server.has_user_pass())?;
    let user = text(server.username()?);
    Some(match server.password() {
        Some(password) => Credentials::UserAndPassword(user, text(password)),
        None => Credentials::Token(user),
    })
}
