//! The broker through real sockets. Tests name the lines of the core specification's conformance table (§9) that
//! they cover; lines about WebSocket wait for that.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, reason = "helpers of tests")]

mod accounts;
mod answering;
mod attachment;
mod authentication;
mod connecting;
mod dialling;
mod headers;
mod imported_services;
mod imports;
mod lame_duck;
mod limits;
mod meshes;
mod permissions;
mod pinging;
mod pressure;
mod publishing;
mod reloading;
mod routes;
mod snapshots;
mod strangers;
mod support;
mod tls;
mod turns;
mod verbose;
