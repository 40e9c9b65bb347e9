//! Turns of connections that have much to do. As many are taken at a time as there are processors, and the others wait in the order
//! in which they came: whoever has little to do then waits for a few turns, and not for one of everybody's. Before each of them the
//! runtime looks who else has something to do, which it does otherwise once in some sixty turns only.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::gather::Allowance;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

type Waiting = dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync;

/// Whether a connection may take its turn at once.
#[derive(Default)]
pub(super) struct Lane {
    /// The last turn used up its work: the next one has to be waited for.
    waiting: Option<Pin<Box<Waiting>>>,
    /// The turn that is being taken, if it had to be waited for.
    turn: Option<OwnedSemaphorePermit>,
}

impl Lane {
    /// Waits for the turn.
    pub(super) fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = &mut self.waiting else {
            return Poll::Ready(());
        };
        match waiting.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(turn) => {
                self.waiting = None;
                // Turns are never closed; if they were, nobody would have to wait.
                self.turn = turn.ok();
                Poll::Ready(())
            }
        }
    }

    /// What the turn may do: little if it was not waited for.
    pub(super) fn allowance(&self) -> Allowance {
        match self.turn {
            Some(_) => Allowance::WHOLE,
            None => Allowance::FIRST,
        }
    }

    /// The turn is over.
    pub(super) fn end_turn(&mut self) {
        self.turn = None;
    }

    /// The turn used up its work: the next one is waited for behind all who wait already.
    pub(super) fn queue_up(&mut self, turns: &Arc<Semaphore>) {
        let turn = Arc::clone(turns).acquire_owned();
        self.waiting = Some(Box::pin(async move {
            let turn = turn.await;
            tokio::task::yield_now().await;
            turn
        }));
    }

    /// Gives up the place: a turn that is given to who does something else is taken from all others.
    pub(super) fn leave(&mut self) {
        self.waiting = None;
        self.turn = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it may take its turn now.
    fn may(lane: &mut Lane) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        // At the first look others are let go before.
        (0..2).any(|_| lane.poll_turn(&mut context).is_ready())
    }

    #[test]
    fn who_has_much_to_do_waits_for_those_before_and_who_has_little_for_nobody() {
        let turns = Arc::new(Semaphore::new(2));
        let mut heavy: Vec<Lane> = (0..5).map(|_| Lane::default()).collect();
        let mut light = Lane::default();
        for lane in &mut heavy {
            assert!(may(lane), "the first turn");
            assert_eq!(lane.allowance(), Allowance::FIRST, "any number may take one at once");
            lane.end_turn();
            lane.queue_up(&turns);
        }
        let ready: Vec<bool> = heavy.iter_mut().map(may).collect();
        assert_eq!(ready, [true, true, false, false, false]);
        assert_eq!(heavy[0].allowance(), Allowance::WHOLE);
        assert!(may(&mut light));
        heavy[0].end_turn();
        heavy[0].queue_up(&turns);
        assert!(!may(&mut heavy[0]), "the others were there before");
        assert!(!may(&mut heavy[3]) && !may(&mut heavy[4]) && may(&mut heavy[2]));
        heavy[3].leave();
        heavy[1].end_turn();
        assert!(may(&mut heavy[4]) && !may(&mut heavy[0]));
        heavy[2].leave();
        assert!(may(&mut heavy[0]));
    }
}
