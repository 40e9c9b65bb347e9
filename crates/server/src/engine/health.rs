//! Why the store does not serve: it has failed, or its disk does not come back from a commit. Shown by `/healthz`, told to the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::archive::Report;
use crate::limits::{STALL_TOLD_AFTER, STALL_TOLD_EVERY};

/// Shared between the engine and whoever asks how it is.
#[derive(Clone, Default)]
pub struct Health(Arc<Shared>);

#[derive(Default)]
struct Shared {
    condition: Mutex<Condition>,
    failed: Notify,
    archive: Report,
}

#[derive(Default)]
struct Condition {
    /// Why the store takes nothing more.
    failure: Option<String>,
    /// Since when a commit hangs, and how many answers wait for it.
    stall: Option<(Instant, usize)>,
}

impl Health {
    /// The reason for being unhealthy, if there is one.
    pub fn reason(&self) -> Option<String> {
        let condition = self.lock();
        let stalled = |(since, waiting): &(Instant, usize)| stalled(since.elapsed(), *waiting);
        condition
            .failure
            .clone()
            .or_else(|| condition.stall.as_ref().map(stalled))
    }

    /// How the archiving of the store is.
    pub(crate) fn archive(&self) -> &Report {
        &self.0.archive
    }

    /// Waits until the store has failed; why.
    pub(crate) async fn failed(&self) -> String {
        loop {
            // Before the look, so that what happens behind it is heard.
            let told = self.0.failed.notified();
            let failure = self.lock().failure.clone();
            match failure {
                Some(failure) => return failure,
                None => told.await,
            }
        }
    }

    pub(crate) fn fail(&self, reason: &str) {
        self.lock().failure = Some(reason.to_owned());
        self.0.failed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Condition> {
        self.0.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stalled(elapsed: Duration, waiting: usize) -> String {
    let seconds = elapsed.as_secs();
    format!("the disk has not finished a write for {seconds} s, and {waiting} answers wait for it")
}

/// Watches the commits of one store. Costs a look at the clock per commit, and nothing while none is out.
pub(super) struct Stall {
    health: Health,
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Stall {
    pub(super) fn new(health: Health) -> Stall {
        Stall {
            health,
            since: None,
            told: None,
        }
    }

    /// A commit is on its way to the disk.
    pub(super) fn commit_begins(&mut self) {
        self.since = Some(Instant::now());
    }

    /// It came back, whatever with.
    pub(super) fn commit_ended(&mut self) {
        let since = self.since.take();
        if self.told.take().is_some() {
            let seconds = since.map_or(0, |since| since.elapsed().as_secs());
            tracing::info!(target: "stream", "The disk goes on; a write took {seconds} s");
            self.health.lock().stall = None;
        }
    }

    /// When the next look is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.told {
            Some(told) => Some(told + STALL_TOLD_EVERY),
            None => self.since.map(|since| since + STALL_TOLD_AFTER),
        }
    }

    /// Tells of a commit that takes too long, with the number of answers that wait for it.
    pub(super) fn look(&mut self, waiting: usize) {
        let Some(since) = self.since else { return };
        if self.told.is_some() {
            self.health.lock().stall = Some((since, waiting));
        }
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            tracing::warn!(target: "stream", "Readiness is off: {}", stalled(since.elapsed(), waiting));
            self.health.lock().stall = Some((since, waiting));
            self.told = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_is_told_and_taken_back() {
        let health = Health::default();
        let mut stall = Stall::new(health.clone());
        stall.commit_begins();
        stall.look(3);
        assert_eq!(health.reason(), None, "it has only begun");
        stall.since = Instant::now().checked_sub(STALL_TOLD_AFTER);
        stall.look(3);
        let reason = health.reason().expect("it hangs");
        assert!(reason.contains("for 3 s") && reason.contains("3 answers"), "{reason}");
        stall.look(4);
        assert!(health.reason().expect("it hangs").contains("4 answers"));
        stall.commit_ended();
        assert_eq!((health.reason(), stall.deadline()), (None, None));
    }
}
