//! Pictures of the whole broker and of many connections, for monitoring.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::account::Account;
use crate::broker::Broker;
use crate::limits::SUBSCRIPTIONS_PER_TURN;
use crate::lock::lock;
use crate::mesh::Peer;
use crate::owner::Subscription;
use crate::snapshot::{
    AccountSnapshot, BrokerSnapshot, ClusterSnapshot, ConnectionFilter, ConnectionSnapshot, ConnectionState,
    RouteSnapshot, SubscriptionDetail, SubscriptionSnapshot, TlsSnapshot,
};

/// How far a walk through connections is.
#[derive(Debug, Clone, Copy)]
enum Walk {
    /// At the open ones: behind this id of an account's, or from this slot on.
    Open(u64),
    /// At those that have ended, from this number on.
    Closed(u64),
}

impl Walk {
    fn new(filter: &ConnectionFilter) -> Self {
        match filter.state {
            ConnectionState::Open | ConnectionState::All => Walk::Open(0),
            ConnectionState::Closed => Walk::Closed(0),
        }
    }
}

impl Broker {
    /// Numbers of the whole broker.
    #[must_use]
    pub fn snapshot(&self) -> BrokerSnapshot {
        let shared = &self.shared;
        let counters = &shared.counters;
        let routing = shared.accounts.counters();
        let settings = shared.settings();
        let accounts = shared.accounts.configured();
        BrokerSnapshot {
            active_accounts: accounts.iter().filter(|account| account.connections() > 0).count(),
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

    /// The names of all accounts in which clients of this server may be, in their order. Accounts of which only other servers speak
    /// are none of them.
    #[must_use]
    pub fn account_names(&self) -> Vec<String> {
        let accounts = self.shared.accounts.configured();
        accounts.iter().map(|account| account.name().to_owned()).collect()
    }

    /// The same accounts, with their figures.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountSnapshot> {
        let accounts = self.shared.accounts.configured();
        accounts.iter().map(|account| self.show_account(account)).collect()
    }

    /// One of them. Its own clients are looked at, and nobody else's.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<AccountSnapshot> {
        let account = self.shared.accounts.find(name).filter(|known| known.is_configured());
        account.map(|account| self.show_account(&account))
    }

    fn show_account(&self, account: &Account) -> AccountSnapshot {
        let sum = account.traffic();
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
            slow_consumers: account.slow_consumers(),
        }
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

    /// Connections by ascending id. Of an account its own are looked at, and no others that are open. No lock is held for more than
    /// some hundred of them.
    #[must_use]
    pub fn connections(&self, filter: &ConnectionFilter) -> Vec<ConnectionSnapshot> {
        let mut found = Vec::new();
        let mut walk = Some(Walk::new(filter));
        while let Some(now) = walk {
            walk = self.walk(filter, now, |snapshot| found.push(snapshot));
        }
        found.sort_by_key(|snapshot| snapshot.id);
        found
    }

    /// The same in any order, each as `show` makes of it. Others are served while a long list is made.
    pub async fn connections_as<T>(&self, filter: &ConnectionFilter, show: impl Fn(ConnectionSnapshot) -> T) -> Vec<T> {
        let mut found = Vec::new();
        let mut walk = Some(Walk::new(filter));
        while let Some(now) = walk {
            walk = self.walk(filter, now, |snapshot| found.push(show(snapshot)));
            tokio::task::yield_now().await;
        }
        found
    }

    /// Takes a step of a walk through connections.
    fn walk(&self, filter: &ConnectionFilter, now: Walk, mut take: impl FnMut(ConnectionSnapshot)) -> Option<Walk> {
        let is_wanted = |id: u64| filter.connection_id.is_none_or(|wanted| wanted == id);
        let kept = match filter.subscriptions {
            SubscriptionDetail::Count => 0,
            SubscriptionDetail::List => usize::MAX,
        };
        let (live, next) = match now {
            Walk::Closed(first) => {
                let (closed, next) = lock(&self.shared.registry).closed_from(first);
                let is_of_account = |closed: &ConnectionSnapshot| {
                    let account = filter.account.as_ref();
                    account.is_none_or(|account| closed.account.as_ref() == Some(account))
                };
                for closed in closed {
                    if is_wanted(closed.id) && is_of_account(&closed) {
                        let mut snapshot = ConnectionSnapshot::clone(&closed);
                        snapshot.subscription_list.truncate(kept);
                        take(snapshot);
                    }
                }
                return next.map(Walk::Closed);
            }
            Walk::Open(first) => match (filter.connection_id, &filter.account) {
                (Some(id), None) => {
                    let found = lock(&self.shared.registry).find(id).cloned();
                    (found.into_iter().collect(), None)
                }
                (_, Some(name)) => {
                    let account = self.shared.accounts.find(name);
                    let members = account.map(|account| account.members_after(first)).unwrap_or_default();
                    let last = members.last().map(|last| last.id);
                    (members, last)
                }
                (None, None) => {
                    let first = usize::try_from(first).unwrap_or(usize::MAX);
                    let (live, next) = lock(&self.shared.registry).live_from(first);
                    (live, next.map(|next| next as u64))
                }
            },
        };
        for connection in live {
            if is_wanted(connection.id) {
                take(connection.snapshot(kept));
            }
        }
        let closed = || (filter.state == ConnectionState::All).then_some(Walk::Closed(0));
        next.map(Walk::Open).or_else(closed)
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
            let filter = ConnectionFilter {
                state: ConnectionState::Closed,
                connection_id: Some(connection_id),
                subscriptions: SubscriptionDetail::List,
                ..ConnectionFilter::default()
            };
            let list = self.connections(&filter).pop().map(|closed| closed.subscription_list);
            return list.unwrap_or_default().into_iter().take(max).map(show).collect();
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
