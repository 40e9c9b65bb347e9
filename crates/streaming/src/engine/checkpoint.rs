//! Checkpoints: the whole state as facts, written in slices beside running traffic.
//!
//! The store replays a checkpoint first and then everything appended since its *begin*. Each entity is written as it is when
//! its slice comes; what happened to it since the begin is replayed over that. This ends in the right state because facts
//! are absolute, cursors never go back, and for every (subscription, sequence) the last fact that names it decides. It
//! also needs that nothing is in a slice, or missing from one, because of a change that is not on record: so what happened to a
//! subscription, or to its group, is written down before each of its facts.

use std::ops::Bound;

use bytes::Bytes;
use prost::Message;

use super::Engine;
use crate::effects::Effects;
use crate::facts::{
    CHANNEL, CHANNEL_LIMITED, CLIENT, ChannelFact, ChannelLimitedFact, PAUSED, PROGRESS, PausedFact, ProgressFact,
    SERVER, SUBSCRIPTION, push_run,
};
use crate::ids::ChannelId;
use crate::registry::halts::Halted;
use crate::waiting::checkpoint::CheckpointProgress;

impl Engine {
    /// Gives up a checkpoint that was begun; the next [`Input::CheckpointStep`](crate::Input::CheckpointStep) begins anew.
    pub fn abandon_checkpoint(&mut self) {
        self.checkpoint = None;
    }

    /// Whether a checkpoint was begun and lacks facts.
    pub fn is_checkpointing(&self) -> bool {
        self.checkpoint.is_some()
    }

    pub(super) fn checkpoint_step(&mut self, effects: &mut Effects<'_>) {
        let mut room = self.options.slices.facts.max(1);
        let mut cursor = match self.checkpoint.take() {
            Some(cursor) => cursor,
            None => {
                emit(effects, SERVER, &self.server_fact());
                room -= 1;
                CheckpointProgress::Audit(0)
            }
        };
        while room > 0 {
            let next = match cursor {
                CheckpointProgress::Audit(from) => self.checkpoint_audit(from, effects),
                CheckpointProgress::Paused(after) => self.checkpoint_paused(after.as_ref(), effects),
                CheckpointProgress::Clients(after) => self.checkpoint_client(after, effects),
                CheckpointProgress::Channels(from) => self.checkpoint_channel(from, effects),
                CheckpointProgress::Subscriptions(from, pending) => {
                    match self.checkpoint_subscription(from, pending, effects) {
                        Some(next) => next,
                        None => return effects.records.finish_checkpoint(),
                    }
                }
            };
            cursor = next;
            room -= 1;
        }
        self.checkpoint = Some(cursor);
    }

    fn checkpoint_audit(&self, from: u64, effects: &mut Effects<'_>) -> CheckpointProgress {
        let entries = self.audit_from(from);
        let Some(last) = entries.last().map(|entry| entry.number) else {
            return CheckpointProgress::Paused(Bound::Unbounded);
        };
        let mut fact = self.server_fact();
        fact.audit = entries;
        emit(effects, SERVER, &fact);
        CheckpointProgress::Audit(last + 1)
    }

    fn checkpoint_paused(&self, after: Bound<&Halted>, effects: &mut Effects<'_>) -> CheckpointProgress {
        let Some((halted, halt)) = self.halts.next(after) else {
            return CheckpointProgress::Clients(Bound::Unbounded);
        };
        emit(effects, PAUSED, &PausedFact::new(halted, Some(halt)));
        CheckpointProgress::Paused(Bound::Excluded(halted.clone()))
    }

    fn checkpoint_client(&self, after: Bound<Bytes>, effects: &mut Effects<'_>) -> CheckpointProgress {
        let start = after.as_ref().map(|name| &name[..]);
        let Some((name, key)) = self.clients.from(start).next() else {
            return CheckpointProgress::Channels(0);
        };
        emit(effects, CLIENT, self.clients[key].fact());
        CheckpointProgress::Clients(Bound::Excluded(name.clone()))
    }

    fn checkpoint_channel(&self, from: u64, effects: &mut Effects<'_>) -> CheckpointProgress {
        let Some((id, key)) = self.channels.id_from(ChannelId(from)) else {
            return CheckpointProgress::Subscriptions(0, None);
        };
        let channel = &self.channels[key];
        if channel.is_being_deleted() {
            // Its deletion is on record already: the checkpoint must not bring it back.
            return CheckpointProgress::Channels(id.0 + 1);
        }
        let fact = ChannelFact {
            id: id.0,
            name: channel.name().clone(),
            first: channel.log().first(),
            last: channel.log().last(),
            last_timestamp: channel.log().last_timestamp(),
        };
        emit(effects, CHANNEL, &fact);
        if let Some(own) = channel.own_limits() {
            emit(effects, CHANNEL_LIMITED, &ChannelLimitedFact::new(id, &own.set));
        }
        CheckpointProgress::Channels(id.0 + 1)
    }

    fn checkpoint_subscription(
        &mut self,
        from: u64,
        pending_from: Option<u64>,
        effects: &mut Effects<'_>,
    ) -> Option<CheckpointProgress> {
        let (number, key) = self.subscriptions.number_from(from)?;
        if self.channels[self.subscriptions[key].channel()].is_being_deleted() {
            return Some(CheckpointProgress::Subscriptions(number + 1, None));
        }
        self.persist_subscription(key, effects);
        // The subscription whose pending messages were begun in the last slice may have gone; then this is another one.
        let pending_from = match pending_from.filter(|_| number == from) {
            Some(pending_from) => pending_from,
            None => {
                emit(effects, SUBSCRIPTION, &self.subscription_fact(key));
                return Some(CheckpointProgress::Subscriptions(number, Some(0)));
            }
        };
        let subscription = &self.subscriptions[key];
        let (mut sent, mut end) = (Vec::new(), 0);
        for run in subscription
            .window
            .pending()
            .runs_from(pending_from)
            .take(self.options.slices.runs.max(1))
        {
            push_run(&mut sent, &mut end, run);
        }
        if sent.is_empty() {
            return Some(CheckpointProgress::Subscriptions(number + 1, None));
        }
        let fact = ProgressFact {
            number,
            last_sent: subscription.cursor.last_sent(),
            sent,
            ..ProgressFact::default()
        };
        emit(effects, PROGRESS, &fact);
        Some(CheckpointProgress::Subscriptions(number, Some(end + 1)))
    }
}

fn emit(effects: &mut Effects<'_>, kind: u8, fact: &impl Message) {
    effects.records.checkpoint_fact(kind, &fact.encode_to_vec());
}
