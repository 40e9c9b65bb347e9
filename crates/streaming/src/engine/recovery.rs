//! Building the state from what the store recovered (`streaming-protocol.md` §5.9).
//!
//! Facts are first replayed into plain maps, because they may come in an order in which they make sense only at the end (a
//! checkpoint is written beside running traffic); [`Engine::start`] turns the result into the engine's state.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use seaway_stan_protocol::{Subjects, quote, validate};

use super::Engine;
use crate::effects::Effects;
use crate::event::Event;
use crate::facts::{
    CHANNEL, CHANNEL_LIMITED, ChannelFact, ChannelLimitedFact, PAUSED, PausedFact, SERVER, STATE_ACTIVE,
    STATE_DEPARTING, ServerFact,
};
use crate::input::ChannelId;
use crate::limits::LOSSES_TOLD_MAX;
use crate::position::lost::Lost;
use crate::records::{Position, Urgency};
use crate::registry::halts::Halted;
use crate::registry::keys::{ChannelKey, GroupKey, SubscriptionKey};
use crate::registry::log;
use crate::registry::subscription::Phase;
use crate::registry::trail::Trail;
use crate::replay::{Log, Record, RecoverError, Recovered};
use crate::time::Now;
use crate::waiting::work::Work;

/// Says which messages of a channel are lost; `told` counts.
fn tell_losses(channel: &[u8], lost: &Lost, told: &mut usize, effects: &mut Effects<'_>) {
    for &(from, to) in lost.ranges() {
        *told += 1;
        if *told <= LOSSES_TOLD_MAX {
            effects.event(Event::MessagesLost { channel, from, to });
        }
    }
}

/// Why an engine cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The store belongs to another cluster (`streaming-protocol.md` §9.4).
    ClusterMismatch {
        /// As configured.
        configured: String,
        /// As recovered.
        recovered: String,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::ClusterMismatch { configured, recovered } => write!(
                f,
                "cluster ID {} does not match recovered value of {}",
                quote(configured.as_bytes()),
                quote(recovered.as_bytes())
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// What a start found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartSummary {
    /// Whether the store held a server's state.
    pub recovered: bool,
    /// Channels.
    pub channels: usize,
    /// Registered clients.
    pub clients: usize,
    /// Subscription records, offline ones included.
    pub subscriptions: usize,
    /// Logs of which no fact tells the channel; they are left alone.
    pub unknown_logs: usize,
}

impl Engine {
    /// Replays one fact: a checkpoint's first, then those after it, in stored order.
    ///
    /// # Errors
    /// When the fact cannot be understood.
    pub fn recover_fact(&mut self, kind: u8, body: &[u8]) -> Result<(), RecoverError> {
        self.recovering().replay(kind, body)
    }

    /// Replays the deletion of a channel, in stored order among the facts.
    pub fn recover_channel_deleted(&mut self, channel: ChannelId) {
        let recovered = self.recovering();
        recovered.last_channel = recovered.last_channel.max(channel.0);
        recovered.channels.remove(&channel.0);
        recovered.limits.remove(&channel.0);
        { &mut recovered.halts }.retain(|halted, _| !matches!(halted, Halted::Group(of, _) if *of == channel));
    }

    /// Tells the bounds of a live log, after all facts: `bytes` sums the bodies of `first..=last`, `last_timestamp` is that of
    /// `last`. A log whose messages have all gone has `first == last + 1`.
    pub fn recover_channel(&mut self, channel: ChannelId, first: u64, last: u64, bytes: u64, last_timestamp: i64) {
        let recovered = self.recovering();
        // The fact of its channel may be lost; the id stays used.
        recovered.last_channel = recovered.last_channel.max(channel.0);
        recovered.logs.insert(
            channel.0,
            Log {
                first,
                last,
                bytes,
                last_timestamp,
            },
        );
    }

    /// Tells of a fact that was given up with damage before it: it only says what is lost, and how far numbers were used.
    pub fn recover_fact_given_up(&mut self, kind: u8, body: &[u8]) {
        // What cannot be understood cannot be told of.
        let _ = self.recovering().given_up().replay(kind, body);
    }

    /// Tells of the deletion of a channel that was given up like that.
    pub fn recover_deletion_given_up(&mut self, channel: ChannelId) {
        self.recovering().given_up().channels.remove(&channel.0);
    }

    /// Tells that messages of a channel are lost for good, in order of their sequences, before [`Engine::recover_channel`].
    pub fn recover_lost(&mut self, channel: ChannelId, from: u64, to: u64) {
        self.recovering().lost.entry(channel.0).or_default().push(from, to);
    }

    /// Whether [`Engine::start`] will take what was recovered so far; asked before anything is changed.
    ///
    /// # Errors
    /// When the store belongs to another cluster.
    pub fn check_recovered(&self) -> Result<(), StartError> {
        let server = self.recovered.as_ref().and_then(|recovered| recovered.server.as_ref());
        server.map_or(Ok(()), |server| self.check_server(server))
    }

    /// Takes the cluster ID of what was recovered for its own, where that says one: for who looks at any store.
    pub fn join_recovered_cluster(&mut self) {
        let server = self.recovered.as_ref().and_then(|recovered| recovered.server.as_ref());
        if let Some(server) = server {
            self.options.cluster_id = String::from_utf8_lossy(&server.cluster_id).into_owned();
        }
    }

    fn check_server(&self, server: &ServerFact) -> Result<(), StartError> {
        if server.cluster_id == self.options.cluster_id.as_bytes() {
            return Ok(());
        }
        Err(StartError::ClusterMismatch {
            configured: self.options.cluster_id.clone(),
            recovered: String::from_utf8_lossy(&server.cluster_id).into_owned(),
        })
    }

    fn recovering(&mut self) -> &mut Recovered {
        self.recovered.as_mut().expect("recovery ends with the start")
    }

    /// Ends recovery and begins service. Appends the server's fact when the store is new; work that follows from recovery
    /// (re-sending, limits that were lowered) waits for [`Input::EndOfPass`](crate::Input::EndOfPass).
    ///
    /// # Errors
    /// When the store belongs to another cluster; nothing was appended then.
    pub fn start(&mut self, now: Now, effects: &mut Effects<'_>) -> Result<StartSummary, StartError> {
        self.clock.begin(now);
        let mut recovered = *self.recovered.take().expect("an engine starts once");
        if let Some(server) = &recovered.server {
            self.check_server(server)?;
        }
        if let Some(given_up) = recovered.given_up.take() {
            self.tell_what_is_given_up(*given_up, &mut recovered, effects);
        }
        let known = recovered.server.is_some();
        self.channels.begin_after(ChannelId(recovered.last_channel));
        self.subscriptions.begin_after(recovered.last_subscription);
        self.ack_inboxes.recover(recovered.last_ack_inbox);
        match recovered.server {
            Some(server) => self.adopt_server(server)?,
            None => {
                let fact = self.server_fact();
                self.ledger.fact(SERVER, &fact, Urgency::Sync, effects);
            }
        }
        let (channels, logs, lost) = (recovered.channels, recovered.logs, recovered.lost);
        let unknown_logs = self.adopt_channels(now, channels, logs, lost, effects);
        for (channel, limits) in recovered.limits {
            if let Some(key) = self.channels.find_id(ChannelId(channel)) {
                self.set_limits(key, limits);
            }
        }
        for (_, client) in recovered.clients {
            self.insert_client(now, client);
        }
        let mut shadows = Vec::new();
        for (_, record) in recovered.subscriptions {
            self.adopt_subscription(now, record, &mut shadows, effects);
        }
        for shadow in shadows {
            self.adopt_shadow(shadow, effects);
        }
        self.adopt_groups(effects);
        self.adopt_halts(recovered.halts, effects);
        self.trail = Trail::recovered(recovered.audit);
        let channels: Vec<ChannelKey> = self.channels.keys().collect();
        for key in channels {
            self.restart_inactivity(now, key);
            self.consider_retention(key);
        }
        Ok(StartSummary {
            recovered: known,
            channels: self.channels.len(),
            clients: self.clients.len(),
            subscriptions: self.subscriptions.len(),
            unknown_logs,
        })
    }

    /// Stored subjects are used verbatim (§2.5).
    fn adopt_server(&mut self, server: ServerFact) -> Result<(), StartError> {
        self.check_server(&server)?;
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        self.subjects.discover = text(&server.discover);
        self.subjects.pings = text(&server.pings);
        self.subjects.publish_prefix = text(&server.publish_prefix);
        self.subjects.subscribe = text(&server.subscribe);
        self.subjects.unsubscribe = text(&server.unsubscribe);
        self.subjects.subscription_close = text(&server.subscription_close);
        self.subjects.close = text(&server.close);
        self.ack_inboxes.recover_numbered(server.numbered_inboxes);
        Ok(())
    }

    /// Becomes the server of another cluster, with subjects of that name. For a store of which no client is left: each knows the old ones.
    pub fn change_cluster(&mut self, cluster_id: &str, effects: &mut Effects<'_>) {
        cluster_id.clone_into(&mut self.options.cluster_id);
        self.subjects = Subjects::new(cluster_id, &self.options.discover_prefix);
        let fact = self.server_fact();
        self.ledger.fact(SERVER, &fact, Urgency::Sync, effects);
    }

    /// The server as of now.
    pub(super) fn server_fact(&self) -> ServerFact {
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        ServerFact {
            cluster_id: text(&self.options.cluster_id),
            discover: text(&self.subjects.discover),
            pings: text(&self.subjects.pings),
            publish_prefix: text(&self.subjects.publish_prefix),
            subscribe: text(&self.subjects.subscribe),
            unsubscribe: text(&self.subjects.unsubscribe),
            subscription_close: text(&self.subjects.subscription_close),
            close: text(&self.subjects.close),
            numbered_inboxes: self.ack_inboxes.numbered().clone(),
            next_channel: self.channels.last_id().0 + 1,
            next_subscription: self.subscriptions.last_number() + 1,
            next_ack_inbox: self.ack_inboxes.next_number(),
            audit: Vec::new(),
        }
    }

    /// Gives back how many logs belong to no known channel.
    fn adopt_channels(
        &mut self,
        now: Now,
        facts: BTreeMap<u64, ChannelFact>,
        mut logs: BTreeMap<u64, Log>,
        mut losses: BTreeMap<u64, Lost>,
        effects: &mut Effects<'_>,
    ) -> usize {
        let mut told = 0;
        for (id, fact) in facts {
            let mut lost = losses.remove(&id).unwrap_or_default();
            // The store's bounds count; a checkpoint's for a channel of which the store holds nothing.
            let (first, last, bytes, timestamp) = match logs.remove(&id) {
                Some(log) => {
                    if log.last < fact.last {
                        // The checkpoint knows of messages that were given up since.
                        lost.push(log.last + 1, fact.last);
                    }
                    (log.first, log.last.max(fact.last), log.bytes, log.last_timestamp)
                }
                None => (fact.last.saturating_add(1), fact.last, 0, fact.last_timestamp),
            };
            tell_losses(&fact.name, &lost, &mut told, effects);
            let timestamp = timestamp.max(fact.last_timestamp);
            let log = log::Log::recovered(first, last, bytes, timestamp, lost);
            let limits = self.options.limits.find(&fact.name);
            self.channels
                .insert(now.monotonic, ChannelId(id), fact.name, limits, log);
        }
        for (id, lost) in &losses {
            let name = format!("with the id {id}, whose name is lost");
            tell_losses(name.as_bytes(), lost, &mut told, effects);
        }
        if told > LOSSES_TOLD_MAX {
            let more = told - LOSSES_TOLD_MAX;
            effects.event(Event::MoreLost { more });
        }
        logs.len()
    }

    /// Names what was known and is not any more. Channels come back, without messages: so their sequences are not used twice.
    fn tell_what_is_given_up(&mut self, given_up: Recovered, recovered: &mut Recovered, effects: &mut Effects<'_>) {
        recovered.last_channel = recovered.last_channel.max(given_up.last_channel);
        recovered.last_subscription = recovered.last_subscription.max(given_up.last_subscription);
        recovered.last_ack_inbox = recovered.last_ack_inbox.max(given_up.last_ack_inbox);
        let fold = |name: &[u8]| validate::fold_case(name).into_owned();
        let mut names: BTreeSet<Vec<u8>> = recovered.channels.values().map(|fact| fold(&fact.name)).collect();
        for (id, fact) in given_up.channels {
            if !recovered.channels.contains_key(&id) && names.insert(fold(&fact.name)) {
                self.ledger.fact(CHANNEL, &fact, Urgency::Sync, effects);
                recovered.channels.insert(id, fact);
            }
        }
        // The configuration may have lower ones, for which messages would go.
        for (id, limits) in given_up.limits {
            if recovered.channels.contains_key(&id) && !recovered.limits.contains_key(&id) {
                let fact = ChannelLimitedFact::new(ChannelId(id), &limits);
                self.ledger.fact(CHANNEL_LIMITED, &fact, Urgency::Sync, effects);
                recovered.limits.insert(id, limits);
            }
        }
        // Whoever paused something knows why.
        for (halted, halt) in given_up.halts {
            if let Entry::Vacant(vacant) = recovered.halts.entry(halted) {
                let fact = PausedFact::new(vacant.key(), Some(&halt));
                self.ledger.fact(PAUSED, &fact, Urgency::Sync, effects);
                vacant.insert(halt);
            }
        }
        let (mut durables, mut clients) = (0, 0);
        for (number, record) in &given_up.subscriptions {
            let fact = &record.fact;
            if fact.durable.is_empty() || recovered.subscriptions.contains_key(number) {
                continue;
            }
            durables += 1;
            let channel = recovered.channels.get(&fact.channel);
            if durables <= LOSSES_TOLD_MAX {
                effects.event(Event::DurableLost {
                    client: &fact.client,
                    channel: channel.map_or(&b""[..], |channel| &channel.name[..]),
                    durable: &fact.durable,
                    queue: &fact.queue,
                });
            }
        }
        for name in given_up
            .clients
            .keys()
            .filter(|name| !recovered.clients.contains_key(*name))
        {
            clients += 1;
            if clients <= LOSSES_TOLD_MAX {
                effects.event(Event::ClientLost { client: name });
            }
        }
        if durables.max(clients) > LOSSES_TOLD_MAX {
            let more = durables.saturating_sub(LOSSES_TOLD_MAX) + clients.saturating_sub(LOSSES_TOLD_MAX);
            effects.event(Event::MoreLost { more });
        }
        effects.event(Event::GivenUp { durables, clients });
    }

    fn adopt_subscription(
        &mut self,
        now: Now,
        record: Record,
        shadows: &mut Vec<SubscriptionKey>,
        effects: &mut Effects<'_>,
    ) {
        let Record { mut fact, mut pending } = record;
        let number = fact.number;
        let Some(channel) = self.channels.find_id(ChannelId(fact.channel)) else {
            self.write_removed(number, Urgency::Lazy, effects);
            return;
        };
        let owner = self.clients.find(&fact.client);
        let orphaned = fact.state == STATE_ACTIVE && owner.is_none();
        if orphaned && !fact.queue.is_empty() {
            let channel = self.channels[channel].name();
            effects.event(Event::GhostMember {
                client: &fact.client,
                channel,
                queue: &fact.queue,
            });
        }
        if orphaned && (fact.durable.is_empty() || !fact.queue.is_empty()) {
            self.write_removed(number, Urgency::Lazy, effects);
            return;
        }
        // What was never durable was never delivered; a store that lost more must not make the cursor run ahead.
        let last = self.channels[channel].log().last();
        fact.last_sent = fact.last_sent.min(last);
        pending.truncate_after(last);
        let state = fact.state;
        let key = self.insert_subscription(channel, fact);
        let subscription = &mut self.subscriptions[key];
        subscription.window.recover(pending, last);
        match (state, owner) {
            (STATE_ACTIVE, Some(client)) => {
                subscription.restart();
                self.attach(key, client);
                self.queue_cursor(key.into());
            }
            (STATE_DEPARTING, _) if subscription.group().is_some() => {
                subscription.depart(now);
                if let Some(group) = subscription.group() {
                    self.groups[group].begin_departing(key);
                }
                self.channels.remove_record(channel);
                self.queue_cursor(key.into());
            }
            _ => {
                subscription.suspend(None);
                if subscription.group().is_some() {
                    shadows.push(key);
                } else if orphaned {
                    self.write_subscription(key, Urgency::Lazy, effects);
                }
            }
        }
    }

    /// The record of a durable group without owner. Of several the one with the highest cursor counts (§5.9).
    fn adopt_shadow(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) {
        let Some(group_key) = self.subscriptions[key].group() else {
            return;
        };
        self.subscriptions[key].forget_owner();
        let group = &mut self.groups[group_key];
        let loser = match group.shadow() {
            None if group.members().is_empty() => return group.set_shadow(key),
            Some(other)
                if self.subscriptions[other].cursor.last_sent() < self.subscriptions[key].cursor.last_sent() =>
            {
                group.set_shadow(key);
                other
            }
            _ => key,
        };
        let channel = self.channels[group.channel()].name();
        effects.event(Event::SeveralShadows {
            channel,
            queue: group.name(),
        });
        self.drop_record(loser, effects);
    }

    fn drop_record(&mut self, key: SubscriptionKey, effects: &mut Effects<'_>) -> Position {
        let subscription = self.take_subscription(key);
        if subscription.phase() != Phase::Departing {
            self.channels.remove_record(subscription.channel());
        }
        self.write_removed(subscription.number(), Urgency::Lazy, effects)
    }

    /// Tells the groups who holds what.
    fn find_holders(&mut self) {
        for (key, subscription) in self.subscriptions.iter() {
            if let Some(group) = subscription.group() {
                for sequence in subscription
                    .window
                    .pending()
                    .runs_from(0)
                    .flat_map(|(first, last)| first..=last)
                {
                    self.groups[group].note_holder(sequence, key);
                }
            }
        }
    }

    /// Settles the cursors of groups, and drops groups of which only departed members are left.
    fn adopt_groups(&mut self, effects: &mut Effects<'_>) {
        let keys: Vec<GroupKey> = self.groups.keys().collect();
        for (_, subscription) in self.subscriptions.iter() {
            if let Some(group) = subscription.group() {
                self.groups[group].cursor.advance(subscription.cursor.last_sent());
            }
        }
        self.find_holders();
        for key in keys {
            let group = &self.groups[key];
            if !group.members().is_empty() || group.shadow().is_some() {
                if group.shadow().is_some() && group.departing().len() > 0 {
                    // The process ended before the group's record had taken over everything.
                    self.work.push(Work::Absorb(key, group.number()));
                }
                self.queue_cursor(key.into());
                continue;
            }
            while let Some(departed) = self.groups[key].pop_ownerless() {
                self.drop_record(departed, effects);
            }
            self.forget_group(key, effects);
        }
    }
}
