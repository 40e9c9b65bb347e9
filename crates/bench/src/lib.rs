//! A load generator for streaming servers, and the raw blocking client it is built on.
//!
//! The client speaks the wire protocols directly and does nothing behind its user's back, so that tests see what a server
//! really sends, and a load costs far less than the server it measures.

pub mod load;
pub mod paced;
pub mod process;
pub mod stan;
pub mod wire;
