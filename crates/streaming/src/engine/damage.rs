//! Messages that the store cannot read because they are damaged.
//!
//! They are passed over, so that nobody stands behind them, and stay owed: a subscription that passes one over holds it as if it
//! had been sent and not acknowledged. That is on record like any other delivery, so that it survives a restart without a fact
//! of its own, and goes with the message, its channel, the subscription. What is held like that is not in flight and does not
//! count towards MaxInflight.
//!
//! A channel remembers which of its messages are damaged, in memory only: whoever needs one of them after a restart finds out by
//! reading. So each costs one read, not one for each subscription; and the channel itself looks once in a while whether they can
//! be read again. What can is sent when its next attempt is due, as what is sent again.

use super::Engine;
use super::delivery::Batch;
use crate::effects::Effects;
use crate::event::Event;
use crate::input::{StoredMessage, Ticket};
use crate::limits::{READ_BYTES_MAX, READ_MESSAGES_MAX};
use crate::records::{ReadRequest, Unreadable};
use crate::registry::keys::{ChannelKey, CursorKey, SubscriptionKey};
use crate::registry::subscription::Phase;
use crate::time::Now;
use crate::waiting::timers::Timer;

impl Engine {
    /// The store says that messages of a channel cannot be read.
    pub(super) fn note_damage(&mut self, now: Now, key: ChannelKey, found: &Unreadable, effects: &mut Effects<'_>) {
        let channel = &mut self.channels[key];
        // What was trimmed meanwhile is nobody's matter.
        let (from, to) = (
            found.from.max(channel.log().first()),
            found.to.min(channel.log().last()),
        );
        if from > to {
            return;
        }
        let damage = channel.damage.get_or_insert_default();
        let added = damage.add(from, to);
        let is_looking = damage.look_timer.is_running();
        if added > 0 {
            self.damaged += added;
            effects.event(Event::Damaged {
                channel: channel.name(),
                from,
                to,
                reason: &found.reason,
            });
        }
        if !is_looking {
            self.look_later(now, key);
        }
    }

    fn look_later(&mut self, now: Now, key: ChannelKey) {
        let longest = self.options.damage_look_ns;
        if let Some(damage) = &mut self.channels[key].damage {
            let deadline = now.monotonic.saturating_add(damage.pause(longest));
            self.timers
                .set(&mut damage.look_timer, Timer::Damage(key), Some(deadline));
        }
    }

    /// Messages of a channel were read, or are gone.
    pub(super) fn note_readable(&mut self, key: ChannelKey, first: u64, last: u64, effects: &mut Effects<'_>) {
        let channel = &mut self.channels[key];
        let Some(damage) = &mut channel.damage else { return };
        let removed = damage.remove(first, last);
        if removed == 0 {
            return;
        }
        let left = damage.messages();
        self.damaged -= removed;
        if last >= channel.log().first() {
            effects.event(Event::Mended {
                channel: channel.name(),
                messages: removed,
                left,
            });
        }
        if left == 0 {
            self.forget_damage(key);
        }
    }

    /// Nothing of a channel is damaged any more, or it goes.
    pub(super) fn forget_damage(&mut self, key: ChannelKey) {
        if let Some(mut damage) = self.channels[key].damage.take() {
            self.timers.set(&mut damage.look_timer, Timer::Damage(key), None);
            self.damaged -= damage.messages();
        }
    }

    /// The timer for a look has fired.
    pub(super) fn damage_due(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) {
        if let Some(damage) = &mut self.channels[key].damage {
            damage.look_timer.fired();
        }
        self.look_at_damage(now, key, effects);
    }

    /// Looks whether something that is damaged can be read again; the next look comes later than was set, if any was.
    fn look_at_damage(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) {
        let Some(damage) = &mut self.channels[key].damage else {
            return;
        };
        let next = damage.begin_look();
        self.look_later(now, key);
        let Some((from, to)) = next else { return };
        let id = self.channels[key].id();
        let ticket = self.questions.look(key, id, from);
        let messages_max = u32::try_from(to - from + 1).unwrap_or(u32::MAX).min(READ_MESSAGES_MAX);
        effects.records.read(ReadRequest {
            ticket,
            channel: id,
            from,
            messages_max,
            bytes_max: READ_BYTES_MAX,
        });
    }

    /// What came of such a look; false when the read was none.
    pub(super) fn look_answered(
        &mut self,
        now: Now,
        ticket: Ticket,
        messages: Result<&[StoredMessage<'_>], &Unreadable>,
        effects: &mut Effects<'_>,
    ) -> bool {
        let Some((key, id, from)) = self.questions.end_look(ticket) else {
            return false;
        };
        // The channel may have gone.
        let Some(channel) = self.channels.get_mut(key, id) else {
            return true;
        };
        let look_from = match messages {
            Ok(messages) => messages.last().map_or(0, |last| last.sequence.saturating_add(1)),
            Err(found) => found.to.saturating_add(1),
        };
        let log_last = channel.log().last();
        if let Some(damage) = &mut channel.damage {
            damage.look_on_from(look_from);
        }
        match messages {
            Ok(messages) => {
                // What lies between where it began and what was read does not exist any more: nobody could wait for that.
                let last = messages.last().map_or(log_last, |last| last.sequence);
                self.note_readable(key, from, last, effects);
                // What was mended is seldom alone.
                if self.channels[key].damage.is_some() && !messages.is_empty() {
                    self.look_at_damage(now, key, effects);
                }
            }
            Err(found) if found.damaged => self.note_damage(now, key, found, effects),
            Err(_) => {}
        }
        true
    }

    /// Whether a message is known to be damaged.
    pub(super) fn is_damaged(&self, key: ChannelKey, sequence: u64) -> bool {
        let damage = self.channels[key].damage.as_ref();
        damage.is_some_and(|damage| damage.contains(sequence))
    }

    /// When whoever passed something over tries again: a little after the next look.
    fn next_attempt(&self, now: Now, key: SubscriptionKey) -> u64 {
        let damage = &self.channels[self.subscriptions[key].channel()].damage;
        let longest = self.options.damage_look_ns;
        let interval = damage.as_ref().map_or(longest, |damage| damage.pause(longest));
        let look = damage.as_ref().and_then(|damage| damage.look_timer.deadline());
        let look = look.unwrap_or_else(|| now.monotonic.saturating_add(interval));
        look.max(now.monotonic).saturating_add(interval / 16)
    }

    /// The next new message of a cursor is damaged: `receiver` passes it over, and holds it.
    pub(super) fn pass_over(
        &mut self,
        now: Now,
        key: CursorKey,
        receiver: SubscriptionKey,
        sequence: u64,
        effects: &mut Effects<'_>,
    ) {
        self.subscriptions[receiver].cursor.advance(sequence);
        self.cursor_mut(key).advance(sequence);
        if let Some(group) = self.subscriptions[receiver].group() {
            self.groups[group].note_holder(sequence, receiver);
        }
        self.hold_back(now, receiver, sequence, 0, effects);
        self.note_dirty(receiver, effects, |dirty| dirty.sent.push(sequence));
    }

    /// What is to be sent again is damaged: it stays with its holder, who is not waited for; one that has left its group passes it
    /// on.
    pub(super) fn pass_over_again(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        receiver: SubscriptionKey,
        sequence: u64,
        count: u32,
        effects: &mut Effects<'_>,
    ) {
        let holder = if self.subscriptions[key].phase() == Phase::Departing && receiver != key {
            self.move_pending(now, key, receiver, sequence, count, effects);
            receiver
        } else {
            key
        };
        self.hold_back(now, holder, sequence, count, effects);
    }

    /// A pending message is not in flight until it can be read.
    fn hold_back(&mut self, now: Now, key: SubscriptionKey, sequence: u64, count: u32, effects: &mut Effects<'_>) {
        let deadline = self.next_attempt(now, key);
        let subscription = &mut self.subscriptions[key];
        let is_new = subscription.window.hold_back(sequence, deadline, count);
        if subscription.phase() == Phase::Active {
            subscription.window.bring_forward(key, deadline, &mut self.timers);
        }
        self.update_standing(key);
        if !is_new {
            return;
        }
        self.tally.passed_over_one();
        if self.options.trace {
            let subscription = &self.subscriptions[key];
            effects.event(Event::PassingOver {
                number: subscription.number(),
                channel: self.channels[subscription.channel()].name(),
                sequence,
            });
        }
    }

    /// A read of a cursor found damage: it goes on behind it.
    pub(super) fn read_damaged(
        &mut self,
        now: Now,
        key: CursorKey,
        channel: ChannelKey,
        found: &Unreadable,
        effects: &mut Effects<'_>,
    ) {
        self.note_damage(now, channel, found, effects);
        self.advance(now, key, Some(&Batch::damaged(found)), effects);
    }
}
