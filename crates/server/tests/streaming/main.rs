//! What streaming clients see of a server in a process of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

mod backlog;
mod conformance_delivery;
mod conformance_durables;
mod conformance_edges;
mod conformance_requests;
mod fairness;
mod inactivity;
mod limits;
mod outbound_memory;
mod streaming_clients;
mod streaming_delivery;
mod streaming_inboxes;
mod streaming_loss;
mod streaming_pause;
mod streaming_queues;
