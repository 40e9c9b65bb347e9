//! Where the streaming engine keeps its state: the port, and its adapters.
//!
//! An adapter keeps messages and facts, makes them durable in the order they were appended, and gives them back: hot
//! messages at once, cold ones as completions. It decides nothing about streaming and knows no wire format.
//!
//! * [`memory`]: durable at once and gone with the process.
//! * [`file`](mod@file): on the journal; acknowledged means synced.
//!
//! [`mod@verify`] reads a store that nobody serves from, and says what is damaged.

mod at_rest;
pub mod beside;
mod feed;
pub mod file;
pub mod journaled;
pub mod memory;
pub mod port;
mod progress;
pub mod verify;

pub use feed::Recovering;
pub use file::{FileOptions, FileStore, FileStoreError, Sizes, make_directory};
pub use memory::MemoryStore;
pub use port::{Commit, Completion, Histogram, OpenImage, Pressure, ReadMessages, Recovery, Statistics, Store};
pub use progress::Progress;
pub use seaway_journal::{
    Cipher, Claim, ClaimError, Encryption, GUARD, GUARD_NAME, Holding, Image, ImageFile, OpenError, SeenClaim,
    Standing, Standpoint, TAKEN_OVER_FOLDER, TAKEN_OVER_LOCK_NAME, standing, standing_after,
};
