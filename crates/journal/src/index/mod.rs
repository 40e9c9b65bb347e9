//! The index of the journal: where the messages of each log are. One entry per log and sealed segment, one small number per
//! message of segments that have no directory yet. Counts what is live, in total and per segment.

mod absorb;
mod heads;
mod logs;

use crate::completion::Completion;
use crate::directory::{Directory, Run, Span};
use crate::format::NUMBER_MAX;
use crate::lost_log::LostLog;
use crate::messages::LogBounds;
use crate::names::LogId;
use crate::record_log::{Appended, RecordLog};
use crate::segments::SegmentSet;
use heads::Heads;
use logs::{LogState, Logs};
use std::collections::vec_deque;

/// Where messages of a log are, from some sequence on.
pub(crate) enum Located<'a> {
    /// There are none.
    Nowhere,
    /// In segments without a directory: their ordinals in the record log.
    Recent(vec_deque::Iter<'a, u32>),
    /// In a sealed segment: its number, which entries of its directory, and how many there are from the first of them on.
    Stored(u64, Span, u64),
}

/// Where the first message that is not older than some time is.
pub(crate) enum LocatedTime {
    Known(u64),
    /// In a sealed segment with this number: among some entries of its directory, or else it is `otherwise`.
    Stored {
        segment: u64,
        entry: u32,
        count: u32,
        otherwise: u64,
    },
}

/// Whether a message is there.
pub(crate) enum Found {
    Missing,
    /// Its ordinal in the record log.
    Recent(u32),
    Stored,
}

/// Messages that a log should have and that are in no segment.
pub(crate) struct Hole {
    pub(crate) log: LogId,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Index {
    logs: Logs,
    heads: Heads,
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.logs.len()
    }

    /// Record bytes of all live messages.
    pub(crate) fn bytes(&self) -> u64 {
        self.logs.bytes
    }

    /// Number of all live messages.
    pub(crate) fn messages(&self) -> u64 {
        self.logs.messages
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = LogId> {
        self.logs.iter().map(|log| log.id)
    }

    pub(crate) fn bounds(&self, log: LogId) -> Option<LogBounds> {
        self.logs.get(log).map(LogState::bounds)
    }

    /// Number of places for logs; some may be vacant.
    pub(crate) fn slots(&self) -> usize {
        self.logs.slots()
    }

    /// The log in one of the places.
    pub(crate) fn slot(&self, slot: usize) -> Option<(LogId, LogBounds)> {
        let log = self.logs.slot(slot)?;
        Some((log.id, log.bounds()))
    }

    /// A message was appended.
    ///
    /// # Panics
    /// When its sequence is not one above the log's last (any higher one is right for a log of which nothing was appended since the
    /// start: the owner may know of messages that were lost).
    pub(crate) fn append(&mut self, log: LogId, sequence: u64, timestamp: i64, appended: &Appended) {
        let state = self.logs.get_or_insert(log, sequence, sequence - 1);
        let follows = if state.is_empty() || state.recent.is_empty() {
            sequence > state.last
        } else {
            sequence == state.last + 1
        };
        assert!(follows, "message {sequence} of log {} after {}", log.0, state.last);
        let added = if state.is_empty() { 1 } else { sequence - state.last };
        if state.is_empty() {
            state.first = sequence;
        }
        state.last = sequence;
        state.last_timestamp = timestamp;
        state.bytes += u64::from(appended.size);
        state.recent.push_back(appended.ordinal);
        self.logs.bytes += u64::from(appended.size);
        self.logs.messages += added;
    }

    /// The first message of a log from `sequence` on that was not given up.
    pub(crate) fn existing(&self, log: LogId, sequence: u64) -> u64 {
        self.logs
            .get(log)
            .map_or(sequence, |state| state.existing(sequence.max(state.first)))
    }

    pub(crate) fn find(&self, log: LogId, sequence: u64) -> Found {
        let Some(state) = self.logs.get(log) else {
            return Found::Missing;
        };
        if sequence < state.first || sequence > state.last {
            return Found::Missing;
        }
        match sequence.checked_sub(state.recent_first()) {
            Some(index) => Found::Recent(state.recent[index as usize]),
            None if state.range_index(sequence).is_none() => Found::Missing,
            None => Found::Stored,
        }
    }

    /// Where at most `count` messages of a log are, from `from` on; those that were given up are gone.
    pub(crate) fn locate(&self, log: LogId, from: u64, count: u64) -> Located<'_> {
        let Some(state) = self.logs.get(log) else {
            return Located::Nowhere;
        };
        let from = state.existing(from.max(state.first));
        if from > state.last {
            return Located::Nowhere;
        }
        if let Some(start) = from.checked_sub(state.recent_first()) {
            return Located::Recent(state.recent.range(start as usize..));
        }
        let Some(index) = state.range_index(from) else {
            return Located::Nowhere;
        };
        let range = &state.ranges[index];
        let span = Span {
            entry: range.entry_of(from),
            count: count.min(range.last - from + 1) as u32,
            before: range.before(from),
        };
        Located::Stored(range.segment, span, range.last - from + 1)
    }

    /// Where the first message is whose time is not before `timestamp`.
    pub(crate) fn locate_time(&self, log: LogId, timestamp: i64, records: &RecordLog) -> LocatedTime {
        let Some(state) = self.logs.get(log) else {
            return LocatedTime::Known(1);
        };
        let is_early = |ordinal: &u32| records.detail(*ordinal).1.timestamp < timestamp;
        if state.recent.front().is_some_and(is_early) {
            let before = state.recent.partition_point(is_early);
            return LocatedTime::Known((state.recent_first() + before as u64).max(state.first));
        }
        let after = state.ranges.partition_point(|range| range.first_timestamp < timestamp);
        let Some(index) = after.checked_sub(1) else {
            return LocatedTime::Known(state.first);
        };
        let range = &state.ranges[index];
        let from = state.first.max(range.first);
        LocatedTime::Stored {
            segment: range.segment,
            entry: range.entry_of(from),
            count: (range.last - from + 1) as u32,
            otherwise: range.last + 1,
        }
    }

    /// The first live piece of a run of `segment` from `from` on, at most `count` entries of it: where it begins, and the entries.
    pub(crate) fn live_part(&self, run: &Run, segment: u64, from: u64, count: u64) -> Option<(u64, Span)> {
        let log = self.logs.get(run.log)?;
        let from = run.first.max(log.first).max(from);
        // What was copied by an interrupted rewriting lies elsewhere, and the rest behind it still here.
        let ranges = &log.ranges[log.ranges.partition_point(|range| range.last < from)..];
        let mut ranges = ranges.iter().take_while(|range| range.first <= run.last);
        let range = ranges.find(|range| range.segment == segment)?;
        let from = from.max(range.first);
        if from > run.last {
            return None;
        }
        let span = Span {
            entry: range.entry_of(from),
            count: count.min(range.last - from + 1) as u32,
            before: range.before(from),
        };
        Some((from, span))
    }

    /// Whether a live message is, as far as the index knows, in `segment`.
    pub(crate) fn is_in(&self, segment: u64, log: LogId, sequence: u64) -> bool {
        self.logs.get(log).is_some_and(|log| {
            let range = log.range_index(sequence);
            sequence >= log.first && range.is_some_and(|index| log.ranges[index].segment == segment)
        })
    }

    /// Brings some runs of a directory in. Records up to `at` are appended.
    pub(crate) fn absorb(
        &mut self,
        directory: &Directory,
        runs: &[Run],
        segments: &mut SegmentSet,
        at: u64,
        completions: &mut Vec<Completion>,
    ) {
        let mut moved = Vec::new();
        for run in runs {
            let Some(log) = self.logs.get_mut(run.log) else {
                continue;
            };
            let awaited = log.window.as_ref().is_some_and(|window| window.awaited);
            self.logs.bytes -= absorb::absorb_run(log, run, directory, segments, at);
            let Some(log) = self.logs.get(run.log) else { continue };
            if awaited && log.window.is_none() {
                completions.push(Completion::HeadReady(run.log));
            }
            if run.moved {
                moved.push((run.log, run.last));
            }
        }
        for (log, last) in moved {
            // What was read ahead was dropped with the old places, and a trim inside a segment may wait to be counted with it.
            self.count_trimmed(log, segments, at);
            let state = self.logs.get(log);
            if state.is_some_and(|state| state.inexact_range(last + 1).is_some()) {
                self.want_recount(log, last + 1);
            }
        }
    }
}

/// What a start does to an index.
impl Index {
    /// A log as a checkpoint has it: records below position `as_of` are in its bounds already.
    pub(crate) fn restore(&mut self, log: LogId, bounds: &LogBounds, as_of: u64) {
        let state = self.logs.get_or_insert(log, bounds.first, bounds.last);
        state.last_timestamp = bounds.last_timestamp;
        state.as_of = as_of;
    }

    /// A message of the tail. Where messages were given up, any higher sequence follows.
    pub(crate) fn replay_message(
        &mut self,
        log: LogId,
        sequence: u64,
        timestamp: i64,
        position: u64,
        tolerates_holes: bool,
    ) -> Result<(), String> {
        if sequence == 0 || sequence >= NUMBER_MAX {
            return Err(format!("impossible sequence {sequence} in log {}", log.0));
        }
        let state = self.logs.get_or_insert(log, sequence, sequence - 1);
        if position < state.as_of {
            return Ok(());
        }
        let follows = if state.is_empty() || tolerates_holes {
            sequence > state.last
        } else {
            sequence == state.last + 1
        };
        if !follows {
            return Err(format!(
                "message {sequence} of log {} follows message {}",
                log.0, state.last
            ));
        }
        if state.is_empty() {
            state.first = sequence;
        }
        state.last = sequence;
        state.last_timestamp = timestamp;
        Ok(())
    }

    /// Messages of a log were given up: it goes on behind them.
    pub(crate) fn restore_lost(&mut self, log: LogId, lost: LostLog) {
        let state = self.logs.get_or_insert(log, lost.first, lost.first - 1);
        if state.last < lost.last {
            state.last = lost.last;
            state.last_timestamp = state.last_timestamp.max(lost.timestamp);
        }
    }

    pub(crate) fn replay_trim(&mut self, log: LogId, first: u64, position: u64) {
        if let Some(state) = self.logs.get_mut(log).filter(|state| state.as_of <= position) {
            state.first = state.first.max(first.min(state.last.saturating_add(1)));
        }
    }

    pub(crate) fn replay_delete(&mut self, log: LogId) {
        self.logs.remove(log);
    }

    /// Brings in a directory that is in memory.
    pub(crate) fn restore_directory(&mut self, directory: &Directory, segments: &mut SegmentSet, at: u64) {
        for run in &directory.runs {
            if let Some(log) = self.logs.get_mut(run.log) {
                absorb::absorb_run(log, run, directory, segments, at);
            }
        }
    }

    /// Brings in a run of a directory on the disk; `base_before` reads the cumulative size before a sequence of it.
    pub(crate) fn restore_run(
        &mut self,
        run: &Run,
        segment: u64,
        base_before: &dyn Fn(u64) -> Option<u32>,
        segments: &mut SegmentSet,
        at: u64,
    ) {
        if let Some(log) = self.logs.get_mut(run.log) {
            absorb::absorb(log, run, segment, base_before, segments, at);
        }
    }

    /// Counts what is live; the messages that are in no segment.
    pub(crate) fn restored(&mut self) -> Vec<Hole> {
        let (mut total, mut messages) = (0, 0);
        let mut holes = Vec::new();
        for log in self.logs.iter_mut() {
            let mut next = log.first;
            let end = log.last + 1;
            let starts = log.ranges.iter().map(|range| (range.first, range.last + 1));
            for (first, behind) in starts.chain([(end, end)]) {
                if first > next {
                    holes.push(Hole {
                        log: log.id,
                        from: next,
                        to: first - 1,
                    });
                }
                next = next.max(behind);
            }
            log.bytes = log.ranges.iter().map(logs::Range::live_bytes).sum();
            total += log.bytes;
            messages += log.count();
        }
        self.logs.bytes = total;
        self.logs.messages = messages;
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Detail, Extent, Source};
    use crate::format::SegmentId;

    /// Where a rewriting was interrupted, the next one goes on.
    #[test]
    fn a_run_is_live_behind_what_was_copied_of_it() {
        const LOG: LogId = LogId(3);
        let (mut index, mut segments) = (Index::default(), SegmentSet::default());
        let bounds = LogBounds {
            first: 1,
            last: 10,
            count: 10,
            bytes: 0,
            last_timestamp: 0,
        };
        index.restore(LOG, &bounds, 0);
        let mut directories = Vec::new();
        for (number, last, moved) in [(1, 10, false), (2, 4, true)] {
            let id = SegmentId { number, epoch: 1 };
            let detail = |sequence| Detail::new(LOG, sequence, 0, 5_000 + 100 * sequence as u32, 100, moved);
            let details: Vec<Detail> = (1..=last).map(detail).collect();
            let directory = Directory::build(id, Extent::default(), &details, false);
            let source = Source::File { runs: 1, end: 0 };
            segments.add_found(id, 1 << 16, Extent::default(), 0, source, directory.content());
            index.restore_directory(&directory, &mut segments, 0);
            directories.push(directory);
        }
        let part = |from, count| {
            let (from, span) = index.live_part(&directories[0].runs[0], 1, from, count)?;
            Some((from, span.entry, span.count))
        };
        assert_eq!(part(0, 100), Some((5, 4, 6)));
        assert_eq!(part(3, 2), Some((5, 4, 2)));
        assert_eq!(part(7, 100), Some((7, 6, 4)));
        assert_eq!(part(11, 100), None);
    }
}
