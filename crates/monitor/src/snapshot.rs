//! What a server tells of itself. Plain values; times are nanoseconds since the Unix epoch, names are as clients gave
//! them with what is not UTF-8 replaced.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;

/// Why a snapshot could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// A snapshot to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// Whom to ask. Every method may be called at any time between start and end of the server, recovery included.
pub trait Source: Send + Sync + 'static {
    /// Whether the server does its work (`/healthz`).
    fn health(&self) -> Answer<'_, Health>;

    /// The broker (`/varz`).
    fn broker(&self) -> Answer<'_, Broker>;

    /// All connections in a state, in any order (`/connz`); their subscriptions only when asked for.
    fn connections(&self, state: ConnectionState, detail: Detail) -> Answer<'_, Vec<Connection>>;

    /// Who the streaming server is; known before anything else.
    fn streaming_identity(&self) -> StreamingIdentity;

    /// The streaming server (`/streaming/serverz`).
    fn streaming_server(&self) -> Answer<'_, StreamingServer>;

    /// The store (`/streaming/storez`).
    fn streaming_store(&self) -> Answer<'_, StreamingStore>;

    /// A part of the registered clients in the byte order of their ids (`/streaming/clientsz`).
    fn clients(&self, request: PageRequest) -> Answer<'_, Page<Client>>;

    /// One registered client.
    fn client(&self, id: Vec<u8>, detail: Detail) -> Answer<'_, Option<Client>>;

    /// A part of the channels' names in byte order (`/streaming/channelsz`); `request.detail` does not matter.
    fn channel_names(&self, request: PageRequest) -> Answer<'_, Page<String>>;

    /// A part of the channels in the byte order of their names.
    fn channels(&self, request: PageRequest) -> Answer<'_, Page<Channel>>;

    /// One channel.
    fn channel(&self, name: Vec<u8>, detail: Detail) -> Answer<'_, Option<Channel>>;
}

/// How much of a snapshot is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Counts only; lists of subscriptions stay empty.
    Counts,
    /// Subscriptions too.
    Subscriptions,
}

/// Part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Entries to skip.
    pub offset: usize,
    /// Entries to return, 1 to [`crate::limits::LIST_LIMIT_MAX`].
    pub limit: usize,
    /// What to tell of each.
    pub detail: Detail,
}

impl PageRequest {
    /// Takes the part asked for out of an ordered list: for sources that have it whole.
    pub fn of<T>(&self, all: impl ExactSizeIterator<Item = T>) -> Page<T> {
        Page {
            total: all.len(),
            entries: all.skip(self.offset).take(self.limit).collect(),
        }
    }
}

/// The part of a list that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Entries of the whole list.
    pub total: usize,
    /// Entries of this part, at most as many as asked for; empty beyond the end.
    pub entries: Vec<T>,
}

/// Whether the server does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ok,
    /// It does not, or not all of it.
    Unavailable {
        /// What is wrong, in a sentence.
        reason: String,
    },
}

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
    /// Whether clients without credentials are refused.
    pub auth_required: bool,
    /// Whether clients must use TLS.
    pub tls_required: bool,
    /// Whether clients must present a certificate.
    pub tls_verify: bool,
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
    /// Port of this monitoring with TLS; 0 is none.
    pub https_port: u16,
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
    /// Version of TLS, `1.2` or `1.3`.
    pub tls_version: Option<String>,
    /// Cipher suite of TLS.
    pub tls_cipher_suite: Option<String>,
    /// Whether the TLS handshake came before INFO.
    pub tls_first: bool,
    /// User it authenticated as; shown on request only.
    pub authorized_user: Option<String>,
    /// Account it belongs to; shown on request only.
    pub account: Option<String>,
    /// Subscriptions, with [`Detail::Subscriptions`].
    pub subscriptions: Vec<ConnectionSubscription>,
}

/// A core subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionSubscription {
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

/// State of the streaming server (streaming specification §8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamingState {
    /// Alone.
    Standalone,
    /// The active server of a fault-tolerance group.
    FtActive,
    /// A waiting server of a fault-tolerance group.
    FtStandby,
    /// Node of a cluster.
    Clustered,
    /// Stopped by a failure.
    Failed,
    /// Stopping.
    Shutdown,
}

/// Role of a clustered server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Role {
    /// Serves clients.
    Leader,
    /// Follows.
    Follower,
    /// Wants to lead.
    Candidate,
}

/// Who the streaming server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamingIdentity {
    /// Cluster ID.
    pub cluster_id: String,
    /// Server ID, 22 characters.
    pub server_id: String,
    /// State.
    pub state: StreamingState,
}

/// The streaming server (streaming specification §8.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamingServer {
    /// Version of the original whose behaviour is offered.
    pub version: String,
    /// What the server was built with; shown under the key `go`.
    pub runtime: String,
    /// Role, of a clustered server.
    pub role: Option<Role>,
    /// Node ID, of a clustered server.
    pub node_id: Option<String>,
    /// Start of the server.
    pub start_ns: i64,
    /// Registered clients.
    pub clients: u64,
    /// Active subscriptions, queue members, offline durables and one per offline durable group.
    pub subscriptions: u64,
    /// Channels.
    pub channels: u64,
    /// Messages in all channels.
    pub total_msgs: u64,
    /// Bytes in all channels (accounting of §6.1).
    pub total_bytes: u64,
    /// Decodable publishes received.
    pub in_msgs: u64,
    /// Their encoded bytes.
    pub in_bytes: u64,
    /// Messages sent, redeliveries included.
    pub out_msgs: u64,
    /// Their encoded bytes.
    pub out_bytes: u64,
}

/// The store (streaming specification §8.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamingStore {
    /// `MEMORY`, `FILE` or `SQL`, prefixed with `RAFT_` in a cluster.
    pub kind: String,
    /// Limits.
    pub limits: StoreLimits,
    /// Messages in all channels.
    pub total_msgs: u64,
    /// Bytes in all channels (accounting of §6.1).
    pub total_bytes: u64,
}

/// Limits of the store; 0 is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreLimits {
    /// Channels.
    pub max_channels: u64,
    /// Limits of every channel.
    pub global: ChannelLimits,
    /// Effective limits of the channels and patterns that have their own.
    pub channels: BTreeMap<String, ChannelLimits>,
}

/// Limits of a channel; 0 is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChannelLimits {
    /// Messages.
    pub max_msgs: u64,
    /// Bytes.
    pub max_bytes: u64,
    /// Age of messages in nanoseconds.
    pub max_age: u64,
    /// Subscriptions.
    pub max_subscriptions: u64,
    /// Inactivity before deletion in nanoseconds.
    pub max_inactivity: u64,
}

/// A streaming client (streaming specification §8.5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Client ID.
    pub id: String,
    /// Heartbeat inbox.
    pub hb_inbox: String,
    /// Active subscriptions.
    pub subs_count: u64,
    /// Active subscriptions by channel, with [`Detail::Subscriptions`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subscriptions: BTreeMap<String, Vec<Subscription>>,
}

/// A channel (streaming specification §8.6).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Name.
    pub name: String,
    /// Messages.
    pub msgs: u64,
    /// Bytes (accounting of §6.1).
    pub bytes: u64,
    /// First sequence.
    pub first_seq: u64,
    /// Last sequence.
    pub last_seq: u64,
    /// Subscriptions, offline ones included.
    pub subs_count: u64,
    /// Subscriptions, with [`Detail::Subscriptions`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<Subscription>,
}

/// A streaming subscription (streaming specification §8.6).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// Owner; the last owner when offline.
    pub client_id: String,
    /// Delivery inbox.
    pub inbox: String,
    /// Ack inbox.
    pub ack_inbox: String,
    /// Durable name, of plain durables only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub durable_name: String,
    /// Queue group; `<durable>:<group>` for durable groups.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub queue_name: String,
    /// Whether it is durable.
    pub is_durable: bool,
    /// Whether it has no client at present.
    pub is_offline: bool,
    /// Messages delivered and not acknowledged, at most.
    pub max_inflight: i32,
    /// Seconds before a message is sent again.
    pub ack_wait: i32,
    /// Last sequence sent.
    pub last_sent: u64,
    /// Messages delivered and not acknowledged.
    pub pending_count: u64,
    /// Whether `pending_count` has reached `max_inflight`.
    pub is_stalled: bool,
}
