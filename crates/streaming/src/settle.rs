//! The end of a pass: left-over work goes on, and what was sent and acknowledged is written down, coalesced.

use crate::effects::{Effects, Urgency};
use crate::engine::{Engine, Work};
use crate::facts::SETTLED;
use crate::limits::UNSETTLED_RUNS_MAX;
use crate::state::SubscriptionKey;
use crate::time::Now;

impl Engine {
    pub(crate) fn settle(&mut self, now: Now, effects: &mut dyn Effects) {
        self.work_off(now, effects);
        self.enforce_retention(now, effects);
        while let Some(key) = self.unsettled.pop() {
            // The list may name one that has gone, or that was settled since.
            if let Some(subscription) = self.subscriptions.get_mut(key.0) {
                subscription.unsettled.queued = false;
                self.settle_subscription(key, effects);
            }
            if !self.spend() {
                return;
            }
        }
    }

    /// Goes on with work that was left over, as far as this call may.
    pub(crate) fn work_off(&mut self, now: Now, effects: &mut dyn Effects) {
        for _ in 0..self.work.len() {
            if self.budget == 0 {
                return;
            }
            let Some(work) = self.work.pop_front() else { return };
            match work {
                Work::Subscription(key, number) => {
                    let subscription = self.subscriptions.get_mut(key.0);
                    if let Some(subscription) = subscription.filter(|subscription| subscription.number == number) {
                        subscription.queued = false;
                        self.advance(now, key, None, effects);
                    }
                }
                Work::Group(key, number) => {
                    if let Some(group) = self.groups.get_mut(key.0).filter(|group| group.number == number) {
                        group.queued = false;
                        self.advance_group(now, key, None, effects);
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

    /// Notes that a subscription has something to write down; writes at once when that has become much.
    pub(crate) fn mark_unsettled(&mut self, key: SubscriptionKey, effects: &mut dyn Effects) {
        let unsettled = &mut self.subscriptions[key.0].unsettled;
        let runs = unsettled
            .sent
            .len()
            .max(unsettled.acked.len())
            .max(unsettled.taken.len());
        if !unsettled.queued {
            unsettled.queued = true;
            self.unsettled.push(key);
        }
        if runs > UNSETTLED_RUNS_MAX {
            self.settle_subscription(key, effects);
        }
    }

    /// Notes that a cursor moved without a message being sent.
    pub(crate) fn mark_cursor(&mut self, key: SubscriptionKey) {
        let unsettled = &mut self.subscriptions[key.0].unsettled;
        unsettled.cursor = true;
        if !unsettled.queued {
            unsettled.queued = true;
            self.unsettled.push(key);
        }
    }

    /// Writes down what happened to a subscription since it was last written, if anything. Lazily: losing it costs a
    /// redelivery, and whatever fact follows is behind it.
    pub(crate) fn settle_subscription(&mut self, key: SubscriptionKey, effects: &mut dyn Effects) {
        let subscription = &mut self.subscriptions[key.0];
        let unsettled = &mut subscription.unsettled;
        let idle = unsettled.sent.is_empty() && unsettled.acked.is_empty() && unsettled.taken.is_empty();
        if idle && !unsettled.cursor {
            return;
        }
        unsettled.cursor = false;
        if self.poisoned {
            unsettled.sent.clear();
            unsettled.acked.clear();
            unsettled.taken.clear();
            return;
        }
        let mut fact = std::mem::take(&mut self.settled);
        fact.number = subscription.number;
        fact.last_sent = subscription.last_sent;
        fact.sent.clear();
        fact.acked.clear();
        fact.taken.clear();
        unsettled.sent.drain_into(&mut fact.sent);
        unsettled.acked.drain_into(&mut fact.acked);
        fact.taken
            .extend(unsettled.taken.drain(..).flat_map(|(from, sequence)| [from, sequence]));
        self.fact(SETTLED, &fact, Urgency::Lazy, effects);
        self.settled = fact;
    }
}
