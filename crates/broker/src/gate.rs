//! How the tasks of connections are woken, and the gate that holds publishers back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::lock::lock;

/// The task of one connection, as far as others may wake it.
#[derive(Default)]
pub(crate) struct Waiter {
    notify: Notify,
    /// Whether it is on the list of a closed gate.
    at_gate: AtomicBool,
}

impl Waiter {
    /// Makes the task look again at what it waits for.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Waits for [`Waiter::wake`]; only for the connection's task.
    pub(crate) fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

/// Holds back connections that publish to holdable subscriptions. While it is closed, a connection that has just
/// delivered to one is not read until it opens; everybody else, and everything sent to the connection, goes on.
#[derive(Default)]
pub struct Gate {
    closed: AtomicBool,
    waiting: Mutex<Vec<Arc<Waiter>>>,
}

impl Gate {
    /// From now on publishers are held.
    pub fn close(&self) {
        let _waiting = lock(&self.waiting);
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Lets all held publishers go on.
    pub fn open(&self) {
        self.open_for(usize::MAX);
    }

    /// Opens, and lets so many held publishers go on, those first that have waited longest. Returns whether others still wait, for
    /// [`Gate::go_on`].
    pub fn open_for(&self, publishers: usize) -> bool {
        let mut waiting = lock(&self.waiting);
        self.closed.store(false, Ordering::SeqCst);
        let released = Self::take_first(&mut waiting, publishers);
        let is_more = !waiting.is_empty();
        drop(waiting);
        Self::release(released);
        is_more
    }

    /// Lets so many more go on after [`Gate::open_for`]; whether others still wait. Does nothing when it was closed again: then they wait
    /// for its next opening.
    pub fn go_on(&self, publishers: usize) -> bool {
        let mut waiting = lock(&self.waiting);
        if self.is_closed() {
            return false;
        }
        let released = Self::take_first(&mut waiting, publishers);
        let is_more = !waiting.is_empty();
        drop(waiting);
        Self::release(released);
        is_more
    }

    fn take_first(waiting: &mut Vec<Arc<Waiter>>, publishers: usize) -> Vec<Arc<Waiter>> {
        let rest = waiting.split_off(publishers.min(waiting.len()));
        std::mem::replace(waiting, rest)
    }

    fn release(released: Vec<Arc<Waiter>>) {
        for waiter in released {
            waiter.at_gate.store(false, Ordering::SeqCst);
            waiter.wake();
        }
    }

    /// Whether publishers are held.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// How many publishers it holds, or has not let go on yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Puts a connection on the list of those to wake, unless the gate is open. Returns whether it has to wait.
    pub(crate) fn hold(&self, waiter: &Arc<Waiter>) -> bool {
        if !self.is_closed() {
            return false;
        }
        let mut waiting = lock(&self.waiting);
        if !self.is_closed() {
            return false;
        }
        if !waiter.at_gate.swap(true, Ordering::SeqCst) {
            waiting.push(Arc::clone(waiter));
        }
        true
    }

    /// Forgets a connection that ends while it waits.
    pub(crate) fn forget(&self, waiter: &Arc<Waiter>) {
        lock(&self.waiting).retain(|waiting| !Arc::ptr_eq(waiting, waiter));
    }
}
