//! Acknowledgements from subscribers (`streaming-protocol.md` §5.4, §5.6).

use seaway_stan_protocol::AckView;

use super::Engine;
use crate::effects::Effects;
use crate::event::Event;
use crate::registry::keys::SubscriptionKey;
use crate::registry::subscription::Phase;
use crate::time::Now;

impl Engine {
    /// An ack of a subscription that is gone, or of a message that is not pending, is harmless.
    pub(super) fn ack(&mut self, now: Now, subscription: u64, payload: &[u8], effects: &mut Effects<'_>) {
        let Ok(ack) = AckView::decode(payload) else { return };
        let Some(key) = self.ack_inboxes.leads_to(subscription) else {
            return self.report_unknown_channel(ack, effects);
        };
        let subscription = &self.subscriptions[key];
        let channel = &self.channels[subscription.channel()];
        if *ack.subject != channel.name()[..] {
            return self.report_unknown_channel(ack, effects);
        }
        if self.options.trace {
            effects.event(Event::Ack {
                number: subscription.number(),
                channel: ack.subject,
                sequence: ack.sequence,
            });
        }
        if let Some(holder) = self.holder(key, ack.sequence) {
            self.acknowledged(now, holder, ack.sequence, effects);
        }
    }

    /// Whoever holds a message does so no longer, and can take another.
    pub(super) fn acknowledged(&mut self, now: Now, holder: SubscriptionKey, sequence: u64, effects: &mut Effects<'_>) {
        let subscription = &mut self.subscriptions[holder];
        let was_stalled = subscription.is_stalled();
        subscription.window.remove(sequence);
        let freed = was_stalled && !subscription.is_stalled();
        let (group, phase) = (subscription.group(), subscription.phase());
        if let Some(group) = group {
            self.groups[group].forget_holder(sequence, holder);
            self.update_standing(holder);
        }
        self.end_resend_if_idle(holder);
        self.note_dirty(holder, effects, |dirty| dirty.acked.push(sequence));
        match group {
            _ if phase == Phase::Departing => self.queue_cursor(holder.into()),
            Some(group) if freed => self.advance(now, group.into(), None, effects),
            None if freed => self.advance(now, holder.into(), None, effects),
            _ => {}
        }
    }

    /// Who holds the message: the subscription itself, or somebody else in its group, to whom it was moved.
    fn holder(&self, key: SubscriptionKey, sequence: u64) -> Option<SubscriptionKey> {
        let subscription = &self.subscriptions[key];
        if subscription.window.pending().contains(sequence) {
            return Some(key);
        }
        self.groups[subscription.group()?].holder(sequence)
    }

    fn report_unknown_channel(&self, ack: AckView<'_>, effects: &mut Effects<'_>) {
        if self.channels.find(ack.subject).is_none() {
            effects.event(Event::AckForUnknownChannel {
                channel: ack.subject,
                sequence: ack.sequence,
            });
        }
    }
}
