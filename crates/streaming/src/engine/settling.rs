//! One pending message that an operator has acknowledged, or sent again.

use super::Engine;
use super::change::{Made, Named, quoted};
use crate::change::{Asked, Changed, Reader, Settlement, Unchanged};
use crate::effects::Effects;
use crate::registry::keys::SubscriptionKey;
use crate::registry::subscription::Phase;
use crate::time::Now;

impl Engine {
    pub(super) fn settle(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        reader: Reader<'_>,
        sequence: u64,
        verdict: Settlement,
        effects: &mut Effects<'_>,
    ) -> Result<Made, Unchanged> {
        let (channel, named) = self.reader_to_change(reader)?;
        let (holder, pending) = match named {
            Named::Durable(key) => {
                let pending = self.subscriptions[key].window.pending();
                (pending.contains(sequence).then_some(key), pending.len())
            }
            Named::Group(group) => (self.groups[group].holder(sequence), self.groups[group].held()),
        };
        let missing = || Unchanged::NotFound(format!("message {sequence} is not pending there"));
        // What went by limits, or was purged, may be held a moment longer.
        let is_there = self.channels[channel].log().holds(sequence);
        let holder = holder.filter(|_| is_there).ok_or_else(missing)?;
        let pending = match verdict {
            Settlement::Acknowledge => pending - 1,
            Settlement::Redeliver => pending,
        };
        if verdict == Settlement::Redeliver && self.subscriptions[holder].phase() != Phase::Active {
            return Err(Unchanged::Conflict(format!(
                "nobody subscribes to channel {} through it: message {sequence} is sent again when somebody does",
                quoted(reader.channel)
            )));
        }
        if verdict == Settlement::Redeliver && self.halt(&self.subscriptions[holder]).is_some() {
            return Err(Unchanged::Conflict(format!(
                "it is paused on channel {}: nothing is sent before it is resumed",
                quoted(reader.channel)
            )));
        }
        let changed = Changed::Settled { pending };
        if asked.is_rehearsal {
            return Ok(Made::Nothing(changed));
        }
        self.admit_change(effects)?;
        self.log_change(now, asked, changed, effects);
        match verdict {
            Settlement::Acknowledge => {
                // It may be the last that a departed member held, which goes with it.
                let number = self.subscriptions[holder].number();
                self.acknowledged(now, holder, sequence, effects);
                if self.subscriptions.number(holder) == Some(number) {
                    self.persist_subscription(holder, effects);
                }
                Ok(Made::Written(changed))
            }
            Settlement::Redeliver => {
                self.send_again_soon(now, holder, sequence);
                Ok(Made::Nothing(changed))
            }
        }
    }

    /// A message is due at once.
    fn send_again_soon(&mut self, now: Now, key: SubscriptionKey, sequence: u64) {
        let window = &mut self.subscriptions[key].window;
        let (_, count) = window.deadlines().get(sequence);
        window.set_deadline(sequence, now.monotonic, count);
        window.bring_forward(key, now.monotonic, &mut self.timers);
    }
}
