//! Publishing (`streaming-protocol.md` §2.8), the creation of channels, and what follows from durability.

use bytes::Bytes;
use seaway_stan_protocol::{PubMsgView, encode_pub_ack, errors, is_control_message, validate};

use super::Engine;
use crate::effects::Effects;
use crate::event::Event;
use crate::facts::{CHANNEL, ChannelFact};
use crate::ledger::POISONED;
use crate::limits::{CHANNEL_AHEAD_NS, REFUSALS_BYTES_MAX};
use crate::records::{Need, Position, Urgency};
use crate::registry::channel::Channel;
use crate::registry::keys::ChannelKey;
use crate::registry::log::{Log, MessageTime};
use crate::time::Now;
use crate::waiting::replies::{Confirmation, Outcome};
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
        let channel = self.channels.find(publish.subject);
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
        let channel = &mut self.channels[key];
        let (id, sequence) = (channel.id(), channel.log().last() + 1);
        let timestamp = match channel.log().time_of_next(now.wall.0) {
            MessageTime::Clock(timestamp) => {
                channel.ahead_told.clear();
                timestamp
            }
            MessageTime::Ahead { timestamp, ahead } => {
                report_ahead(channel, ahead, effects);
                timestamp
            }
        };
        let (position, size) = self.ledger.message(id, sequence, timestamp, publish, effects);
        self.channels.push_message(now.monotonic, key, size as u64, timestamp);
        let outcome = Outcome::Stored {
            channel: key,
            id,
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
            effects.answer(Position(0), reply, &self.scratch);
        } else {
            self.replies
                .push(self.ledger.appended(), Outcome::Refused, reply, &self.scratch);
        }
    }

    /// The channel of that name; it is created when there is room (§6.1) and no other differs by case only (§4).
    pub(super) fn find_or_create_channel(
        &mut self,
        now: Now,
        name: &[u8],
        effects: &mut Effects<'_>,
    ) -> Result<ChannelKey, String> {
        match self.channels.find(name) {
            Some(key) => self.open_channel(key),
            None => self.create_channel(now, name, effects),
        }
    }

    /// A channel that exists, unless it is being deleted.
    fn open_channel(&self, key: ChannelKey) -> Result<ChannelKey, String> {
        if self.channels[key].is_being_deleted() {
            return Err(errors::CHANNEL_BEING_DELETED.to_owned());
        }
        Ok(key)
    }

    fn create_channel(&mut self, now: Now, name: &[u8], effects: &mut Effects<'_>) -> Result<ChannelKey, String> {
        if let Some(existing) = self.channels.find_folded(name) {
            return Err(errors::channel_case_conflict(name, self.channels[existing].name()));
        }
        let limit = self.options.limits.global().max_channels;
        if limit > 0 && self.channels.len() >= limit {
            return Err(errors::TOO_MANY_CHANNELS.to_owned());
        }
        self.ledger
            .admit(Need::Ordinary, name.len() + RECORD_OVERHEAD, effects)?;
        let id = self.channels.new_id();
        let fact = ChannelFact {
            id: id.0,
            name: Bytes::copy_from_slice(name),
            ..ChannelFact::default()
        };
        self.ledger.fact(CHANNEL, &fact, Urgency::Sync, effects);
        let limits = self.options.limits.find(name);
        let key = self
            .channels
            .insert(now.monotonic, id, fact.name, limits, Log::default());
        self.restart_inactivity(now, key);
        effects.event(Event::ChannelCreated { channel: name });
        Ok(key)
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
            let Some(channel) = self.channels.get_mut(key, id) else {
                continue;
            };
            channel.became_durable(sequence);
            self.touched.add(key, &mut channel.touched);
        }
        let touched = self.touched.take();
        for key in &touched {
            self.channels[*key].touched.clear();
            self.offer(now, *key, effects);
        }
        for _ in 0..ready {
            self.send_reply(now, effects);
        }
        self.replies.reclaim();
        // Limits may remove two messages for each that came in, whatever the deliveries have cost: otherwise a channel that
        // is published to faster than it is delivered would grow beyond its limits.
        self.budget.raise_to(2 * ready);
        for &key in &touched {
            // Its deletion may have been recorded just now.
            if self.channels.contains(key) {
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
                if self.options.trace && self.channels.is(channel, id) {
                    effects.event(Event::PublishAcked {
                        channel: self.channels[channel].name(),
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
            Outcome::Changed(change) => return self.change_recorded(position, change, effects),
            Outcome::Refused => effects.answer(position, subject, reply.payload),
            Outcome::Confirmed(_) => {
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
            match reply.outcome {
                Outcome::Deleted { channel, .. } => {
                    self.deletion_failed(channel);
                    continue;
                }
                Outcome::Changed(change) => {
                    self.change_failed(change, effects);
                    continue;
                }
                _ => {}
            }
            if reply.subject.is_empty() {
                continue;
            }
            self.scratch.clear();
            match reply.outcome {
                Outcome::Stored { .. } => encode_pub_ack(&mut self.scratch, reply.payload, Some(POISONED)),
                Outcome::Refused | Outcome::Deleted { .. } | Outcome::Changed(_) => {
                    self.scratch.extend_from_slice(reply.payload)
                }
                Outcome::Confirmed(confirmation) => super::clients::encode_refusal(&mut self.scratch, confirmation),
            }
            effects.answer(Position(0), reply.subject, &self.scratch);
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
fn report_ahead(channel: &mut Channel, ahead: u64, effects: &mut Effects<'_>) {
    if ahead > CHANNEL_AHEAD_NS && channel.ahead_told.set() {
        effects.event(Event::ChannelAhead {
            channel: channel.name(),
            nanoseconds: ahead,
        });
    }
}
