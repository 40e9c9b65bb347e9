//! What waits for the engine: message batches from the broker, wake-ups of the store, questions of the monitoring, the next
//! commit; and whose turn it is. Any of the engine's threads takes what there is to do: the engine, if no other has it, or the
//! commit.
//!
//! Bounded by bytes: beyond the bound the broker's gate closes and connections that publish are no longer read. What is
//! not a publish keeps flowing; each connection can add at most one read batch after the gate has closed. Far above that bound is
//! another, at which whatever arrives is dropped.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use seaway_stan_protocol::messages::{PubAck, PubMsg};
use seaway_stan_protocol::{Message as _, errors};
use seaway_store::{Commit, OpenImage, Store};
use seaway_streaming::{Engine, Now};
use tokio::sync::oneshot;

use super::changes::ChangeRequest;
use super::deferred::batch_bytes;
use super::look::Look;
use crate::bus::{Batch, Destination, Gate, Listener, Message};
use crate::limits::{GATE_PASSES_PER_PASS, INBOX_BYTES_HIGH, INBOX_BYTES_LOW, INBOX_BYTES_MAX};

/// What a question can look at.
pub struct Glance<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The store behind it.
    pub store: &'a dyn Store,
    /// The moment of the look, on the engine's clocks.
    pub now: Now,
    /// Why the store refused the last publish or change of state it was asked for; `None` when it did not.
    pub refusing: Option<String>,
    /// Batches held back while the store is behind.
    pub held_batches: usize,
    /// Bytes that wait for the engine, those of held batches included.
    pub inbox_bytes: usize,
}

/// A question to the engine, run on its thread between inputs; it can only look.
pub type Query = Box<dyn FnOnce(&Glance<'_>) + Send>;

/// Something that waits for the engine.
pub(super) enum Item {
    /// Messages of one connection's read, in order.
    Batch(Batch),
    /// A congested destination has room again.
    Drained(Destination),
    /// The bus carries messages from now on, or does not.
    Carries(bool),
    /// A question.
    Query(Query),
    /// A look at stored messages.
    Look(Look),
    /// Plan an image of the store.
    Image(oneshot::Sender<Result<OpenImage, String>>),
    /// Plan an image of the store for its archive.
    ArchiveImage(oneshot::Sender<Result<(i64, OpenImage), String>>),
    /// A change that an operator asks for.
    Change(Box<ChangeRequest>),
    /// Write a checkpoint, while everything goes on, so that whoever opens the store next reads little.
    Checkpoint(oneshot::Sender<()>),
    /// Finish: process what came before, make everything durable, end.
    Stop,
}

/// The engine's threads, by number: [`HOME`], and one that serves it while that one runs a commit itself.
pub(super) const THREADS: usize = 2;

/// The thread whose caches hold the engine's state: while it sleeps, whoever finds something for the engine calls it.
const HOME: usize = 0;

/// What a thread is to do next.
pub(super) enum Turn {
    /// Serve the engine, then [`Inbox::disengage`].
    Engine,
    /// Run this, then [`Inbox::committed`].
    Commit(Commit),
    /// Nothing more.
    End,
}

/// The engine's inbox.
#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    /// One for each thread.
    callers: [Condvar; THREADS],
    /// Set by a wake-up that carries no item: the store has completions.
    woken: AtomicBool,
    /// Bytes of batches that are queued or held back by the engine.
    bytes: AtomicUsize,
    gate: OnceLock<Gate>,
    /// The gate has opened, and not everybody was let go on yet.
    opening: AtomicBool,
    /// Batches are being dropped above the last bound, and the log has been told.
    dropping: AtomicBool,
    /// Somebody new listens to something; noted only while `greeting` is set.
    interest: AtomicBool,
    greeting: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    /// The commit that no thread has taken yet.
    commit: Option<Commit>,
    /// A thread has the engine.
    engaged: bool,
    /// When the engine wants a turn although nothing comes in.
    deadline: Option<Instant>,
    /// Which threads sleep and have not been called.
    asleep: [bool; THREADS],
    /// Until when threads sleep, of those that do not sleep for ever.
    watched: [Option<Instant>; THREADS],
    ended: bool,
}

impl Inbox {
    /// Connects the gate that holds publishers back.
    pub(crate) fn set_gate(&self, gate: Gate) {
        // Set once, at start, before any batch can arrive.
        let _ = self.gate.set(gate);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, item: Item) {
        let mut waiting = self.lock();
        if waiting.ended {
            // Whoever waits for an answer hears that there is none.
            drop(waiting);
            return drop(item);
        }
        waiting.items.push(item);
        // A thread that has the engine looks into the inbox before it sleeps, and a first item has called one already.
        if waiting.items.len() == 1 && !waiting.engaged {
            self.call(waiting);
        }
    }

    /// Calls a thread that sleeps, if one does.
    fn call(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let Some(thread) = waiting.asleep.iter().position(|asleep| *asleep) else {
            return;
        };
        waiting.asleep[thread] = false;
        // The thread that is called takes the lock first thing.
        drop(waiting);
        self.callers[thread].notify_one();
    }

    /// Asks the engine something.
    pub fn ask(&self, query: Query) {
        self.push(Item::Query(query));
    }

    /// Asks for stored messages. Nobody but the caller bounds how many looks wait.
    pub fn look(&self, look: Look) {
        self.push(Item::Look(look));
    }

    /// Asks for an image of the store, as of the moment when the engine comes to this.
    pub fn image(&self) -> oneshot::Receiver<Result<OpenImage, String>> {
        let (done, planned) = oneshot::channel();
        self.push(Item::Image(done));
        planned
    }

    /// Asks for an image of the store for its archive, and the moment, nanoseconds since the Unix epoch, as of which it is.
    pub fn archive_image(&self) -> oneshot::Receiver<Result<(i64, OpenImage), String>> {
        let (done, planned) = oneshot::channel();
        self.push(Item::ArchiveImage(done));
        planned
    }

    /// Asks for a change. Nobody but the caller bounds how many wait.
    pub fn change(&self, request: ChangeRequest) {
        self.push(Item::Change(Box::new(request)));
    }

    /// Asks for a checkpoint; what waits for the receiver ends when it is there, or when there will be none.
    pub(super) fn checkpoint(&self) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        self.push(Item::Checkpoint(done));
        is_done
    }

    /// Ends the engine after everything that waits now.
    pub(super) fn stop(&self) {
        self.push(Item::Stop);
    }

    /// Says that the store has something to tell.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        // The lock orders the flag before the waiter's check.
        let waiting = self.lock();
        if !waiting.engaged {
            self.call(waiting);
        }
    }

    /// Whether the engine wants to hear of new interest from now on.
    pub(super) fn greet(&self, greeting: bool) {
        self.greeting.store(greeting, Ordering::Release);
    }

    /// Whether somebody new listens to something since the last call.
    pub(super) fn take_interest(&self) -> bool {
        self.interest.swap(false, Ordering::AcqRel)
    }

    /// Whether the store has something to tell.
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Waits for something to do for the thread with this number. With the engine comes everything that waits for it, in `items`.
    pub(super) fn turn(&self, thread: usize, items: &mut Vec<Item>) -> Turn {
        debug_assert!(items.is_empty());
        let mut waiting = self.lock();
        loop {
            if waiting.ended {
                return Turn::End;
            }
            let deadline = waiting.deadline.filter(|_| !waiting.engaged);
            let patience = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let is_wanted = !waiting.items.is_empty()
                || self.woken.load(Ordering::Acquire)
                || patience.is_some_and(|patience| patience.is_zero());
            if is_wanted && !waiting.engaged {
                if thread == HOME || !waiting.asleep[HOME] {
                    waiting.engaged = true;
                    self.woken.store(false, Ordering::Release);
                    std::mem::swap(&mut waiting.items, items);
                    return Turn::Engine;
                }
                waiting.asleep[HOME] = false;
                self.callers[HOME].notify_one();
            }
            if let Some(commit) = waiting.commit.take() {
                // The commit may take long: another thread has to be awake in time for the deadline.
                let is_watched = |deadline| waiting.watched.iter().flatten().any(|watched| *watched <= deadline);
                if deadline.is_some_and(|deadline| !is_watched(deadline)) {
                    self.call(waiting);
                }
                return Turn::Commit(commit);
            }
            waiting = self.sleep(thread, waiting, deadline.zip(patience));
        }
    }

    fn sleep<'a>(
        &self,
        thread: usize,
        mut waiting: MutexGuard<'a, Waiting>,
        until: Option<(Instant, Duration)>,
    ) -> MutexGuard<'a, Waiting> {
        let called = &self.callers[thread];
        waiting.asleep[thread] = true;
        waiting.watched[thread] = until.map(|(deadline, _)| deadline);
        let mut waiting = match until {
            Some((_, patience)) => {
                let slept = called.wait_timeout(waiting, patience);
                slept.unwrap_or_else(PoisonError::into_inner).0
            }
            None => called.wait(waiting).unwrap_or_else(PoisonError::into_inner),
        };
        waiting.asleep[thread] = false;
        waiting.watched[thread] = None;
        waiting
    }

    /// Gives the engine back; it wants its next turn at `deadline` at the latest. The caller asks for its next turn at once and
    /// so may get the commit that waits.
    pub(super) fn disengage(&self, deadline: Option<Instant>) {
        let mut waiting = self.lock();
        waiting.engaged = false;
        waiting.deadline = deadline;
        let is_due = deadline.is_some_and(|deadline| deadline <= Instant::now());
        // The caller takes the commit or the engine; if both wait, another thread is called for the other one.
        if waiting.commit.is_some() && (!waiting.items.is_empty() || self.is_woken() || is_due) {
            self.call(waiting);
        }
    }

    /// Leaves a commit for the thread that has the engine, once it gives that back.
    pub(super) fn keep(&self, commit: Commit) {
        let mut waiting = self.lock();
        if !waiting.ended {
            waiting.commit = Some(commit);
        }
    }

    /// Gives a commit to a thread that does not have the engine.
    pub(super) fn offer(&self, commit: Commit) {
        let mut waiting = self.lock();
        if !waiting.ended {
            waiting.commit = Some(commit);
            self.call(waiting);
        }
    }

    /// The commit that waits, if no thread has it yet.
    pub(super) fn take_back(&self) -> Option<Commit> {
        self.lock().commit.take()
    }

    /// A commit was run: the store has something to tell. The caller asks for its next turn at once.
    pub(super) fn committed(&self) {
        self.woken.store(true, Ordering::Release);
    }

    /// Lets every thread end; what waits for them is dropped, and so is what comes later.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.ended = true;
        let dropped = (std::mem::take(&mut waiting.items), waiting.commit.take());
        drop(waiting);
        drop(dropped);
        for caller in &self.callers {
            caller.notify_one();
        }
    }

    /// Bytes that wait for the engine.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// A batch was processed: its bytes no longer count.
    pub(super) fn served(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before >= INBOX_BYTES_LOW
            && before - bytes < INBOX_BYTES_LOW
            && let Some(gate) = self.gate.get()
        {
            self.dropping.store(false, Ordering::Release);
            self.open(gate);
        }
    }

    /// Lets publishers go on, and has the passes to come let go on whom this does not.
    fn open(&self, gate: &Gate) {
        if gate.open_for(GATE_PASSES_PER_PASS) {
            self.opening.store(true, Ordering::Release);
        }
    }

    /// Lets some more of those go on who were held when the gate opened.
    pub(super) fn let_go_on(&self) {
        if self.is_opening()
            && let Some(gate) = self.gate.get()
        {
            // Taken back first: others may open the gate meanwhile.
            self.opening.store(false, Ordering::Release);
            if gate.go_on(GATE_PASSES_PER_PASS) {
                self.opening.store(true, Ordering::Release);
            }
        }
    }

    /// Whether somebody may still wait at the gate although it has opened.
    pub(super) fn is_opening(&self) -> bool {
        self.opening.load(Ordering::Acquire)
    }
}

impl Inbox {
    /// Drops a batch. The log is told once, and again only after what waits had become little.
    fn drop_batch(&self, batch: &Batch) {
        if !self.dropping.swap(true, Ordering::AcqRel) {
            let (origin, count) = (batch.origin().0, batch.len());
            tracing::warn!(
                target: "stream",
                "The streaming engine does not keep up: {count} requests of cid:{origin} and what follows are dropped"
            );
        }
    }
}

/// The answer to a publish that there is no room for.
fn refusal(publish: &[u8]) -> Option<Vec<u8>> {
    let publish = PubMsg::decode(publish).ok()?;
    let answer = PubAck {
        guid: publish.guid,
        error: errors::SERVER_BEHIND.into(),
    };
    Some(answer.encode_to_vec())
}

impl Listener for Inbox {
    fn deliver(&self, batch: Batch) {
        let bytes = batch_bytes(&batch);
        if self.bytes() >= INBOX_BYTES_MAX {
            return self.drop_batch(&batch);
        }
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before + bytes >= INBOX_BYTES_HIGH
            && let Some(gate) = self.gate.get()
        {
            gate.close();
            // The engine may have taken everything between the count and the closing, and would not open the gate again; or it ended.
            if self.lock().ended {
                gate.open();
            } else if self.bytes.load(Ordering::Acquire) < INBOX_BYTES_LOW {
                self.open(gate);
            }
        }
        self.push(Item::Batch(batch));
    }

    fn drained(&self, destination: Destination) {
        self.push(Item::Drained(destination));
    }

    fn carries(&self, is_up: bool) {
        self.push(Item::Carries(is_up));
    }

    fn heard_all(&self) {
        self.wake();
    }

    fn refusal(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        refusal(message.payload)
    }

    fn interest_appeared(&self) {
        if self.greeting.load(Ordering::Acquire) && !self.interest.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What the next pass leaves: a deadline this far away, and a commit to be run by the same thread.
    type Plan = Mutex<Option<(Duration, Commit)>>;

    /// Takes turns until the end; says when it has the engine.
    fn take_turns(inbox: &Inbox, thread: usize, engaged: &Sender<()>, plan: &Plan) {
        let mut items = Vec::new();
        loop {
            match inbox.turn(thread, &mut items) {
                Turn::End => return,
                Turn::Commit(commit) => {
                    commit();
                    inbox.committed();
                }
                Turn::Engine => {
                    items.clear();
                    let _ = engaged.send(());
                    let (patience, commit) = plan.lock().unwrap_or_else(PoisonError::into_inner).take().unzip();
                    commit.into_iter().for_each(|commit| inbox.keep(commit));
                    inbox.disengage(patience.map(|patience| Instant::now() + patience));
                }
            }
        }
    }

    fn two_threads(plan: &Plan, check: impl FnOnce(&Inbox, &dyn Fn())) {
        let (inbox, (engaged, turns)) = (Inbox::default(), channel());
        let inbox = &inbox;
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let engaged = engaged.clone();
                scope.spawn(move || take_turns(inbox, thread, &engaged, plan));
            }
            let until_engaged = || match turns.recv_timeout(PATIENCE) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
                Err(RecvTimeoutError::Timeout) => {
                    inbox.end();
                    panic!("the engine got no turn");
                }
            };
            check(inbox, &until_engaged);
            inbox.end();
        });
    }

    /// A commit that lasts until the sender is dropped.
    fn slow_commit() -> (Commit, Sender<()>) {
        let (finish, finished) = channel();
        (
            Box::new(move || {
                let _ = finished.recv();
            }),
            finish,
        )
    }

    #[test]
    fn a_publish_without_room_is_refused_in_words() {
        let publish = PubMsg {
            guid: "guid".into(),
            ..PubMsg::default()
        };
        let answer = refusal(&publish.encode_to_vec()).unwrap();
        let answer = PubAck::decode(answer.as_slice()).unwrap();
        assert_eq!(
            (&answer.guid[..], &answer.error[..]),
            (&b"guid"[..], errors::SERVER_BEHIND.as_bytes())
        );
        assert!(refusal(&[0xff; 3]).is_none());
    }

    #[test]
    fn one_thread_has_the_engine_and_another_gets_the_commit() {
        let inbox = Inbox::default();
        let mut items = Vec::new();
        inbox.push(Item::Stop);
        assert!(matches!(inbox.turn(HOME, &mut items), Turn::Engine));
        assert_eq!(items.drain(..).count(), 1);
        inbox.push(Item::Stop);
        inbox.offer(Box::new(|| ()));
        // The engine is taken, whatever waits for it.
        assert!(matches!(inbox.turn(HOME, &mut items), Turn::Commit(_)));
        inbox.keep(Box::new(|| ()));
        inbox.disengage(None);
        assert!(matches!(inbox.turn(HOME, &mut items), Turn::Engine));
        items.clear();
        assert!(matches!(inbox.turn(HOME, &mut items), Turn::Commit(_)));
        inbox.committed();
        inbox.disengage(None);
        assert!(matches!(inbox.turn(HOME, &mut items), Turn::Engine));
        assert!(items.is_empty());
        inbox.end();
        assert!(matches!(inbox.turn(HOME, &mut items), Turn::End));
    }

    #[test]
    fn what_comes_in_while_the_disk_is_busy_is_served() {
        for _ in 0..200 {
            two_threads(&Plan::default(), |inbox, until_engaged| {
                let (commit, finish) = slow_commit();
                inbox.offer(commit);
                inbox.push(Item::Stop);
                until_engaged();
                inbox.wake();
                until_engaged();
                drop(finish);
                // The commit that ends is told of.
                until_engaged();
            });
        }
    }

    /// The thread that has the engine keeps a commit for itself; the deadline it leaves is met by the other, which sleeps.
    #[test]
    fn a_deadline_is_met_while_the_disk_is_busy() {
        for _ in 0..200 {
            let (commit, finish) = slow_commit();
            let plan = Mutex::new(Some((Duration::from_micros(500), commit)));
            two_threads(&plan, |inbox, until_engaged| {
                inbox.push(Item::Stop);
                until_engaged();
                until_engaged();
                drop(finish);
            });
        }
    }
}
