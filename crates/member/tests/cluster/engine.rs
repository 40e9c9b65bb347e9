//! An engine as far as a store can tell: it appends what is its own, reads, writes checkpoints, and announces what is durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use seaway_member::{ReplicatedStore, SharedMember};
use seaway_store::{Completion, Recovery, Store};
use seaway_streaming::{ChannelId, Need, Position, ReadRequest, Records, Ticket, Urgency};

use crate::judge::{Judge, Record};

#[derive(Default)]
struct Recovered {
    facts: Vec<(u8, Vec<u8>)>,
    channels: BTreeMap<u64, (u64, u64)>,
}

impl Recovery for Recovered {
    fn fact(&mut self, kind: u8, body: &[u8]) {
        self.facts.push((kind, body.to_vec()));
    }

    fn channel_deleted(&mut self, channel: ChannelId) {
        self.channels.remove(&channel.0);
    }

    fn channel(&mut self, channel: ChannelId, first: u64, last: u64, _bytes: u64, _last_timestamp: i64) {
        self.channels.insert(channel.0, (first, last));
    }
}

pub(crate) struct Engine {
    pub(crate) store: ReplicatedStore,
    facts: Vec<(u8, Vec<u8>)>,
    /// First and last message of each channel.
    channels: BTreeMap<u64, (u64, u64)>,
    waiting: VecDeque<(Position, Record)>,
    reads: BTreeMap<u64, (ChannelId, u64)>,
    next_ticket: u64,
    wants_checkpoint: bool,
    pub(crate) is_over: bool,
}

impl Engine {
    /// Takes over, if the term still lasts.
    pub(crate) fn open(member: &SharedMember, term: u64, judge: &mut Judge) -> Result<Option<Engine>, String> {
        let mut recovered = Recovered::default();
        // Otherwise it is over by now, or the disk has crashed.
        let Ok(store) = member.open_store(term, &mut recovered, Arc::default(), || {}) else {
            return Ok(None);
        };
        judge.begins(&recovered.facts, &recovered.channels)?;
        Ok(Some(Engine {
            store,
            facts: recovered.facts,
            channels: recovered.channels,
            waiting: VecDeque::new(),
            reads: BTreeMap::new(),
            next_ticket: 0,
            wants_checkpoint: false,
            is_over: false,
        }))
    }

    /// One pass: some of everything. `number` is never given twice.
    pub(crate) fn pass(
        &mut self,
        random: &mut fastrand::Rng,
        number: &mut u64,
        judge: &mut Judge,
    ) -> Result<u64, String> {
        self.complete(judge)?;
        if self.is_over {
            return Ok(0);
        }
        for _ in 0..random.u8(..4) {
            *number += 1;
            self.append(random, *number);
        }
        if random.u8(..4) == 0 {
            self.read(random);
        }
        let pressure = self.store.pressure(0);
        if pressure.urgent || (pressure.lazy && random.bool()) {
            self.store.submit();
        }
        let is_written = std::mem::take(&mut self.wants_checkpoint) && self.checkpoint();
        self.complete(judge)?;
        Ok(u64::from(is_written))
    }

    fn append(&mut self, random: &mut fastrand::Rng, number: u64) {
        if self.store.pressure(400).is_behind || self.store.admission(Need::Ordinary, 400).is_err() {
            return;
        }
        let channel = ChannelId(1 + random.u64(..3));
        let (first, last) = self.channels.get(&channel.0).copied().unwrap_or((1, 0));
        let (position, record) = match random.u8(..10) {
            0..=2 => {
                let (kind, body) = (1 + random.u8(..3), number.to_le_bytes().to_vec());
                self.facts.push((kind, body.clone()));
                let urgency = if random.bool() { Urgency::Sync } else { Urgency::Lazy };
                (self.store.append_fact(kind, &body, urgency), Record::Fact(kind, body))
            }
            3 if last >= first => {
                let first = random.u64(first..=last + 1);
                self.channels.insert(channel.0, (first, last));
                (self.store.trim(channel, first), Record::Trim(channel, first))
            }
            _ => {
                let sequence = last + 1;
                let mut body = number.to_le_bytes().to_vec();
                body.resize(8 + random.usize(..300), number as u8);
                self.channels.insert(channel.0, (first, sequence));
                let timestamp = number as i64;
                let position = self.store.append_message(channel, sequence, timestamp, &[&body]);
                (position, Record::Message(channel, sequence, body))
            }
        };
        self.waiting.push_back((position, record));
    }

    fn read(&mut self, random: &mut fastrand::Rng) {
        let channel = ChannelId(1 + random.u64(..3));
        let Some((first, last)) = self.channels.get(&channel.0).copied() else {
            return;
        };
        if last >= first {
            let from = random.u64(first..=last);
            self.ask(channel, from);
        }
    }

    fn ask(&mut self, channel: ChannelId, from: u64) {
        self.next_ticket += 1;
        self.reads.insert(self.next_ticket, (channel, from));
        self.store.read(ReadRequest {
            ticket: Ticket(self.next_ticket),
            channel,
            from,
            messages_max: 20,
            bytes_max: 4_000,
        });
    }

    /// All facts, as of now.
    fn checkpoint(&mut self) -> bool {
        if !self.store.begin_checkpoint() {
            return false;
        }
        for (kind, body) in &self.facts {
            self.store.checkpoint_fact(*kind, body);
        }
        self.store.finish_checkpoint();
        true
    }

    fn complete(&mut self, judge: &mut Judge) -> Result<(), String> {
        let mut completions = Vec::new();
        self.store.poll(&mut completions);
        for completion in completions {
            match completion {
                Completion::Durable(position) => {
                    if position > self.store.durable() {
                        return Err(format!(
                            "{position:?} is announced, {:?} is durable",
                            self.store.durable()
                        ));
                    }
                    self.announce(position, judge)?;
                }
                Completion::Read { ticket, messages } => {
                    let (channel, _) = self.reads.remove(&ticket.0).ok_or("a read that nobody asked for")?;
                    // What cannot be read now is asked for again by others.
                    for message in messages.iter().flat_map(seaway_store::ReadMessages::iter) {
                        judge.check_message(channel, message.sequence, message.body)?;
                    }
                }
                Completion::CheckpointNeeded => self.wants_checkpoint = true,
                Completion::Poisoned(_) => self.is_over = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn announce(&mut self, position: Position, judge: &mut Judge) -> Result<(), String> {
        while self.waiting.front().is_some_and(|(at, _)| *at <= position) {
            let (_, record) = self.waiting.pop_front().ok_or("there is a first one")?;
            judge.announce(record)?;
        }
        Ok(())
    }

    /// Whether everything that was appended was announced.
    pub(crate) fn is_at_rest(&mut self, judge: &mut Judge) -> Result<bool, String> {
        if self.store.pressure(0).lazy {
            self.store.submit();
        }
        self.complete(judge)?;
        Ok(self.waiting.is_empty() && self.reads.is_empty())
    }

    /// Asks for everything that there is.
    pub(crate) fn read_all(&mut self) {
        for (channel, (first, last)) in self.channels.clone() {
            for from in (first..=last).step_by(10) {
                self.ask(ChannelId(channel), from);
            }
        }
    }
}
