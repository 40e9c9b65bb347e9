//! First deliveries (`streaming-protocol.md` §5.3), and what all deliveries share: sending, cold reads, congestion.
//!
//! A cursor is moved along by [`Engine::advance`]: what its subscription has to be sent again first, then what is new. It
//! stops when it waits for something (a read, an ack, a drained destination, the bus) and whatever ends that wait calls it
//! again.

use super::Engine;
use crate::bus::{Delivery, Destination};
use crate::effects::{Delivered, Effects, Source};
use crate::event::Event;
use crate::input::{StoredMessage, Ticket};
use crate::limits::{DELIVERY_BYTES_PER_WORK, READ_BYTES_MAX, READ_MESSAGES_MAX, READ_RETRY_NS};
use crate::position::cursor::{Cursor, Reading};
use crate::records::{ReadRequest, Unreadable};
use crate::registry::keys::{ChannelKey, CursorKey, SubscriptionKey};
use crate::registry::subscription::{Phase, Resend};
use crate::time::Now;
use crate::waiting::congestion::{End, Pause};
use crate::waiting::offers::Turn;
use crate::waiting::work::Work;

/// An answered read: what there is of `from..=to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    messages: &'a [StoredMessage<'a>],
    from: u64,
    to: u64,
    is_damaged: bool,
}

/// What an answered read says of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    Message(&'a StoredMessage<'a>),
    Missing,
    Damaged,
}

impl<'a> Batch<'a> {
    fn new(reading: Reading, messages: &'a [StoredMessage<'a>]) -> Batch<'a> {
        // A short answer says nothing about what comes after its last message, an empty one says it all.
        let to = messages.last().map_or(reading.to, |last| last.sequence);
        Batch {
            messages,
            from: reading.from,
            to,
            is_damaged: false,
        }
    }

    /// Of a read that found nothing but damage.
    pub(super) fn damaged(found: &Unreadable) -> Batch<'static> {
        Batch {
            messages: &[],
            from: found.from,
            to: found.to,
            is_damaged: true,
        }
    }

    /// `None`: the read does not cover it.
    pub(super) fn lookup(&self, sequence: u64) -> Option<Found<'_>> {
        if sequence < self.from || sequence > self.to {
            return None;
        }
        if self.is_damaged {
            return Some(Found::Damaged);
        }
        let found = self
            .messages
            .binary_search_by_key(&sequence, |message| message.sequence);
        Some(found.map_or(Found::Missing, |at| Found::Message(&self.messages[at])))
    }
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Sent,
    /// Nothing was sent, and the subscription is paused.
    Congested,
    Cold,
    Missing,
    /// It is there and cannot be read.
    Damaged,
    Unreachable,
}

/// Whether a step went to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    /// It waits for something, or for its next turn; whatever ends the wait calls [`Engine::advance`] again.
    Waiting,
}

impl Engine {
    /// Offers new durable messages to everyone on the channel: plain subscriptions first, then queue groups (§5.3). When that
    /// was not finished for earlier ones it goes on where it was, so that everyone has a turn.
    pub(super) fn offer(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) {
        self.channels[key].offers.begin();
        self.continue_offer(now, key, effects);
    }

    /// Goes on with offering what is new, as far as this call may.
    pub(super) fn continue_offer(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) {
        loop {
            let channel = &mut self.channels[key];
            let next = match channel.offers.next() {
                Some(Turn::Plain(from)) => match channel.plain_from(from) {
                    Some((number, subscription)) => Some((Turn::Plain(number + 1), subscription.into())),
                    None => {
                        channel.offers.go_on(Turn::Group(0));
                        continue;
                    }
                },
                Some(Turn::Group(from)) => {
                    let group = channel.group_from(from);
                    group.map(|(number, group)| (Turn::Group(number + 1), group.into()))
                }
                None => return,
            };
            let Some((turn, cursor)) = next else {
                self.channels[key].offers.end_round();
                continue;
            };
            if !self.budget.spend() {
                let channel = &mut self.channels[key];
                if channel.offers.enqueue() {
                    self.work.push(Work::Offer(key, channel.id()));
                }
                return;
            }
            self.channels[key].offers.go_on(turn);
            self.advance(now, cursor, None, effects);
        }
    }

    /// Moves a cursor along as far as it goes.
    pub(super) fn advance(&mut self, now: Now, key: CursorKey, batch: Option<&Batch<'_>>, effects: &mut Effects<'_>) {
        if self.cursor(key).is_waiting() {
            return;
        }
        if let CursorKey::Subscription(subscription) = key {
            if self.send_again(now, subscription, batch, effects) == Progress::Waiting {
                return;
            }
            if let Some(group) = self.subscriptions[subscription].group() {
                let subscription_state = &self.subscriptions[subscription];
                if subscription_state.phase() == Phase::Departing && subscription_state.window.pending().is_empty() {
                    self.finish_departing(subscription, effects);
                }
                // New messages are sent by the group, which may have waited until this member had nothing to be sent again.
                return self.queue_cursor(group.into());
            }
        }
        self.send_new(now, key, batch, effects);
    }

    /// Sends what a subscription has to be sent again.
    fn send_again(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) -> Progress {
        let subscription = &self.subscriptions[key];
        if matches!(subscription.phase(), Phase::Unconfirmed | Phase::Offline) {
            return Progress::Waiting;
        }
        if self.is_held_by_operator(key) {
            return Progress::Waiting;
        }
        let subscription = &self.subscriptions[key];
        if subscription.resend() != Resend::Nothing && self.resend_pass(now, key, batch, effects) == Progress::Waiting {
            return Progress::Waiting;
        }
        if self.subscriptions[key].is_due() {
            return self.redelivery_pass(now, key, batch, effects);
        }
        Progress::Done
    }

    /// Sends new messages while somebody can take one: the subscription, or a member of the group.
    fn send_new(&mut self, now: Now, key: CursorKey, batch: Option<&Batch<'_>>, effects: &mut Effects<'_>) {
        loop {
            let (first, last) = {
                let log = self.channels[self.channel_of(key)].log();
                (log.first(), log.durable_last())
            };
            let next = self.cursor(key).next(first);
            if next > last {
                return self.cursor_mut(key).has_caught_up();
            }
            let Some(receiver) = self.receiver(key) else { return };
            if !self.budget.spend() {
                return self.queue_cursor(key);
            }
            match self.send(now, receiver, next, &mut 0, batch, effects) {
                Attempt::Sent => {
                    self.record_first(now, receiver, next, effects);
                    if let CursorKey::Group(_) = key {
                        self.cursor_mut(key).advance(next);
                        self.rotate(receiver);
                    }
                }
                // Another member may have room.
                Attempt::Congested => {}
                // With its channel: so does whoever waits for it.
                Attempt::Missing if self.channels[self.channel_of(key)].is_being_deleted() => return,
                Attempt::Missing => {
                    // What was given up is gone over at once.
                    let lost = self.channels[self.channel_of(key)].log().lost().next(next);
                    self.cursor_mut(key).advance(next.max(lost.saturating_sub(1)));
                    if let CursorKey::Subscription(key) = key {
                        self.mark_cursor(key);
                    }
                }
                Attempt::Damaged => self.pass_over(now, key, receiver, next, effects),
                Attempt::Cold => {
                    let to = last.min(next.saturating_add(self.room(key).saturating_sub(1)));
                    self.cursor_mut(key).falls_behind(now.monotonic, next);
                    return self.read(key, next, to, effects);
                }
                Attempt::Unreachable => return self.strand_cursor(key),
            }
        }
    }

    /// Who takes the next new message; none when nobody can.
    fn receiver(&self, key: CursorKey) -> Option<SubscriptionKey> {
        match key {
            CursorKey::Subscription(key) => {
                let subscription = &self.subscriptions[key];
                let may_take =
                    !subscription.is_stalled() && subscription.paused().is_none() && !subscription.is_halted();
                may_take.then_some(key)
            }
            CursorKey::Group(key) if self.groups[key].is_halted() => None,
            CursorKey::Group(key) => self.groups[key].members().choose_for_new(),
        }
    }

    /// How many new messages can be taken now.
    fn room(&self, key: CursorKey) -> u64 {
        match key {
            CursorKey::Subscription(key) => self.subscriptions[key].window.room(),
            CursorKey::Group(key) => self.groups[key].members().room(),
        }
    }

    pub(super) fn cursor(&self, key: CursorKey) -> &Cursor {
        match key {
            CursorKey::Subscription(key) => &self.subscriptions[key].cursor,
            CursorKey::Group(key) => &self.groups[key].cursor,
        }
    }

    pub(super) fn cursor_mut(&mut self, key: CursorKey) -> &mut Cursor {
        match key {
            CursorKey::Subscription(key) => &mut self.subscriptions[key].cursor,
            CursorKey::Group(key) => &mut self.groups[key].cursor,
        }
    }

    fn channel_of(&self, key: CursorKey) -> ChannelKey {
        match key {
            CursorKey::Subscription(key) => self.subscriptions[key].channel(),
            CursorKey::Group(key) => self.groups[key].channel(),
        }
    }

    /// The unique number of whose cursor it is; none when it has gone.
    pub(super) fn number_of(&self, key: CursorKey) -> Option<u64> {
        match key {
            CursorKey::Subscription(key) => self.subscriptions.number(key),
            CursorKey::Group(key) => self.groups.number(key),
        }
    }

    /// A message was sent for the first time: it is pending from now on.
    pub(super) fn record_first(&mut self, now: Now, key: SubscriptionKey, sequence: u64, effects: &mut Effects<'_>) {
        let subscription = &mut self.subscriptions[key];
        subscription.window.sent_first(now, key, sequence, &mut self.timers);
        subscription.cursor.advance(sequence);
        if let Some(group) = subscription.group() {
            self.groups[group].note_holder(sequence, key);
            self.update_standing(key);
        }
        self.note_dirty(key, effects, |dirty| dirty.sent.push(sequence));
    }

    /// Tries to send one message to a subscription; `count` is 0 for the first time. When nobody listens to what is sent again, that is as
    /// good as sent, and does not count.
    pub(super) fn send(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        sequence: u64,
        count: &mut u32,
        batch: Option<&Batch<'_>>,
        effects: &mut Effects<'_>,
    ) -> Attempt {
        let subscription = &mut self.subscriptions[key];
        let channel = &self.channels[subscription.channel()];
        if !channel.log().holds(sequence) {
            return Attempt::Missing;
        }
        if !self.way.is_up() {
            return Attempt::Unreachable;
        }
        let source = match batch.and_then(|batch| batch.lookup(sequence)) {
            None if channel.damage.as_ref().is_some_and(|damage| damage.contains(sequence)) => {
                return Attempt::Damaged;
            }
            None => Source::Store,
            Some(Found::Missing) => return Attempt::Missing,
            Some(Found::Damaged) => return Attempt::Damaged,
            Some(Found::Message(message)) => Source::Body(message.body),
        };
        // What is not durable yet is nobody's, whatever asks for it.
        assert!(
            sequence <= channel.log().durable_last(),
            "a message leaves before it is durable"
        );
        let delivery = Delivery {
            channel: channel.id(),
            sequence,
            subscription: subscription.number(),
            inbox: subscription.inbox(),
            redelivery_count: *count,
        };
        match effects.deliver(self.ledger.durable(), delivery, source) {
            Delivered::Unheard(_) if *count > 0 => {
                *count -= 1;
                if self.options.trace {
                    let (number, channel) = (subscription.number(), &channel.name()[..]);
                    effects.event(Event::Unheard {
                        number,
                        channel,
                        sequence,
                    });
                }
                Attempt::Sent
            }
            Delivered::Sent(bytes) | Delivered::Unheard(bytes) => {
                self.budget.charge((bytes / DELIVERY_BYTES_PER_WORK) as usize);
                self.tally.went_out(bytes, *count);
                subscription.went_out(*count);
                if self.options.trace {
                    let (number, channel) = (subscription.number(), &channel.name()[..]);
                    effects.event(Event::Delivering {
                        number,
                        channel,
                        sequence,
                        redelivery_count: *count,
                    });
                }
                Attempt::Sent
            }
            Delivered::Congested(destination) => {
                let since = now.monotonic;
                subscription.pause(Pause { destination, since });
                self.congestion.add(destination, subscription.number(), key);
                self.update_standing(key);
                Attempt::Congested
            }
            Delivered::Cold => Attempt::Cold,
            Delivered::Missing => Attempt::Missing,
            Delivered::Unreachable => Attempt::Unreachable,
        }
    }

    /// Asks for messages from disk, as many as one read may bring.
    pub(super) fn read(&mut self, key: CursorKey, from: u64, to: u64, effects: &mut Effects<'_>) {
        let ticket = self.questions.read(key);
        let messages_max = u32::try_from(to.saturating_sub(from).saturating_add(1))
            .unwrap_or(u32::MAX)
            .min(READ_MESSAGES_MAX);
        effects.records.read(ReadRequest {
            ticket,
            channel: self.channels[self.channel_of(key)].id(),
            from,
            messages_max,
            bytes_max: READ_BYTES_MAX,
        });
        let to = from.saturating_add(u64::from(messages_max) - 1);
        self.cursor_mut(key).begin_read(Reading { ticket, from, to });
    }

    /// An answer counts only for the cursor that asked: one that closed, or was resumed, has no ticket any more.
    pub(super) fn read_answered(
        &mut self,
        now: Now,
        ticket: Ticket,
        messages: Result<&[StoredMessage<'_>], &Unreadable>,
        effects: &mut Effects<'_>,
    ) {
        if self.look_answered(now, ticket, messages, effects) {
            return;
        }
        let Some(key) = self.questions.end_read(ticket) else {
            return;
        };
        let Some(reading) = self.cursor_mut(key).end_read(ticket) else {
            return;
        };
        let channel = self.channel_of(key);
        match messages {
            Ok(messages) => {
                if let (Some(first), Some(last)) = (messages.first(), messages.last()) {
                    self.note_readable(channel, first.sequence, last.sequence, effects);
                }
                self.advance(now, key, Some(&Batch::new(reading, messages)), effects);
            }
            // Were it about other messages than those asked for, to go on would be to ask for ever.
            Err(found) if found.damaged && found.from <= reading.from.max(self.channels[channel].log().first()) => {
                self.read_damaged(now, key, channel, found, effects);
            }
            Err(Unreadable { reason, .. }) => {
                effects.event(Event::ReadFailed {
                    channel: self.channels[channel].name(),
                    sequence: reading.from,
                    reason,
                });
                let deadline = now.monotonic + READ_RETRY_NS;
                let cursor = match key {
                    CursorKey::Subscription(key) => &mut self.subscriptions[key].cursor,
                    CursorKey::Group(key) => &mut self.groups[key].cursor,
                };
                cursor.retry_at(key, deadline, &mut self.timers);
            }
        }
    }

    /// A failed read is tried again.
    pub(super) fn retry_due(&mut self, now: Now, key: CursorKey, effects: &mut Effects<'_>) {
        self.cursor_mut(key).end_retry();
        self.advance(now, key, None, effects);
    }

    /// A cursor waits for nothing any more.
    pub(super) fn cancel_waits(&mut self, key: CursorKey) {
        let cursor = match key {
            CursorKey::Subscription(key) => &mut self.subscriptions[key].cursor,
            CursorKey::Group(key) => &mut self.groups[key].cursor,
        };
        if let Some(ticket) = cursor.cancel(key, &mut self.timers) {
            self.questions.end_read(ticket);
        }
    }

    /// Everyone who was paused by that destination goes on.
    pub(super) fn drained(&mut self, now: Now, destination: Destination, effects: &mut Effects<'_>) {
        self.congestion.end(destination, End::Drained);
        self.resume_drained(now, effects);
    }

    /// Nobody else comes to a destination: who waited for it goes on as it can, without it.
    pub(super) fn gone(&mut self, now: Now, destination: Destination, effects: &mut Effects<'_>) {
        self.congestion.end(destination, End::Gone);
        self.resume_drained(now, effects);
    }

    /// Lets those go on whose destination has drained, as far as this call may; a queue member makes room for its whole
    /// group.
    pub(super) fn resume_drained(&mut self, now: Now, effects: &mut Effects<'_>) {
        while self.congestion.has_drained() && self.budget.spend() {
            let Some((destination, end, number, key)) = self.congestion.next() else {
                return;
            };
            if self.subscriptions.number(key) != Some(number) {
                continue;
            }
            let subscription = &mut self.subscriptions[key];
            if subscription
                .paused()
                .is_none_or(|pause| pause.destination != destination)
            {
                continue;
            }
            subscription.unpause();
            let group = subscription.group();
            if end == End::Gone && group.is_some() {
                subscription.hand_over();
            }
            self.update_standing(key);
            self.advance(now, key.into(), None, effects);
            if let Some(group) = group {
                self.wake_group(group);
            }
        }
    }

    pub(super) fn bus_is_up(&mut self, now: Now, effects: &mut Effects<'_>) {
        self.way.rise(now.monotonic);
        self.work.bus_is_up();
        self.work_off(now, effects);
    }

    /// Goes on with a cursor later.
    pub(super) fn queue_cursor(&mut self, key: CursorKey) {
        if let Some(number) = self.number_of(key)
            && self.cursor_mut(key).enqueue()
        {
            self.work.push(Work::Advance(key, number));
        }
    }

    /// The bus took nothing: tried again when it is up.
    pub(super) fn strand_cursor(&mut self, key: CursorKey) {
        if let Some(number) = self.number_of(key)
            && self.cursor_mut(key).enqueue()
        {
            self.work.strand(Work::Advance(key, number));
        }
    }
}
