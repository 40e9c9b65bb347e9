//! Makes a Seaway store of a data directory of NATS Streaming (`stores-and-clustering.md` §1.3, §3.15), and gives it back, as it was or as
//! it is now.
//!
//! - [`adopt`] reads a directory once and writes a store beside its files; nothing of the original's is touched until all of it is
//!   durable and was opened once. Then [`in_place`] puts it in place, in steps that can be interrupted anywhere.
//! - [`adopt_tables`] does the same with what a server has in a database, which is only read, while its lease is held.
//! - [`in_place::finish`] goes on after an interruption: at the next adoption, or at the start of a server.
//! - [`undo`] puts the original's files back; [`export()`] makes new ones of what a store holds now, and
//!   [`export_tables`](export::export_tables) fills tables with it.
//! - [`refit`] makes a store that is being restored one with fewer channels, or of another cluster.
//! - [`rest`] reads a store that no server uses, and [`Importer`] makes one of messages alone.
//!
//! Reading is for `original` to know, facts for `streaming`, files for `store`; here they meet.

#![forbid(unsafe_code)]

mod adopt;
mod bulk;
mod error;
pub mod export;
mod facts;
mod import;
pub mod in_place;
mod lock;
mod progress;
pub mod refit;
pub mod rest;
mod transfer;
pub mod undo;
mod verify;

pub use adopt::{Adopted, Options, Outcome, adopt, adopt_tables};
pub use error::Error;
pub use export::{ExportOptions, Exported, export};
pub use import::{Imported, Importer, KeptMessage};
pub use progress::Progress;
pub use seaway_store::beside::UNDONE_PREFIX;
pub use seaway_store::{Cipher, Encryption};
