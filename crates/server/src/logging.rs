//! The log: lines of broker and streaming engine in the format of the original (`streaming-protocol.md` §9.1,
//! `nats-core.md` §5.7).
//!
//! Decides which events are shown and how a line looks; [`output`] knows where lines go. Events come through `tracing`:
//! those whose target begins with [`STREAM_TARGET`] carry the prefix `STREAM: `, all others are the broker's. An error
//! with a field `fatal` is shown as `FTL`. Lines are written by the thread that logs, in one call each; a disabled level
//! costs one relaxed load.

mod line;
mod output;

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Context as _;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Level, Metadata};

use line::{Label, LineStyle};
pub use output::Reopened;
use output::{Output, SharedOutput};

/// Events whose target begins with this are lines of the streaming engine.
pub const STREAM_TARGET: &str = "stream";
/// Field that makes an error a fatal one.
const FATAL_FIELD: &str = "fatal";
/// Crates whose targets begin so log as much as the switches say; of others only warnings are shown.
const OWN_TARGETS: [&str; 2] = ["seaway", "nats_streaming_server"];

/// Which additional lines are shown; the others always are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verbosity {
    /// Debug lines.
    pub debug: bool,
    /// Trace lines; they do not include debug lines.
    pub trace: bool,
}

impl Verbosity {
    const DEBUG: u8 = 1;
    const TRACE: u8 = 2;

    fn bits(self) -> u8 {
        (if self.debug { Self::DEBUG } else { 0 }) | (if self.trace { Self::TRACE } else { 0 })
    }
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingOptions {
    /// Log file; `None` is the standard error.
    pub file: Option<PathBuf>,
    /// Bytes after which the log file is rotated; `None` is never.
    pub size_limit: Option<u64>,
    /// Whether lines carry date and time.
    pub time: bool,
    /// Whether the time is UTC instead of local.
    pub utc: bool,
    /// Switches of the broker, and of everything that is not the streaming engine.
    pub broker: Verbosity,
    /// Switches of the streaming engine.
    pub streaming: Verbosity,
}

impl From<&seaway_config::Options> for LoggingOptions {
    fn from(options: &seaway_config::Options) -> Self {
        LoggingOptions {
            file: options.log.file.clone(),
            size_limit: options.log.size_limit,
            time: options.log.time,
            utc: options.log.utc,
            broker: Verbosity {
                debug: options.broker.debug,
                trace: options.broker.trace,
            },
            streaming: Verbosity {
                debug: options.streaming.debug,
                trace: options.streaming.trace,
            },
        }
    }
}

/// Changes the log of a running server.
#[derive(Debug, Clone)]
pub struct LogHandle {
    shared: Arc<Shared>,
}

impl LogHandle {
    /// Opens the log file again, after something else has moved it (SIGUSR1).
    ///
    /// # Errors
    /// When the file cannot be opened; lines then go on into the old one.
    pub fn reopen(&self) -> io::Result<Reopened> {
        self.shared.output.reopen()
    }

    /// Changes the switches of broker and streaming engine.
    pub fn set_verbosity(&self, broker: Verbosity, streaming: Verbosity) {
        self.shared.broker.store(broker.bits(), Ordering::Relaxed);
        self.shared.streaming.store(streaming.bits(), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Starts the log of this process.
///
/// # Errors
/// When the log file cannot be opened, or a log was started before.
pub fn init(options: LoggingOptions) -> anyhow::Result<LogHandle> {
    let (logger, handle) = Logger::new(options)?;
    tracing::subscriber::set_global_default(logger).context("start the log a second time")?;
    Ok(handle)
}

/// What a logger and its handles share.
#[derive(Debug)]
struct Shared {
    output: SharedOutput,
    /// Bits of [`Verbosity`].
    broker: AtomicU8,
    /// Bits of [`Verbosity`].
    streaming: AtomicU8,
}

/// Turns events into lines.
struct Logger {
    shared: Arc<Shared>,
    style: LineStyle,
}

impl Logger {
    fn new(options: LoggingOptions) -> anyhow::Result<(Logger, LogHandle)> {
        let zone = if options.utc {
            jiff::tz::TimeZone::UTC
        } else {
            jiff::tz::TimeZone::system()
        };
        let output = match &options.file {
            Some(path) => Output::file(path.clone(), options.size_limit, zone.clone())
                .with_context(|| format!("open log file {}", path.display()))?,
            None => Output::StandardError,
        };
        let style = LineStyle::new(options.time.then_some(zone), output.is_coloured());
        let shared = Arc::new(Shared {
            output: SharedOutput::new(output, style.clone()),
            broker: AtomicU8::new(options.broker.bits()),
            streaming: AtomicU8::new(options.streaming.bits()),
        });
        Ok((
            Logger {
                shared: Arc::clone(&shared),
                style,
            },
            LogHandle { shared },
        ))
    }

    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let switches = if metadata.target().starts_with(STREAM_TARGET) {
            &self.shared.streaming
        } else if OWN_TARGETS.iter().any(|own| metadata.target().starts_with(own)) {
            &self.shared.broker
        } else {
            return *metadata.level() <= Level::WARN;
        };
        let needed = match *metadata.level() {
            Level::DEBUG => Verbosity::DEBUG,
            Level::TRACE => Verbosity::TRACE,
            _ => return true,
        };
        switches.load(Ordering::Relaxed) & needed != 0
    }
}

impl Subscriber for Logger {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shows(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let bits = self.shared.broker.load(Ordering::Relaxed) | self.shared.streaming.load(Ordering::Relaxed);
        Some(match bits {
            0 => LevelFilter::INFO,
            Verbosity::DEBUG => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text {
            text: String::new(),
            fatal: false,
        };
        event.record(&mut text);
        let label = match *event.metadata().level() {
            Level::ERROR if text.fatal => Label::Fatal,
            Level::ERROR => Label::Error,
            Level::WARN => Label::Warning,
            Level::INFO => Label::Information,
            Level::DEBUG => Label::Debug,
            Level::TRACE => Label::Trace,
        };
        let prefix = if event.metadata().target().starts_with(STREAM_TARGET) {
            "STREAM: "
        } else {
            ""
        };
        self.shared
            .output
            .write(&self.style.line(jiff::Timestamp::now(), label, prefix, &text.text));
    }

    // Spans are not used: a line says by itself whom it concerns.

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event, its other fields behind it.
struct Text {
    text: String,
    fatal: bool,
}

impl Visit for Text {
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == FATAL_FIELD {
            self.fatal = value;
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail, unless the value itself does; then the line is shorter.
        let _ = match field.name() {
            "message" if self.text.is_empty() => write!(self.text, "{value:?}"),
            // Fields may come before the message.
            "message" => {
                let fields = std::mem::take(&mut self.text);
                write!(self.text, "{value:?} {}", fields.trim_start())
            }
            name => write!(self.text, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests;
