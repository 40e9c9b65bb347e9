//! What was announced, and whether whoever leads has it: all of it, once, in order.

use std::collections::BTreeMap;

use seaway_streaming::ChannelId;

/// A channel as it was announced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Channel {
    /// Everything below is trimmed.
    pub(crate) first: u64,
    pub(crate) messages: BTreeMap<u64, Vec<u8>>,
}

/// A record that an engine appended.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Message(ChannelId, u64, Vec<u8>),
    Fact(u8, Vec<u8>),
    Trim(ChannelId, u64),
}

#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) facts: Vec<(u8, Vec<u8>)>,
    pub(crate) channels: BTreeMap<u64, Channel>,
    pub(crate) announced: u64,
}

impl Judge {
    /// A leader says that this is durable: nobody may ever take it back.
    pub(crate) fn announce(&mut self, record: Record) -> Result<(), String> {
        self.announced += 1;
        match record {
            Record::Fact(kind, body) => self.facts.push((kind, body)),
            Record::Trim(channel, first) => {
                let channel = self.channels.entry(channel.0).or_default();
                channel.first = channel.first.max(first);
                channel.messages = channel.messages.split_off(&first);
            }
            Record::Message(id, sequence, body) => {
                let channel = self.channels.entry(id.0).or_default();
                let other = channel.messages.insert(sequence, body.clone());
                if other.is_some_and(|other| other != body) {
                    return Err(format!(
                        "message {sequence} of channel {} was announced with two bodies",
                        id.0
                    ));
                }
            }
        }
        Ok(())
    }

    /// What a new leader begins with. All of it is committed by now, so it counts as announced from here on.
    pub(crate) fn begins(
        &mut self,
        facts: &[(u8, Vec<u8>)],
        channels: &BTreeMap<u64, (u64, u64)>,
    ) -> Result<(), String> {
        let (known, found) = (self.facts.len(), facts.len());
        if found < known || facts[..known] != self.facts[..] {
            let place = self.facts.iter().zip(facts).position(|(one, other)| one != other);
            return Err(format!(
                "{found} facts where {known} were announced; the first other one: {place:?}"
            ));
        }
        self.facts = facts.to_vec();
        for (id, channel) in &self.channels {
            let last = channel.messages.last_key_value().map_or(0, |(last, _)| *last);
            let (first, found) = channels.get(id).copied().unwrap_or_default();
            if found < last || (found > 0 && first < channel.first) {
                return Err(format!(
                    "channel {id} has messages {first} to {found} where {} to {last} were announced",
                    channel.first
                ));
            }
        }
        Ok(())
    }

    /// What a read brought.
    pub(crate) fn check_message(&self, channel: ChannelId, sequence: u64, body: &[u8]) -> Result<(), String> {
        let announced = self.channels.get(&channel.0).and_then(|of| of.messages.get(&sequence));
        if announced.is_some_and(|announced| announced != body) {
            return Err(format!(
                "message {sequence} of channel {} is another than was announced",
                channel.0
            ));
        }
        Ok(())
    }
}
