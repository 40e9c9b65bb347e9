//! What all requests share.

use std::sync::{Arc, Mutex};

use seaway_monitor::Source;
use tokio::sync::Semaphore;

use crate::attempts::Attempts;
use crate::door::Door;
use crate::limits::{LISTS_AT_A_TIME, LOGINS_AT_A_TIME, LOOKS_AT_A_TIME};
use crate::sessions::Sessions;

/// See the module.
pub(crate) struct Console {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) door: Arc<dyn Door>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) attempts: Mutex<Attempts>,
    pub(crate) logins: Semaphore,
    pub(crate) lists: Semaphore,
    pub(crate) looks: Semaphore,
    /// What the subjects of the administration begin with.
    pub(crate) prefix: String,
}

impl Console {
    pub(crate) fn new(source: Arc<dyn Source>, door: Arc<dyn Door>) -> Console {
        Console {
            prefix: format!("$SEAWAY.api.{}.", door.cluster_id()),
            source,
            door,
            sessions: Arc::default(),
            attempts: Mutex::default(),
            logins: Semaphore::new(LOGINS_AT_A_TIME),
            lists: Semaphore::new(LISTS_AT_A_TIME),
            looks: Semaphore::new(LOOKS_AT_A_TIME),
        }
    }
}
