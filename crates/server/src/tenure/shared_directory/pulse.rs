//! The signs of life of a tenure: a thread that looks whether it still stands, writes a counter and beats, five times in a lease at least.
//!
//! It ends with the store: whoever can still write must be seen to live, also while it stops.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use seaway_store::Holding;
use seaway_tenure::{Ending, Found as Given, Patience, Signs, interval};
use tokio::sync::{oneshot, watch};

use super::heartbeats::Voice;

/// What the thread found last.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// It stood when a look that began then was made.
    Stands(Instant),
    /// It is over, in words.
    Over(String),
}

impl Found {
    /// Why it is over, if it is.
    pub(super) fn reason(&self) -> Option<String> {
        match self {
            Found::Stands(_) => None,
            Found::Over(reason) => Some(reason.clone()),
        }
    }

    /// What is over stays so: a look that began before does not change that.
    fn tell(self, listeners: &watch::Sender<Found>) {
        listeners.send_if_modified(|told| {
            let may_change = matches!(told, Found::Stands(_));
            if may_change {
                *told = self;
            }
            may_change
        });
    }
}

/// The running thread.
pub(super) struct Pulse {
    found: watch::Receiver<Found>,
    poke: std::sync::mpsc::SyncSender<()>,
    ended: oneshot::Receiver<Ending>,
}

impl Pulse {
    /// Begins with the signs of life of what is held.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub(super) fn begin(holding: &Arc<Holding>, lease: Duration, voice: Voice) -> std::io::Result<Pulse> {
        let (tell, found) = watch::channel(Found::Stands(Instant::now()));
        let (poke, poked) = std::sync::mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel();
        let tell = Arc::new(tell);
        let (finder, held) = (Arc::clone(&tell), Arc::downgrade(holding));
        // Who finds it first, a commit most often, has it told at once, whatever this thread hangs in.
        holding.set_waker(Box::new(move || {
            let by = held.upgrade().and_then(|held| held.deposed());
            Found::Over(taken_over(by)).tell(&finder);
        }));
        let mut beating = Beating {
            holding: Arc::downgrade(holding),
            signs: Signs::new(lease, Instant::now()),
            voice,
            told: Patience::default(),
            ending: Ending::Lawful,
        };
        let body = move || {
            while let Some(found) = beating.beat() {
                let is_over = found.reason().is_some();
                // Whoever listened may have gone; the signs go on as long as the store is there.
                found.tell(&tell);
                if is_over {
                    break;
                }
                let _ = poked.recv_timeout(interval(lease));
            }
            let _ = end.send(beating.ending);
        };
        std::thread::Builder::new().name("ft-pulse".to_owned()).spawn(body)?;
        Ok(Pulse { found, poke, ended })
    }

    /// What the thread finds, from now on.
    pub(super) fn found(&self) -> watch::Receiver<Found> {
        self.found.clone()
    }

    /// Has it look at once; dropped when it is about to.
    pub(super) fn poke(&self) -> impl Fn() + Send + use<> {
        let poke = self.poke.clone();
        // A poke that waits already is as good.
        move || {
            let _ = poke.try_send(());
        }
    }

    /// Whether it was found that the tenure is over.
    pub(super) fn is_over(&self) -> bool {
        self.found.borrow().reason().is_some()
    }

    /// Waits until the thread has ended, which it does soon after the store was dropped; not while it hangs in the disk.
    pub(super) async fn ended(self) -> Ending {
        let _ = self.poke.try_send(());
        self.ended.await.unwrap_or(Ending::Lawful)
    }
}

fn taken_over(by: Option<u64>) -> String {
    match by {
        Some(0) => "the file of its claim was removed or replaced by somebody".to_owned(),
        Some(by) => format!("it was taken over by tenure {by}"),
        None => "it was taken over".to_owned(),
    }
}

struct Beating {
    /// The store and what opens it hold it; this thread only while it looks.
    holding: Weak<Holding>,
    signs: Signs,
    voice: Voice,
    told: Patience,
    ending: Ending,
}

impl Beating {
    /// One look with one sign; `None` when there is no store any more.
    fn beat(&mut self) -> Option<Found> {
        let holding = self.holding.upgrade()?;
        let (since, words) = match self.signs.give(&holding, holding.waits_for_disk(), Instant::now) {
            Given::Sign(since) => {
                self.voice.beat();
                return Some(Found::Stands(since));
            }
            Given::Silence(since) => (since, "is not renewed: the disk is too slow".to_owned()),
            Given::Unanswered(error) => (
                self.signs.good(),
                format!("could not be renewed, and is tried again: {error}"),
            ),
            Given::Unrenewable(error) => return Some(Found::Over(format!("its lease cannot be renewed: {error}"))),
            Given::Over(by, ending) => {
                self.ending = ending;
                return Some(Found::Over(taken_over(Some(by))));
            }
        };
        if self.told.is_due(Instant::now()) {
            tracing::warn!(target: "stream", "The lease {words}");
        }
        Some(Found::Stands(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_not_taken_back_by_a_look_that_began_before() {
        let (listeners, found) = watch::channel(Found::Stands(Instant::now()));
        Found::Stands(Instant::now()).tell(&listeners);
        assert!(found.borrow().reason().is_none());
        Found::Over(taken_over(Some(7))).tell(&listeners);
        Found::Stands(Instant::now()).tell(&listeners);
        Found::Over(taken_over(Some(8))).tell(&listeners);
        assert_eq!(
            found.borrow().reason().as_deref(),
            Some("it was taken over by tenure 7")
        );
    }
}
