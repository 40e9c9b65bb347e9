//! What a server keeps, through restarts, damage and faults of disks; and how its data comes and goes.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../../../original/tests/encoder/mod.rs"]
mod encoder;

mod adoption;
mod archive;
mod backup;
mod damage;
mod disk_faults;
mod encryption;
mod failing_disk;
mod failing_store;
mod restart;
mod restart_fidelity;
mod restored_channels;
