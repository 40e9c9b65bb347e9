//! Changes that an operator asks for: what each must lead to, and what it may not touch.

use std::collections::{BTreeMap, BTreeSet};

use seaway_streaming::{
    Asked, Change, ChangeId, Changed, ChannelLimits, Extent, Place, Reader, Settlement, Timestamp, Unchanged,
};

use super::overlay::overlay;
use super::state::{Due, Phase, Subscription};
use super::{Model, text};

/// A change, with names of its own.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Purge {
        channel: String,
        extent: Extent,
    },
    Remove {
        reader: Named,
        force: bool,
    },
    Move {
        reader: Named,
        to: Place,
    },
    Delete {
        channel: String,
        force: bool,
    },
    Disconnect {
        client: String,
    },
    Settle {
        reader: Named,
        sequence: u64,
        verdict: Settlement,
    },
    /// Pause it, or let it go on.
    Halt {
        reader: Named,
        pauses: bool,
    },
    Note,
    Limit {
        channel: String,
        reset: bool,
        set: ChannelLimits,
    },
}

/// A durable or a group.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    channel: String,
    client: String,
    durable: String,
    queue: String,
    /// Of one without a name.
    inbox: String,
}

/// The change that is being made.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    id: u64,
    is_rehearsal: bool,
    wanted: Wanted,
    /// What must come of it; none while a time is looked up for it.
    expected: Option<Verdict>,
    /// It was seen to be made.
    is_made: bool,
    /// Subscriptions that it removed, and of which the log goes on to tell.
    removed: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done(Changed),
    /// Done, or not found, or a conflict.
    Unclear,
    NotFound,
    Conflict,
}

/// Changes that are under way.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The one that the input at hand asks for.
    current: Option<Operation>,
    /// Those that wait for a time, by ticket; with the channel's id and last sequence when that was asked.
    seeking: BTreeMap<u64, (Operation, u64, u64)>,
    /// Those that were made: when they are durable, and what is to be told then.
    owed: BTreeMap<u64, (u64, Changed)>,
    /// Clients that are being closed for one.
    closing: BTreeMap<String, (u64, Changed)>,
}

impl Named {
    fn of(reader: Reader<'_>) -> Named {
        Named {
            channel: text(reader.channel),
            client: text(reader.client),
            durable: text(reader.durable),
            queue: text(reader.queue),
            inbox: String::new(),
        }
    }

    /// Channel, client, durable name, queue, and the inbox of one without names.
    pub(crate) fn name(known: &Subscription) -> (String, String, String, String, String) {
        let (channel, durable) = (known.channel.clone(), known.durable.clone());
        match &known.group {
            None if durable.is_empty() => (
                channel,
                known.client.clone(),
                durable,
                String::new(),
                known.inbox.clone(),
            ),
            None => (channel, known.client.clone(), durable, String::new(), String::new()),
            Some(name) => {
                let queue = name.strip_prefix(&format!("{durable}:")).unwrap_or(name);
                (channel, String::new(), durable, queue.to_owned(), String::new())
            }
        }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn is_group(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn group(&self) -> Option<String> {
        (!self.queue.is_empty()).then(|| super::names::group(&self.durable, &self.queue))
    }

    fn is(&self, known: &Subscription) -> bool {
        known.channel == self.channel
            && match self.group() {
                Some(group) => known.group.as_ref() == Some(&group),
                None => {
                    known.group.is_none()
                        && known.client == self.client
                        && known.durable == self.durable
                        && (!self.durable.is_empty() || known.inbox == self.inbox)
                }
            }
    }
}

impl Model {
    pub(crate) fn change_asked(&mut self, asked: Asked<'_>) {
        let wanted = match asked.change {
            Change::Purge { channel, extent } => Wanted::Purge {
                channel: text(channel),
                extent,
            },
            Change::Remove { reader, force } => Wanted::Remove {
                reader: Named::of(reader),
                force,
            },
            Change::Move { reader, to } => Wanted::Move {
                reader: Named::of(reader),
                to,
            },
            Change::Delete { channel, force } => Wanted::Delete {
                channel: text(channel),
                force,
            },
            Change::Disconnect { client } => Wanted::Disconnect { client: text(client) },
            Change::Settle {
                reader,
                sequence,
                verdict,
            } => Wanted::Settle {
                reader: Named::of(reader),
                sequence,
                verdict,
            },
            Change::Pause { reader, inbox } | Change::Resume { reader, inbox } => Wanted::Halt {
                reader: Named {
                    inbox: text(inbox),
                    ..Named::of(reader)
                },
                pauses: matches!(asked.change, Change::Pause { .. }),
            },
            Change::Note { .. } => Wanted::Note,
            Change::Limit { channel, reset, set } => Wanted::Limit {
                channel: text(channel),
                reset,
                set,
            },
        };
        self.begin_change(Operation {
            id: asked.id.0,
            is_rehearsal: asked.is_rehearsal,
            wanted,
            expected: None,
            is_made: false,
            removed: BTreeSet::new(),
        });
    }

    fn begin_change(&mut self, mut operation: Operation) {
        operation.expected = Some(self.verdict(&operation.wanted));
        self.changes.current = Some(operation);
    }

    fn verdict(&self, wanted: &Wanted) -> Verdict {
        match wanted {
            Wanted::Purge { channel, extent } => match self.is_changeable(channel) {
                Ok(()) => self.purge_verdict(channel, *extent),
                Err(verdict) => *verdict,
            },
            Wanted::Delete { channel, force } => match self.is_changeable(channel) {
                Ok(()) => self.delete_verdict(channel, *force),
                Err(verdict) => *verdict,
            },
            Wanted::Remove { reader, force } => {
                let found = self.found(reader);
                let members = found.iter().filter(|number| self.is_active(**number)).count();
                match self.is_changeable(&reader.channel) {
                    Err(verdict) => *verdict,
                    Ok(()) if found.is_empty() => Verdict::NotFound,
                    Ok(()) if members > 0 && !force => Verdict::Conflict,
                    Ok(()) => Verdict::Done(Changed::Removed { members, pending: 0 }),
                }
            }
            Wanted::Move { reader, to } => match self.is_changeable(&reader.channel) {
                Err(verdict) => *verdict,
                Ok(()) => self.move_verdict(reader, *to),
            },
            Wanted::Settle {
                reader,
                sequence,
                verdict,
            } => match self.is_changeable(&reader.channel) {
                Err(verdict) => *verdict,
                Ok(()) => self.settle_verdict(reader, *sequence, *verdict),
            },
            Wanted::Halt { reader, pauses } => match self.is_changeable(&reader.channel) {
                Err(verdict) => *verdict,
                Ok(()) => self.halt_verdict(reader, *pauses),
            },
            Wanted::Note => Verdict::Done(Changed::Noted),
            Wanted::Limit { channel, reset, set } => match self.is_changeable(channel) {
                Err(verdict) => *verdict,
                Ok(()) => self.limit_verdict(channel, *reset, set),
            },
            Wanted::Disconnect { client } => match self.state.clients.get(client) {
                Some(known) if !known.closing => {
                    let owns =
                        |known: &&std::rc::Rc<Subscription>| known.client == *client && known.phase != Phase::Offline;
                    let subscriptions = self.state.subscriptions.values().filter(owns).count();
                    Verdict::Done(Changed::Disconnected { subscriptions })
                }
                _ => Verdict::NotFound,
            },
        }
    }

    fn is_changeable(&self, channel: &str) -> Result<(), Box<Verdict>> {
        match self.state.channels.get(channel) {
            None => Err(Box::new(Verdict::NotFound)),
            Some(channel) if channel.deleted_at.is_some() => Err(Box::new(Verdict::Conflict)),
            Some(_) => Ok(()),
        }
    }

    fn is_active(&self, number: u64) -> bool {
        self.state.subscriptions[&number].phase != Phase::Offline
    }

    pub(crate) fn found(&self, reader: &Named) -> Vec<u64> {
        let known = self.state.subscriptions.iter().filter(|(_, known)| reader.is(known));
        known.map(|(number, _)| *number).collect()
    }

    /// The first message of a channel that is not older than a time.
    fn first_since(&self, channel: &str, time: Timestamp) -> u64 {
        let channel = &self.state.channels[channel];
        let mut messages = channel.messages.iter();
        let found = messages.find(|(_, message)| message.timestamp >= time.0);
        found.map_or(channel.last + 1, |(sequence, _)| *sequence)
    }

    fn purge_verdict(&self, channel: &str, extent: Extent) -> Verdict {
        let up_to = match extent {
            Extent::All => u64::MAX,
            Extent::UpTo(sequence) => sequence,
            Extent::Before(time) => self.first_since(channel, time) - 1,
        };
        let known = &self.state.channels[channel];
        let told = known
            .messages
            .iter()
            .rev()
            .find(|(_, message)| message.position <= self.told);
        let durable = told.map_or(0, |(sequence, _)| *sequence);
        let below = up_to.min(durable).saturating_add(1);
        let messages = known.messages.range(..below).count() as u64;
        Verdict::Done(Changed::Purged {
            messages,
            first: if messages == 0 { known.first } else { below },
            last: known.last,
        })
    }

    fn delete_verdict(&self, channel: &str, force: bool) -> Verdict {
        let known = &self.state.channels[channel];
        let subscriptions = self
            .state
            .subscriptions
            .iter()
            .filter(|(_, known)| known.channel == channel);
        let active = subscriptions.filter(|(number, _)| self.is_active(**number)).count();
        if self.is_seeking(channel) || (active > 0 && !force) {
            return Verdict::Conflict;
        }
        Verdict::Done(Changed::Deleted {
            messages: known.messages.len() as u64,
            bytes: known.bytes(u64::from(self.options.message_overhead)),
            subscriptions: self.state.records(channel),
            active,
        })
    }

    fn move_verdict(&self, reader: &Named, to: Place) -> Verdict {
        let found = self.found(reader);
        let Some(one) = found.first() else {
            return Verdict::NotFound;
        };
        let channel = &self.state.channels[&reader.channel];
        let cursor = match reader.group() {
            Some(group) => self.state.groups[&(reader.channel.clone(), group)].cursor,
            None => self.state.subscriptions[one].cursor,
        };
        let wanted = match to {
            Place::Start => 0,
            Place::End => u64::MAX,
            Place::Sequence(sequence) => sequence,
            Place::Time(time) => self.first_since(&reader.channel, time),
        };
        Verdict::Done(Changed::Moved {
            from: (cursor + 1).max(channel.first),
            to: wanted.clamp(channel.first.max(1), channel.last + 1),
            pending: 0,
        })
    }

    /// What was acknowledged before a crash, or is with somebody who left, is pending for one who is not in sight: either is right then.
    fn settle_verdict(&self, reader: &Named, sequence: u64, verdict: Settlement) -> Verdict {
        let found = self.found(reader);
        if found.is_empty() || sequence < self.state.channels[&reader.channel].first {
            return Verdict::NotFound;
        }
        let known = |number: &&u64| self.state.subscriptions[number].pending.contains_key(&sequence);
        let may_be = |number: &u64| self.state.subscriptions[number].maybe.contains(&sequence);
        let group = reader
            .group()
            .and_then(|group| self.state.groups.get(&(reader.channel.clone(), group)));
        let floats = group.is_some_and(|group| group.floating.contains_key(&sequence));
        match found.iter().find(known) {
            None if floats || found.iter().any(may_be) => Verdict::Unclear,
            None => Verdict::NotFound,
            Some(holder) if verdict == Settlement::Redeliver => match self.state.subscriptions[holder].phase {
                Phase::Active if self.state.is_halted(&self.state.subscriptions[holder]) => Verdict::Conflict,
                Phase::Active => Verdict::Done(Changed::Settled { pending: 0 }),
                Phase::Unconfirmed | Phase::Offline => Verdict::Conflict,
            },
            Some(_) => Verdict::Done(Changed::Settled { pending: 0 }),
        }
    }

    /// Each limit: what is set now, or else what was set before, or else what the configuration says.
    fn limit_verdict(&self, channel: &str, reset: bool, set: &ChannelLimits) -> Verdict {
        let known = &self.state.channels[channel];
        let before = if reset { ChannelLimits::default() } else { known.limits };
        let own = ChannelLimits {
            max_subscriptions: set.max_subscriptions.or(before.max_subscriptions),
            max_messages: set.max_messages.or(before.max_messages),
            max_bytes: set.max_bytes.or(before.max_bytes),
            max_age_ns: set.max_age_ns.or(before.max_age_ns),
            max_inactivity_ns: set.max_inactivity_ns.or(before.max_inactivity_ns),
        };
        let limits = overlay(self.configured_limits(channel), &own);
        let messages = known.messages.len() as u64;
        let surplus = match limits.max_messages {
            0 => 0,
            most => messages.saturating_sub(most),
        };
        Verdict::Done(Changed::Limited {
            limits,
            set: own,
            surplus,
        })
    }

    fn limit(&mut self, channel: &str, own: ChannelLimits) {
        self.remember_without_newest();
        let now = self.now.monotonic;
        let known = self.state.channel(channel).expect("it was just seen");
        known.limits = own;
        known.idle_since = now;
        self.remember();
    }

    fn settle(&mut self, reader: &Named, sequence: u64, verdict: Settlement) {
        let now = self.now.monotonic;
        for number in self.found(reader) {
            let known = self.state.subscription(number).expect("it was just seen");
            if verdict == Settlement::Acknowledge {
                let was_there = known.pending.remove(&sequence).is_some() | known.maybe.remove(&sequence);
                known.hold.remove(&sequence);
                if was_there {
                    known.acked_unrecorded.insert(sequence);
                }
            } else if let Some(pending) = known.pending.get_mut(&sequence) {
                let (Due::Between(_, latest) | Due::ByTimestamp(latest)) = pending.due;
                pending.due = Due::Between(now, latest);
                // It comes by its time, and no longer in its turn among those that a restart sends again.
                known.hold.remove(&sequence);
            }
        }
        let group = reader
            .group()
            .and_then(|group| self.state.group(&reader.channel, &group));
        if let Some(group) = group.filter(|_| verdict == Settlement::Acknowledge) {
            group.floating.remove(&sequence);
        }
    }

    /// A time is looked up for the change at hand; false when there is none.
    pub(crate) fn change_seeks(&mut self, ticket: u64, channel: u64, timestamp: i64, awaited: bool) -> bool {
        let Some(operation) = &self.changes.current else {
            return false;
        };
        let (named, time) = match operation.wanted.clone() {
            Wanted::Purge {
                channel,
                extent: Extent::Before(time),
            } => (channel, time),
            Wanted::Move {
                reader,
                to: Place::Time(time),
            } => (reader.channel, time),
            wanted => {
                let text = format!("a time is looked up for {wanted:?}");
                self.object(text);
                return true;
            }
        };
        if self.state.channel_of_id(channel) != Some(named.as_str()) || time.0 != timestamp {
            self.object("another time is looked up for a change");
        }
        if awaited {
            self.count("changes that wait for a time");
            let operation = self.changes.current.take().expect("it was just seen");
            let last = self.state.channels[&named].last;
            self.changes.seeking.insert(ticket, (operation, channel, last));
        }
        true
    }

    /// A time was found for a change; false when it was not for one.
    pub(crate) fn change_sought(&mut self, ticket: u64, sequence: Result<u64, &str>) -> bool {
        let Some((mut operation, id, last)) = self.changes.seeking.remove(&ticket) else {
            return false;
        };
        let Ok(sequence) = sequence else {
            self.changes.current = Some(operation);
            self.refusal.get_or_insert_default();
            return true;
        };
        let (channel, time) = match &mut operation.wanted {
            Wanted::Purge { channel, extent } => {
                let Extent::Before(time) = std::mem::replace(extent, Extent::UpTo(sequence.saturating_sub(1))) else {
                    return true;
                };
                (channel.clone(), time)
            }
            Wanted::Move { reader, to } => {
                let Place::Time(time) = std::mem::replace(to, Place::Sequence(sequence)) else {
                    return true;
                };
                (reader.channel.clone(), time)
            }
            _ => return true,
        };
        let known = self.state.channels.get(&channel);
        let Some(known) = known.filter(|known| known.id == id) else {
            operation.expected = Some(Verdict::NotFound);
            self.changes.current = Some(operation);
            return true;
        };
        {
            // What came meanwhile was not asked about.
            let before = known.messages.range(..sequence).next_back();
            let behind = known
                .messages
                .range(sequence..)
                .next()
                .filter(|(found, _)| **found <= last);
            let fits = before.is_none_or(|(_, message)| message.timestamp < time.0)
                && behind.is_none_or(|(_, message)| message.timestamp >= time.0);
            // Of a channel that is being deleted the store knows no times, and one that failed changes nothing by what it says.
            if !fits && known.deleted_at.is_none() && !self.poisoned {
                self.object(format!(
                    "{sequence} is not the first message of {channel} since {time:?}"
                ));
            }
        }
        self.begin_change(operation);
        true
    }

    /// The first sequence of a channel after the purge at hand, if there is one.
    pub(crate) fn purged_to(&mut self, channel: &str) -> Option<u64> {
        let operation = self.changes.current.as_mut()?;
        match (&operation.wanted, operation.expected) {
            (Wanted::Purge { channel: purged, .. }, Some(Verdict::Done(Changed::Purged { messages, first, .. })))
                if purged == channel && messages > 0 && !operation.is_rehearsal && !operation.is_made =>
            {
                operation.is_made = true;
                Some(first)
            }
            _ => None,
        }
    }

    /// Whether the deletion of a channel is what the change at hand asks for.
    pub(crate) fn is_deleted_by_change(&self, channel: &str) -> bool {
        let operation = self.changes.current.as_ref();
        operation.is_some_and(|operation| {
            let is_meant = matches!(&operation.wanted, Wanted::Delete { channel: deleted, .. } if deleted == channel);
            is_meant && operation.is_made
        })
    }

    /// Whether the end of a subscription follows from the change at hand, which was accounted for.
    pub(crate) fn is_removed_by_change(&mut self, number: u64) -> bool {
        let operation = self.changes.current.as_mut();
        operation.is_some_and(|operation| operation.removed.remove(&number))
    }

    /// The engine says what it changes.
    pub(crate) fn change_made(&mut self, changed: Changed) {
        let Some(mut operation) = self.changes.current.take() else {
            return self.object(format!("{changed:?} was changed, which nobody asked for"));
        };
        let is_purge = matches!(operation.wanted, Wanted::Purge { .. });
        let fits = operation.expected.is_some_and(|expected| fits(expected, changed));
        if operation.is_rehearsal || operation.is_made != is_purge || !fits {
            self.object(format!("{changed:?} was changed, and expected is {operation:?}"));
        }
        operation.is_made = true;
        match &operation.wanted {
            Wanted::Purge { .. } => {
                self.count("purges");
                // What is pending of messages that went is forgotten, a slice at a time.
                self.members_change = true;
            }
            Wanted::Remove { reader, .. } => {
                self.count("durables and groups removed");
                operation.removed = self.remove_reader(&reader.clone());
            }
            Wanted::Move { reader, .. } => {
                let reader = reader.clone();
                if let Changed::Moved { from, to, .. } = changed {
                    self.count(if to < from { "moves back" } else { "moves forward" });
                    self.move_reader(&reader, to - 1);
                }
            }
            Wanted::Settle {
                reader,
                sequence,
                verdict,
            } => {
                self.count("messages settled by an operator");
                let (reader, sequence, verdict) = (reader.clone(), *sequence, *verdict);
                self.settle(&reader, sequence, verdict);
            }
            Wanted::Limit { channel, .. } => {
                let channel = channel.clone();
                if let Changed::Limited { set, .. } = changed {
                    self.count("limits set");
                    self.limit(&channel, set);
                }
            }
            Wanted::Halt { reader, pauses } => {
                self.count(if *pauses {
                    "pauses by an operator"
                } else {
                    "resumptions by an operator"
                });
                let (reader, pauses) = (reader.clone(), *pauses);
                self.halt(&reader, pauses);
            }
            Wanted::Note => self.count("notes"),
            Wanted::Delete { .. } => self.count("channels deleted by an operator"),
            Wanted::Disconnect { client } => {
                self.count("clients disconnected by an operator");
                let client = client.clone();
                if let Some(known) = self.state.client(&client) {
                    known.closing = true;
                    known.heartbeat = None;
                }
                self.changes.closing.insert(client, (operation.id, changed));
            }
        }
        self.changes.current = Some(operation);
        // What the audit says is written behind this.
        self.state.changes += 1;
    }

    fn remove_reader(&mut self, reader: &Named) -> BTreeSet<u64> {
        self.remember();
        let removed: BTreeSet<u64> = self.found(reader).into_iter().collect();
        let was_used = removed.iter().any(|number| self.is_active(*number));
        for number in &removed {
            self.state.subscriptions.remove(number);
            self.paused.remove(number);
        }
        if let Some(group) = reader.group() {
            self.state.groups.remove(&(reader.channel.clone(), group));
        }
        let (now, is_used) = (self.now.monotonic, self.state.is_used(&reader.channel));
        if let Some(channel) = self.state.channel(&reader.channel).filter(|_| was_used && !is_used) {
            channel.idle_since = now;
        }
        removed
    }

    fn move_reader(&mut self, reader: &Named, cursor: u64) {
        self.remember_without_newest();
        for number in self.found(reader) {
            let known = self.state.subscription(number).expect("it was just seen");
            known.cursor = cursor;
            known.recorded_cursor = cursor;
            known.pending.clear();
            known.hold.clear();
            known.maybe.clear();
            known.acked_unrecorded.clear();
        }
        if let Some(group) = reader
            .group()
            .and_then(|group| self.state.group(&reader.channel, &group))
        {
            group.cursor = cursor;
            group.recorded_cursor = cursor;
            group.floating.clear();
            group.moved_unrecorded.clear();
        }
        self.members_change = true;
        self.remember();
    }

    /// The record of a client that is gone is the next one.
    pub(crate) fn disconnected(&mut self, client: &str) {
        if let Some((id, changed)) = self.changes.closing.remove(client) {
            self.changes.owed.insert(id, (self.appended + 1, changed));
        }
    }

    /// The engine tells what came of a change.
    pub fn change_told(&mut self, id: ChangeId, outcome: Result<Changed, Unchanged>) {
        if let Some((position, expected)) = self.changes.owed.remove(&id.0) {
            match outcome {
                Ok(changed) if position > self.durable => {
                    self.object(format!("{changed:?} was told before it is durable"));
                }
                Ok(changed) if fits(Verdict::Done(expected), changed) => self.count("changes told"),
                Err(Unchanged::Unavailable(_)) if self.poisoned => self.count("changes that failed"),
                outcome => self.object(format!("{outcome:?} was told, and true is {expected:?}")),
            }
            return;
        }
        if self.poisoned {
            let closing = &mut self.changes.closing;
            closing.retain(|_, (known, _)| *known != id.0);
            self.changes.seeking.retain(|_, (operation, ..)| operation.id != id.0);
            self.changes.current = None;
            return;
        }
        let Some(operation) = self.changes.current.take_if(|operation| operation.id == id.0) else {
            return self.object(format!("{outcome:?} was told of a change that nobody asked for"));
        };
        let is_right = match (&outcome, operation.expected) {
            (Err(Unchanged::Unavailable(_)), _) => self.refusal.is_some(),
            (Err(Unchanged::NotFound(_)), Some(Verdict::NotFound)) => true,
            (Err(Unchanged::Conflict(_)), Some(Verdict::Conflict)) => true,
            (Err(_), Some(Verdict::Unclear)) => true,
            // To be sent again at once is nothing that is written down.
            (Ok(changed @ Changed::Settled { .. }), Some(expected)) if operation.is_made => fits(expected, *changed),
            (Ok(changed), Some(expected)) => {
                let changes_nothing = self.changes_nothing(&operation, changed);
                (operation.is_rehearsal || changes_nothing) && !operation.is_made && fits(expected, *changed)
            }
            _ => false,
        };
        self.count(match (&outcome, operation.is_rehearsal) {
            (Ok(_), true) => "changes rehearsed",
            (Ok(_), false) => "changes of nothing",
            (Err(_), _) => "changes refused",
        });
        if !is_right {
            self.object(format!("{outcome:?} was told of {operation:?}"));
        }
    }

    /// Whether it is as it was asked for already.
    fn changes_nothing(&self, operation: &Operation, changed: &Changed) -> bool {
        match (&operation.wanted, changed) {
            (Wanted::Halt { reader, pauses }, Changed::Paused { .. } | Changed::Resumed { .. }) => {
                let found = self.found_one(reader);
                found.is_some_and(|known| self.state.is_halted(&self.state.subscriptions[&known]) == *pauses)
            }
            (Wanted::Limit { channel, .. }, Changed::Limited { set, .. }) => {
                let known = self.state.channels.get(channel);
                known.is_some_and(|known| known.limits == *set)
            }
            (_, changed) => matches!(changed, Changed::Purged { messages: 0, .. }),
        }
    }

    /// The input was handled: a change that was not told of was made, and is told of when it is durable.
    pub(crate) fn finish_change(&mut self) {
        let Some(operation) = self.changes.current.take() else {
            return;
        };
        let expected = match operation.expected {
            // A crash must not bring back what is said to be gone already, by a change before this one that is not durable yet.
            Some(Verdict::Done(nothing)) if !operation.is_rehearsal && self.changes_nothing(&operation, &nothing) => {
                Some(nothing)
            }
            Some(Verdict::Unclear) if operation.is_made => Some(Changed::Settled { pending: 0 }),
            Some(Verdict::Done(changed)) if operation.is_made => Some(changed),
            _ => None,
        };
        let Some(changed) = expected else {
            return self.object(format!("a change was taken and nothing came of it: {operation:?}"));
        };
        if !matches!(operation.wanted, Wanted::Disconnect { .. }) {
            self.changes.owed.insert(operation.id, (self.appended, changed));
        }
    }

    /// Nothing is left to do: no change waits.
    pub(crate) fn changes_rest(&mut self) {
        if !self.changes.owed.is_empty() || !self.changes.closing.is_empty() || !self.changes.seeking.is_empty() {
            let text = format!("nobody tells of changes: {:?}", self.changes);
            self.object(text);
        }
    }

    /// Durables and groups that exist: channel, client, durable name, queue.
    pub fn named_readers(&self) -> Vec<(String, String, String, String)> {
        let known = self.state.subscriptions.values();
        let readers: BTreeSet<(String, String, String, String)> = known
            .filter(|known| known.group.is_some() || !known.durable.is_empty())
            .map(|known| {
                let (channel, client, durable, queue, _) = Named::name(known);
                (channel, client, durable, queue)
            })
            .collect();
        readers.into_iter().collect()
    }
}

/// Whether what was told is what was expected. How much is pending is known for certain only at rest.
fn fits(expected: Verdict, told: Changed) -> bool {
    let expected = match expected {
        Verdict::Done(expected) => expected,
        Verdict::Unclear => return matches!(told, Changed::Settled { .. }),
        Verdict::NotFound | Verdict::Conflict => return false,
    };
    match (expected, told) {
        (Changed::Settled { .. }, Changed::Settled { .. }) => true,
        (Changed::Removed { members, .. }, Changed::Removed { members: told, .. })
        | (Changed::Paused { members, .. }, Changed::Paused { members: told, .. })
        | (Changed::Resumed { members, .. }, Changed::Resumed { members: told, .. }) => members == told,
        (
            Changed::Moved { from, to, .. },
            Changed::Moved {
                from: told_from,
                to: told_to,
                ..
            },
        ) => (from, to) == (told_from, told_to),
        // Bytes of what was purged just before may still count.
        (
            Changed::Deleted {
                messages,
                subscriptions,
                active,
                ..
            },
            Changed::Deleted {
                messages: told_messages,
                subscriptions: told_subscriptions,
                active: told_active,
                ..
            },
        ) => (messages, subscriptions, active) == (told_messages, told_subscriptions, told_active),
        (expected, told) => expected == told,
    }
}
