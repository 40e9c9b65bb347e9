//! The vocabulary of reading: what is asked for, and what is answered.

use crate::names::LogId;
use crate::record::MESSAGE_OVERHEAD_BYTES;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// Messages fetched from a segment; bodies lie one after the other in `bytes`.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: Vec<Message>,
}

/// Chosen by the owner, returned with the answer.
pub type Ticket = u64;

/// A request for consecutive messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// Returned with the answer.
    pub ticket: Ticket,
    /// The log to read.
    pub log: LogId,
    /// The first sequence wanted; the oldest live message when that one is gone.
    pub from: u64,
    /// At most this many messages.
    pub messages_max: usize,
    /// About this many record bytes; one message comes whatever its size.
    pub bytes_max: usize,
}

/// One message that was read; its body is a part of the read's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
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

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// In memory: its body.
    Hot(&'a [u8]),
    /// On disk: use [`crate::Journal::read`].
    Cold,
    /// Trimmed, not yet appended, or the log is unknown.
    Missing,
}

/// The oldest live message of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// It is known.
    Known {
        /// Its sequence.
        sequence: u64,
        /// Bytes of its body.
        size: u32,
        /// Its time.
        timestamp: i64,
    },
    /// It is being read; `Completion::HeadReady` follows.
    Reading,
    /// There is none.
    Empty,
}

impl Head {
    pub(crate) fn known(sequence: u64, record_size: u32, timestamp: i64) -> Head {
        Head::Known {
            sequence,
            size: record_size - MESSAGE_OVERHEAD_BYTES as u32,
            timestamp,
        }
    }
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
