//! What a crash may take back, and what it may not (`streaming-protocol.md` §5.7, §5.9).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use seaway_streaming::{ChannelSnapshot, ClientSnapshot, Now, Options, SubscriptionSnapshot};

use super::state::{Due, Floating, Group, Pending, Phase, State, Subscription};
use super::{Current, Model};
use crate::settings::ChosenLimits;

impl Model {
    /// A server has opened its store, in which everything up to `position` was found; `None` for a store that forgets.
    pub fn life_begins(&mut self, now: Now, position: Option<u64>, options: Options, limits: ChosenLimits) {
        if let Some(position) = position
            && position < self.durable
        {
            self.object(format!(
                "the store went back to {position} after {} was durable",
                self.durable
            ));
        }
        let recovered = position.unwrap_or(0);
        let state = match position {
            None => State::default(),
            Some(position) => {
                let found = self.history.iter().rev().find(|(at, _)| *at <= position);
                found.map(|(_, state)| state.clone()).unwrap_or_default()
            }
        };
        if self.history.back().is_some_and(|(at, _)| *at > recovered) {
            self.count("records taken back");
        }
        self.options = options;
        self.limits = limits;
        self.state = state;
        self.appended = recovered;
        self.durable = recovered;
        self.told = recovered;
        self.history.clear();
        self.now = now;
        self.wall_lead = now.wall.0 - i64::try_from(now.monotonic).unwrap_or(i64::MAX);
        (self.believed_lead, self.claimed_lead) = (self.wall_lead, None);
        self.lead_before = None;
        self.life_began = now.monotonic;
        self.poisoned = false;
        self.bus_up = true;
        (self.bus_up_since, self.bus_settles_at) = (0, 0);
        self.current = Current::Nothing;
        self.expected.clear();
        self.seeking.clear();
        self.paused.clear();
        self.closes.clear();
        self.changes = super::changes::Changes::default();
        self.gone_logs.clear();
        self.succession = None;
        self.sent = None;
        self.read_failed_at = None;
        self.reading.clear();
        self.damaged.clear();
        self.passes_over = false;
        self.rested_at = None;
        self.totals = super::Totals::default();
        self.forget_deleted();
        self.clients_begin_again();
        self.history.push_back((recovered, self.state.clone()));
    }

    fn forget_deleted(&mut self) {
        let gone: Vec<String> = self
            .state
            .channels
            .iter()
            .filter(|(_, channel)| channel.deleted_at.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.forget_channel(&name);
        }
    }

    fn clients_begin_again(&mut self) {
        let (now, due) = (
            self.now.monotonic,
            self.now.monotonic + self.options.heartbeat_interval_ns,
        );
        for client in self.state.clients.values_mut() {
            let client = Rc::make_mut(client);
            client.closing = false;
            client.contender = None;
            client.heartbeat = None;
            client.heartbeat_due = due;
            client.failed = 0;
            client.failures = 0;
        }
        for channel in self.state.channels.values_mut() {
            let channel = Rc::make_mut(channel);
            channel.last_activity = now;
            channel.idle_since = now;
            channel.unwritten_at = now;
        }
        for subscription in self.state.subscriptions.values_mut() {
            let subscription = Rc::make_mut(subscription);
            subscription.healthy_since = 0;
            subscription.hold.clear();
            if subscription.phase == Phase::Offline && subscription.group.is_some() {
                subscription.client.clear();
            }
            if subscription.phase == Phase::Unconfirmed {
                subscription.phase = Phase::Active;
            }
        }
    }

    /// The restarted server shows what it found: cursors that were not on record for certain are learnt from it, everything
    /// else must be as it was.
    pub fn life_began(&mut self, channels: &[ChannelSnapshot], clients: &[ClientSnapshot]) {
        for channel in channels {
            // A crash in the middle of a request may leave the channel it created.
            if !self.state.channels.contains_key(&channel.name) && channel.messages == 0 && channel.last_sequence == 0 {
                self.count("channels left by a crash");
                self.learn_channel(&channel.name);
            }
            let pairs = self.pair(&channel.name, &channel.subscriptions);
            let mut groups: BTreeMap<String, u64> = BTreeMap::new();
            for (number, shown) in &pairs {
                let known = self.state.subscriptions[number].clone();
                match &known.group {
                    None => self.recover_plain(*number, &known, shown),
                    Some(group) => {
                        let cursor = groups.entry(group.clone()).or_default();
                        *cursor = shown.last_sent.max(*cursor);
                        self.learn_ack_inbox(*number, shown);
                    }
                }
            }
            for (group, cursor) in groups {
                self.recover_group(&channel.name, &group, cursor);
            }
        }
        self.compare_clients(clients);
        self.remember();
    }

    fn learn_channel(&mut self, name: &str) {
        self.add_channel(name);
    }

    fn learn_ack_inbox(&mut self, number: u64, shown: &SubscriptionSnapshot) {
        if let Some(known) = self.state.subscription(number)
            && known.ack_inbox.is_none()
        {
            known.ack_inbox = Some(shown.ack_inbox.clone());
        }
    }

    fn recover_plain(&mut self, number: u64, known: &Subscription, shown: &SubscriptionSnapshot) {
        let cursor = shown.last_sent;
        if cursor < known.recorded_cursor || cursor > known.cursor {
            self.object(format!(
                "{number} came back with cursor {cursor}, and {}..={} is what was sent",
                known.recorded_cursor, known.cursor
            ));
        }
        if cursor < known.cursor {
            self.count("deliveries taken back");
        }
        self.learn_ack_inbox(number, shown);
        let recovered = recover_pending(known, cursor);
        let hold = self.overdue_at_start(known, &recovered.0);
        let known = self.state.subscription(number).expect("the caller has seen it");
        (known.pending, known.maybe) = recovered;
        known.cursor = cursor;
        known.recorded_cursor = cursor;
        known.acked_unrecorded.clear();
        known.hold = hold;
    }

    /// What is past its deadline at the start is sent again before anything new.
    fn overdue_at_start(&self, known: &Subscription, pending: &BTreeMap<u64, Pending>) -> BTreeSet<u64> {
        let Some(channel) = self.state.channels.get(&known.channel) else {
            return BTreeSet::new();
        };
        if known.phase != Phase::Active {
            return BTreeSet::new();
        }
        let wall = i128::from(self.now.wall.0);
        let due = |sequence: &&u64| {
            channel
                .messages
                .get(sequence)
                .is_some_and(|message| i128::from(message.timestamp) + i128::from(known.ack_wait) <= wall)
        };
        pending.keys().filter(due).copied().collect()
    }

    fn recover_group(&mut self, channel: &str, name: &str, cursor: u64) {
        let Some(group) = self.state.groups.get(&(channel.to_owned(), name.to_owned())).cloned() else {
            return;
        };
        if cursor < group.recorded_cursor || cursor > group.cursor {
            self.object(format!(
                "group {name} of {channel} came back with cursor {cursor}, and {}..={} is what was sent",
                group.recorded_cursor, group.cursor
            ));
        }
        let mut floating: BTreeMap<u64, Floating> = BTreeMap::new();
        for (sequence, left) in &group.floating {
            let left = Floating { count: 0, ..*left };
            floating.insert(*sequence, left);
        }
        for number in group.members.iter().chain(&group.shadow) {
            let known = self.state.subscriptions[number].clone();
            let (mut pending, maybe) = recover_pending(&known, cursor);
            // One that changed hands may be with either.
            let moved: Vec<u64> = pending
                .keys()
                .filter(|sequence| group.moved_unrecorded.contains(sequence))
                .copied()
                .collect();
            for sequence in moved {
                pending.remove(&sequence);
                floating.insert(sequence, adrift(true));
            }
            for sequence in maybe {
                floating.entry(sequence).or_insert(adrift(false));
            }
            let hold = self.overdue_at_start(&known, &pending);
            let known = self.state.subscription(*number).expect("groups name what exists");
            known.cursor = known.cursor.min(cursor);
            known.recorded_cursor = known.cursor;
            known.pending = pending;
            known.maybe.clear();
            known.acked_unrecorded.clear();
            known.hold = hold;
        }
        let members: Vec<u64> = group.members.iter().chain(&group.shadow).copied().collect();
        floating.retain(|sequence, left| {
            let held = members
                .iter()
                .any(|member| self.state.subscriptions[member].pending.contains_key(sequence));
            left.owed || !held
        });
        let group = self.state.group(channel, name).expect("it was just seen");
        *group = Group {
            cursor,
            recorded_cursor: cursor,
            floating,
            moved_unrecorded: BTreeSet::new(),
            members: group.members.clone(),
            halted: group.halted,
            shadow: group.shadow,
        };
    }
}

/// What a subscription holds after a restart that found this cursor: what it holds for certain, and what an ack that may be
/// lost had removed.
fn recover_pending(known: &Subscription, cursor: u64) -> (BTreeMap<u64, Pending>, BTreeSet<u64>) {
    let pending: BTreeMap<u64, Pending> = known
        .pending
        .range(..=cursor)
        .map(|(sequence, _)| {
            let pending = Pending {
                count: 0,
                due: Due::ByTimestamp(u64::MAX),
                passed_over: false,
            };
            (*sequence, pending)
        })
        .collect();
    let maybe = known
        .maybe
        .union(&known.acked_unrecorded)
        .filter(|sequence| **sequence <= cursor && !pending.contains_key(sequence))
        .copied()
        .collect();
    (pending, maybe)
}

fn adrift(owed: bool) -> Floating {
    Floating {
        count: 0,
        owed,
        counted: true,
    }
}
