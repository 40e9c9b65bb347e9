//! Answers of the routing table that one reader keeps: two per set, checked against the generations.
//!
//! The cache belongs to a work space, not to a connection, so that idle connections cost nothing and the few
//! work spaces of busy threads stay warm. It also counts deliveries per answer and adds them to the subscriptions
//! once per batch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::write::write_message_prefix;
use smallvec::SmallVec;

use super::{Handle, Keys, Route, RoutingTable, Search, Subscription};
use crate::limits::{PREPARED_PREFIX_BYTES, ROUTE_CACHE_SETS, ROUTE_CACHE_TARGETS, SEARCH_WORK};

const WAYS: usize = 2;
/// One in so many answers that were not found replaces one that is kept.
const MISSES_PER_PLACE: u64 = 16;

/// One subject and who gets it.
pub(crate) struct CachedRoute<H> {
    occupied: bool,
    hash: u64,
    all: u64,
    stamp: u64,
    keys: Keys,
    subject: Vec<u8>,
    pub(crate) route: Route<H>,
    /// `MSG <subject> <sid> ` for the first plain subscriptions, one after the other.
    prefixes: Vec<u8>,
    /// Where the first begins, and where each ends.
    prefix_bounds: SmallVec<[u32; 2]>,
    /// Messages given to every plain subscription and not yet added to their counts.
    hits: u64,
}

impl<H> Default for CachedRoute<H> {
    fn default() -> Self {
        Self {
            occupied: false,
            hash: 0,
            all: 0,
            stamp: 0,
            keys: Keys::default(),
            subject: Vec::new(),
            route: Route::default(),
            prefixes: Vec::new(),
            prefix_bounds: SmallVec::new(),
            hits: 0,
        }
    }
}

impl<H: Handle> CachedRoute<H> {
    /// The prepared prefix of plain subscription `index`.
    pub(crate) fn prefix(&self, index: usize) -> Option<&[u8]> {
        let [start, end] = *self.prefix_bounds.as_slice().get(index..)?.first_chunk()?;
        self.prefixes.get(start as usize..end as usize)
    }

    /// Takes over an answer of the table.
    fn answer(&mut self, route: Route<H>) {
        self.route = route;
        self.prefixes.clear();
        self.prefix_bounds.clear();
        self.prefix_bounds.push(0);
        for target in &self.route.plain {
            let sid = target.subscription.sid();
            let shown = target.subscription.shown(&self.subject);
            if self.prefixes.len() + shown.len() + sid.len() > PREPARED_PREFIX_BYTES {
                break;
            }
            write_message_prefix(&mut self.prefixes, &shown, sid);
            self.prefix_bounds.push(self.prefixes.len() as u32);
        }
    }

    /// Adds the counted deliveries to the subscriptions; `skip` is the connection that got none of them. Returns how many there were.
    fn settle(&mut self, skip: Option<u64>, expired: &mut Vec<Arc<Subscription<H>>>) -> u64 {
        let hits = std::mem::take(&mut self.hits);
        if hits == 0 {
            return 0;
        }
        for target in &self.route.plain {
            let subscription = &target.subscription;
            if target.limited || skip == Some(subscription.owner_id()) {
                continue;
            }
            let counted = subscription.counted();
            let delivered = counted.delivered.fetch_add(hits, Ordering::AcqRel) + hits;
            let limit = counted.limit.load(Ordering::Acquire);
            if limit != 0 && delivered >= limit {
                expired.push(Arc::clone(counted));
            }
        }
        self.route.plain.len() as u64
    }
}

/// Who gets a message.
pub(crate) enum Found<H> {
    /// It is in the cache, under this index.
    Known(usize),
    /// They are too many to be found in one go, or to be kept.
    Many(Box<Search<H>>),
}

/// See the module.
pub(crate) struct RouteCache<H> {
    /// The ways of all sets, then one for an answer that is not kept.
    entries: Vec<CachedRoute<H>>,
    /// Which way of a set was used last; the other one is replaced.
    recent: Vec<u8>,
    /// The answer that was asked for last; the next message is often like it.
    last: usize,
    /// Entries with unsettled hits.
    touched: Vec<u32>,
    /// Receivers named by all entries together.
    targets: usize,
    /// Steps taken in the table, and by counting, since they were last asked for.
    steps: u64,
    pub(super) lookups: u64,
    pub(super) misses: u64,
}

impl<H: Handle> RouteCache<H> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            recent: Vec::new(),
            last: 0,
            touched: Vec::new(),
            targets: 0,
            steps: 0,
            lookups: 0,
            misses: 0,
        }
    }

    /// Finds or computes the answer for `subject`.
    #[inline]
    pub(crate) fn find(
        &mut self,
        table: &RoutingTable<H>,
        subject: &[u8],
        skip: Option<u64>,
        expired: &mut Vec<Arc<Subscription<H>>>,
    ) -> Found<H> {
        self.lookups += 1;
        if let Some(entry) = self.entries.get(self.last)
            && entry.occupied
            && entry.subject == subject
            && entry.all == table.generations().all()
        {
            return Found::Known(self.last);
        }
        self.find_other(table, subject, skip, expired)
    }

    fn find_other(
        &mut self,
        table: &RoutingTable<H>,
        subject: &[u8],
        skip: Option<u64>,
        expired: &mut Vec<Arc<Subscription<H>>>,
    ) -> Found<H> {
        if self.entries.is_empty() {
            self.entries
                .resize_with(ROUTE_CACHE_SETS * WAYS + 1, CachedRoute::default);
            self.recent.resize(ROUTE_CACHE_SETS, 0);
        }
        let hash = table.hash(subject);
        let set = hash as usize & (ROUTE_CACHE_SETS - 1);
        for way in 0..WAYS {
            let index = set * WAYS + way;
            let entry = &mut self.entries[index];
            if entry.hash == hash && entry.occupied && entry.subject == subject {
                self.recent[set] = way as u8;
                let all = table.generations().all();
                if entry.all != all && entry.stamp != table.generations().stamp(entry.keys) {
                    self.misses += 1;
                    entry.keys = table.keys(subject, hash);
                    return self.ask(table, index, skip, expired);
                }
                entry.all = all;
                self.last = index;
                return Found::Known(index);
            }
        }
        self.misses += 1;
        let index = self.place(set);
        let entry = &mut self.entries[index];
        entry.hash = hash;
        entry.keys = table.keys(subject, hash);
        entry.subject.clear();
        entry.subject.extend_from_slice(subject);
        self.ask(table, index, skip, expired)
    }

    /// Asks the table for the answer about the subject of an entry, which is then in it unless there are too many receivers.
    fn ask(
        &mut self,
        table: &RoutingTable<H>,
        index: usize,
        skip: Option<u64>,
        expired: &mut Vec<Arc<Subscription<H>>>,
    ) -> Found<H> {
        let entry = &mut self.entries[index];
        self.steps += entry.settle(skip, expired);
        let before = entry.route.targets();
        // Read before the table is: a change in between is noticed.
        entry.all = table.generations().all();
        entry.stamp = table.generations().stamp(entry.keys);
        let mut search = Search::default();
        let is_whole = table.search(&mut search, &entry.subject, SEARCH_WORK);
        self.steps += search.steps();
        entry.occupied = is_whole;
        if !is_whole {
            entry.answer(Route::default());
            self.targets -= before;
            return Found::Many(Box::new(search));
        }
        entry.answer(search.finish());
        let change = (entry.route.targets(), before);
        self.bound(index, change, skip, expired);
        self.last = index;
        Found::Known(index)
    }

    /// Where the answer for a subject that was not found goes. What is asked for often soon gets a place in its set; the many
    /// that come round rarely, or once, share one entry, which the processor has at hand, and push nobody out.
    fn place(&mut self, set: usize) -> usize {
        let way = 1 - usize::from(self.recent[set]);
        let index = set * WAYS + way;
        if self.entries[index].occupied && !self.misses.is_multiple_of(MISSES_PER_PLACE) {
            return ROUTE_CACHE_SETS * WAYS;
        }
        self.recent[set] = way as u8;
        index
    }

    /// Many subjects with many receivers each would fill the memory: forgets all but the newest answer instead.
    fn bound(
        &mut self,
        newest: usize,
        (after, before): (usize, usize),
        skip: Option<u64>,
        expired: &mut Vec<Arc<Subscription<H>>>,
    ) {
        self.targets = self.targets + after - before;
        if self.targets <= ROUTE_CACHE_TARGETS || self.targets == after {
            return;
        }
        self.steps += self.settle(skip, expired);
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if index != newest {
                *entry = CachedRoute::default();
            }
        }
        self.targets = after;
    }

    /// How often an answer was asked for and how often it had to be computed, since the last call.
    pub(crate) fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.lookups), std::mem::take(&mut self.misses))
    }

    #[cfg(test)]
    pub(super) fn targets(&self) -> usize {
        self.targets
    }

    pub(crate) fn entry(&self, index: usize) -> &CachedRoute<H> {
        &self.entries[index]
    }

    /// Counts one message that went to every plain subscription of the answer.
    pub(crate) fn count(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        entry.hits += 1;
        if entry.hits == 1 {
            self.touched.push(index as u32);
        }
    }

    /// Adds all counted deliveries to the subscriptions. Returns to how many.
    pub(crate) fn settle(&mut self, skip: Option<u64>, expired: &mut Vec<Arc<Subscription<H>>>) -> u64 {
        let mut steps = 0;
        while let Some(index) = self.touched.pop() {
            steps += self.entries[index as usize].settle(skip, expired);
        }
        steps
    }

    /// Steps not taken by [`RouteCache::take_steps`].
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn take_steps(&mut self) -> u64 {
        std::mem::take(&mut self.steps)
    }

    /// Takes an answer out of the cache, its deliveries counted.
    pub(crate) fn take_route(
        &mut self,
        index: usize,
        skip: Option<u64>,
        expired: &mut Vec<Arc<Subscription<H>>>,
    ) -> Route<H> {
        let entry = &mut self.entries[index];
        self.steps += entry.settle(skip, expired);
        entry.occupied = false;
        let route = std::mem::take(&mut entry.route);
        self.targets -= route.targets();
        route
    }
}
