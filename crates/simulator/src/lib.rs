//! A seeded simulator: engine, store and journal on a disk that loses what was not synced, tears writes, fails, fills up and
//! crashes at any operation, with simulated clients, bus and time, judged by a model.
//!
//! One seed decides everything: the same seed gives the same trace, byte for byte. See `docs/simulator.md`.

pub mod client;
mod faults;
mod found;
mod heal;
pub mod members;
pub mod model;
pub mod node;
mod operator;
pub mod run;
mod settings;
pub mod trace;
mod workload;

pub use found::FOUND;
pub use run::{Failure, Outcome, run};
pub use settings::Settings;
