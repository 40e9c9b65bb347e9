//! Requests to the system services that wait for their turn.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use seaway_broker::{Batch, Destination, Sink};
use tokio::sync::Notify;

use crate::limits::{SYSTEM_REQUEST_BYTES_MAX, SYSTEM_REQUESTS_MAX, SYSTEM_REQUESTS_PER_ORIGIN_MAX};

/// A request with somebody who waits for its answer.
pub(super) struct Request {
    /// The connection that it came over.
    pub(super) origin: u64,
    /// Which account it was asked in.
    pub(super) tag: u64,
    pub(super) subject: String,
    pub(super) reply: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// See the module. What finds it full is dropped.
#[derive(Default)]
pub(super) struct Mail {
    waiting: Mutex<VecDeque<Request>>,
    arrived: Notify,
}

impl Mail {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a request; only one may wait.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// The one that has waited longest.
    pub(super) fn take(&self) -> Option<Request> {
        self.lock().pop_front()
    }
}

impl Sink for Mail {
    fn deliver(&self, batch: Batch) {
        let mut waiting = self.lock();
        let same = |request: &&Request| request.origin == batch.origin.0;
        let mut of_origin = waiting.iter().filter(same).count();
        for message in batch.iter() {
            let Some(reply) = message.reply else { continue };
            let Ok(subject) = std::str::from_utf8(message.subject) else {
                continue;
            };
            let is_full = waiting.len() >= SYSTEM_REQUESTS_MAX || of_origin >= SYSTEM_REQUESTS_PER_ORIGIN_MAX;
            if is_full || message.payload.len() > SYSTEM_REQUEST_BYTES_MAX {
                continue;
            }
            of_origin += 1;
            waiting.push_back(Request {
                origin: batch.origin.0,
                tag: message.tag,
                subject: subject.to_owned(),
                reply: reply.to_vec(),
                payload: message.payload.to_vec(),
            });
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn drained(&self, _destination: Destination) {}
}

#[cfg(test)]
mod tests {
    use seaway_broker::ConnectionId;

    use super::*;

    #[test]
    fn what_finds_it_full_is_dropped_and_so_is_what_nobody_waits_for() {
        let mail = Mail::default();
        let from = |origin: u64, reply: Option<&[u8]>, payload: &[u8]| {
            Batch::from_origin(ConnectionId(origin)).with_message(0, b"s", reply, payload)
        };
        let batch = |reply: Option<&[u8]>, payload: &[u8]| from(1, reply, payload);
        mail.deliver(batch(None, b""));
        mail.deliver(batch(Some(b"r"), &[0; SYSTEM_REQUEST_BYTES_MAX + 1]));
        assert!(mail.take().is_none());
        for _ in 0..=SYSTEM_REQUESTS_MAX {
            mail.deliver(batch(Some(b"r"), b""));
        }
        // One connection does not take the room of another one.
        mail.deliver(from(2, Some(b"r"), b""));
        assert_eq!(
            std::iter::from_fn(|| mail.take()).count(),
            SYSTEM_REQUESTS_PER_ORIGIN_MAX + 1
        );
        for origin in 0..=SYSTEM_REQUESTS_MAX as u64 {
            mail.deliver(from(origin, Some(b"r"), b""));
        }
        assert_eq!(std::iter::from_fn(|| mail.take()).count(), SYSTEM_REQUESTS_MAX);
    }
}
