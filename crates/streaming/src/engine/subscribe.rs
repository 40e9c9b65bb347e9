//! Subscription requests (`streaming-protocol.md` §2.9, §4, §5.1, §5.6, §5.7): validation, start positions, new
//! subscriptions, joining a group, resuming a durable.

use bytes::Bytes;
use prost::Message;
use seaway_stan_protocol::messages::{SubscriptionRequest, SubscriptionResponse};
use seaway_stan_protocol::{errors, validate};

use super::Engine;
use crate::effects::Effects;
use crate::event::{Event, StartLine, SubscriptionVerb};
use crate::facts::{SubscriptionFact, group_name};
use crate::input::Ticket;
use crate::ledger::POISONED;
use crate::position::cursor::Cursor;
use crate::records::{Need, Seek, Urgency};
use crate::registry::keys::{ChannelKey, ClientKey, GroupKey, SubscriptionKey};
use crate::registry::subscription::{Leave, Phase, Terms};
use crate::time::{Now, Timestamp};
use crate::waiting::questions::{Seeker, WaitingSubscribe};
use crate::waiting::replies::{Confirmation, Outcome};
use crate::waiting::unregistered::Early;

/// Where a new subscription begins.
#[derive(Clone, Copy, Debug)]
struct Start {
    last_sent: u64,
    line: StartLine,
}

/// What a request asks for, once names are looked up.
enum Target {
    /// A new plain or durable subscription, or the first member of a group.
    New,
    /// A further member of a group.
    Join(GroupKey),
    /// A durable, or the record of a durable group, without owner.
    Resume(SubscriptionKey),
}

impl Engine {
    pub(super) fn subscribe(&mut self, now: Now, reply: &[u8], payload: &[u8], effects: &mut Effects<'_>) {
        let outcome = match SubscriptionRequest::decode(payload) {
            Ok(request) => self.subscribe_request(now, reply, payload, request, effects),
            Err(_) => Err(errors::INVALID_SUBSCRIPTION_REQUEST.to_owned()),
        };
        if let Err(text) = outcome {
            self.refuse_subscribe(reply, text, effects);
        }
    }

    pub(super) fn refuse_subscribe(&self, reply: &[u8], text: String, effects: &mut Effects<'_>) {
        let response = SubscriptionResponse {
            error: Bytes::from(text),
            ..SubscriptionResponse::default()
        };
        self.answer(reply, &response, effects);
    }

    /// The checks of §4 in their order; a request refused at a later one may have created the channel.
    fn subscribe_request(
        &mut self,
        now: Now,
        reply: &[u8],
        payload: &[u8],
        request: SubscriptionRequest,
        effects: &mut Effects<'_>,
    ) -> Result<(), String> {
        check_fields(&request)?;
        if self.is_elsewhere(&request.subject) {
            return Ok(());
        }
        if let Err(unknown) = self.subscribing_client(&request) {
            let sender = (&request.client_id[..], &b""[..]);
            return match self.wait_for_registration(now, Early::Subscribe, sender, reply, payload) {
                true => Ok(()),
                false if self.options.partitioning => Err(errors::INVALID_SUBSCRIPTION_REQUEST.to_owned()),
                false => Err(unknown),
            };
        }
        let channel = self.find_or_create_channel(now, &request.subject, effects)?;
        let outcome = self.subscribe_to(now, channel, reply, request, effects);
        if outcome.is_err() {
            // Even a failed request counts as use of the channel (§6.4).
            self.restart_inactivity(now, channel);
        }
        outcome
    }

    fn subscribing_client(&self, request: &SubscriptionRequest) -> Result<ClientKey, String> {
        let client = self.clients.find_open(&request.client_id);
        client.ok_or_else(|| errors::UNKNOWN_CLIENT_ID.to_owned())
    }

    fn subscribe_to(
        &mut self,
        now: Now,
        channel: ChannelKey,
        reply: &[u8],
        request: SubscriptionRequest,
        effects: &mut Effects<'_>,
    ) -> Result<(), String> {
        match self.target(now, channel, &request, effects)? {
            Target::Resume(key) => self.resume(now, key, reply, &request, effects),
            Target::Join(group) => {
                self.check_room(channel)?;
                // A new member was sent nothing. In a durable group its record tells where the group is, in case it becomes the
                // last that is left.
                let last_sent = match request.durable_name.is_empty() {
                    true => 0,
                    false => self.groups[group].cursor.last_sent(),
                };
                let start = Start {
                    last_sent,
                    line: StartLine::None,
                };
                self.create(now, channel, Some(group), start, reply, request, effects)
            }
            Target::New => match self.find_start(now, channel, &request, effects)? {
                Started::At(start) => {
                    self.check_room(channel)?;
                    self.create(now, channel, None, start, reply, request, effects)
                }
                Started::Seeking { ticket, time } => {
                    let id = self.channels[channel].id();
                    let reply = Bytes::copy_from_slice(reply);
                    let waiting = WaitingSubscribe {
                        request,
                        reply,
                        channel,
                        id,
                        time,
                    };
                    self.questions.wait_for_seek(ticket, Seeker::Subscribe(waiting));
                    self.channels[channel].begin_subscribing();
                    self.update_inactivity(now, channel);
                    Ok(())
                }
            },
        }
    }

    /// What the request names: something new, a group to join, a durable to resume.
    fn target(
        &mut self,
        now: Now,
        channel: ChannelKey,
        request: &SubscriptionRequest,
        effects: &mut Effects<'_>,
    ) -> Result<Target, String> {
        if !request.q_group.is_empty() {
            if !validate::is_durable_queue_name(&request.durable_name) {
                return Err(errors::INVALID_DURABLE_QUEUE_NAME.to_owned());
            }
            let name = group_name(&request.durable_name, &request.q_group);
            return Ok(match self.channels[channel].group(&name) {
                None => Target::New,
                Some(group) => match self.groups[group].shadow() {
                    Some(shadow) => Target::Resume(shadow),
                    None => Target::Join(group),
                },
            });
        }
        if request.durable_name.is_empty() {
            return Ok(Target::New);
        }
        let channel = &self.channels[channel];
        let Some(key) = channel.durable(&request.client_id, &request.durable_name) else {
            return Ok(Target::New);
        };
        if self.subscriptions[key].client().is_some() {
            if !self.options.replace_durable {
                return Err(errors::DUPLICATE_DURABLE.to_owned());
            }
            // For both that this one leaves and that the request resumes it: it must not leave for nothing.
            self.ledger
                .admit(Need::Consumer, request.encoded_len() + 512, effects)?;
            self.leave(now, key, Leave::Keep, effects);
        }
        Ok(Target::Resume(key))
    }

    fn check_room(&self, channel: ChannelKey) -> Result<(), String> {
        let limit = self.limits_of(channel).max_subscriptions;
        if limit > 0 && self.channels[channel].records() >= limit {
            return Err(errors::TOO_MANY_SUBSCRIPTIONS.to_owned());
        }
        Ok(())
    }

    /// Where a new subscription begins, as its request says (§5.1).
    fn find_start(
        &mut self,
        now: Now,
        channel: ChannelKey,
        request: &SubscriptionRequest,
        effects: &mut Effects<'_>,
    ) -> Result<Started, String> {
        let log = self.channels[channel].log();
        let (first, last) = (log.first(), log.last());
        // Of an empty channel everything is new, of one whose messages all expired too: `first` is `last + 1` then.
        let before_first = first.saturating_sub(1);
        let started = |last_sent: u64, line: fn(u64) -> StartLine| {
            Ok(Started::At(Start {
                last_sent,
                line: line(last_sent + 1),
            }))
        };
        match request.start_position {
            0 => started(last, |sequence| StartLine::NewOnly { sequence }),
            1 => {
                let last = self.channels[channel].log().lost().previous(last);
                started(last.saturating_sub(1).max(before_first), |sequence| StartLine::Last {
                    sequence,
                })
            }
            2 => {
                let time = Timestamp(now.wall.0.saturating_sub(request.start_time_delta));
                if last == 0 || first > last {
                    return Ok(Started::At(time_start(last, time)));
                }
                let Some(ticket) = self.questions.seek() else {
                    return Err("too many subscription requests wait for a start time".to_owned());
                };
                match effects.records.seek(ticket, self.channels[channel].id(), time.0) {
                    Seek::Found(sequence) => Ok(Started::At(time_start(
                        sequence.saturating_sub(1).clamp(before_first, last),
                        time,
                    ))),
                    Seek::Reading => Ok(Started::Seeking { ticket, time }),
                }
            }
            3 => {
                let last_sent = request.start_sequence.saturating_sub(1).clamp(before_first, last);
                let line = StartLine::Sequence {
                    asked: request.start_sequence,
                    actual: last_sent + 1,
                };
                Ok(Started::At(Start { last_sent, line }))
            }
            _ => started(before_first, |sequence| StartLine::First { sequence }),
        }
    }

    pub(super) fn sought(&mut self, now: Now, ticket: Ticket, sequence: Result<u64, &str>, effects: &mut Effects<'_>) {
        let WaitingSubscribe {
            request,
            reply,
            channel,
            id,
            time,
        } = match self.questions.end_seek(ticket) {
            Some(Seeker::Subscribe(waiting)) => waiting,
            Some(Seeker::Change(waiting)) => return self.change_sought(now, &waiting, sequence, effects),
            None => return,
        };
        // A channel with a waiting request is not deleted.
        assert_eq!(
            self.channels[channel].id(),
            id,
            "the channel of a waiting request stays"
        );
        self.channels[channel].end_subscribing();
        let outcome = match sequence {
            Ok(sequence) => self.subscribe_sought(now, channel, &reply, request, sequence, time, effects),
            Err(reason) => Err(reason.to_owned()),
        };
        if let Err(text) = outcome {
            self.refuse_subscribe(&reply, text, effects);
            self.restart_inactivity(now, channel);
        }
    }

    /// The store failed: whoever waits for a start time will not get a subscription.
    pub(super) fn refuse_seeking(&mut self, effects: &mut Effects<'_>) {
        for seeker in self.questions.end_all_seeks() {
            let waiting = match seeker {
                Seeker::Subscribe(waiting) => waiting,
                Seeker::Change(waiting) => {
                    self.change_failed(waiting.id, effects);
                    continue;
                }
            };
            self.channels[waiting.channel].end_subscribing();
            self.refuse_subscribe(&waiting.reply, POISONED.to_owned(), effects);
        }
    }

    /// Everything but the start may have changed while it was sought.
    #[expect(clippy::too_many_arguments, reason = "the parts of one waiting request")]
    fn subscribe_sought(
        &mut self,
        now: Now,
        channel: ChannelKey,
        reply: &[u8],
        request: SubscriptionRequest,
        sequence: u64,
        time: Timestamp,
        effects: &mut Effects<'_>,
    ) -> Result<(), String> {
        self.subscribing_client(&request)?;
        match self.target(now, channel, &request, effects)? {
            Target::New => {
                self.check_room(channel)?;
                let log = self.channels[channel].log();
                let last_sent = sequence
                    .saturating_sub(1)
                    .clamp(log.first().saturating_sub(1), log.last());
                self.create(now, channel, None, time_start(last_sent, time), reply, request, effects)
            }
            Target::Join(_) | Target::Resume(_) => self.subscribe_to(now, channel, reply, request, effects),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn create(
        &mut self,
        now: Now,
        channel: ChannelKey,
        group: Option<GroupKey>,
        start: Start,
        reply: &[u8],
        request: SubscriptionRequest,
        effects: &mut Effects<'_>,
    ) -> Result<(), String> {
        let client = self.subscribing_client(&request)?;
        self.ledger
            .admit(Need::Consumer, request.encoded_len() + 256, effects)
            .inspect_err(|text| {
                effects.event(Event::Refused {
                    request: "subscribe",
                    reason: text,
                });
            })?;
        let number = self.subscriptions.new_number();
        let ack_inbox = self.ack_inboxes.create();
        let verb = if group.is_some() {
            SubscriptionVerb::Joined
        } else {
            SubscriptionVerb::Started
        };
        let fact = SubscriptionFact {
            number,
            channel: self.channels[channel].id().0,
            client: self.clients[client].fact().name.clone(),
            inbox: request.inbox,
            ack_inbox: ack_inbox.number(),
            durable: request.durable_name,
            queue: request.q_group,
            max_in_flight: request.max_in_flight,
            ack_wait_units: request.ack_wait_in_secs,
            last_sent: start.last_sent,
            state: 0,
            ack_subject: Bytes::copy_from_slice(ack_inbox.subject()),
        };
        let key = self.insert_subscription(channel, fact);
        self.attach(key, client);
        self.listen(key, effects);
        if group.is_none()
            && let Some(group) = self.subscriptions[key].group()
        {
            self.groups[group].cursor = Cursor::behind(start.last_sent);
        }
        self.log_subscription(verb, key, start.line, effects);
        self.confirm_later(now, key, reply, effects);
        Ok(())
    }

    fn resume(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        reply: &[u8],
        request: &SubscriptionRequest,
        effects: &mut Effects<'_>,
    ) -> Result<(), String> {
        let client = self.subscribing_client(request)?;
        self.ledger
            .admit(Need::Consumer, request.encoded_len() + 256, effects)?;
        let ack_wait = self.ack_wait(request.ack_wait_in_secs);
        let ack_inbox = self.ack_inboxes.create();
        let terms = Terms {
            client_name: self.clients[client].fact().name.clone(),
            inbox: request.inbox[..].into(),
            max_in_flight: request.max_in_flight,
            ack_wait_units: request.ack_wait_in_secs,
            ack_wait,
        };
        self.subscriptions[key].resume(terms, ack_inbox);
        self.attach(key, client);
        self.listen(key, effects);
        self.log_subscription(SubscriptionVerb::Resumed, key, StartLine::None, effects);
        self.confirm_later(now, key, reply, effects);
        Ok(())
    }

    /// Writes the subscription down; its response leaves, and it takes messages, once that is durable.
    fn confirm_later(&mut self, now: Now, key: SubscriptionKey, reply: &[u8], effects: &mut Effects<'_>) {
        let position = self.write_subscription(key, Urgency::Sync, effects);
        let subscription = &self.subscriptions[key];
        let (channel, number) = (subscription.channel(), subscription.ack_inbox().number());
        let response = SubscriptionResponse {
            ack_inbox: Bytes::copy_from_slice(subscription.ack_inbox().subject()),
            ..SubscriptionResponse::default()
        }
        .encode_to_vec();
        let outcome = Outcome::Confirmed(Confirmation::Subscribe {
            subscription: key,
            ack_inbox: number,
        });
        self.replies.push(position, outcome, reply, &response);
        self.update_inactivity(now, channel);
    }

    /// The response is on its way: pending messages first, then new ones.
    pub(super) fn confirm_subscription(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        ack_inbox: u64,
        effects: &mut Effects<'_>,
    ) {
        // An ack inbox is new with each resume: an earlier response must not open the way for a later one.
        let found = self
            .subscriptions
            .get_mut(key)
            .filter(|subscription| subscription.ack_inbox().number() == ack_inbox);
        let Some(subscription) = found.filter(|subscription| subscription.phase() == Phase::Unconfirmed) else {
            return;
        };
        subscription.confirm(now);
        let group = subscription.group();
        self.update_standing(key);
        self.advance(now, key.into(), None, effects);
        if let Some(group) = group {
            self.wake_group(group);
            self.advance(now, group.into(), None, effects);
        }
    }
}

/// How a start position was resolved.
enum Started {
    At(Start),
    Seeking { ticket: Ticket, time: Timestamp },
}

fn time_start(last_sent: u64, time: Timestamp) -> Start {
    Start {
        last_sent,
        line: StartLine::Time {
            time,
            sequence: last_sent + 1,
        },
    }
}

/// The checks that need nothing but the request, in the order of §4.
fn check_fields(request: &SubscriptionRequest) -> Result<(), String> {
    let text = if request.client_id.is_empty() {
        errors::CLIENT_ID_MISSING
    } else if request.ack_wait_in_secs <= 0 {
        errors::INVALID_ACK_WAIT
    } else if request.max_in_flight <= 0 {
        errors::INVALID_MAX_INFLIGHT
    } else if !(0..=4).contains(&request.start_position) {
        errors::INVALID_START_POSITION
    } else if !validate::is_channel_name(&request.subject) {
        errors::INVALID_SUBJECT
    } else {
        return Ok(());
    };
    Err(text.to_owned())
}
