//! Whoever takes part.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::bus::words::Listener;

/// Somebody who takes part.
pub(super) struct Party {
    /// Unique in the process.
    pub(super) id: u64,
    pub(super) listener: Arc<dyn Listener>,
    /// Publishes are refused. Apart, because the listener holds it, which the party holds.
    pub(super) is_closed: Arc<AtomicBool>,
    /// It is to be told when everything has come.
    pub(super) wants_all: AtomicBool,
}
