//! What the engine writes down: every append passes here, so that the last position is always known.

use prost::Message;
use seaway_stan_protocol::{PubMsgView, encode_message_end, encode_message_front};

use crate::effects::Effects;
use crate::ids::ChannelId;
use crate::records::{Need, Position, Urgency};

/// What a refusal after the failure of the store says.
pub(crate) const POISONED: &str =
    "the store failed and takes nothing more; the outcome of what waited for it is unknown";

/// See the module. Once the store has failed nothing is appended any more.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    appended: Position,
    durable: Position,
    poisoned: bool,
    /// Where facts are encoded, and what comes before the data of a message.
    head: Vec<u8>,
    /// What comes after the data of a message.
    tail: Vec<u8>,
}

impl Ledger {
    /// The last position appended.
    pub(crate) fn appended(&self) -> Position {
        self.appended
    }

    /// Everything up to here is durable.
    #[inline]
    pub(crate) fn durable(&self) -> Position {
        self.durable
    }

    /// Whether the store has failed.
    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Everything up to a position is durable; positions never go back.
    pub(crate) fn became_durable(&mut self, position: Position) {
        self.durable = self.durable.max(position);
    }

    /// The store failed; false when that is known.
    pub(crate) fn poison(&mut self) -> bool {
        !std::mem::replace(&mut self.poisoned, true)
    }

    /// Whether an append would be taken.
    pub(crate) fn admit(&self, need: Need, bytes: usize, effects: &mut Effects<'_>) -> Result<(), String> {
        if self.poisoned {
            return Err(POISONED.to_owned());
        }
        effects
            .records
            .admission(need, bytes)
            .map_err(|refusal| refusal.to_string())
    }

    /// Appends a fact; position 0 when the store has failed.
    pub(crate) fn fact(
        &mut self,
        kind: u8,
        fact: &impl Message,
        urgency: Urgency,
        effects: &mut Effects<'_>,
    ) -> Position {
        if self.poisoned {
            return Position(0);
        }
        self.head.clear();
        fact.encode_raw(&mut self.head);
        self.appended = effects.records.append_fact(kind, &self.head, urgency);
        self.appended
    }

    /// Appends a fact that was encoded elsewhere, unless the store has failed. Nobody waits for it.
    pub(crate) fn lazy_fact(&mut self, kind: u8, body: &[u8], effects: &mut Effects<'_>) {
        if !self.poisoned {
            self.appended = effects.records.append_fact(kind, body, Urgency::Lazy);
        }
    }

    /// Appends a message as subscribers get it; its position and size. It was admitted before.
    pub(crate) fn message(
        &mut self,
        channel: ChannelId,
        sequence: u64,
        timestamp: i64,
        publish: &PubMsgView<'_>,
        effects: &mut Effects<'_>,
    ) -> (Position, usize) {
        let (head, tail) = (&mut self.head, &mut self.tail);
        encode_around_data(head, tail, sequence, publish, timestamp);
        let size = head.len() + publish.data.len() + tail.len();
        self.appended = effects
            .records
            .append_message(channel, sequence, timestamp, &[head, publish.data, tail]);
        (self.appended, size)
    }

    /// Drops the messages of a channel below `first`.
    pub(crate) fn trim(&mut self, channel: ChannelId, first: u64, effects: &mut Effects<'_>) {
        self.appended = effects.records.trim(channel, first);
    }

    /// Drops a channel with its messages; the position of that.
    pub(crate) fn delete_channel(&mut self, channel: ChannelId, effects: &mut Effects<'_>) -> Position {
        self.appended = effects.records.delete_channel(channel);
        self.appended
    }
}

/// Encodes a message as subscribers get it, without its payload: what comes before, and what comes after.
pub(crate) fn encode_around_data(
    head: &mut Vec<u8>,
    tail: &mut Vec<u8>,
    sequence: u64,
    publish: &PubMsgView<'_>,
    timestamp: i64,
) {
    head.clear();
    tail.clear();
    encode_message_front(head, sequence, publish.subject, publish.reply, publish.data.len());
    encode_message_end(tail, timestamp);
}

#[cfg(test)]
mod tests {
    use seaway_stan_protocol::encode_message;

    use super::*;

    #[test]
    fn a_body_in_parts_is_the_body_in_one() {
        for data in [&b""[..], b"hi", &[7; 300]] {
            let publish = PubMsgView {
                subject: b"foo",
                reply: b"r",
                data,
                ..PubMsgView::default()
            };
            let (mut head, mut tail, mut whole) = (Vec::new(), Vec::new(), Vec::new());
            encode_around_data(&mut head, &mut tail, 5, &publish, 1_700_000_000_000_000_000);
            encode_message(&mut whole, 5, b"foo", b"r", data, 1_700_000_000_000_000_000);
            assert_eq!([&head[..], data, &tail].concat(), whole);
        }
    }
}
