//! The broker and its connections.

use std::time::Duration;

use serde::Serialize;

/// The broker as `/varz` shows it (core specification §6.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broker {
    /// Id of the broker, as in INFO.
    pub server_id: String,
    /// Name of the broker.
    pub server_name: String,
    /// Version offered in INFO.
    pub version: String,
    /// Protocol offered in INFO.
    pub protocol: u32,
    /// What the server was built with; shown under the key `go`.
    pub runtime: String,
    /// Host on which clients are served.
    pub host: String,
    /// Port on which clients are served.
    pub port: u16,
    /// Addresses told to clients.
    pub connect_urls: Vec<String>,
    /// Connections at most.
    pub max_connections: u64,
    /// Interval of pings.
    pub ping_interval: Duration,
    /// Unanswered pings at most.
    pub ping_max: u32,
    /// Host of this monitoring.
    pub http_host: String,
    /// Port of this monitoring.
    pub http_port: u16,
    /// Time for authentication.
    pub auth_timeout: Duration,
    /// Bytes of a control line at most.
    pub max_control_line: u64,
    /// Bytes of a payload at most.
    pub max_payload: u64,
    /// Bytes pending to a client at most.
    pub max_pending: u64,
    /// Time for a TLS handshake.
    pub tls_timeout: Duration,
    /// Time for a write.
    pub write_deadline: Duration,
    /// Start of the server.
    pub start_ns: i64,
    /// When the configuration was read.
    pub config_load_ns: i64,
    /// Live clients.
    pub connections: u64,
    /// Clients since the start.
    pub total_connections: u64,
    /// Route connections.
    pub routes: u64,
    /// Servers behind routes.
    pub remotes: u64,
    /// The cluster, if the server is in one.
    pub cluster: Option<Cluster>,
    /// Messages received from clients.
    pub in_msgs: u64,
    /// Their bytes, payload and headers.
    pub in_bytes: u64,
    /// Messages sent to clients.
    pub out_msgs: u64,
    /// Their bytes, payload and headers.
    pub out_bytes: u64,
    /// Slow consumers since the start.
    pub slow_consumers: SlowConsumers,
    /// Subscriptions, the server's own included.
    pub subscriptions: u64,
    /// Clients closed because they did not answer pings.
    pub stale_connections: u64,
    /// How often a producer waited for a slow consumer.
    pub stalled_clients: u64,
    /// Whether clients must authenticate themselves.
    pub auth_required: bool,
    /// Whether clients must use TLS.
    pub tls_required: bool,
    /// Whether clients must show a certificate.
    pub tls_verify: bool,
    /// Subscriptions per connection at most; 0 is no limit.
    pub max_subscriptions: u64,
    /// Port of this monitoring with TLS; 0 without.
    pub https_port: u16,
    /// Path before those of this monitoring.
    pub http_base_path: String,
    /// Tags of the server.
    pub tags: Vec<String>,
    /// Subscriptions ever made.
    pub routing_inserts: u64,
    /// Subscriptions ever ended.
    pub routing_removes: u64,
    /// Messages whose receivers were looked up.
    pub route_lookups: u64,
    /// Lookups that a cache could not answer.
    pub route_misses: u64,
    /// Accounts with clients of this server in them.
    pub active_accounts: usize,
    /// Name of the system account; empty where its services are off.
    pub system_account: String,
}

/// The cluster as `/varz` shows it (core specification §6.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Host on which other servers are accepted.
    pub host: String,
    /// Port on which other servers are accepted.
    pub port: u16,
    /// Time in which another server must introduce itself.
    pub auth_timeout: Duration,
    /// Configured servers, as host and port.
    pub urls: Vec<String>,
    /// Time for a TLS handshake.
    pub tls_timeout: Duration,
    /// Whether routes use TLS, with certificates on both sides.
    pub tls: bool,
}

/// A route as `/routez` shows it (core specification §6.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Public id of the other server.
    pub remote_id: String,
    /// Its name.
    pub remote_name: String,
    /// Whether this server has dialled.
    pub did_solicit: bool,
    /// Whether the configuration names the other server.
    pub is_configured: bool,
    /// The connection; its number is the route's.
    pub connection: Connection,
}

/// Slow consumers since the start, by kind of connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SlowConsumers {
    /// Clients.
    pub clients: u64,
    /// Routes.
    pub routes: u64,
    /// Gateways.
    pub gateways: u64,
    /// Leaf nodes.
    pub leafs: u64,
}

impl SlowConsumers {
    /// Of all kinds.
    pub fn total(&self) -> u64 {
        self.clients + self.routes + self.gateways + self.leafs
    }
}

/// An account as `/accountz` and `/accstatz` show it (core specification §6.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Whether it is the system account.
    pub is_system: bool,
    /// Clients that are in it.
    pub connections: u64,
    /// Clients that ever were.
    pub total_connections: u64,
    /// Subscriptions of its clients.
    pub subscriptions: u64,
    /// Messages received from its clients.
    pub in_msgs: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Messages sent to its clients.
    pub out_msgs: u64,
    /// Their bytes.
    pub out_bytes: u64,
    /// Clients closed because they read too slowly.
    pub slow_consumers: u64,
}

/// Which connections are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Live ones.
    Open,
    /// Those of the ring of closed connections.
    Closed,
    /// Both.
    All,
}

/// The connections that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionsWanted {
    /// In this state.
    pub state: ConnectionState,
    /// Only those of this account.
    pub account: Option<String>,
    /// Only the one with this number.
    pub cid: Option<u64>,
}

/// A connection as `/connz` shows it (core specification §6.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// Number of the connection.
    pub cid: u64,
    /// Address of the client.
    pub ip: String,
    /// Port of the client.
    pub port: u16,
    /// When it was opened.
    pub start_ns: i64,
    /// When something was last received or sent.
    pub last_activity_ns: i64,
    /// When it was closed.
    pub stop_ns: Option<i64>,
    /// Why it was closed.
    pub reason: Option<String>,
    /// Last round trip measured.
    pub rtt: Option<Duration>,
    /// Bytes that wait to be sent.
    pub pending_bytes: u64,
    /// Messages received from the client.
    pub in_msgs: u64,
    /// Messages sent to the client.
    pub out_msgs: u64,
    /// Bytes received from the client.
    pub in_bytes: u64,
    /// Bytes sent to the client.
    pub out_bytes: u64,
    /// Number of subscriptions.
    pub subscription_count: u64,
    /// Name the client gave.
    pub name: Option<String>,
    /// Language the client gave.
    pub lang: Option<String>,
    /// Version the client gave.
    pub version: Option<String>,
    /// Version of TLS, if it is used.
    pub tls_version: Option<String>,
    /// Cipher suite, if TLS is used.
    pub tls_cipher_suite: Option<String>,
    /// Whether the TLS handshake came before INFO.
    pub tls_first: bool,
    /// User it authenticated as; shown on request only.
    pub authorized_user: Option<String>,
    /// Account it is in, if it was let in; shown on request only.
    pub account: Option<String>,
    /// How often it waited for slow consumers.
    pub stalls: u64,
}

/// What became of a client, as events in the system account tell it (core specification §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientChange {
    /// It was let in.
    Connect,
    /// It has gone, or was refused.
    Disconnect,
}

/// A core subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionSubscription {
    /// Its account; empty where that is not known.
    pub account: String,
    /// Subject, possibly with wildcards.
    pub subject: String,
    /// Queue group.
    pub queue: Option<String>,
    /// Id the client gave.
    pub sid: String,
    /// Messages delivered.
    pub msgs: u64,
    /// Messages after which it ends; 0 is never.
    pub max: u64,
}
