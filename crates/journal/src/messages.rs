//! The vocabulary of reading: what is asked for, and what is answered.

use crate::names::LogId;
use crate::record::MESSAGE_OVERHEAD_BYTES;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::task::Poll;

/// Messages fetched from a segment; bodies lie one after the other in `bytes`.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: Vec<Message>,
}

/// Chosen by the owner, returned with the answer.
pub type Ticket = u64;

/// A request for consecutive messages, as [`crate::Journal::read`] took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    pub(crate) ticket: Ticket,
    pub(crate) log: LogId,
    pub(crate) from: u64,
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
}

/// One message that was read; its body is a part of the read's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) log: LogId,
    pub(crate) sequence: u64,
    pub(crate) timestamp: i64,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

/// Messages that were read. Requests that shared a read share its memory.
#[derive(Debug, Clone)]
pub struct Messages {
    fetched: Arc<Fetched>,
    from: usize,
    to: usize,
}

impl Messages {
    pub(crate) fn whole(fetched: Fetched) -> Messages {
        let to = fetched.messages.len();
        Messages {
            fetched: Arc::new(fetched),
            from: 0,
            to,
        }
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Whether nothing was read: the log is empty from the requested sequence on, or gone.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Sequence, time and body of each message.
    pub fn iter(&self) -> impl Iterator<Item = (u64, i64, &[u8])> {
        self.fetched.messages[self.from..self.to].iter().map(|message| {
            let body = &self.fetched.bytes[message.start..message.start + message.length];
            (message.sequence, message.timestamp, body)
        })
    }

    /// Sequence and time of each message, and where in [`Messages::bytes`] its body is.
    pub fn places(&self) -> impl Iterator<Item = (u64, i64, Range<usize>)> {
        self.fetched.messages[self.from..self.to].iter().map(|message| {
            let place = message.start..message.start + message.length;
            (message.sequence, message.timestamp, place)
        })
    }

    /// The memory of the whole read.
    pub fn bytes(&self) -> &[u8] {
        &self.fetched.bytes
    }

    /// To look at how long that memory is kept.
    pub(crate) fn memory(&self) -> Weak<Fetched> {
        Arc::downgrade(&self.fetched)
    }

    /// The part that answers a request for `messages_max` and `bytes_max` from `from`.
    pub(crate) fn part(&self, request: &ReadRequest) -> Messages {
        let all = &self.fetched.messages[..self.to];
        let from = all.partition_point(|message| message.sequence < request.from);
        let mut bytes = 0;
        let count = all[from..]
            .iter()
            .take(request.messages_max.max(1))
            .take_while(|message| {
                let first = bytes == 0;
                bytes += message.length + MESSAGE_OVERHEAD_BYTES;
                first || bytes <= request.bytes_max
            })
            .count();
        Messages {
            fetched: Arc::clone(&self.fetched),
            from,
            to: from + count,
        }
    }
}

/// Sequence, bytes of the body and time of the oldest live message of a log, if there is one; pending while it is being read.
pub(crate) type Head = Poll<Option<(u64, u32, i64)>>;

/// Of a message whose record has so many bytes.
pub(crate) fn head(sequence: u64, record_bytes: u32, timestamp: i64) -> Head {
    // A directory may say anything.
    let size = record_bytes.saturating_sub(MESSAGE_OVERHEAD_BYTES as u32);
    Poll::Ready(Some((sequence, size, timestamp)))
}

/// What is known of a log without reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// Oldest live sequence; `last + 1` when there is none.
    pub first: u64,
    /// Newest sequence ever appended.
    pub last: u64,
    /// Live messages.
    pub count: u64,
    /// Record bytes of the live messages (36 more than each body).
    pub bytes: u64,
    /// Time of the message `last`; `i64::MIN` when unknown.
    pub last_timestamp: i64,
}
