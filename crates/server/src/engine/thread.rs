//! The engine's threads. Two of them take turns: one has the engine, the other runs the commit or sleeps. So the engine goes on
//! while the disk is busy, and one publish alone is taken, synced and answered by the same thread. Under load the engine stays with
//! the first of them, whose caches hold its state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use seaway_streaming::{Engine, Position};
use tokio::sync::{Notify, oneshot};

use super::bus::Seat;
use super::health::Health;
use super::inbox::{Inbox, THREADS, Turn};
use super::left_behind::{Counted, Headcount, LeftBehind};
use super::pass::{Clock, Pass};
use super::world::World;

type Outcome = Result<(), String>;

/// The running engine threads.
pub struct EngineThreads {
    inbox: Arc<Inbox>,
    ended: Arc<Notify>,
    threads: Vec<JoinHandle<Option<Outcome>>>,
    headcount: Headcount,
    /// Interest in the service subjects lasts as long as somebody serves them.
    seat: Seat,
}

impl EngineThreads {
    /// Has what the next start would have to read made short; ends when it is, or when it cannot be.
    pub(crate) async fn prepare_to_stop(&self) {
        // Nothing is sent: the other end goes.
        let _ = self.inbox.checkpoint().await;
    }

    /// Processes what waits, makes everything durable and ends the threads.
    ///
    /// # Errors
    /// What could not be made durable, in words.
    pub fn stop(self) -> Result<(), String> {
        self.inbox.stop();
        let mut outcome = None;
        for thread in self.threads {
            match thread.join() {
                Ok(found) => outcome = outcome.or(found),
                Err(_) => return Err("an engine thread panicked".to_owned()),
            }
        }
        outcome.unwrap_or_else(|| Err("the engine threads ended too early".to_owned()))
    }

    /// Leaves the threads to themselves, at once and whatever they hang in: what waits for them is dropped, whoever asks them is
    /// told that they have stopped, nobody is held back for them any more, and nothing that was not durable until now will be
    /// acknowledged. A thread that is in the disk ends when the disk lets go of it.
    pub fn abandon(self) -> LeftBehind {
        // Before the gate opens: who delivers late opens it again.
        self.inbox.end();
        drop(self.seat);
        self.headcount.left_behind()
    }

    /// Waits until a thread has ended by itself, which only a broken invariant can cause.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }
}

/// Starts the threads over a recovered and started engine; the receiver hears when everything that its start recorded, up to
/// `started_at`, is durable.
///
/// # Errors
/// The operating system gave no thread.
pub(crate) fn start(
    engine: Engine,
    world: World,
    started_at: Position,
    seat: Seat,
    inbox: Arc<Inbox>,
    clock: Clock,
    health: Health,
) -> std::io::Result<(EngineThreads, oneshot::Receiver<()>)> {
    let (started, is_started) = oneshot::channel();
    let ended = Arc::new(Notify::new());
    let pass = Pass::new(engine, world, Arc::clone(&inbox), clock, health, (started_at, started));
    let pass = Arc::new(Mutex::new(Some(pass)));
    let headcount = Headcount::default();
    // The first turn waits for nothing: the start of the engine has left work, and a record to be made durable.
    inbox.wake();
    let mut threads = Vec::with_capacity(THREADS);
    for number in 0..THREADS {
        let guard = Ended {
            inbox: Arc::clone(&inbox),
            ended: Arc::clone(&ended),
            _counted: headcount.one_more(),
        };
        let pass = Arc::clone(&pass);
        let builder = std::thread::Builder::new().name(format!("engine-{}", number + 1));
        threads.push(builder.spawn(move || serve(&guard.inbox, number, &pass))?);
    }
    let threads = EngineThreads {
        inbox,
        ended,
        threads,
        headcount,
        seat,
    };
    Ok((threads, is_started))
}

fn lock(pass: &Mutex<Option<Pass>>) -> MutexGuard<'_, Option<Pass>> {
    pass.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes turns until the end; its outcome, from the thread that brought it about.
fn serve(inbox: &Inbox, thread: usize, shared: &Mutex<Option<Pass>>) -> Option<Outcome> {
    let mut items = Vec::new();
    loop {
        match inbox.turn(thread, &mut items) {
            Turn::End => {
                // Engine and store go with the first thread that ends: the other may hang in the disk.
                let pass = lock(shared).take();
                drop(pass);
                return None;
            }
            Turn::Commit(commit) => {
                commit();
                inbox.committed();
            }
            Turn::Engine => {
                // Nobody else holds this lock: one thread at a time has the engine.
                let mut shared = lock(shared);
                let pass = shared.as_mut()?;
                let outcome = pass.run(&mut items);
                if outcome.is_some() {
                    return outcome;
                }
                let deadline = pass.deadline();
                drop(shared);
                inbox.disengage(deadline);
            }
        }
    }
}

/// Tells of a thread's end, also when it panics; none is left behind.
struct Ended {
    inbox: Arc<Inbox>,
    ended: Arc<Notify>,
    _counted: Counted,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.inbox.end();
        self.ended.notify_one();
    }
}
