//! Delivery of one batch: finds who gets a message, gathers bytes per destination, and hands them over with one
//! lock per destination and batch (core specification §1.9, §2.3).
//!
//! It counts its work: receivers, nodes of the table, bytes and system calls, in units of which each takes some tens of
//! nanoseconds. A producer looks at the count after each operation and ends its turn; a message that reaches very many is
//! found and delivered in several turns ([`Unfinished`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::write::{LINE_END, write_header_message};
use smallvec::SmallVec;

use crate::connection::Connection;
use crate::counters::Counters;
use crate::frame::Message;
use crate::imports::Moved;
use crate::limits::{
    FIRST_TURN_WORK, MESSAGE_WORK, PUBLICATION_RECEIVERS, PUBLICATION_WORK, SUBSCRIPTIONS_PER_PIECE, TURN_WORK,
};
use crate::origin::Origin;
use crate::outlets::{Crossings, Outlets};
use crate::owner::{AttachmentShared, Owner, Routing};
use crate::routing::{Found, Route, RouteCache, Search};

/// See the module. Kept between batches for its vectors and its route cache.
pub(crate) struct Gatherer {
    cache: RouteCache<Owner>,
    outlets: Outlets,
    allowance: Allowance,
}

/// How much work a turn may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// After so much the turn ends behind an operation …
    pub(crate) turn: u64,
    /// … and after so much in the middle of a message.
    pub(crate) message: u64,
}

impl Allowance {
    /// Of a turn that nobody else takes at the same time, but for as many as there are processors.
    pub(crate) const WHOLE: Self = Self {
        turn: TURN_WORK,
        message: MESSAGE_WORK,
    };
    /// Of one that any number of connections may take at once.
    pub(crate) const FIRST: Self = Self {
        turn: FIRST_TURN_WORK,
        message: FIRST_TURN_WORK,
    };
}

/// A message that reaches more than one turn may serve.
pub(crate) struct Unfinished {
    /// What they subscribed to.
    matched: Box<[u8]>,
    /// Until all are found.
    search: Option<Box<Search<Owner>>>,
    /// Who has not had it. Of the last group somebody may have.
    route: Route<Owner>,
    /// Where it goes in other accounts, and how far that is.
    moved: VecDeque<(Moved, Option<Box<Unfinished>>)>,
    /// Chosen members of groups behind other servers.
    crossings: Crossings,
    group_served: bool,
    receivers: u32,
}

impl Unfinished {
    fn new(matched: &[u8], search: Option<Box<Search<Owner>>>, route: Route<Owner>) -> Box<Self> {
        Box::new(Self {
            matched: matched.into(),
            search,
            route,
            moved: VecDeque::new(),
            crossings: Crossings::default(),
            group_served: false,
            receivers: 0,
        })
    }

    /// What they subscribed to.
    pub(crate) fn matched(&self) -> &[u8] {
        &self.matched
    }

    /// Serves plain subscriptions. Returns whether that are all.
    fn serve_plain(&mut self, outlets: &mut Outlets, message: &Message<'_>, origin: Origin, bound: u64) -> bool {
        while outlets.work <= bound {
            let Some(target) = self.route.plain.pop() else {
                return true;
            };
            let subscription = &target.subscription;
            outlets.work += message.work();
            if subscription.removed.load(Ordering::Acquire) {
                continue;
            }
            // A limit may have been set since the answer was computed.
            let limited = target.limited || subscription.counted().limit.load(Ordering::Acquire) != 0;
            if limited && !target.limited && !outlets.take_limited(subscription) {
                continue;
            }
            if outlets.offer(&target, None, message, origin) {
                self.receivers += 1;
                if !limited {
                    outlets.count(&target, origin);
                }
            }
        }
        false
    }

    /// Serves one member of each group. Returns whether that are all.
    fn serve_groups(&mut self, outlets: &mut Outlets, message: &Message<'_>, origin: Origin, bound: u64) -> bool {
        while outlets.work <= bound {
            let Some(group) = self.route.groups.last_mut() else {
                return true;
            };
            if !self.group_served {
                outlets.work += message.work();
                self.receivers += u32::from(outlets.offer_group(group, message, origin));
                self.group_served = true;
            }
            // Letting go of many takes a while too.
            let members = &mut group.members;
            group.locals = 0;
            let left = members.len().saturating_sub(SUBSCRIPTIONS_PER_PIECE);
            outlets.work += (members.len() - left) as u64 / 4;
            members.truncate(left);
            if left == 0 {
                self.route.groups.pop();
                self.group_served = false;
            }
        }
        false
    }

    /// Serves other servers, last of all: what they are sent names the groups that were chosen before.
    fn serve_remote(&mut self, outlets: &mut Outlets, message: &Message<'_>, origin: Origin) {
        self.receivers += outlets.cross(&std::mem::take(&mut self.route.remote), message, origin);
    }
}

/// What became of a delivery.
pub(crate) enum Delivered {
    /// So many took it.
    To(u32),
    /// Others have to be served first; to be gone on with by [`Gatherer::go_on`].
    InPart(Box<Unfinished>),
}

/// What became of a delivery that was only to be made with room for it.
pub(crate) enum IfRoom {
    Delivered(u32),
    /// They are too many to be served at once. Nobody has had it.
    Many(Box<Unfinished>),
    /// A destination has no room for more; with its bytes not flushed yet. Nobody has had it.
    Full(Arc<Connection>, usize),
}

/// What a batch left behind for its producer to respect.
#[derive(Default)]
pub(crate) struct Aftermath {
    /// Destinations whose queues are well filled; not all of them when there are many.
    pub(crate) stalled: SmallVec<[Arc<Connection>; 2]>,
    /// An attachment whose holdable subscription got something.
    pub(crate) held: Option<Arc<AttachmentShared>>,
    /// Work that the batch took.
    pub(crate) work: u64,
}

impl Aftermath {
    /// Whether nobody wants the producer to slow down.
    pub(crate) fn is_free(&self) -> bool {
        self.stalled.is_empty() && self.held.is_none()
    }
}

impl Gatherer {
    pub(crate) fn new(max_pending: usize, watch_congestion: bool) -> Self {
        Self {
            cache: RouteCache::new(),
            outlets: Outlets::new(max_pending, watch_congestion),
            allowance: Allowance::WHOLE,
        }
    }

    /// Begins a batch of a turn.
    pub(crate) fn begin(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    /// Whether the turn has done what it may.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.work() >= self.allowance.turn
    }

    /// The outgoing bytes of `connection` itself; whatever is appended keeps its place among its messages. The
    /// outlet that is opened first in a batch is flushed last.
    pub(crate) fn own(&mut self, connection: &Arc<Connection>) -> &mut Vec<u8> {
        let index = self.outlets.index(connection);
        &mut self.outlets.open[index].buffer
    }

    /// Work done since the batch began.
    pub(crate) fn work(&self) -> u64 {
        self.outlets.work + self.cache.steps()
    }

    /// Counts work that was done elsewhere.
    pub(crate) fn charge(&mut self, work: u64) {
        self.outlets.work += work;
    }

    /// Delivers to every plain subscription and one member of each group that `matched` reaches, but no longer than the work of
    /// this batch allows.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        routing: &Routing,
        matched: &[u8],
        message: &Message<'_>,
        origin: Origin,
    ) -> Delivered {
        let Self { cache, outlets, .. } = self;
        match cache.find(routing, matched, origin.skipped(), &mut outlets.expired) {
            Found::Known(index) => {
                let work = self.work_of(index, message);
                if self.outlets.work + work > self.allowance.message {
                    let unfinished = self.unfinished(index, matched, origin);
                    return self.go_on(routing, unfinished, message, origin);
                }
                self.outlets.work += work;
                let receivers = self.deliver_known(index, matched, message, origin);
                self.delivered(receivers, matched, message)
            }
            Found::Many(search) => Delivered::InPart(Unfinished::new(matched, Some(search), Route::default())),
        }
    }

    /// What has been delivered in its account, and may go on to others.
    #[inline]
    fn delivered(&mut self, receivers: u32, matched: &[u8], message: &Message<'_>) -> Delivered {
        if self.outlets.moved.is_empty() {
            return Delivered::To(receivers);
        }
        self.move_on(receivers, matched, message)
    }

    #[cold]
    #[inline(never)]
    fn move_on(&mut self, receivers: u32, matched: &[u8], message: &Message<'_>) -> Delivered {
        let mut unfinished = Unfinished::new(matched, None, Route::default());
        unfinished.receivers = receivers;
        unfinished.moved = self.outlets.moved.drain(..).map(|moved| (moved, None)).collect();
        if self.serve_moved(&mut unfinished, message, self.allowance.message) {
            Delivered::To(unfinished.receivers)
        } else {
            Delivered::InPart(unfinished)
        }
    }

    /// The same for somebody who does other things meanwhile: at once, or not at all when they are many.
    pub(crate) fn deliver_to_few(
        &mut self,
        routing: &Routing,
        matched: &[u8],
        message: &Message<'_>,
        origin: Origin,
    ) -> Delivered {
        let Self { cache, outlets, .. } = self;
        match cache.find(routing, matched, origin.skipped(), &mut outlets.expired) {
            Found::Known(index) if self.are_few(index, message) => {
                let receivers = self.deliver_known(index, matched, message, origin);
                self.delivered(receivers, matched, message)
            }
            Found::Known(index) => Delivered::InPart(self.unfinished(index, matched, origin)),
            Found::Many(search) => Delivered::InPart(Unfinished::new(matched, Some(search), Route::default())),
        }
    }

    /// The same, if every destination has room. Members of groups are not asked: which of them it will be is not decided.
    pub(crate) fn deliver_if_room(
        &mut self,
        routing: &Routing,
        matched: &[u8],
        message: &Message<'_>,
        origin: Origin,
    ) -> IfRoom {
        let Self { cache, outlets, .. } = self;
        match cache.find(routing, matched, origin.skipped(), &mut outlets.expired) {
            Found::Known(index) if self.are_few(index, message) => match self.full(index) {
                Some((connection, unflushed)) => IfRoom::Full(connection, unflushed),
                None => {
                    let receivers = self.deliver_known(index, matched, message, origin);
                    match self.delivered(receivers, matched, message) {
                        Delivered::To(receivers) => IfRoom::Delivered(receivers),
                        // Some have had it, so that it is not offered again.
                        Delivered::InPart(mut unfinished) => {
                            self.serve(routing, &mut unfinished, message, origin, u64::MAX);
                            IfRoom::Delivered(unfinished.receivers)
                        }
                    }
                }
            },
            Found::Known(index) => IfRoom::Many(self.unfinished(index, matched, origin)),
            Found::Many(search) => IfRoom::Many(Unfinished::new(matched, Some(search), Route::default())),
        }
    }

    /// Delivers to nobody yet: who it is for is found out when it is gone on with.
    pub(crate) fn put_off(&self, matched: &[u8]) -> Delivered {
        Delivered::InPart(Unfinished::new(matched, Some(Box::default()), Route::default()))
    }

    /// Work of giving a message to everybody whom an answer names.
    fn work_of(&self, index: usize, message: &Message<'_>) -> u64 {
        let route = &self.cache.entry(index).route;
        1 + message.work() * (route.plain.len() + route.groups.len() + route.remote.len()) as u64
    }

    fn are_few(&self, index: usize, message: &Message<'_>) -> bool {
        let route = &self.cache.entry(index).route;
        route.plain.len() + route.groups.len() <= PUBLICATION_RECEIVERS
            || self.work_of(index, message) <= PUBLICATION_WORK
    }

    fn unfinished(&mut self, index: usize, matched: &[u8], origin: Origin) -> Box<Unfinished> {
        let Self { cache, outlets, .. } = self;
        let route = cache.take_route(index, origin.skipped(), &mut outlets.expired);
        Unfinished::new(matched, None, route)
    }

    #[inline]
    fn deliver_known(&mut self, index: usize, matched: &[u8], message: &Message<'_>, origin: Origin) -> u32 {
        let Self { cache, outlets, .. } = self;
        let entry = cache.entry(index);
        let plain = entry.route.plain.as_slice();
        outlets.message_number += 1;
        let mut receivers = 0;
        let as_matched = message.subject.len() == matched.len() && message.subject == matched;
        for (position, target) in plain.iter().enumerate() {
            let prefix = if as_matched { entry.prefix(position) } else { None };
            receivers += u32::from(outlets.offer(target, prefix, message, origin));
        }
        for group in &entry.route.groups {
            receivers += u32::from(outlets.offer_group(group, message, origin));
        }
        if entry.route.crosses {
            receivers += outlets.cross(&entry.route.remote, message, origin);
        }
        if !plain.is_empty() {
            cache.count(index);
        }
        outlets.end_expired();
        receivers
    }

    /// A destination of an answer that has no room for more, with its bytes not flushed yet.
    fn full(&self, index: usize) -> Option<(Arc<Connection>, usize)> {
        let route = &self.cache.entry(index).route;
        let plain = route.plain.iter().chain(&route.remote);
        { plain }.find_map(|target| match &target.subscription.owner {
            Owner::Connection { connection, .. } | Owner::Peer { connection, .. } => {
                let unflushed = self.outlets.unflushed(connection);
                let outbound = &connection.outbound;
                (unflushed + outbound.pending() > outbound.service_room()).then(|| (Arc::clone(connection), unflushed))
            }
            Owner::Attachment { .. } | Owner::Service(_) | Owner::Answers(_) => None,
        })
    }

    /// What [`Gatherer::deliver_if_room`] would find: whether there is anybody, or who has no room for more, with the bytes not
    /// flushed yet.
    pub(crate) fn look(
        &mut self,
        routing: &Routing,
        matched: &[u8],
        origin: Origin,
    ) -> Result<bool, (Arc<Connection>, usize)> {
        let Self { cache, outlets, .. } = self;
        match cache.find(routing, matched, origin.skipped(), &mut outlets.expired) {
            Found::Known(index) => match self.full(index) {
                Some(full) => Err(full),
                None => {
                    let route = &self.cache.entry(index).route;
                    Ok(!route.plain.is_empty() || !route.groups.is_empty() || !route.remote.is_empty())
                }
            },
            Found::Many(_) => Ok(true),
        }
    }

    /// Goes on with a message whose first receivers have had it in an earlier turn, as far as the work of this batch allows.
    pub(crate) fn go_on(
        &mut self,
        routing: &Routing,
        mut unfinished: Box<Unfinished>,
        message: &Message<'_>,
        origin: Origin,
    ) -> Delivered {
        if self.serve(routing, &mut unfinished, message, origin, self.allowance.message) {
            Delivered::To(unfinished.receivers)
        } else {
            Delivered::InPart(unfinished)
        }
    }

    /// The same until the work of this batch is `bound`. Returns whether everybody has had it.
    pub(crate) fn serve(
        &mut self,
        routing: &Routing,
        unfinished: &mut Unfinished,
        message: &Message<'_>,
        origin: Origin,
        bound: u64,
    ) -> bool {
        let outlets = &mut self.outlets;
        if let Some(mut search) = unfinished.search.take() {
            let before = search.steps();
            let is_whole = routing.search(&mut search, &unfinished.matched, bound.saturating_sub(outlets.work));
            outlets.work += search.steps() - before;
            if !is_whole {
                unfinished.search = Some(search);
                return false;
            }
            unfinished.route = search.finish();
        }
        outlets.message_number += 1;
        std::mem::swap(&mut outlets.crossings, &mut unfinished.crossings);
        let is_done = unfinished.serve_plain(outlets, message, origin, bound)
            && unfinished.serve_groups(outlets, message, origin, bound);
        if is_done {
            unfinished.serve_remote(outlets, message, origin);
        }
        std::mem::swap(&mut outlets.crossings, &mut unfinished.crossings);
        outlets.end_expired();
        unfinished
            .moved
            .extend(outlets.moved.drain(..).map(|moved| (moved, None)));
        is_done && self.serve_moved(unfinished, message, bound)
    }

    /// Goes on with a message in the accounts that it goes to, until the work of this batch is `bound`. Returns whether everybody there
    /// has had it.
    fn serve_moved(&mut self, unfinished: &mut Unfinished, message: &Message<'_>, bound: u64) -> bool {
        while let Some((moved, begun)) = unfinished.moved.front_mut() {
            let there = message.moved(&moved.subject, moved.reply.as_deref());
            let rest =
                begun.get_or_insert_with(|| Unfinished::new(&moved.subject, Some(Box::default()), Route::default()));
            if !self.serve(&moved.account.routing, rest, &there, moved.origin, bound) {
                return false;
            }
            unfinished.receivers += rest.receivers;
            unfinished.moved.pop_front();
        }
        true
    }

    /// A non-group subscription of `connection` that matches `reply` gets the 503 of §2.5.
    pub(crate) fn no_responders(
        &mut self,
        routing: &Routing,
        connection: &Arc<Connection>,
        reply: &[u8],
        subject: &[u8],
        origin: Origin,
    ) {
        let Self { cache, outlets, .. } = self;
        // Nobody is looked for among too many to be kept.
        let Found::Known(index) = cache.find(routing, reply, origin.skipped(), &mut outlets.expired) else {
            return;
        };
        let plain = &cache.entry(index).route.plain;
        let own = plain
            .iter()
            .position(|target| target.subscription.owner_id() == connection.id);
        outlets.work += own.unwrap_or(plain.len()) as u64;
        let own = own.map(|position| &plain[position]);
        let Some(target) = own else { return };
        let (accepted, last) = target.subscription.take_limited();
        if !accepted {
            return;
        }
        if last {
            outlets.expired.push(Arc::clone(&target.subscription));
        }
        let mut block = Vec::new();
        let size = seaway_nats_protocol::header::write_no_responders(&mut block, subject);
        let outlet_index = outlets.index(connection);
        let outlet = &mut outlets.open[outlet_index];
        write_header_message(&mut outlet.buffer, reply, target.subscription.sid(), None, size, size);
        outlet.buffer.extend_from_slice(&block);
        outlet.buffer.extend_from_slice(LINE_END);
        outlet.messages += 1;
        outlet.bytes += size as u64;
        outlets.end_expired();
    }

    /// Brings the counts of subscriptions up to date; needed before a limit is compared with them.
    pub(crate) fn settle(&mut self, origin: Origin) {
        self.outlets.work += self.cache.settle(origin.skipped(), &mut self.outlets.expired);
        self.outlets.end_expired();
    }

    /// Whether deliveries look for congested destinations.
    pub(crate) fn watch_congestion(&mut self, watch: bool) {
        self.outlets.watch_congestion = watch;
    }

    /// The destination found congested by the latest deliveries, with its bytes not flushed yet.
    pub(crate) fn take_congested(&mut self) -> Option<(Arc<Connection>, usize)> {
        self.outlets.congested.take()
    }

    /// Ends the batch: sinks first, then destinations in the order in which they were first touched, the one
    /// opened by [`Gatherer::own`] last.
    pub(crate) fn finish(&mut self, counters: &Counters, origin: Origin) -> Aftermath {
        self.settle(origin);
        let (lookups, misses) = self.cache.take_counts();
        counters.looked_up(lookups, misses);
        let outlets = &mut self.outlets;
        outlets.finish(origin);
        counters.gathered(outlets.gathered_peak);
        let work = std::mem::take(&mut outlets.work) + self.cache.take_steps();
        outlets.trace = tracing::enabled!(tracing::Level::TRACE);
        Aftermath {
            stalled: std::mem::take(&mut outlets.stalled),
            held: outlets.held.take(),
            work,
        }
    }
}
