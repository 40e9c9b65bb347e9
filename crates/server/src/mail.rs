//! Messages that arrived for an in-process party and were not looked at yet; bounded by holding back whoever sends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast};

use crate::bus::{Batch, Destination, Gate, Listener};

/// Reports of drained destinations that are kept for whoever waits; a waiter that misses some looks for itself.
const DRAINED_KEPT: usize = 64;

/// See the module.
pub(crate) struct Mail {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    drained: broadcast::Sender<Destination>,
    /// Bytes beyond which whoever sends is held back.
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<Batch>,
    bytes: usize,
    gate: Option<Gate>,
}

impl Mail {
    /// An empty mail box for about `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Mail {
        Mail {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            drained: broadcast::Sender::new(DRAINED_KEPT),
            bytes_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects the gate that holds back whoever sends.
    pub(crate) fn set_gate(&self, gate: Gate) {
        self.lock().gate = Some(gate);
    }

    /// Waits for mail; only one may wait.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Everything that waits, in the order of its arrival.
    pub(crate) fn take(&self) -> Vec<Batch> {
        let mut waiting = self.lock();
        waiting.bytes = 0;
        let batches = std::mem::take(&mut waiting.batches);
        let gate = waiting.gate.clone();
        drop(waiting);
        if let Some(gate) = gate.filter(Gate::is_closed) {
            gate.open();
        }
        batches
    }

    /// Destinations that drain from now on.
    pub(crate) fn drained_destinations(&self) -> broadcast::Receiver<Destination> {
        self.drained.subscribe()
    }
}

impl Listener for Mail {
    fn deliver(&self, batch: Batch) {
        let mut waiting = self.lock();
        waiting.bytes += batch.data_len();
        waiting.batches.push(batch);
        if waiting.bytes > self.bytes_max
            && let Some(gate) = &waiting.gate
        {
            // Within the lock, so that what empties the mail opens it after this.
            gate.close();
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn drained(&self, destination: Destination) {
        // Nobody may be waiting.
        let _ = self.drained.send(destination);
    }
}
