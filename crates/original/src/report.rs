//! What `seaway adopt --check` says of a directory, as data.

use serde::Serialize;

use crate::entities::Subscription;
use crate::finding::Finding;
use crate::limits::PENDING_RANGES_LISTED_MAX;
use crate::records::{ClientInfo, ServerInfo};

/// The whole of it. Names that are no UTF-8 are shown with replacement characters.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was read.
    #[serde(flatten)]
    pub place: Place,
    /// Whether it can be adopted.
    pub verdict: Verdict,
    /// Versions of the file format that were met: only one is known.
    pub format_version: u32,
    /// What the server said of itself.
    pub server: Option<Server>,
    /// Whether it was a member of a cluster.
    pub clustered: bool,
    /// How far its Raft directory goes, when it was read: of several members the one with the highest last term and index is adopted.
    pub raft: Option<Raft>,
    /// Sums.
    pub totals: Totals,
    /// Room on the disk.
    pub disk: Disk,
    /// Clients by ID.
    pub clients: Vec<Client>,
    /// Channels by name.
    pub channels: Vec<ChannelReport>,
    /// Everything odd, in the order in which it was met; the first of each kind and severity in any case.
    pub findings: Vec<Finding>,
    /// How many findings more there are than are listed.
    pub findings_not_listed: u64,
}

/// Where a server kept what it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In this directory.
    Directory(String),
    /// In this database: what it is and where, without the password.
    Database(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Place::Directory(text) | Place::Database(text)) = self;
        formatter.write_str(text)
    }
}

/// Whether a directory can be adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that the original would show.
    Ready,
    /// Some of it is damaged, and would be left out.
    Losses,
    /// Not before a finding is settled.
    Refused,
}

/// See [`ServerInfo`].
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "as in ServerInfo")]
pub struct Server {
    pub cluster_id: String,
    pub discovery: String,
    pub publish: String,
    pub subscribe: String,
    pub unsubscribe: String,
    pub close: String,
    pub sub_close: String,
    pub acks: String,
    pub node_id: String,
}

/// How far a member's Raft directory goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Raft {
    /// Term of the last entry.
    pub last_term: u64,
    /// Index of the last entry.
    pub last_index: u64,
    /// Term of the snapshot that was used; 0 when there was none.
    pub snapshot_term: u64,
    /// Index of the snapshot that was used; 0 when there was none.
    pub snapshot_index: u64,
    /// Entries in the log.
    pub entries: u64,
}

/// Sums over what would be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Clients.
    pub clients: u64,
    /// Channels.
    pub channels: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes as the original counts them: 40 for each message besides what it is encoded in.
    pub bytes: u64,
    /// Subscriptions, online and offline.
    pub subscriptions: u64,
    /// Durables and members of durable queue groups among them.
    pub durables: u64,
    /// Messages that await acks.
    pub pending: u64,
}

/// Room on the disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// What the directory takes now.
    pub files_bytes: u64,
    /// What a store of Seaway's with the same content takes, roughly. It comes on top: the original's files stay.
    pub needed_bytes: u64,
    /// What is free on the file system where the store would be; none when nobody has said where.
    pub free_bytes: Option<u64>,
}

/// See [`ClientInfo`].
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "as in ClientInfo")]
pub struct Client {
    pub id: String,
    pub heartbeat_inbox: String,
    pub connection_id: String,
    pub protocol: i32,
    pub ping_interval: i32,
    pub ping_max_out: i32,
}

/// A channel.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelReport {
    /// Its name.
    pub name: String,
    /// Message files.
    pub slices: u64,
    /// Messages that would be taken. Some may have expired long ago: the original does not erase them at once.
    pub messages: u64,
    /// As the original counts.
    pub bytes: u64,
    /// Payloads alone.
    pub payload_bytes: u64,
    /// 0 when there is no message.
    pub first_sequence: u64,
    /// 0 when there is no message.
    pub last_sequence: u64,
    /// RFC 3339, UTC.
    pub first_time: Option<String>,
    /// RFC 3339, UTC.
    pub last_time: Option<String>,
    /// Sequences between first and last that have no message.
    pub missing: u64,
    /// Messages without payload.
    pub empty_messages: u64,
    /// Messages whose payload looks encrypted.
    pub encrypted: u64,
    /// Messages that are older than the one before.
    pub decreasing_times: u64,
    /// The ID of the next subscription.
    pub next_subscription_id: u64,
    /// Subscriptions by ID.
    pub subscriptions: Vec<SubscriptionReport>,
}

/// What a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum SubscriptionKind {
    Plain,
    Queue,
    Durable,
    DurableQueue,
}

/// Whether somebody has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its client is there.
    Online,
    /// A durable that waits for its client, or a durable queue group that waits for members.
    Offline,
    /// A member of a durable queue group whose client is gone.
    Ghost,
    /// Not durable, and its client is gone.
    Orphan,
}

/// A subscription.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "as in SubState")]
pub struct SubscriptionReport {
    pub id: u64,
    pub kind: SubscriptionKind,
    pub status: Status,
    pub client_id: String,
    pub queue_group: String,
    pub durable_name: String,
    pub inbox: String,
    pub ack_inbox: String,
    pub max_in_flight: i32,
    pub ack_wait_seconds: i32,
    pub last_sent: u64,
    /// How many messages await their acks.
    pub pending: u64,
    /// First and last of each range of them; the first hundred ranges.
    pub pending_ranges: Vec<(u64, u64)>,
}

impl SubscriptionReport {
    pub(crate) fn of(subscription: &Subscription, is_known: impl Fn(&[u8]) -> bool) -> Self {
        let state = &subscription.state;
        let kind = match (state.queue_group.is_empty(), state.durable_name.is_empty()) {
            (false, _) if state.is_durable => SubscriptionKind::DurableQueue,
            (false, _) => SubscriptionKind::Queue,
            (true, false) => SubscriptionKind::Durable,
            (true, true) => SubscriptionKind::Plain,
        };
        let is_present = is_known(&state.client_id);
        let status = match kind {
            SubscriptionKind::Durable if is_present && !state.is_closed => Status::Online,
            SubscriptionKind::Durable => Status::Offline,
            SubscriptionKind::DurableQueue if state.client_id.is_empty() => Status::Offline,
            SubscriptionKind::DurableQueue if !is_present => Status::Ghost,
            _ if is_present => Status::Online,
            _ => Status::Orphan,
        };
        Self {
            id: state.id,
            kind,
            status,
            client_id: text(&state.client_id),
            queue_group: text(&state.queue_group),
            durable_name: text(&state.durable_name),
            inbox: text(&state.inbox),
            ack_inbox: text(&state.ack_inbox),
            max_in_flight: state.max_in_flight,
            ack_wait_seconds: state.ack_wait_seconds,
            last_sent: state.last_sent,
            pending: subscription.pending.count(),
            pending_ranges: subscription.pending.ranges().take(PENDING_RANGES_LISTED_MAX).collect(),
        }
    }

    /// Whether an adoption takes it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self.status, Status::Online | Status::Offline)
    }

    /// Whether it outlives its client.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        matches!(self.kind, SubscriptionKind::Durable | SubscriptionKind::DurableQueue)
    }
}

impl From<&ServerInfo> for Server {
    fn from(info: &ServerInfo) -> Self {
        Self {
            cluster_id: text(&info.cluster_id),
            discovery: text(&info.discovery),
            publish: text(&info.publish),
            subscribe: text(&info.subscribe),
            unsubscribe: text(&info.unsubscribe),
            close: text(&info.close),
            sub_close: text(&info.sub_close),
            acks: text(&info.acks),
            node_id: text(&info.node_id),
        }
    }
}

impl From<&ClientInfo> for Client {
    fn from(client: &ClientInfo) -> Self {
        Self {
            id: text(&client.id),
            heartbeat_inbox: text(&client.heartbeat_inbox),
            connection_id: text(&client.connection_id),
            protocol: client.protocol,
            ping_interval: client.ping_interval,
            ping_max_out: client.ping_max_out,
        }
    }
}

/// A name as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A time of a message, RFC 3339 in UTC.
pub(crate) fn time(nanoseconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()?;
    Some(time.to_string())
}
