//! Checks at rest, when nothing is left to do: what should have happened has happened, and monitoring shows what is true
//! (`streaming-protocol.md` §5, §6, §8).

use std::collections::BTreeMap;

use seaway_streaming::{
    AuditedChange, ChannelSnapshot, ClientSnapshot, Counters, Page, ServerSnapshot, SubscriptionSnapshot,
};

use super::answers::Owed;
use super::state::{Due, Phase, Subscription};
use super::{Model, text};

/// A clock that is set by less than this is not looked at.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

/// What is due is sent by the next look at the clock; a read that failed is tried again after a second.
const GRACE_NS: u64 = 1_200_000_000;

impl Model {
    /// Compares monitoring with what is known.
    pub fn compare(
        &mut self,
        server: &ServerSnapshot,
        channels: &[ChannelSnapshot],
        clients: &[ClientSnapshot],
        counters: &Counters,
    ) {
        let counted = (counters.redelivered_messages, counters.lost_clients, counters.bus_up);
        let known = (self.totals.redelivered, self.totals.lost_clients, self.bus_up);
        if counted != known {
            self.object(format!("counters show {counted:?}, and true is {known:?}"));
        }
        let overhead = u64::from(self.options.message_overhead);
        let bytes: u64 = self
            .state
            .channels
            .values()
            .map(|channel| channel.bytes(overhead))
            .sum();
        let messages: usize = self.state.channels.values().map(|channel| channel.messages.len()).sum();
        let known = ServerSnapshot {
            cluster_id: server.cluster_id.clone(),
            clients: self.state.clients.len(),
            subscriptions: self.state.subscriptions.len(),
            channels: self.state.channels.len(),
            total_messages: messages as u64,
            total_bytes: self.counted(server.total_bytes, bytes),
            in_messages: self.totals.in_messages,
            in_bytes: self.totals.in_bytes,
            out_messages: self.totals.out_messages,
            out_bytes: self.totals.out_bytes,
        };
        if *server != known {
            self.object(format!("the server shows {server:?}, and true is {known:?}"));
        }
        self.compare_clients(clients);
        self.compare_channels(channels);
    }

    /// What was changed is remembered, each change once.
    pub fn compare_audit(&mut self, audit: &Page<AuditedChange>) {
        let known = self.state.changes;
        let newest = audit.items.first().map_or(0, |newest| newest.number);
        if self.poisoned || newest == known && audit.total as u64 == known.min(1_000) {
            return;
        }
        self.object(format!(
            "{known} changes were made, and the audit has {}, up to {newest}",
            audit.total
        ));
    }

    /// Bytes as they should be shown: after a read that failed those of what was purged may count for a while.
    fn counted(&self, shown: u64, bytes: u64) -> u64 {
        let reading = self.read_failed_at.is_some_and(|at| at + GRACE_NS > self.now.monotonic);
        if reading { shown.max(bytes) } else { bytes }
    }

    pub(crate) fn compare_clients(&mut self, clients: &[ClientSnapshot]) {
        let mut known: Vec<(String, String, usize)> = Vec::new();
        for (id, client) in &self.state.clients {
            let active = |known: &&std::rc::Rc<Subscription>| known.client == *id && known.phase != Phase::Offline;
            let subscriptions = self.state.subscriptions.values().filter(active).count();
            known.push((id.clone(), text(&client.request.heartbeat_inbox), subscriptions));
        }
        let shown: Vec<(String, String, usize)> = clients
            .iter()
            .map(|shown| {
                (
                    shown.id.clone(),
                    shown.heartbeat_inbox.clone(),
                    shown.subscriptions_count,
                )
            })
            .collect();
        if shown != known {
            self.object(format!("clients are shown as {shown:?}, and true is {known:?}"));
        }
    }

    pub(crate) fn compare_channels(&mut self, channels: &[ChannelSnapshot]) {
        let overhead = u64::from(self.options.message_overhead);
        for shown in channels {
            let Some(known) = self.state.channels.get(&shown.name) else {
                return self.object(format!("channel {} is shown and does not exist", shown.name));
            };
            let is = (
                shown.messages,
                shown.bytes,
                shown.first_sequence,
                shown.last_sequence,
                shown.subscriptions_count,
            );
            let should = (
                known.messages.len() as u64,
                self.counted(shown.bytes, known.bytes(overhead)),
                known.first,
                known.last,
                self.state.records(&shown.name),
            );
            if is != should {
                return self.object(format!(
                    "channel {} is shown with {is:?}, and true is {should:?}",
                    shown.name
                ));
            }
            let pairs = self.pair(&shown.name, &shown.subscriptions);
            if self.gone_logs.contains(&shown.name) {
                continue;
            }
            for (number, shown) in &pairs {
                self.compare_subscription(*number, shown);
            }
            self.compare_cursors(&shown.name, &pairs);
        }
        if channels.len() != self.state.channels.len() {
            self.object(format!("{} channels are shown", channels.len()));
        }
    }

    /// Acks are listened for exactly where active subscriptions are acknowledged.
    pub(crate) fn compare_interest(&mut self, listened: &BTreeMap<String, u64>) {
        let subscriptions = &self.state.subscriptions;
        let active = subscriptions.values().filter(|known| known.phase != Phase::Offline);
        let has_it = |inbox: &String, number: &u64| {
            let known = subscriptions.get(number).filter(|known| known.phase != Phase::Offline);
            known.is_some_and(|known| known.ack_inbox.as_ref().is_none_or(|known| known == inbox))
        };
        if active.count() != listened.len() || !listened.iter().all(|(inbox, number)| has_it(inbox, number)) {
            self.object(format!(
                "acks are listened for on {listened:?}, and true is {subscriptions:?}"
            ));
        }
    }

    /// Which subscription is shown by which entry.
    pub(crate) fn pair<'a>(
        &mut self,
        channel: &str,
        shown: &'a [SubscriptionSnapshot],
    ) -> Vec<(u64, &'a SubscriptionSnapshot)> {
        let mut left: Vec<u64> = self
            .state
            .subscriptions
            .iter()
            .filter(|(_, known)| known.channel == channel)
            .map(|(number, _)| *number)
            .collect();
        let mut pairs = Vec::new();
        for entry in shown {
            let same = |number: &u64, exactly: bool| {
                let known = &self.state.subscriptions[number];
                if exactly {
                    known.ack_inbox.as_ref() == Some(&entry.ack_inbox)
                } else {
                    known.ack_inbox.is_none() && known.inbox == entry.inbox
                }
            };
            let place = left
                .iter()
                .position(|number| same(number, true))
                .or_else(|| left.iter().position(|number| same(number, false)));
            match place {
                Some(place) => pairs.push((left.remove(place), entry)),
                None => self.object(format!("{channel} shows a subscription that does not exist: {entry:?}")),
            }
        }
        if let Some(missing) = left.first() {
            let known = &self.state.subscriptions[missing];
            let text = format!("{channel} does not show subscription {missing}: {known:?}");
            self.object(text);
        }
        pairs
    }

    /// Held for certain, and at most: what was trimmed, or may have been acknowledged, may or may not count.
    fn pending_range(&self, known: &Subscription) -> (usize, usize) {
        let first = self
            .state
            .channels
            .get(&known.channel)
            .map_or(0, |channel| channel.first);
        let adrift = known.group.as_ref().map_or(0, |name| {
            let group = &self.state.groups[&(known.channel.clone(), name.clone())];
            group.floating.values().filter(|floating| floating.counted).count()
        });
        let certain = known.live_pending(first);
        (certain, known.pending.len() + known.maybe.len() + adrift)
    }

    fn compare_subscription(&mut self, number: u64, shown: &SubscriptionSnapshot) {
        let known = self.state.subscriptions[&number].clone();
        let (least, most) = self.pending_range(&known);
        let durable_name = if known.group.is_none() {
            known.durable.as_str()
        } else {
            ""
        };
        let fits = shown.client_id == known.client
            && shown.inbox == known.inbox
            && shown.durable_name == durable_name
            && shown.queue_name == known.group.clone().unwrap_or_default()
            && shown.is_durable != known.durable.is_empty()
            && shown.paused.is_some() == self.state.is_halted(&known)
            && shown.is_offline == (known.phase == Phase::Offline)
            && shown.max_in_flight == known.max_in_flight
            && shown.ack_wait == known.ack_wait_seconds
            && (known.group.is_some() || shown.last_sent == known.cursor)
            && (least..=most).contains(&shown.pending_count)
            && (self.passes_over || shown.is_stalled == (shown.pending_count >= shown.max_in_flight));
        if !fits {
            self.object(format!(
                "subscription {number} is shown as {shown:?}, and true is {known:?} with {least}..={most} pending"
            ));
        }
    }

    fn compare_cursors(&mut self, channel: &str, pairs: &[(u64, &SubscriptionSnapshot)]) {
        let mut objection = None;
        for ((of, name), group) in &self.state.groups {
            if of != channel {
                continue;
            }
            let shown = pairs
                .iter()
                .filter(|(number, _)| group.members.contains(number) || group.shadow == Some(*number))
                .map(|(_, shown)| shown.last_sent)
                .max();
            if shown != Some(group.cursor) {
                objection = Some(format!(
                    "group {name} of {channel} shows cursor {shown:?}, and true is {}",
                    group.cursor
                ));
            }
        }
        if let Some(objection) = objection {
            self.object(objection);
        }
    }

    /// Nothing is left to do, and everything appended is durable: whatever was owed has happened.
    pub fn rest(&mut self, bus_up: bool) {
        self.count("rests");
        let open = self
            .expected
            .iter()
            .find(|expected| expected.owed != Owed::Later && !expected.subject.is_empty());
        if let Some(open) = open {
            let text = format!("an answer does not come: {open:?}");
            self.object(text);
        }
        self.changes_rest();
        let reading = self.read_failed_at.is_some_and(|at| at + GRACE_NS > self.now.monotonic);
        if !reading {
            self.limits_hold();
        }
        if !bus_up || !self.bus_up || reading {
            return;
        }
        let numbers: Vec<u64> = self.state.subscriptions.keys().copied().collect();
        for number in numbers {
            let known = self.state.subscriptions[&number].clone();
            if known.phase == Phase::Active && !self.paused.contains_key(&number) && !self.state.is_halted(&known) {
                self.nothing_owed(number, &known);
            }
        }
        self.groups_owe_nothing();
        self.rested_at.get_or_insert(self.now.monotonic);
    }

    fn durable_last(&self, channel: &str) -> u64 {
        let Some(channel) = self.state.channels.get(channel) else {
            return 0;
        };
        let durable = channel
            .messages
            .iter()
            .rev()
            .find(|(_, message)| message.position <= self.durable);
        durable.map_or(0, |(sequence, _)| *sequence)
    }

    fn nothing_owed(&mut self, number: u64, known: &Subscription) {
        let first = self.state.channels[&known.channel].first;
        let now = self.now.monotonic;
        if let Some(held) = known.hold.range(first..).find(|held| known.pending.contains_key(held)) {
            return self.object(format!("{number} was not sent {held} again after it came back"));
        }
        let failing = self
            .state
            .clients
            .get(&known.client)
            .is_none_or(|client| client.is_failing_since(known.healthy_since) || client.closing);
        let is_full = known.in_flight(first) >= known.max_in_flight || known.group.is_some();
        let settled = self.bus_settles_at;
        let overdue = known.pending.range(first..).find(|(_, pending)| match pending.due {
            // What was passed over waits for room, too.
            _ if pending.passed_over && is_full => false,
            Due::Between(_, latest) | Due::ByTimestamp(latest) => latest.max(settled).saturating_add(GRACE_NS) < now,
        });
        if let Some((sequence, pending)) = overdue
            && !failing
        {
            return self.object(format!(
                "{number} should have got {sequence} again: {pending:?} at {now}"
            ));
        }
        // Its deadlines are set now at the latest.
        let state = self.state.subscription(number).expect("the caller has seen it");
        for pending in state.pending.values_mut() {
            if let Due::ByTimestamp(latest @ u64::MAX) = &mut pending.due {
                *latest = now + known.ack_wait;
            }
        }
        let (_, most) = self.pending_range(known);
        let next = (known.cursor + 1).max(first);
        if known.group.is_none() && most < known.max_in_flight && next <= self.durable_last(&known.channel) {
            self.object(format!("{number} waits for {next} and nothing stands in its way"));
        }
    }

    fn groups_owe_nothing(&mut self) {
        let mut objection = None;
        let is_settled = self.bus_settles_at.saturating_add(GRACE_NS) < self.now.monotonic;
        for ((channel, name), group) in self.state.groups.iter().filter(|(_, group)| !group.halted) {
            let members: Vec<(&u64, &Subscription)> = group
                .members
                .iter()
                .map(|number| (number, &*self.state.subscriptions[number]))
                .filter(|(number, known)| known.phase == Phase::Active && !self.paused.contains_key(number))
                .collect();
            let first = self.state.channels[channel].first;
            let next = (group.cursor + 1).max(first);
            // A member that is on hold or congested holds only itself.
            let room = members
                .iter()
                .any(|(_, known)| self.pending_range(known).1 < known.max_in_flight && !known.may_be_on_hold());
            if room && next <= self.durable_last(channel) {
                objection = Some(format!(
                    "group {name} of {channel} waits for {next} and nothing stands in its way"
                ));
            }
            let longest = members.iter().map(|(_, known)| known.ack_wait).max().unwrap_or(0);
            let left = group.floating.range(first..).find(|(_, floating)| {
                let begun = self.rested_at.map_or(u64::MAX, |at| at + longest + GRACE_NS);
                let late = !floating.counted || begun < self.now.monotonic;
                // Until the bus has been there for a while nothing is sent again.
                floating.owed && late && is_settled
            });
            if let Some((left, floating)) = left
                && !members.is_empty()
                && members.len() == group.members.len()
                && members.iter().all(|(_, known)| !known.may_be_on_hold())
            {
                objection = Some(format!(
                    "group {name} of {channel} owes {left} to somebody: {floating:?}"
                ));
            }
        }
        if let Some(objection) = objection {
            self.object(objection);
        }
    }

    fn limits_hold(&mut self) {
        if self.poisoned {
            return;
        }
        let overhead = u64::from(self.options.message_overhead);
        let broken = self.state.channels.iter().find(|(name, channel)| {
            if channel.deleted_at.is_some() {
                return false;
            }
            let limits = self.limits_of(name);
            let Some(oldest) = channel
                .messages
                .values()
                .next()
                .filter(|oldest| oldest.position <= self.durable)
            else {
                return false;
            };
            let messages = channel.messages.len() as u64;
            let too_many = limits.max_messages > 0 && messages > limits.max_messages;
            let too_large = limits.max_bytes > 0 && channel.bytes(overhead) > limits.max_bytes;
            let age = u64::try_from(self.now.wall.0.saturating_sub(oldest.timestamp)).unwrap_or(0);
            // Less is not noticed as a jump of the clock.
            let too_old = limits.max_age_ns > 0 && age >= limits.max_age_ns + CLOCK_STEP_NS;
            messages > 1 && (too_many || too_large) || too_old
        });
        if let Some((name, channel)) = broken {
            let text = format!(
                "{name} is beyond its limits: {} messages, {} bytes, the oldest of {:?}",
                channel.messages.len(),
                channel.bytes(overhead),
                channel.messages.values().next().map(|oldest| oldest.timestamp)
            );
            self.object(text);
        }
    }

    /// Durables and durable groups that exist: client (empty for a group), channel, durable name, queue.
    pub fn readers(&self) -> Vec<(String, String, String, String)> {
        let mut readers: Vec<(String, String, String, String)> = self
            .state
            .subscriptions
            .values()
            .filter(|known| !known.durable.is_empty() && known.phase == Phase::Offline)
            .map(|known| {
                let queue = known.group.as_ref().map_or("", |name| {
                    name.strip_prefix(&known.durable)
                        .and_then(|rest| rest.strip_prefix(':'))
                        .unwrap_or(name)
                });
                let client = if known.group.is_some() {
                    String::new()
                } else {
                    known.client.clone()
                };
                (client, known.channel.clone(), known.durable.clone(), queue.to_owned())
            })
            .collect();
        readers.sort();
        readers
    }

    /// Names of channels that hold messages.
    pub fn channels(&self) -> Vec<String> {
        let full = self
            .state
            .channels
            .iter()
            .filter(|(_, channel)| !channel.messages.is_empty());
        full.map(|(name, _)| name.clone()).collect()
    }

    /// After everything was acknowledged: nobody holds or is owed anything.
    pub fn all_is_well(&mut self) {
        let numbers: Vec<u64> = self.state.subscriptions.keys().copied().collect();
        for number in numbers {
            let known = &self.state.subscriptions[&number];
            let first = self.state.channels[&known.channel].first;
            if known.phase == Phase::Active
                && let Some((sequence, _)) = known.pending.range(first..).next()
            {
                let text = format!("{number} still holds {sequence}");
                return self.object(text);
            }
            let last = self.state.channels[&known.channel].last;
            let cursor = known.group.as_ref().map_or(known.cursor, |name| {
                self.state.groups[&(known.channel.clone(), name.clone())].cursor
            });
            if known.phase == Phase::Active && cursor < last && first <= last {
                let text = format!("{number} was sent everything up to {cursor} of {last} only");
                return self.object(text);
            }
        }
    }
}
