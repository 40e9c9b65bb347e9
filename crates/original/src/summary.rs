//! What the messages of a channel come to, and what is odd about them and about its subscriptions.

use std::borrow::Cow;

use crate::encryption::{Opener, looks_encrypted};
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::limits::GAPS_LISTED_MAX;
use crate::records::Message;
use crate::report::{ChannelReport, Status, SubscriptionReport, time};

/// What the messages of a channel come to.
#[derive(Default)]
pub(crate) struct Summary {
    counted_bytes: u64,
    pub(crate) messages: u64,
    bytes: u64,
    payload_bytes: u64,
    first_sequence: u64,
    pub(crate) last_sequence: u64,
    first_time: Option<i64>,
    pub(crate) last_time: Option<i64>,
    missing: u64,
    gaps: Vec<(u64, u64)>,
    empty: u64,
    encrypted: u64,
    undecryptable: Option<(u64, u64)>,
    decreasing: u64,
}

impl Summary {
    /// Of no message; `counted_bytes` is what the original counts for each besides its encoding.
    pub(crate) fn new(counted_bytes: u64) -> Summary {
        Summary {
            counted_bytes,
            ..Summary::default()
        }
    }

    /// The channel's messages are all gone, and its last sequence was this one.
    pub(crate) fn drain(&mut self, last: u64) {
        (self.first_sequence, self.last_sequence) = (last.saturating_add(1), last);
    }

    pub(crate) fn report(
        &self,
        name: String,
        slices: u64,
        next_subscription_id: u64,
        subscriptions: Vec<SubscriptionReport>,
    ) -> ChannelReport {
        ChannelReport {
            name,
            slices,
            messages: self.messages,
            bytes: self.bytes,
            payload_bytes: self.payload_bytes,
            first_sequence: self.first_sequence,
            last_sequence: self.last_sequence,
            first_time: self.first_time.and_then(time),
            last_time: self.last_time.and_then(time),
            missing: self.missing,
            empty_messages: self.empty,
            encrypted: self.encrypted,
            decreasing_times: self.decreasing,
            next_subscription_id,
            subscriptions,
        }
    }

    /// Counts a message, but for whether it is encrypted.
    pub(crate) fn count(&mut self, message: &Message<'_>) {
        if self.messages == 0 {
            self.first_sequence = message.sequence;
            self.first_time = Some(message.timestamp_ns);
        } else if message.sequence - self.last_sequence > 1 {
            let gap = (self.last_sequence + 1, message.sequence - self.last_sequence - 1);
            self.missing += gap.1;
            if self.gaps.len() < GAPS_LISTED_MAX {
                self.gaps.push(gap);
            }
        }
        self.decreasing += u64::from(self.last_time.is_some_and(|last| message.timestamp_ns < last));
        self.messages += 1;
        self.bytes += message.encoded_bytes + self.counted_bytes;
        self.payload_bytes += message.data.len() as u64;
        self.last_sequence = message.sequence;
        self.last_time = Some(message.timestamp_ns);
        self.empty += u64::from(message.data.is_empty());
    }

    /// Counts a message; its payload, decrypted if that can be done.
    pub(crate) fn add<'m>(&mut self, message: &Message<'m>, opener: Option<&Opener>) -> Cow<'m, [u8]> {
        self.count(message);
        if !looks_encrypted(message.data) {
            return Cow::Borrowed(message.data);
        }
        self.encrypted += 1;
        match opener.map(|opener| opener.open(message.data)) {
            Some(Ok(plain)) => plain,
            Some(Err(_)) => {
                self.undecryptable.get_or_insert((message.sequence, 0)).1 += 1;
                Cow::Borrowed(message.data)
            }
            None => Cow::Borrowed(message.data),
        }
    }

    pub(crate) fn tell(&self, channel: &str, has_key: bool, findings: &mut Findings) {
        let note = |kind| Finding::new(Severity::Note, kind, channel);
        for (sequence, count) in &self.gaps {
            findings.push(note(Kind::Gap).sequence(*sequence).count(*count));
        }
        if self.decreasing > 0 {
            findings.push(note(Kind::DecreasingTimes).count(self.decreasing));
        }
        if let Some((sequence, count)) = self.undecryptable {
            let loss = Finding::new(Severity::Loss, Kind::Undecryptable, channel);
            findings.push(loss.sequence(sequence).count(count));
        }
        if self.encrypted > 0 && !has_key {
            findings.push(note(Kind::LooksEncrypted).count(self.encrypted));
        }
    }
}

pub(crate) fn tell_subscriptions(
    place: &str,
    subscriptions: &[SubscriptionReport],
    last: u64,
    findings: &mut Findings,
) {
    let mut tell = |kind, count: usize| {
        if count > 0 {
            findings.push(Finding::new(Severity::Note, kind, place).count(count as u64));
        }
    };
    let with = |status| subscriptions.iter().filter(|one| one.status == status).count();
    tell(Kind::GhostMember, with(Status::Ghost));
    tell(Kind::OrphanSubscription, with(Status::Orphan));
    let beyond = subscriptions.iter().filter(|one| one.last_sent > last).count();
    tell(Kind::PositionBeyondEnd, beyond);
}
