//! What an operator pauses: nothing is sent to it before it goes on, and then all that was kept from it.

use std::collections::BTreeSet;

use seaway_streaming::Changed;

use super::Model;
use super::changes::{Named, Verdict};
use super::state::{Due, Phase};

/// A subscription: channel, client, durable name, queue, inbox of one without names.
pub type Halted = (String, String, String, String, String);

impl Model {
    /// The subscription that is meant, or one of the group that is.
    pub(crate) fn found_one(&self, reader: &Named) -> Option<u64> {
        self.found(reader).first().copied()
    }

    pub(crate) fn halt_verdict(&self, reader: &Named, pauses: bool) -> Verdict {
        let mut found = self.found(reader);
        if !reader.is_group() {
            // Of several on one inbox the oldest is meant.
            found.truncate(1);
        }
        if found.is_empty() {
            return Verdict::NotFound;
        }
        let active = |number: &&u64| self.state.subscriptions[number].phase != Phase::Offline;
        let members = found.iter().filter(active).count();
        let pending = 0;
        Verdict::Done(match pauses {
            true => Changed::Paused { members, pending },
            false => Changed::Resumed { members, pending },
        })
    }

    pub(crate) fn halt(&mut self, reader: &Named, pauses: bool) {
        let Some(one) = self.found_one(reader) else {
            return self.object(format!("{reader:?} was paused or resumed and does not exist"));
        };
        self.remember_without_newest();
        let all = if reader.is_group() {
            self.found(reader)
        } else {
            vec![one]
        };
        match reader
            .group()
            .and_then(|name| self.state.group(reader.channel(), &name))
        {
            Some(group) => group.halted = pauses,
            None => self.state.subscription(one).expect("it was just seen").halted = pauses,
        }
        if !pauses {
            self.go_on(all);
        }
        self.remember();
    }

    /// What was due while it was paused is due now.
    fn go_on(&mut self, numbers: Vec<u64>) {
        let now = self.now.monotonic;
        self.rested_at = None;
        for number in numbers {
            let known = self.state.subscription(number).expect("it was just seen");
            for pending in known.pending.values_mut() {
                match &mut pending.due {
                    Due::Between(_, latest) => *latest = (*latest).max(now),
                    Due::ByTimestamp(latest) if *latest < u64::MAX => *latest = (*latest).max(now + known.ack_wait),
                    Due::ByTimestamp(_) => {}
                }
            }
        }
    }

    /// What is paused.
    pub fn halted(&self) -> Vec<Halted> {
        let halted = self
            .state
            .subscriptions
            .values()
            .filter(|known| self.state.is_halted(known));
        let all: BTreeSet<Halted> = halted.map(|known| Named::name(known)).collect();
        all.into_iter().collect()
    }

    /// All subscriptions, those of one group once.
    pub fn all_subscriptions(&self) -> Vec<Halted> {
        let all: BTreeSet<Halted> = self
            .state
            .subscriptions
            .values()
            .map(|known| Named::name(known))
            .collect();
        all.into_iter().collect()
    }
}
