//! How subscriptions come to be in the lists: as a record, and as one that an owner has. How they leave them is in `leave`.

use bytes::Bytes;

use super::Engine;
use crate::facts::{SubscriptionFact, group_name};
use crate::registry::keys::{ChannelKey, ClientKey, GroupKey, SubscriptionKey};
use crate::registry::subscription::{Subscription, Terms};

impl Engine {
    /// AckWait in nanoseconds.
    pub(super) fn ack_wait(&self, units: i32) -> u64 {
        u64::try_from(units)
            .unwrap_or(1)
            .max(1)
            .saturating_mul(self.options.ack_wait_unit_ns)
    }

    /// Adds a record without owner. It is in no list of active subscriptions yet.
    pub(super) fn insert_subscription(&mut self, channel: ChannelKey, fact: SubscriptionFact) -> SubscriptionKey {
        let terms = Terms {
            client_name: fact.client,
            inbox: fact.inbox[..].into(),
            max_in_flight: fact.max_in_flight,
            ack_wait_units: fact.ack_wait_units,
            ack_wait: self.ack_wait(fact.ack_wait_units),
        };
        let ack_inbox = self.ack_inboxes.stored(fact.ack_inbox, &fact.ack_subject);
        let mut subscription = Subscription::new(fact.number, channel, terms, ack_inbox, fact.last_sent);
        subscription.set_names(fact.durable, fact.queue);
        let (durable, queue) = (subscription.durable().clone(), subscription.queue().clone());
        let client = subscription.client_name().clone();
        if !queue.is_empty() {
            subscription.set_group(self.find_or_create_group(channel, group_name(&durable, &queue)));
        }
        let key = self.subscriptions.insert(subscription);
        self.channels.add_record(channel);
        if queue.is_empty() && !durable.is_empty() {
            self.channels[channel].add_durable(client, durable, key);
        }
        key
    }

    fn find_or_create_group(&mut self, channel: ChannelKey, name: Bytes) -> GroupKey {
        if let Some(group) = self.channels[channel].group(&name) {
            return group;
        }
        let group = self.groups.insert(channel, name.clone());
        let number = self.groups[group].number();
        self.channels[channel].add_group(number, name, group);
        group
    }

    /// Enters a subscription in the lists of the active ones, as its owner's.
    pub(super) fn attach(&mut self, key: SubscriptionKey, client: ClientKey) {
        let subscription = &mut self.subscriptions[key];
        let owner = &mut self.clients[client];
        owner.add_subscription(subscription.number(), key);
        self.inboxes.insert(subscription.inbox(), key);
        let channel = &mut self.channels[subscription.channel()];
        channel.begin_active();
        let member = match subscription.group() {
            Some(group) => Some(self.groups[group].join(key)),
            None => {
                channel.add_plain(subscription.number(), key);
                None
            }
        };
        // Only failures that begin from now on mark it (§2.10).
        subscription.begin_active(client, owner.heartbeat.failures(), member);
        self.update_standing(key);
    }
}
