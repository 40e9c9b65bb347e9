//! The deletion of channels: of those that nobody uses (`streaming-protocol.md` §6.4), and of those that an operator deletes.
//!
//! A deletion takes two steps: its record becomes durable, then the channel is forgotten, a slice at a time. Until it is
//! gone publishes and subscriptions are refused, so nothing can be told of a channel that a crash would bring back.

use super::Engine;
use super::change::{Made, quoted};
use crate::change::{Asked, Changed, Unchanged};
use crate::effects::Effects;
use crate::event::Event;
use crate::input::ChannelId;
use crate::limits::DELETE_RETRY_NS;
use crate::records::Need;
use crate::registry::keys::{ChannelKey, GroupKey, SubscriptionKey};
use crate::time::Now;
use crate::waiting::replies::Outcome;
use crate::waiting::timers::Timer;
use crate::waiting::work::Work;

impl Engine {
    /// Stops the timer of a channel that is used, starts it for one that is not and whose timer does not run.
    pub(super) fn update_inactivity(&mut self, now: Now, key: ChannelKey) {
        let limit = self.limits_of(key).max_inactivity_ns;
        let channel = &mut self.channels[key];
        if limit == 0 || channel.is_being_deleted() {
            return;
        }
        let idle = channel.is_idle();
        let deadline = match channel.inactivity_timer.deadline() {
            Some(running) if idle => Some(running),
            None if idle => Some(now.monotonic.saturating_add(limit)),
            _ => None,
        };
        self.timers
            .set(&mut channel.inactivity_timer, Timer::Inactivity(key), deadline);
    }

    /// As [`Engine::update_inactivity`], but a running timer starts again.
    pub(super) fn restart_inactivity(&mut self, now: Now, key: ChannelKey) {
        let channel = &mut self.channels[key];
        self.timers
            .set(&mut channel.inactivity_timer, Timer::Inactivity(key), None);
        self.update_inactivity(now, key);
    }

    pub(super) fn inactivity_due(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) {
        let limit = self.limits_of(key).max_inactivity_ns;
        let channel = &mut self.channels[key];
        channel.inactivity_timer.fired();
        if !channel.is_idle() {
            return;
        }
        let idle_since = channel.last_activity().saturating_add(limit);
        let unsaved = channel.log().durable_last() < channel.log().last();
        let deadline = if idle_since > now.monotonic {
            idle_since
        } else if unsaved || self.ledger.admit(Need::Essential, 64, effects).is_err() {
            now.monotonic.saturating_add(limit.max(DELETE_RETRY_NS))
        } else {
            return self.begin_deletion(key, effects);
        };
        self.timers.set(
            &mut self.channels[key].inactivity_timer,
            Timer::Inactivity(key),
            Some(deadline),
        );
    }

    /// An operator deletes a channel.
    pub(super) fn delete_channel(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        name: &[u8],
        force: bool,
        effects: &mut Effects<'_>,
    ) -> Result<Made, Unchanged> {
        let key = self.channel_to_change(name)?;
        let channel = &self.channels[key];
        let active = channel.active();
        if active > 0 && !force {
            return Err(Unchanged::Conflict(format!(
                "channel {} has {active} active subscriptions: force it, and they get nothing more without being told",
                quoted(name)
            )));
        }
        if channel.is_subscribed_to() {
            let text = "somebody subscribes to channel {} at this moment: ask again".replace("{}", &quoted(name));
            return Err(Unchanged::Conflict(text));
        }
        let changed = Changed::Deleted {
            messages: channel.log().messages(),
            bytes: self.counted_bytes(key),
            subscriptions: channel.records(),
            active,
        };
        if asked.is_rehearsal {
            return Ok(Made::Nothing(changed));
        }
        self.admit_change(effects)?;
        self.log_change(now, asked, changed, effects);
        self.begin_deletion(key, effects);
        Ok(Made::Written(changed))
    }

    fn begin_deletion(&mut self, key: ChannelKey, effects: &mut Effects<'_>) {
        let channel = &mut self.channels[key];
        channel.begin_deletion();
        self.timers.set(&mut channel.age_timer, Timer::Age(key), None);
        self.timers
            .set(&mut channel.inactivity_timer, Timer::Inactivity(key), None);
        let id = channel.id();
        let position = self.ledger.delete_channel(id, effects);
        self.replies
            .push(position, Outcome::Deleted { channel: key, id }, b"", b"");
    }

    /// The record is durable: what belonged to the channel is forgotten, offline durables with it.
    pub(super) fn deletion_recorded(&mut self, key: ChannelKey, id: ChannelId, effects: &mut Effects<'_>) {
        self.channels[key].deletion_recorded();
        self.continue_deletion(key, id, effects);
    }

    /// The store takes nothing any more: the channel stays.
    pub(super) fn deletion_failed(&mut self, key: ChannelKey) {
        self.channels[key].deletion_failed();
    }

    pub(super) fn continue_deletion(&mut self, key: ChannelKey, id: ChannelId, effects: &mut Effects<'_>) {
        loop {
            let channel = &mut self.channels[key];
            let (active, group) = (channel.plain_from(0), channel.group_from(0));
            if active.is_none() && group.is_none() && channel.durables().next().is_none() {
                break;
            }
            if !self.budget.spend() {
                self.work.push(Work::Delete(key, id));
                return;
            }
            if let Some((_, active)) = active {
                self.forget_active(active, key, effects);
                continue;
            }
            match (channel.pop_durable(), group) {
                (Some(durable), _) => self.forget_with_channel(durable, effects),
                (None, Some((_, group))) => self.forget_of_group(key, group, effects),
                (None, None) => {}
            }
        }
        self.forget_damage(key);
        let channel = self.channels.remove(key);
        effects.event(Event::ChannelDeleted {
            channel: channel.name(),
        });
    }

    /// Forgets one record of a group, or the group when it has none left.
    fn forget_of_group(&mut self, channel: ChannelKey, key: GroupKey, effects: &mut Effects<'_>) {
        let group = &mut self.groups[key];
        // Its records go one by one, and an ack may come in between: nobody is asked any more who holds what.
        group.forget_holders();
        if let Some(member) = group.members().first() {
            return self.forget_active(member, channel, effects);
        }
        if let Some(record) = group.pop_ownerless() {
            return self.forget_with_channel(record, effects);
        }
        self.cancel_waits(key.into());
        self.forget_group(key, effects);
    }

    fn forget_with_channel(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) {
        self.detach(key, effects);
        self.take_subscription(key);
    }
}
