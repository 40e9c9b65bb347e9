//! The destinations of one batch: bytes gathered for clients, messages for sinks (core specification §1.9, §2.3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::account::Account;
use crate::connection::Connection;
use crate::frame::{Message, trace_frame};
use crate::imports::Moved;
use crate::kind::Kind;
use crate::limits::{
    CROSSING_QUEUE_BYTES, GATHER_BYTES, GATHER_BYTES_ALL, GATHER_SHARE_OF_PENDING, INLINE_WRITES, KEPT_CAPACITY_BYTES,
    SINK_BATCH_BYTES, SPARE_BYTES, STALLED_MAX, WORK_PER_INLINE_WRITE, WORK_PER_OUTLET,
};
use crate::origin::{Audience, Origin};
use crate::outbound::{Bounds, drop_threshold, full_threshold};
use crate::owner::{AttachmentShared, Group, Owner, Subscription, Target};
use crate::sink::Batch;

const SPARE_BUFFERS: usize = 64;

/// Bytes for one destination.
pub(crate) struct Outlet {
    pub(crate) connection: Arc<Connection>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Messages for one sink.
pub(crate) struct SinkOutlet {
    attachment: Arc<AttachmentShared>,
    batch: Batch,
    /// Number of the message pushed last, to share its bytes between subscriptions of one sink.
    last_message: u64,
}

/// Where a connection's outlet is, if `epoch` is the current batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot {
    epoch: u64,
    index: u32,
}

/// Queue groups of one message whose member sits behind another server.
#[derive(Default)]
pub(crate) struct Crossings {
    chosen: Vec<Arc<Subscription>>,
    /// Bytes of their names in the line to that server.
    bytes: usize,
}

impl Crossings {
    /// Adds a member that was chosen; false when there is no room for the name of its group.
    fn add(&mut self, chosen: &Arc<Subscription>) -> bool {
        let named = chosen.queue().map_or(0, |queue| queue.len() + 1);
        if self.bytes + named > CROSSING_QUEUE_BYTES {
            return false;
        }
        self.bytes += named;
        self.chosen.push(Arc::clone(chosen));
        true
    }
}

/// Destinations of one batch, and what is kept for the next.
pub(crate) struct Outlets {
    pub(crate) slots: Vec<Slot>,
    pub(crate) epoch: u64,
    pub(crate) open: Vec<Outlet>,
    /// Buffers of earlier batches.
    pub(crate) spare: Vec<Vec<u8>>,
    spare_bytes: usize,
    /// Bytes in the buffers of all destinations, and the most there ever were.
    gathered: usize,
    pub(crate) gathered_peak: usize,
    pub(crate) sinks: SmallVec<[SinkOutlet; 2]>,
    pub(crate) message_number: u64,
    pub(crate) expired: Vec<Arc<Subscription>>,
    /// The message being delivered, on its way to other accounts.
    pub(crate) moved: Vec<Moved>,
    /// Of the message being delivered.
    pub(crate) crossings: Crossings,
    pub(crate) stalled: SmallVec<[Arc<Connection>; 2]>,
    pub(crate) held: Option<Arc<AttachmentShared>>,
    pub(crate) congested: Option<(Arc<Connection>, usize)>,
    /// Whether to look for congested destinations.
    pub(crate) watch_congestion: bool,
    /// Flush an outlet beyond this many bytes.
    pub(crate) limit: usize,
    /// Work done since the batch began.
    pub(crate) work: u64,
    /// Destinations that this batch may still write to itself; the others' own tasks do.
    pub(crate) inline_writes: u32,
    pub(crate) random: fastrand::Rng,
    /// Whether frames are logged; looked up between batches.
    pub(crate) trace: bool,
}

impl Outlets {
    pub(crate) fn new(max_pending: usize, watch_congestion: bool) -> Self {
        Self {
            slots: Vec::new(),
            epoch: 1,
            open: Vec::new(),
            spare: Vec::new(),
            spare_bytes: 0,
            gathered: 0,
            gathered_peak: 0,
            sinks: SmallVec::new(),
            message_number: 0,
            expired: Vec::new(),
            moved: Vec::new(),
            crossings: Crossings::default(),
            stalled: SmallVec::new(),
            held: None,
            congested: None,
            watch_congestion,
            limit: GATHER_BYTES.min(max_pending / GATHER_SHARE_OF_PENDING),
            work: 0,
            inline_writes: INLINE_WRITES,
            random: fastrand::Rng::new(),
            trace: tracing::enabled!(tracing::Level::TRACE),
        }
    }

    /// Ends the batch: sinks first, then destinations in the order in which they were first touched, the producer's own last when it
    /// was opened first.
    pub(crate) fn finish(&mut self, origin: Origin) {
        for outlet in self.sinks.drain(..) {
            outlet.attachment.sink.deliver(outlet.batch);
        }
        let own = self
            .open
            .first()
            .is_some_and(|outlet| outlet.connection.id == origin.id);
        for index in usize::from(own)..self.open.len() {
            self.flush(index);
        }
        if own {
            self.flush(0);
        }
        for outlet in self.open.drain(..) {
            let capacity = outlet.buffer.capacity();
            let is_kept = capacity <= KEPT_CAPACITY_BYTES && self.spare_bytes + capacity <= SPARE_BYTES;
            if is_kept && self.spare.len() < SPARE_BUFFERS {
                self.spare_bytes += capacity;
                self.spare.push(outlet.buffer);
            }
        }
        self.gathered = 0;
        self.epoch += 1;
        self.inline_writes = INLINE_WRITES;
    }

    /// Index of the outlet of `connection`, opened if need be.
    pub(crate) fn index(&mut self, connection: &Arc<Connection>) -> usize {
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
        self.work += WORK_PER_OUTLET;
        let buffer = self.spare.pop().unwrap_or_default();
        self.spare_bytes = self.spare_bytes.saturating_sub(buffer.capacity());
        self.open.push(Outlet {
            connection: Arc::clone(connection),
            buffer,
            messages: 0,
            bytes: 0,
        });
        self.open.len() - 1
    }

    /// Bytes gathered for `connection` in this batch and not flushed.
    pub(crate) fn unflushed(&self, connection: &Connection) -> usize {
        let slot = self.slots.get(connection.slot as usize);
        let index = slot.filter(|slot| slot.epoch == self.epoch).map(|slot| slot.index);
        let outlet = index.and_then(|index| self.open.get(index as usize));
        outlet
            .filter(|outlet| outlet.connection.id == connection.id)
            .map_or(0, |outlet| outlet.buffer.len())
    }

    /// Adds a delivery to a plain subscription that is not counted with its route.
    pub(crate) fn count(&mut self, target: &Target, origin: Origin) {
        let subscription = &target.subscription;
        if target.limited || origin.skipped() == Some(subscription.owner_id()) {
            return;
        }
        let counted = subscription.counted();
        let delivered = counted.delivered.fetch_add(1, Ordering::AcqRel) + 1;
        let limit = counted.limit.load(Ordering::Acquire);
        if limit != 0 && delivered >= limit {
            self.expired.push(Arc::clone(counted));
        }
    }

    /// Offers the message to one subscription; returns whether it took it.
    pub(crate) fn offer(
        &mut self,
        target: &Target,
        prefix: Option<&[u8]>,
        message: &Message<'_>,
        origin: Origin,
    ) -> bool {
        let subscription = &target.subscription;
        match &subscription.owner {
            Owner::Connection { connection, .. } => {
                if (origin.skip_self && connection.id == origin.id) || connection.outbound.is_closed() {
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
            Owner::Attachment {
                shared, tag, holdable, ..
            } => {
                let is_from_elsewhere = origin.hops > 0 && !shared.takes(origin);
                if shared.id == origin.id || origin.audience == Audience::Clients || is_from_elsewhere {
                    return false;
                }
                self.append_to_sink(shared, *tag, *holdable, message, origin);
            }
            // Whoever gets it there is counted when it has got there.
            owner @ (Owner::Service(_) | Owner::Answers(_)) => {
                self.move_on(owner, message, origin);
                return false;
            }
            // What goes there crosses once, for all of them together.
            Owner::Peer { .. } => return false,
        }
        true
    }

    /// Notes that the message goes to another account.
    #[cold]
    #[inline(never)]
    fn move_on(&mut self, owner: &Owner, message: &Message<'_>, origin: Origin) {
        let named = (message.subject, message.reply);
        let moved = match owner {
            Owner::Service(import) => import.request(named, origin),
            Owner::Answers(import) => import.answer(named, origin),
            Owner::Connection { .. } | Owner::Attachment { .. } | Owner::Peer { .. } => None,
        };
        self.moved.extend(moved);
    }

    /// Gives the message to one member of a group; returns whether there was one who took it (§2.3).
    pub(crate) fn offer_group(&mut self, group: &Group, message: &Message<'_>, origin: Origin) -> bool {
        if let Some(chosen) = message.queues {
            // Another server has decided that somebody here gets it, and asks for these groups alone.
            return chosen.binary_search(&group.name()).is_ok()
                && self.offer_one_of(group.local_members(), message, origin);
        }
        if group.locals < group.members.len() && origin.audience == Audience::All {
            return self.offer_anywhere(group, message, origin);
        }
        self.offer_one_of(group.local_members(), message, origin)
    }

    /// Starts at a random member and walks on until one takes the message.
    fn offer_one_of(&mut self, members: &[Target], message: &Message<'_>, origin: Origin) -> bool {
        let start = if members.len() > 1 {
            self.random.usize(..members.len())
        } else {
            0
        };
        self.offer_from(start, members, message, origin)
    }

    fn offer_from(&mut self, start: usize, members: &[Target], message: &Message<'_>, origin: Origin) -> bool {
        for target in members[start..].iter().chain(&members[..start]) {
            if let Owner::Connection { connection, .. } = &target.subscription.owner
                && connection.outbound.is_closed()
            {
                self.work += 1;
                continue;
            }
            if self.offer(target, None, message, origin) {
                if !target.limited {
                    target.subscription.counted().delivered.fetch_add(1, Ordering::AcqRel);
                }
                return true;
            }
        }
        false
    }

    /// The same where members sit behind other servers too: each counts as often as it stands for somebody. One of those ends the
    /// walk; it is told with the message.
    #[cold]
    #[inline(never)]
    fn offer_anywhere(&mut self, group: &Group, message: &Message<'_>, origin: Origin) -> bool {
        let locals = group.local_members();
        let drawn = self.random.u64(..group.weight.max(1));
        if drawn < locals.len() as u64 && self.offer_from(drawn as usize, locals, message, origin) {
            return true;
        }
        let remotes = group.remote_members();
        let mut below = locals.len() as u64;
        let start = remotes.iter().position(|target| {
            below += u64::from(target.weight);
            drawn < below
        });
        let (before, from) = remotes.split_at(start.unwrap_or(0));
        self.work += remotes.len() as u64;
        for target in from.iter().chain(before) {
            if self.cross_later(target) {
                return true;
            }
        }
        // Nobody else is there any more.
        drawn >= locals.len() as u64 && self.offer_one_of(locals, message, origin)
    }

    /// Notes that a member behind another server gets the message; false when there is no way to it.
    fn cross_later(&mut self, target: &Target) -> bool {
        let Owner::Peer { connection, .. } = &target.subscription.owner else {
            return false;
        };
        !connection.outbound.is_closed() && self.crossings.add(&target.subscription)
    }

    /// Sends the message to every other server that has plain subscribers or a chosen member of a group: once to each. Returns how many
    /// took it for plain subscribers.
    #[cold]
    #[inline(never)]
    pub(crate) fn cross(&mut self, remote: &[Target], message: &Message<'_>, origin: Origin) -> u32 {
        if origin.audience != Audience::All {
            return 0;
        }
        let mut crossings = std::mem::take(&mut self.crossings.chosen);
        self.crossings.bytes = 0;
        crossings.sort_unstable_by_key(|chosen| chosen.owner_id());
        let mut receivers = 0;
        for target in remote {
            if let Owner::Peer {
                connection, account, ..
            } = &target.subscription.owner
                && !connection.outbound.is_closed()
            {
                let first = crossings.partition_point(|chosen| chosen.owner_id() < connection.id);
                let length = crossings[first..].partition_point(|chosen| chosen.owner_id() == connection.id);
                self.append_crossing(connection, account, &crossings[first..first + length], message);
                receivers += 1;
            }
        }
        for chosen in crossings.chunk_by(|one, other| one.owner_id() == other.owner_id()) {
            let server = chosen[0].owner_id();
            if let Owner::Peer {
                connection, account, ..
            } = &chosen[0].owner
                && !remote.iter().any(|target| target.subscription.owner_id() == server)
            {
                self.append_crossing(connection, account, chosen, message);
            }
        }
        crossings.clear();
        self.crossings.chosen = crossings;
        receivers
    }

    fn append_crossing(
        &mut self,
        connection: &Arc<Connection>,
        account: &Account,
        chosen: &[Arc<Subscription>],
        message: &Message<'_>,
    ) {
        let index = self.index(connection);
        let outlet = &mut self.open[index];
        let before = outlet.buffer.len();
        let takes_headers = connection.headers.load(Ordering::Relaxed);
        let queues = chosen.iter().filter_map(|chosen| chosen.queue());
        let size = message.append_crossing(&mut outlet.buffer, account.name().as_bytes(), queues, takes_headers);
        outlet.messages += 1;
        outlet.bytes += size as u64;
        self.work += message.work();
        let length = outlet.buffer.len();
        self.appended(index, before, length);
    }

    pub(crate) fn take_limited(&mut self, subscription: &Arc<Subscription>) -> bool {
        let counted = subscription.counted();
        let (accepted, last) = counted.take_limited();
        if last {
            self.expired.push(Arc::clone(counted));
        }
        accepted
    }

    pub(crate) fn append(
        &mut self,
        connection: &Arc<Connection>,
        subscription: &Subscription,
        prefix: Option<&[u8]>,
        message: &Message<'_>,
    ) {
        let index = self.index(connection);
        let outlet = &mut self.open[index];
        let takes_headers = || connection.headers.load(Ordering::Relaxed);
        let before = outlet.buffer.len();
        let size = if subscription.is_shadow() {
            append_shadow(outlet, subscription, prefix, message)
        } else {
            message.append(&mut outlet.buffer, subscription.sid(), prefix, takes_headers)
        };
        outlet.messages += 1;
        outlet.bytes += size as u64;
        if self.trace {
            trace_frame(connection, subscription, message, size);
        }
        let length = outlet.buffer.len();
        self.appended(index, before, length);
    }

    /// The bytes of a destination are `length` now, after `before`.
    #[inline(always)]
    fn appended(&mut self, index: usize, before: usize, length: usize) {
        self.gathered += length - before;
        if length >= self.limit || self.gathered >= GATHER_BYTES_ALL {
            self.make_room(index, length);
        }
        if self.watch_congestion {
            self.watch(index);
        }
    }

    /// Sends what was gathered in the middle of a batch.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, index: usize, length: usize) {
        if length >= self.limit {
            self.flush(index);
        } else {
            self.flush_all();
        }
    }

    /// Notes a destination with which too much waits.
    fn watch(&mut self, index: usize) {
        let Outlet { connection, buffer, .. } = &self.open[index];
        if buffer.len() + connection.outbound.pending() > connection.outbound.service_room() {
            self.congested = Some((Arc::clone(connection), buffer.len()));
        }
    }

    pub(crate) fn append_to_sink(
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

    /// Sends what was gathered for many, each a little.
    fn flush_all(&mut self) {
        for index in 0..self.open.len() {
            if !self.open[index].buffer.is_empty() {
                self.flush(index);
            }
        }
    }

    pub(crate) fn flush(&mut self, index: usize) {
        let Outlet {
            connection,
            buffer,
            messages,
            bytes,
        } = &mut self.open[index];
        self.gathered_peak = self.gathered_peak.max(self.gathered);
        self.gathered = self.gathered.saturating_sub(buffer.len());
        let outbound = &connection.outbound;
        let Bounds {
            max_pending,
            no_fast_producer_stall,
            ..
        } = outbound.bounds;
        // Others may rely on what another server is sent.
        let may_drop = no_fast_producer_stall && connection.kind == Kind::Client;
        if may_drop && outbound.pending() > drop_threshold(max_pending) {
            connection.stalls.fetch_add(1, Ordering::Relaxed);
            buffer.clear();
        }
        let (messages, bytes) = (std::mem::take(messages), std::mem::take(bytes));
        let inline = self.inline_writes > 0;
        if inline {
            self.inline_writes -= 1;
            self.work += WORK_PER_INLINE_WRITE;
        }
        match (connection.announcer.get(), inline) {
            (Some(announcer), _) => announcer.send(outbound, buffer, (messages, bytes), inline),
            (None, true) => outbound.send(buffer, messages, bytes),
            (None, false) => outbound.queue(buffer, messages, bytes),
        }
        if outbound.pending() > full_threshold(max_pending)
            && !may_drop
            && self.stalled.len() < STALLED_MAX
            && !self.stalled.iter().any(|known| known.id == connection.id)
        {
            self.stalled.push(Arc::clone(connection));
        }
    }

    #[inline]
    pub(crate) fn end_expired(&mut self) {
        if self.expired.is_empty() {
            return;
        }
        for subscription in self.expired.drain(..) {
            subscription.end();
        }
    }
}

/// Appends the frame for a subscription in another account; a prefix that was prepared has its subject already.
#[cold]
#[inline(never)]
fn append_shadow(
    outlet: &mut Outlet,
    subscription: &Subscription,
    prefix: Option<&[u8]>,
    message: &Message<'_>,
) -> usize {
    let takes_headers = outlet.connection.headers.load(Ordering::Relaxed);
    if message.header_size == 0 && prefix.is_some() {
        return message.append(&mut outlet.buffer, subscription.sid(), prefix, || takes_headers);
    }
    let shown = subscription.shown(message.subject);
    let renamed = message.renamed(&shown);
    renamed.append(&mut outlet.buffer, subscription.sid(), None, || takes_headers)
}
