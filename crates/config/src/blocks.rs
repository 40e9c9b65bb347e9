//! The blocks of files that are no plain options: users, permissions, TLS, clusters and limits of channels.
//!
//! Decides what their keys mean and whether they make sense; does not know where in a file a block stands.

pub(crate) mod accounts;
pub(crate) mod authorization;
pub(crate) mod channels;
pub(crate) mod cluster;
mod crossing;
mod fields;
mod permissions;
pub(crate) mod tls;

pub(crate) use fields::{EMPTY_SECRET, duration, holds_nothing, is_turned_off, wrong_type};
