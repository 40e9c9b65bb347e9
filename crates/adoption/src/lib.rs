//! Makes a Seaway store of a data directory of NATS Streaming (`stores-and-clustering.md` §1.3, §3.15), and gives it back.
//!
//! - [`adopt`] reads a directory once and writes a store beside its files; nothing of the original's is touched until all of it is
//!   durable and was opened once. Then [`in_place`] puts it in place, in steps that can be interrupted anywhere.
//! - [`in_place::finish`] goes on after an interruption: at the next adoption, or at the start of a server.
//! - [`undo`] puts the original's files back.
//!
//! Reading is for `original` to know, facts for `streaming`, files for `store`; here they meet.

#![forbid(unsafe_code)]

mod adopt;
mod bulk;
mod error;
mod facts;
pub mod in_place;
mod lock;
mod progress;
mod transfer;
pub mod undo;
mod verify;

pub use adopt::{Adopted, Options, Outcome, adopt};
pub use error::Error;
pub use progress::Progress;
pub use seaway_store::beside::UNDONE_PREFIX;
pub use seaway_store::{Cipher, Encryption};
