//! Pictures of the whole broker and of many connections, for monitoring.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::account::{Account, Traffic};
use crate::broker::Broker;
use crate::connection::Connection;
use crate::limits::SUBSCRIPTIONS_PER_TURN;
use crate::lock::lock;
use crate::mesh::Peer;
use crate::owner::Subscription;
use crate::snapshot::{
    AccountSnapshot, BrokerSnapshot, ClusterSnapshot, ConnectionFilter, ConnectionSnapshot, ConnectionState,
    RouteSnapshot, SubscriptionDetail, SubscriptionSnapshot, TlsSnapshot,
};

impl Broker {
    /// Numbers of the whole broker.
    #[must_use]
    pub fn snapshot(&self) -> BrokerSnapshot {
        let shared = &self.shared;
        let counters = &shared.counters;
        let routing = shared.accounts.counters();
        let settings = shared.settings();
        BrokerSnapshot {
            server_id: shared.server_id.clone(),
            server_name: shared.server_name().to_owned(),
            started_at: shared.clock.started_at,
            uptime: shared.clock.started.elapsed(),
            auth_required: settings.access.is_required(),
            tls: settings.tls.as_ref().map(|tls| TlsSnapshot {
                required: !tls.options().allow_plain,
                verify: tls.options().verify,
                timeout: tls.timeout(),
            }),
            auth_timeout: settings.authentication_time(),
            max_connections: settings.max_connections,
            max_payload: settings.max_payload,
            max_control_line: settings.max_control_line,
            connections: shared.connections.load(Ordering::Acquire),
            total_connections: counters.total_connections.load(Ordering::Relaxed),
            subscriptions: routing.subscriptions,
            in_messages: counters.in_messages.load(Ordering::Relaxed),
            in_bytes: counters.in_bytes.load(Ordering::Relaxed),
            out_messages: counters.out_messages.load(Ordering::Relaxed),
            out_bytes: counters.out_bytes.load(Ordering::Relaxed),
            slow_consumers: counters.slow_consumers.load(Ordering::Relaxed),
            stale_connections: counters.stale_connections.load(Ordering::Relaxed),
            outbound_bytes: counters.queues.held(),
            gathered_bytes_peak: counters.gathered_peak.load(Ordering::Relaxed),
            stalled_clients: counters.stalled_clients.load(Ordering::Relaxed),
            routing_inserts: routing.inserts,
            routing_removes: routing.removes,
            route_lookups: counters.route_lookups.load(Ordering::Relaxed),
            route_misses: counters.route_misses.load(Ordering::Relaxed),
            turns: counters.turns.load(Ordering::Relaxed),
            work: counters.work.load(Ordering::Relaxed),
            longest_turn: counters.longest_turn.load(Ordering::Relaxed),
            slow_routes: counters.slow_routes.load(Ordering::Relaxed),
            cluster: shared.mesh.as_ref().map(|mesh| ClusterSnapshot {
                name: mesh.name(),
                port: mesh.bound_port(),
                auth_timeout: mesh.authentication_time(),
                routes: mesh.peers().len(),
                connect_urls: shared.connect_urls(),
            }),
        }
    }

    /// The names of all accounts, in their order.
    #[must_use]
    pub fn account_names(&self) -> Vec<String> {
        let accounts = self.shared.accounts.all();
        let mut names: Vec<String> = accounts.iter().map(|account| account.name().to_owned()).collect();
        names.sort();
        names
    }

    /// All accounts, by name.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountSnapshot> {
        let mut traffic: HashMap<String, Traffic> = HashMap::new();
        let live: Vec<Arc<Connection>> = lock(&self.shared.registry).live().cloned().collect();
        for connection in live {
            let of_account = traffic.entry(connection.admission.account()).or_default();
            of_account.add(Traffic::of(&connection));
        }
        let show = |account: Arc<Account>| {
            let mut sum = account.past();
            sum.add(traffic.get(account.name()).copied().unwrap_or_default());
            AccountSnapshot {
                name: account.name().to_owned(),
                is_system: account.name() == self.shared.options.system_account,
                connections: account.connections(),
                total_connections: account.total_connections(),
                subscriptions: account.subscriptions(),
                in_messages: sum.in_messages,
                in_bytes: sum.in_bytes,
                out_messages: sum.out_messages,
                out_bytes: sum.out_bytes,
            }
        };
        let mut accounts: Vec<AccountSnapshot> = self.shared.accounts.all().into_iter().map(show).collect();
        accounts.sort_by(|one, other| one.name.cmp(&other.name));
        accounts
    }

    /// Connections to other servers by ascending id, without their subscriptions; for those see [`Broker::subscriptions_of`].
    #[must_use]
    pub fn routes(&self) -> Vec<RouteSnapshot> {
        let peers = self.shared.mesh.as_ref().map(|mesh| mesh.peers()).unwrap_or_default();
        let show = |peer: Arc<Peer>| RouteSnapshot {
            server_id: peer.server_id.clone(),
            server_name: peer.server_name.clone(),
            is_dialled: peer.is_dialled,
            is_configured: peer.is_configured,
            connection: peer.connection.snapshot(0),
        };
        let mut routes: Vec<RouteSnapshot> = peers.into_iter().map(show).collect();
        routes.sort_by_key(|route| route.connection.id);
        routes
    }

    /// Connections by ascending id. The registry is locked only while references are copied.
    #[must_use]
    pub fn connections(&self, filter: &ConnectionFilter) -> Vec<ConnectionSnapshot> {
        let wanted = |id: u64| filter.connection_id.is_none_or(|wanted| wanted == id);
        let (live, closed) = {
            let registry = lock(&self.shared.registry);
            let live: Vec<Arc<Connection>> = match filter.state {
                ConnectionState::Open | ConnectionState::All => registry
                    .live()
                    .filter(|connection| wanted(connection.id))
                    .cloned()
                    .collect(),
                ConnectionState::Closed => Vec::new(),
            };
            let closed: Vec<ConnectionSnapshot> = match filter.state {
                ConnectionState::Closed | ConnectionState::All => registry
                    .closed
                    .iter()
                    .filter(|closed| wanted(closed.id))
                    .cloned()
                    .collect(),
                ConnectionState::Open => Vec::new(),
            };
            (live, closed)
        };
        let mut snapshots = closed;
        if filter.subscriptions == SubscriptionDetail::Count {
            snapshots
                .iter_mut()
                .for_each(|closed| closed.subscription_list = Vec::new());
        }
        let kept = match filter.subscriptions {
            SubscriptionDetail::Count => 0,
            SubscriptionDetail::List => usize::MAX,
        };
        snapshots.extend(live.iter().map(|connection| connection.snapshot(kept)));
        snapshots.sort_by_key(|snapshot| snapshot.id);
        snapshots
    }

    /// The subscriptions of one connection, of a client or to another server, open or remembered, at most `max`, each as `show` makes
    /// of it. Others are served while a long list is made.
    pub async fn subscriptions_of<T>(
        &self,
        connection_id: u64,
        max: usize,
        show: impl Fn(SubscriptionSnapshot) -> T,
    ) -> Vec<T> {
        let live = lock(&self.shared.registry).find_any(connection_id).cloned();
        let Some(connection) = live else {
            let registry = lock(&self.shared.registry);
            let closed = registry.closed.iter().find(|closed| closed.id == connection_id);
            let list = closed
                .map(|closed| closed.subscription_list.clone())
                .unwrap_or_default();
            return list.into_iter().take(max).map(show).collect();
        };
        let known: Vec<Arc<Subscription>> = lock(&connection.subscriptions)
            .iter()
            .take(max)
            .map(|known| Arc::clone(&known.0))
            .collect();
        let mut shown = Vec::with_capacity(known.len());
        for (index, subscription) in known.into_iter().enumerate() {
            if index % SUBSCRIPTIONS_PER_TURN == SUBSCRIPTIONS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            shown.push(show(SubscriptionSnapshot::of(&subscription)));
        }
        shown
    }
}
