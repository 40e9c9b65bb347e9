//! Where a server is in its life, for those who are asked while it starts or stops. Written by the start, read by the
//! monitoring.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use seaway_store::Progress;

/// A part of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The state is read from the store; requests of clients wait.
    Recovering,
    /// The state is there, the services are being opened.
    Opening,
    /// Clients are served.
    Ready,
    /// What was accepted is brought to an end, nothing new is taken.
    Stopping,
}

const STAGES: [Stage; 4] = [Stage::Recovering, Stage::Opening, Stage::Ready, Stage::Stopping];

/// The stage of the running server; clones show the same.
#[derive(Clone, Debug)]
pub struct Phase(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stage: AtomicU8,
    progress: Arc<Progress>,
}

impl Default for Phase {
    fn default() -> Phase {
        Phase(Arc::new(Shared {
            stage: AtomicU8::new(Stage::Recovering as u8),
            progress: Arc::default(),
        }))
    }
}

impl Phase {
    /// The stage as of now.
    pub fn stage(&self) -> Stage {
        STAGES[usize::from(self.0.stage.load(Ordering::Acquire))]
    }

    /// The next stage begins.
    pub(crate) fn enter(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Release);
    }

    /// How far the recovery is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.0.progress
    }

    /// Whether the engine answers questions: from the end of the recovery to the end of the process.
    pub fn has_engine(&self) -> bool {
        matches!(self.stage(), Stage::Ready | Stage::Stopping)
    }

    /// Why clients are not served now, in words; `None` when they are.
    pub fn not_ready(&self) -> Option<String> {
        match self.stage() {
            Stage::Recovering => Some(format!("recovering: {}", Told(&self.0.progress))),
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
        assert_eq!(reader.not_ready().unwrap(), "recovering: looking at the store");
        for (stage, reason, has_engine) in [
            (Stage::Opening, Some("starting"), false),
            (Stage::Ready, None, true),
            (Stage::Stopping, Some("shutting down"), true),
        ] {
            phase.enter(stage);
            assert_eq!(reader.stage(), stage);
            assert_eq!(reader.not_ready().as_deref(), reason);
            assert_eq!(reader.has_engine(), has_engine);
        }
    }
}
