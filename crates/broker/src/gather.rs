//! Delivery of one batch: finds who gets a message, gathers bytes per destination, and hands them over with one
//! lock per destination and batch (core specification §1.9, §2.3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::write::{
    LINE_END, write_header_message, write_message, write_message_prefix, write_message_size,
};
use smallvec::SmallVec;

use crate::connection::Connection;
use crate::counters::Counters;
use crate::limits::{GATHER_BYTES, GATHER_SHARE_OF_PENDING, KEPT_CAPACITY_BYTES, SINK_BATCH_BYTES};
use crate::outbound::{congestion_threshold, stall_threshold};
use crate::owner::{AttachmentShared, Owner, Routing, Subscription, Target};
use crate::routing::RouteCache;
use crate::sink::Batch;

/// What is delivered.
pub(crate) struct Message<'a> {
    /// Subject the receivers see.
    pub(crate) subject: &'a [u8],
    pub(crate) reply: Option<&'a [u8]>,
    /// Headers at the front of the body. Not 0 only when the body is one part.
    pub(crate) header_size: usize,
    /// Headers and payload, to be joined.
    pub(crate) parts: &'a [&'a [u8]],
    pub(crate) size: usize,
    /// The client's spelling of the size, if it came from one.
    pub(crate) size_text: Option<&'a [u8]>,
    /// Everything behind the sid, ready to be copied.
    pub(crate) tail: Option<&'a [u8]>,
}

/// Who publishes, as far as delivery cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) id: u64,
    /// Does not get its own messages.
    pub(crate) skip_self: bool,
    /// Who may get them.
    pub(crate) audience: Audience,
}

/// Whom a message may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everybody.
    All,
    /// Clients, not in-process parties.
    Clients,
}

impl Origin {
    fn skipped(self) -> Option<u64> {
        self.skip_self.then_some(self.id)
    }
}

/// Bytes for one destination.
struct Outlet {
    connection: Arc<Connection>,
    buffer: Vec<u8>,
    messages: u64,
    bytes: u64,
}

/// Messages for one sink.
struct SinkOutlet {
    attachment: Arc<AttachmentShared>,
    batch: Batch,
    /// Number of the message pushed last, to share its bytes between subscriptions of one sink.
    last_message: u64,
}

/// Where a connection's outlet is, if `epoch` is the current batch.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    epoch: u64,
    index: u32,
}

/// See the module. Kept between batches for its vectors and its route cache.
pub(crate) struct Gatherer {
    cache: RouteCache<Owner>,
    outlets: Outlets,
}

struct Outlets {
    slots: Vec<Slot>,
    epoch: u64,
    open: Vec<Outlet>,
    /// Buffers of earlier batches.
    spare: Vec<Vec<u8>>,
    sinks: SmallVec<[SinkOutlet; 2]>,
    message_number: u64,
    expired: Vec<Arc<Subscription>>,
    stalled: SmallVec<[Arc<Connection>; 2]>,
    held: Option<Arc<AttachmentShared>>,
    congested: Option<(Arc<Connection>, usize)>,
    /// Whether to look for congested destinations.
    watch_congestion: bool,
    /// Flush an outlet beyond this many bytes.
    limit: usize,
    random: fastrand::Rng,
    /// Whether frames are logged; looked up between batches.
    trace: bool,
}

/// What a batch left behind for its producer to respect.
#[derive(Default)]
pub(crate) struct Aftermath {
    /// Destinations above the stall threshold.
    pub(crate) stalled: SmallVec<[Arc<Connection>; 2]>,
    /// An attachment whose holdable subscription got something.
    pub(crate) held: Option<Arc<AttachmentShared>>,
}

const SPARE_BUFFERS: usize = 64;

impl Gatherer {
    pub(crate) fn new(max_pending: usize, watch_congestion: bool) -> Self {
        Self {
            cache: RouteCache::new(),
            outlets: Outlets {
                slots: Vec::new(),
                epoch: 1,
                open: Vec::new(),
                spare: Vec::new(),
                sinks: SmallVec::new(),
                message_number: 0,
                expired: Vec::new(),
                stalled: SmallVec::new(),
                held: None,
                congested: None,
                watch_congestion,
                limit: GATHER_BYTES.min(max_pending / GATHER_SHARE_OF_PENDING),
                random: fastrand::Rng::new(),
                trace: tracing::enabled!(tracing::Level::TRACE),
            },
        }
    }

    /// The outgoing bytes of `connection` itself; whatever is appended keeps its place among its messages. The
    /// outlet that is opened first in a batch is flushed last.
    pub(crate) fn own(&mut self, connection: &Arc<Connection>) -> &mut Vec<u8> {
        let index = self.outlets.index(connection);
        &mut self.outlets.open[index].buffer
    }

    /// Delivers to every plain subscription and one member of each group that `matched` reaches. Returns how many
    /// took it.
    pub(crate) fn deliver(&mut self, routing: &Routing, matched: &[u8], message: &Message<'_>, origin: Origin) -> u32 {
        let Self { cache, outlets } = self;
        let index = cache.find(routing, matched, origin.skipped(), &mut outlets.expired);
        let entry = cache.entry(index);
        outlets.message_number += 1;
        let mut receivers = 0;
        let as_matched = message.subject.len() == matched.len() && message.subject == matched;
        for (position, target) in entry.route.plain.iter().enumerate() {
            let prefix = if as_matched { entry.prefix(position) } else { None };
            receivers += u32::from(outlets.offer(target, prefix, message, origin));
        }
        for group in &entry.route.groups {
            receivers += u32::from(outlets.offer_group(group, message, origin));
        }
        if !entry.route.plain.is_empty() {
            cache.count(index);
        }
        if !outlets.expired.is_empty() {
            outlets.end_expired(routing);
        }
        receivers
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
        let own = cache
            .entry(index)
            .route
            .plain
            .iter()
            .find(|target| target.subscription.owner_id() == connection.id);
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
        self.cache.settle(origin.skipped(), &mut self.outlets.expired);
        self.outlets.end_expired(routing);
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
        for outlet in outlets.sinks.drain(..) {
            outlet.attachment.sink.deliver(outlet.batch);
        }
        let own = outlets
            .open
            .first()
            .is_some_and(|outlet| outlet.connection.id == origin.id);
        for index in usize::from(own)..outlets.open.len() {
            outlets.flush(index);
        }
        if own {
            outlets.flush(0);
        }
        for outlet in outlets.open.drain(..) {
            if outlets.spare.len() < SPARE_BUFFERS && outlet.buffer.capacity() <= KEPT_CAPACITY_BYTES {
                outlets.spare.push(outlet.buffer);
            }
        }
        outlets.epoch += 1;
        outlets.trace = tracing::enabled!(tracing::Level::TRACE);
        Aftermath {
            stalled: std::mem::take(&mut outlets.stalled),
            held: outlets.held.take(),
        }
    }
}

impl Outlets {
    /// Index of the outlet of `connection`, opened if need be.
    fn index(&mut self, connection: &Arc<Connection>) -> usize {
        let position = connection.slot as usize;
        if position >= self.slots.len() {
            self.slots.resize((position + 1).next_power_of_two(), Slot::default());
        }
        let slot = &mut self.slots[position];
        if slot.epoch == self.epoch {
            let index = slot.index as usize;
            if self.open[index].connection.id == connection.id {
                return index;
            }
        }
        *slot = Slot {
            epoch: self.epoch,
            index: self.open.len() as u32,
        };
        let buffer = self.spare.pop().unwrap_or_default();
        self.open.push(Outlet {
            connection: Arc::clone(connection),
            buffer,
            messages: 0,
            bytes: 0,
        });
        self.open.len() - 1
    }

    /// Offers the message to one subscription; returns whether it took it.
    fn offer(&mut self, target: &Target, prefix: Option<&[u8]>, message: &Message<'_>, origin: Origin) -> bool {
        let subscription = &target.subscription;
        match &subscription.owner {
            Owner::Connection(connection) => {
                if origin.skip_self && connection.id == origin.id {
                    return false;
                }
                if target.limited && !self.take_limited(subscription) {
                    return false;
                }
                if target.answers
                    && let Some(reply) = message.reply
                {
                    connection.admission.delivered(reply);
                }
                self.append(connection, subscription, prefix, message);
            }
            Owner::Attachment { shared, tag, holdable } => {
                if shared.id == origin.id || origin.audience == Audience::Clients {
                    return false;
                }
                self.append_to_sink(shared, *tag, *holdable, message, origin);
            }
        }
        true
    }

    /// Starts at a random member and walks on until one takes the message (§2.3).
    fn offer_group(&mut self, members: &[Target], message: &Message<'_>, origin: Origin) -> bool {
        let start = if members.len() > 1 {
            self.random.usize(..members.len())
        } else {
            0
        };
        for target in members[start..].iter().chain(&members[..start]) {
            if let Owner::Connection(connection) = &target.subscription.owner
                && connection.outbound.is_closed()
            {
                continue;
            }
            if self.offer(target, None, message, origin) {
                if !target.limited {
                    target.subscription.delivered.fetch_add(1, Ordering::AcqRel);
                }
                return true;
            }
        }
        false
    }

    fn take_limited(&mut self, subscription: &Arc<Subscription>) -> bool {
        let (accepted, last) = subscription.take_limited();
        if last {
            self.expired.push(Arc::clone(subscription));
        }
        accepted
    }

    fn append(
        &mut self,
        connection: &Arc<Connection>,
        subscription: &Subscription,
        prefix: Option<&[u8]>,
        message: &Message<'_>,
    ) {
        let index = self.index(connection);
        let outlet = &mut self.open[index];
        let buffer = &mut outlet.buffer;
        let mut size = message.size;
        if message.header_size == 0 {
            match prefix {
                Some(prefix) => buffer.extend_from_slice(prefix),
                None => write_message_prefix(buffer, message.subject, subscription.sid()),
            }
            append_tail(buffer, message);
        } else if connection.headers.load(Ordering::Relaxed) {
            append_with_headers(buffer, subscription.sid(), message);
        } else {
            size -= message.header_size;
            write_message(buffer, message.subject, subscription.sid(), message.reply, size);
            for part in message.parts {
                buffer.extend_from_slice(&part[message.header_size..]);
            }
            buffer.extend_from_slice(LINE_END);
        }
        outlet.messages += 1;
        outlet.bytes += size as u64;
        if self.trace {
            trace_frame(connection, subscription, message, size);
        }
        let length = outlet.buffer.len();
        if length >= self.limit {
            self.flush(index);
        }
        if self.watch_congestion {
            let outlet = &self.open[index];
            let unflushed = outlet.buffer.len();
            let limit = congestion_threshold(connection.outbound.bounds.max_pending);
            if unflushed + connection.outbound.pending() > limit {
                self.congested = Some((Arc::clone(connection), unflushed));
            }
        }
    }

    fn append_to_sink(
        &mut self,
        attachment: &Arc<AttachmentShared>,
        tag: u64,
        holdable: bool,
        message: &Message<'_>,
        origin: Origin,
    ) {
        let known = self
            .sinks
            .iter()
            .position(|outlet| outlet.attachment.id == attachment.id);
        let index = known.unwrap_or_else(|| {
            let batch = attachment.pool.take(origin.id);
            self.sinks.push(SinkOutlet {
                attachment: Arc::clone(attachment),
                batch,
                last_message: 0,
            });
            self.sinks.len() - 1
        });
        let outlet = &mut self.sinks[index];
        if outlet.last_message == self.message_number && !outlet.batch.is_empty() {
            outlet.batch.repeat_last(tag);
        } else {
            outlet
                .batch
                .push(tag, message.subject, message.reply, message.header_size, message.parts);
            outlet.last_message = self.message_number;
        }
        if holdable && self.held.is_none() {
            self.held = Some(Arc::clone(attachment));
        }
        if outlet.batch.data_len() >= SINK_BATCH_BYTES {
            let next = attachment.pool.take(origin.id);
            let full = std::mem::replace(&mut outlet.batch, next);
            attachment.sink.deliver(full);
        }
    }

    fn flush(&mut self, index: usize) {
        let Outlet {
            connection,
            buffer,
            messages,
            bytes,
        } = &mut self.open[index];
        let bounds = connection.outbound.bounds;
        if bounds.no_fast_producer_stall && connection.outbound.pending() > stall_threshold(bounds.max_pending) {
            connection.stalls.fetch_add(1, Ordering::Relaxed);
            buffer.clear();
        }
        connection
            .outbound
            .send(buffer, std::mem::take(messages), std::mem::take(bytes));
        if connection.outbound.pending() > stall_threshold(bounds.max_pending)
            && !bounds.no_fast_producer_stall
            && !self.stalled.iter().any(|known| known.id == connection.id)
        {
            self.stalled.push(Arc::clone(connection));
        }
    }

    fn end_expired(&mut self, routing: &Routing) {
        for subscription in self.expired.drain(..) {
            routing.end(&subscription);
        }
    }
}

fn trace_frame(connection: &Connection, subscription: &Subscription, message: &Message<'_>, size: usize) {
    let text = String::from_utf8_lossy;
    let reply = message
        .reply
        .map(|reply| format!("{} ", text(reply)))
        .unwrap_or_default();
    tracing::trace!(
        "{} - cid:{} - ->> [MSG {} {} {reply}{size}]",
        connection.peer,
        connection.id,
        text(message.subject),
        text(subscription.sid())
    );
}

fn append_tail(buffer: &mut Vec<u8>, message: &Message<'_>) {
    if let Some(tail) = message.tail {
        buffer.extend_from_slice(tail);
        return;
    }
    match message.size_text {
        None => write_message_size(buffer, message.reply, message.size),
        Some(text) => {
            append_reply(buffer, message.reply);
            buffer.extend_from_slice(text);
            buffer.extend_from_slice(LINE_END);
        }
    }
    for part in message.parts {
        buffer.extend_from_slice(part);
    }
    buffer.extend_from_slice(LINE_END);
}

fn append_reply(buffer: &mut Vec<u8>, reply: Option<&[u8]>) {
    if let Some(reply) = reply {
        buffer.extend_from_slice(reply);
        buffer.push(b' ');
    }
}

fn append_with_headers(buffer: &mut Vec<u8>, sid: &[u8], message: &Message<'_>) {
    match message.tail {
        Some(tail) => {
            buffer.push(b'H');
            write_message_prefix(buffer, message.subject, sid);
            buffer.extend_from_slice(tail);
        }
        None => {
            write_header_message(
                buffer,
                message.subject,
                sid,
                message.reply,
                message.header_size,
                message.size,
            );
            for part in message.parts {
                buffer.extend_from_slice(part);
            }
            buffer.extend_from_slice(LINE_END);
        }
    }
}
