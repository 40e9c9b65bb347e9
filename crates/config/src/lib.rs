//! Options of the server: one table from which flags, usage text and documentation come.
//!
//! This crate decides which flags, keys and environment variables exist, what they default to for each of the two
//! binaries, and what a command line with its files means (streaming specification §7.1 to §7.6, core specification §5).
//! It knows nothing of a running server.
//!
//! [`parse`] turns arguments into an [`Action`]; [`usage`] and [`markdown`] describe the same table; [`conf`] is the
//! grammar of files.

mod blocks;
mod command;
pub mod conf;
mod documentation;
mod draft;
mod file;
mod go;
mod lex;
pub mod limits;
mod nearest;
mod options;
mod resolve;
mod sql;
mod surroundings;
mod table;
mod url;
mod usage;
mod value;

pub use command::{Action, Check, parse, parse_within};
pub use documentation::markdown;
pub use go::{format_duration, format_size, parse_duration};
pub use options::{
    Account, AccountLimits, ArchiveOptions, Authorization, BrokerOptions, ChannelLimits, Cipher, ClusterOptions,
    ClusterPeer, ClusteringOptions, ConnectionType, Credentials, EncryptionOptions, ExternalNats, ExternalTls,
    FaultToleranceOptions, GLOBAL_ACCOUNT, HandshakeFirst, HeartbeatOptions, Import, ImportKind, Limits, LogOptions,
    Login, MemberAddress, MemberTls, Membership, NatsUrl, Options, OwnCredentials, Permissions, Personality,
    ResponsePermission, RouteUrl, SYSTEM_ACCOUNT, Secret, StoreKind, StreamingOptions, SubjectRules, TlsOptions,
    TlsVersion, User,
};
pub use sql::{SqlStore, sql_store};
pub use surroundings::{Surroundings, System};
pub use usage::{usage, usage_with_commands};

/// Version of the original server that `nats-streaming-server -v` reports (specification §7.3).
pub const STREAMING_VERSION: &str = "0.25.6";
/// Version of the core server embedded in the original that is reported with it (specification §7.3).
pub const BROKER_VERSION: &str = "2.9.24";
/// Version of Seaway.
pub const SEAWAY_VERSION: &str = env!("CARGO_PKG_VERSION");
