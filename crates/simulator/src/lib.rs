//! A seeded simulator: engine, file store and journal on a disk that loses what was not synced, tears writes, fails and
//! crashes at any operation, with simulated clients and simulated time.
//!
//! One seed decides everything: the same seed gives the same trace, byte for byte. The oracle checks every delivery, and
//! after a healing phase that nothing acknowledged is missing and that every durable was sent everything.

pub mod client;
mod heal;
pub mod node;
pub mod oracle;
pub mod run;
pub mod trace;

pub use run::{Counters, Failure, Settings, run};
