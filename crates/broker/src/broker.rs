//! The handle that the server holds, and what all parts of the broker share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Instant, SystemTime};

use foldhash::fast::RandomState;
use seaway_nats_protocol::ServerInfo;
use tokio::sync::{Notify, Semaphore, watch};

use crate::attachment::{Attachment, AttachmentShared, ConnectionId, Sink};
use crate::connection::Connection;
use crate::identity::server_id;
use crate::limits::{SHUTDOWN_WAIT, VERIFICATIONS_MAX};
use crate::lock::lock;
use crate::options::BrokerOptions;
use crate::reason::CloseReason;
use crate::requester::Requester;
use crate::routing::{RouteCache, RoutingTable};
use crate::settings::Settings;
use crate::snapshot::ConnectionSnapshot;
use crate::subscription::{Owner, Subscription};
use crate::workspace::WorkspacePool;

/// A running broker; cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

/// Totals over all connections, raised once per batch.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) in_messages: AtomicU64,
    pub(crate) in_bytes: AtomicU64,
    pub(crate) out_messages: AtomicU64,
    pub(crate) out_bytes: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) stale_connections: AtomicU64,
    pub(crate) stalled_clients: AtomicU64,
    pub(crate) total_connections: AtomicU64,
    pub(crate) route_lookups: AtomicU64,
    pub(crate) route_misses: AtomicU64,
}

impl Counters {
    pub(crate) fn sent(&self, messages: u64, bytes: u64) {
        if messages > 0 {
            self.out_messages.fetch_add(messages, Ordering::Relaxed);
            self.out_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn looked_up(&self, cache: &mut RouteCache) {
        let (lookups, misses) = (std::mem::take(&mut cache.lookups), std::mem::take(&mut cache.misses));
        if lookups > 0 {
            self.route_lookups.fetch_add(lookups, Ordering::Relaxed);
        }
        if misses > 0 {
            self.route_misses.fetch_add(misses, Ordering::Relaxed);
        }
    }
}

/// Live connections by slot, and the ended ones that monitoring still shows.
#[derive(Default)]
pub(crate) struct Registry {
    slots: Vec<Option<Arc<Connection>>>,
    free: Vec<u32>,
    /// Slots of live connections by id.
    by_id: HashMap<u64, u32, RandomState>,
    pub(crate) closed: VecDeque<ConnectionSnapshot>,
}

impl Registry {
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.slots.iter().flatten()
    }

    /// The live connection with this id.
    fn find(&self, id: u64) -> Option<&Arc<Connection>> {
        let slot = *self.by_id.get(&id)?;
        self.slots[slot as usize].as_ref()
    }
}

/// Everything that connections, attachments and monitoring share.
pub(crate) struct Shared {
    pub(crate) options: BrokerOptions,
    /// Replaced by a reload; what concerns `options` too counts from here.
    pub(crate) settings: RwLock<Arc<Settings>>,
    /// Bounds how many passwords are being compared with hashes.
    pub(crate) verifications: Arc<Semaphore>,
    pub(crate) server_id: String,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) routing: RoutingTable,
    pub(crate) counters: Counters,
    pub(crate) workspaces: WorkspacePool,
    pub(crate) registry: Mutex<Registry>,
    /// Connections being served; refused ones are never counted.
    pub(crate) connections: AtomicUsize,
    /// Sessions whose task has not ended, refused and lingering ones included.
    pub(crate) sessions: AtomicUsize,
    pub(crate) session_ended: Notify,
    pub(crate) stopping: watch::Sender<bool>,
    bound_port: AtomicU16,
    next_id: AtomicU64,
}

impl Shared {
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn nanoseconds_since_start(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The INFO of a client; the caller adds what concerns one moment only.
    pub(crate) fn info(&self, client_id: u64, client_ip: String) -> ServerInfo {
        let settings = self.settings();
        let (host, port) = self.options.advertised(self.bound_port.load(Ordering::Relaxed));
        ServerInfo {
            server_id: self.server_id.clone(),
            server_name: self.server_name().to_owned(),
            version: self.options.version.clone(),
            proto: 1,
            git_commit: self.options.git_commit.clone(),
            go: "rust".into(),
            host,
            port,
            headers: !self.options.no_header_support,
            auth_required: settings.access.is_required(),
            tls_required: settings.tls.as_ref().is_some_and(|tls| !tls.options().allow_plain),
            tls_available: settings.tls.as_ref().is_some_and(|tls| tls.options().allow_plain),
            tls_verify: settings.tls.as_ref().is_some_and(|tls| tls.options().verify),
            max_payload: settings.max_payload,
            client_id,
            client_ip,
            connect_urls: self.options.connect_urls.clone(),
            ..ServerInfo::default()
        }
    }

    pub(crate) fn server_name(&self) -> &str {
        if self.options.server_name.is_empty() {
            &self.server_id
        } else {
            &self.options.server_name
        }
    }

    pub(crate) fn set_bound_port(&self, port: u16) {
        // The first listener is the one that is advertised.
        let _ = self
            .bound_port
            .compare_exchange(0, port, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Puts a connection, made by `make` from its slot, among the live ones.
    pub(crate) fn register(&self, make: impl FnOnce(u32) -> Connection) -> Arc<Connection> {
        let mut registry = lock(&self.registry);
        let slot = match registry.free.pop() {
            Some(slot) => slot,
            None => {
                registry.slots.push(None);
                u32::try_from(registry.slots.len() - 1).expect("descriptors end long before 2^32 connections")
            }
        };
        let connection = Arc::new(make(slot));
        registry.slots[slot as usize] = Some(Arc::clone(&connection));
        registry.by_id.insert(connection.id, slot);
        connection
    }

    /// Takes a connection from the live ones and remembers its end.
    pub(crate) fn unregister(&self, connection: &Connection, ended: ConnectionSnapshot) {
        let mut registry = lock(&self.registry);
        registry.slots[connection.slot as usize] = None;
        registry.by_id.remove(&connection.id);
        registry.free.push(connection.slot);
        if self.options.max_closed_clients > 0 {
            while registry.closed.len() >= self.options.max_closed_clients {
                registry.closed.pop_front();
            }
            registry.closed.push_back(ended);
        }
    }

    /// Removes a subscription from the table and from its owner.
    pub(crate) fn end_subscription(&self, subscription: &Arc<Subscription>) {
        if !self.routing.remove(subscription) {
            return;
        }
        match &subscription.owner {
            Owner::Connection(connection) => {
                let mut subscriptions = lock(&connection.subscriptions);
                let same = subscriptions
                    .get(subscription.sid())
                    .is_some_and(|known| Arc::ptr_eq(&known.0, subscription));
                if same {
                    subscriptions.remove(subscription.sid());
                }
            }
            Owner::Attachment { shared, tag, .. } => shared.forget(*tag, subscription),
        }
    }
}

impl Broker {
    /// A broker without listeners. Nothing runs until [`Broker::listen`].
    #[must_use]
    pub fn new(options: BrokerOptions) -> Self {
        let workspaces = WorkspacePool::new(options.max_pending);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shared: Arc::new(Shared {
                settings: RwLock::new(Arc::new(Settings::new(&options))),
                verifications: Arc::new(Semaphore::new(processors.min(VERIFICATIONS_MAX))),
                options,
                server_id: server_id(),
                started: Instant::now(),
                started_at: SystemTime::now(),
                routing: RoutingTable::new(),
                counters: Counters::default(),
                workspaces,
                registry: Mutex::default(),
                connections: AtomicUsize::new(0),
                sessions: AtomicUsize::new(0),
                session_ended: Notify::new(),
                stopping: watch::Sender::new(false),
                bound_port: AtomicU16::new(0),
                next_id: AtomicU64::new(1),
            }),
        }
    }

    /// The server's public identity: 56 characters starting with `N`, new for each broker.
    #[must_use]
    pub fn server_id(&self) -> &str {
        &self.shared.server_id
    }

    /// The configured name, else the identity.
    #[must_use]
    pub fn server_name(&self) -> &str {
        self.shared.server_name()
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &BrokerOptions {
        &self.shared.options
    }

    /// Attaches an in-process party under a name for people.
    #[must_use]
    pub fn attach(&self, name: &str, sink: Arc<dyn Sink>) -> Attachment {
        let shared = Arc::new(AttachmentShared::new(self.shared.next_id(), name, sink));
        Attachment {
            broker: Arc::clone(&self.shared),
            shared,
        }
    }

    /// Who sent a request that reached an attachment; `None` when the connection has gone, or is none of a client.
    #[must_use]
    pub fn requester(&self, origin: ConnectionId) -> Option<Requester> {
        let connection = lock(&self.shared.registry).find(origin.0).cloned()?;
        let is_open = !self.shared.settings().access.is_configured();
        Some(Requester::new(is_open, connection.admission.grant()))
    }

    /// Closes one connection (reason `Kicked`); false when there is none with this id.
    #[must_use]
    pub fn kick(&self, connection_id: u64) -> bool {
        let found = lock(&self.shared.registry).find(connection_id).cloned();
        if let Some(connection) = &found {
            connection.close(CloseReason::Kicked);
        }
        found.is_some()
    }

    /// Stops listening, closes all connections (reason `Server Shutdown`) and waits up to two seconds for what is
    /// queued to leave.
    pub async fn shutdown(&self) {
        self.shared.stopping.send_replace(true);
        let live: Vec<Arc<Connection>> = lock(&self.shared.registry).live().cloned().collect();
        for connection in live {
            connection.close(CloseReason::ServerShutdown);
        }
        let all_ended = async {
            loop {
                let ended = self.shared.session_ended.notified();
                if self.shared.sessions.load(Ordering::Acquire) == 0 {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(SHUTDOWN_WAIT, all_ended).await.is_err() {
            tracing::debug!("shutdown does not wait for the remaining connections");
        }
    }
}
