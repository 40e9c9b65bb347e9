//! Where a server is in its life, for those who are asked while it starts, waits or stops. Written by the lives of the engine, read
//! by monitoring and administration, which reach the engine through it: every tenure has another one.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use seaway_store::Progress;

use crate::engine::{Health, Inbox};

/// A part of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is no tenure: somebody else may serve, or nobody.
    Waiting,
    /// The state is read from the store; requests of clients wait.
    Recovering,
    /// The state is there, the services are being opened.
    Opening,
    /// Clients are served.
    Ready,
    /// What was accepted is brought to an end, nothing new is taken.
    Stopping,
}

/// The stage of the running server; clones show the same.
#[derive(Clone)]
pub struct Phase(Arc<RwLock<Condition>>);

struct Condition {
    stage: Stage,
    /// Why there is no tenure, in words.
    waiting: String,
    tenure: Option<u64>,
    progress: Arc<Progress>,
    /// From the end of the opening to the end of the tenure.
    engine: Option<(Arc<Inbox>, Health)>,
}

impl Default for Phase {
    fn default() -> Phase {
        Phase(Arc::new(RwLock::new(Condition {
            stage: Stage::Waiting,
            waiting: "no tenure was granted yet".to_owned(),
            tenure: None,
            progress: Arc::default(),
            engine: None,
        })))
    }
}

impl Phase {
    fn read(&self) -> RwLockReadGuard<'_, Condition> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Condition> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stage as of now.
    pub fn stage(&self) -> Stage {
        self.read().stage
    }

    /// The number of the tenure under which this server serves, or is about to.
    pub fn tenure(&self) -> Option<u64> {
        self.read().tenure
    }

    /// There is no tenure from now on; why, in words.
    pub(crate) fn wait(&self, reason: String) {
        let mut condition = self.write();
        condition.stage = Stage::Waiting;
        condition.waiting = reason;
        condition.tenure = None;
        condition.engine = None;
    }

    /// A tenure begins, and with it the recovery, which fills in how far it is.
    pub(crate) fn recover(&self, tenure: u64) -> Arc<Progress> {
        let mut condition = self.write();
        condition.stage = Stage::Recovering;
        condition.tenure = Some(tenure);
        condition.progress = Arc::default();
        condition.engine = None;
        Arc::clone(&condition.progress)
    }

    /// The next stage of the same tenure begins.
    pub(crate) fn enter(&self, stage: Stage) {
        self.write().stage = stage;
    }

    /// Clients are served from now on; whom to ask, and how it is.
    pub(crate) fn serve(&self, inbox: Arc<Inbox>, health: Health) {
        let mut condition = self.write();
        condition.stage = Stage::Ready;
        condition.engine = Some((inbox, health));
    }

    /// The engine's inbox.
    ///
    /// # Errors
    /// Why no engine can be asked now, in words.
    pub fn engine(&self) -> Result<Arc<Inbox>, String> {
        let condition = self.read();
        match &condition.engine {
            Some((inbox, _)) => Ok(Arc::clone(inbox)),
            None => Err(condition.not_ready().unwrap_or_default()),
        }
    }

    /// Why clients are not served now, or not all of what they ask for, in words; `None` when they are.
    pub fn not_ready(&self) -> Option<String> {
        let condition = self.read();
        let unhealthy = condition.engine.as_ref().and_then(|(_, health)| health.reason());
        unhealthy.or_else(|| condition.not_ready())
    }
}

impl Condition {
    fn not_ready(&self) -> Option<String> {
        match self.stage {
            Stage::Waiting => Some(format!("not serving: {}", self.waiting)),
            Stage::Recovering => Some(format!("recovering: {}", Told(&self.progress))),
            Stage::Opening => Some("starting".to_owned()),
            Stage::Ready => None,
            Stage::Stopping => Some("shutting down".to_owned()),
        }
    }
}

/// How far a recovery is, in words.
pub(crate) struct Told<'a>(pub(crate) &'a Progress);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (done, total) = (self.0.bytes_done(), self.0.bytes_total());
        let Some(percent) = (u128::from(done) * 100).checked_div(u128::from(total)) else {
            return f.write_str("looking at the store");
        };
        write!(
            f,
            "{percent}% of {} read, {} records, {} channels",
            seaway_config::format_size(total),
            self.0.records(),
            self.0.channels()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_server_has_no_excuse() {
        let phase = Phase::default();
        let reader = phase.clone();
        assert_eq!(reader.not_ready().unwrap(), "not serving: no tenure was granted yet");
        phase.recover(7);
        assert_eq!(reader.not_ready().unwrap(), "recovering: looking at the store");
        assert_eq!((reader.stage(), reader.tenure()), (Stage::Recovering, Some(7)));
        phase.enter(Stage::Opening);
        assert_eq!(reader.not_ready().unwrap(), "starting");
        assert_eq!(reader.engine().err().unwrap(), "starting");
        phase.serve(Arc::default(), Health::default());
        assert!(reader.engine().is_ok() && reader.not_ready().is_none());
        phase.enter(Stage::Stopping);
        assert_eq!(reader.not_ready().unwrap(), "shutting down");
        assert!(reader.engine().is_ok(), "it answers until its end");
        phase.wait("tenure 7 was lost: somebody else has it".to_owned());
        let words = "not serving: tenure 7 was lost: somebody else has it";
        assert_eq!(reader.not_ready().unwrap(), words);
        assert_eq!(reader.engine().err().unwrap(), words);
        assert_eq!((reader.stage(), reader.tenure()), (Stage::Waiting, None));
    }
}
