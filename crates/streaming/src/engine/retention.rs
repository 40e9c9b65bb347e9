//! Limits on messages, bytes and age (`streaming-protocol.md` §6.1): the oldest go, the newest stays.
//!
//! Sizes and timestamps of the oldest messages come from the store, which reads them ahead; what has to be read first is
//! waited for. Only durable messages are trimmed, so that whoever keeps up is offered each message before it goes.
//!
//! Age is timestamp against wall clock, as it was when the message was stored. One timer per channel, for its oldest
//! message, on the monotonic clock: a wall clock that is set forward (or a machine that slept) makes all ages be looked at
//! again at the next input; one that is set back keeps messages longer by as much.

use super::Engine;
use crate::channel_limits::Limits;
use crate::effects::Effects;
use crate::event::Event;
use crate::input::ChannelId;
use crate::limits::READ_RETRY_NS;
use crate::records::Head;
use crate::registry::keys::ChannelKey;
use crate::time::Now;
use crate::waiting::timers::Timer;

impl Engine {
    /// The limits that count for a channel.
    pub(super) fn limits_of(&self, key: ChannelKey) -> &Limits {
        let channel = &self.channels[key];
        let configured = || self.options.limits.get(channel.configured_limits());
        channel.own_limits().map_or_else(configured, |own| &own.limits)
    }

    /// Bytes of a channel as they count (§6.1).
    pub(super) fn counted_bytes(&self, key: ChannelKey) -> u64 {
        let log = self.channels[key].log();
        let overhead = u64::from(self.options.message_overhead).saturating_mul(log.messages());
        log.bytes().saturating_add(overhead)
    }

    fn is_over_limits(&self, key: ChannelKey) -> bool {
        let limits = self.limits_of(key);
        let messages = self.channels[key].log().messages();
        messages > 1
            && ((limits.max_messages > 0 && messages > limits.max_messages)
                || (limits.max_bytes > 0 && self.counted_bytes(key) > limits.max_bytes))
    }

    /// Queues a channel whose limits may ask for something.
    pub(super) fn consider_retention(&mut self, key: ChannelKey) {
        let channel = &self.channels[key];
        let ages =
            self.limits_of(key).max_age_ns > 0 && !channel.age_timer.is_running() && channel.log().messages() > 0;
        if ages || self.is_over_limits(key) {
            self.queue_retention(key);
        }
    }

    pub(super) fn queue_retention(&mut self, key: ChannelKey) {
        let channel = &mut self.channels[key];
        self.retention.push(key, channel.id(), &mut channel.in_retention);
    }

    pub(super) fn head_known(&mut self, now: Now, id: ChannelId, effects: &mut Effects<'_>) {
        if let Some(key) = self.channels.find_id(id) {
            self.enforce_limits(now, key, effects);
        }
    }

    /// Queues the channels that wait for an age, a slice at a time.
    fn look_at_ages(&mut self) {
        while let Some(from) = self.retention.ages_from() {
            let Some((id, key)) = self.channels.id_from(from) else {
                return self.retention.ages_done(None);
            };
            if !self.budget.spend() {
                return;
            }
            self.retention.ages_done(Some(id));
            if self.channels[key].age_timer.is_running() {
                self.queue_retention(key);
            }
        }
    }

    pub(super) fn enforce_retention(&mut self, now: Now, effects: &mut Effects<'_>) {
        self.look_at_ages();
        // What goes back to the queue waits for its next turn.
        for _ in 0..self.retention.len() {
            if self.budget.is_spent() {
                return;
            }
            let Some((key, id)) = self.retention.pop() else {
                return;
            };
            if let Some(channel) = self.channels.get_mut(key, id) {
                channel.in_retention.clear();
                self.enforce_limits(now, key, effects);
            }
        }
    }

    /// Looks at the limits of a channel that waits for it, without waiting for its turn.
    pub(super) fn enforce_first(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) {
        // It also keeps its turn in the queue: to look at a channel within its limits costs little.
        if self.channels[key].in_retention.is_set() && !self.budget.is_spent() {
            self.enforce_limits(now, key, effects);
        }
    }

    /// Trims one channel until it fits, and arms the timer for the age of what is then the oldest message.
    fn enforce_limits(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) {
        if self.channels[key].is_being_deleted() {
            return;
        }
        if self.channels[key].recounting.is_set() && !self.recount(now, key, effects) {
            return;
        }
        if self.ledger.is_poisoned() {
            return;
        }
        let id = self.channels[key].id();
        let before = self.channels[key].log().first();
        let mut trimmed = false;
        loop {
            if !self.channels[key].log().has_durable() {
                break;
            }
            let over = self.is_over_limits(key);
            let max_age = self.limits_of(key).max_age_ns;
            if !over && max_age == 0 {
                break;
            }
            if !self.budget.spend() {
                self.queue_retention(key);
                break;
            }
            let first = self.channels[key].log().first();
            let mut head = effects.records.head_from(id, first);
            if head == Head::Reading && trimmed {
                // What comes after the messages just counted out is known once they are gone.
                self.ledger.trim(id, first, effects);
                trimmed = false;
                head = effects.records.head_from(id, first);
            }
            let Head::Known {
                sequence,
                size,
                timestamp,
            } = head
            else {
                if head == Head::Reading {
                    // Nobody tells of a read that failed: it is asked for again.
                    let deadline = now.monotonic.saturating_add(READ_RETRY_NS);
                    self.timers
                        .set(&mut self.channels[key].age_timer, Timer::Age(key), Some(deadline));
                }
                break;
            };
            let age = u64::try_from(now.wall.0.saturating_sub(timestamp)).unwrap_or(0);
            if !over && age < max_age {
                let deadline = now.monotonic.saturating_add(max_age - age);
                self.timers
                    .set(&mut self.channels[key].age_timer, Timer::Age(key), Some(deadline));
                break;
            }
            if over {
                self.report_limits_reached(key, effects);
            }
            self.channels.drop_oldest(key, sequence, size);
            trimmed = true;
        }
        let first = self.channels[key].log().first();
        if trimmed {
            self.ledger.trim(id, first, effects);
        }
        if first > before {
            self.note_readable(key, 0, first - 1, effects);
        }
        self.channels.drop_remainder(key);
        let channel = &mut self.channels[key];
        if channel.log().first() > channel.log().durable_last() {
            // The timer was for a message that has gone; the next that becomes durable sets it again.
            self.timers.set(&mut channel.age_timer, Timer::Age(key), None);
        }
    }

    fn report_limits_reached(&mut self, key: ChannelKey, effects: &mut Effects<'_>) {
        if !self.channels[key].limits_reached_told.set() {
            return;
        }
        let bytes = self.counted_bytes(key);
        let limits = self.limits_of(key);
        let channel = &self.channels[key];
        effects.event(Event::LimitsReached {
            channel: channel.name(),
            messages: channel.log().messages(),
            messages_max: limits.max_messages,
            bytes,
            bytes_max: limits.max_bytes,
        });
    }
}
