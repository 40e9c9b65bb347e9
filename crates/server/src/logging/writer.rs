//! The one thread that writes the log: takes what waits, formats it, gives it to the output in few calls.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::line::{Label, Line, LineStyle};
use super::output::{Output, Reopened};
use super::queue::{Entry, Order, Queue};
use crate::limits::LOG_WRITE_BYTES;

/// Lines that this process could not write to its log, which is one.
static LINES_LOST: AtomicU64 = AtomicU64::new(0);

/// Lines that could not be written to the log since the process began, or not in time.
pub fn lines_lost() -> u64 {
    LINES_LOST.load(Ordering::Relaxed)
}

/// The writer's state.
pub(super) struct Writer {
    queue: Arc<Queue>,
    output: Output,
    style: LineStyle,
    /// Whole lines that are not written yet.
    buffer: String,
    /// Lines in `buffer`.
    buffered: u64,
    /// Lines that could not be written; told as soon as one can.
    lost: u64,
    /// It was said elsewhere that this output takes nothing.
    failure_told: bool,
}

impl Writer {
    pub(super) fn new(queue: Arc<Queue>, output: Output, style: LineStyle) -> Writer {
        Writer {
            queue,
            output,
            style,
            buffer: String::new(),
            buffered: 0,
            lost: 0,
            failure_told: false,
        }
    }

    /// Writes until the queue is closed. Sleeps while nothing is logged.
    pub(super) fn run(mut self) {
        let mut entries = Vec::new();
        while let Some(dropped) = self.queue.take(&mut entries) {
            for entry in entries.drain(..) {
                match entry {
                    Entry::Line(line) => self.line(&line),
                    Entry::Order(order) => self.order(order),
                }
            }
            self.flush();
            self.count_lost(dropped);
            if dropped > 0 {
                self.tell_lost();
            }
        }
    }

    fn order(&mut self, order: Order) {
        self.flush();
        match order {
            Order::Reopen => match self.output.reopen() {
                Ok(Reopened::File) => self.say(Label::Information, "File log re-opened"),
                Ok(Reopened::NotAFile) => self.say(Label::Information, "File log re-open ignored, not a file logger"),
                Err(error) => self.say(Label::Error, format!("File log re-open failed: {error}")),
            },
            Order::Replace(replacement) => {
                (self.output, self.style) = *replacement;
                self.failure_told = false;
            }
            // Whoever asked may have lost patience.
            Order::Tell(sender) => drop(sender.try_send(())),
        }
    }

    /// A line of the log about itself.
    fn say(&mut self, label: Label, text: impl Into<String>) {
        self.line(&own_line(label, text.into()));
    }

    fn count_lost(&mut self, lines: u64) {
        self.lost += lines;
        LINES_LOST.fetch_add(lines, Ordering::Relaxed);
    }

    /// So many lines could not be written. That is said once for each output, where somebody may see it; what else could be done about
    /// it is not the server's business, which goes on.
    fn failed(&mut self, lines: u64, error: &io::Error) {
        self.count_lost(lines);
        if std::mem::replace(&mut self.failure_told, true) || matches!(self.output, Output::StandardError) {
            return;
        }
        let mut text = String::new();
        let line = own_line(
            Label::Error,
            format!(
                "The log cannot be written to {}: {error}. Its lines are lost and counted (seaway_log_lines_lost_total) until it can.",
                self.output
            ),
        );
        self.style.append(&mut text, &line);
        // There is no other place left.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn tell_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        self.say(
            Label::Warning,
            format!("{lost} lines are missing here: they could not be written, or not in time"),
        );
        self.flush();
        if self.lost > 0 {
            // This line is lost as well: told of again.
            self.lost = lost;
        }
    }

    fn line(&mut self, line: &Line) {
        if let Output::System(system) = &mut self.output {
            if let Err(error) = system.send(line) {
                self.failed(1, &error);
            } else if self.lost > 0 {
                self.tell_lost();
            }
            return;
        }
        self.append(line);
        let is_full = match &self.output {
            Output::File(file) => file.wants_rotation(self.buffer.len()),
            _ => false,
        };
        if is_full || self.buffer.len() >= LOG_WRITE_BYTES {
            self.flush();
        }
        if is_full && let Output::File(file) = &mut self.output {
            let (label, text) = file.rotate(Timestamp::now());
            // Alone longer than a small limit: it must not rotate the file again.
            self.append(&own_line(label, text));
        }
    }

    fn append(&mut self, line: &Line) {
        self.style.append(&mut self.buffer, line);
        self.buffered += 1;
    }

    /// Gives the lines so far to the operating system.
    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let written = self.output.write(self.buffer.as_bytes());
        self.buffer.clear();
        let lines = std::mem::take(&mut self.buffered);
        match written {
            Err(error) => self.failed(lines, &error),
            // The output works again.
            Ok(()) if self.lost > 0 => self.tell_lost(),
            Ok(()) => {}
        }
    }
}

fn own_line(label: Label, text: String) -> Line {
    Line {
        at: Timestamp::now(),
        label,
        prefix: "",
        text,
    }
}
