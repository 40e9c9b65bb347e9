//! The typed result of a command line, the configuration files and the environment.

mod accounts;
mod cluster;
mod clustering;
mod external;
mod secret;
mod security;

use std::path::PathBuf;
use std::time::Duration;

pub use accounts::{Account, AccountLimits, GLOBAL_ACCOUNT, Import, ImportKind, SYSTEM_ACCOUNT};
pub use cluster::{ClusterOptions, RouteUrl};
pub use clustering::{ClusterPeer, ClusteringOptions, MemberAddress, MemberTls, Membership};
pub use external::{ExternalNats, ExternalTls, NatsUrl, OwnCredentials};
pub use secret::Secret;
pub use security::{
    Authorization, ConnectionType, Credentials, HandshakeFirst, Login, Permissions, ResponsePermission, SubjectRules,
    TlsOptions, TlsVersion, User,
};

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

/// Limits of the channels that a name or pattern stands for, as written (specification §6.2): `None` is inherited from the
/// next wider entry that matches, `Some(0)` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelLimits {
    /// Channel name, or pattern with `*` and `>` as whole tokens; valid, and unique in its list.
    pub pattern: String,
    /// Subscriptions per channel.
    pub max_subscriptions: Option<u64>,
    /// Messages per channel.
    pub max_messages: Option<u64>,
    /// Bytes per channel.
    pub max_bytes: Option<u64>,
    /// Age of messages; zero is unlimited.
    pub max_age: Option<Duration>,
    /// Inactivity after which a channel is deleted; zero is never.
    pub max_inactivity: Option<Duration>,
}

impl ChannelLimits {
    /// Whether the pattern names one channel only; such entries count against the limit of channels.
    pub fn is_literal(&self) -> bool {
        !self.pattern.split('.').any(|token| matches!(token, "*" | ">"))
    }
}

/// Encryption of payloads at rest (`stores-and-clustering.md` §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionOptions {
    /// Cipher for what is written; all ciphers are read.
    pub cipher: Cipher,
    /// Key as given, of any length; never empty.
    pub key: Secret,
}

/// A cipher for encryption at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256-GCM.
    Aes,
    /// ChaCha20-Poly1305.
    Chacha,
}

impl Cipher {
    /// Name as flags and files have it.
    pub fn name(self) -> &'static str {
        match self {
            Cipher::Aes => "AES",
            Cipher::Chacha => "CHACHA",
        }
    }
}

impl Default for Cipher {
    /// The one the original chooses: AES on x86, ChaCha20 on everything else.
    fn default() -> Self {
        if cfg!(any(
            target_arch = "x86_64",
            target_arch = "x86",
            target_arch = "aarch64"
        )) {
            Cipher::Aes
        } else {
            Cipher::Chacha
        }
    }
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

/// A group of servers on one directory, of which one serves and the others stand by (`stores-and-clustering.md` §7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultToleranceOptions {
    /// Name of the group, made of valid subject tokens.
    pub group: String,
    /// Time without a sign of life after which a server that stands by takes over; 250 ms to one minute.
    pub lease: Duration,
}

/// An archive of the file store, from which it can be restored to any moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// The archive's directory, outside of the store's.
    pub directory: PathBuf,
    /// How far back it has to reach; `None` keeps everything.
    pub keep: Option<Duration>,
    /// Bytes of files that could go and are kept for the archive; at least 1.
    pub max_backlog: u64,
}

/// Options of the streaming engine and its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamingOptions {
    /// Cluster ID, made of valid subject tokens.
    pub cluster_id: String,
    /// The account whose clients are served; only a file or the environment sets it.
    pub account: String,
    /// Prefix of the subject on which clients connect (specification §2.5); only a file or the environment sets it.
    pub discover_prefix: String,
    /// Kind of store.
    pub store: StoreKind,
    /// Folder of the file store; empty only with the memory store.
    pub dir: PathBuf,
    /// Limits of channels.
    pub limits: Limits,
    /// Limits of single channels and patterns, in the order of the file (specification §6.2).
    pub channel_limits: Vec<ChannelLimits>,
    /// Whether only the channels and patterns of `channel_limits` are served (specification §10).
    pub partitioning: bool,
    /// Encryption of payloads at rest.
    pub encryption: Option<EncryptionOptions>,
    /// Heartbeats to clients.
    pub heartbeats: HeartbeatOptions,
    /// Whether a second subscription on an active durable replaces it instead of being refused (specification §5.7).
    pub replace_durable: bool,
    /// Whether what is acknowledged is synced to disk first.
    pub file_sync: bool,
    /// Whether a start gives up what is damaged instead of refusing (`-file_truncate_bad_eof`).
    pub give_up_damage: bool,
    /// Whether a message that turns out to be damaged takes the store out of service (`-file_stop_at_damage`).
    pub stop_at_damage: bool,
    /// Whether a directory of NATS Streaming is taken over (`-adopt`).
    pub adopt: bool,
    /// The archive of the file store, if it has one.
    pub archive: Option<ArchiveOptions>,
    /// The fault-tolerance group that this server belongs to, if any.
    pub fault_tolerance: Option<FaultToleranceOptions>,
    /// The replicated cluster of which this server is a member, if any.
    pub clustering: Option<ClusteringOptions>,
    /// The NATS servers of somebody else that carry the messages, instead of the broker in the process, if there are any.
    pub external: Option<ExternalNats>,
    /// Name used in the system log, when it is not the usual one.
    pub syslog_name: Option<String>,
    /// Credentials for the server's own connections.
    pub own_credentials: OwnCredentials,
    /// Debug lines of the streaming engine.
    pub debug: bool,
    /// Trace lines of the streaming engine.
    pub trace: bool,
}

impl StreamingOptions {
    /// Where the streaming server and its administration take requests, as patterns.
    pub fn service_subjects(&self) -> Vec<String> {
        let discovery = format!("{}.>", self.discover_prefix);
        ["_STAN.>".to_owned(), discovery, "$SEAWAY.>".to_owned()].into()
    }
}

/// Options of the core broker and the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerOptions {
    /// Host on which clients are served, and monitoring unless it has its own.
    pub host: String,
    /// Client port; 0 lets the system choose.
    pub port: u16,
    /// Port of HTTP monitoring; 0 lets the system choose, `None` is off.
    pub http_port: Option<u16>,
    /// Port of HTTPS monitoring; 0 lets the system choose, `None` is off.
    pub https_port: Option<u16>,
    /// Host on which monitoring is served; `None` is `host`.
    pub http_host: Option<String>,
    /// Path before those of monitoring; empty, or beginning with `/` and not ending with one.
    pub http_base_path: String,
    /// Host names by which people may log in to the console, besides those of the machine and its addresses.
    pub console_hosts: Vec<String>,
    /// Whether there is no console beside the monitoring.
    pub no_console: bool,
    /// Name of the server; `None` uses its generated id.
    pub name: Option<String>,
    /// Address told to clients instead of the own one.
    pub client_advertise: Option<String>,
    /// Tags shown by monitoring.
    pub server_tags: Vec<String>,
    /// Who may connect; the default lets everyone in.
    pub authorization: Authorization,
    /// Accounts besides the global and the system account; the latter is here when it has users.
    pub accounts: Vec<Account>,
    /// Name of the account of the services and events about this server.
    pub system_account: String,
    /// Whether those services and events are off.
    pub no_system_account: bool,
    /// Name or key of the entry of `users`, in the authorization block or an account, that clients without credentials are.
    pub no_auth_user: Option<String>,
    /// The cluster of servers that this one belongs to, if any.
    pub cluster: Option<ClusterOptions>,
    /// TLS; `None` is off.
    pub tls: Option<TlsOptions>,
    /// Whether clients may choose not to use TLS when it is on.
    pub allow_non_tls: bool,
    /// Client connections served at once; 0 refuses all.
    pub max_connections: usize,
    /// Largest publication in bytes, headers included.
    pub max_payload: usize,
    /// Longest control line in bytes.
    pub max_control_line: usize,
    /// Bytes queued for one client before it is closed as a slow consumer.
    pub max_pending: usize,
    /// Subscriptions per connection; 0 means no limit.
    pub max_subscriptions: usize,
    /// Tokens per subscription subject; 0 means no limit.
    pub max_subscription_tokens: usize,
    /// Closed connections remembered for monitoring.
    pub max_closed_clients: usize,
    /// Time in which a client must take some of the bytes offered to it.
    pub write_deadline: Duration,
    /// Time between PINGs to a silent client.
    pub ping_interval: Duration,
    /// Unanswered PINGs tolerated.
    pub ping_max: u32,
    /// Time over which clients are closed in lame duck mode.
    pub lame_duck_duration: Duration,
    /// Time before the first client is closed in lame duck mode; shorter than the duration.
    pub lame_duck_grace_period: Duration,
    /// Whether headers are refused altogether.
    pub no_header_support: bool,
    /// Whether producers never wait for slow destinations.
    pub no_fast_producer_stall: bool,
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
    /// Rotated log files kept; `None` keeps all.
    pub max_files: Option<u32>,
    /// Whether the log goes to the system log.
    pub syslog: bool,
    /// URL of a remote system log, such as `udp://localhost:514`; it implies `syslog`.
    pub remote_syslog: Option<String>,
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
    /// File that configured the broker, and the streaming engine too unless that has its own.
    pub config_file: Option<PathBuf>,
    /// File that configured the streaming engine only.
    pub streaming_config_file: Option<PathBuf>,
    /// Sentences to log once at start: flags that were accepted and do nothing here.
    pub notices: Vec<String>,
}

impl Options {
    /// Options before any flag's default was applied.
    // Long: a flat table of all options.
    pub(crate) fn blank(personality: Personality) -> Self {
        Options {
            personality,
            streaming: StreamingOptions {
                account: GLOBAL_ACCOUNT.to_owned(),
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
                channel_limits: Vec::new(),
                partitioning: false,
                encryption: None,
                replace_durable: false,
                file_sync: false,
                give_up_damage: false,
                stop_at_damage: false,
                adopt: false,
                archive: None,
                fault_tolerance: None,
                clustering: None,
                external: None,
                syslog_name: None,
                own_credentials: OwnCredentials::default(),
                debug: false,
                trace: false,
            },
            broker: BrokerOptions {
                host: String::new(),
                port: 0,
                http_port: None,
                https_port: None,
                http_host: None,
                http_base_path: String::new(),
                console_hosts: Vec::new(),
                no_console: false,
                name: None,
                client_advertise: None,
                server_tags: Vec::new(),
                authorization: Authorization::default(),
                accounts: Vec::new(),
                system_account: SYSTEM_ACCOUNT.to_owned(),
                no_system_account: false,
                no_auth_user: None,
                cluster: None,
                tls: None,
                allow_non_tls: false,
                max_connections: 65_536,
                max_payload: 1 << 20,
                max_control_line: 4096,
                max_pending: 64 << 20,
                max_subscriptions: 0,
                max_subscription_tokens: 0,
                max_closed_clients: 10_000,
                write_deadline: Duration::from_secs(10),
                ping_interval: Duration::from_secs(120),
                ping_max: 2,
                lame_duck_duration: Duration::from_secs(120),
                lame_duck_grace_period: Duration::from_secs(10),
                no_header_support: false,
                no_fast_producer_stall: false,
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
                max_files: None,
                syslog: false,
                remote_syslog: None,
                time: false,
                utc: false,
            },
            config_file: None,
            streaming_config_file: None,
            notices: Vec::new(),
        }
    }
}
