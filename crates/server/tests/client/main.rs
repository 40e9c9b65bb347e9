//! The Rust client, and the load generator, against servers in processes of their own.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/credentials.rs"]
mod credentials;

#[path = "../support/rust_client.rs"]
mod rust_client;

#[path = "../support/scripted.rs"]
mod scripted;

mod client;
mod client_cancellation;
mod client_losses;
mod client_scripted;
mod client_security;
mod client_take_overs;
mod load_generator;
