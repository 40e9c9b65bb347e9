//! A password that has to be compared with a hash.

use std::sync::Arc;

use seaway_nats_protocol::ConnectOptions;

use crate::access::{Grant, Secret};
use crate::settings::Settings;

/// A CONNECT whose password has to be compared with a hash before anything else of the client is looked at.
pub(crate) struct Verification {
    pub(super) secret: Secret,
    pub(super) password: String,
    pub(super) connect: ConnectOptions,
    pub(super) grant: Arc<Grant>,
    pub(super) settings: Arc<Settings>,
}

/// The same once the comparison is done.
pub(crate) struct Verified {
    pub(super) passed: bool,
    pub(super) verification: Box<Verification>,
}
