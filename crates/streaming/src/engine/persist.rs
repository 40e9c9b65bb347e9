//! What was sent and acknowledged is written down, coalesced: at the end of a pass, and before whatever must not overtake it.

use prost::Message;

use super::Engine;
use crate::effects::Effects;
use crate::facts::{GROUP_PROGRESS, PROGRESS};
use crate::limits::DIRTY_RUNS_MAX;
use crate::records::Urgency;
use crate::registry::keys::SubscriptionKey;
use crate::state::Subscription;
use crate::waiting::dirty::Dirty;

impl Engine {
    /// Writes down what happened to subscriptions, as far as this call may.
    pub(super) fn persist(&mut self, effects: &mut Effects<'_>) {
        while self.budget > 0 && self.persist_next(effects) {
            self.budget -= 1;
        }
    }

    /// Writes down the subscription whose turn it is; false when there is none.
    fn persist_next(&mut self, effects: &mut Effects<'_>) -> bool {
        let Some((key, place)) = self.dirty.first() else {
            return false;
        };
        let is_meant = |subscription: &Subscription| subscription.dirty == Some(place);
        if self.subscriptions.get(key.0).is_some_and(is_meant) {
            // What a group wrote down with an earlier member needs no second look at all its members.
            if self.dirty.get(Some(place)).is_some_and(|entry| !entry.is_empty()) {
                self.persist_subscription(key, effects);
            }
            self.subscriptions[key.0].dirty = None;
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
        let subscription = &mut self.subscriptions[key.0];
        let dirty = self.dirty.entry(key, &mut subscription.dirty);
        if let Some(group) = subscription.group
            && dirty.is_empty()
        {
            self.groups[group.0].dirty.push(key);
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
        self.scratch.clear();
        let Some(group) = self.subscriptions[key.0].group else {
            if self.collect_dirty(key) {
                self.progress.encode_raw(&mut self.scratch);
                self.appended = effects.records.append_fact(PROGRESS, &self.scratch, Urgency::Lazy);
            }
            return;
        };
        let mut members = std::mem::take(&mut self.groups[group.0].dirty);
        for member in members.drain(..) {
            // It may have gone with its channel.
            if self
                .subscriptions
                .get(member.0)
                .is_some_and(|member| member.group == Some(group))
            {
                self.add_dirty_part(member);
            }
        }
        self.groups[group.0].dirty = members;
        if !self.scratch.is_empty() {
            self.appended = effects
                .records
                .append_fact(GROUP_PROGRESS, &self.scratch, Urgency::Lazy);
        }
    }

    fn add_dirty_part(&mut self, key: SubscriptionKey) {
        if self.collect_dirty(key) {
            self.progress
                .encode_length_delimited(&mut self.scratch)
                .expect("a vector has room for what is appended to it");
        }
    }

    /// Moves what is dirty into the fact to be written; false when there is nothing, or nothing can be written.
    fn collect_dirty(&mut self, key: SubscriptionKey) -> bool {
        let subscription = &self.subscriptions[key.0];
        let dirty = self.dirty.get_mut(subscription.dirty);
        let Some(dirty) = dirty.filter(|dirty| !dirty.is_empty()) else {
            return false;
        };
        dirty.cursor = false;
        let fact = &mut self.progress;
        fact.number = subscription.number;
        fact.last_sent = subscription.cursor.last_sent();
        fact.sent.clear();
        fact.acked.clear();
        fact.taken.clear();
        dirty.sent.drain_into(&mut fact.sent);
        dirty.acked.drain_into(&mut fact.acked);
        fact.taken
            .extend(dirty.taken.drain(..).flat_map(|(from, sequence)| [from, sequence]));
        !self.poisoned
    }
}
