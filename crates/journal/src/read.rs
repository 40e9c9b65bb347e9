//! Reading: the tail from memory, everything else by jobs. Requests of one log that lie next to each other share one read; a
//! segment is pinned while it is read.

use crate::directory::Span;
use crate::fetch::{Fetched, Place};
use crate::format::SegmentId;
use crate::job::{JobKind, Locate, ReadJob, SeekJob};
use crate::journal::Journal;
use crate::limits::{READ_BYTES_MAX, READ_MESSAGES_MAX};
use crate::record::MESSAGE_OVERHEAD_BYTES;
use crate::{Completion, LogId, ReadError};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

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
    fn whole(fetched: Fetched) -> Messages {
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

    /// The part that answers a request for `messages_max` and `bytes_max` from `from`.
    fn part(&self, request: &ReadRequest) -> Messages {
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
    /// On disk: use [`Journal::read`].
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

struct Running {
    read: u64,
    requests: Vec<ReadRequest>,
}

#[derive(Debug, Clone, Copy)]
struct SeekRequest {
    ticket: Ticket,
    log: LogId,
    timestamp: i64,
}

#[derive(Default)]
pub(crate) struct Reads {
    queue: VecDeque<ReadRequest>,
    seeks: VecDeque<SeekRequest>,
    running: Vec<Running>,
    next_read: u64,
    pub(crate) outstanding: usize,
}

enum Resolved {
    Now(Messages),
    Job(SegmentId, Locate, u64),
}

impl Journal {
    /// Looks a message up in memory.
    pub fn message(&self, log: LogId, sequence: u64) -> Lookup<'_> {
        let Some(state) = self.logs.get(log) else {
            return Lookup::Missing;
        };
        if sequence < state.first || sequence > state.last {
            return Lookup::Missing;
        }
        let recent_first = state.recent_first();
        if sequence < recent_first {
            return Lookup::Cold;
        }
        let (segment, detail) = self.tail.get(state.recent[(sequence - recent_first) as usize]);
        match self.cached(segment, detail.offset, detail.size()) {
            Some(body) => Lookup::Hot(body),
            None => Lookup::Cold,
        }
    }

    /// What is known of a log; `None` when it does not exist.
    pub fn log_state(&self, log: LogId) -> Option<LogBounds> {
        let state = self.logs.get(log)?;
        Some(LogBounds {
            first: state.first,
            last: state.last,
            count: state.count(),
            bytes: state.bytes,
            last_timestamp: state.last_timestamp,
        })
    }

    /// Asks for messages; `Completion::Read` answers.
    pub fn read(&mut self, request: ReadRequest) {
        self.reads.queue.push_back(request);
        self.answer_from_memory();
    }

    /// Asks for the first message whose time is not before `timestamp`; `Completion::Sought` answers.
    pub fn seek(&mut self, ticket: Ticket, log: LogId, timestamp: i64) {
        self.reads.seeks.push_back(SeekRequest { ticket, log, timestamp });
    }

    /// Requests waiting or running.
    pub fn reads_waiting(&self) -> usize {
        self.reads.queue.len() + self.reads.seeks.len() + self.reads.running.len()
    }

    fn answer_from_memory(&mut self) {
        let Some(request) = self.reads.queue.back().copied() else {
            return;
        };
        if let Resolved::Now(messages) = self.resolve(&request) {
            self.reads.queue.pop_back();
            self.answer(&request, Ok(messages));
        }
    }

    fn answer(&mut self, request: &ReadRequest, messages: Result<Messages, ReadError>) {
        self.completions.push(Completion::Read {
            ticket: request.ticket,
            log: request.log,
            messages,
        });
    }

    /// Finds where the messages of a request lie now.
    fn resolve(&self, request: &ReadRequest) -> Resolved {
        let nothing = || Resolved::Now(Messages::whole(Fetched::default()));
        let Some(state) = self.logs.get(request.log) else {
            return nothing();
        };
        let from = request.from.max(state.first);
        let count = request.messages_max.clamp(1, READ_MESSAGES_MAX) as u64;
        let bytes_max = request.bytes_max.min(READ_BYTES_MAX) as u64;
        if from > state.last {
            return nothing();
        }
        if from >= state.recent_first() {
            return self.resolve_recent(request.log, from, count, bytes_max);
        }
        let Some(index) = state.range_index(from) else {
            return nothing();
        };
        let range = &state.ranges[index];
        let segment = self.segments.get(range.segment);
        let count = count.min(range.last - from + 1) as u32;
        let before = range.before(from);
        let span = Span {
            entry: range.entry_of(from),
            count,
            before,
        };
        Resolved::Job(segment.id, Locate::Directory(segment.source.clone(), span), bytes_max)
    }

    /// Messages without a directory: from memory as long as they are there, else by their known places.
    fn resolve_recent(&self, log: LogId, from: u64, count: u64, bytes_max: u64) -> Resolved {
        let state = self.logs.get(log).expect("the caller found the log");
        let start = (from - state.recent_first()) as usize;
        let mut fetched = Fetched::default();
        let mut places: Vec<Place> = Vec::new();
        let mut places_segment = 0;
        let mut bytes = 0;
        for ordinal in state.recent.range(start..).take(count as usize) {
            let (segment, detail) = self.tail.get(*ordinal);
            bytes += u64::from(detail.size());
            let is_first = fetched.messages.is_empty() && places.is_empty();
            if bytes > bytes_max && !is_first {
                break;
            }
            let cached = self.cached(segment, detail.offset, detail.size());
            match cached {
                Some(body) if places.is_empty() => {
                    let start = fetched.bytes.len();
                    fetched.bytes.extend_from_slice(body);
                    let (sequence, timestamp) = (detail.sequence, detail.timestamp);
                    fetched.messages.push(Message {
                        log,
                        sequence,
                        timestamp,
                        start,
                        length: body.len(),
                    });
                }
                None if fetched.messages.is_empty() && (places.is_empty() || places_segment == segment) => {
                    places_segment = segment;
                    places.push(Place {
                        sequence: detail.sequence,
                        offset: detail.offset,
                        size: detail.size(),
                    });
                }
                _ => break,
            }
        }
        if places.is_empty() {
            return Resolved::Now(Messages::whole(fetched));
        }
        Resolved::Job(self.segments.get(places_segment).id, Locate::Known(places), bytes_max)
    }

    pub(crate) fn next_read(&mut self) -> Option<JobKind> {
        while let Some(mut request) = self.reads.queue.pop_front() {
            match self.resolve(&request) {
                Resolved::Now(messages) => self.answer(&request, Ok(messages)),
                Resolved::Job(id, locate, bytes_max) => {
                    if let Some(state) = self.logs.get(request.log) {
                        request.from = request.from.max(state.first);
                    }
                    let requests = self.join(request, locate_count(&locate));
                    let log = request.log;
                    self.segments.pin(id.number);
                    let read = self.reads.next_read;
                    self.reads.next_read += 1;
                    self.reads.running.push(Running { read, requests });
                    let (identity, keys) = (self.identity, self.keys.clone());
                    return Some(JobKind::Read(ReadJob {
                        read,
                        identity,
                        keys,
                        id,
                        log,
                        locate,
                        bytes_max,
                    }));
                }
            }
        }
        None
    }

    /// Takes queued requests that begin within the first half of what `request` reads out of the queue.
    fn join(&mut self, request: ReadRequest, count: u64) -> Vec<ReadRequest> {
        let mut requests = vec![request];
        let shared = request.from..=request.from + count / 2;
        self.reads.queue.retain(|other| {
            let joins = other.log == request.log && shared.contains(&other.from);
            if joins {
                requests.push(*other);
            }
            !joins
        });
        requests
    }

    pub(crate) fn read_completed(&mut self, read: u64, id: SegmentId, result: io::Result<Fetched>) {
        self.reads.outstanding -= 1;
        self.segments.unpin(id.number);
        let index = self.reads.running.iter().position(|running| running.read == read);
        let index = index.expect("a read completes once");
        let running = self.reads.running.swap_remove(index);
        match result {
            Ok(fetched) => {
                let all = Messages::whole(fetched);
                for request in &running.requests {
                    let part = all.part(request);
                    if part.is_empty() && !all.is_empty() {
                        // Cut short by its size before this one's messages: it goes on its own.
                        self.reads.queue.push_front(*request);
                    } else {
                        self.answer(request, Ok(part));
                    }
                }
            }
            Err(error) => {
                // The error is about the first message read; who wants only later ones may be luckier.
                let first = running.requests.first().map_or(0, |request| request.from);
                for request in &running.requests {
                    if request.from > first {
                        self.reads.queue.push_front(*request);
                    } else {
                        self.answer(request, Err(ReadError::new(request.log, first, &error)));
                    }
                }
            }
        }
    }

    pub(crate) fn next_seek(&mut self) -> Option<JobKind> {
        while let Some(request) = self.reads.seeks.pop_front() {
            let SeekRequest { ticket, log, timestamp } = request;
            match self.resolve_seek(&request) {
                Ok(sequence) => self.completions.push(Completion::Sought {
                    ticket,
                    log,
                    sequence: Ok(sequence),
                }),
                Err(index) => {
                    let range = self.logs.get(log).expect("resolve_seek found it").ranges[index];
                    let state = self.logs.get(log).expect("resolve_seek found it");
                    let from = state.first.max(range.first);
                    let segment = self.segments.get_mut(range.segment);
                    segment.pins += 1;
                    return Some(JobKind::Seek(SeekJob {
                        identity: self.identity,
                        id: segment.id,
                        source: segment.source.clone(),
                        entry: range.entry_of(from),
                        count: (range.last - from + 1) as u32,
                        timestamp,
                        ticket,
                        log,
                        otherwise: range.last + 1,
                    }));
                }
            }
        }
        None
    }

    /// The answer, or the index of the range that must be searched on disk.
    fn resolve_seek(&self, request: &SeekRequest) -> Result<u64, usize> {
        let Some(state) = self.logs.get(request.log) else {
            return Ok(1);
        };
        let time_of = |ordinal: &u32| self.tail.get(*ordinal).1.timestamp;
        let recent_is_early = state
            .recent
            .front()
            .is_some_and(|oldest| time_of(oldest) < request.timestamp);
        if recent_is_early {
            let before = state
                .recent
                .partition_point(|ordinal| time_of(ordinal) < request.timestamp);
            return Ok((state.recent_first() + before as u64).max(state.first));
        }
        let after = state
            .ranges
            .partition_point(|range| range.first_timestamp < request.timestamp);
        match after.checked_sub(1) {
            Some(index) => Err(index),
            None => Ok(state.first),
        }
    }

    pub(crate) fn seek_completed(&mut self, id: SegmentId, ticket: Ticket, log: LogId, result: io::Result<u64>) {
        self.reads.outstanding -= 1;
        self.segments.unpin(id.number);
        let first = self.logs.get(log).map_or(1, |state| state.first);
        let sequence = result
            .map(|sequence| sequence.max(first))
            .map_err(|error| ReadError::new(log, first, &error));
        self.completions.push(Completion::Sought { ticket, log, sequence });
    }
}

fn locate_count(locate: &Locate) -> u64 {
    match locate {
        Locate::Directory(_, span) => u64::from(span.count),
        Locate::Known(places) => places.len() as u64,
    }
}
