//! Which ack inboxes are listened on: those of active subscriptions (`streaming-protocol.md` §2.5, §2.6, §5.9).

use super::Engine;
use crate::effects::Effects;
use crate::registry::keys::{ChannelKey, SubscriptionKey};

impl Engine {
    /// Acks lead to an active subscription from now on.
    pub(super) fn listen(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) {
        let subscription = &self.subscriptions[key];
        let (inbox, number) = (subscription.ack_inbox(), subscription.number());
        if self.ack_inboxes.listen(inbox, number, key) {
            effects.listen(inbox.subject(), number);
        }
    }

    /// Acks do not lead to it any more.
    pub(super) fn unlisten(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) {
        let subscription = &self.subscriptions[key];
        if self
            .ack_inboxes
            .unlisten(subscription.ack_inbox(), subscription.number())
        {
            effects.unlisten(subscription.number());
        }
    }

    /// Whether acks of every active subscription are listened for. After a start that takes some
    /// [`Input::EndOfPass`](crate::Input::EndOfPass); nobody should be served before.
    pub fn has_interest(&self) -> bool {
        self.ack_inboxes.unheard_from().is_none()
    }

    /// Goes on to listen for acks of recovered subscriptions, as far as this call may.
    pub(super) fn restore_interest(&mut self, effects: &mut Effects<'_>) {
        while let Some(from) = self.ack_inboxes.unheard_from() {
            if !self.budget.spend() {
                return;
            }
            let next = self.subscriptions.number_from(from);
            if let Some((_, key)) = next
                && self.subscriptions[key].client().is_some()
            {
                self.listen(key, effects);
            }
            self.ack_inboxes.heard(next.map(|(number, _)| number));
        }
    }

    /// The active subscription of a channel that is acknowledged on this subject.
    pub(super) fn find_by_ack_inbox(&self, channel: ChannelKey, inbox: &[u8]) -> Option<SubscriptionKey> {
        // Two subjects with one hash are as good as impossible.
        let found = self.ack_inboxes.find(inbox)?;
        let subscription = &self.subscriptions[found];
        (subscription.channel() == channel && subscription.ack_inbox().subject() == inbox).then_some(found)
    }
}
