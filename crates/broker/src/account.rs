//! Accounts: spaces of subjects that know nothing of one another (core specification §3.6).
//!
//! Each has a routing table of its own, so that routing is one piece of code which never asks whose subject it is: whoever
//! publishes or subscribes does it in the table of his account. On connections to other servers the name of the account
//! stands in front of the subject.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::access::Grant;
use crate::connection::Connection;
use crate::imports::{ServiceImport, StreamImport};
use crate::limits::{ACCOUNT_NAME_HEARD_OF_BYTES, ACCOUNTS_HEARD_OF_MAX, CONNECTIONS_PER_LOOK, GLOBAL_ACCOUNT};
use crate::lock::{lock, read, write};
use crate::options::{AccountOptions, BrokerOptions, ImportKind};
use crate::owner::{Owner, Routing, Subscription};
use crate::reason::CloseReason;
use crate::routing::{LocalInterest, RoutingCounters};

/// One account.
pub(crate) struct Account {
    name: Box<str>,
    pub(crate) routing: Routing,
    /// Somebody here may be in it: it is configured, and not only heard of from other servers.
    is_configured: AtomicBool,
    /// Clients that are in it, by id.
    members: Mutex<BTreeMap<u64, Arc<Connection>>>,
    /// Subscriptions of clients here.
    subscriptions: AtomicUsize,
    /// Clients that ever were.
    total_connections: AtomicU64,
    /// Bounds that a reload may change; `usize::MAX` is none.
    max_connections: AtomicUsize,
    max_subscriptions: AtomicUsize,
    max_payload: AtomicUsize,
    /// What clients that are gone sent and were sent.
    past: Mutex<Traffic>,
    /// Clients that were closed because they read too slowly.
    slow_consumers: AtomicU64,
    /// Streams of other accounts, once that is known.
    streams: OnceLock<Vec<StreamImport>>,
}

/// Messages and bytes of clients, from their side of view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) in_messages: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_messages: u64,
    pub(crate) out_bytes: u64,
}

impl Traffic {
    pub(crate) fn of(connection: &Connection) -> Self {
        let (out_messages, out_bytes) = connection.outbound.totals();
        Self {
            in_messages: connection.in_messages.load(Ordering::Relaxed),
            in_bytes: connection.in_bytes.load(Ordering::Relaxed),
            out_messages,
            out_bytes,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.in_messages += other.in_messages;
        self.in_bytes += other.in_bytes;
        self.out_messages += other.out_messages;
        self.out_bytes += other.out_bytes;
    }
}

impl Account {
    fn new(name: &str, interest: Option<&Arc<LocalInterest>>) -> Arc<Self> {
        let no_bound = || AtomicUsize::new(usize::MAX);
        Arc::new(Self {
            name: name.into(),
            routing: Routing::of_account(name.as_bytes(), interest.map(Arc::clone)),
            is_configured: AtomicBool::new(false),
            members: Mutex::default(),
            subscriptions: AtomicUsize::new(0),
            total_connections: AtomicU64::new(0),
            max_connections: no_bound(),
            max_subscriptions: no_bound(),
            max_payload: no_bound(),
            past: Mutex::default(),
            slow_consumers: AtomicU64::new(0),
            streams: OnceLock::new(),
        })
    }

    fn bound(&self, options: &AccountOptions) {
        let set =
            |bound: &AtomicUsize, wanted: Option<usize>| bound.store(wanted.unwrap_or(usize::MAX), Ordering::Release);
        set(&self.max_connections, options.max_connections);
        set(&self.max_subscriptions, options.max_subscriptions);
        set(&self.max_payload, options.max_payload);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Clients that are in it.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.members).len()
    }

    /// Clients that are in it, by ascending id: those behind `after`, and no more than are looked at in one go.
    pub(crate) fn members_after(&self, after: u64) -> Vec<Arc<Connection>> {
        let members = lock(&self.members);
        let behind = members.range((Bound::Excluded(after), Bound::Unbounded));
        behind
            .take(CONNECTIONS_PER_LOOK)
            .map(|(_, member)| Arc::clone(member))
            .collect()
    }

    /// Whether somebody here may be in it.
    pub(crate) fn is_configured(&self) -> bool {
        self.is_configured.load(Ordering::Acquire)
    }

    /// Clients that were closed because they read too slowly.
    pub(crate) fn slow_consumers(&self) -> u64 {
        self.slow_consumers.load(Ordering::Relaxed)
    }

    pub(crate) fn total_connections(&self) -> u64 {
        self.total_connections.load(Ordering::Relaxed)
    }

    /// Largest publication of its clients in bytes, where that of the broker is `max`.
    pub(crate) fn max_payload(&self, max: usize) -> usize {
        self.max_payload.load(Ordering::Acquire).min(max)
    }

    /// Whether its clients have as many subscriptions as they may.
    pub(crate) fn is_full_of_subscriptions(&self) -> bool {
        self.subscriptions() >= self.max_subscriptions.load(Ordering::Acquire)
    }

    /// Subscriptions of clients here.
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Acquire)
    }

    /// Adds a client's subscription; see [`crate::owner::Subscription::remove`].
    pub(crate) fn subscribe(&self, subscription: &Arc<Subscription>) {
        self.subscriptions.fetch_add(1, Ordering::AcqRel);
        self.routing.insert(subscription);
        if let Some(streams) = self.streams.get() {
            cast_shadows(streams, subscription);
        }
    }

    /// A client's subscription has left the table.
    pub(crate) fn unsubscribed(&self) {
        self.subscriptions.fetch_sub(1, Ordering::AcqRel);
    }

    /// What its clients sent and were sent, those that are gone included.
    pub(crate) fn traffic(&self) -> Traffic {
        let mut sum = *lock(&self.past);
        let mut after = 0;
        loop {
            let members = self.members_after(after);
            let Some(last) = members.last() else { return sum };
            after = last.id;
            members.iter().for_each(|member| sum.add(Traffic::of(member)));
        }
    }

    /// A client has gone.
    fn remember(&self, traffic: Traffic, reason: CloseReason) {
        lock(&self.past).add(traffic);
        if reason.is_slow() {
            self.slow_consumers.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn alone(name: &str) -> Arc<Self> {
        Self::new(name, None)
    }
}

/// Subscribes in the accounts whose streams a client's subscription overlaps.
fn cast_shadows(streams: &[StreamImport], subscription: &Arc<Subscription>) {
    let Owner::Connection { connection, .. } = &subscription.owner else {
        return;
    };
    let mut shadows = Vec::new();
    for StreamImport { exporter, mapping } in streams {
        if let Some(pattern) = mapping.export_pattern(subscription.subject()) {
            let owner = Owner::Connection {
                connection: Arc::clone(connection),
                account: Arc::clone(exporter),
            };
            shadows.push(Subscription::shadow(subscription, mapping, &pattern, owner));
        }
    }
    if shadows.is_empty() {
        return;
    }
    connection.keep_shadows(subscription.sid(), shadows.clone());
    for shadow in shadows {
        shadow.owner.account().routing.insert(&shadow);
    }
}

/// A client's place in an account, for as long as it is in it.
pub(crate) struct Membership {
    account: Arc<Account>,
    /// Its number, if it is one of those that are counted.
    member: Option<u64>,
}

impl Membership {
    /// Of somebody who is not let in yet, and does nothing in the account.
    pub(crate) fn outside(account: &Arc<Account>) -> Self {
        Self {
            account: Arc::clone(account),
            member: None,
        }
    }

    /// `None` when there are as many as there may be.
    pub(crate) fn enter(account: &Arc<Account>, connection: &Arc<Connection>) -> Option<Self> {
        let max = account.max_connections.load(Ordering::Acquire);
        let mut members = lock(&account.members);
        if members.len() >= max {
            return None;
        }
        members.insert(connection.id, Arc::clone(connection));
        drop(members);
        account.total_connections.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            account: Arc::clone(account),
            member: Some(connection.id),
        })
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub(crate) fn is_member(&self) -> bool {
        self.member.is_some()
    }

    /// The client has gone for this reason.
    pub(crate) fn end(&mut self, connection: &Connection, reason: CloseReason) {
        if self.leave() {
            self.account.remember(Traffic::of(connection), reason);
        }
    }

    /// Returns whether it was in it.
    fn leave(&mut self) -> bool {
        let member = self.member.take();
        let left = member.and_then(|id| lock(&self.account.members).remove(&id));
        left.is_some()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

type ByName = HashMap<Box<str>, Arc<Account>>;

/// Nobody else comes to have an account while the table is locked.
fn forget_unwanted(by_name: &mut ByName) {
    by_name.retain(|_, account| account.is_configured() || Arc::strong_count(account) > 1);
}

/// All accounts there are.
pub(crate) struct Accounts {
    /// Of every client that belongs to no other.
    pub(crate) global: Arc<Account>,
    by_name: RwLock<ByName>,
    /// What other servers are told, where there are others.
    interest: Option<Arc<LocalInterest>>,
}

impl Accounts {
    /// Those of the configuration; the global one is always there.
    pub(crate) fn new(options: &BrokerOptions, interest: Option<Arc<LocalInterest>>) -> Self {
        let global = Account::new(GLOBAL_ACCOUNT, interest.as_ref());
        global.is_configured.store(true, Ordering::Release);
        let accounts = Self {
            by_name: RwLock::new(HashMap::from([(GLOBAL_ACCOUNT.into(), Arc::clone(&global))])),
            global,
            interest,
        };
        accounts.configure(options);
        accounts
    }

    /// Connects accounts by what they import. `next_id` numbers the services.
    pub(crate) fn connect(&self, options: &BrokerOptions, next_id: impl Fn() -> u64) {
        let services: Arc<[String]> = options.services.as_slice().into();
        for wanted in &options.accounts {
            let importer = self.get_or_add(&wanted.name);
            let mut streams = Vec::new();
            for import in &wanted.imports {
                let exporter = self.get_or_add(&import.account);
                match import.kind {
                    ImportKind::Stream => streams.push(StreamImport {
                        exporter,
                        mapping: Arc::new(import.mapping.clone()),
                    }),
                    ImportKind::Service { is_single, threshold } => {
                        let waiting = (is_single, threshold);
                        let service = Arc::new(ServiceImport::new(
                            next_id(),
                            &importer,
                            &exporter,
                            &import.mapping,
                            waiting,
                            &services,
                        ));
                        let asked =
                            Subscription::new(&service.requests(), None, b"", Owner::Service(Arc::clone(&service)));
                        let answered = Subscription::new(&service.answers(), None, b"", Owner::Answers(service));
                        importer.routing.insert(&asked);
                        exporter.routing.insert(&answered);
                    }
                }
            }
            if !streams.is_empty() {
                // Nobody else sets it: this is done once.
                let _ = importer.streams.set(streams);
            }
        }
    }

    /// Takes over what was configured anew. An account that is left out stays, for what is still in it.
    /// Returns whether any is new.
    pub(crate) fn configure(&self, options: &BrokerOptions) -> bool {
        let before = self.configured().len();
        self.get_or_add(&options.system_account);
        for wanted in &options.accounts {
            self.get_or_add(&wanted.name).bound(wanted);
        }
        self.configured().len() > before
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Account>> {
        read(&self.by_name).get(name).cloned()
    }

    /// Sizes and counters of all tables together.
    pub(crate) fn counters(&self) -> RoutingCounters {
        let mut sum = RoutingCounters::default();
        for account in read(&self.by_name).values() {
            sum.add(account.routing.counters());
        }
        sum
    }

    /// The account of this name, made if there is none. Somebody here may be in it from now on.
    pub(crate) fn get_or_add(&self, name: &str) -> Arc<Account> {
        let known = self.find(name).filter(|known| known.is_configured());
        known.unwrap_or_else(|| {
            let mut by_name = write(&self.by_name);
            let account = by_name
                .entry(name.into())
                .or_insert_with(|| Account::new(name, self.interest.as_ref()));
            account.is_configured.store(true, Ordering::Release);
            Arc::clone(account)
        })
    }

    /// The account of which another server speaks. One that is not configured here may be soon, and what is wanted in it over there
    /// is told only once; it stays as long as somebody wants something in it. `None` when there are too many of those, or when it is
    /// no name.
    pub(crate) fn heard_of(&self, name: &[u8]) -> Option<Arc<Account>> {
        let name = std::str::from_utf8(name).ok()?;
        if let Some(known) = self.find(name) {
            return Some(known);
        }
        if name.len() > ACCOUNT_NAME_HEARD_OF_BYTES {
            return None;
        }
        let mut by_name = write(&self.by_name);
        let is_full = |by_name: &ByName| {
            let heard_of = by_name.values().filter(|account| !account.is_configured());
            heard_of.count() >= ACCOUNTS_HEARD_OF_MAX
        };
        if is_full(&by_name) {
            forget_unwanted(&mut by_name);
            if is_full(&by_name) {
                return None;
            }
        }
        let account = by_name
            .entry(name.into())
            .or_insert_with(|| Account::new(name, self.interest.as_ref()));
        Some(Arc::clone(account))
    }

    /// Forgets accounts that were only heard of, and in which nobody wants anything any more.
    pub(crate) fn forget_unwanted(&self) {
        forget_unwanted(&mut write(&self.by_name));
    }

    /// Those in which clients of this server may be, by name.
    pub(crate) fn configured(&self) -> Vec<Arc<Account>> {
        let by_name = read(&self.by_name);
        let mut accounts: Vec<Arc<Account>> = by_name
            .values()
            .filter(|account| account.is_configured())
            .cloned()
            .collect();
        accounts.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        accounts
    }

    /// The account of somebody who was let in.
    pub(crate) fn of(&self, grant: Option<&Grant>) -> Arc<Account> {
        match grant {
            Some(grant) if grant.account() != GLOBAL_ACCOUNT => self.get_or_add(grant.account()),
            Some(_) | None => Arc::clone(&self.global),
        }
    }
}
