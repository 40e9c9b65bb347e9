//! The engine's threads. Two of them take turns: one has the engine, the other runs the commit or sleeps. So the engine goes on
//! while the disk is busy, and one publish alone is taken, synced and answered by the same thread. Under load the engine stays with
//! the first of them, whose caches hold its state.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use seaway_streaming::{Engine, Position};
use tokio::sync::{Notify, oneshot};

use super::health::Health;
use super::inbox::{Inbox, THREADS, Turn};
use super::pass::{Clock, Pass};
use super::world::World;

type Outcome = Result<(), String>;

/// The running engine threads.
pub struct EngineThreads {
    inbox: Arc<Inbox>,
    ended: Arc<Notify>,
    threads: Vec<JoinHandle<Option<Outcome>>>,
}

impl EngineThreads {
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
    inbox: Arc<Inbox>,
    clock: Clock,
    health: Health,
) -> std::io::Result<(EngineThreads, oneshot::Receiver<()>)> {
    let (started, is_started) = oneshot::channel();
    let ended = Arc::new(Notify::new());
    let pass = Pass::new(engine, world, Arc::clone(&inbox), clock, health, (started_at, started));
    // Interest in the service subjects lasts as long as somebody serves them.
    let shared = Arc::new(Mutex::new(pass));
    // The first turn waits for nothing: the start of the engine has left work, and a record to be made durable.
    inbox.wake();
    let mut threads = Vec::with_capacity(THREADS);
    for number in 0..THREADS {
        let guard = Ended(Arc::clone(&inbox), Arc::clone(&ended));
        let shared = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name(format!("engine-{}", number + 1));
        threads.push(builder.spawn(move || serve(&guard.0, number, &shared))?);
    }
    Ok((EngineThreads { inbox, ended, threads }, is_started))
}

/// Takes turns until the end; its outcome, from the thread that brought it about.
fn serve(inbox: &Inbox, thread: usize, pass: &Mutex<Pass>) -> Option<Outcome> {
    let mut items = Vec::new();
    loop {
        match inbox.turn(thread, &mut items) {
            Turn::End => return None,
            Turn::Commit(commit) => {
                commit();
                inbox.committed();
            }
            Turn::Engine => {
                // Nobody else holds this lock: one thread at a time has the engine.
                let mut pass = pass.lock().unwrap_or_else(PoisonError::into_inner);
                let outcome = pass.run(&mut items);
                if outcome.is_some() {
                    return outcome;
                }
                let deadline = pass.deadline();
                drop(pass);
                inbox.disengage(deadline);
            }
        }
    }
}

/// Tells of a thread's end, also when it panics; none is left behind.
struct Ended(Arc<Inbox>, Arc<Notify>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
        self.1.notify_one();
    }
}
