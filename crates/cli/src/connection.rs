//! The connection to the server, and what to say when there is none.

use std::time::Duration;

use async_nats::{ConnectErrorKind, Event, RequestErrorKind, ServerError};
use seaway_client::{Client, ConnectError, ConnectOptions};
use tokio::sync::watch;

use crate::connection_flags::ConnectionArguments;
use crate::failure::{Failure, Kind, Outcome};
use crate::resolve::resolve;
use crate::settings::{Credentials, Settings, read_secret, without_secret};

const DISCOVER_PREFIX: &str = "_STAN.discover";
/// Messages that may wait in this process; more than a subscription may have in flight.
const WAITING_MAX: usize = 1 << 20;
/// What a server answers to who lacks a permission.
const VIOLATION: &str = "permissions violation";

/// A connection to the NATS server, with what is needed to find the streaming server behind it.
pub(crate) struct Connection {
    pub(crate) nats: async_nats::Client,
    pub(crate) cluster: String,
    pub(crate) timeout: Duration,
    discover_prefix: String,
    /// The address as it may be shown.
    shown: String,
    violation: watch::Receiver<Option<String>>,
}

impl Connection {
    /// Connects as flags, contexts and variables say.
    pub(crate) async fn open(arguments: &ConnectionArguments) -> Outcome<Self> {
        let settings = resolve(arguments)?;
        let shown = without_secret(settings.server());
        let (violations, violation) = watch::channel(None);
        let options = nats_options(&settings)?
            .name("seaway command line")
            .connection_timeout(arguments.timeout)
            .subscription_capacity(WAITING_MAX)
            .max_reconnects(None)
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(words)) = event
                    && words.to_lowercase().contains(VIOLATION)
                {
                    violations.send_replace(Some(words));
                }
                std::future::ready(())
            });
        let servers: Vec<&str> = settings.server().split(',').map(str::trim).collect();
        let nats = options
            .connect(servers)
            .await
            .map_err(|error| no_connection(&shown, &settings, &error))?;
        Ok(Self {
            nats,
            cluster: settings.cluster().to_owned(),
            timeout: arguments.timeout,
            discover_prefix: settings.discover_prefix.unwrap_or_else(|| DISCOVER_PREFIX.to_owned()),
            shown,
            violation,
        })
    }

    /// Registers with the streaming server.
    pub(crate) async fn streaming(&self, options: ConnectOptions) -> Outcome<Client> {
        let options = options
            .nats(self.nats.clone())
            .connect_timeout(self.timeout)
            .discover_prefix(self.discover_prefix.clone());
        self.permitted(options.connect()).await?.map_err(|error| match error {
            ConnectError::NoServer { .. } => self.no_streaming_server(),
            ConnectError::NoAnswer { .. } => self.no_answer(),
            ConnectError::ClientIdInUse { client_id } => Failure::failed(format!(
                "client ID {client_id:?} is in use by a client that answers: choose another with --client-id"
            )),
            ConnectError::InvalidClientId { .. } | ConnectError::InvalidOption(_) => Failure::usage(error.to_string()),
            other => Failure::failed(other.to_string()),
        })
    }

    /// Options for a streaming connection under this ID.
    pub(crate) fn options(&self, client_id: String) -> ConnectOptions {
        ConnectOptions::new(self.cluster.clone(), client_id)
    }

    /// What the work yields, unless the server says meanwhile that it is not permitted.
    pub(crate) async fn permitted<T>(&self, work: impl IntoFuture<Output = T>) -> Outcome<T> {
        let mut violation = self.violation.clone();
        let refused = async {
            match violation.wait_for(Option::is_some).await {
                Ok(words) => words.clone().unwrap_or_default(),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            outcome = work.into_future() => Ok(outcome),
            words = refused => Err(self.not_permitted(&words)),
        }
    }

    fn not_permitted(&self, words: &str) -> Failure {
        let who = "ask the operator for this permission, or use other credentials";
        Failure::new(
            Kind::NotAuthorized,
            format!("the server at {} refuses: {words}\n{who}", self.shown),
        )
    }

    /// Why nobody answers an administrative request. The streaming server is asked to take in a client without an ID, which it refuses.
    pub(crate) async fn nobody_answers(&self) -> Failure {
        let subject = format!("{}.{}", self.discover_prefix, self.cluster);
        let request = async_nats::Request::new()
            .payload(bytes::Bytes::new())
            .timeout(Some(self.timeout));
        match self.permitted(self.nats.send_request(subject, request)).await {
            Err(failure) => failure,
            Ok(Ok(_)) => self.no_administration(),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => self.no_streaming_server(),
            Ok(Err(_)) => self.no_answer(),
        }
    }

    pub(crate) fn no_streaming_server(&self) -> Failure {
        let Self { cluster, shown, .. } = self;
        Failure::new(
            Kind::NoServer,
            format!(
                "the NATS server at {shown} answers, but no streaming server with cluster ID {cluster:?} is behind it\n\
                 either the cluster ID is another (--cluster; a server says its own when it starts), or that is a NATS server \
                 without streaming"
            ),
        )
    }

    pub(crate) fn no_administration(&self) -> Failure {
        let Self { cluster, shown, .. } = self;
        Failure::new(
            Kind::NoServer,
            format!(
                "the streaming server {cluster:?} at {shown} answers, but has no administration interface: it is the original \
                 NATS Streaming server, or an older Seaway\n`seaway pub` and `seaway sub` work with it"
            ),
        )
    }

    pub(crate) fn no_answer(&self) -> Failure {
        let (shown, timeout) = (&self.shown, crate::readable::span(self.timeout));
        Failure::new(
            Kind::NoServer,
            format!(
                "the server at {shown} did not answer within {timeout} (--timeout)\n\
                 it may be busy, or its disk slow: /healthz of its monitoring port says more"
            ),
        )
    }
}

fn nats_options(settings: &Settings) -> Outcome<async_nats::ConnectOptions> {
    let (user, credentials) = settings.login();
    let has_user = user.is_some();
    let user = || user.ok_or_else(|| Failure::usage("a password needs a user: --user NAME"));
    let options = async_nats::ConnectOptions::new();
    let mut options = match &credentials {
        Some(Credentials::PasswordFile(path)) => options.user_and_password(user()?, read_secret(path)?),
        Some(Credentials::Password(password)) => options.user_and_password(user()?, password.clone()),
        Some(Credentials::TokenFile(path)) => options.token(read_secret(path)?),
        Some(Credentials::Token(token)) => options.token(token.clone()),
        Some(Credentials::NkeyFile(path)) => options.nkey(read_secret(path)?),
        Some(Credentials::CredsFile(path)) => options
            .credentials(&read_secret(path)?)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?,
        None if has_user => {
            return Err(Failure::usage(
                "a user needs a password: --password-file FILE, or SEAWAY_CLI_PASSWORD",
            ));
        }
        None => options,
    };
    if let Some(path) = &settings.tls_ca {
        options = options.add_root_certificates(path.clone());
    }
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificate), Some(key)) => options = options.add_client_certificate(certificate.clone(), key.clone()),
        (None, None) => {}
        _ => return Err(Failure::usage("--tls-cert and --tls-key belong together")),
    }
    Ok(options.require_tls(wants_tls(settings)))
}

fn wants_tls(settings: &Settings) -> bool {
    settings.tls || settings.tls_ca.is_some() || settings.tls_cert.is_some()
}

fn no_connection(shown: &str, settings: &Settings, error: &async_nats::ConnectError) -> Failure {
    let has_credentials = settings.login().1.is_some();
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let what = match has_credentials {
                true => "does not accept these credentials",
                false => {
                    "demands credentials: --user with --password-file, --token-file, --nkey, --creds or --tls-cert"
                }
            };
            Failure::new(Kind::NotAuthorized, format!("the server at {shown} {what}"))
        }
        ConnectErrorKind::ServerParse => Failure::usage(format!("{shown} is no address of a server: {cause}")),
        // A server without TLS answers with something else.
        ConnectErrorKind::Io if wants_tls(settings) && cause.contains("corrupt message") => {
            Failure::new(Kind::NoServer, format!("the server at {shown} does not speak TLS"))
        }
        // It wears the certificate of an authority, as `openssl req -x509` makes one by default.
        _ if cause.contains("CaUsedAsEndEntity") => Failure::new(
            Kind::NoServer,
            format!(
                "no TLS connection to {shown}: the server's certificate is that of an authority (CA:TRUE)\n\
                 make one for the server: openssl req -x509 … -addext basicConstraints=critical,CA:FALSE"
            ),
        ),
        _ if cause.contains("maximum connections exceeded") => Failure::new(
            Kind::NoServer,
            format!(
                "the server at {shown} takes no more connections: {cause}\nits max_connections, or its limit of descriptors, is reached"
            ),
        ),
        _ if error.kind() == ConnectErrorKind::Tls || cause.contains("peer certificate") => Failure::new(
            Kind::NoServer,
            format!(
                "no TLS connection to {shown}: {cause}\n--tls-ca names the authority that signed the server's certificate"
            ),
        ),
        _ => Failure::new(
            Kind::NoServer,
            format!(
                "no server answers at {shown}: {cause}\nis it running? `seaway` starts one; --server or --context names another"
            ),
        ),
    }
}
