//! Who may what, and what strangers can do.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod authentication;
mod descriptors;
mod hostile;
mod tls;
