//! The image of the store that is kept for a client that copies it. One at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seaway_store::Image;
use tokio::time::Instant;

use super::answer::Failure;
use crate::bus::Origin;
use crate::limits::BACKUP_IDLE_MAX;

/// The backup that is being made, if one is.
#[derive(Default)]
pub(super) struct Backups(Mutex<Option<Arc<Running>>>);

/// What is kept.
pub(super) struct Running {
    /// What it is called.
    pub(super) id: String,
    pub(super) image: Image,
    /// The connection that began it.
    pub(super) origin: Origin,
    /// Without a request until then it ends.
    pub(super) expires: Mutex<Instant>,
    /// It ends then whatever is asked.
    pub(super) until: Instant,
}

impl Running {
    /// When it ends if nothing is asked.
    pub(super) fn expires(&self) -> Instant {
        let asked = *self.expires.lock().unwrap_or_else(PoisonError::into_inner);
        asked.min(self.until)
    }

    /// It was asked for.
    fn touch(&self) {
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + BACKUP_IDLE_MAX;
    }
}

impl Backups {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one with this name.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Running>, Failure> {
        let running = self.lock().as_ref().filter(|running| running.id == id).map(Arc::clone);
        let running = running.ok_or_else(|| {
            let idle = BACKUP_IDLE_MAX.as_secs();
            Failure::not_found(&format!(
                "there is no such backup: it ended, was not asked for in {idle} s, or the server was started since; begin a new one"
            ))
        })?;
        running.touch();
        Ok(running)
    }

    /// The one that is being made, and the connection that began it.
    pub(super) fn running(&self) -> Option<(String, Origin)> {
        let place = self.lock();
        place.as_ref().map(|running| (running.id.clone(), running.origin))
    }

    /// Ends the one with this name. Whether it was there.
    pub(super) fn end(&self, id: &str) -> bool {
        self.lock().take_if(|running| running.id == id).is_some()
    }
}
