//! How many sessions there are, of clients and of other servers: each has bounds of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::kind::Kind;

/// Sessions whose task has not ended, refused and lingering ones included.
#[derive(Default)]
pub(crate) struct Sessions {
    clients: AtomicUsize,
    peers: AtomicUsize,
    ended: Notify,
}

impl Sessions {
    fn counter(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Client => &self.clients,
            Kind::Peer => &self.peers,
        }
    }

    pub(crate) fn of(&self, kind: Kind) -> usize {
        self.counter(kind).load(Ordering::Acquire)
    }

    /// Counts one more until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>, kind: Kind) -> SessionCount {
        self.counter(kind).fetch_add(1, Ordering::AcqRel);
        SessionCount(Arc::clone(self), kind)
    }

    /// Waits until `condition` holds, which is looked at again whenever a session ends.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let ended = self.ended.notified();
            if condition(self) {
                return;
            }
            ended.await;
        }
    }
}

/// Counts the session down even if its task is dropped with the runtime.
pub(crate) struct SessionCount(Arc<Sessions>, Kind);

impl Drop for SessionCount {
    fn drop(&mut self) {
        self.0.counter(self.1).fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}
