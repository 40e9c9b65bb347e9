//! More than one server: clusters of brokers, fault tolerance, partitions, NATS servers of somebody else.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/credentials.rs"]
mod credentials;

#[path = "../support/nats.rs"]
mod nats;

#[path = "../support/rust_client.rs"]
mod rust_client;

mod clusters;
mod external;
mod external_losses;
mod external_security;
mod fault_tolerance;
mod network_cuts;
mod partition_lists;
mod partitioning;
