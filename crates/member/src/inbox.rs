//! What waits for a member's thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use seaway_replica::NodeId;

use crate::limits::{INBOX_BYTES_MAX, INBOX_INPUTS_MAX};
use crate::member::Member;

/// The inbox takes no more now: whoever brings frames waits, or closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the member has too much to do")]
pub struct Full;

/// What is to be done with a member, by its thread.
pub(crate) type Errand = Box<dyn FnOnce(&mut Member) + Send>;

pub(crate) enum Item {
    Frame(NodeId, u64, Bytes),
    Connected(NodeId, u64),
    Lost(NodeId, u64),
    Errand(Errand),
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// Jobs were finished.
    is_woken: bool,
    is_over: bool,
}

/// What came for a member, in order; many may bring, its thread takes.
#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is done under the lock that can be left half done.
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn push(&self, item: Item) {
        self.lock().items.push_back(item);
        self.arrived.notify_one();
    }

    /// A frame has come from a member, in a session of the connections to it.
    ///
    /// # Errors
    /// There is no room for it now; nothing was taken.
    pub fn frame(&self, from: NodeId, session: u64, frame: Bytes) -> Result<(), Full> {
        let mut waiting = self.lock();
        let is_full = waiting.bytes + frame.len() > INBOX_BYTES_MAX && waiting.bytes > 0;
        if is_full || waiting.items.len() >= INBOX_INPUTS_MAX {
            return Err(Full);
        }
        waiting.bytes += frame.len();
        waiting.items.push_back(Item::Frame(from, session, frame));
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// The connections to a member are there, in a session with a larger number than any before. There are few of these: they always have
    /// room.
    pub fn connected(&self, peer: NodeId, session: u64) {
        self.push(Item::Connected(peer, session));
    }

    /// One of the connections of a session was lost; the others are closed.
    pub fn lost(&self, peer: NodeId, session: u64) {
        self.push(Item::Lost(peer, session));
    }

    /// Has the member's thread do something with it, behind what came before.
    pub fn errand(&self, errand: impl FnOnce(&mut Member) + Send + 'static) {
        self.push(Item::Errand(Box::new(errand)));
    }

    /// Jobs were finished.
    pub(crate) fn wake(&self) {
        self.lock().is_woken = true;
        self.arrived.notify_one();
    }

    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.arrived.notify_one();
    }

    /// Waits for something, as long as that; nothing when it is over.
    pub(crate) fn take(&self, patience: Duration) -> Option<VecDeque<Item>> {
        let is_idle = |waiting: &mut Waiting| waiting.items.is_empty() && !waiting.is_woken && !waiting.is_over;
        let waited = self.arrived.wait_timeout_while(self.lock(), patience, is_idle);
        let (mut waiting, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        if waiting.is_over {
            return None;
        }
        waiting.is_woken = false;
        waiting.bytes = 0;
        Some(std::mem::take(&mut waiting.items))
    }
}
