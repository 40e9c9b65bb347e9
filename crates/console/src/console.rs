//! What all requests share.

use std::sync::{Arc, Mutex};

use seaway_monitor::Source;
use tokio::sync::Semaphore;

use crate::attempts::Attempts;
use crate::door::Door;
use crate::limits::{
    BODIES_AT_A_TIME, LISTS_AT_A_TIME, LOGIN_BODIES_AT_A_TIME, LOGINS_AT_A_TIME, LOOKS_AT_A_TIME,
    UNREAD_ANSWERS_LEN_MAX,
};
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
    pub(crate) bodies: Semaphore,
    pub(crate) login_bodies: Semaphore,
    /// A permit for each byte of answers there is room for.
    pub(crate) unread: Arc<Semaphore>,
    /// What the subjects of the administration begin with.
    pub(crate) prefix: String,
}

impl Console {
    pub(crate) fn new(source: Arc<dyn Source>, door: Arc<dyn Door>) -> Console {
        Console {
            prefix: format!("$SEAWAY.api.{}.", door.cluster_id()),
            sessions: Arc::new(Sessions::new(&source.streaming_identity().server_id)),
            attempts: Mutex::default(),
            logins: Semaphore::new(LOGINS_AT_A_TIME),
            lists: Semaphore::new(LISTS_AT_A_TIME),
            looks: Semaphore::new(LOOKS_AT_A_TIME),
            bodies: Semaphore::new(BODIES_AT_A_TIME),
            login_bodies: Semaphore::new(LOGIN_BODIES_AT_A_TIME),
            unread: Arc::new(Semaphore::new(UNREAD_ANSWERS_LEN_MAX)),
            source,
            door,
        }
    }
}
