//! The old end of the logs: what lies there (sizes and times read ahead, so that trimming never waits in a steady state) and
//! what a trim or a deletion takes out of the index.

use crate::directory::Span;
use crate::job::{FetchedWindow, JobKind, WindowPart};
use crate::journal::Journal;
use crate::limits::{WINDOW_ENTRIES_MAX, WINDOW_ENTRIES_MIN, WINDOWS_PER_JOB};
use crate::read::Head;
use crate::{Completion, LogId, ReadError};
use std::collections::VecDeque;

#[derive(Default)]
pub(crate) struct Heads {
    /// Logs whose window should be filled.
    wanted: VecDeque<LogId>,
}

impl Journal {
    /// Size (of the body), time and sequence of the oldest live message. `Reading` is followed by `Completion::HeadReady`.
    pub fn head(&mut self, log: LogId) -> Head {
        let Some(state) = self.logs.get(log) else {
            return Head::Empty;
        };
        if state.is_empty() {
            return Head::Empty;
        }
        let sequence = state.first;
        if sequence >= state.recent_first() {
            let ordinal = state.recent[(sequence - state.recent_first()) as usize];
            let (_, detail) = self.tail.get(ordinal);
            return Head::known(sequence, detail.size(), detail.timestamp);
        }
        let known = state.window.as_ref().and_then(|window| window.get(sequence)).copied();
        if let Some(entry) = known {
            self.refill_window(log);
            return Head::known(sequence, entry.size, entry.timestamp);
        }
        self.refill_window(log);
        if let Some(window) = self.logs.get_mut(log).and_then(|state| state.window.as_mut()) {
            window.awaited = true;
        }
        Head::Reading
    }

    /// Asks for more of the window of a log whose head is on disk, when less than half is left.
    fn refill_window(&mut self, log: LogId) {
        let Some(state) = self.logs.get_mut(log) else { return };
        let (first, recent_first) = (state.first, state.recent_first());
        let window = state.window.get_or_insert_with(Box::default);
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

    pub(crate) fn next_windows_job(&mut self) -> Option<JobKind> {
        let mut parts = Vec::new();
        while parts.len() < WINDOWS_PER_JOB {
            let Some(log) = self.heads.wanted.pop_front() else {
                break;
            };
            let Some(state) = self.logs.get_mut(log) else { continue };
            let Some(window) = state.window.as_mut() else { continue };
            if window.entries.is_empty() {
                window.first = state.first;
            }
            let (from, wanted) = (window.next(), window.wanted);
            let Some(range) = state.range_index(from).map(|index| state.ranges[index]) else {
                // Everything from here on is in memory.
                self.finish_window(log);
                continue;
            };
            let count = u64::from(wanted).min(range.last - from + 1) as u32;
            let before = (from == range.first).then_some(range.base);
            let segment = self.segments.get_mut(range.segment);
            segment.pins += 1;
            parts.push(WindowPart {
                id: segment.id,
                source: segment.source.clone(),
                log,
                from,
                span: Span {
                    entry: range.entry_of(from),
                    count,
                    before,
                },
            });
        }
        (!parts.is_empty()).then_some(JobKind::Windows {
            identity: self.identity,
            parts,
        })
    }

    fn finish_window(&mut self, log: LogId) {
        let window = self.logs.get_mut(log).and_then(|state| state.window.as_mut());
        if let Some(window) = window {
            window.loading = false;
            if std::mem::take(&mut window.awaited) {
                self.completions.push(Completion::HeadReady(log));
            }
        }
    }

    pub(crate) fn windows_completed(&mut self, parts: Vec<FetchedWindow>) {
        self.reads.outstanding -= 1;
        for part in parts {
            self.segments.unpin(part.id.number);
            let log = part.log;
            let Some(state) = self.logs.get_mut(log) else {
                self.completions.push(Completion::HeadReady(log));
                continue;
            };
            let Some(window) = state.window.as_mut() else {
                // The messages moved meanwhile; whoever waits asks again.
                self.completions.push(Completion::HeadReady(log));
                continue;
            };
            match part.result {
                Ok((before, entries)) if window.entries.is_empty() || part.from == window.next() => {
                    if window.entries.is_empty() {
                        window.first = part.from;
                    }
                    window.extend(&entries, before);
                    self.settle(log);
                }
                Ok(_) => {}
                Err(error) => {
                    window.awaited = false;
                    self.completions
                        .push(Completion::HeadUnreadable(log, ReadError(error.to_string())));
                }
            }
            self.finish_window(log);
        }
    }

    /// Counts exactly what a trim inside a sealed segment left alive, once the window tells; asks for the window otherwise.
    fn settle(&mut self, log: LogId) {
        let at = self.writer.next_position;
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
        let gone = u64::from((entry.cumulative - entry.size).saturating_sub(range.base));
        range.base += gone as u32;
        state.bytes -= gone;
        if let Some(window) = state.window.as_mut() {
            window.trim(first);
        }
        self.segments.release(range.segment, gone, 0, at);
        self.logs.bytes -= gone;
    }

    /// Takes the messages of `log` below `first` out of the index. `at` is the position of the record that says so.
    pub(crate) fn forget_before(&mut self, log: LogId, first: u64, at: u64) {
        let Some(state) = self.logs.get_mut(log) else { return };
        let first = first.min(state.last + 1);
        if first <= state.first {
            return;
        }
        let mut gone = 0;
        let whole = state.ranges.partition_point(|range| range.last < first);
        for range in state.ranges.drain(..whole) {
            gone += range.live_bytes();
            self.segments.release(range.segment, range.live_bytes(), 1, at);
        }
        while !state.recent.is_empty() && state.recent_first() < first {
            let ordinal = state.recent.pop_front().expect("recent is not empty");
            gone += u64::from(self.tail.get(ordinal).1.size());
        }
        let messages = first - state.first;
        state.first = first;
        state.bytes -= gone;
        let unsettled = !state.ranges.is_empty();
        if !unsettled {
            state.window = None;
        }
        self.logs.bytes -= gone;
        self.logs.messages -= messages;
        if unsettled {
            self.settle(log);
        }
    }

    /// Takes a log out of the index. `at` is the position of the record that says so.
    pub(crate) fn forget_log(&mut self, log: LogId, at: u64) {
        let Some(state) = self.logs.remove(log) else { return };
        self.logs.bytes -= state.bytes;
        self.logs.messages -= state.count();
        for range in &state.ranges {
            self.segments.release(range.segment, range.live_bytes(), 1, at);
        }
        if state.window.is_some_and(|window| window.awaited) {
            self.completions.push(Completion::HeadReady(log));
        }
    }
}
