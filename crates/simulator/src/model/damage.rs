//! Messages that the store cannot read: they may be passed over, no others, and are owed from when they can be read again.

use std::rc::Rc;

use seaway_streaming::{StoredMessage, Unreadable};

use super::Model;
use super::state::{Due, Pending, Phase};

impl Model {
    /// A read begins.
    pub fn reads(&mut self, ticket: u64, channel: u64) {
        self.reading.insert(ticket, channel);
    }

    pub(crate) fn read_answered(&mut self, ticket: u64, messages: Result<&[StoredMessage<'_>], &Unreadable>) {
        let Some(channel) = self.reading.remove(&ticket) else {
            return self.object(format!("a read was answered that nobody asked for: {ticket}"));
        };
        match messages {
            Ok(messages) => {
                self.count("cold reads");
                for message in messages {
                    if self.damaged.remove(&(channel, message.sequence)) {
                        self.mended(channel, message.sequence);
                    }
                }
            }
            Err(found) if found.damaged => {
                self.count("damage found");
                self.damaged
                    .extend((found.from..=found.to).map(|sequence| (channel, sequence)));
            }
            Err(_) => {
                self.count("reads failed");
                self.read_failed_at = Some(self.now.monotonic);
            }
        }
    }

    /// From now on it is owed to those that passed it over.
    fn mended(&mut self, channel: u64, sequence: u64) {
        self.count("messages mended");
        let Some(name) = self.state.channel_of_id(channel).map(str::to_owned) else {
            return;
        };
        let latest = self.now.monotonic + 2 * self.options.damage_look_ns;
        for known in self
            .state
            .subscriptions
            .values_mut()
            .filter(|known| known.channel == name)
        {
            if known.pending.get(&sequence).is_some_and(|held| held.passed_over)
                && let Some(held) = Rc::make_mut(known).pending.get_mut(&sequence)
            {
                held.due = Due::Between(0, latest);
            }
        }
    }

    /// A subscription holds a message from now on, or still, that was not sent because it cannot be read.
    pub(crate) fn passing_over(&mut self, number: u64, sequence: u64) {
        self.count("messages passed over");
        self.passes_over = true;
        let Some(known) = self.state.subscriptions.get(&number).cloned() else {
            return self.object(format!("{sequence} was passed over for {number}, which is gone"));
        };
        let channel = &self.state.channels[&known.channel];
        if !self.damaged.contains(&(channel.id, sequence)) {
            return self.object(format!("{number} was not sent {sequence}, which can be read"));
        }
        if known.phase != Phase::Active {
            return self.object(format!("{number} passed {sequence} over while it is {:?}", known.phase));
        }
        let first = channel.first;
        let count = match self.holder(number, &known, sequence) {
            Some(holder) => {
                // Whoever takes it over from one that has left goes on counting.
                let count = self.held_by(&holder, sequence).map_or(0, |held| held.count);
                self.hand_over(number, &known, sequence, &holder);
                count
            }
            None => {
                let cursor = match &known.group {
                    None => known.cursor,
                    Some(group) => self.state.groups[&(known.channel.clone(), group.clone())].cursor,
                };
                let next = (cursor + 1).max(first);
                if sequence != next {
                    return self.object(format!("{number} passed {sequence} over and {next} is next"));
                }
                if let Some(group) = &known.group {
                    let group = self.state.group(&known.channel, group).expect("members have a group");
                    group.cursor = sequence;
                }
                let known = self.state.subscription(number).expect("it was just seen");
                known.cursor = known.cursor.max(sequence);
                0
            }
        };
        let known = self.state.subscription(number).expect("it was just seen");
        let held = Pending {
            count,
            due: Due::Between(0, u64::MAX),
            passed_over: true,
        };
        known.pending.insert(sequence, held);
        known.hold.remove(&sequence);
    }
}
