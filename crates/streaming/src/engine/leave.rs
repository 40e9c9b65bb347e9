//! How subscriptions end: unsubscribe, close, and the loss of their client (`streaming-protocol.md` §2.12, §2.13, §5.6,
//! §5.7).

use bytes::Bytes;
use prost::Message;
use seaway_stan_protocol::errors;
use seaway_stan_protocol::messages::{SubscriptionResponse, UnsubscribeRequest};

use super::Engine;
use crate::effects::Effects;
use crate::event::{Event, StartLine, SubscriptionVerb};
use crate::facts::{
    STATE_ACTIVE, STATE_DEPARTING, STATE_OFFLINE, SUBSCRIPTION, SUBSCRIPTION_REMOVED, SubscriptionFact,
    SubscriptionRemovedFact,
};
use crate::records::{Need, Position, Urgency};
use crate::registry::keys::{ChannelKey, GroupKey, SubscriptionKey};
use crate::registry::subscription::{Leave, LetGo, Phase};
use crate::time::Now;
use crate::waiting::replies::{Confirmation, Outcome};
use crate::waiting::work::Work;

/// Members of a group that are written down for one unit of work.
const WRITTEN_PER_WORK: usize = 16;

impl Engine {
    pub(super) fn unsubscribe(
        &mut self,
        now: Now,
        leave: Leave,
        reply: &[u8],
        payload: &[u8],
        effects: &mut Effects<'_>,
    ) {
        let found = self
            .find_to_unsubscribe(payload)
            .map_err(str::to_owned)
            .and_then(|key| {
                self.ledger.admit(Need::Essential, 256, effects)?;
                Ok(key)
            });
        match found {
            Ok(None) => {}
            Ok(Some(key)) => {
                let position = self.leave(now, key, leave, effects);
                self.replies
                    .push(position, Outcome::Confirmed(Confirmation::Unsubscribe), reply, b"");
            }
            Err(text) => {
                let response = SubscriptionResponse {
                    error: Bytes::from(text),
                    ..SubscriptionResponse::default()
                };
                self.answer(reply, &response, effects);
            }
        }
    }

    /// The checks of §2.12, in their order. None: another server may serve the channel, nothing is said (§10).
    fn find_to_unsubscribe(&self, payload: &[u8]) -> Result<Option<SubscriptionKey>, &'static str> {
        let request = UnsubscribeRequest::decode(payload).map_err(|_| errors::INVALID_UNSUBSCRIBE_REQUEST)?;
        if self.is_elsewhere(&request.subject) {
            return Ok(None);
        }
        let channel = self.channels.find(&request.subject).ok_or(errors::UNKNOWN_CHANNEL)?;
        let key = self
            .find_by_ack_inbox(channel, &request.inbox)
            .or_else(|| self.find_by_inbox(channel, &request.inbox))
            .ok_or(errors::INVALID_SUBSCRIPTION)?;
        match self.clients.find_open(&request.client_id) {
            Some(client) if self.subscriptions[key].client() == Some(client) => Ok(Some(key)),
            _ => Err(errors::UNKNOWN_CLIENT_ID),
        }
    }

    /// Whoever timed out subscribing knows the delivery inbox alone. Of several with one inbox a plain one counts before members of
    /// groups, the oldest first.
    fn find_by_inbox(&self, channel: ChannelKey, inbox: &[u8]) -> Option<SubscriptionKey> {
        let candidates = self.inboxes.candidates(inbox);
        let found = candidates.filter(|key| {
            let subscription = &self.subscriptions[*key];
            subscription.channel() == channel && subscription.inbox() == inbox
        });
        found.min_by_key(|key| {
            let subscription = &self.subscriptions[*key];
            (subscription.group().is_some(), subscription.number())
        })
    }

    /// Ends an active subscription; the position is that of the fact which says so. What it was sent and what it
    /// acknowledged is written before.
    pub(super) fn leave(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        leave: Leave,
        effects: &mut Effects<'_>,
    ) -> Position {
        if let Some(group) = self.subscriptions[key].group() {
            // What happened to others of the group is written down together with it.
            self.budget.charge(self.groups[group].dirty() / WRITTEN_PER_WORK);
        }
        self.persist_subscription(key, effects);
        self.detach(key, effects);
        let channel = self.subscriptions[key].channel();
        self.channels[channel].end_active();
        let position = match self.subscriptions[key].group() {
            Some(group) => self.leave_group(now, key, group, leave, effects),
            None => {
                let subscription = &self.subscriptions[key];
                self.channels[channel].remove_plain(subscription.number());
                if subscription.is_durable() && leave == Leave::Keep {
                    self.suspend(now, key, effects)
                } else {
                    self.log_subscription(SubscriptionVerb::Removed, key, StartLine::None, effects);
                    self.remove_subscription(key, effects)
                }
            }
        };
        self.update_inactivity(now, channel);
        position
    }

    /// Takes away the owner, the timers and whatever is under way.
    pub(super) fn detach(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) {
        self.unlisten(key, effects);
        let subscription = &mut self.subscriptions[key];
        let number = subscription.number();
        subscription.window.stop(key, &mut self.timers);
        let LetGo { client, member, pause } = subscription.detach();
        if let Some(pause) = pause {
            self.congestion.remove(pause.destination, number);
        }
        if let Some(client) = client {
            self.inboxes.remove(subscription.inbox(), key);
            self.clients[client].remove_subscription(number);
        }
        if let Some(group) = subscription.group() {
            self.groups[group].leave(key, member);
        }
        self.cancel_waits(key.into());
    }

    fn suspend(&mut self, now: Now, key: SubscriptionKey, effects: &mut Effects<'_>) -> Position {
        self.log_subscription(SubscriptionVerb::Suspended, key, StartLine::None, effects);
        let subscription = &mut self.subscriptions[key];
        subscription.suspend(Some(now));
        self.write_subscription(key, Urgency::Sync, effects)
    }

    /// Forgets a subscription that is in no list of members and not in `plain` any more.
    pub(super) fn remove_subscription(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) -> Position {
        let position = self.write_removed(self.subscriptions[key].number(), Urgency::Sync, effects);
        let subscription = self.take_subscription(key);
        if subscription.phase() != Phase::Departing {
            self.channels.remove_record(subscription.channel());
        }
        if subscription.group().is_none() && subscription.is_durable() {
            let durable = subscription.durable().clone();
            self.channels[subscription.channel()].remove_durable(subscription.client_name().clone(), durable);
        }
        position
    }

    fn leave_group(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        group_key: GroupKey,
        leave: Leave,
        effects: &mut Effects<'_>,
    ) -> Position {
        let group = &mut self.groups[group_key];
        let last_sent = group.cursor.last_sent();
        if let Some(heir) = group.members().first() {
            // The group's cursor is the highest of its members': it must not leave with this one.
            self.subscriptions[heir].cursor.advance(last_sent);
            self.mark_cursor(heir);
            self.persist_subscription(heir, effects);
            self.log_subscription(SubscriptionVerb::MemberRemoved, key, StartLine::None, effects);
            let position = self.depart(now, key, group_key, effects);
            self.queue_cursor(group_key.into());
            return position;
        }
        if self.subscriptions[key].is_durable() && leave == Leave::Keep {
            group.set_shadow(key);
            if group.departing().len() > 0 {
                self.work.push(Work::Absorb(group_key, group.number()));
            }
            self.subscriptions[key].cursor.advance(last_sent);
            self.cancel_waits(group_key.into());
            // Whoever comes next takes it over. Its last owner's ID stays to be shown until a restart (§8.6).
            return self.suspend(now, key, effects);
        }
        self.log_subscription(SubscriptionVerb::Removed, key, StartLine::None, effects);
        self.remove_with_group(key, group_key, effects)
    }

    /// The last record of a group that is not departing goes, and the group with it.
    pub(super) fn remove_with_group(
        &mut self,
        key: SubscriptionKey,
        group_key: GroupKey,
        effects: &mut Effects<'_>,
    ) -> Position {
        // Its removal is written first: if a crash loses those of the departing members, they belong to no group and are
        // dropped. The other way round the group would still exist and lack what they held.
        let position = self.remove_subscription(key, effects);
        while let Some(other) = self.groups[group_key].pop_ownerless() {
            self.budget.charge(1);
            self.detach(other, effects);
            self.remove_subscription(other, effects);
        }
        self.cancel_waits(group_key.into());
        self.forget_group(group_key, effects);
        position
    }

    /// Forgets a group in which nobody is left.
    pub(super) fn forget_group(&mut self, key: GroupKey, effects: &mut Effects<'_>) {
        self.end_halt_of_group(key, effects);
        let group = self.groups.remove(key);
        self.channels[group.channel()].remove_group(group.number(), group.name());
    }

    /// A member that leaves others behind: what it holds is due at once, and goes to them (§5.6).
    fn depart(&mut self, now: Now, key: SubscriptionKey, group: GroupKey, effects: &mut Effects<'_>) -> Position {
        if self.subscriptions[key].window.pending().is_empty() {
            return self.remove_subscription(key, effects);
        }
        let subscription = &mut self.subscriptions[key];
        let channel = subscription.channel();
        subscription.depart(now);
        self.channels.remove_record(channel);
        self.groups[group].begin_departing(key);
        self.queue_cursor(key.into());
        self.write_subscription(key, Urgency::Sync, effects)
    }

    /// A departed member holds nothing any more. What the others took over is written before it is forgotten.
    pub(super) fn finish_departing(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) {
        self.persist_subscription(key, effects);
        if let Some(group) = self.subscriptions[key].group() {
            self.groups[group].end_departing(key);
        }
        self.detach(key, effects);
        self.remove_subscription(key, effects);
    }

    /// The record of a durable group without members takes over what earlier leavers still hold, a slice at a time. When
    /// somebody joins before the end the rest goes to them as it goes to any member that stays.
    pub(super) fn continue_absorb(&mut self, key: GroupKey, effects: &mut Effects<'_>) {
        loop {
            let group = &self.groups[key];
            let (Some(shadow), Some(departed)) = (group.shadow(), group.departing().next()) else {
                return;
            };
            // That it was sent a message must be on record before that it gave it away.
            self.persist_subscription(departed, effects);
            let number = self.subscriptions[departed].number();
            while let Some(sequence) = self.subscriptions[departed].window.pending().first() {
                if !self.budget.spend() {
                    self.work.push(Work::Absorb(key, self.groups[key].number()));
                    return;
                }
                let (deadline, count) = self.subscriptions[departed].window.deadlines().get(sequence);
                self.subscriptions[departed].window.remove(sequence);
                self.take_over(shadow, number, sequence, deadline, count, effects);
            }
            self.finish_departing(departed, effects);
        }
    }

    /// Writes down a subscription as it is. Its fact carries a cursor, a queue member's that of the whole group: what was
    /// sent below it goes on record first.
    pub(super) fn write_subscription(
        &mut self,
        key: SubscriptionKey,
        urgency: Urgency,
        effects: &mut Effects<'_>,
    ) -> Position {
        self.persist_subscription(key, effects);
        let fact = self.subscription_fact(key);
        self.ledger.fact(SUBSCRIPTION, &fact, urgency, effects)
    }

    pub(super) fn subscription_fact(&self, key: SubscriptionKey) -> SubscriptionFact {
        let subscription = &self.subscriptions[key];
        SubscriptionFact {
            number: subscription.number(),
            channel: self.channels[subscription.channel()].id().0,
            client: subscription.client_name().clone(),
            inbox: Bytes::copy_from_slice(subscription.inbox()),
            ack_inbox: subscription.ack_inbox().number(),
            ack_subject: Bytes::copy_from_slice(subscription.ack_inbox().subject()),
            durable: subscription.durable().clone(),
            queue: subscription.queue().clone(),
            max_in_flight: i32::try_from(subscription.window.max()).unwrap_or(i32::MAX),
            ack_wait_units: subscription.ack_wait_units(),
            last_sent: subscription.cursor.last_sent(),
            state: match subscription.phase() {
                Phase::Unconfirmed | Phase::Active => STATE_ACTIVE,
                Phase::Offline => STATE_OFFLINE,
                Phase::Departing => STATE_DEPARTING,
            },
        }
    }

    pub(super) fn write_removed(&mut self, number: u64, urgency: Urgency, effects: &mut Effects<'_>) -> Position {
        self.ledger.fact(
            SUBSCRIPTION_REMOVED,
            &SubscriptionRemovedFact { number },
            urgency,
            effects,
        )
    }

    pub(super) fn log_subscription(
        &self,
        verb: SubscriptionVerb,
        key: SubscriptionKey,
        start: StartLine,
        effects: &mut Effects<'_>,
    ) {
        if !self.options.debug {
            return;
        }
        let subscription = &self.subscriptions[key];
        effects.event(Event::Subscription {
            verb,
            client: subscription.client_name(),
            channel: self.channels[subscription.channel()].name(),
            inbox: subscription.inbox(),
            queue: subscription
                .group()
                .map_or(&b""[..], |group| &self.groups[group].name()[..]),
            durable: subscription.durable(),
            number: subscription.number(),
            start,
        });
    }
}
