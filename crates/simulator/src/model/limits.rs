//! Messages and channels: what is stored, what goes by limits, what is deleted after inactivity (`streaming-protocol.md`
//! §2.8, §6).

use std::collections::BTreeMap;
use std::rc::Rc;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::MsgProto;
use seaway_streaming::{ChannelLimits, Limits, Now};

use super::answers::Kind;
use super::overlay::overlay;
use super::state::{Channel, Message};
use super::{Current, Model, names, text};

/// A deletion that found no room is tried again after this, if not later.
const RETRY_NS: u64 = 1_000_000_000;

impl Model {
    pub(crate) fn channel_created(&mut self, name: &[u8]) {
        let name = text(name);
        self.count("channels created");
        let asked = match &self.current {
            Current::Publish { channel, .. } => *channel == name,
            Current::Subscribe { request, .. } => request.subject == name.as_bytes(),
            _ => false,
        };
        if !asked || self.state.channels.contains_key(&name) {
            return self.object(format!("channel {name} was created, which nobody asked for"));
        }
        self.remember_without_newest();
        self.add_channel(&name);
    }

    pub(crate) fn add_channel(&mut self, name: &str) {
        let now = self.now.monotonic;
        self.state.channels_created += 1;
        let channel = Channel {
            id: self.state.channels_created,
            first: 0,
            last: 0,
            last_timestamp: 0,
            messages: BTreeMap::new(),
            last_activity: now,
            idle_since: now,
            unwritten_at: now,
            deleted_at: None,
            limits: ChannelLimits::default(),
        };
        self.state.channels.insert(name.to_owned(), Rc::new(channel));
    }

    pub(crate) fn forget_channel(&mut self, name: &str) {
        self.state.channels.remove(name);
        self.state.subscriptions.retain(|_, known| known.channel != name);
        self.state.groups.retain(|(channel, _), _| channel != name);
    }

    /// The limits of a channel: what an operator set, and else those of the configuration.
    pub(crate) fn limits_of(&self, channel: &str) -> Limits {
        let own = self.state.channels.get(channel).map(|channel| channel.limits);
        overlay(self.configured_limits(channel), &own.unwrap_or_default())
    }

    /// The limits of the configuration (§6.2): the narrowest entry that matches, which takes what it does not say itself from the
    /// entries that match it, widest first, and what none of them says from the global limits.
    pub(super) fn configured_limits(&self, channel: &str) -> Limits {
        let entries = &self.limits.entries;
        let mut matching: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        matching.retain(|pattern| names::matches(pattern, channel));
        matching.sort_by_key(|pattern| names::width(pattern));
        let mut limits = self.limits.global;
        let Some(narrowest) = matching.last() else {
            return limits;
        };
        let mut chain: Vec<&(String, ChannelLimits)> = entries.iter().collect();
        chain.retain(|(pattern, _)| names::matches(pattern, narrowest));
        chain.sort_by_key(|(pattern, _)| names::width(pattern));
        for (_, own) in chain {
            limits = overlay(limits, own);
        }
        limits
    }

    /// A message was appended to the store.
    pub fn message_appended(&mut self, channel: u64, sequence: u64, timestamp: i64, body: &[u8], position: u64) {
        self.appended(position);
        self.remember_without_newest();
        let Current::Publish {
            expected,
            channel: name,
            reply,
            data,
        } = std::mem::take(&mut self.current)
        else {
            return self.object(format!("{channel}:{sequence} was stored, which nobody published"));
        };
        if self.answer(expected).is_some_and(|answer| !answer.error.is_empty()) {
            return self.object(format!("{name}:{sequence} was stored, and is to be refused"));
        }
        let (now, wall) = (self.now.monotonic, self.now.wall.0);
        let Some(state) = self.state.channel(&name) else {
            return self.object(format!("a message was stored in {name}, which does not exist"));
        };
        if state.id != channel || state.deleted_at.is_some() {
            let text = format!("a message of {name} was stored in channel id {channel}: {state:?}");
            return self.object(text);
        }
        if sequence != state.last + 1 {
            let text = format!("{name}:{sequence} was stored after {}", state.last);
            return self.object(text);
        }
        // Times never decrease; one that is ahead of the clock goes on by a nanosecond.
        let next = if wall < state.last_timestamp {
            state.last_timestamp + 1
        } else {
            wall
        };
        if timestamp != next {
            let text = format!(
                "{name}:{sequence} was stored with timestamp {timestamp} after {}",
                state.last_timestamp
            );
            return self.object(text);
        }
        let encoded = MsgProto {
            sequence,
            subject: name.clone().into_bytes().into(),
            reply: reply.clone().into(),
            data: data.clone().into(),
            timestamp,
            ..MsgProto::default()
        };
        if encoded.encode_to_vec() != body {
            return self.object(format!("{name}:{sequence} was not stored as it was published"));
        }
        let size = body.len() as u64;
        if state.first == 0 {
            state.first = 1;
        }
        state.last = sequence;
        state.last_timestamp = timestamp;
        state.last_activity = now;
        let message = Message {
            reply,
            data,
            timestamp,
            size,
            position,
        };
        state.messages.insert(sequence, Rc::new(message));
        self.count("messages stored");
        if let Some(answer) = self.answer(expected)
            && let Kind::Publish { stored, .. } = &mut answer.kind
        {
            *stored = Some((channel, sequence));
        }
    }

    /// Messages below `first` were dropped: each must have been one that had to go.
    pub fn trimmed(&mut self, channel: u64, first: u64, position: u64) {
        self.appended(position);
        self.remember_without_newest();
        let Some(name) = self.state.channel_of_id(channel).map(str::to_owned) else {
            return self.object(format!("channel id {channel} was trimmed, which does not exist"));
        };
        let purged_to = self.purged_to(&name);
        if purged_to.is_some_and(|expected| expected != first) {
            self.object(format!("{name} was purged to {first}, and asked for was {purged_to:?}"));
        }
        let limits = self.limits_of(&name);
        let (wall, overhead, durable) = (self.now.wall.0, u64::from(self.options.message_overhead), self.durable);
        let state = self.state.channel(&name).expect("it was just seen");
        if first <= state.first || first > state.last + 1 {
            let text = format!("{name} was trimmed to {first} of {}..={}", state.first, state.last);
            return self.object(text);
        }
        let mut objection = None;
        let (mut over, mut aged, mut purged) = (0, 0, 0);
        while state.first < first {
            let messages = state.messages.len() as u64;
            let Some(message) = state.messages.remove(&state.first) else {
                objection = Some(format!("{name}:{} was trimmed and did not exist", state.first));
                break;
            };
            let bytes = state.bytes(overhead) + message.size + overhead;
            let too_many = limits.max_messages > 0 && messages > limits.max_messages;
            let too_large = limits.max_bytes > 0 && messages > 1 && bytes > limits.max_bytes;
            let age = u64::try_from(wall.saturating_sub(message.timestamp)).unwrap_or(0);
            let too_old = limits.max_age_ns > 0 && age >= limits.max_age_ns;
            if message.position > durable {
                objection = Some(format!("{name}:{} was trimmed before it was durable", state.first));
            }
            if purged_to.is_some() {
                purged += 1;
                state.first += 1;
                continue;
            }
            if !too_many && !too_large && !too_old {
                objection = Some(format!(
                    "{name}:{} was trimmed, with {messages} messages of {bytes} bytes and an age of {age} ns",
                    state.first
                ));
            }
            over += u64::from(too_many || too_large);
            aged += u64::from(!too_many && !too_large);
            state.first += 1;
        }
        if let Some(objection) = objection {
            self.object(objection);
        }
        *self.seen.entry("messages trimmed").or_default() += over;
        *self.seen.entry("messages expired").or_default() += aged;
        *self.seen.entry("messages purged").or_default() += purged;
    }

    /// The deletion of a channel was appended: from now on it takes nothing, and it goes once that is durable.
    pub fn channel_dropped(&mut self, channel: u64, position: u64) {
        self.appended(position);
        self.remember_without_newest();
        let Some(name) = self.state.channel_of_id(channel).map(str::to_owned) else {
            return self.object(format!("channel id {channel} was deleted, which does not exist"));
        };
        let limit = self.limits_of(&name).max_inactivity_ns;
        let now = self.now.monotonic;
        let seeking = self.is_seeking(&name);
        let used = self.state.is_used(&name);
        let asked_for = self.is_deleted_by_change(&name);
        let state = self.state.channel(&name).expect("it was just seen");
        let since = state.idle_since.max(state.last_activity);
        state.deleted_at = Some(position);
        if asked_for {
            return;
        }
        if limit == 0 || since + limit > now {
            self.object(format!("channel {name} was deleted after {} ns", now - since));
        }
        if used || seeking {
            self.object(format!("channel {name} was deleted while it is used"));
        }
    }

    /// What is the oldest message of a channel could not be found out; that is tried again.
    pub fn head_unreadable(&mut self, now: Now) {
        self.count("heads unreadable");
        self.read_failed_at = Some(now.monotonic);
    }

    pub(crate) fn is_seeking(&self, channel: &str) -> bool {
        self.seeking
            .values()
            .any(|seeking| seeking.request.subject == channel.as_bytes())
    }

    pub(crate) fn channel_deleted(&mut self, name: &[u8]) {
        let name = text(name);
        self.count("channels deleted");
        let deleted = self.state.channels.get(&name).and_then(|channel| channel.deleted_at);
        if deleted.is_none_or(|position| position > self.durable) {
            self.object(format!("channel {name} went before its deletion was durable"));
        }
        self.forget_channel(&name);
    }

    /// The store has no room for a deletion: it is tried again.
    pub(crate) fn deletions_put_off(&mut self) {
        let now = self.now.monotonic;
        for channel in self.state.channels.values_mut() {
            Rc::make_mut(channel).unwritten_at = now;
        }
    }

    /// Every deadline was handled: no channel is left that should be gone.
    pub(crate) fn inactivity_handled(&mut self) {
        if self.poisoned {
            return;
        }
        // What waits to be written puts the end off by as long again.
        let now = self.now.monotonic;
        for channel in self.state.channels.values_mut() {
            let last = channel.messages.values().next_back();
            if last.is_some_and(|last| last.position > self.told) {
                Rc::make_mut(channel).unwritten_at = now;
            }
        }
        let overdue = self.state.channels.iter().find(|(name, channel)| {
            let limit = self.limits_of(name).max_inactivity_ns;
            let since = channel.idle_since.max(channel.last_activity);
            let unwritten = channel.unwritten_at + limit.max(RETRY_NS);
            limit > 0
                && channel.deleted_at.is_none()
                && !self.is_seeking(name)
                && !self.state.is_used(name)
                && (since + limit).max(unwritten) < now
        });
        if let Some((name, _)) = overdue {
            let text = format!("channel {name} should have been deleted");
            self.object(text);
        }
    }
}
