//! What an operator may choose about the broker (core specification §1.14).

use std::time::Duration;

use seaway_nats_protocol::SubjectMapping;

use crate::access::Access;
use crate::limits::SYSTEM_ACCOUNT;
use crate::mesh::ClusterOptions;
use crate::tls::Tls;

/// What an operator wrote about one account (core specification §3.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountOptions {
    /// Its name, without blanks.
    pub name: String,
    /// Client connections at once; `None` is no bound.
    pub max_connections: Option<usize>,
    /// Subscriptions of its clients here, together; `None` is no bound.
    pub max_subscriptions: Option<usize>,
    /// Largest publication in bytes, headers included; `None` is that of the broker.
    pub max_payload: Option<usize>,
    /// What it imports from other accounts. Those that it had when the broker was made stay.
    pub imports: Vec<ImportOptions>,
}

/// An import as an operator wrote it; that the exporter allows it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The account that it comes from.
    pub account: String,
    /// The subjects there and here.
    pub mapping: SubjectMapping,
    /// What it is.
    pub kind: ImportKind,
}

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportKind {
    /// Messages.
    Stream,
    /// Somebody who answers.
    Service {
        /// Whether one answer is all there is.
        is_single: bool,
        /// Time for which answers are waited for.
        threshold: Duration,
    },
}

/// Options of a broker. The default is a plain server without authentication.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Name shown to clients; empty means the server id.
    pub server_name: String,
    /// Host advertised in INFO.
    pub host: String,
    /// Port advertised in INFO; 0, the default, means the port of the first listener.
    pub port: u16,
    /// `host:port` advertised instead of `host` and `port`, if any.
    pub client_advertise: Option<String>,
    /// Version advertised to clients, which gate features on it.
    pub version: String,
    /// Revision the server was built from; empty if unknown.
    pub git_commit: String,
    /// Who may connect, and what they may do.
    pub access: Access,
    /// Accounts, besides the global and the system account.
    pub accounts: Vec<AccountOptions>,
    /// The account of the services and events about this server.
    pub system_account: String,
    /// Patterns of subjects where services within the process of some server of the cluster take requests: what is answered to the
    /// importer of a service goes to none of them.
    pub services: Vec<String>,
    /// TLS for clients, if any.
    pub tls: Option<Tls>,
    /// Client connections served at once; 0 refuses all.
    pub max_connections: usize,
    /// Largest publication in bytes, headers included; in a cluster no more than [`seaway_nats_protocol::limits::ROUTE_PAYLOAD_MAX`].
    pub max_payload: usize,
    /// Longest control-line argument in bytes; in a cluster no more than [`seaway_nats_protocol::limits::ROUTE_CLIENT_LINE_MAX`].
    pub max_control_line: usize,
    /// Bytes queued for one client before it is closed as a slow consumer.
    pub max_pending: usize,
    /// Bytes queued for all clients together. When they come near it those for whom most is queued get less, or are closed.
    pub outbound_bytes_max: usize,
    /// Subscriptions per connection; 0 means no limit.
    pub max_subscriptions: usize,
    /// Tokens per subscription subject; 0 means no limit.
    pub max_subscription_tokens: usize,
    /// Time in which a client must take some of the bytes offered to it.
    pub write_deadline: Duration,
    /// Time between PINGs to a silent client.
    pub ping_interval: Duration,
    /// Unanswered PINGs tolerated.
    pub ping_max: u32,
    /// Closed connections remembered for monitoring.
    pub max_closed_clients: usize,
    /// Whether headers are refused altogether.
    pub no_header_support: bool,
    /// Whether producers never wait for slow destinations; the destination loses the message instead.
    pub no_fast_producer_stall: bool,
    /// The cluster of servers that this one belongs to, if any.
    pub cluster: Option<ClusterOptions>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            server_name: String::new(),
            host: "0.0.0.0".into(),
            port: 0,
            client_advertise: None,
            version: "2.12.1".into(),
            git_commit: String::new(),
            access: Access::default(),
            accounts: Vec::new(),
            system_account: SYSTEM_ACCOUNT.to_owned(),
            services: Vec::new(),
            tls: None,
            max_connections: 65_536,
            max_payload: seaway_nats_protocol::limits::MAX_PAYLOAD_DEFAULT,
            max_control_line: seaway_nats_protocol::limits::MAX_CONTROL_LINE_DEFAULT,
            max_pending: 64 * 1024 * 1024,
            outbound_bytes_max: usize::MAX,
            max_subscriptions: 0,
            max_subscription_tokens: 0,
            write_deadline: Duration::from_secs(10),
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            max_closed_clients: 10_000,
            no_header_support: false,
            no_fast_producer_stall: false,
            cluster: None,
        }
    }
}

impl BrokerOptions {
    /// Host and port for INFO, given the port that was really bound.
    pub(crate) fn advertised(&self, bound_port: u16) -> (String, u16) {
        let port = if self.port == 0 { bound_port } else { self.port };
        match &self.client_advertise {
            None => (self.host.clone(), port),
            Some(advertise) => match advertise.rsplit_once(':') {
                Some((host, text)) => {
                    let host = host.trim_start_matches('[').trim_end_matches(']');
                    (host.to_owned(), text.parse().unwrap_or(port))
                }
                None => (advertise.clone(), port),
            },
        }
    }
}
