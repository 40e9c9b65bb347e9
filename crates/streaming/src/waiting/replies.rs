//! What waits for durability, in the order of positions: PubAcks, and replies that confirm a change of state.
//!
//! One queue for all of them, so that nothing overtakes. Their bytes lie in one buffer that is used again and again: no
//! allocation per message.

use std::collections::VecDeque;

use crate::change::ChangeId;
use crate::input::ChannelId;
use crate::records::Position;
use crate::registry::keys::{ChannelKey, SubscriptionKey};

/// What an entry does when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A message was stored: payload is its GUID.
    Stored {
        channel: ChannelKey,
        id: ChannelId,
        sequence: u64,
    },
    /// The deletion of a channel was recorded: nobody waits for a reply.
    Deleted { channel: ChannelKey, id: ChannelId },
    /// An operator's change: what came of it is told, and nothing sent.
    Changed(ChangeId),
    /// A publish was refused: payload is the encoded PubAck.
    Refused,
    /// A state was changed: payload is the encoded response.
    Confirmed(Confirmation),
}

/// Which request is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    Connect,
    /// The subscription takes messages once this has left.
    Subscribe {
        subscription: SubscriptionKey,
        ack_inbox: u64,
    },
    Unsubscribe,
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    position: Position,
    outcome: Outcome,
    subject_len: usize,
    payload_len: usize,
}

/// One entry with its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) outcome: Outcome,
    pub(crate) subject: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ReplyQueue {
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Start of the oldest entry's bytes.
    head: usize,
}

impl ReplyQueue {
    pub(crate) fn push(&mut self, position: Position, outcome: Outcome, subject: &[u8], payload: &[u8]) {
        assert!(
            self.entries.back().is_none_or(|last| last.position <= position),
            "positions grow: {position:?} after {:?}",
            self.entries.back()
        );
        self.bytes.extend_from_slice(subject);
        self.bytes.extend_from_slice(payload);
        self.entries.push_back(Entry {
            position,
            outcome,
            subject_len: subject.len(),
            payload_len: payload.len(),
        });
    }

    /// How many entries do not depend on anything after `durable`.
    pub(crate) fn ready(&self, durable: Position) -> usize {
        self.entries.partition_point(|entry| entry.position <= durable)
    }

    /// The outcomes of the first `count` entries.
    pub(crate) fn outcomes(&self, count: usize) -> impl Iterator<Item = Outcome> + '_ {
        self.entries.iter().take(count).map(|entry| entry.outcome)
    }

    /// Removes the oldest entry; its bytes stay readable until the next [`ReplyQueue::push`].
    pub(crate) fn pop(&mut self) -> Option<(Position, Reply<'_>)> {
        let entry = self.entries.pop_front()?;
        let start = self.head;
        let middle = start + entry.subject_len;
        let end = middle + entry.payload_len;
        self.head = end;
        let reply = Reply {
            outcome: entry.outcome,
            subject: &self.bytes[start..middle],
            payload: &self.bytes[middle..end],
        };
        Some((entry.position, reply))
    }

    /// Reclaims the bytes of entries that have left; cheap when called each time.
    pub(crate) fn reclaim(&mut self) {
        if self.entries.is_empty() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head > self.bytes.len() / 2 {
            self.bytes.copy_within(self.head.., 0);
            self.bytes.truncate(self.bytes.len() - self.head);
            self.head = 0;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() - self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_leave_in_order_with_their_bytes() {
        let mut queue = ReplyQueue::default();
        for round in 0..100u64 {
            for index in 0..10u64 {
                let position = Position(round * 10 + index);
                queue.push(
                    position,
                    Outcome::Refused,
                    format!("s{}", position.0).as_bytes(),
                    b"payload",
                );
            }
            let ready = queue.ready(Position(round * 10 + 6));
            for _ in 0..ready {
                let (position, reply) = queue.pop().expect("entries that are ready exist");
                assert_eq!(reply.subject, format!("s{}", position.0).as_bytes());
                assert_eq!(reply.payload, b"payload");
            }
            queue.reclaim();
        }
        assert_eq!(queue.entries.len(), 3);
        assert!(
            queue.bytes.len() < 400,
            "the buffer is used again: {}",
            queue.bytes.len()
        );
    }
}
