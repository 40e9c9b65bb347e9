//! What must hold whatever happens: checked at every delivery, and once more after everything has healed.

use std::collections::{BTreeMap, BTreeSet};

/// A durable or a queue group, as clients name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// `(client, channel, durable name)`.
    Durable(String, String, String),
    /// `(channel, group, durable name)`; the name is empty for a group that is not durable.
    Group(String, String, String),
}

/// What the world outside the server has seen.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Every publish ever sent: payload to channel.
    published: BTreeMap<u64, String>,
    /// Payloads whose PubAck came without an error.
    acknowledged: BTreeSet<u64>,
    /// What each sequence held when it was first seen; it may never hold anything else.
    contents: BTreeMap<(String, u64), u64>,
    /// Sequences each durable or group has been sent since it was created.
    seen: BTreeMap<Reader, BTreeSet<u64>>,
    /// First deliveries of each group since the server started: no sequence twice.
    first_deliveries: BTreeSet<(Reader, u64)>,
}

impl Oracle {
    /// A client sent a publish.
    pub fn published(&mut self, payload: u64, channel: &str) {
        self.published.insert(payload, channel.to_owned());
    }

    /// A PubAck without an error arrived.
    pub fn acknowledged(&mut self, payload: u64) {
        self.acknowledged.insert(payload);
    }

    /// How many publishes were acknowledged.
    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The server started (again).
    pub fn server_started(&mut self) {
        self.first_deliveries.clear();
    }

    /// A message reached a client.
    ///
    /// # Errors
    /// What it contradicts.
    pub fn delivered(
        &mut self,
        channel: &str,
        sequence: u64,
        payload: u64,
        redelivered: bool,
        reader: Option<&Reader>,
    ) -> Result<(), String> {
        if self.published.get(&payload).map(String::as_str) != Some(channel) {
            return Err(format!(
                "{channel}:{sequence} holds {payload}, which nobody published there"
            ));
        }
        match self.contents.insert((channel.to_owned(), sequence), payload) {
            Some(before) if before != payload => {
                return Err(format!(
                    "{channel}:{sequence} held {before} before and holds {payload} now"
                ));
            }
            _ => {}
        }
        let Some(reader) = reader else { return Ok(()) };
        self.seen.entry(reader.clone()).or_default().insert(sequence);
        if matches!(reader, Reader::Group(..))
            && !redelivered
            && !self.first_deliveries.insert((reader.clone(), sequence))
        {
            return Err(format!("{reader:?} got {sequence} twice, neither time as a redelivery"));
        }
        Ok(())
    }

    /// Checks the log of a channel, read from its beginning after everything healed.
    ///
    /// # Errors
    /// A gap, an acknowledged message that is missing or doubled.
    pub fn check_log(&self, channel: &str, log: &[(u64, u64)], trimmed: bool) -> Result<(), String> {
        for pair in log.windows(2) {
            if pair[1].0 != pair[0].0 + 1 {
                return Err(format!("{channel}: {} follows {}", pair[1].0, pair[0].0));
            }
        }
        if !trimmed && log.first().is_some_and(|first| first.0 != 1) {
            return Err(format!("{channel} begins at {}", log[0].0));
        }
        let mut present = BTreeSet::new();
        for (sequence, payload) in log {
            if !present.insert(*payload) {
                return Err(format!("{channel}:{sequence} holds {payload} a second time"));
            }
        }
        if trimmed {
            return Ok(());
        }
        for payload in &self.acknowledged {
            if self.published[payload] == channel && !present.contains(payload) {
                return Err(format!("{payload} was acknowledged on {channel} and is gone"));
            }
        }
        Ok(())
    }

    /// Checks that every durable and group has been sent everything from its first message on.
    ///
    /// # Errors
    /// The first message that was never sent, though it was never trimmed either.
    pub fn check_readers(
        &self,
        channel: &str,
        first: u64,
        last: u64,
        readers: &BTreeSet<Reader>,
    ) -> Result<(), String> {
        for (reader, seen) in &self.seen {
            let (Reader::Durable(_, of, _) | Reader::Group(of, _, _)) = reader;
            let Some(begin) = seen.first() else { continue };
            if of != channel || !readers.contains(reader) {
                continue;
            }
            for sequence in (*begin).max(first)..=last {
                if !seen.contains(&sequence) {
                    return Err(format!("{reader:?} was never sent {sequence} (of {begin}..={last})"));
                }
            }
        }
        Ok(())
    }
}
