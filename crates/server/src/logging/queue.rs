//! What waits to be written to the log; between the threads that log and the one that writes.
//!
//! Bounded by bytes: a standard error that nobody reads, or a slow disk, must not hold up whoever logs. When the bound is
//! reached lines are counted instead of kept until the writer has taken what waits; it then says how many are missing, in
//! the place where they are missing. Fatal lines and orders are always taken: they are few.

use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::line::{Label, Line, LineStyle};
use super::output::Output;
use crate::limits::{LOG_LINE_OVERHEAD_BYTES, LOG_QUEUE_BYTES_MAX};

/// Something the writer does between two lines.
#[derive(Debug)]
pub(super) enum Order {
    /// Open the log file again.
    Reopen,
    /// From here on write elsewhere, or in another style.
    Replace(Box<(Output, LineStyle)>),
    /// Say that everything before this was given to the operating system.
    Tell(SyncSender<()>),
}

/// An entry of the queue.
#[derive(Debug)]
pub(super) enum Entry {
    Line(Line),
    Order(Order),
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    bytes: usize,
    /// Lines that found no room since the writer last took what waited.
    dropped: u64,
    closed: bool,
}

impl Queue {
    /// A thread that panicked while it held the lock has left the queue whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, or counts it as dropped.
    pub(super) fn push(&self, line: Line) {
        let mut state = self.lock();
        let has_room = state.dropped == 0 && state.bytes < LOG_QUEUE_BYTES_MAX;
        if !has_room && line.label != Label::Fatal {
            state.dropped += 1;
            return;
        }
        state.bytes += line.text.len() + LOG_LINE_OVERHEAD_BYTES;
        self.add(state, Entry::Line(line));
    }

    /// Adds an order.
    pub(super) fn order(&self, order: Order) {
        self.add(self.lock(), Entry::Order(order));
    }

    fn add(&self, mut state: MutexGuard<'_, State>, entry: Entry) {
        state.entries.push(entry);
        if state.entries.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// Nothing more comes: the writer ends when it has written what waits.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits for something to write and moves all of it into `entries`; how many lines are missing behind them, or
    /// `None` at the end.
    pub(super) fn take(&self, entries: &mut Vec<Entry>) -> Option<u64> {
        let mut state = self.lock();
        while state.entries.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.entries, entries);
        state.bytes = 0;
        Some(std::mem::take(&mut state.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn line(label: Label, text: String) -> Line {
        Line {
            at: Timestamp::UNIX_EPOCH,
            label,
            prefix: "",
            text,
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_but_fatal_lines_and_orders_are_taken() {
        let queue = Queue::default();
        queue.push(line(Label::Information, "a".repeat(LOG_QUEUE_BYTES_MAX)));
        for _ in 0..3 {
            queue.push(line(Label::Error, String::new()));
        }
        queue.push(line(Label::Fatal, String::new()));
        queue.order(Order::Reopen);
        let mut entries = Vec::new();
        assert_eq!(queue.take(&mut entries), Some(3));
        assert_eq!(entries.len(), 3);
        entries.clear();
        queue.push(line(Label::Information, String::new()));
        queue.close();
        assert_eq!(
            queue.take(&mut entries),
            Some(0),
            "what waits is written before the end"
        );
        entries.clear();
        assert_eq!(queue.take(&mut entries), None);
    }
}
