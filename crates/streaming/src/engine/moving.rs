//! Durables and queue groups that an operator moves to another place.
//!
//! One fact sets the cursor and empties what is pending. What was sent and acknowledged before is written down before it, so that everything
//! behind it is of the time after: a restart replays them in that order, also over a checkpoint that is newer than some of them.

use super::Engine;
use super::change::{Made, Named};
use super::removal::check_members;
use crate::change::{Asked, Changed, Place, Reader, Unchanged};
use crate::effects::Effects;
use crate::facts::{MOVED, MovedFact};
use crate::records::Urgency;
use crate::registry::keys::{ChannelKey, GroupKey, SubscriptionKey};
use crate::time::Now;

impl Engine {
    pub(super) fn move_reader(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        reader: Reader<'_>,
        to: Place,
        effects: &mut Effects<'_>,
    ) -> Result<Made, Unchanged> {
        let (channel, named) = self.reader_to_change(reader)?;
        let log = self.channels[channel].log();
        let (first, last) = (log.first(), log.last());
        let sequence = match to {
            Place::Start => 0,
            Place::End => u64::MAX,
            Place::Sequence(sequence) => sequence,
            Place::Time(time) => match self.sequence_at(asked, channel, time, effects)? {
                Some(sequence) => sequence,
                None => return Ok(Made::Later),
            },
        };
        let last_sent = sequence.saturating_sub(1).clamp(first.saturating_sub(1), last);
        let (cursor, pending) = match named {
            Named::Durable(key) => {
                let subscription = &self.subscriptions[key];
                (&subscription.cursor, subscription.window.pending().len())
            }
            Named::Group(key) => {
                let group = &self.groups[key];
                check_members(group.members().len() + group.departing().len(), reader)?;
                (&group.cursor, group.held())
            }
        };
        let changed = Changed::Moved {
            from: cursor.next(first),
            to: last_sent + 1,
            pending,
        };
        if asked.is_rehearsal {
            return Ok(Made::Nothing(changed));
        }
        self.admit_change(effects)?;
        match named {
            Named::Durable(key) => self.move_durable(now, asked, key, last_sent, changed, effects),
            Named::Group(key) => self.move_group(now, asked, (channel, key), last_sent, changed, effects),
        }
        Ok(Made::Written(changed))
    }

    fn move_durable(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        key: SubscriptionKey,
        last_sent: u64,
        changed: Changed,
        effects: &mut Effects<'_>,
    ) {
        self.persist_subscription(key, effects);
        let fact = MovedFact {
            number: self.subscriptions[key].number(),
            last_sent,
            ..MovedFact::default()
        };
        self.ledger.fact(MOVED, &fact, Urgency::Sync, effects);
        self.log_change(now, asked, changed, effects);
        self.begin_anew(key, last_sent);
        self.queue_cursor(key.into());
    }

    fn move_group(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        (channel, key): (ChannelKey, GroupKey),
        last_sent: u64,
        changed: Changed,
        effects: &mut Effects<'_>,
    ) {
        let group = &self.groups[key];
        let departing: Vec<SubscriptionKey> = group.departing().collect();
        let staying: Vec<SubscriptionKey> = group.members().iter().chain(group.shadow()).collect();
        // What happened to any of them is written down with what happened to the others.
        if let Some(one) = staying.first().or(departing.first()) {
            self.persist_subscription(*one, effects);
        }
        let fact = MovedFact {
            channel: self.channels[channel].id().0,
            group: self.groups[key].name().clone(),
            last_sent,
            members_to: self.subscriptions.last_number(),
            ..MovedFact::default()
        };
        self.ledger.fact(MOVED, &fact, Urgency::Sync, effects);
        self.log_change(now, asked, changed, effects);
        self.budget.charge(staying.len() + departing.len());
        self.groups[key].forget_holders();
        for member in staying {
            self.begin_anew(member, last_sent);
            self.update_standing(member);
        }
        for departed in departing {
            self.begin_anew(departed, last_sent);
            self.finish_departing(departed, effects);
        }
        self.cancel_waits(key.into());
        self.groups[key].cursor.move_behind(last_sent);
        self.queue_cursor(key.into());
    }

    /// A subscription holds nothing and waits for nothing.
    fn begin_anew(&mut self, key: SubscriptionKey, last_sent: u64) {
        self.cancel_waits(key.into());
        let subscription = &mut self.subscriptions[key];
        subscription.window.remove_all(key, &mut self.timers);
        subscription.end_resend();
        subscription.end_due();
        subscription.cursor.move_behind(last_sent);
    }
}
