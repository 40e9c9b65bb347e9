//! Requests that wait to be read from the disk, and those that are being read. Requests of one log that lie next to each other
//! are found by their place, not by a walk over all that wait.

use crate::limits::{ENTRY_READS_WAITING_MAX, READ_MEMORY_BYTES, READ_MEMORY_LEAST, READS_MAX};
use crate::messages::{Fetched, Messages, ReadRequest, Ticket};
use crate::names::LogId;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Weak;

/// A search for a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeekRequest {
    pub(crate) ticket: Ticket,
    pub(crate) log: LogId,
    pub(crate) timestamp: i64,
}

/// Where a request stands: its log, what it begins with, its turn.
type Key = (LogId, u64, i64);

struct Running {
    read: u64,
    requests: Vec<ReadRequest>,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: BTreeMap<Key, ReadRequest>,
    /// Whose turn is next; those that joined another read are no longer among the waiting.
    order: VecDeque<Key>,
    /// Turns given so far to those that came, and to those that came back.
    turns: (i64, i64),
    seeks: VecDeque<SeekRequest>,
    /// Entries of a member of a cluster, by index.
    entries: VecDeque<(Ticket, u64)>,
    /// The last thing handed out was a read: a search goes before the next one.
    seek_next: bool,
    running: Vec<Running>,
    next_read: u64,
    outstanding: usize,
    /// What was read and may still be in memory.
    answered: Vec<Weak<Fetched>>,
    /// Requests looked at so far: what a step costs.
    #[cfg(test)]
    looked_at: u64,
}

impl Reads {
    /// Requests waiting or running.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.seeks.len() + self.entries.len() + self.running.len()
    }

    pub(crate) fn push(&mut self, request: ReadRequest) {
        self.turns.0 += 1;
        let key = (request.log, request.from, self.turns.0);
        self.waiting.insert(key, request);
        self.order.push_back(key);
    }

    /// Lets a request that was not answered go before all others.
    pub(crate) fn push_again(&mut self, request: ReadRequest) {
        self.turns.1 -= 1;
        let key = (request.log, request.from, self.turns.1);
        self.waiting.insert(key, request);
        self.order.push_front(key);
    }

    /// The request whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<ReadRequest> {
        while let Some(key) = self.order.pop_front() {
            self.look();
            if let Some(request) = self.waiting.remove(&key) {
                return Some(request);
            }
        }
        None
    }

    /// Takes the waiting requests out that begin within `froms` of a log.
    pub(crate) fn join(&mut self, log: LogId, froms: RangeInclusive<u64>, into: &mut Vec<ReadRequest>) {
        let range = (log, *froms.start(), i64::MIN)..=(log, *froms.end(), i64::MAX);
        while let Some((key, request)) = self.waiting.range(range.clone()).next() {
            let key = *key;
            into.push(*request);
            self.waiting.remove(&key);
            self.look();
        }
    }

    pub(crate) fn push_seek(&mut self, request: SeekRequest) {
        self.seeks.push_back(request);
    }

    pub(crate) fn pop_seek(&mut self) -> Option<SeekRequest> {
        self.seeks.pop_front()
    }

    /// Lets an entry wait; false when too many do.
    pub(crate) fn push_entry(&mut self, ticket: Ticket, index: u64) -> bool {
        let has_room = self.entries.len() < ENTRY_READS_WAITING_MAX;
        if has_room {
            self.entries.push_back((ticket, index));
        }
        has_room
    }

    pub(crate) fn pop_entry(&mut self) -> Option<(Ticket, u64)> {
        self.entries.pop_front()
    }

    /// Whether a search goes before the next read: they take turns.
    pub(crate) fn is_seek_next(&mut self) -> bool {
        self.seek_next = !self.seek_next;
        !self.seek_next
    }

    /// Whether one more job may be out: an owner that is slower than the disk would be given more and more to keep.
    pub(crate) fn may_begin(&mut self) -> bool {
        self.outstanding < READS_MAX && self.kept() < READ_MEMORY_BYTES
    }

    /// Bytes that were read and are still in memory.
    fn kept(&mut self) -> usize {
        let mut kept = 0;
        self.answered.retain(|read| {
            let bytes = read.upgrade().map(|fetched| fetched.bytes.len().max(READ_MEMORY_LEAST));
            kept += bytes.unwrap_or(0);
            bytes.is_some()
        });
        kept
    }

    /// Remembers what is given to those who asked.
    pub(crate) fn answer(&mut self, messages: &Messages) {
        self.answered.push(messages.memory());
    }

    /// A job of the reader lane is handed out.
    pub(crate) fn begin(&mut self) {
        self.outstanding += 1;
    }

    /// One came back.
    pub(crate) fn end(&mut self) {
        self.outstanding -= 1;
    }

    /// Remembers for whom a read is; its number.
    pub(crate) fn begin_read(&mut self, requests: Vec<ReadRequest>) -> u64 {
        let read = self.next_read;
        self.next_read += 1;
        self.running.push(Running { read, requests });
        read
    }

    /// For whom it was.
    pub(crate) fn end_read(&mut self, read: u64) -> Vec<ReadRequest> {
        let index = self.running.iter().position(|running| running.read == read);
        self.running.swap_remove(index.expect("a read completes once")).requests
    }

    fn look(&mut self) {
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(ticket: Ticket, log: u64, from: u64) -> ReadRequest {
        ReadRequest {
            ticket,
            log: LogId(log),
            from,
            messages_max: 10,
            bytes_max: 1_000,
        }
    }

    #[test]
    fn requests_take_turns_in_the_order_in_which_they_came() {
        let mut reads = Reads::default();
        for (ticket, log, from) in [(1, 5, 10), (2, 3, 1), (3, 5, 12), (4, 5, 30), (5, 5, 9)] {
            reads.push(request(ticket, log, from));
        }
        let first = reads.pop().expect("five wait");
        assert_eq!(first.ticket, 1);
        let mut joined = Vec::new();
        reads.join(first.log, 10..=20, &mut joined);
        assert_eq!(joined.iter().map(|other| other.ticket).collect::<Vec<_>>(), [3]);
        reads.push_again(joined[0]);
        let rest: Vec<Ticket> = std::iter::from_fn(|| reads.pop()).map(|other| other.ticket).collect();
        assert_eq!((rest, reads.len()), (vec![3, 2, 4, 5], 0));
    }

    #[test]
    fn nothing_is_read_while_what_was_read_is_still_kept() {
        let mut reads = Reads::default();
        let fetched = |bytes| {
            Messages::whole(Fetched {
                bytes: vec![0; bytes],
                messages: Vec::new(),
            })
        };
        let mut kept: Vec<Messages> = (0..16).map(|_| fetched(1 << 20)).collect();
        for (index, messages) in kept.iter().enumerate() {
            assert!(reads.may_begin(), "{index} MB are kept");
            reads.answer(messages);
        }
        assert!(!reads.may_begin());
        // Shared memory counts until the last has let go of it.
        let last = kept.pop();
        let shared = last.clone();
        drop(last);
        assert!(!reads.may_begin());
        drop(shared);
        assert!(reads.may_begin());
        kept.clear();
        assert_eq!(
            (reads.kept(), reads.answered.len()),
            (0, 0),
            "what is gone is forgotten"
        );
    }

    /// A request costs the same whether ten or twenty thousand wait, in as many logs or in one.
    #[test]
    fn the_cost_of_a_request_does_not_grow_with_those_that_wait() {
        for logs in [1, 20_000] {
            let mut per_request = Vec::new();
            for count in [10u64, 1_000, 20_000] {
                let mut reads = Reads::default();
                for ticket in 0..count {
                    reads.push(request(ticket, ticket % logs, ticket * 7));
                }
                let mut answered = 0;
                while let Some(next) = reads.pop() {
                    let mut joined = vec![next];
                    reads.join(next.log, next.from..=next.from + 20, &mut joined);
                    answered += joined.len() as u64;
                }
                assert_eq!(answered, count);
                per_request.push(reads.looked_at / count);
            }
            assert!(
                per_request.iter().all(|cost| *cost <= 2),
                "{logs} logs: {per_request:?}"
            );
        }
    }
}
