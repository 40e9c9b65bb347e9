//! The old end of the logs: what lies there (sizes and times read ahead, so that trimming never waits in a steady state) and
//! what a trim or a deletion takes out of the index.

use super::Index;
use super::logs::Window;
use crate::completion::Completion;
use crate::directory::Span;
use crate::error::{ReadError, is_damage};
use crate::job::{FetchedWindow, WindowPart, WindowUse};
use crate::limits::{WINDOW_ENTRIES_MAX, WINDOW_ENTRIES_MIN, WINDOWS_PER_JOB};
use crate::messages::{Head, head};
use crate::names::LogId;
use crate::record_log::RecordLog;
use crate::segments::SegmentSet;
use std::collections::VecDeque;
use std::task::Poll;

#[derive(Default)]
pub(super) struct Heads {
    /// Logs whose window should be filled.
    wanted: VecDeque<LogId>,
    /// Logs and first messages of ranges whose base is not exact.
    inexact: VecDeque<(LogId, u64)>,
    next_generation: u64,
}

impl Index {
    /// Size (of the body), time and sequence of the oldest live message. Pending is followed by `Completion::HeadReady`.
    fn head(&mut self, log: LogId, records: &RecordLog) -> Head {
        let Some(state) = self.logs.get(log) else {
            return Poll::Ready(None);
        };
        let sequence = state.oldest();
        if sequence > state.last {
            return Poll::Ready(None);
        }
        if sequence >= state.recent_first() {
            let ordinal = state.recent[(sequence - state.recent_first()) as usize];
            let (_, detail) = records.detail(ordinal);
            return head(sequence, detail.size(), detail.timestamp);
        }
        let known = state.window.as_ref().and_then(|window| window.get(sequence)).copied();
        if let Some(entry) = known {
            self.refill_window(log);
            return head(sequence, entry.size, entry.timestamp);
        }
        self.refill_window(log);
        if let Some(window) = self.logs.get_mut(log).and_then(|state| state.window.as_mut()) {
            window.awaited = true;
        }
        Poll::Pending
    }

    /// The same of the oldest live message not below `from`. Pending beyond the head only says that it was not read ahead:
    /// after a trim to `from` it is asked for.
    pub(crate) fn head_from(&mut self, log: LogId, from: u64, records: &RecordLog) -> Head {
        let Some(state) = self.logs.get(log) else {
            return Poll::Ready(None);
        };
        let from = state.existing(from);
        if from <= state.oldest() {
            return self.head(log, records);
        }
        if from > state.last {
            return Poll::Ready(None);
        }
        if from >= state.recent_first() {
            let ordinal = state.recent[(from - state.recent_first()) as usize];
            let (_, detail) = records.detail(ordinal);
            return head(from, detail.size(), detail.timestamp);
        }
        match state.window.as_ref().and_then(|window| window.get(from)) {
            Some(entry) => head(from, entry.size, entry.timestamp),
            None => Poll::Pending,
        }
    }

    /// Asks for more of the window of a log whose head is on disk, when less than half is left.
    fn refill_window(&mut self, log: LogId) {
        let Some(state) = self.logs.get_mut(log) else { return };
        let (first, recent_first) = (state.oldest(), state.recent_first());
        let window = state.window.get_or_insert_with(|| {
            self.heads.next_generation += 1;
            Box::new(Window {
                generation: self.heads.next_generation,
                ..Window::default()
            })
        });
        if window.get(first).is_none() && !window.loading {
            window.entries.clear();
            window.first = first;
        }
        let enough = window.entries.len() as u32 > window.wanted / 2 && !window.entries.is_empty();
        if window.loading || enough || window.next() >= recent_first {
            return;
        }
        window.wanted = (window.wanted * 2).clamp(WINDOW_ENTRIES_MIN, WINDOW_ENTRIES_MAX);
        window.loading = true;
        self.heads.wanted.push_back(log);
    }

    /// What should be read of directories now, within the bounds of one job.
    pub(crate) fn next_windows(
        &mut self,
        segments: &mut SegmentSet,
        completions: &mut Vec<Completion>,
    ) -> Vec<WindowPart> {
        let mut parts = self.recount_parts(segments);
        while parts.len() < WINDOWS_PER_JOB {
            let Some(log) = self.heads.wanted.pop_front() else {
                break;
            };
            let Some(state) = self.logs.get_mut(log) else { continue };
            let first = state.oldest();
            let Some(window) = state.window.as_mut() else { continue };
            if window.next() < first {
                // A trim has removed all messages that were read ahead.
                window.entries.clear();
            }
            if window.entries.is_empty() {
                window.first = first;
            }
            let (from, wanted) = (window.next(), window.wanted);
            let wanted_for = WindowUse::Head(window.generation);
            let Some(range) = state.range_index(from).map(|index| state.ranges[index]) else {
                // Everything from here on is in memory, or was given up.
                self.finish_window(log, completions);
                continue;
            };
            let count = u64::from(wanted).min(range.last - from + 1) as u32;
            let before = range.before(from);
            let (id, source) = segments.pin(range.segment);
            parts.push(WindowPart {
                wanted_for,
                id,
                source,
                log,
                from,
                span: Span {
                    entry: range.entry_of(from),
                    count,
                    before,
                },
            });
        }
        parts
    }

    /// Remembers that the base of the range that begins with `first` must be made exact.
    pub(super) fn want_recount(&mut self, log: LogId, first: u64) {
        self.heads.inexact.push_back((log, first));
    }

    fn recount_parts(&mut self, segments: &mut SegmentSet) -> Vec<WindowPart> {
        let count = self.heads.inexact.len().min(WINDOWS_PER_JOB);
        let mut parts = Vec::new();
        for (log, from) in self.heads.inexact.drain(..count) {
            let Some(range) = self.logs.get(log).and_then(|state| state.inexact_range(from)) else {
                continue;
            };
            let (id, source) = segments.pin(range.segment);
            parts.push(WindowPart {
                wanted_for: WindowUse::Recount,
                id,
                source,
                log,
                from,
                span: Span {
                    entry: range.entry,
                    count: 1,
                    before: None,
                },
            });
        }
        parts
    }

    /// Counts exactly what a replaced front left alive of a range. An unreadable directory leaves it as it is: too much counts
    /// as live, and whoever reads the range asks the directory again.
    fn recounted(&mut self, part: &FetchedWindow, segments: &mut SegmentSet, at: u64) {
        let Ok((before, _)) = part.result else { return };
        let Some(state) = self.logs.get_mut(part.log) else {
            return;
        };
        let index = state.range_index(part.from);
        let Some(range) = index.and_then(|index| state.ranges.get_mut(index)) else {
            return;
        };
        if range.exact || range.first != part.from || range.segment != part.id.number {
            return;
        }
        let gone = u64::from(before.saturating_sub(range.base)).min(range.live_bytes());
        range.base += gone as u32;
        range.exact = true;
        state.bytes -= gone;
        segments.mark_dead(range.segment, gone, 0, at);
        self.logs.bytes -= gone;
    }

    /// Sizes and times of some messages will not be found out: something stands for them, so that limits go past them.
    fn guess_window(&mut self, log: LogId, error: ReadError, before: Option<u32>, completions: &mut Vec<Completion>) {
        let Some(state) = self.logs.get_mut(log) else { return };
        let count = u32::try_from(error.to - error.from + 1).unwrap_or(u32::MAX);
        let guessed = state.guess(error.from, count.min(WINDOW_ENTRIES_MAX), before);
        if let Some(window) = state.window.as_mut() {
            if window.entries.is_empty() {
                window.first = error.from;
            }
            if window.next() == error.from {
                window.entries.extend(guessed);
            }
        }
        completions.push(Completion::HeadUnreadable(log, error));
    }

    fn finish_window(&mut self, log: LogId, completions: &mut Vec<Completion>) {
        let window = self.logs.get_mut(log).and_then(|state| state.window.as_mut());
        if let Some(window) = window {
            window.loading = false;
            if std::mem::take(&mut window.awaited) {
                completions.push(Completion::HeadReady(log));
            }
        }
    }

    /// What was read of directories. Records up to `at` are appended.
    pub(crate) fn windows_completed(
        &mut self,
        parts: Vec<FetchedWindow>,
        segments: &mut SegmentSet,
        at: u64,
        completions: &mut Vec<Completion>,
    ) {
        for part in parts {
            segments.unpin(part.id.number);
            let log = part.log;
            let WindowUse::Head(generation) = part.wanted_for else {
                self.recounted(&part, segments, at);
                continue;
            };
            let window = self.logs.get_mut(log).and_then(|state| state.window.as_mut());
            let Some(window) = window.filter(|window| window.generation == generation) else {
                // The messages moved or went meanwhile: these entries say nothing of where they are now.
                continue;
            };
            let is_known = part.result.as_ref().map_or_else(is_damage, |_| true);
            match part.result {
                Ok((before, entries)) if window.entries.is_empty() || part.from == window.next() => {
                    if window.entries.is_empty() {
                        window.first = part.from;
                    }
                    window.extend(&entries, before);
                }
                Ok(_) => {}
                Err(error) => {
                    let to = part.from + u64::from(part.count.max(1)) - 1;
                    let last = window.entries.back().filter(|_| window.next() == part.from);
                    let before = last.map(|last| last.cumulative);
                    let unread = ReadError::new(log, part.from, to, &error);
                    if is_known {
                        self.guess_window(log, unread, before, completions);
                    } else {
                        window.awaited = false;
                        completions.push(Completion::HeadUnreadable(log, unread));
                    }
                }
            }
            self.finish_window(log, completions);
            if is_known {
                // A trim beyond these entries asks for more of them.
                self.count_trimmed(log, segments, at);
            }
        }
    }

    /// Counts exactly what a trim inside a sealed segment left alive, once the window tells; asks for the window otherwise.
    pub(super) fn count_trimmed(&mut self, log: LogId, segments: &mut SegmentSet, at: u64) {
        let Some(state) = self.logs.get_mut(log) else { return };
        let first = state.first;
        let Some(range) = state
            .ranges
            .first_mut()
            .filter(|range| range.first < first && first <= range.last)
        else {
            if let Some(window) = state.window.as_mut() {
                window.trim(first);
            }
            return;
        };
        let known = state.window.as_ref().and_then(|window| window.get(first)).copied();
        let Some(entry) = known else {
            self.refill_window(log);
            return;
        };
        let before = entry.cumulative.wrapping_sub(entry.size);
        let gone = u64::from(before.saturating_sub(range.base)).min(range.live_bytes());
        range.begin_at(first, range.base + gone as u32);
        range.exact = true;
        state.bytes -= gone;
        if let Some(window) = state.window.as_mut() {
            window.trim(first);
        }
        segments.mark_dead(range.segment, gone, 0, at);
        self.logs.bytes -= gone;
    }

    /// Takes the messages of `log` below `first` out of the index. `at` is the position of the record that says so.
    pub(crate) fn forget_before(
        &mut self,
        log: LogId,
        first: u64,
        at: u64,
        records: &RecordLog,
        segments: &mut SegmentSet,
        completions: &mut Vec<Completion>,
    ) {
        let Some(state) = self.logs.get_mut(log) else { return };
        let first = first.min(state.last + 1);
        if first <= state.first {
            return;
        }
        let mut gone = 0;
        let whole = state.ranges.partition_point(|range| range.last < first);
        for range in state.ranges.drain(..whole) {
            gone += range.live_bytes();
            segments.mark_dead(range.segment, range.live_bytes(), 1, at);
        }
        while !state.recent.is_empty() && state.recent_first() < first {
            let ordinal = state.recent.pop_front().expect("recent is not empty");
            gone += u64::from(records.detail(ordinal).1.size());
        }
        let messages = first - state.first;
        state.first = first;
        state.bytes -= gone;
        let uncounted = !state.ranges.is_empty();
        if !uncounted && state.drop_window() {
            completions.push(Completion::HeadReady(log));
        }
        self.logs.bytes -= gone;
        self.logs.messages -= messages;
        if uncounted {
            self.count_trimmed(log, segments, at);
        }
    }

    /// Takes a log out of the index. `at` is the position of the record that says so.
    pub(crate) fn forget_log(
        &mut self,
        log: LogId,
        at: u64,
        segments: &mut SegmentSet,
        completions: &mut Vec<Completion>,
    ) {
        let Some(mut state) = self.logs.remove(log) else { return };
        self.logs.bytes -= state.bytes;
        self.logs.messages -= state.count();
        for range in &state.ranges {
            segments.mark_dead(range.segment, range.live_bytes(), 1, at);
        }
        if state.drop_window() {
            completions.push(Completion::HeadReady(log));
        }
    }
}
