//! Members on loopback: connections, handshakes, snapshots.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what tests share fails as tests do"
)]

mod connections;
mod handshakes;
mod snapshots;
mod trial;
