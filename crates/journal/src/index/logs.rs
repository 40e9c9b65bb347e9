//! What is known of each log: its bounds, where its messages are, and the sizes at its head.

use crate::directory::Entry;
use crate::messages::LogBounds;
use crate::names::LogId;
use foldhash::fast::FixedState;
use std::collections::{HashMap, VecDeque};

/// Consecutive messages of a log in one absorbed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) first_timestamp: i64,
    pub(super) segment: u64,
    /// Number of the directory entry of `first`.
    pub(super) entry: u32,
    /// Sum of record lengths in the run before the first message that counts as live. That is `first`, unless a trim inside
    /// the range waits for its directory page: then the sum is too low.
    pub(super) base: u32,
    /// Sum of record lengths in the run up to and including `last`.
    pub(super) end: u32,
    /// False when `base` is too low for another reason: a copy replaced the front before a trim inside it was counted.
    pub(super) exact: bool,
}

impl Range {
    pub(super) fn live_bytes(&self) -> u64 {
        u64::from(self.end.saturating_sub(self.base))
    }
    /// Sum of record lengths in the run before the live message `sequence`, if that is known without its directory.
    pub(super) fn before(&self, sequence: u64) -> Option<u32> {
        (self.exact && sequence == self.first).then_some(self.base)
    }
    /// Lets the range begin with `first`, before which the run has `base` bytes.
    pub(super) fn begin_at(&mut self, first: u64, base: u32) {
        self.entry = self.entry_of(first);
        self.first = first;
        self.base = base;
    }
    /// Number of the directory entry of `sequence`, which lies in the range.
    pub(super) fn entry_of(&self, sequence: u64) -> u32 {
        debug_assert!((self.first..=self.last).contains(&sequence));
        self.entry + (sequence - self.first) as u32
    }
}

/// Size and time of a message near the head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadEntry {
    pub(super) timestamp: i64,
    pub(super) size: u32,
    pub(super) cumulative: u32,
}

/// Sizes and times read ahead at the head of a log whose oldest messages are on disk.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Sequence of the first entry.
    pub(super) first: u64,
    pub(super) entries: VecDeque<HeadEntry>,
    /// Entries the next refill asks for.
    pub(super) wanted: u32,
    pub(super) loading: bool,
    /// Tells it from earlier windows of the log, whose entries may still be on their way.
    pub(super) generation: u64,
    /// Somebody was told to wait for it.
    pub(super) awaited: bool,
}

impl Window {
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
    pub(super) fn get(&self, sequence: u64) -> Option<&HeadEntry> {
        self.entries
            .get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)
    }
    /// Drops what lies before `first`.
    pub(super) fn trim(&mut self, first: u64) {
        let gone = usize::try_from(first.saturating_sub(self.first))
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        self.entries.drain(..gone);
        self.first += gone as u64;
    }
    /// Appends entries that follow; `before` is the cumulative size before the first of them.
    pub(super) fn extend(&mut self, entries: &[Entry], before: u32) {
        let mut before = before;
        for entry in entries {
            self.entries.push_back(HeadEntry {
                timestamp: entry.timestamp,
                // A page whose checksum matches may still lie, and what came before may have been guessed; the record's own
                // length has the last word.
                size: entry.cumulative.saturating_sub(before),
                cumulative: entry.cumulative,
            });
            before = entry.cumulative;
        }
    }
}

/// One log.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) id: LogId,
    /// Oldest live sequence; `last + 1` when there is none. Never decreases.
    pub(super) first: u64,
    /// Newest sequence ever. Never decreases.
    pub(super) last: u64,
    /// Record bytes of live messages; too high while a trim inside a sealed segment waits for its directory page.
    pub(super) bytes: u64,
    pub(super) last_timestamp: i64,
    /// Recovery: records below this position are already in the values above.
    pub(super) as_of: u64,
    /// Ordinals (in `Tail`) of the newest messages; the last one is the message `last`.
    pub(super) recent: VecDeque<u32>,
    /// Older messages, in order of sequence, without overlap.
    pub(super) ranges: Vec<Range>,
    pub(super) window: Option<Box<Window>>,
}

impl LogState {
    pub(super) fn new(id: LogId, first: u64, last: u64) -> LogState {
        LogState {
            id,
            first,
            last,
            bytes: 0,
            last_timestamp: i64::MIN,
            as_of: 0,
            recent: VecDeque::new(),
            ranges: Vec::new(),
            window: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first > self.last
    }

    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds {
            first: self.first,
            last: self.last,
            count: self.count(),
            bytes: self.bytes,
            last_timestamp: self.last_timestamp,
        }
    }

    /// Number of live messages, those that were given up among them.
    pub(super) fn count(&self) -> u64 {
        self.last + 1 - self.first
    }

    /// Sequence of the oldest message in `recent`.
    pub(super) fn recent_first(&self) -> u64 {
        self.last + 1 - self.recent.len() as u64
    }

    /// Forgets the window; whether somebody was told to wait for it and must be called.
    pub(super) fn drop_window(&mut self) -> bool {
        self.window.take().is_some_and(|window| window.awaited)
    }

    /// The range that begins with `first`, if its base is not exact and it has not been replaced.
    pub(super) fn inexact_range(&self, first: u64) -> Option<&Range> {
        let range = &self.ranges[self.range_index(first)?];
        (!range.exact && range.first == first).then_some(range)
    }

    /// The first message from `sequence` on that was not given up; `last + 1` when there is none.
    pub(super) fn existing(&self, sequence: u64) -> u64 {
        let next = self.ranges.partition_point(|range| range.last < sequence);
        let next = self.ranges.get(next).map_or(self.recent_first(), |range| range.first);
        next.max(sequence)
    }

    /// The oldest live message that was not given up; `last + 1` when there is none.
    pub(super) fn oldest(&self) -> u64 {
        self.existing(self.first)
    }

    /// No message from `sequence` on up to the next range, or to what is in memory, is younger than this.
    fn time_behind(&self, sequence: u64) -> i64 {
        let next = self.ranges.partition_point(|range| range.first <= sequence);
        self.ranges
            .get(next)
            .map_or(self.last_timestamp, |range| range.first_timestamp)
    }

    /// What stands for the sizes and times of `count` messages from `from` on that cannot be read: of their range an even share of
    /// what its bytes are known to be, and the time of what follows, so that none goes by its age too early.
    pub(super) fn guess(&self, from: u64, count: u32, before: Option<u32>) -> Vec<HeadEntry> {
        let timestamp = self.time_behind(from);
        let Some(range) = self.range_index(from).map(|index| &self.ranges[index]) else {
            return Vec::new();
        };
        let start = before.unwrap_or(range.base);
        let (bytes, messages) = (u64::from(range.end.saturating_sub(start)), range.last - from + 1);
        let upto = |index: u64| start + (bytes * index / messages.max(1)) as u32;
        (0..u64::from(count).min(messages))
            .map(|index| HeadEntry {
                timestamp,
                size: upto(index + 1) - upto(index),
                cumulative: upto(index + 1),
            })
            .collect()
    }

    /// The range that holds `sequence`.
    pub(super) fn range_index(&self, sequence: u64) -> Option<usize> {
        let index = self.ranges.partition_point(|range| range.last < sequence);
        self.ranges
            .get(index)
            .filter(|range| range.first <= sequence)
            .map(|_| index)
    }
}

/// Ids per page of [`SlotIndex`].
const PAGE_IDS: u64 = 256;
/// The entry of an id without a log.
const NO_SLOT: u32 = u32::MAX;

/// The slots of some neighbouring ids.
struct SlotPage {
    slots: Box<[u32]>,
    used: u32,
}

/// Slots by id, in pages: owners count ids up, so the pages of all logs are few and stay in the processor's caches where a
/// map of single ids would not.
#[derive(Default)]
struct SlotIndex {
    pages: HashMap<u64, SlotPage, FixedState>,
}

impl SlotIndex {
    fn get(&self, id: LogId) -> Option<u32> {
        let page = self.pages.get(&(id.0 / PAGE_IDS))?;
        Some(page.slots[(id.0 % PAGE_IDS) as usize]).filter(|slot| *slot != NO_SLOT)
    }

    /// Gives an id without a log its slot.
    fn insert(&mut self, id: LogId, slot: u32) {
        let page = self.pages.entry(id.0 / PAGE_IDS).or_insert_with(|| SlotPage {
            slots: vec![NO_SLOT; PAGE_IDS as usize].into(),
            used: 0,
        });
        page.slots[(id.0 % PAGE_IDS) as usize] = slot;
        page.used += 1;
    }

    fn remove(&mut self, id: LogId) -> Option<u32> {
        let slot = self.get(id)?;
        let number = id.0 / PAGE_IDS;
        let page = self.pages.get_mut(&number)?;
        page.slots[(id.0 % PAGE_IDS) as usize] = NO_SLOT;
        page.used -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
        }
        Some(slot)
    }
}

/// All logs, by id and by slot.
#[derive(Default)]
pub(super) struct Logs {
    index: SlotIndex,
    slots: Vec<Option<LogState>>,
    free: Vec<u32>,
    /// Record bytes of all live messages.
    pub(super) bytes: u64,
    /// Number of all live messages.
    pub(super) messages: u64,
}

impl Logs {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn get(&self, id: LogId) -> Option<&LogState> {
        self.slots[self.index.get(id)? as usize].as_ref()
    }

    pub(super) fn get_mut(&mut self, id: LogId) -> Option<&mut LogState> {
        self.slots[self.index.get(id)? as usize].as_mut()
    }

    /// The log, created with `first` and `last` when unknown.
    pub(super) fn get_or_insert(&mut self, id: LogId, first: u64, last: u64) -> &mut LogState {
        let slot = self.index.get(id).unwrap_or_else(|| {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            });
            self.index.insert(id, slot);
            slot
        });
        self.slots[slot as usize].get_or_insert_with(|| LogState::new(id, first, last))
    }

    pub(super) fn remove(&mut self, id: LogId) -> Option<LogState> {
        let slot = self.index.remove(id)?;
        self.free.push(slot);
        self.slots[slot as usize].take()
    }

    /// Number of slots; some may be vacant.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slot(&self, slot: usize) -> Option<&LogState> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LogState> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LogState> {
        self.slots.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_come_and_go_under_any_id() {
        let ids = [0, 1, PAGE_IDS - 1, PAGE_IDS, 7 * PAGE_IDS + 3, u64::MAX].map(LogId);
        let mut logs = Logs::default();
        for (number, id) in ids.into_iter().enumerate() {
            assert!(logs.get(id).is_none());
            logs.get_or_insert(id, number as u64, 0);
        }
        assert_eq!((logs.len(), logs.index.pages.len()), (6, 4));
        for (number, id) in ids.into_iter().enumerate() {
            assert_eq!(logs.get_or_insert(id, 99, 0).first, number as u64);
            assert_eq!(logs.remove(id).map(|log| log.id), Some(id));
            assert!(logs.get(id).is_none() && logs.remove(id).is_none());
        }
        assert_eq!((logs.len(), logs.index.pages.len()), (0, 0));
        logs.get_or_insert(LogId(5), 1, 0);
        assert_eq!(logs.slots(), 6, "slots are used again");
    }
}
