//! First deliveries (`streaming-protocol.md` §5.3), and what all deliveries share: sending, cold reads, congestion.
//!
//! A subscription is moved along by [`Engine::advance`]: what it has to send again first, then what is new. It stops when it
//! waits for something (a read, an ack, a drained destination, the bus) and whatever ends that wait calls it again.

use crate::bus::{Delivery, Destination};
use crate::effects::{Delivered, Effects, Source};
use crate::engine::{Engine, Reader, Work};
use crate::event::Event;
use crate::input::{StoredMessage, Ticket};
use crate::limits::{READ_BYTES_MAX, READ_MESSAGES_MAX, READ_RETRY_NS};
use crate::records::ReadRequest;
use crate::state::{ChannelKey, Hold, Phase, Reading, SubscriptionKey};
use crate::time::Now;
use crate::timers::Timer;

/// An answered read: what there is of `from..=to`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    messages: &'a [StoredMessage<'a>],
    from: u64,
    to: u64,
}

impl<'a> Batch<'a> {
    fn new(reading: Reading, messages: &'a [StoredMessage<'a>]) -> Batch<'a> {
        // A short answer says nothing about what comes after its last message, an empty one says it all.
        let to = messages.last().map_or(reading.to, |last| last.sequence);
        Batch {
            messages,
            from: reading.from,
            to,
        }
    }

    /// `None`: the read does not cover it. `Some(None)`: it does not exist.
    pub(crate) fn lookup(&self, sequence: u64) -> Option<Option<&StoredMessage<'a>>> {
        if sequence < self.from || sequence > self.to {
            return None;
        }
        Some(
            self.messages
                .binary_search_by_key(&sequence, |message| message.sequence)
                .ok()
                .map(|at| &self.messages[at]),
        )
    }
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Sent,
    Cold,
    Missing,
    Unreachable,
}

/// Whether a step went to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// It waits, or continues later; whatever ends that comes back.
    Waiting,
}

impl Engine {
    /// Offers new durable messages to everyone on the channel: plain subscriptions first, then queue groups (§5.3).
    pub(crate) fn deliver_channel(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) {
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(self.channels[key.0].plain.values());
        for subscription in keys.drain(..) {
            self.advance(now, subscription, None, effects);
        }
        self.keys = keys;
        let mut number = 0;
        while let Some((&next, &group)) = self.channels[key.0].groups.range(number..).next() {
            self.advance_group(now, group, None, effects);
            number = next + 1;
        }
    }

    /// Moves a subscription along as far as it goes.
    pub(crate) fn advance(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) {
        let subscription = &self.subscriptions[key.0];
        if matches!(subscription.phase, Phase::Unconfirmed | Phase::Offline)
            || subscription.waits().reading.is_some()
            || subscription.waits().retry_timer.is_some()
        {
            return;
        }
        if subscription.hold != Hold::Released && self.hold_pass(now, key, batch, effects) == Progress::Waiting {
            return;
        }
        if self.subscriptions[key.0].due && self.redelivery_pass(now, key, batch, effects) == Progress::Waiting {
            return;
        }
        match self.subscriptions[key.0].group {
            None => self.first_deliveries(now, key, batch, effects),
            Some(group) => {
                let subscription = &self.subscriptions[key.0];
                if subscription.phase == Phase::Departing && subscription.pending.is_empty() {
                    self.finish_departing(key, effects);
                }
                // A group that waited for this member's hold, or for its room.
                self.queue_group(group);
            }
        }
    }

    fn first_deliveries(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) {
        loop {
            let subscription = &self.subscriptions[key.0];
            let channel = &self.channels[subscription.channel.0];
            let next = (subscription.last_sent + 1).max(channel.first);
            if next > channel.durable_last {
                if let Some(waits) = self.subscriptions[key.0].end_wait() {
                    waits.catching_up = None;
                }
                return;
            }
            if subscription.is_stalled() || subscription.waits().paused.is_some() {
                return;
            }
            let room = (subscription.max_in_flight - subscription.pending.len()) as u64;
            let to = channel.durable_last.min(next.saturating_add(room - 1));
            if !self.spend() {
                return self.queue_subscription(key);
            }
            match self.send(now, key, next, 0, batch, effects) {
                Attempt::Sent => self.record_first(now, key, next, effects),
                Attempt::Missing => {
                    self.subscriptions[key.0].last_sent = next;
                    self.mark_cursor(key);
                }
                Attempt::Cold => {
                    let since = (now.monotonic, next);
                    let waits = self.subscriptions[key.0].begin_wait();
                    waits.catching_up.get_or_insert(since);
                    return self.read_for_subscription(key, next, to, effects);
                }
                Attempt::Unreachable => return self.strand_subscription(key),
            }
        }
    }

    /// A message was sent for the first time: it is pending from now on.
    pub(crate) fn record_first(&mut self, now: Now, key: SubscriptionKey, sequence: u64, effects: &mut Effects<'_>) {
        let subscription = &mut self.subscriptions[key.0];
        let deadline = now.monotonic.saturating_add(subscription.ack_wait);
        subscription.pending.insert(sequence);
        subscription.note_stall(now);
        subscription.deadlines.push(sequence, deadline, &subscription.pending);
        subscription.last_sent = subscription.last_sent.max(sequence);
        // What a resumed durable was sent again keeps its cadence, and may be due later than this.
        if subscription.timer.is_none_or(|timer| deadline < timer) {
            self.timers
                .set(&mut subscription.timer, Timer::Redelivery(key), Some(deadline));
        }
        self.note_unsettled(key, effects, |unsettled| unsettled.sent.push(sequence));
    }

    /// Tries to send one message to a subscription; `count` is 0 for the first time.
    pub(crate) fn send(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        sequence: u64,
        count: u32,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) -> Attempt {
        let subscription = &mut self.subscriptions[key.0];
        let channel = &self.channels[subscription.channel.0];
        if sequence < channel.first || sequence > channel.last {
            return Attempt::Missing;
        }
        if !self.bus_up {
            return Attempt::Unreachable;
        }
        let source = match batch.and_then(|batch| batch.lookup(sequence)) {
            None => Source::Store,
            Some(None) => return Attempt::Missing,
            Some(Some(message)) => Source::Body(message.body),
        };
        let delivery = Delivery {
            channel: channel.id,
            sequence,
            inbox: &subscription.inbox,
            redelivery_count: count,
        };
        match effects.deliver(self.durable, delivery, source) {
            Delivered::Sent { bytes, congested } => {
                self.totals.out_messages += 1;
                self.totals.out_bytes += u64::from(bytes);
                if count > 0 {
                    self.totals.redelivered += 1;
                    subscription.redeliveries += 1;
                }
                if self.options.trace {
                    let (number, channel) = (subscription.number, &channel.name[..]);
                    effects.event(Event::Delivering {
                        number,
                        channel,
                        sequence,
                        redelivery_count: count,
                    });
                }
                if let Some(destination) = congested
                    && subscription.waits().paused.is_none()
                {
                    let waits = subscription.begin_wait();
                    waits.paused = Some(destination);
                    waits.paused_since = now.monotonic;
                    self.congested
                        .entry(destination)
                        .or_default()
                        .push((key, subscription.number));
                }
                Attempt::Sent
            }
            Delivered::Cold => Attempt::Cold,
            Delivered::Missing => Attempt::Missing,
            Delivered::Unreachable => Attempt::Unreachable,
        }
    }

    pub(crate) fn read_for_subscription(
        &mut self,
        key: SubscriptionKey,
        from: u64,
        to: u64,
        effects: &mut Effects<'_>,
    ) {
        let channel = self.subscriptions[key.0].channel;
        let reading = self.read(channel, Reader::Subscription(key), from, to, effects);
        self.subscriptions[key.0].begin_wait().reading = Some(reading);
    }

    pub(crate) fn read(
        &mut self,
        channel: ChannelKey,
        reader: Reader,
        from: u64,
        to: u64,
        effects: &mut Effects<'_>,
    ) -> Reading {
        let ticket = Ticket(self.number());
        let messages_max = u32::try_from(to.saturating_sub(from).saturating_add(1))
            .unwrap_or(READ_MESSAGES_MAX)
            .clamp(1, READ_MESSAGES_MAX);
        self.reads.insert(ticket, reader);
        effects.records.read(ReadRequest {
            ticket,
            channel: self.channels[channel.0].id,
            from,
            messages_max,
            bytes_max: READ_BYTES_MAX,
        });
        Reading {
            ticket,
            from,
            to: from.saturating_add(u64::from(messages_max) - 1),
        }
    }

    /// An answer counts only for the reader that asked: one that closed, or was resumed, has no ticket any more.
    pub(crate) fn read_answered(
        &mut self,
        now: Now,
        ticket: Ticket,
        messages: Result<&[StoredMessage<'_>], &str>,
        effects: &mut Effects<'_>,
    ) {
        let Some(reader) = self.reads.remove(&ticket) else {
            return;
        };
        let (slot, channel) = match reader {
            Reader::Subscription(key) => {
                let subscription = &mut self.subscriptions[key.0];
                let channel = subscription.channel;
                (subscription.end_wait().map(|waits| &mut waits.reading), channel)
            }
            Reader::Group(key) => {
                let group = &mut self.groups[key.0];
                (Some(&mut group.reading), group.channel)
            }
        };
        let reading = slot.and_then(|slot| slot.take_if(|reading| reading.ticket == ticket));
        let Some(reading) = reading else { return };
        match messages {
            Ok(messages) => {
                let batch = Batch::new(reading, messages);
                match reader {
                    Reader::Subscription(key) => self.advance(now, key, Some(&batch), effects),
                    Reader::Group(key) => self.advance_group(now, key, Some(&batch), effects),
                }
            }
            Err(reason) => {
                let channel = &self.channels[channel.0].name;
                effects.event(Event::ReadFailed {
                    channel,
                    sequence: reading.from,
                    reason,
                });
                let deadline = Some(now.monotonic + READ_RETRY_NS);
                match reader {
                    Reader::Subscription(key) => {
                        let slot = &mut self.subscriptions[key.0].begin_wait().retry_timer;
                        self.timers.set(slot, Timer::SubscriptionRetry(key), deadline);
                    }
                    Reader::Group(key) => {
                        self.timers
                            .set(&mut self.groups[key.0].retry_timer, Timer::GroupRetry(key), deadline);
                    }
                }
            }
        }
    }

    /// Everyone who was paused by that destination goes on; a queue member makes room for its whole group.
    pub(crate) fn drained(&mut self, now: Now, destination: Destination, effects: &mut Effects<'_>) {
        let Some(waiting) = self.congested.remove(&destination) else {
            return;
        };
        for (key, number) in &waiting {
            if let Some(subscription) = self.subscriptions.get_mut(key.0)
                && subscription.number == *number
                && let Some(waits) = subscription.end_wait()
            {
                waits.paused = None;
            }
        }
        for (key, number) in waiting {
            let Some(subscription) = self.subscriptions.get(key.0) else {
                continue;
            };
            if subscription.number != number {
                continue;
            }
            let group = subscription.group;
            self.advance(now, key, None, effects);
            if let Some(group) = group {
                self.queue_group_members(group);
            }
        }
    }

    pub(crate) fn bus_is_up(&mut self, now: Now, effects: &mut Effects<'_>) {
        self.bus_up = true;
        for work in std::mem::take(&mut self.stranded) {
            self.work.push_back(work);
        }
        self.work_off(now, effects);
    }

    pub(crate) fn queue_subscription(&mut self, key: SubscriptionKey) {
        let subscription = &mut self.subscriptions[key.0];
        if !subscription.queued {
            subscription.queued = true;
            self.work.push_back(Work::Subscription(key, subscription.number));
        }
    }

    /// The bus took nothing: tried again when it is up.
    pub(crate) fn strand_subscription(&mut self, key: SubscriptionKey) {
        let subscription = &mut self.subscriptions[key.0];
        if !subscription.queued {
            subscription.queued = true;
            self.stranded.push(Work::Subscription(key, subscription.number));
        }
    }
}
