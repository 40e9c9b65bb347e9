//! Looks at stored messages that leave no trace: the channel is found between two inputs, the store reads, and what it
//! read goes to whoever asked. The engine hears of none of it.

use std::collections::HashMap;

use seaway_store::{Completion, ReadMessages, Store};
use seaway_streaming::{ChannelId, Engine, ReadRequest, Stored, Ticket, Unreadable};
use tokio::sync::oneshot;

/// Tickets of looks; the engine counts its own from 0 and never gets here.
const TICKETS: u64 = 1 << 63;

/// Where a look begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookStart {
    /// At this sequence, or the first one behind it that is there.
    Sequence(u64),
    /// Where so many are left, the last one among them.
    Newest(u64),
    /// Like `Sequence`, in this channel and not in a later one of the same name.
    GoOn(ChannelId, u64),
}

/// A look at the durable messages of a channel.
pub struct Look {
    /// Its name.
    pub channel: Vec<u8>,
    /// Where to begin.
    pub start: LookStart,
    /// Messages at most; at least 1.
    pub messages_max: u32,
    /// About this many bytes at most; one message comes whatever its size.
    pub bytes_max: u32,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Looked, LookError>>,
}

/// What was seen.
#[derive(Debug)]
pub struct Looked {
    /// Where the channel's messages were when the look began.
    pub stored: Stored,
    /// Where it began.
    pub from: u64,
    /// The messages, none above `stored.last`; none at all when they are gone meanwhile, or damaged.
    pub messages: ReadMessages,
    /// First and last of the messages with which the look began and which cannot be read.
    pub damaged: Option<(u64, u64)>,
}

/// Why nothing was seen.
#[derive(Debug, PartialEq, Eq)]
pub enum LookError {
    /// There is no such channel, or no longer.
    NoChannel,
    /// The store could not read, in words.
    Unreadable(String),
    /// The engine does not answer, in words.
    Unavailable(String),
}

/// Looks whose read is under way.
#[derive(Default)]
pub(super) struct Looks {
    waiting: HashMap<Ticket, Waiting>,
    begun: u64,
}

struct Waiting {
    stored: Stored,
    from: u64,
    answer: oneshot::Sender<Result<Looked, LookError>>,
}

impl Looks {
    /// Asks the store, or answers at once when there is nothing to ask for.
    pub(super) fn begin(&mut self, look: Look, engine: &Engine, store: &mut dyn Store) {
        // Whoever asked may have gone.
        if look.answer.is_closed() {
            return;
        }
        let is_meant = |stored: &Stored| !matches!(look.start, LookStart::GoOn(id, _) if id != stored.channel);
        let Some(stored) = engine.stored(&look.channel).filter(is_meant) else {
            let _ = look.answer.send(Err(LookError::NoChannel));
            return;
        };
        let from = match look.start {
            LookStart::Sequence(from) | LookStart::GoOn(_, from) => from,
            LookStart::Newest(count) => (stored.last + 1).saturating_sub(count),
        };
        let from = from.max(stored.first).max(1);
        if from > stored.last {
            let messages = ReadMessages::default();
            let looked = Looked {
                stored,
                from,
                messages,
                damaged: None,
            };
            let _ = look.answer.send(Ok(looked));
            return;
        }
        let ticket = Ticket(TICKETS | self.begun);
        self.begun += 1;
        let answer = look.answer;
        self.waiting.insert(ticket, Waiting { stored, from, answer });
        let durable = u32::try_from(stored.last - from + 1).unwrap_or(u32::MAX);
        store.read(ReadRequest {
            ticket,
            channel: stored.channel,
            from,
            messages_max: look.messages_max.clamp(1, durable),
            bytes_max: look.bytes_max,
        });
    }

    /// Answers a look with what the store finished; gives back what concerns the engine.
    pub(super) fn complete(&mut self, completion: Completion) -> Option<Completion> {
        match completion {
            Completion::Read { ticket, messages } if ticket.0 >= TICKETS => {
                if let Some(waiting) = self.waiting.remove(&ticket) {
                    let _ = waiting.answer.send(seen(waiting.stored, waiting.from, messages));
                }
                None
            }
            other => Some(other),
        }
    }
}

fn seen(stored: Stored, from: u64, read: Result<ReadMessages, Unreadable>) -> Result<Looked, LookError> {
    let (mut messages, damaged) = match read {
        Ok(messages) => (messages, None),
        Err(found) if found.damaged => (ReadMessages::default(), Some((found.from, found.to.min(stored.last)))),
        Err(found) => return Err(LookError::Unreadable(found.reason)),
    };
    // A trim moves the beginning of what is read, and so its end.
    if messages.iter().any(|message| message.sequence > stored.last) {
        let mut durable = ReadMessages::default();
        for message in messages.iter().filter(|message| message.sequence <= stored.last) {
            durable.push(message.sequence, message.timestamp, message.body);
        }
        messages = durable;
    }
    Ok(Looked {
        stored,
        from,
        messages,
        damaged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the beginning was trimmed between the question and the read, as many messages reach further.
    #[test]
    fn nothing_above_what_is_durable_is_seen() {
        let stored = Stored {
            channel: ChannelId(1),
            first: 1,
            last: 5,
        };
        let mut read = ReadMessages::default();
        for sequence in 3..=7 {
            read.push(sequence, 0, &sequence.to_le_bytes());
        }
        let looked = seen(stored, 1, Ok(read)).unwrap();
        let seen: Vec<_> = looked.messages.iter().map(|message| message.sequence).collect();
        assert_eq!(seen, [3, 4, 5]);
        let last = looked.messages.iter().last().unwrap();
        assert_eq!(last.body, 5_u64.to_le_bytes());
    }
}
