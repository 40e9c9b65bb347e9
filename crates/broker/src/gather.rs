//! Delivery of one batch: finds who gets a message, gathers bytes per destination, and hands them over with one
//! lock per destination and batch (core specification §1.9, §2.3).
//!
//! It counts its work: receivers, nodes of the table, bytes and system calls, in units of which each takes some tens of
//! nanoseconds. A producer looks at the count after each operation and ends its turn; a message that reaches very many is
//! delivered in several turns ([`Unfinished`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::write::{LINE_END, write_header_message};
use smallvec::SmallVec;

use crate::connection::Connection;
use crate::counters::Counters;
use crate::frame::Message;
use crate::limits::MESSAGE_WORK;
use crate::outbound::congestion_threshold;
use crate::outlets::{Origin, Outlets};
use crate::owner::{AttachmentShared, Owner, Routing};
use crate::routing::{Route, RouteCache};

/// See the module. Kept between batches for its vectors and its route cache.
pub(crate) struct Gatherer {
    cache: RouteCache<Owner>,
    outlets: Outlets,
}

/// A message that reaches more than one turn may serve.
pub(crate) struct Unfinished {
    route: Route<Owner>,
    /// Plain receivers, then groups, that have had it.
    done: usize,
    receivers: u32,
}

impl Unfinished {
    fn new(route: Route<Owner>) -> Self {
        Self {
            route,
            done: 0,
            receivers: 0,
        }
    }
}

/// What became of a delivery.
pub(crate) enum Delivered {
    /// So many took it.
    To(u32),
    /// Others have to be served first; to be gone on with by [`Gatherer::go_on`].
    InPart(Box<Unfinished>),
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

impl Gatherer {
    pub(crate) fn new(max_pending: usize, watch_congestion: bool) -> Self {
        Self {
            cache: RouteCache::new(),
            outlets: Outlets::new(max_pending, watch_congestion),
        }
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

    /// Delivers to every plain subscription and one member of each group that `matched` reaches, at once.
    pub(crate) fn deliver(&mut self, routing: &Routing, matched: &[u8], message: &Message<'_>, origin: Origin) -> u32 {
        let mut delivered = self.deliver_within(routing, matched, message, origin, u64::MAX);
        loop {
            match delivered {
                Delivered::To(receivers) => return receivers,
                Delivered::InPart(unfinished) => {
                    delivered = self.go_on(routing, unfinished, message, origin, u64::MAX);
                }
            }
        }
    }

    /// The same, but no longer than the work of this batch allows.
    pub(crate) fn deliver_in_turns(
        &mut self,
        routing: &Routing,
        matched: &[u8],
        message: &Message<'_>,
        origin: Origin,
    ) -> Delivered {
        self.deliver_within(routing, matched, message, origin, MESSAGE_WORK)
    }

    #[inline]
    fn deliver_within(
        &mut self,
        routing: &Routing,
        matched: &[u8],
        message: &Message<'_>,
        origin: Origin,
        bound: u64,
    ) -> Delivered {
        let Self { cache, outlets } = self;
        let index = cache.find(routing, matched, origin.skipped(), &mut outlets.expired);
        let entry = cache.entry(index);
        let plain = entry.route.plain.as_slice();
        let groups = entry.route.groups.as_slice();
        let work = 1 + message.work() * (plain.len() + groups.len()) as u64;
        if outlets.work + work > bound {
            let route = cache.take_route(index, origin.skipped(), &mut outlets.expired);
            outlets.work += cache.take_steps();
            return self.go_on(routing, Box::new(Unfinished::new(route)), message, origin, bound);
        }
        outlets.work += work;
        outlets.message_number += 1;
        let mut receivers = 0;
        let as_matched = message.subject.len() == matched.len() && message.subject == matched;
        for (position, target) in plain.iter().enumerate() {
            let prefix = if as_matched { entry.prefix(position) } else { None };
            receivers += u32::from(outlets.offer(target, prefix, message, origin));
        }
        for group in groups {
            receivers += u32::from(outlets.offer_group(group, message, origin));
        }
        if !plain.is_empty() {
            cache.count(index);
        }
        outlets.end_expired(routing);
        Delivered::To(receivers)
    }

    /// Goes on with a message whose first receivers have had it in an earlier turn.
    pub(crate) fn go_on_in_turns(
        &mut self,
        routing: &Routing,
        unfinished: Box<Unfinished>,
        message: &Message<'_>,
        origin: Origin,
    ) -> Delivered {
        self.go_on(routing, unfinished, message, origin, MESSAGE_WORK)
    }

    fn go_on(
        &mut self,
        routing: &Routing,
        mut unfinished: Box<Unfinished>,
        message: &Message<'_>,
        origin: Origin,
        bound: u64,
    ) -> Delivered {
        let outlets = &mut self.outlets;
        let Unfinished { route, done, receivers } = &mut *unfinished;
        outlets.message_number += 1;
        while *done < route.plain.len() && outlets.work <= bound {
            let target = &route.plain[*done];
            *done += 1;
            let subscription = &target.subscription;
            outlets.work += message.work();
            if subscription.removed.load(Ordering::Acquire) {
                continue;
            }
            // A limit may have been set since the answer was computed.
            let limited = target.limited || subscription.limit.load(Ordering::Acquire) != 0;
            if limited && !target.limited && !outlets.take_limited(subscription) {
                continue;
            }
            if outlets.offer(target, None, message, origin) {
                *receivers += 1;
                if !limited {
                    outlets.count(target, origin);
                }
            }
        }
        while let Some(group) = route.groups.get((*done).saturating_sub(route.plain.len()))
            && *done >= route.plain.len()
            && outlets.work <= bound
        {
            *done += 1;
            outlets.work += message.work();
            *receivers += u32::from(outlets.offer_group(group, message, origin));
        }
        outlets.end_expired(routing);
        if *done < route.plain.len() + route.groups.len() {
            Delivered::InPart(unfinished)
        } else {
            Delivered::To(*receivers)
        }
    }

    /// A destination of `matched` that has no room for more, with its bytes not flushed yet. Members of groups are not asked:
    /// which of them it will be is not decided.
    pub(crate) fn full(
        &mut self,
        routing: &Routing,
        matched: &[u8],
        origin: Origin,
    ) -> Option<(Arc<Connection>, usize)> {
        let Self { cache, outlets } = self;
        let index = cache.find(routing, matched, origin.skipped(), &mut outlets.expired);
        let plain = &cache.entry(index).route.plain;
        plain.iter().find_map(|target| match &target.subscription.owner {
            Owner::Connection(connection) => {
                let unflushed = outlets.unflushed(connection);
                let limit = congestion_threshold(connection.outbound.bounds.max_pending);
                (unflushed + connection.outbound.pending() > limit).then(|| (Arc::clone(connection), unflushed))
            }
            Owner::Attachment { .. } => None,
        })
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
        let Self { cache, outlets } = self;
        let index = cache.find(routing, reply, origin.skipped(), &mut outlets.expired);
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
        outlets.end_expired(routing);
    }

    /// Brings the counts of subscriptions up to date; needed before a limit is compared with them.
    pub(crate) fn settle(&mut self, routing: &Routing, origin: Origin) {
        self.outlets.work += self.cache.settle(origin.skipped(), &mut self.outlets.expired);
        self.outlets.end_expired(routing);
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
    pub(crate) fn finish(&mut self, routing: &Routing, counters: &Counters, origin: Origin) -> Aftermath {
        self.settle(routing, origin);
        let (lookups, misses) = self.cache.take_counts();
        counters.looked_up(lookups, misses);
        let outlets = &mut self.outlets;
        outlets.finish(origin);
        let work = std::mem::take(&mut outlets.work) + self.cache.take_steps();
        outlets.trace = tracing::enabled!(tracing::Level::TRACE);
        Aftermath {
            stalled: std::mem::take(&mut outlets.stalled),
            held: outlets.held.take(),
            work,
        }
    }
}
