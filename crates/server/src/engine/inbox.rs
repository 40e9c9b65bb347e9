//! What waits for the engine: message batches from the broker, wake-ups of the store, questions of the monitoring.
//!
//! Bounded by bytes: beyond the bound the broker's gate closes and connections that publish are no longer read. What is
//! not a publish keeps flowing; each connection can add at most one read batch after the gate has closed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use seaway_broker::{Batch, Destination, Gate, Sink};
use seaway_store::Store;
use seaway_streaming::{Engine, Now};

use super::hold::batch_bytes;
use super::look::Look;
use crate::limits::{INBOX_BYTES_HIGH, INBOX_BYTES_LOW};

/// What a question can look at.
pub struct Glance<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The store behind it.
    pub store: &'a dyn Store,
    /// The moment of the look, on the engine's clocks.
    pub now: Now,
    /// Why the store refused the last publish or change of state it was asked for; `None` when it did not.
    pub refusing: Option<&'a str>,
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
    /// A question.
    Query(Query),
    /// A look at stored messages.
    Look(Look),
    /// Finish: process what came before, make everything durable, end.
    Stop,
}

/// The engine's inbox.
#[derive(Default)]
pub struct Inbox {
    items: Mutex<Vec<Item>>,
    filled: Condvar,
    /// Set by a wake-up that carries no item: the store has completions.
    woken: AtomicBool,
    /// Bytes of batches that are queued or held back by the engine thread.
    bytes: AtomicUsize,
    gate: OnceLock<Arc<Gate>>,
}

impl Inbox {
    /// Connects the gate that holds publishers back.
    pub(crate) fn set_gate(&self, gate: Arc<Gate>) {
        // Set once, at start, before any batch can arrive.
        let _ = self.gate.set(gate);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, item: Item) {
        let mut items = self.lock();
        items.push(item);
        if items.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// Asks the engine something.
    pub fn ask(&self, query: Query) {
        self.push(Item::Query(query));
    }

    /// Asks for stored messages. Nobody but the caller bounds how many looks wait.
    pub fn look(&self, look: Look) {
        self.push(Item::Look(look));
    }

    /// Ends the engine after everything that waits now.
    pub(super) fn stop(&self) {
        self.push(Item::Stop);
    }

    /// Says that the store has something to tell.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        // The lock orders the flag before the waiter's check.
        drop(self.lock());
        self.filled.notify_one();
    }

    /// Whether the store has something to tell.
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Swaps everything that waits into `items`; waits up to `timeout` (`None`: for ever) when there is nothing.
    pub(super) fn take(&self, items: &mut Vec<Item>, timeout: Option<Duration>) {
        debug_assert!(items.is_empty());
        let mut waiting = self.lock();
        if waiting.is_empty() && !self.woken.load(Ordering::Acquire) {
            waiting = match timeout {
                Some(Duration::ZERO) => waiting,
                Some(timeout) => {
                    self.filled
                        .wait_timeout(waiting, timeout)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
        self.woken.store(false, Ordering::Release);
        std::mem::swap(&mut *waiting, items);
    }

    /// Bytes that wait for the engine.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// A batch was processed: its bytes no longer count.
    pub(super) fn release(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before >= INBOX_BYTES_LOW
            && before - bytes < INBOX_BYTES_LOW
            && let Some(gate) = self.gate.get()
        {
            gate.open();
        }
    }
}

impl Sink for Inbox {
    fn deliver(&self, batch: Batch) {
        let bytes = batch_bytes(&batch);
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before + bytes >= INBOX_BYTES_HIGH
            && let Some(gate) = self.gate.get()
        {
            gate.close();
            // The engine may have drained everything between the count and the closing.
            if self.bytes.load(Ordering::Acquire) < INBOX_BYTES_LOW {
                gate.open();
            }
        }
        self.push(Item::Batch(batch));
    }

    fn drained(&self, destination: Destination) {
        self.push(Item::Drained(destination));
    }
}
