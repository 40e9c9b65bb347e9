//! What was sent and acknowledged is written down, coalesced: at the end of a pass, and before whatever must not overtake it.

use super::Engine;
use crate::effects::Effects;
use crate::facts::{GROUP_PROGRESS, PROGRESS};
use crate::limits::DIRTY_RUNS_MAX;
use crate::registry::keys::SubscriptionKey;
use crate::registry::subscription::Subscription;
use crate::waiting::dirty::Dirty;

impl Engine {
    /// Writes down what happened to subscriptions, as far as this call may.
    pub(super) fn persist(&mut self, effects: &mut Effects<'_>) {
        while !self.budget.is_spent() && self.persist_next(effects) {
            self.budget.charge(1);
        }
    }

    /// Writes down the subscription whose turn it is; false when there is none.
    fn persist_next(&mut self, effects: &mut Effects<'_>) -> bool {
        let Some((key, place)) = self.dirty.first() else {
            return false;
        };
        let is_meant = |subscription: &Subscription| subscription.dirty.is_at(place);
        if self.subscriptions.get(key).is_some_and(is_meant) {
            // Its entry is empty when the group wrote it down together with an earlier member.
            if self
                .dirty
                .get(self.subscriptions[key].dirty)
                .is_some_and(|entry| !entry.is_empty())
            {
                self.persist_subscription(key, effects);
            }
            self.subscriptions[key].dirty.leave();
        }
        self.dirty.pop();
        true
    }

    /// Notes what is to be written down about a subscription; writes at once when that has become much.
    #[inline]
    pub(super) fn note_dirty(
        &mut self,
        key: SubscriptionKey,
        effects: &mut Effects<'_>,
        note: impl FnOnce(&mut Dirty),
    ) {
        let dirty = self.dirty_entry(key);
        note(dirty);
        if dirty.runs() > DIRTY_RUNS_MAX {
            self.persist_subscription(key, effects);
        }
    }

    /// What is to be written down about a subscription, for something to be added. A group knows which of its members have
    /// something.
    #[inline]
    fn dirty_entry(&mut self, key: SubscriptionKey) -> &mut Dirty {
        let subscription = &mut self.subscriptions[key];
        let dirty = self.dirty.entry(key, &mut subscription.dirty);
        if let Some(group) = subscription.group()
            && dirty.is_empty()
        {
            self.groups[group].note_dirty(key);
        }
        dirty
    }

    /// Notes that a cursor moved without a message being sent.
    pub(super) fn mark_cursor(&mut self, key: SubscriptionKey) {
        self.dirty_entry(key).cursor = true;
    }

    /// Writes down what happened to a subscription since it was last written, if anything. Lazily: losing it costs a
    /// redelivery, and whatever fact follows is behind it.
    ///
    /// A queue member is written together with its whole group, in one fact: the group's cursor is the highest of its
    /// members', so it must not survive a crash without what the others were sent below it.
    pub(super) fn persist_subscription(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) {
        let subscription = &self.subscriptions[key];
        let Some(group) = subscription.group() else {
            let last_sent = subscription.cursor.last_sent();
            if let Some(fact) = self.dirty.take(subscription.dirty, subscription.number(), last_sent) {
                self.ledger.lazy_fact(PROGRESS, fact, effects);
            }
            return;
        };
        let mut members = self.groups[group].take_dirty();
        let subscriptions = &self.subscriptions;
        let parts = members.drain(..).filter_map(|member| {
            // It may have gone with its channel.
            let member = subscriptions.get(member)?;
            (member.group() == Some(group)).then(|| (member.dirty, member.number(), member.cursor.last_sent()))
        });
        if let Some(fact) = self.dirty.take_all(parts) {
            self.ledger.lazy_fact(GROUP_PROGRESS, fact, effects);
        }
        self.groups[group].give_back_dirty(members);
    }
}
