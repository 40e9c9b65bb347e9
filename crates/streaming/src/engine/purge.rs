//! Messages that an operator removes.
//!
//! One record says which, and from then on nobody is sent one of them. How many bytes that were is asked of the store when it knows, and what
//! subscriptions hold of them is forgotten afterwards, a slice at a time, and written down as if it had been acknowledged. What a crash brings
//! back of that is what it brings back of messages that went by limits: it is not there when it is to be sent again, and forgotten then.

use std::ops::Bound;

use super::Engine;
use super::change::Made;
use crate::change::{Asked, Changed, Extent, Unchanged};
use crate::effects::Effects;
use crate::ids::ChannelId;
use crate::limits::READ_RETRY_NS;
use crate::records::Head;
use crate::registry::keys::{ChannelKey, GroupKey, SubscriptionKey};
use crate::registry::subscription::Phase;
use crate::time::Now;
use crate::waiting::sweep::Sweep;
use crate::waiting::timers::Timer;
use crate::waiting::work::Work;

/// Pending messages of one subscription that are forgotten for one unit of work.
const FORGOTTEN_PER_WORK: usize = 64;

impl Engine {
    pub(super) fn purge(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        channel: &[u8],
        extent: Extent,
        effects: &mut Effects<'_>,
    ) -> Result<Made, Unchanged> {
        let key = self.channel_to_change(channel)?;
        let up_to = match extent {
            Extent::All => u64::MAX,
            Extent::UpTo(sequence) => sequence,
            Extent::Before(time) => match self.sequence_at(asked, key, time, effects)? {
                Some(sequence) => sequence.saturating_sub(1),
                None => return Ok(Made::Later),
            },
        };
        let log = self.channels[key].log();
        // What is not durable yet has been shown to nobody, and stays.
        let first = up_to.min(log.durable_last()).saturating_add(1).max(log.first());
        let messages = log.messages() - log.messages_from(first);
        let mut changed = Changed::Purged {
            messages,
            first: if messages == 0 { log.first() } else { first },
            last: log.last(),
        };
        if messages == 0 || asked.is_rehearsal {
            return Ok(Made::Nothing(changed));
        }
        self.admit_change(effects)?;
        self.channels.purge(key, first);
        let (id, log) = (self.channels[key].id(), self.channels[key].log());
        let (first, last) = (log.first(), log.last());
        self.ledger.trim(id, first, effects);
        changed = Changed::Purged { messages, first, last };
        self.log_change(now, asked, changed, effects);
        self.note_readable(key, 0, first - 1, effects);
        self.queue_retention(key);
        if self.channels[key].sweep.replace(Box::new(Sweep::Plain(0))).is_none() {
            self.work.push(Work::Sweep(key, id));
        }
        Ok(Made::Written(changed))
    }

    /// Counts the bytes of a channel anew after messages were purged; false when the store has to read first.
    pub(super) fn recount(&mut self, now: Now, key: ChannelKey, effects: &mut Effects<'_>) -> bool {
        let (id, log) = (self.channels[key].id(), self.channels[key].log());
        if effects.records.head_from(id, log.first()) == Head::Reading {
            // Nobody tells of a read that failed: it is asked for again.
            let deadline = now.monotonic.saturating_add(READ_RETRY_NS);
            let slot = &mut self.channels[key].age_timer;
            self.timers.set(slot, Timer::Age(key), Some(deadline));
            return false;
        }
        let bytes = effects.records.live_bytes(id, log.messages());
        self.channels.recount(key, bytes);
        true
    }

    /// Goes on with forgetting what subscriptions of a channel hold below its first message, as far as this call may.
    pub(super) fn continue_sweep(&mut self, key: ChannelKey, id: ChannelId, effects: &mut Effects<'_>) {
        while let Some(sweep) = self.channels[key].sweep.take() {
            if self.channels[key].is_being_deleted() {
                // All that its subscriptions hold goes with them.
                return;
            }
            if self.budget.is_spent() {
                self.channels[key].sweep = Some(sweep);
                return self.work.push(Work::Sweep(key, id));
            }
            let channel = &self.channels[key];
            let first = channel.log().first();
            let next = match *sweep {
                Sweep::Plain(from) => Some(match channel.plain_from(from) {
                    Some((number, subscription)) => {
                        self.forget_purged(subscription, first, effects);
                        Sweep::Plain(number + 1)
                    }
                    None => Sweep::Durable(Bound::Unbounded),
                }),
                Sweep::Durable(ref from) => Some(match channel.durable_from(from.as_ref()) {
                    Some((name, subscription)) => {
                        self.forget_purged(subscription, first, effects);
                        Sweep::Durable(Bound::Excluded(name))
                    }
                    None => Sweep::Group(0),
                }),
                Sweep::Group(from) => channel.group_from(from).map(|(number, group)| {
                    let is_done = self.forget_purged_of_group(group, first, effects);
                    Sweep::Group(number + u64::from(is_done))
                }),
            };
            // After the work, which may need all that a call may do.
            self.budget.charge(1);
            self.channels[key].sweep = next.map(Box::new);
        }
    }

    /// Forgets what a subscription that is in no group holds below a sequence.
    fn forget_purged(&mut self, key: SubscriptionKey, first: u64, effects: &mut Effects<'_>) {
        let window = &mut self.subscriptions[key].window;
        let purged: Vec<(u64, u64)> = window.pending().runs_from(0).take_while(|run| run.0 < first).collect();
        let removed = window.remove_below(first);
        for sequence in purged.into_iter().flat_map(|(from, to)| from..=to.min(first - 1)) {
            self.note_dirty(key, effects, |dirty| dirty.acked.push(sequence));
        }
        if removed > 0 {
            self.budget.charge(removed / FORGOTTEN_PER_WORK);
            self.end_resend_if_idle(key);
            self.queue_cursor(key.into());
        }
    }

    /// Forgets what anybody in a group holds below a sequence; false when this call may do no more.
    fn forget_purged_of_group(&mut self, key: GroupKey, first: u64, effects: &mut Effects<'_>) -> bool {
        let mut has_forgotten = false;
        let is_done = loop {
            let held = self.groups[key].first_held().filter(|(sequence, _)| *sequence < first);
            let Some((sequence, holder)) = held else { break true };
            if !self.budget.spend() {
                break false;
            }
            has_forgotten = true;
            self.groups[key].forget_holder(sequence, holder);
            let subscription = &mut self.subscriptions[holder];
            subscription.window.remove(sequence);
            let phase = subscription.phase();
            self.update_standing(holder);
            self.end_resend_if_idle(holder);
            self.note_dirty(holder, effects, |dirty| dirty.acked.push(sequence));
            if phase == Phase::Departing {
                self.queue_cursor(holder.into());
            }
        };
        if has_forgotten {
            self.wake_group(key);
        }
        is_done
    }
}
