//! Reads and writes the data directory of NATS Streaming 0.10 to 0.25, and its tables in a database; knows nothing of Seaway's own store.
//!
//! - [`Directory`] opens a directory: who wrote it, its clients, its channels;
//! - [`Channel`] has the subscriptions of a channel, and [`Messages`] its messages in order, over all slices;
//! - [`check`] reads everything and reports what there is, and everything odd ([`Finding`]);
//! - [`read`] gives it all to a [`Taker`] on the way;
//! - [`check_tables`] and [`read_tables`] do the same with a database (`-store SQL`), while a [`StoreLock`] is held;
//! - [`Writer`] makes a new directory, and [`TablesWriter`] fills empty tables.
//!
//! Reading changes nothing, and no bytes on a disk make it panic or take memory without bound: what a file says is checked before it
//! is believed. An index is used when it proves good, and otherwise replaced by a look through the data, in memory. Memory is
//! bounded by `limits`, not by the size of a channel.

#![forbid(unsafe_code)]

mod account;
mod bolt;
mod channel;
mod check;
mod crc;
mod directory;
mod encode;
mod encryption;
mod entities;
mod error;
mod finding;
mod frames;
mod limits;
mod member;
mod messages;
mod msgpack;
mod occupation;
mod pending;
mod protobuf;
mod raft;
mod record_file;
mod records;
mod report;
mod slice;
mod summary;
mod syncing;
mod tables;
mod window;
mod writer;

pub use channel::Channel;
pub use check::{Head, Stopped, Taker, check, free_bytes, needed_bytes, read};
pub use directory::{Directory, Options, POLYNOMIAL_DEFAULT, entries};
pub use encryption::{Key, Opener, SealCipher, Sealer, Undecryptable, looks_encrypted};
pub use entities::{Clients, Subscription, Subscriptions};
pub use error::Error;
pub use finding::{Finding, Findings, Kind, Severity};
pub use limits::{FINDINGS_MAX, RECORD_BYTES_MAX};
pub use member::{Member, MemberChannel};
pub use messages::Messages;
pub use occupation::has_open_files;
pub use pending::Pending;
pub use records::{ClientInfo, Message, ServerInfo, SubState};
pub use report::{
    ChannelReport, Client, Disk, Place, Raft, Report, Server, Status, SubscriptionKind, SubscriptionReport, Totals,
    Verdict,
};
pub use seaway_sql::{Driver, Source};
pub use tables::{
    StoreLock, TablesChannel, TablesOptions, TablesWriter, Unsealed, check_tables, make_tables, read_tables,
    tables_bytes, unstorable_in_tables,
};
pub use writer::{ChannelWriter, NewMessage, Writer, unstorable};
