//! The broker through real sockets. Tests name the lines of the core specification's conformance table (§9) that
//! they cover; authentication, TLS, routes and WebSocket lines wait for those features.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, reason = "helpers of tests")]

mod attachment;
mod connecting;
mod headers;
mod limits;
mod pinging;
mod pressure;
mod publishing;
mod snapshots;
mod support;
mod verbose;
