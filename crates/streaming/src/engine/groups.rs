//! Queue groups (`streaming-protocol.md` §5.6): who gets the next message, and how pending messages change hands.

use super::Engine;
use crate::effects::Effects;
use crate::registry::keys::{GroupKey, SubscriptionKey};
use crate::registry::subscription::Phase;
use crate::time::Now;

impl Engine {
    /// What a member of a group can take may have changed: the group chooses by that.
    pub(super) fn update_standing(&mut self, key: SubscriptionKey) {
        let subscription = &self.subscriptions[key];
        if let (Some(group), Some(member)) = (subscription.group(), subscription.member()) {
            let standing = subscription.standing(!self.is_failing(key));
            self.groups[group].set_standing(member, standing);
        }
    }

    /// A member at the head that got a message goes to the tail.
    pub(super) fn rotate(&mut self, key: SubscriptionKey) {
        let subscription = &self.subscriptions[key];
        if let (Some(group), Some(member)) = (subscription.group(), subscription.member()) {
            self.groups[group].rotate(member);
        }
    }

    /// A redelivered message goes from one member to another: pending there, implicitly acknowledged here.
    pub(super) fn move_pending(
        &mut self,
        now: Now,
        from: SubscriptionKey,
        to: SubscriptionKey,
        sequence: u64,
        count: u32,
        effects: &mut Effects<'_>,
    ) {
        let dirty = self.dirty.get(self.subscriptions[from].dirty);
        if dirty.is_some_and(|dirty| !dirty.sent.is_empty() || !dirty.taken.is_empty()) {
            // That it got the message must be on record before that it gave it away.
            self.persist_subscription(from, effects);
        }
        let giver = &mut self.subscriptions[from];
        giver.window.remove(sequence);
        let number = giver.number();
        self.update_standing(from);
        let deadline = now.monotonic.saturating_add(self.subscriptions[to].window.ack_wait());
        self.take_over(to, number, sequence, deadline, count, effects);
        let taker = &mut self.subscriptions[to];
        taker.cursor.advance(sequence);
        taker.note_taken(sequence);
        taker.window.note_stall(now);
        self.rotate(to);
    }

    /// Makes a message pending that subscription number `from` held.
    pub(super) fn take_over(
        &mut self,
        key: SubscriptionKey,
        from: u64,
        sequence: u64,
        deadline: u64,
        count: u32,
        effects: &mut Effects<'_>,
    ) {
        let dirty = self.dirty.get(self.subscriptions[key].dirty);
        if dirty.is_some_and(|dirty| dirty.acked.contains(sequence)) {
            // It acknowledged this message earlier. In one fact that ack would count after the taking over, and the message would
            // be lost: so it is written first.
            self.persist_subscription(key, effects);
        }
        let subscription = &mut self.subscriptions[key];
        subscription.window.take_over(sequence, deadline, count);
        if subscription.phase() == Phase::Active {
            subscription.window.bring_forward(key, deadline, &mut self.timers);
        }
        if let Some(group) = subscription.group() {
            self.groups[group].note_holder(sequence, key);
        }
        self.update_standing(key);
        self.note_dirty(key, effects, |dirty| dirty.taken.push((from, sequence)));
    }

    /// A member can take more: the group's new messages, and whatever others (also those that left) wait to pass on.
    pub(super) fn wake_group(&mut self, key: GroupKey) {
        if self.groups[key].is_halted() {
            return;
        }
        while let Some(giver) = self.groups[key].pop_giver() {
            self.queue_cursor(giver.into());
        }
        self.queue_cursor(key.into());
    }
}
