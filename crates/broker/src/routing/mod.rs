//! Who gets a message: the table of subscriptions (core specification §2.2).
//!
//! Literal subjects live in a sharded hash map, patterns in sharded tries. A change locks one shard and raises the
//! generations that describe the subjects it may concern, so that caches elsewhere notice it without being visited.
//! Its cost does not depend on how many subscriptions exist. It does not know how messages are delivered.

mod cache;
mod generation;
mod interest;
mod leaf;
mod members;
mod route;
mod search;
mod subscription;
mod trie;

pub(crate) use cache::{Found, RouteCache};
pub(crate) use generation::{Generations, Keys};
pub(crate) use interest::{Announced, LocalInterest, Progress as InterestProgress, interest_name};
pub(crate) use route::{Group, Route, Target};
pub(crate) use search::Search;
pub(crate) use subscription::{BySid, Handle, Subscription};

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use foldhash::fast::RandomState;
use seaway_nats_protocol::subject;

use crate::limits::{LITERAL_SHARDS, PATTERN_SHARDS};
use crate::lock::{read, write};
use crate::sink::{Interest, Sink};
use leaf::Leaf;
use search::Place;
use subscription::BySubject;
use trie::Trie;

/// Somebody who wants to hear of interest in a pattern.
struct Watch {
    pattern: Box<[u8]>,
    id: u64,
    sink: Arc<dyn Sink>,
}

/// The key is one of the leaf's subscriptions.
type Literals<H> = HashMap<BySubject<H>, Leaf<H>, RandomState>;

/// The table. All methods may be called from any thread. `H` is who owns a subscription.
pub(crate) struct RoutingTable<H> {
    hasher: RandomState,
    literals: Box<[RwLock<Literals<H>>]>,
    /// By first token; the last shard holds patterns that start with a wildcard.
    patterns: Box<[RwLock<Trie<H>>]>,
    generations: Generations,
    watches: RwLock<Vec<Watch>>,
    /// Whether `watches` holds anything; spares a lock per change.
    watched: AtomicBool,
    /// What other servers are told, where there are others, and whose subjects these are.
    local: Option<(Arc<LocalInterest>, Box<[u8]>)>,
    count: AtomicUsize,
    inserts: AtomicU64,
    removes: AtomicU64,
}

/// Sizes and counters of the table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RoutingCounters {
    pub(crate) subscriptions: usize,
    pub(crate) inserts: u64,
    pub(crate) removes: u64,
}

impl RoutingCounters {
    pub(crate) fn add(&mut self, other: Self) {
        self.subscriptions += other.subscriptions;
        self.inserts += other.inserts;
        self.removes += other.removes;
    }
}

impl<H: Handle> RoutingTable<H> {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::of_account(b"A", None)
    }

    /// The table of an account, which keeps a record of what this server's own subscribers want where there are other servers.
    pub(crate) fn of_account(name: &[u8], interest: Option<Arc<LocalInterest>>) -> Self {
        Self {
            hasher: RandomState::default(),
            literals: (0..LITERAL_SHARDS).map(|_| RwLock::default()).collect(),
            patterns: (0..=PATTERN_SHARDS).map(|_| RwLock::default()).collect(),
            generations: Generations::new(),
            watches: RwLock::default(),
            watched: AtomicBool::new(false),
            local: interest.map(|interest| (interest, name.into())),
            count: AtomicUsize::new(0),
            inserts: AtomicU64::new(0),
            removes: AtomicU64::new(0),
        }
    }

    pub(crate) fn counters(&self) -> RoutingCounters {
        RoutingCounters {
            subscriptions: self.count.load(Ordering::Relaxed),
            inserts: self.inserts.load(Ordering::Relaxed),
            removes: self.removes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    /// Adds a subscription whose subject is a valid pattern (§2.1).
    pub(crate) fn insert(&self, subscription: &Arc<Subscription<H>>) {
        let text = subscription.subject();
        // Before anybody can take it out again.
        if let Some((local, account)) = self.local_for(subscription) {
            local.add(account, text, subscription.queue());
        }
        if subject::has_wildcard(text) {
            let mut trie = write(&self.patterns[self.pattern_shard(text)]);
            if trie.leaf_for_insert(text).insert(subscription) {
                self.announce(text, Interest::Appeared);
            }
        } else {
            let mut shard = write(&self.literals[self.literal_shard(text)]);
            let leaf = match shard.get_mut(text) {
                Some(leaf) => leaf,
                None => shard.entry(BySubject(Arc::clone(subscription))).or_default(),
            };
            if leaf.insert(subscription) {
                self.announce(text, Interest::Appeared);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.inserts.fetch_add(1, Ordering::Relaxed);
        self.raise(text);
    }

    /// Removes a subscription. Returns false when somebody else already did.
    pub(crate) fn remove(&self, subscription: &Arc<Subscription<H>>) -> bool {
        if subscription.removed.swap(true, Ordering::AcqRel) {
            return false;
        }
        let text = subscription.subject();
        if subject::has_wildcard(text) {
            let mut trie = write(&self.patterns[self.pattern_shard(text)]);
            if trie.remove(subscription) {
                self.announce(text, Interest::Disappeared);
            }
        } else {
            let mut shard = write(&self.literals[self.literal_shard(text)]);
            if shard.get_mut(text).is_some_and(|leaf| leaf.remove(subscription)) {
                shard.remove(text);
                if shard.capacity() > 64 && shard.len() * 8 < shard.capacity() {
                    shard.shrink_to_fit();
                }
                self.announce(text, Interest::Disappeared);
            } else if shard
                .get_key_value(text)
                .is_some_and(|(named, _)| Arc::ptr_eq(&named.0, subscription))
                && let Some(leaf) = shard.remove(text)
                && let Some(other) = leaf.any().map(Arc::clone)
            {
                // It stood for the subject: one that stays takes its place.
                shard.insert(BySubject(other), leaf);
            }
        }
        if let Some((local, account)) = self.local_for(subscription) {
            local.remove(account, text, subscription.queue());
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.removes.fetch_add(1, Ordering::Relaxed);
        self.raise(text);
        true
    }

    fn local_for(&self, subscription: &Subscription<H>) -> Option<&(Arc<LocalInterest>, Box<[u8]>)> {
        let local = self.local.as_ref()?;
        subscription.owner.is_announced().then_some(local)
    }

    /// Tells caches that the answer for whatever `pattern` matches may have changed.
    pub(crate) fn raise(&self, pattern: &[u8]) {
        self.generations.raise(&self.hasher, pattern);
    }

    pub(crate) fn keys(&self, subject: &[u8], hash: u64) -> Keys {
        Generations::keys(&self.hasher, subject, hash)
    }

    pub(crate) fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Goes on looking for everybody who gets a message on `text`, for so many steps or a few more. Returns whether all are found.
    /// A subject with an empty token reaches nobody.
    pub(crate) fn search(&self, search: &mut Search<H>, text: &[u8], steps: u64) -> bool {
        search.begin_slice(steps);
        while !search.is_due() {
            if search.expand(text) {
                continue;
            }
            let is_whole = match search.stage {
                0 if !subject::is_well_formed(text) => return true,
                0 => self.search_literals(search, text),
                1 => self.search_patterns(self.token_shard(first_token(text)), search, text),
                2 => self.search_patterns(PATTERN_SHARDS, search, text),
                _ => return true,
            };
            search.stage += usize::from(is_whole);
        }
        false
    }

    fn search_literals(&self, search: &mut Search<H>, text: &[u8]) -> bool {
        let shard = read(&self.literals[self.literal_shard(text)]);
        let groups_left = search.place.take().map(|place| place.groups_left);
        let Some(leaf) = shard.get(text) else {
            return true;
        };
        let groups_left = search.add(leaf, text, groups_left);
        search.place = (groups_left > 0).then(|| Place {
            groups_left,
            ..Place::default()
        });
        groups_left == 0
    }

    fn search_patterns(&self, shard: usize, search: &mut Search<H>, text: &[u8]) -> bool {
        let trie = read(&self.patterns[shard]);
        if trie.is_empty() {
            search.place = None;
            return true;
        }
        trie.search(text, search)
    }

    /// Everybody who gets a message on `text`.
    #[cfg(test)]
    pub(crate) fn matches(&self, text: &[u8]) -> Route<H> {
        let mut search = Search::default();
        self.search(&mut search, text, u64::MAX);
        search.finish()
    }

    /// Reports changes of interest in subjects that overlap `pattern`, and what exists already.
    pub(crate) fn watch(&self, pattern: &[u8], id: u64, sink: Arc<dyn Sink>) {
        self.watch_new(pattern, id, Arc::clone(&sink));
        let report = |text: &[u8]| {
            if subject::overlaps(pattern, text) {
                sink.interest(text, Interest::Appeared);
            }
        };
        for shard in &self.literals {
            read(shard).keys().for_each(|named| report(named.0.subject()));
        }
        for shard in &self.patterns {
            read(shard).for_each_pattern(&mut |text| report(text));
        }
    }

    /// Reports changes of interest in subjects that overlap `pattern` from now on.
    pub(crate) fn watch_new(&self, pattern: &[u8], id: u64, sink: Arc<dyn Sink>) {
        let pattern = pattern.into();
        write(&self.watches).push(Watch { pattern, id, sink });
        self.watched.store(true, Ordering::Release);
    }

    /// Ends all watches of `id`.
    pub(crate) fn unwatch(&self, id: u64) {
        write(&self.watches).retain(|watch| watch.id != id);
    }

    /// Called under the lock of the subject's shard, so that appearing and disappearing are seen in order.
    fn announce(&self, text: &[u8], interest: Interest) {
        if !self.watched.load(Ordering::Acquire) {
            return;
        }
        for watch in read(&self.watches).iter() {
            if subject::overlaps(&watch.pattern, text) {
                watch.sink.interest(text, interest);
            }
        }
    }

    fn literal_shard(&self, text: &[u8]) -> usize {
        (self.hash(text) >> 48) as usize & (LITERAL_SHARDS - 1)
    }

    fn token_shard(&self, first: &[u8]) -> usize {
        self.hash(first) as usize & (PATTERN_SHARDS - 1)
    }

    fn pattern_shard(&self, pattern: &[u8]) -> usize {
        let first = first_token(pattern);
        if first == subject::TOKEN_ANY || first == subject::TOKEN_TAIL {
            PATTERN_SHARDS
        } else {
            self.token_shard(first)
        }
    }
}

fn first_token(text: &[u8]) -> &[u8] {
    subject::tokens(text).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
