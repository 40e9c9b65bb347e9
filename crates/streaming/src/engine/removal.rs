//! Durables and queue groups that an operator removes.

use super::Engine;
use super::change::{Made, Named, quoted};
use crate::change::{Asked, Changed, Reader, Unchanged};
use crate::effects::Effects;
use crate::event::{StartLine, SubscriptionVerb};
use crate::facts::{GROUP_REMOVED, GroupRemovedFact};
use crate::limits::CHANGED_MEMBERS_MAX;
use crate::records::Urgency;
use crate::registry::keys::{ChannelKey, GroupKey, SubscriptionKey};
use crate::registry::subscription::{Leave, Phase};
use crate::time::Now;

impl Engine {
    pub(super) fn remove_reader(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        reader: Reader<'_>,
        force: bool,
        effects: &mut Effects<'_>,
    ) -> Result<Made, Unchanged> {
        let (channel, named) = self.reader_to_change(reader)?;
        let (members, pending) = match named {
            Named::Durable(key) => {
                let subscription = &self.subscriptions[key];
                (
                    usize::from(subscription.client().is_some()),
                    subscription.window.pending().len(),
                )
            }
            Named::Group(group) => (self.groups[group].members().len(), self.groups[group].held()),
        };
        if members > 0 && !force {
            let name = quoted(if reader.queue.is_empty() {
                reader.durable
            } else {
                reader.queue
            });
            return Err(Unchanged::Conflict(format!(
                "{name} on channel {} has {members} active: force it, and they get nothing more without being told",
                quoted(reader.channel)
            )));
        }
        check_members(members, reader)?;
        let changed = Changed::Removed { members, pending };
        if asked.is_rehearsal {
            return Ok(Made::Nothing(changed));
        }
        self.admit_change(effects)?;
        self.log_change(now, asked, changed, effects);
        match named {
            Named::Durable(key) if members > 0 => _ = self.leave(now, key, Leave::Forget, effects),
            Named::Durable(key) => {
                self.log_subscription(SubscriptionVerb::Removed, key, StartLine::None, effects);
                self.detach(key, effects);
                self.remove_subscription(key, effects);
            }
            Named::Group(group) => match (members, self.groups[group].members().first()) {
                (1, Some(last)) => _ = self.leave(now, last, Leave::Forget, effects),
                (0, _) => self.remove_offline_group(group, effects),
                _ => self.remove_group(now, channel, group, effects),
            },
        }
        Ok(Made::Written(changed))
    }

    fn remove_offline_group(&mut self, group: GroupKey, effects: &mut Effects<'_>) {
        if let Some(shadow) = self.groups[group].take_shadow() {
            self.log_subscription(SubscriptionVerb::Removed, shadow, StartLine::None, effects);
            self.detach(shadow, effects);
            self.remove_with_group(shadow, group, effects);
        }
    }

    /// A group goes with all its members: one fact says so, and none is written for each.
    fn remove_group(&mut self, now: Now, channel: ChannelKey, group: GroupKey, effects: &mut Effects<'_>) {
        let fact = GroupRemovedFact {
            channel: self.channels[channel].id().0,
            group: self.groups[group].name().clone(),
        };
        self.ledger.fact(GROUP_REMOVED, &fact, Urgency::Sync, effects);
        while let Some(member) = self.groups[group].members().first() {
            self.forget_active(member, channel, effects);
        }
        while let Some(other) = self.groups[group].pop_ownerless() {
            self.detach(other, effects);
            if self.take_subscription(other).phase() != Phase::Departing {
                self.channels.remove_record(channel);
            }
        }
        self.cancel_waits(group.into());
        self.forget_group(group, effects);
        self.update_inactivity(now, channel);
    }

    /// Forgets an active subscription of which a fact says already that it is gone.
    pub(super) fn forget_active(&mut self, key: SubscriptionKey, channel: ChannelKey, effects: &mut Effects<'_>) {
        self.budget.charge(1);
        self.log_subscription(SubscriptionVerb::Removed, key, StartLine::None, effects);
        self.detach(key, effects);
        self.channels[channel].end_active();
        let subscription = self.take_subscription(key);
        self.channels.remove_record(channel);
        if subscription.group().is_none() {
            let channel = &mut self.channels[channel];
            channel.remove_plain(subscription.number());
            if subscription.is_durable() {
                channel.remove_durable(subscription.client_name().clone(), subscription.durable().clone());
            }
        }
    }
}

/// What is done to all members of a group at once is done to so many at most.
pub(super) fn check_members(members: usize, reader: Reader<'_>) -> Result<(), Unchanged> {
    if members <= CHANGED_MEMBERS_MAX {
        return Ok(());
    }
    Err(Unchanged::Conflict(format!(
        "queue group {} has {members} members, and at most {CHANGED_MEMBERS_MAX} can be changed at once: have some of them leave",
        quoted(reader.queue)
    )))
}
