//! The log: lines of broker and streaming engine in the format of the original (`streaming-protocol.md` §9.1,
//! `nats-core.md` §5.7).
//!
//! Decides which events are shown and how a line looks; [`output`] and [`system`] know where lines go. Events come through
//! `tracing`: those whose target begins with [`STREAM_TARGET`] carry the prefix `STREAM: `, all others are the broker's. An
//! error with a field `fatal` is shown as `FTL`.
//!
//! Lines are queued by whoever logs and written by a thread of their own, so that neither a disk nor a reader of the
//! standard error can hold up the engine or a connection. A disabled level costs one relaxed load.

mod line;
mod output;
mod queue;
mod system;
mod writer;

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Level, Metadata};

use line::{Label, Line, LineStyle};
use output::Output;
use queue::{Order, Queue};
use system::SystemLog;
pub use system::SystemTarget;
use writer::Writer;
pub use writer::lines_lost;

use crate::limits::LOG_FLUSH_PATIENCE;

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

    /// The broker's switches.
    pub fn of_broker(options: &seaway_config::Options) -> Verbosity {
        Verbosity {
            debug: options.broker.debug,
            trace: options.broker.trace,
        }
    }

    /// The streaming engine's switches.
    pub fn of_streaming(options: &seaway_config::Options) -> Verbosity {
        Verbosity {
            debug: options.streaming.debug,
            trace: options.streaming.trace,
        }
    }

    /// One by its name: see [`Verbosity::name`].
    pub fn named(name: &str) -> Option<Verbosity> {
        let all = [(false, false), (true, false), (false, true), (true, true)];
        let mut all = all.into_iter().map(|(debug, trace)| Verbosity { debug, trace });
        all.find(|verbosity| verbosity.name() == name)
    }

    /// What it is called: `info` without additional lines, `debug`, `trace`, and `all` with both.
    pub fn name(self) -> &'static str {
        match (self.debug, self.trace) {
            (false, false) => "info",
            (true, false) => "debug",
            (false, true) => "trace",
            (true, true) => "all",
        }
    }

    fn of_bits(bits: u8) -> Verbosity {
        Verbosity {
            debug: bits & Self::DEBUG != 0,
            trace: bits & Self::TRACE != 0,
        }
    }

    fn bits(self) -> u8 {
        (if self.debug { Self::DEBUG } else { 0 }) | (if self.trace { Self::TRACE } else { 0 })
    }
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// The standard error.
    StandardError,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Bytes after which it is rotated; `None` is never.
        size_limit: Option<u64>,
        /// Rotated files kept; `None` keeps all.
        max_files: Option<u32>,
    },
    /// The system log.
    System {
        /// Which one.
        target: SystemTarget,
        /// Name of this program in it.
        name: String,
    },
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingOptions {
    /// Where lines go.
    pub target: LogTarget,
    /// Whether lines carry date and time.
    pub time: bool,
    /// Whether the time is UTC instead of local.
    pub utc: bool,
    /// Switches of the broker, and of everything that is not the streaming engine.
    pub broker: Verbosity,
    /// Switches of the streaming engine.
    pub streaming: Verbosity,
}

impl TryFrom<&seaway_config::Options> for LoggingOptions {
    type Error = anyhow::Error;

    /// A file goes before a remote system log, and that before the one of this machine.
    fn try_from(options: &seaway_config::Options) -> anyhow::Result<Self> {
        let log = &options.log;
        let name = || {
            let name = options.streaming.syslog_name.as_deref();
            name.unwrap_or(options.personality.program()).to_owned()
        };
        let target = if let Some(path) = &log.file {
            LogTarget::File {
                path: path.clone(),
                size_limit: log.size_limit,
                max_files: log.max_files,
            }
        } else if let Some(url) = &log.remote_syslog {
            LogTarget::System {
                target: SystemTarget::from_url(url).map_err(anyhow::Error::msg)?,
                name: name(),
            }
        } else if log.syslog {
            LogTarget::System {
                target: SystemTarget::Local,
                name: name(),
            }
        } else {
            LogTarget::StandardError
        };
        Ok(LoggingOptions {
            target,
            time: log.time,
            utc: log.utc,
            broker: Verbosity::of_broker(options),
            streaming: Verbosity::of_streaming(options),
        })
    }
}

/// Changes the log of a running server.
#[derive(Debug, Clone)]
pub struct LogHandle {
    shared: Arc<Shared>,
}

/// The log of this process, once it was started.
static OF_PROCESS: OnceLock<LogHandle> = OnceLock::new();

impl LogHandle {
    /// The log that [`init`] started.
    pub fn of_process() -> Option<&'static LogHandle> {
        OF_PROCESS.get()
    }

    /// The switches of broker and streaming engine as they are.
    pub fn verbosity(&self) -> (Verbosity, Verbosity) {
        let of = |bits: &AtomicU8| Verbosity::of_bits(bits.load(Ordering::Relaxed));
        (of(&self.shared.broker), of(&self.shared.streaming))
    }

    /// Opens the log file again, after something else has moved it (SIGUSR1). The log says how it went; after a failure
    /// lines go on into the old file.
    pub fn reopen(&self) {
        self.shared.queue.order(Order::Reopen);
    }

    /// Waits until everything logged so far was given to the operating system, but no longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        self.shared.flush(patience);
    }

    /// Logs otherwise from here on; the switches change at once.
    ///
    /// # Errors
    /// When the new target cannot be opened; nothing is changed then.
    pub fn replace(&self, options: &LoggingOptions) -> anyhow::Result<()> {
        let replacement = options.open()?;
        self.shared.queue.order(Order::Replace(Box::new(replacement)));
        self.set_verbosity(options.broker, options.streaming);
        Ok(())
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
    let (logger, handle) = Logger::new(&options)?;
    tracing::subscriber::set_global_default(logger).context("start the log a second time")?;
    // What a panic says belongs where operators look.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(target: "stream", fatal = true, "Panic in thread {:?}: {panic}", std::thread::current().name());
    }));
    let _ = OF_PROCESS.set(handle.clone());
    Ok(handle)
}

impl LoggingOptions {
    /// Opens the target.
    fn open(&self) -> anyhow::Result<(Output, LineStyle)> {
        let zone = if self.utc {
            jiff::tz::TimeZone::UTC
        } else {
            jiff::tz::TimeZone::system()
        };
        let output = match &self.target {
            LogTarget::StandardError => Output::StandardError,
            LogTarget::File {
                path,
                size_limit,
                max_files,
            } => Output::file(path.clone(), *size_limit, *max_files, zone.clone())
                .with_context(|| format!("open log file {}", path.display()))?,
            LogTarget::System { target, name } => Output::System(
                SystemLog::open(target.clone(), name.clone(), zone.clone())
                    .with_context(|| format!("connect to the system log {target}"))?,
            ),
        };
        let style = LineStyle::new(self.time.then_some(zone), output.is_coloured());
        Ok((output, style))
    }
}

/// What a logger and its handles share.
#[derive(Debug)]
struct Shared {
    queue: Arc<Queue>,
    /// Bits of [`Verbosity`].
    broker: AtomicU8,
    /// Bits of [`Verbosity`].
    streaming: AtomicU8,
}

impl Shared {
    fn flush(&self, patience: Duration) {
        let (sender, written) = mpsc::sync_channel(1);
        self.queue.order(Order::Tell(sender));
        // Whoever is out of patience goes on without.
        let _ = written.recv_timeout(patience);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Turns events into lines.
struct Logger {
    shared: Arc<Shared>,
}

impl Logger {
    fn new(options: &LoggingOptions) -> anyhow::Result<(Logger, LogHandle)> {
        let (output, style) = options.open()?;
        let queue = Arc::new(Queue::default());
        let writer = Writer::new(Arc::clone(&queue), output, style);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run())
            .context("start the log's thread")?;
        let shared = Arc::new(Shared {
            queue,
            broker: AtomicU8::new(options.broker.bits()),
            streaming: AtomicU8::new(options.streaming.bits()),
        });
        Ok((
            Logger {
                shared: Arc::clone(&shared),
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
            // What goes wrong with a login of the console it says itself.
            return *metadata.level() <= Level::WARN && !metadata.target().starts_with("async_nats");
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
        self.shared.queue.push(Line {
            at: jiff::Timestamp::now(),
            label,
            prefix,
            text: text.text,
        });
        if label == Label::Fatal {
            // Often the last line of a process.
            self.shared.flush(LOG_FLUSH_PATIENCE);
        }
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
