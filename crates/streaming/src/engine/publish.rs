//! Publishing (`streaming-protocol.md` §2.8), the creation of channels, and what follows from durability.

use std::borrow::Cow;
use std::hash::BuildHasher;

use bytes::Bytes;
use seaway_stan_protocol::{PubMsgView, encode_pub_ack, errors, is_control_message, validate};

use super::Engine;
use crate::effects::Effects;
use crate::event::Event;
use crate::facts::{CHANNEL, ChannelFact};
use crate::input::ChannelId;
use crate::ledger::POISONED;
use crate::limits::{CHANNEL_AHEAD_NS, REFUSALS_BYTES_MAX};
use crate::records::{Need, Position, Urgency};
use crate::registry::keys::ChannelKey;
use crate::state::{Channel, Deletion};
use crate::time::Now;
use crate::waiting::mark::Mark;
use crate::waiting::offers::Offers;
use crate::waiting::replies::{Confirmation, Outcome};
use crate::waiting::timers::TimerSlot;
use crate::waiting::unregistered::Early;

/// What a record costs the store beyond its body, roughly, when it is asked for admission.
const RECORD_OVERHEAD: usize = 128;

impl Engine {
    pub(super) fn publish(&mut self, now: Now, reply: &[u8], payload: &[u8], effects: &mut Effects<'_>) {
        let publish = match PubMsgView::decode(payload) {
            Ok(publish) => publish,
            Err(_) if is_control_message(payload) => return,
            Err(invalid) => {
                self.refuse_publish(reply, invalid.guid, errors::INVALID_PUBLISH_REQUEST, effects);
                return;
            }
        };
        self.tally.came_in(payload.len());
        let known = self.publisher_is_known(&publish);
        let channel = self.find_channel(publish.subject);
        // What exists has a valid name.
        let named = channel.is_some() || validate::is_channel_name(publish.subject);
        if publish.guid.is_empty() || !named {
            self.refuse_publish(reply, publish.guid, errors::INVALID_PUBLISH_REQUEST, effects);
        } else if known {
            self.accept_publish(now, channel, reply, payload, &publish, effects);
        } else {
            let sender = (publish.client_id, publish.conn_id);
            if !self.wait_for_registration(now, Early::Publish, sender, reply, payload) {
                self.refuse_publish(reply, publish.guid, errors::INVALID_PUBLISH_REQUEST, effects);
            }
        }
    }

    /// A valid publish of a registered client; its channel, if that exists.
    pub(super) fn accept_publish(
        &mut self,
        now: Now,
        channel: Option<ChannelKey>,
        reply: &[u8],
        payload: &[u8],
        publish: &PubMsgView<'_>,
        effects: &mut Effects<'_>,
    ) {
        self.trace(
            Event::PublishReceived {
                channel: publish.subject,
                guid: publish.guid,
            },
            effects,
        );
        let admitted = self
            .ledger
            .admit(Need::Ordinary, payload.len() + RECORD_OVERHEAD, effects)
            .and_then(|()| match channel {
                Some(key) => self.open_channel(key),
                None => self.create_channel(now, publish.subject, effects),
            });
        match admitted {
            Ok(channel) => self.store_message(now, channel, reply, publish, effects),
            Err(text) => self.refuse_publish(reply, publish.guid, &text, effects),
        }
    }

    /// §2.8: the connection ID alone decides when there is one, the client ID otherwise.
    fn publisher_is_known(&self, publish: &PubMsgView<'_>) -> bool {
        let client = if publish.conn_id.is_empty() {
            self.clients.find_open(publish.client_id)
        } else {
            self.clients.find_connection(publish.conn_id)
        };
        client.is_some()
    }

    fn store_message(
        &mut self,
        now: Now,
        key: ChannelKey,
        reply: &[u8],
        publish: &PubMsgView<'_>,
        effects: &mut Effects<'_>,
    ) {
        let channel = &mut self.channels[key.0];
        let sequence = channel.last + 1;
        // Times of a channel never decrease, whatever the clock does: one that is ahead goes on by as little as possible.
        let timestamp = match channel.last_timestamp.saturating_sub(now.wall.0) {
            ..=0 => {
                channel.ahead_told.clear();
                now.wall.0
            }
            ahead => {
                report_ahead(channel, ahead, effects);
                channel.last_timestamp.saturating_add(1)
            }
        };
        let (position, size) = self.ledger.message(channel.id, sequence, timestamp, publish, effects);
        if channel.last == 0 {
            channel.first = sequence;
        }
        channel.last = sequence;
        channel.bytes += size as u64;
        self.sums.messages += 1;
        self.sums.bytes += size as u64;
        channel.last_timestamp = timestamp;
        channel.last_activity = now.monotonic;
        let outcome = Outcome::Stored {
            channel: key,
            id: channel.id,
            sequence,
        };
        self.replies.push(position, outcome, reply, publish.guid);
    }

    /// A refused publish changed nothing; its PubAck keeps its place behind earlier ones unless too many wait.
    pub(super) fn refuse_publish(&mut self, reply: &[u8], guid: &[u8], text: &str, effects: &mut Effects<'_>) {
        if reply.is_empty() {
            return;
        }
        self.scratch.clear();
        encode_pub_ack(&mut self.scratch, guid, Some(text));
        if self.replies.is_empty() || self.ledger.is_poisoned() || self.replies.bytes() > REFUSALS_BYTES_MAX {
            effects.reply(Position(0), reply, &self.scratch);
        } else {
            self.replies
                .push(self.ledger.appended(), Outcome::Refused, reply, &self.scratch);
        }
    }

    pub(super) fn find_channel(&self, name: &[u8]) -> Option<ChannelKey> {
        let key = self.channel_hashes.get(&self.hash_of(name)).copied();
        key.filter(|key| self.channels[key.0].name == name)
            .or_else(|| self.channel_order.get(name).copied())
    }

    fn hash_of(&self, name: &[u8]) -> u64 {
        self.channel_hashes.hasher().hash_one(name)
    }

    /// The channel of that name; it is created when there is room (§6.1) and no other differs by case only (§4).
    pub(super) fn find_or_create_channel(
        &mut self,
        now: Now,
        name: &[u8],
        effects: &mut Effects<'_>,
    ) -> Result<ChannelKey, String> {
        match self.find_channel(name) {
            Some(key) => self.open_channel(key),
            None => self.create_channel(now, name, effects),
        }
    }

    /// A channel that exists, unless it is being deleted.
    fn open_channel(&self, key: ChannelKey) -> Result<ChannelKey, String> {
        match self.channels[key.0].deletion {
            Deletion::None => Ok(key),
            Deletion::Recording | Deletion::Forgetting => Err(errors::CHANNEL_BEING_DELETED.to_owned()),
        }
    }

    fn create_channel(&mut self, now: Now, name: &[u8], effects: &mut Effects<'_>) -> Result<ChannelKey, String> {
        let fold = validate::fold_case(name);
        if let Some(existing) = self.channel_folds.get(&fold[..]) {
            return Err(errors::channel_case_conflict(name, &self.channels[existing.0].name));
        }
        let limit = self.options.limits.global().max_channels;
        if limit > 0 && self.channels.len() >= limit {
            return Err(errors::TOO_MANY_CHANNELS.to_owned());
        }
        self.ledger
            .admit(Need::Ordinary, name.len() + RECORD_OVERHEAD, effects)?;
        let id = ChannelId(self.next_channel);
        self.next_channel += 1;
        let fact = ChannelFact {
            id: id.0,
            name: Bytes::copy_from_slice(name),
            ..ChannelFact::default()
        };
        self.ledger.fact(CHANNEL, &fact, Urgency::Sync, effects);
        let key = self.insert_channel(now, id, fact.name);
        self.restart_inactivity(now, key);
        effects.event(Event::ChannelCreated { channel: name });
        Ok(key)
    }

    /// Adds an empty channel to the maps.
    pub(super) fn insert_channel(&mut self, now: Now, id: ChannelId, name: Bytes) -> ChannelKey {
        let fold = match validate::fold_case(&name) {
            Cow::Borrowed(_) => name.clone(),
            Cow::Owned(fold) => Bytes::from(fold),
        };
        let limits = self.options.limits.find(&name);
        let key = ChannelKey(self.channels.insert(Channel {
            id,
            name: name.clone(),
            limits,
            first: 0,
            last: 0,
            durable_last: 0,
            bytes: 0,
            last_timestamp: 0,
            last_activity: now.monotonic,
            plain: Default::default(),
            groups: Default::default(),
            group_names: Default::default(),
            durables: Default::default(),
            records: 0,
            active: 0,
            subscribing: 0,
            age_timer: TimerSlot::default(),
            deletion: Deletion::None,
            inactivity_timer: TimerSlot::default(),
            in_retention: Mark::default(),
            touched: Mark::default(),
            limits_reached_told: Mark::default(),
            ahead_told: Mark::default(),
            offers: Offers::default(),
        }));
        self.channel_hashes.insert(self.hash_of(&name), key);
        self.channel_order.insert(name, key);
        self.channel_folds.insert(fold, key);
        self.channel_ids.insert(id, key);
        key
    }

    /// Takes a channel that left the slab out of the maps.
    pub(super) fn forget_channel(&mut self, key: ChannelKey, channel: &Channel) {
        let hash = self.hash_of(&channel.name);
        if self.channel_hashes.get(&hash) == Some(&key) {
            self.channel_hashes.remove(&hash);
        }
        self.channel_order.remove(&channel.name);
        self.channel_folds.remove(&validate::fold_case(&channel.name)[..]);
        self.channel_ids.remove(&channel.id);
    }

    /// Everything up to `position` is durable: messages are offered to subscribers, then answers leave in order (§2.6 rule
    /// 5). A subscription confirmed here takes messages from here on (§2.6 rule 1).
    pub(super) fn became_durable(&mut self, now: Now, position: Position, effects: &mut Effects<'_>) {
        self.ledger.became_durable(position);
        let ready = self.replies.ready(self.ledger.durable());
        for outcome in self.replies.outcomes(ready) {
            let Outcome::Stored {
                channel: key,
                id,
                sequence,
            } = outcome
            else {
                continue;
            };
            let Some(channel) = self.channels.get_mut(key.0).filter(|channel| channel.id == id) else {
                continue;
            };
            channel.durable_last = sequence;
            self.touched.add(key, &mut channel.touched);
        }
        let touched = self.touched.take();
        for key in &touched {
            self.channels[key.0].touched.clear();
            self.offer(now, *key, effects);
        }
        for _ in 0..ready {
            self.send_reply(now, effects);
        }
        self.replies.reclaim();
        // What came in by this much must go out again by as much, whatever there is to deliver.
        self.budget.raise_to(2 * ready);
        for &key in &touched {
            // Its deletion may have been recorded just now.
            if self.channels.contains(key.0) {
                self.consider_retention(key);
                self.enforce_first(now, key, effects);
            }
        }
        self.touched.give_back(touched);
    }

    fn send_reply(&mut self, now: Now, effects: &mut Effects<'_>) {
        let Some((position, reply)) = self.replies.pop() else {
            return;
        };
        let (outcome, subject) = (reply.outcome, reply.subject);
        match outcome {
            Outcome::Stored { channel, id, .. } => {
                if self.options.trace
                    && let Some(channel) = self.channels.get(channel.0).filter(|channel| channel.id == id)
                {
                    effects.event(Event::PublishAcked {
                        channel: &channel.name,
                        guid: reply.payload,
                    });
                }
                if !subject.is_empty() {
                    self.scratch.clear();
                    encode_pub_ack(&mut self.scratch, reply.payload, None);
                    effects.reply(position, subject, &self.scratch);
                }
            }
            Outcome::Deleted { channel, id } => return self.deletion_recorded(channel, id, effects),
            Outcome::Refused | Outcome::Confirmed(_) => {
                if !subject.is_empty() {
                    effects.reply(position, subject, reply.payload);
                }
            }
        }
        if let Outcome::Confirmed(Confirmation::Subscribe {
            subscription,
            ack_inbox,
        }) = outcome
        {
            self.confirm_subscription(now, subscription, ack_inbox, effects);
        }
    }

    /// Nothing that waits will become durable: every answer that depends on it becomes a refusal.
    pub(super) fn poison(&mut self, effects: &mut Effects<'_>) {
        if !self.ledger.poison() {
            return;
        }
        while let Some((_, reply)) = self.replies.pop() {
            if let Outcome::Deleted { channel, .. } = reply.outcome {
                self.deletion_failed(channel);
                continue;
            }
            if reply.subject.is_empty() {
                continue;
            }
            self.scratch.clear();
            match reply.outcome {
                Outcome::Stored { .. } => encode_pub_ack(&mut self.scratch, reply.payload, Some(POISONED)),
                Outcome::Refused | Outcome::Deleted { .. } => self.scratch.extend_from_slice(reply.payload),
                Outcome::Confirmed(confirmation) => super::clients::encode_refusal(&mut self.scratch, confirmation),
            }
            effects.reply(Position(0), reply.subject, &self.scratch);
        }
        self.replies.reclaim();
        self.refuse_seeking(effects);
        effects.event(Event::Refused {
            request: "everything that changes state",
            reason: POISONED,
        });
    }
}

/// Says once, until the clock has caught up, that the times of a channel are ahead of it.
fn report_ahead(channel: &mut Channel, ahead: i64, effects: &mut Effects<'_>) {
    let ahead = ahead.unsigned_abs();
    if ahead > CHANNEL_AHEAD_NS && channel.ahead_told.set() {
        effects.event(Event::ChannelAhead {
            channel: &channel.name,
            nanoseconds: ahead,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::time::Timestamp;

    #[test]
    fn names_with_one_hash_are_two_channels() {
        let mut engine = Engine::new(Options::default());
        let now = Now {
            monotonic: 1,
            wall: Timestamp(1),
        };
        let first = engine.insert_channel(now, ChannelId(1), Bytes::from_static(b"first"));
        let second = engine.insert_channel(now, ChannelId(2), Bytes::from_static(b"second"));
        let hash = engine.hash_of(b"second");
        engine.channel_hashes.insert(hash, first);
        assert_eq!(engine.find_channel(b"second"), Some(second));
        let channel = engine.channels.remove(second.0);
        engine.forget_channel(second, &channel);
        assert_eq!(engine.find_channel(b"second"), None);
        assert_eq!(engine.find_channel(b"first"), Some(first));
        assert_eq!(
            engine.channel_hashes.get(&hash),
            Some(&first),
            "it was not the second's"
        );
    }
}
