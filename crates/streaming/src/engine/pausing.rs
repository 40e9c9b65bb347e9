//! Subscriptions that an operator pauses: nothing is delivered, neither for the first time nor again, and acks are taken as ever.
//!
//! One fact says that something is paused, by whom and since when, and another one that it goes on. A timer that fires meanwhile is not set
//! anew: what is due then is sent when it goes on, in the turns of everybody else. A group is paused as a whole: those of its members that have
//! something to be sent again wait as they do when nobody can take it.

use super::Engine;
use super::change::{Made, Named, quoted};
use crate::change::{Asked, Change, Changed, Reader, Unchanged};
use crate::effects::Effects;
use crate::facts::{PAUSED, PausedFact};
use crate::limits::AUDIT_BY_BYTES_MAX;
use crate::records::Urgency;
use crate::registry::halts::{Halt, Halted};
use crate::registry::keys::{GroupKey, SubscriptionKey};
use crate::registry::subscription::Subscription;
use crate::registry::trail::shortened;
use crate::time::Now;

impl Engine {
    /// Pauses a subscription, or lets it go on. What is so already stays as it is, with who made it so.
    pub(super) fn pause_or_resume(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        reader: Reader<'_>,
        inbox: &[u8],
        effects: &mut Effects<'_>,
    ) -> Result<Made, Unchanged> {
        let named = self.subscription_to_change(reader, inbox)?;
        let (halted, is_halted) = self.halted(named);
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
        let pauses = matches!(asked.change, Change::Pause { .. });
        let changed = match pauses {
            true => Changed::Paused { members, pending },
            false => Changed::Resumed { members, pending },
        };
        if asked.is_rehearsal || is_halted == pauses {
            return Ok(Made::Nothing(changed));
        }
        self.admit_change(effects)?;
        let by = shortened(&String::from_utf8_lossy(asked.by), AUDIT_BY_BYTES_MAX);
        let halt = pauses.then_some(Halt { by, since: now.wall });
        self.ledger
            .fact(PAUSED, &PausedFact::new(&halted, halt.as_ref()), Urgency::Sync, effects);
        self.log_change(now, asked, changed, effects);
        self.set_halted(named, pauses);
        match halt {
            Some(halt) => self.halts.insert(halted, halt),
            None => self.halts.remove(&halted),
        }
        match (pauses, named) {
            // The rate at which it catches up counts from when it goes on.
            (true, Named::Durable(key)) => self.cursor_mut(key.into()).has_caught_up(),
            (true, Named::Group(key)) => self.cursor_mut(key.into()).has_caught_up(),
            (false, Named::Durable(key)) => self.queue_cursor(key.into()),
            (false, Named::Group(key)) => self.wake_group(key),
        }
        Ok(Made::Written(changed))
    }

    /// Whether an operator keeps something from a subscription that it has to be sent again. What is empty may go on: it may be about to leave.
    #[inline]
    pub(super) fn is_held_by_operator(&mut self, key: SubscriptionKey) -> bool {
        let subscription = &self.subscriptions[key];
        let is_halted = match subscription.group() {
            None => subscription.is_halted(),
            Some(group) => self.groups[group].is_halted(),
        };
        if !is_halted || subscription.window.pending().is_empty() {
            return false;
        }
        if let Some(group) = subscription.group() {
            self.groups[group].wait_for_resumption(key);
        }
        true
    }

    /// Since when, and by whom, a subscription is paused.
    pub(super) fn halt(&self, subscription: &Subscription) -> Option<&Halt> {
        match subscription.group() {
            Some(group) if self.groups[group].is_halted() => self.halts.get(&self.halted_group(group)),
            None if subscription.is_halted() => self.halts.get(&Halted::Subscription(subscription.number())),
            _ => None,
        }
    }

    /// What facts said is paused. What is gone is paused no longer, which a later one of that name must not be either.
    pub(super) fn adopt_halts(&mut self, halts: impl IntoIterator<Item = (Halted, Halt)>, effects: &mut Effects<'_>) {
        for (halted, halt) in halts {
            let named = match &halted {
                Halted::Subscription(number) => {
                    let found = self
                        .subscriptions
                        .number_from(*number)
                        .filter(|(found, _)| found == number);
                    found.map(|(_, key)| Named::Durable(key))
                }
                Halted::Group(channel, name) => {
                    let channel = self.channels.find_id(*channel);
                    channel
                        .and_then(|channel| self.channels[channel].group(name))
                        .map(Named::Group)
                }
            };
            match named {
                Some(named) => {
                    self.set_halted(named, true);
                    self.halts.insert(halted, halt);
                }
                None => {
                    _ = self
                        .ledger
                        .fact(PAUSED, &PausedFact::new(&halted, None), Urgency::Lazy, effects)
                }
            }
        }
    }

    /// A group goes: one of that name that comes later is not paused.
    pub(super) fn end_halt_of_group(&mut self, key: GroupKey, effects: &mut Effects<'_>) {
        if self.groups[key].is_halted() {
            let halted = self.halted_group(key);
            self.halts.remove(&halted);
            self.ledger
                .fact(PAUSED, &PausedFact::new(&halted, None), Urgency::Lazy, effects);
        }
    }

    /// Takes out a subscription; that it is gone is on record, or will be.
    pub(super) fn take_subscription(&mut self, key: SubscriptionKey) -> Subscription {
        let subscription = self.subscriptions.remove(key);
        if subscription.is_halted() {
            self.halts.remove(&Halted::Subscription(subscription.number()));
        }
        subscription
    }

    fn set_halted(&mut self, named: Named, halted: bool) {
        match named {
            Named::Durable(key) => self.subscriptions[key].set_halted(halted),
            Named::Group(key) => self.groups[key].set_halted(halted),
        }
    }

    fn halted(&self, named: Named) -> (Halted, bool) {
        match named {
            Named::Durable(key) => {
                let subscription = &self.subscriptions[key];
                (Halted::Subscription(subscription.number()), subscription.is_halted())
            }
            Named::Group(key) => (self.halted_group(key), self.groups[key].is_halted()),
        }
    }

    fn halted_group(&self, key: GroupKey) -> Halted {
        let group = &self.groups[key];
        Halted::Group(self.channels[group.channel()].id(), group.name().clone())
    }

    /// The subscription, durable or group of a change.
    fn subscription_to_change(&self, reader: Reader<'_>, inbox: &[u8]) -> Result<Named, Unchanged> {
        if !reader.durable.is_empty() || !reader.queue.is_empty() {
            return self.reader_to_change(reader).map(|(_, named)| named);
        }
        let channel = self.channel_to_change(reader.channel)?;
        let is_meant = |key: &SubscriptionKey| {
            let subscription = &self.subscriptions[*key];
            subscription.channel() == channel
                && subscription.inbox() == inbox
                && *subscription.client_name() == reader.client
                && subscription.group().is_none()
                && !subscription.is_durable()
        };
        let found =
            { self.inboxes.candidates(inbox).filter(is_meant) }.min_by_key(|key| self.subscriptions[*key].number());
        let missing = || {
            let (client, inbox, channel) = (quoted(reader.client), quoted(inbox), quoted(reader.channel));
            format!(
                "client {client} has no subscription without a name and with the inbox {inbox} on channel {channel}"
            )
        };
        found.map(Named::Durable).ok_or_else(|| Unchanged::NotFound(missing()))
    }
}
