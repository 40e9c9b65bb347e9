//! The end of a pass: left-over work goes on, and what was sent and acknowledged is written down, coalesced.

use prost::Message;

use crate::effects::Effects;
use crate::engine::{Engine, Work};
use crate::facts::{GROUP_SETTLED, SETTLED};
use crate::keys::SubscriptionKey;
use crate::limits::UNSETTLED_RUNS_MAX;
use crate::records::Urgency;
use crate::state::Subscription;
use crate::time::Now;
use crate::unsettled::Unsettled;

impl Engine {
    pub(crate) fn settle(&mut self, now: Now, effects: &mut Effects<'_>) {
        self.resume_drained(now, effects);
        self.work_off(now, effects);
        self.enforce_retention(now, effects);
        while self.settle_next(effects) {
            if !self.spend() {
                return;
            }
        }
    }

    /// Settles the subscription whose turn it is; false when there is none.
    pub(crate) fn settle_next(&mut self, effects: &mut Effects<'_>) -> bool {
        let Some((key, place)) = self.unsettled.last() else {
            return false;
        };
        let is_meant = |subscription: &Subscription| subscription.unsettled == Some(place);
        if self.subscriptions.get(key.0).is_some_and(is_meant) {
            // What a group wrote down with an earlier member needs no second look at all its members.
            if self.unsettled.get(Some(place)).is_some_and(|entry| !entry.is_empty()) {
                self.settle_subscription(key, effects);
            }
            self.subscriptions[key.0].unsettled = None;
        }
        self.unsettled.pop();
        true
    }

    /// Goes on with work that was left over, as far as this call may.
    pub(crate) fn work_off(&mut self, now: Now, effects: &mut Effects<'_>) {
        for _ in 0..self.work.len() {
            if self.budget == 0 {
                return;
            }
            let Some(work) = self.work.pop_front() else { return };
            match work {
                Work::Advance(key, number) => {
                    if self.number_of(key) == Some(number) {
                        self.cursor_mut(key).dequeue();
                        self.advance(now, key, None, effects);
                    }
                }
                Work::Health(key, number, from) => {
                    if self.clients.get(key.0).is_some_and(|client| client.number == number) {
                        self.update_health(key, from);
                    }
                }
                Work::Absorb(key, number) => {
                    if self.groups.get(key.0).is_some_and(|group| group.number == number) {
                        self.continue_absorb(key, effects);
                    }
                }
                Work::Delete(key, id) => {
                    if self.channels.get(key.0).is_some_and(|channel| channel.id == id) {
                        self.continue_deletion(key, id, effects);
                    }
                }
                Work::Close(key, number) => {
                    if self.clients.get(key.0).is_some_and(|client| client.number == number) {
                        self.continue_close(now, key, effects);
                    }
                }
            }
        }
    }

    /// Notes what is to be written down about a subscription; writes at once when that has become much.
    #[inline]
    pub(crate) fn note_unsettled(
        &mut self,
        key: SubscriptionKey,
        effects: &mut Effects<'_>,
        note: impl FnOnce(&mut Unsettled),
    ) {
        let unsettled = self.unsettled_entry(key);
        note(unsettled);
        if unsettled.runs() > UNSETTLED_RUNS_MAX {
            self.settle_subscription(key, effects);
        }
    }

    /// What is to be written down about a subscription, for something to be added. A group knows which of its members have
    /// something.
    #[inline]
    fn unsettled_entry(&mut self, key: SubscriptionKey) -> &mut Unsettled {
        let subscription = &mut self.subscriptions[key.0];
        let unsettled = self.unsettled.entry(key, &mut subscription.unsettled);
        if let Some(group) = subscription.group
            && unsettled.is_empty()
        {
            self.groups[group.0].unsettled.push(key);
        }
        unsettled
    }

    /// Notes that a cursor moved without a message being sent.
    pub(crate) fn mark_cursor(&mut self, key: SubscriptionKey) {
        self.unsettled_entry(key).cursor = true;
    }

    /// Writes down what happened to a subscription since it was last written, if anything. Lazily: losing it costs a
    /// redelivery, and whatever fact follows is behind it.
    ///
    /// A queue member is written together with its whole group, in one fact: the group's cursor is the highest of its
    /// members', so it must not survive a crash without what the others were sent below it.
    pub(crate) fn settle_subscription(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) {
        self.scratch.clear();
        let Some(group) = self.subscriptions[key.0].group else {
            if self.collect_unsettled(key) {
                self.settled.encode_raw(&mut self.scratch);
                self.appended = effects.records.append_fact(SETTLED, &self.scratch, Urgency::Lazy);
            }
            return;
        };
        let mut members = std::mem::take(&mut self.groups[group.0].unsettled);
        for member in members.drain(..) {
            // It may have gone with its channel.
            if self
                .subscriptions
                .get(member.0)
                .is_some_and(|member| member.group == Some(group))
            {
                self.add_unsettled_part(member);
            }
        }
        self.groups[group.0].unsettled = members;
        if !self.scratch.is_empty() {
            self.appended = effects.records.append_fact(GROUP_SETTLED, &self.scratch, Urgency::Lazy);
        }
    }

    fn add_unsettled_part(&mut self, key: SubscriptionKey) {
        if self.collect_unsettled(key) {
            self.settled
                .encode_length_delimited(&mut self.scratch)
                .expect("a vector has room for what is appended to it");
        }
    }

    /// Moves what is unsettled into the fact to be written; false when there is nothing, or nothing can be written.
    fn collect_unsettled(&mut self, key: SubscriptionKey) -> bool {
        let subscription = &self.subscriptions[key.0];
        let unsettled = self.unsettled.get_mut(subscription.unsettled);
        let Some(unsettled) = unsettled.filter(|unsettled| !unsettled.is_empty()) else {
            return false;
        };
        unsettled.cursor = false;
        let fact = &mut self.settled;
        fact.number = subscription.number;
        fact.last_sent = subscription.cursor.last_sent();
        fact.sent.clear();
        fact.acked.clear();
        fact.taken.clear();
        unsettled.sent.drain_into(&mut fact.sent);
        unsettled.acked.drain_into(&mut fact.acked);
        fact.taken
            .extend(unsettled.taken.drain(..).flat_map(|(from, sequence)| [from, sequence]));
        !self.poisoned
    }
}
