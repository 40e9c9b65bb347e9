//! What a server tells of itself. Plain values; times are nanoseconds since the Unix epoch, names are as clients gave
//! them with what is not UTF-8 replaced.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

mod audit;
mod broker;
mod figures;
mod why;

pub use audit::{AuditEntry, AuditQuestion};
pub use broker::{
    Account, Broker, ClientChange, Cluster, Connection, ConnectionState, ConnectionSubscription, ConnectionsWanted,
    Route, SlowConsumers,
};
pub use figures::{
    ArchiveFigures, ChannelFilter, EngineFigures, Figures, Histogram, JournalFigures, Survey, SurveyRequest,
    SurveyedChannel, SurveyedSubscription,
};
pub use why::{Fact, SequenceRange, Why, WhyQuestion, WhySubscription};

/// Why a snapshot could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// A snapshot to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// Whom to ask. Every method may be called at any time between start and end of the server, recovery included.
pub trait Source: Send + Sync + 'static {
    /// What the paths of the broker's endpoints begin with: empty, or `/` and more.
    fn base_path(&self) -> String {
        String::new()
    }

    /// Whether there is a console beside the monitoring, below `/console/`: the start page leads there.
    fn has_console(&self) -> bool {
        false
    }

    /// Whether the server can do its work (`/healthz`, `/healthz/ready`): not while it starts or stops, nor when its store
    /// failed.
    fn readiness(&self) -> Answer<'_, Health>;

    /// Whether it is worth keeping (`/healthz/live`): a server that starts, stops, or whose store failed is.
    fn liveness(&self) -> Answer<'_, Health>;

    /// Lines that could not be written to the log since the process began (`/metrics`).
    fn log_lines_lost(&self) -> u64;

    /// The broker (`/varz`).
    fn broker(&self) -> Answer<'_, Broker>;

    /// All accounts by name (`/accountz`, `/accstatz`).
    fn accounts(&self) -> Answer<'_, Vec<Account>>;

    /// One account by its name. Nobody but its own clients is looked at for it.
    fn account(&self, name: &str) -> Answer<'_, Option<Account>>;

    /// The connections that are wanted, in any order and without their subscriptions (`/connz`). Of an account its own are looked at.
    fn connections(&self, wanted: ConnectionsWanted) -> Answer<'_, Vec<Connection>>;

    /// The subscriptions of a connection, of a client or to another server, open or closed, at most `max` of them; empty when it has
    /// gone.
    fn connection_subscriptions(&self, cid: u64, max: usize) -> Answer<'_, Vec<ConnectionSubscription>>;

    /// Connections to other servers in ascending order of their numbers, without their subscriptions (`/routez`).
    fn routes(&self) -> Answer<'_, Vec<Route>>;

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

    /// A part of the channels whose names begin with `prefix`, in the byte order of their names and without their
    /// subscriptions; the total is the number of channels that begin so.
    fn channels_with_prefix(&self, prefix: Vec<u8>, offset: usize, limit: usize) -> Answer<'_, Page<Channel>>;

    /// One channel.
    fn channel(&self, name: Vec<u8>, detail: Detail) -> Answer<'_, Option<Channel>>;

    /// Changes that operators have made, the newest first (`/streaming/auditz`).
    fn audit(&self, question: AuditQuestion) -> Answer<'_, Page<AuditEntry>>;

    /// Why the subscriptions that a question names are, or are not, receiving (`/streaming/why`).
    fn why(&self, question: WhyQuestion) -> Answer<'_, Why>;

    /// Figures of the engine and the store (`/metrics`).
    fn figures(&self) -> Answer<'_, Figures>;

    /// Sums over a part of the channels, and details of some of them (`/metrics`).
    fn survey(&self, request: SurveyRequest) -> Answer<'_, Survey>;
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
    /// It does, and something is to be looked after.
    Degraded {
        /// What, in a sentence.
        reason: String,
    },
    /// It does not, or not all of it.
    Unavailable {
        /// What is wrong, in a sentence.
        reason: String,
    },
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

impl StreamingState {
    /// As serverz shows it.
    pub fn name(self) -> &'static str {
        match self {
            StreamingState::Standalone => "STANDALONE",
            StreamingState::FtActive => "FT_ACTIVE",
            StreamingState::FtStandby => "FT_STANDBY",
            StreamingState::Clustered => "CLUSTERED",
            StreamingState::Failed => "FAILED",
            StreamingState::Shutdown => "SHUTDOWN",
        }
    }
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

impl Role {
    /// As serverz shows it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Leader => "Leader",
            Role::Follower => "Follower",
            Role::Candidate => "Candidate",
        }
    }
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
    /// Number of the tenure under which it serves: every later one, of whichever server on the same state, has a higher one.
    pub tenure: Option<u64>,
    /// Its part in a fault-tolerance group, if it is in one.
    pub membership: Option<Membership>,
}

/// The part of a server in a fault-tolerance group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// Name of the group.
    pub group: String,
    /// Name of the other server that serves, as far as that is known; none while this one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// The number of its tenure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_tenure: Option<u64>,
    /// How often this one became active, or ceased to be, since it started.
    pub changes: u64,
    /// Seconds since the last of these changes, or since the start.
    pub seconds: u64,
    /// Why that happened, in words.
    pub reason: String,
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
    /// The NATS servers of somebody else that carry the messages, if there are any.
    pub external: Option<ExternalNats>,
}

/// The connection to NATS servers of somebody else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalNats {
    /// The server it is, or was last, connected to, without credentials.
    pub url: String,
    /// Its name.
    pub server_name: String,
    /// Its ID.
    pub server_id: String,
    /// Its version.
    pub version: String,
    /// Whether messages are carried.
    pub is_connected: bool,
    /// Since when that is so.
    pub since_ns: Option<i64>,
    /// Connections after the first.
    pub reconnects: u64,
    /// Why the last connection was lost.
    pub last_error: Option<String>,
    /// Where its clients can connect, as it says.
    pub connect_urls: Vec<String>,
    /// Bytes of one message that it takes at most.
    pub max_payload: u64,
    /// Messages received from it.
    pub in_msgs: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Messages sent to it.
    pub out_msgs: u64,
    /// Their bytes.
    pub out_bytes: u64,
    /// Bytes that wait to be sent.
    pub pending_bytes: u64,
    /// Publishes refused because the engine was behind.
    pub refused_msgs: u64,
    /// Messages that were to be sent and found no room or no connection.
    pub dropped_msgs: u64,
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

/// Limits of a channel that an operator set in place of those of the configuration; 0 is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChannelLimitsSet {
    /// Messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_msgs: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Age of messages in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Subscriptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<u64>,
    /// Inactivity before deletion in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_inactivity: Option<u64>,
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
    /// The limits that count for it.
    #[serde(skip)]
    pub limits: ChannelLimits,
    /// Those of them that an operator set.
    #[serde(skip)]
    pub limits_set: ChannelLimitsSet,
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
    /// Who has paused it, or its group; not in the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<String>,
}
