//! Speaks as a client does: what was acknowledged is there, once, in order, for ever; no two acknowledge; nobody who is registered is
//! told that he is not; and when the faults have ended somebody serves.

use std::collections::{BTreeMap, BTreeSet};

use seaway_stan_protocol::errors;

/// A message, by the number in it.
#[derive(Debug, Default)]
struct Published {
    sent: u64,
    acknowledged: Option<u64>,
}

/// See the module. Times are ticks.
#[derive(Debug, Default)]
pub(super) struct Judge {
    published: BTreeMap<u64, Published>,
    /// What a sequence is, to whoever saw it.
    stored: BTreeMap<u64, u64>,
    places: BTreeMap<u64, u64>,
    /// What the durable subscriber was sent.
    delivered: BTreeSet<u64>,
    /// When publishes were acknowledged.
    acknowledgements: Vec<u64>,
    pub(super) seen: BTreeMap<&'static str, u64>,
    objection: Option<String>,
}

impl Judge {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub(super) fn object(&mut self, text: String) {
        self.objection.get_or_insert(text);
    }

    pub(super) fn objection(&self) -> Option<&str> {
        self.objection.as_deref()
    }

    /// A number that no message had.
    pub(super) fn publish(&mut self, now: u64) -> u64 {
        let number = self.published.len() as u64 + 1;
        let published = Published {
            sent: now,
            acknowledged: None,
        };
        self.published.insert(number, published);
        number
    }

    pub(super) fn acknowledged(&mut self, number: u64, by: usize, now: u64) {
        self.count("publishes acknowledged");
        self.acknowledgements.push(now);
        let Some(published) = self.published.get_mut(&number) else {
            return self.object(format!("member {by} acknowledges {number}, which nobody published"));
        };
        if let Some(before) = published.acknowledged.replace(now) {
            self.object(format!(
                "message {number} is acknowledged by member {by}, and was at {before} already"
            ));
        }
    }

    /// Somebody who is registered was refused.
    pub(super) fn refused(&mut self, who: &str, by: usize, text: &str) {
        let lies = [
            errors::INVALID_PUBLISH_REQUEST,
            errors::UNKNOWN_CLIENT_ID,
            errors::CLIENT_REPLACED,
            errors::UNKNOWN_CHANNEL,
            errors::INVALID_SUBSCRIPTION,
            errors::DUPLICATE_DURABLE,
        ];
        if lies.contains(&text) {
            self.object(format!("{who} is registered, and member {by} says {text:?}"));
        } else {
            self.count("refusals");
        }
    }

    pub(super) fn delivered(&mut self, sequence: u64, number: u64, to_durable: bool) {
        self.count("deliveries");
        let known = *self.stored.entry(sequence).or_insert(number);
        if known != number {
            self.object(format!("sequence {sequence} is message {number}, and was {known}"));
        }
        let place = *self.places.entry(number).or_insert(sequence);
        if place != sequence {
            self.object(format!("message {number} is there twice: as {place} and as {sequence}"));
        }
        if to_durable {
            self.delivered.insert(sequence);
        }
    }

    /// The channel was read from its beginning to `last` when all was well.
    pub(super) fn all_was_read(&mut self, read: &BTreeSet<u64>, last: u64) {
        if let Some(missing) = (1..=last).find(|sequence| !read.contains(sequence)) {
            return self.object(format!("sequence {missing} of {last} is missing"));
        }
        if let Some(beyond) = self.stored.keys().find(|sequence| **sequence > last) {
            return self.object(format!("sequence {beyond} was delivered, and the last one is {last}"));
        }
        let acknowledged = |published: &Published| published.acknowledged.is_some();
        let lost = self
            .published
            .iter()
            .find(|(number, published)| acknowledged(published) && !self.places.contains_key(number));
        if let Some((number, published)) = lost {
            return self.object(format!(
                "message {number} is lost: it was acknowledged at {}",
                published.acknowledged.unwrap_or(0)
            ));
        }
        self.check_order();
    }

    /// What was sent after something was acknowledged lies behind it.
    fn check_order(&mut self) {
        let mut acknowledged: Vec<(u64, u64)> = self
            .published
            .iter()
            .filter_map(|(number, published)| Some((published.acknowledged?, *self.places.get(number)?)))
            .collect();
        acknowledged.sort_unstable();
        let mut sent: Vec<(u64, u64, u64)> = self
            .published
            .iter()
            .filter_map(|(number, published)| Some((published.sent, *self.places.get(number)?, *number)))
            .collect();
        sent.sort_unstable();
        let (mut before, mut highest) = (acknowledged.into_iter().peekable(), 0);
        for (at, place, number) in sent {
            while let Some((_, sequence)) = before.next_if(|(when, _)| *when < at) {
                highest = highest.max(sequence);
            }
            if place < highest {
                return self.object(format!(
                    "message {number} has sequence {place}, and {highest} was acknowledged before it was sent"
                ));
            }
        }
    }

    /// What the durable subscriber was not sent, up to `last`.
    pub(super) fn undelivered(&self, last: u64) -> Option<u64> {
        (1..=last).find(|sequence| !self.delivered.contains(sequence))
    }

    /// The longest time without an acknowledgement from one tick to another.
    pub(super) fn longest_gap(&self, from: u64, to: u64) -> u64 {
        let within = self
            .acknowledgements
            .iter()
            .copied()
            .filter(|at| (from..to).contains(at));
        let times: Vec<u64> = std::iter::once(from).chain(within).chain([to]).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }
}
