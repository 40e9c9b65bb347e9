//! How a line of the log looks (`streaming-protocol.md` §9.1); does not know where it goes.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use seaway_nats_protocol::harmless::escaped;

/// The level of a line as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Information,
    Debug,
    Warning,
    Error,
    Fatal,
    Trace,
}

impl Label {
    /// Three letters, and the colour they have on a terminal.
    fn text_and_colour(self) -> (&'static str, u8) {
        match self {
            Label::Information => ("INF", 32),
            Label::Debug => ("DBG", 36),
            Label::Warning => ("WRN", 93),
            Label::Error => ("ERR", 31),
            Label::Fatal => ("FTL", 31),
            Label::Trace => ("TRC", 33),
        }
    }
}

/// One line, not formatted yet.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    pub(super) label: Label,
    /// What comes before the text.
    pub(super) prefix: &'static str,
    pub(super) text: String,
}

/// What all lines of a log have in common.
#[derive(Debug, Clone)]
pub(super) struct LineStyle {
    process: u32,
    /// Zone of the times; `None` shows no times.
    zone: Option<TimeZone>,
    coloured: bool,
}

impl LineStyle {
    pub(super) fn new(zone: Option<TimeZone>, coloured: bool) -> Self {
        LineStyle {
            process: std::process::id(),
            zone,
            coloured,
        }
    }

    /// Appends a line with its end. What is harmful in the text is escaped: names that clients choose end up in the log,
    /// and must not be able to forge lines or to steer a terminal.
    pub(super) fn append(&self, buffer: &mut String, line: &Line) {
        // Writing to a string does not fail.
        let _ = write!(buffer, "[{}] ", self.process);
        if let Some(zone) = &self.zone {
            let time = zone.to_datetime(line.at);
            let _ = write!(
                buffer,
                "{:04}/{:02}/{:02} {:02}:{:02}:{:02}.{:06} ",
                time.year(),
                time.month(),
                time.day(),
                time.hour(),
                time.minute(),
                time.second(),
                time.subsec_nanosecond() / 1000
            );
        }
        let (letters, colour) = line.label.text_and_colour();
        let prefix = line.prefix;
        let _ = if self.coloured {
            write!(buffer, "[\x1b[{colour}m{letters}\x1b[0m] {prefix}")
        } else {
            write!(buffer, "[{letters}] {prefix}")
        };
        buffer.push_str(&escaped(&line.text));
        buffer.push('\n');
    }
}
