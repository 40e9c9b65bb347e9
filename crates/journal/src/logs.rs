//! What is known of each log: its bounds, where its messages are, and the sizes at its head. The index of the journal: one
//! entry per log and sealed segment, one small number per message of segments that have no directory yet.

use crate::LogId;
use crate::directory::Entry;
use foldhash::fast::FixedState;
use std::collections::{HashMap, VecDeque};

/// Consecutive messages of a log in one absorbed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) first_timestamp: i64,
    pub(crate) segment: u64,
    /// Number of the directory entry of `first`.
    pub(crate) entry: u32,
    /// Sum of record lengths in the run before the first message that counts as live. That is `first`, unless a trim inside
    /// the range waits for its directory page: then the sum is too low.
    pub(crate) base: u32,
    /// Sum of record lengths in the run up to and including `last`.
    pub(crate) end: u32,
    /// False when `base` is too low for another reason: a copy replaced the front before a trim inside it was settled.
    pub(crate) exact: bool,
}

impl Range {
    pub(crate) fn live_bytes(&self) -> u64 {
        u64::from(self.end.saturating_sub(self.base))
    }
    /// Sum of record lengths in the run before the live message `sequence`, if that is known without its directory.
    pub(crate) fn before(&self, sequence: u64) -> Option<u32> {
        (self.exact && sequence == self.first).then_some(self.base)
    }
    /// Lets the range begin with `first`, before which the run has `base` bytes.
    pub(crate) fn begin_at(&mut self, first: u64, base: u32) {
        self.entry = self.entry_of(first);
        self.first = first;
        self.base = base;
    }
    /// Number of the directory entry of `sequence`, which lies in the range.
    pub(crate) fn entry_of(&self, sequence: u64) -> u32 {
        debug_assert!((self.first..=self.last).contains(&sequence));
        self.entry + (sequence - self.first) as u32
    }
}

/// Size and time of a message near the head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadEntry {
    pub(crate) timestamp: i64,
    pub(crate) size: u32,
    pub(crate) cumulative: u32,
}

/// Sizes and times read ahead at the head of a log whose oldest messages are on disk.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Sequence of the first entry.
    pub(crate) first: u64,
    pub(crate) entries: VecDeque<HeadEntry>,
    /// Entries the next refill asks for.
    pub(crate) wanted: u32,
    pub(crate) loading: bool,
    /// Tells it from earlier windows of the log, whose entries may still be on their way.
    pub(crate) generation: u64,
    /// Somebody was told to wait for it.
    pub(crate) awaited: bool,
}

impl Window {
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
    pub(crate) fn get(&self, sequence: u64) -> Option<&HeadEntry> {
        self.entries
            .get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)
    }
    /// Drops what lies before `first`.
    pub(crate) fn trim(&mut self, first: u64) {
        let gone = usize::try_from(first.saturating_sub(self.first))
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        self.entries.drain(..gone);
        self.first += gone as u64;
    }
    /// Appends entries that follow; `before` is the cumulative size before the first of them.
    pub(crate) fn extend(&mut self, entries: &[Entry], before: u32) {
        let mut before = before;
        for entry in entries {
            self.entries.push_back(HeadEntry {
                timestamp: entry.timestamp,
                // A page whose checksum matches may still lie; the record's own length has the last word.
                size: entry.cumulative.wrapping_sub(before),
                cumulative: entry.cumulative,
            });
            before = entry.cumulative;
        }
    }
}

/// One log.
#[derive(Debug)]
pub(crate) struct LogState {
    pub(crate) id: LogId,
    /// Oldest live sequence; `last + 1` when there is none. Never decreases.
    pub(crate) first: u64,
    /// Newest sequence ever. Never decreases.
    pub(crate) last: u64,
    /// Record bytes of live messages; too high while a trim inside a sealed segment waits for its directory page.
    pub(crate) bytes: u64,
    pub(crate) last_timestamp: i64,
    /// Recovery: records below this position are already in the values above.
    pub(crate) as_of: u64,
    /// Ordinals (in `Tail`) of the newest messages; the last one is the message `last`.
    pub(crate) recent: VecDeque<u32>,
    /// Older messages, in order of sequence, without overlap.
    pub(crate) ranges: Vec<Range>,
    pub(crate) window: Option<Box<Window>>,
}

impl LogState {
    pub(crate) fn new(id: LogId, first: u64, last: u64) -> LogState {
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

    pub(crate) fn is_empty(&self) -> bool {
        self.first > self.last
    }

    /// Number of live messages.
    pub(crate) fn count(&self) -> u64 {
        self.last + 1 - self.first
    }

    /// Sequence of the oldest message in `recent`.
    pub(crate) fn recent_first(&self) -> u64 {
        self.last + 1 - self.recent.len() as u64
    }

    /// Forgets the window; whether somebody was told to wait for it and must be called.
    pub(crate) fn drop_window(&mut self) -> bool {
        self.window.take().is_some_and(|window| window.awaited)
    }

    /// The range that begins with `first`, if its base is not exact and it has not been replaced.
    pub(crate) fn inexact_range(&self, first: u64) -> Option<&Range> {
        let range = &self.ranges[self.range_index(first)?];
        (!range.exact && range.first == first).then_some(range)
    }

    /// The range that holds `sequence`.
    pub(crate) fn range_index(&self, sequence: u64) -> Option<usize> {
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
pub(crate) struct Logs {
    index: SlotIndex,
    slots: Vec<Option<LogState>>,
    free: Vec<u32>,
    /// Record bytes of all live messages.
    pub(crate) bytes: u64,
    /// Number of all live messages.
    pub(crate) messages: u64,
}

impl Logs {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn get(&self, id: LogId) -> Option<&LogState> {
        self.slots[self.index.get(id)? as usize].as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: LogId) -> Option<&mut LogState> {
        self.slots[self.index.get(id)? as usize].as_mut()
    }

    /// The log, created with `first` and `last` when unknown.
    pub(crate) fn get_or_insert(&mut self, id: LogId, first: u64, last: u64) -> &mut LogState {
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

    pub(crate) fn remove(&mut self, id: LogId) -> Option<LogState> {
        let slot = self.index.remove(id)?;
        self.free.push(slot);
        self.slots[slot as usize].take()
    }

    /// Number of slots; some may be vacant.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn slot(&self, slot: usize) -> Option<&LogState> {
        self.slots.get(slot)?.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LogState> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LogState> {
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
