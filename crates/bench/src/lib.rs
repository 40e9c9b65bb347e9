//! A load generator for NATS and streaming servers, and the raw blocking client it is built on.
//!
//! The client speaks the wire protocols directly and does nothing behind its user's back, so that tests see what a server
//! really sends, and a load costs far less than the server it measures. Each connection has a thread of its own.

pub mod command;
pub mod histogram;
pub mod load;
pub mod machine;
pub mod outcome;
pub mod point;
pub mod process;
pub mod report;
pub mod schedule;
pub mod server;
pub mod stamp;
pub mod stan;
pub mod wire;
pub mod workload;

mod context;
mod frames;
mod guest;
mod heartbeat;
mod jetstream;
mod limits;
mod monitoring;
mod progress;
mod publish;
mod receive;
mod watch;

pub use command::{Arguments, run};
pub use watch::Look;
