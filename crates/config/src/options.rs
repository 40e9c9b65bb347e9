//! The typed result of a command line.

use std::path::PathBuf;
use std::time::Duration;

/// Which of the two binaries is asked; they share one table and differ in defaults and in strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Personality {
    /// `seaway [serve] [flags]`: file store, monitoring on, loopback only.
    Seaway,
    /// `nats-streaming-server [flags]`: the defaults and the exit codes of the original.
    NatsStreamingServer,
}

impl Personality {
    /// Name of the binary.
    pub fn program(self) -> &'static str {
        match self {
            Personality::Seaway => "seaway",
            Personality::NatsStreamingServer => "nats-streaming-server",
        }
    }
}

/// Where messages and delivery state are kept (specification §7.2 `-store`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// In memory only; nothing survives the process.
    Memory,
    /// In the journal in [`StreamingOptions::dir`].
    File,
}

impl StoreKind {
    /// Name as flags and logs show it.
    pub fn name(self) -> &'static str {
        match self {
            StoreKind::Memory => "MEMORY",
            StoreKind::File => "FILE",
        }
    }
}

/// Limits that hold for every channel (specification §6.1); 0 means unlimited everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Number of channels.
    pub max_channels: u64,
    /// Subscriptions per channel.
    pub max_subs: u64,
    /// Messages per channel.
    pub max_msgs: u64,
    /// Bytes per channel.
    pub max_bytes: u64,
    /// Age of messages; zero is unlimited.
    pub max_age: Duration,
    /// Inactivity after which a channel is deleted; zero is never.
    pub max_inactivity: Duration,
}

/// Heartbeats from the server to its clients (specification §2.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatOptions {
    /// Time between two heartbeats to a client; above zero.
    pub interval: Duration,
    /// Time to wait for an answer; above zero.
    pub timeout: Duration,
    /// Unanswered heartbeats tolerated before a client is closed.
    pub fail_count: u32,
}

/// Options of the streaming engine and its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamingOptions {
    /// Cluster ID, made of valid subject tokens.
    pub cluster_id: String,
    /// Prefix of the subject on which clients connect (specification §2.5); no flag sets it.
    pub discover_prefix: String,
    /// Kind of store.
    pub store: StoreKind,
    /// Folder of the file store; empty only with the memory store.
    pub dir: PathBuf,
    /// Limits of channels.
    pub limits: Limits,
    /// Heartbeats to clients.
    pub heartbeats: HeartbeatOptions,
    /// Whether a second subscription on an active durable replaces it instead of being refused (specification §5.7).
    pub replace_durable: bool,
    /// Whether what is acknowledged is synced to disk first.
    pub file_sync: bool,
    /// Debug lines of the streaming engine.
    pub debug: bool,
    /// Trace lines of the streaming engine.
    pub trace: bool,
}

/// Options of the core broker and the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerOptions {
    /// Host on which clients and monitoring are served.
    pub host: String,
    /// Client port; 0 lets the system choose.
    pub port: u16,
    /// Port of HTTP monitoring; 0 lets the system choose, `None` is off.
    pub http_port: Option<u16>,
    /// Name of the server; `None` uses its generated id.
    pub name: Option<String>,
    /// Address told to clients instead of the own one.
    pub client_advertise: Option<String>,
    /// File to which the process id is written.
    pub pid_file: Option<PathBuf>,
    /// Folder for the file that lists the ports in use.
    pub ports_file_dir: Option<PathBuf>,
    /// Debug lines of the broker.
    pub debug: bool,
    /// Trace lines of the broker.
    pub trace: bool,
    /// Trace lines of internal connections too.
    pub trace_verbose: bool,
    /// Bytes of a payload shown in trace lines; 0 shows all.
    pub max_traced_msg_len: usize,
}

/// Where the log goes and how its lines look (core specification §5.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Log file; `None` is the standard error.
    pub file: Option<PathBuf>,
    /// Bytes after which the log file is rotated; `None` is never.
    pub size_limit: Option<u64>,
    /// Whether lines carry date and time.
    pub time: bool,
    /// Whether the time is UTC instead of local.
    pub utc: bool,
}

/// All options of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which binary was asked.
    pub personality: Personality,
    /// Streaming engine and store.
    pub streaming: StreamingOptions,
    /// Core broker and process.
    pub broker: BrokerOptions,
    /// Log.
    pub log: LogOptions,
    /// Sentences to log once at start: flags that were accepted and do nothing here.
    pub notices: Vec<String>,
}

impl Options {
    /// The defaults of a binary, as its flags document them.
    pub fn new(personality: Personality) -> Self {
        crate::apply::defaults(personality)
    }

    /// Options before any flag's default was applied.
    pub(crate) fn blank(personality: Personality) -> Self {
        Options {
            personality,
            streaming: StreamingOptions {
                cluster_id: String::new(),
                discover_prefix: "_STAN.discover".to_owned(),
                store: StoreKind::Memory,
                dir: PathBuf::new(),
                limits: Limits {
                    max_channels: 0,
                    max_subs: 0,
                    max_msgs: 0,
                    max_bytes: 0,
                    max_age: Duration::ZERO,
                    max_inactivity: Duration::ZERO,
                },
                heartbeats: HeartbeatOptions {
                    interval: Duration::ZERO,
                    timeout: Duration::ZERO,
                    fail_count: 0,
                },
                replace_durable: false,
                file_sync: false,
                debug: false,
                trace: false,
            },
            broker: BrokerOptions {
                host: String::new(),
                port: 0,
                http_port: None,
                name: None,
                client_advertise: None,
                pid_file: None,
                ports_file_dir: None,
                debug: false,
                trace: false,
                trace_verbose: false,
                max_traced_msg_len: 0,
            },
            log: LogOptions {
                file: None,
                size_limit: None,
                time: false,
                utc: false,
            },
            notices: Vec::new(),
        }
    }
}
