//! The memory store: durable at once, gone with the process (`streaming-protocol.md` §5.9, last paragraph).

use std::collections::{HashMap, VecDeque};

use seaway_streaming::{
    Admission, ChannelId, Head, Lookup, Need, Position, ReadRequest, Records, Seek, Ticket, Urgency,
};

use crate::port::{Commit, Completion, Pressure, ReadMessages, Statistics, Store};

/// A block is closed when its bodies reach this size: large enough to make allocation rare, small enough that a trimmed
/// channel gives its memory back.
const BLOCK_BYTES: usize = 64 * 1024;

/// Messages one after the other in one buffer.
#[derive(Debug, Default)]
struct Block {
    first: u64,
    bytes: Vec<u8>,
    /// End of the body in `bytes`, and timestamp.
    entries: Vec<(usize, i64)>,
}

impl Block {
    fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    fn body(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.entries[before].0);
        &self.bytes[start..self.entries[index].0]
    }
}

/// One channel's messages: `first..next`, without holes.
#[derive(Debug)]
struct Log {
    first: u64,
    next: u64,
    blocks: VecDeque<Block>,
}

impl Log {
    fn append(&mut self, sequence: u64, timestamp: i64, body: &[&[u8]]) {
        if self.first == self.next {
            // An empty log takes any sequence: the engine numbers.
            self.blocks.clear();
            self.first = sequence;
            self.next = sequence;
        }
        assert_eq!(sequence, self.next, "messages of a channel are appended without holes");
        if self.blocks.back().is_none_or(|block| block.bytes.len() >= BLOCK_BYTES) {
            self.blocks.push_back(Block {
                first: sequence,
                ..Block::default()
            });
        }
        let block = self
            .blocks
            .back_mut()
            .expect("a block was just pushed if there was none");
        for part in body {
            block.bytes.extend_from_slice(part);
        }
        block.entries.push((block.bytes.len(), timestamp));
        self.next += 1;
    }

    fn trim(&mut self, first: u64) {
        self.first = self.first.max(first.min(self.next));
        while self.blocks.front().is_some_and(|block| block.last() < self.first) {
            self.blocks.pop_front();
        }
    }

    /// Bytes of the bodies that were not trimmed.
    fn live_bytes(&self) -> u64 {
        let all: usize = self.blocks.iter().map(|block| block.bytes.len()).sum();
        // Of the first block some may be trimmed, or all when there is no message.
        let first = self.blocks.front().map_or(0, |block| {
            let trimmed = usize::try_from(self.first.saturating_sub(block.first)).unwrap_or(usize::MAX);
            let last = trimmed.min(block.entries.len()).checked_sub(1);
            last.map_or(0, |last| block.entries[last].0)
        });
        (all - first) as u64
    }

    /// The message's block and its index there.
    fn locate(&self, sequence: u64) -> Option<(&Block, usize)> {
        if sequence < self.first || sequence >= self.next {
            return None;
        }
        let at = self.blocks.partition_point(|block| block.last() < sequence);
        let block = &self.blocks[at];
        Some((
            block,
            usize::try_from(sequence - block.first).expect("an index within a block"),
        ))
    }

    fn seek(&self, timestamp: i64) -> u64 {
        let at = self
            .blocks
            .partition_point(|block| block.entries.last().is_some_and(|last| last.1 < timestamp));
        match self.blocks.get(at) {
            None => self.next,
            Some(block) => {
                let index = block.entries.partition_point(|entry| entry.1 < timestamp);
                (block.first + index as u64).max(self.first)
            }
        }
    }
}

/// The memory store.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// Looked up by id only, never walked.
    logs: HashMap<ChannelId, Log>,
    appended: Position,
    told: Position,
    reads: Vec<Completion>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn next_position(&mut self) -> Position {
        self.appended.0 += 1;
        self.appended
    }
}

impl Records for MemoryStore {
    fn append_message(&mut self, channel: ChannelId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        let log = self.logs.entry(channel).or_insert(Log {
            first: sequence,
            next: sequence,
            blocks: VecDeque::new(),
        });
        log.append(sequence, timestamp, body);
        self.next_position()
    }

    fn append_fact(&mut self, _kind: u8, _body: &[u8], _urgency: Urgency) -> Position {
        self.next_position()
    }

    fn trim(&mut self, channel: ChannelId, first: u64) -> Position {
        if let Some(log) = self.logs.get_mut(&channel) {
            log.trim(first);
        }
        self.next_position()
    }

    fn delete_channel(&mut self, channel: ChannelId) -> Position {
        self.logs.remove(&channel);
        self.next_position()
    }

    fn admission(&mut self, _need: Need, _bytes: usize) -> Admission {
        Ok(())
    }

    fn head(&mut self, channel: ChannelId) -> Head {
        self.head_from(channel, 0)
    }

    fn head_from(&mut self, channel: ChannelId, from: u64) -> Head {
        let found = self.logs.get(&channel).and_then(|log| {
            let sequence = from.max(log.first);
            log.locate(sequence).map(|place| (sequence, place))
        });
        let Some((sequence, (block, index))) = found else {
            return Head::Empty;
        };
        let size = u32::try_from(block.body(index).len()).unwrap_or(u32::MAX);
        Head::Known {
            sequence,
            size,
            timestamp: block.entries[index].1,
        }
    }

    fn live_bytes(&self, channel: ChannelId, _messages: u64) -> u64 {
        self.logs.get(&channel).map_or(0, Log::live_bytes)
    }

    fn seek(&mut self, _ticket: Ticket, channel: ChannelId, timestamp: i64) -> Seek {
        Seek::Found(self.logs.get(&channel).map_or(1, |log| log.seek(timestamp)))
    }

    fn read(&mut self, request: ReadRequest) {
        let mut messages = ReadMessages::default();
        if let Some(log) = self.logs.get(&request.channel) {
            let mut bytes = 0;
            let mut sequence = request.from.max(log.first);
            while let Some((block, index)) = log.locate(sequence) {
                let body = block.body(index);
                bytes += body.len();
                if messages.len() >= request.messages_max.max(1) as usize
                    || (!messages.is_empty() && bytes > request.bytes_max as usize)
                {
                    break;
                }
                messages.push(sequence, block.entries[index].1, body);
                sequence += 1;
            }
        }
        self.reads.push(Completion::Read {
            ticket: request.ticket,
            messages: Ok(messages),
        });
    }

    fn message(&self, channel: ChannelId, sequence: u64) -> Lookup<'_> {
        match self.logs.get(&channel).and_then(|log| log.locate(sequence)) {
            Some((block, index)) => Lookup::Hot(block.body(index)),
            None => Lookup::Missing,
        }
    }

    fn durable(&self) -> Position {
        self.appended
    }

    fn checkpoint_fact(&mut self, _kind: u8, _body: &[u8]) {}

    fn finish_checkpoint(&mut self) {}
}

impl Store for MemoryStore {
    fn pressure(&mut self, _wanted: usize) -> Pressure {
        Pressure::default()
    }

    fn refusing(&self) -> Option<String> {
        None
    }

    fn submit(&mut self) {}

    fn take_commit(&mut self) -> Option<Commit> {
        None
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) {
        if self.told < self.appended {
            self.told = self.appended;
            completions.push(Completion::Durable(self.appended));
        }
        completions.append(&mut self.reads);
    }

    fn begin_checkpoint(&mut self) -> bool {
        false
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            records: self.appended.0,
            position: self.appended,
            ..Statistics::default()
        }
    }

    fn close(&mut self) -> Result<(), String> {
        Ok(())
    }
}
