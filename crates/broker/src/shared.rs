//! What all parts of the broker share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use foldhash::fast::RandomState;
use seaway_nats_protocol::ServerInfo;
use tokio::sync::{Semaphore, watch};

use crate::account::Accounts;
use crate::connection::Connection;
use crate::counters::{Clock, Counters};
use crate::events::Events;
use crate::identity::server_id;
use crate::kind::Kind;
use crate::limits::{CONNECTIONS_PER_LOOK, VERIFICATIONS_MAX};
use crate::lock::{lock, read};
use crate::mesh::{Mesh, host_and_port};
use crate::options::BrokerOptions;
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::snapshot::ConnectionSnapshot;
use crate::workspace::WorkspacePool;

/// Live connections by slot, and the ended ones that monitoring still shows.
#[derive(Default)]
pub(crate) struct Registry {
    slots: Vec<Option<Arc<Connection>>>,
    free: Vec<u32>,
    /// Slots of live connections by id.
    by_id: HashMap<u64, u32, RandomState>,
    closed: VecDeque<Arc<ConnectionSnapshot>>,
    /// Clients that were remembered and no longer are: the number of the first of `closed`.
    forgotten: u64,
}

impl Registry {
    /// Clients and other servers.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.slots.iter().flatten()
    }

    /// Clients.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.everybody().filter(|connection| connection.kind == Kind::Client)
    }

    /// Clients among the slots from `first` on, as many as are looked at in one go; and the slot to go on with, if there are more.
    pub(crate) fn live_from(&self, first: usize) -> (Vec<Arc<Connection>>, Option<usize>) {
        let end = first.saturating_add(CONNECTIONS_PER_LOOK).min(self.slots.len());
        let slots = self.slots.get(first..end).unwrap_or_default().iter().flatten();
        let clients = slots.filter(|connection| connection.kind == Kind::Client).cloned();
        (clients.collect(), (end < self.slots.len()).then_some(end))
    }

    /// Clients that have ended from number `first` on, as far as they are remembered and as many as are looked at in one go; and the
    /// number to go on with, if there are more.
    pub(crate) fn closed_from(&self, first: u64) -> (Vec<Arc<ConnectionSnapshot>>, Option<u64>) {
        let first = first.max(self.forgotten);
        let skipped = usize::try_from(first - self.forgotten).unwrap_or(usize::MAX);
        let closed = self.closed.iter().skip(skipped).take(CONNECTIONS_PER_LOOK);
        let end = skipped.saturating_add(CONNECTIONS_PER_LOOK);
        let next = (end < self.closed.len()).then(|| self.forgotten + end as u64);
        (closed.cloned().collect(), next)
    }

    fn remember(&mut self, ended: ConnectionSnapshot, count_max: usize) {
        while self.closed.len() >= count_max {
            self.closed.pop_front();
            self.forgotten += 1;
        }
        self.closed.push_back(Arc::new(ended));
    }

    /// The live client or other server with this id.
    pub(crate) fn find_any(&self, id: u64) -> Option<&Arc<Connection>> {
        let slot = *self.by_id.get(&id)?;
        self.slots[slot as usize].as_ref()
    }

    /// The live client with this id.
    pub(crate) fn find(&self, id: u64) -> Option<&Arc<Connection>> {
        let found = self.find_any(id);
        found.filter(|connection| connection.kind == Kind::Client)
    }
}

/// Everything that connections, attachments and monitoring share.
pub(crate) struct Shared {
    pub(crate) options: BrokerOptions,
    /// Replaced by a reload; what concerns `options` too counts from here.
    pub(crate) settings: RwLock<Arc<Settings>>,
    /// Bounds how many passwords are being compared with hashes.
    pub(crate) verifications: Arc<Semaphore>,
    /// Bounds how many connections that have much to do take their turns at a time.
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) server_id: String,
    pub(crate) clock: Clock,
    pub(crate) accounts: Accounts,
    pub(crate) counters: Arc<Counters>,
    pub(crate) workspaces: WorkspacePool,
    pub(crate) registry: Mutex<Registry>,
    /// Connections being served; refused ones are never counted.
    pub(crate) connections: AtomicUsize,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) events: Events,
    pub(crate) stopping: watch::Sender<bool>,
    /// The broker is about to stop: nobody is to come to it.
    pub(crate) leaving: watch::Sender<bool>,
    /// The other servers of the cluster, where there is one.
    pub(crate) mesh: Option<Arc<Mesh>>,
    bound_port: AtomicU16,
    next_id: AtomicU64,
}

impl Shared {
    pub(crate) fn new(options: BrokerOptions) -> Self {
        let workspaces = WorkspacePool::new(options.max_pending);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mesh = options.cluster.clone().map(|cluster| Arc::new(Mesh::new(cluster)));
        let shared = Self {
            counters: Arc::new(Counters::new(options.outbound_bytes_max)),
            settings: RwLock::new(Arc::new(Settings::new(&options))),
            verifications: Arc::new(Semaphore::new(processors.clamp(2, VERIFICATIONS_MAX))),
            turns: Arc::new(Semaphore::new(processors)),
            server_id: server_id(),
            clock: Clock::new(),
            accounts: Accounts::new(&options, mesh.as_ref().map(|mesh| Arc::clone(&mesh.interest))),
            mesh,
            options,
            workspaces,
            registry: Mutex::default(),
            connections: AtomicUsize::new(0),
            sessions: Arc::default(),
            events: Events::default(),
            stopping: watch::Sender::new(false),
            leaving: watch::Sender::new(false),
            bound_port: AtomicU16::new(0),
            next_id: AtomicU64::new(1),
        };
        shared.accounts.connect(&shared.options, || shared.next_id());
        shared
    }

    /// What counts at this moment.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&read(&self.settings))
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
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
            cluster: self.mesh.as_ref().map(|mesh| mesh.name()).unwrap_or_default(),
            connect_urls: self.connect_urls(),
            ldm: *self.leaving.borrow(),
            ..ServerInfo::default()
        }
    }

    /// Addresses of all servers of the cluster for clients, this one's first; none as long as there are no others (§1.13).
    pub(crate) fn connect_urls(&self) -> Vec<String> {
        let Some(mesh) = self.mesh.as_ref().filter(|mesh| !mesh.options.no_advertise) else {
            return Vec::new();
        };
        let others = mesh.client_urls();
        if others.is_empty() || *self.leaving.borrow() {
            return others;
        }
        let mut urls = self.own_urls();
        urls.extend(others);
        urls
    }

    /// Addresses of this server for clients, as long as any are to come.
    pub(crate) fn own_urls(&self) -> Vec<String> {
        if *self.leaving.borrow() {
            return Vec::new();
        }
        let (host, port) = self.options.advertised(self.bound_port.load(Ordering::Relaxed));
        if port == 0 {
            return Vec::new();
        }
        let is_wildcard =
            self.options.client_advertise.is_none() && matches!(host.as_str(), "" | "0.0.0.0" | "::" | "[::]");
        let hosts = match self.mesh.as_ref().filter(|_| is_wildcard) {
            Some(mesh) => mesh.options.local_hosts.clone(),
            None => vec![host],
        };
        hosts.iter().map(|host| host_and_port(host, port)).collect()
    }

    /// Tells other servers what this server's own subscribers want now, if that has changed. To be called between two batches.
    #[inline]
    pub(crate) fn tell_news(&self) {
        if let Some(mesh) = &self.mesh
            && mesh.interest.has_news()
        {
            mesh.tell_news();
        }
    }

    /// The same when there is no hurry: whatever is sent later is behind it anyhow.
    pub(crate) fn tell_news_soon(&self) {
        if let Some(mesh) = &self.mesh
            && mesh.interest.has_news()
        {
            mesh.tell_news_soon();
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

    /// Takes a connection from the live ones, and remembers the end of a client.
    pub(crate) fn unregister(&self, connection: &Connection, ended: Option<ConnectionSnapshot>) {
        let mut registry = lock(&self.registry);
        registry.slots[connection.slot as usize] = None;
        registry.by_id.remove(&connection.id);
        registry.free.push(connection.slot);
        if let Some(ended) = ended.filter(|_| self.options.max_closed_clients > 0) {
            registry.remember(ended, self.options.max_closed_clients);
        }
    }
}
