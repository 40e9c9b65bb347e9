//! What monitoring sees: copies, taken without stopping traffic (core specification §6.2, §6.3).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use crate::connection::Connection;
use crate::limits::CLOSED_SUBSCRIPTIONS_KEPT;
use crate::lock::lock;
use crate::owner::Subscription;
use crate::reason::CloseReason;
use crate::routing::Handle;
use crate::tls::TlsDetails;

/// Numbers of the whole broker. Counters are current when a client has been answered.
#[derive(Debug, Clone)]
pub struct BrokerSnapshot {
    /// Public identity.
    pub server_id: String,
    /// Configured name, else the identity.
    pub server_name: String,
    /// When the broker was made.
    pub started_at: SystemTime,
    /// How long ago that was.
    pub uptime: Duration,
    /// Whether clients without credentials are refused.
    pub auth_required: bool,
    /// How TLS is used, if at all.
    pub tls: Option<TlsSnapshot>,
    /// Time in which clients have to authenticate themselves.
    pub auth_timeout: Duration,
    /// Clients that may be served at once.
    pub max_connections: usize,
    /// Largest publication in bytes.
    pub max_payload: usize,
    /// Longest control line in bytes.
    pub max_control_line: usize,
    /// Clients being served.
    pub connections: usize,
    /// Clients ever accepted, refused ones included.
    pub total_connections: u64,
    /// Subscriptions, in-process ones included.
    pub subscriptions: usize,
    /// Messages from clients.
    pub in_messages: u64,
    /// Payload and header bytes from clients.
    pub in_bytes: u64,
    /// Messages to clients.
    pub out_messages: u64,
    /// Payload and header bytes to clients.
    pub out_bytes: u64,
    /// Clients closed because they read too slowly.
    pub slow_consumers: u64,
    /// Clients closed because they did not answer pings.
    pub stale_connections: u64,
    /// Bytes that wait for all clients together.
    pub outbound_bytes: usize,
    /// The most bytes that one producer ever had gathered for all destinations together; it is bounded.
    pub gathered_bytes_peak: usize,
    /// How often a producer had to wait for a slow consumer.
    pub stalled_clients: u64,
    /// Subscriptions ever made.
    pub routing_inserts: u64,
    /// Subscriptions ever ended.
    pub routing_removes: u64,
    /// Messages whose receivers were looked up.
    pub route_lookups: u64,
    /// Lookups that a cache could not answer.
    pub route_misses: u64,
    /// How often a client's input was handled for a while before others got the thread.
    pub turns: u64,
    /// Work of all turns together: receivers, nodes of the table of subscriptions, bytes and system calls, in units of some tens of
    /// nanoseconds.
    pub work: u64,
    /// The most that one turn took; it is bounded.
    pub longest_turn: u64,
    /// Other servers closed because they read too slowly.
    pub slow_routes: u64,
    /// The cluster, if this server is in one.
    pub cluster: Option<ClusterSnapshot>,
    /// Accounts with clients of this server in them.
    pub active_accounts: usize,
}

/// The cluster that the server is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSnapshot {
    /// Its name at this moment.
    pub name: String,
    /// Port on which other servers are accepted; 0 when none are.
    pub port: u16,
    /// Time in which another server must introduce itself.
    pub auth_timeout: Duration,
    /// Other servers there is a connection to.
    pub routes: usize,
    /// Addresses of all servers for clients, this one's first; none as long as there are no others.
    pub connect_urls: Vec<String>,
}

/// A connection to another server of the cluster.
#[derive(Debug, Clone)]
pub struct RouteSnapshot {
    /// Public identity of the other server.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// Whether this server has dialled.
    pub is_dialled: bool,
    /// Whether the configuration of this server names the other one.
    pub is_configured: bool,
    /// The connection. Its subscriptions are those of the other server's clients, each subject and group once.
    pub connection: ConnectionSnapshot,
}

/// One account (core specification §6.4). Figures are those of clients of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// Its name.
    pub name: String,
    /// Whether it is the system account.
    pub is_system: bool,
    /// Clients that are in it.
    pub connections: usize,
    /// Clients that ever were.
    pub total_connections: u64,
    /// Subscriptions of its clients.
    pub subscriptions: usize,
    /// Messages from its clients.
    pub in_messages: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Messages to its clients.
    pub out_messages: u64,
    /// Their bytes.
    pub out_bytes: u64,
    /// Clients closed because they read too slowly.
    pub slow_consumers: u64,
}

/// How TLS is used for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSnapshot {
    /// Whether clients must use it.
    pub required: bool,
    /// Whether they must present a certificate.
    pub verify: bool,
    /// Time for a handshake.
    pub timeout: Duration,
}

/// Which connections [`crate::Broker::connections`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionState {
    /// Those being served.
    #[default]
    Open,
    /// Those that ended, as far as they are remembered.
    Closed,
    /// Both.
    All,
}

/// Whether subscriptions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SubscriptionDetail {
    /// Only their number.
    #[default]
    Count,
    /// All of them.
    List,
}

/// What to return from [`crate::Broker::connections`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionFilter {
    /// Open, closed or both.
    pub state: ConnectionState,
    /// Only those of this account.
    pub account: Option<String>,
    /// Only the connection with this id.
    pub connection_id: Option<u64>,
    /// Whether to list subscriptions.
    pub subscriptions: SubscriptionDetail,
}

/// One subscription of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionSnapshot {
    /// The account that it is in.
    pub account: String,
    /// Subject; bytes that are not UTF-8 are replaced.
    pub subject: String,
    /// Queue group, if any.
    pub queue: Option<String>,
    /// The client's name for it.
    pub sid: String,
    /// Messages delivered.
    pub messages: u64,
    /// Messages after which it ends; 0 if never.
    pub max: u64,
}

/// One connection, open or closed.
#[derive(Debug, Clone)]
pub struct ConnectionSnapshot {
    /// Connection id.
    pub id: u64,
    /// The peer.
    pub peer: SocketAddr,
    /// When it was accepted.
    pub started_at: SystemTime,
    /// When the client sent something last.
    pub last_activity: SystemTime,
    /// When it ended, and why; `None` while open.
    pub ended: Option<(SystemTime, CloseReason)>,
    /// Round-trip time, once measured.
    pub round_trip: Option<Duration>,
    /// How long it has existed (or existed).
    pub uptime: Duration,
    /// How long the client has sent nothing.
    pub idle: Duration,
    /// Bytes queued for the client.
    pub pending_bytes: usize,
    /// Messages from the client.
    pub in_messages: u64,
    /// Bytes from the client.
    pub in_bytes: u64,
    /// Messages to the client.
    pub out_messages: u64,
    /// Bytes to the client.
    pub out_bytes: u64,
    /// How often it had to wait for slow consumers.
    pub stalls: u64,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// The subscriptions when asked for. Of a closed connection the first few.
    pub subscription_list: Vec<SubscriptionSnapshot>,
    /// What was agreed about TLS, if it is used.
    pub tls: Option<TlsDetails>,
    /// Whom it authenticated itself as: a user's name, a public key, or `[REDACTED]` for a token.
    pub authorized_user: Option<String>,
    /// The account that it is in; none of a client that was not let in.
    pub account: Option<String>,
    /// Name from CONNECT.
    pub name: String,
    /// Language from CONNECT.
    pub lang: String,
    /// Library version from CONNECT.
    pub version: String,
}

impl SubscriptionSnapshot {
    pub(crate) fn of(subscription: &Subscription) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let account = subscription.owner.account().name();
        // What another server wants is found by a name that begins with the account.
        let sid = match subscription.owner.remote() {
            Some(_) => &subscription.sid()[account.len() + 1..],
            None => subscription.sid(),
        };
        Self {
            account: account.to_owned(),
            subject: text(subscription.subject()),
            queue: subscription.queue().map(text),
            sid: text(sid),
            messages: subscription.delivered.load(Ordering::Relaxed),
            max: subscription.limit.load(Ordering::Relaxed),
        }
    }
}

impl Connection {
    /// The last picture of a connection.
    pub(crate) fn snapshot_at_end(&self, reason: CloseReason) -> ConnectionSnapshot {
        let mut snapshot = self.snapshot(CLOSED_SUBSCRIPTIONS_KEPT);
        snapshot.ended = Some((SystemTime::now(), reason));
        snapshot
    }

    pub(crate) fn snapshot(&self, subscriptions_kept: usize) -> ConnectionSnapshot {
        let last_activity = self.last_activity.load(Ordering::Relaxed);
        let now = Instant::now();
        let (out_messages, out_bytes) = self.outbound.totals();
        let details = lock(&self.details).clone();
        let (subscriptions, subscription_list) = {
            let subscriptions = lock(&self.subscriptions);
            let kept = subscriptions.iter().take(subscriptions_kept);
            let list = kept.map(|known| SubscriptionSnapshot::of(&known.0));
            (subscriptions.len(), list.collect())
        };
        let round_trip = self.round_trip.load(Ordering::Relaxed);
        let idle = self.clock.nanoseconds_since_start(now).saturating_sub(last_activity);
        ConnectionSnapshot {
            id: self.id,
            peer: self.peer,
            started_at: self.started_at,
            last_activity: self.clock.wall_clock(last_activity),
            ended: None,
            round_trip: (round_trip > 0).then(|| Duration::from_nanos(round_trip)),
            uptime: now.saturating_duration_since(self.started),
            idle: Duration::from_nanos(idle),
            pending_bytes: self.outbound.pending(),
            in_messages: self.in_messages.load(Ordering::Relaxed),
            in_bytes: self.in_bytes.load(Ordering::Relaxed),
            out_messages,
            out_bytes,
            stalls: self.stalls.load(Ordering::Relaxed),
            subscriptions,
            subscription_list,
            tls: self.tls.as_deref().cloned(),
            authorized_user: self.admission.grant().map(|grant| grant.shown().to_owned()),
            account: self.admission.account(),
            name: details.name,
            lang: details.lang,
            version: details.version,
        }
    }
}
