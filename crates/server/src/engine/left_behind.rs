//! Threads that may hang in a disk and cannot be ended by anybody: counted, so that whoever left them behind knows when they have
//! gone.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts threads that run.
#[derive(Default)]
pub(crate) struct Headcount(Arc<watch::Sender<usize>>);

/// One thread that runs; it moves this with it and drops it last.
pub(crate) struct Counted(Arc<watch::Sender<usize>>);

impl Headcount {
    /// One more.
    pub(crate) fn one_more(&self) -> Counted {
        self.0.send_modify(|count| *count += 1);
        Counted(Arc::clone(&self.0))
    }

    /// Those that have not ended, from now on nobody's.
    pub(crate) fn left_behind(&self) -> LeftBehind {
        LeftBehind(self.0.subscribe())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Threads of something that was abandoned.
pub struct LeftBehind(watch::Receiver<usize>);

impl LeftBehind {
    /// How many have not ended.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until none is left. What they held, the lock of a store among it, is free then.
    pub async fn gone(&mut self) {
        // Without a sender there is no thread either.
        let _ = self.0.wait_for(|count| *count == 0).await;
    }
}
