//! When a checkpoint is begun: as soon as the store asks for one, but after one that was given up, for lack of room most often, only
//! after a pause. A store that could be emptied by a checkpoint asks again at once, however full its disk is.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::limits::{CHECKPOINT_PAUSE, CHECKPOINT_TOLD_EVERY};

/// See the module.
#[derive(Default)]
pub(super) struct Checkpoints {
    is_running: bool,
    /// The store has asked for one that is not begun.
    is_wanted: bool,
    not_before: Option<Instant>,
    /// When the operator heard of one that was given up.
    told: Option<Instant>,
    /// Who waits for one, and how many there were before it.
    asked: Option<(u64, oneshot::Sender<()>)>,
}

impl Checkpoints {
    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Somebody wants one beyond the first so many.
    pub(super) fn ask(&mut self, written: u64, done: oneshot::Sender<()>) {
        self.asked = Some((written, done));
        self.want();
    }

    /// Whoever asked is told, by the end of what was given, when there are more than there were.
    pub(super) fn tell(&mut self, written: impl FnOnce() -> u64) {
        if self.asked.as_ref().is_some_and(|(before, _)| written() > *before) {
            self.asked = None;
        }
    }

    /// The store asks for one.
    pub(super) fn want(&mut self) {
        self.is_wanted = !self.is_running;
    }

    /// Begins one, if that is wanted and due.
    pub(super) fn begin(&mut self, now: Instant, begin: impl FnOnce() -> bool) {
        if self.is_wanted && self.not_before.is_none_or(|time| time <= now) {
            self.is_wanted = false;
            self.is_running = begin();
        }
    }

    /// Whether there is more to write into the one that runs.
    pub(super) fn go_on(&mut self, is_running: bool) {
        self.is_running = is_running;
    }

    /// The one that ran was given up; whether to tell the operator.
    pub(super) fn given_up(&mut self, now: Instant) -> bool {
        self.is_running = false;
        self.asked = None;
        self.not_before = Some(now + CHECKPOINT_PAUSE);
        let is_news = self.told.is_none_or(|told| now >= told + CHECKPOINT_TOLD_EVERY);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }

    /// When to look again, if one is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_for_one_hears_of_the_next_or_that_there_is_none() {
        let (mut checkpoints, now) = (Checkpoints::default(), Instant::now());
        for is_written in [true, false] {
            let (done, mut is_done) = oneshot::channel();
            checkpoints.ask(7, done);
            checkpoints.begin(now, || true);
            checkpoints.tell(|| 7);
            assert_eq!(is_done.try_recv(), Err(oneshot::error::TryRecvError::Empty));
            if is_written {
                checkpoints.go_on(false);
                checkpoints.tell(|| 8);
            } else {
                checkpoints.given_up(now);
            }
            assert_eq!(is_done.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        }
    }

    #[test]
    fn what_was_given_up_is_begun_again_after_a_pause_and_told_once_in_a_while() {
        let (mut checkpoints, start) = (Checkpoints::default(), Instant::now());
        let mut begun = 0;
        let mut told = 0;
        // A store that asks again whenever one was given up, for two minutes.
        for tenth in 0..1_200u32 {
            let now = start + std::time::Duration::from_millis(100) * tenth;
            checkpoints.want();
            checkpoints.begin(now, || {
                begun += 1;
                true
            });
            if checkpoints.is_running() {
                told += u32::from(checkpoints.given_up(now));
                checkpoints.want();
                assert_eq!(checkpoints.deadline(), Some(now + CHECKPOINT_PAUSE));
            }
        }
        assert_eq!((begun, told), (120, 2));
    }
}
