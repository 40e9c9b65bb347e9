//! Reading: the tail from memory, everything else by jobs. Requests of one log that lie next to each other share one read; a
//! segment is pinned while it is read.

use super::Journal;
use crate::completion::Completion;
use crate::error::{ReadError, is_damage};
use crate::fetch::{Locate, Place, ReadJob, Unread};
use crate::format::SegmentId;
use crate::index::{Found, Located, LocatedTime};
use crate::job::{JobKind, SeekJob};
use crate::limits::{READ_BYTES_MAX, READ_MESSAGES_MAX};
use crate::messages::{Fetched, LogBounds, Message, Messages, ReadRequest, Ticket};
use crate::names::LogId;
use crate::reads::SeekRequest;
use std::io;
use std::task::Poll;

enum Resolved {
    Now(Result<Messages, ReadError>),
    /// In a segment with this number, where so many bytes are wanted, and there are so many messages.
    Job(u64, Locate, u64, u64),
}

impl Journal {
    /// The body of a message that is in memory. Pending: it is on the disk, use [`Journal::read`]. None: it was trimmed, is not yet
    /// appended, or the log is unknown.
    pub fn message(&self, log: LogId, sequence: u64) -> Poll<Option<&[u8]>> {
        match self.index.find(log, sequence) {
            Found::Missing => Poll::Ready(None),
            Found::Stored => Poll::Pending,
            Found::Recent(ordinal) => {
                let (segment, detail) = self.records.detail(ordinal);
                let body = self.records.cached(segment, detail);
                body.map_or(Poll::Pending, |body| Poll::Ready(Some(body)))
            }
        }
    }

    /// What is known of a log; `None` when it does not exist.
    pub fn log_state(&self, log: LogId) -> Option<LogBounds> {
        self.index.bounds(log)
    }

    /// Sequence, size (of the body) and time of the oldest live message, if there is one. Pending while it is being read:
    /// `Completion::HeadReady` follows.
    pub fn head(&mut self, log: LogId) -> Poll<Option<(u64, u32, i64)>> {
        self.head_from(log, 0)
    }

    /// The same of the oldest live message not below `from`. Pending beyond the head only says that it was not read ahead:
    /// after a trim to `from` [`Journal::head`] asks for it.
    pub fn head_from(&mut self, log: LogId, from: u64) -> Poll<Option<(u64, u32, i64)>> {
        self.index.head_from(log, from, &self.records)
    }

    /// Asks for messages; `Completion::Read` answers with the ticket. They begin with `from`, or with the oldest live one when that
    /// is gone; at most `messages_max` come, of about `bytes_max` record bytes, and one whatever its size.
    pub fn read(&mut self, ticket: Ticket, log: LogId, from: u64, messages_max: usize, bytes_max: usize) {
        let request = ReadRequest {
            ticket,
            log,
            from,
            messages_max,
            bytes_max,
        };
        match self.resolve(&request) {
            Resolved::Now(messages) => self.answer(&request, messages),
            Resolved::Job(..) => self.reads.push(request),
        }
    }

    /// Asks for the first message whose time is not before `timestamp`; `Completion::Sought` answers.
    pub fn seek(&mut self, ticket: Ticket, log: LogId, timestamp: i64) {
        self.reads.push_seek(SeekRequest { ticket, log, timestamp });
    }

    /// Requests waiting or running.
    pub fn reads_waiting(&self) -> usize {
        self.reads.len()
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
        let count = request.messages_max.clamp(1, READ_MESSAGES_MAX);
        let bytes_max = request.bytes_max.min(READ_BYTES_MAX) as u64;
        match self.index.locate(request.log, request.from, count as u64) {
            Located::Nowhere => Resolved::Now(Ok(Messages::whole(Fetched::default()))),
            Located::Recent(ordinals) => self.resolve_recent(request.log, ordinals.take(count), bytes_max),
            Located::Stored(segment, span, available) => {
                let source = self.segments.source(segment);
                Resolved::Job(segment, Locate::Directory(source, span), bytes_max, available)
            }
        }
    }

    /// Messages without a directory: from memory as long as they are there, else by their known places.
    fn resolve_recent<'a>(&self, log: LogId, ordinals: impl Iterator<Item = &'a u32>, bytes_max: u64) -> Resolved {
        let mut fetched = Fetched::default();
        let mut places: Vec<Place> = Vec::new();
        let mut places_segment = 0;
        let mut bytes = 0;
        for ordinal in ordinals {
            let (segment, detail) = self.records.detail(*ordinal);
            bytes += u64::from(detail.size());
            let is_first = fetched.messages.is_empty() && places.is_empty();
            if bytes > bytes_max && !is_first {
                break;
            }
            match self.records.cached(segment, detail) {
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
            return Resolved::Now(Ok(Messages::whole(fetched)));
        }
        let available = places.len() as u64;
        Resolved::Job(places_segment, Locate::Known(places), bytes_max, available)
    }

    pub(super) fn next_windows(&mut self) -> Option<JobKind> {
        let parts = self.index.next_windows(&mut self.segments, &mut self.completions);
        (!parts.is_empty()).then_some(JobKind::Windows {
            identity: self.scope.identity,
            parts,
        })
    }

    pub(super) fn next_read(&mut self) -> Option<JobKind> {
        while let Some(mut request) = self.reads.pop() {
            match self.resolve(&request) {
                Resolved::Now(messages) => self.answer(&request, messages),
                Resolved::Job(segment, locate, bytes_max, available) => {
                    let first = self.index.existing(request.log, 0);
                    request.from = self.index.existing(request.log, request.from);
                    // A request for what lies before the log's first message means that message.
                    let from = if request.from == first { 0 } else { request.from };
                    let mut requests = vec![request];
                    // Requests that begin within the first half of what is read are answered from the same read.
                    let shared = from..=request.from + locate.count() / 2;
                    self.reads.join(request.log, shared, &mut requests);
                    let (id, _) = self.segments.pin(segment);
                    return Some(JobKind::Read(ReadJob {
                        read: self.reads.begin_read(requests),
                        identity: self.scope.identity,
                        keys: self.scope.keys.clone(),
                        id,
                        log: request.log,
                        locate,
                        bytes_max,
                        available,
                        is_patient: !self.segments.is_failing(segment),
                    }));
                }
            }
        }
        None
    }

    pub(super) fn read_completed(&mut self, read: u64, id: SegmentId, result: Result<Fetched, Unread>) {
        self.reads.end();
        let is_damaged = result.as_ref().is_err_and(|unread| is_damage(&unread.error));
        self.segments.set_failing(id.number, is_damaged);
        self.segments.unpin(id.number);
        let requests = self.reads.end_read(read);
        match result {
            Ok(fetched) => {
                let all = Messages::whole(fetched);
                self.reads.answer(&all);
                for request in &requests {
                    let part = all.part(request);
                    if part.is_empty() && !all.is_empty() {
                        // The read ended at its size limit before this request's messages: it gets a read of its own.
                        self.reads.push_again(*request);
                    } else {
                        self.answer(request, Ok(part));
                    }
                }
            }
            Err(Unread { messages, error }) => {
                // The error is about the first messages; requests for later ones only are read again, without them.
                let first = requests.first().map_or(0, |request| request.from);
                let last = first + messages.max(1) - 1;
                for request in &requests {
                    let from = request.from.max(first);
                    if from > last {
                        self.reads.push_again(*request);
                    } else {
                        self.answer(request, Err(ReadError::new(request.log, from, last, &error)));
                    }
                }
            }
        }
    }

    pub(super) fn next_seek(&mut self) -> Option<JobKind> {
        while let Some(SeekRequest { ticket, log, timestamp }) = self.reads.pop_seek() {
            match self.index.locate_time(log, timestamp, &self.records) {
                LocatedTime::Known(sequence) => self.completions.push(Completion::Sought {
                    ticket,
                    log,
                    sequence: Ok(sequence),
                }),
                LocatedTime::Stored {
                    segment,
                    entry,
                    count,
                    otherwise,
                } => {
                    let (id, source) = self.segments.pin(segment);
                    return Some(JobKind::Seek(SeekJob {
                        identity: self.scope.identity,
                        id,
                        source,
                        entry,
                        count,
                        first: otherwise - u64::from(count),
                        timestamp,
                        ticket,
                        log,
                        otherwise,
                    }));
                }
            }
        }
        None
    }

    pub(super) fn seek_completed(&mut self, id: SegmentId, ticket: Ticket, log: LogId, result: io::Result<u64>) {
        self.reads.end();
        self.segments.unpin(id.number);
        let first = self.index.bounds(log).map_or(1, |bounds| bounds.first);
        let sequence = result
            .map(|sequence| sequence.max(first))
            .map_err(|error| ReadError::new(log, first, first, &error));
        self.completions.push(Completion::Sought { ticket, log, sequence });
    }
}
