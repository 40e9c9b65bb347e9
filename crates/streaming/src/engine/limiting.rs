//! Limits that an operator sets for one channel (`streaming-protocol.md` §6.1, §6.2): they count before those of the configuration, over
//! restarts, until they are reset or the channel goes.
//!
//! One fact says all that was set. What is over a limit that is lower now goes as it always does, a slice at a time.

use super::Engine;
use super::change::Made;
use crate::change::{Asked, Changed, Unchanged};
use crate::channel_limits::ChannelLimits;
use crate::effects::Effects;
use crate::facts::{CHANNEL_LIMITED, ChannelLimitedFact};
use crate::records::Urgency;
use crate::registry::channel::OwnLimits;
use crate::registry::keys::ChannelKey;
use crate::time::Now;

impl Engine {
    pub(super) fn limit(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        name: &[u8],
        (reset, set): (bool, ChannelLimits),
        effects: &mut Effects<'_>,
    ) -> Result<Made, Unchanged> {
        let key = self.channel_to_change(name)?;
        let channel = &self.channels[key];
        let before = channel.own_limits().map_or_else(ChannelLimits::default, |own| own.set);
        let kept = if reset { ChannelLimits::default() } else { before };
        let own = self.own_limits(key, kept.then(set));
        let messages = channel.log().messages();
        let surplus = match own.limits.max_messages {
            0 => 0,
            most => messages.saturating_sub(most),
        };
        let changed = Changed::Limited {
            limits: own.limits,
            set: own.set,
            surplus,
        };
        if asked.is_rehearsal || own.set == before {
            return Ok(Made::Nothing(changed));
        }
        self.admit_change(effects)?;
        let fact = ChannelLimitedFact::new(channel.id(), &own.set);
        self.ledger.fact(CHANNEL_LIMITED, &fact, Urgency::Sync, effects);
        self.log_change(now, asked, changed, effects);
        self.set_limits(key, own.set);
        self.channels[key].limits_reached_told.clear();
        self.queue_retention(key);
        // Whoever gets such a limit now has all of its time from now on.
        self.restart_inactivity(now, key);
        Ok(Made::Written(changed))
    }

    /// These count for a channel before those of the configuration.
    pub(super) fn set_limits(&mut self, key: ChannelKey, set: ChannelLimits) {
        let own = (!set.is_empty()).then(|| self.own_limits(key, set));
        self.channels[key].set_own_limits(own);
    }

    fn own_limits(&self, key: ChannelKey, set: ChannelLimits) -> OwnLimits {
        let configured = self.options.limits.get(self.channels[key].configured_limits());
        OwnLimits {
            set,
            limits: set.over(*configured),
        }
    }
}
