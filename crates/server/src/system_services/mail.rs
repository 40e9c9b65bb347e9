//! Requests to the system services that wait for their turn. Each account has room of its own, and each connection a part of that; the
//! accounts take turns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use seaway_broker::{Batch, Destination, Sink};
use tokio::sync::Notify;

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

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Requests.
    pub(super) all: usize,
    pub(super) of_account: usize,
    pub(super) of_connection: usize,
    /// Bytes of one, with its subjects.
    pub(super) bytes: usize,
}

/// See the module. What finds no room is dropped.
pub(super) struct Mail {
    bounds: Bounds,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    /// By the tag of their account; none is empty.
    of_accounts: BTreeMap<u64, VecDeque<Request>>,
    count: usize,
    /// Whose turn it was.
    last: u64,
}

impl Mail {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a request; only one may wait.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Some may be left: whoever waits looks again.
    pub(super) fn look_again(&self) {
        self.arrived.notify_one();
    }

    /// The one that has waited longest, of the account whose turn it is.
    pub(super) fn take(&self) -> Option<Request> {
        let mut waiting = self.lock();
        let next = waiting.of_accounts.range(waiting.last.saturating_add(1)..).next();
        let tag = *next.or_else(|| waiting.of_accounts.first_key_value())?.0;
        waiting.last = tag;
        let queue = waiting.of_accounts.get_mut(&tag)?;
        let request = queue.pop_front();
        if queue.is_empty() {
            waiting.of_accounts.remove(&tag);
        }
        waiting.count -= usize::from(request.is_some());
        request
    }
}

impl Sink for Mail {
    fn deliver(&self, batch: Batch) {
        let bounds = self.bounds;
        let mut waiting = self.lock();
        // Whoever listens here does so under one tag, so that a batch is for one account.
        let Some(tag) = batch.get(0).map(|first| first.tag) else {
            return;
        };
        let queue = waiting.of_accounts.get(&tag);
        let same = |request: &&Request| request.origin == batch.origin.0;
        let (mut of_account, mut of_connection) =
            queue.map_or((0, 0), |queue| (queue.len(), queue.iter().filter(same).count()));
        for message in batch.iter() {
            let is_full =
                waiting.count >= bounds.all || of_account >= bounds.of_account || of_connection >= bounds.of_connection;
            if is_full {
                break;
            }
            let Some(reply) = message.reply else { continue };
            let Ok(subject) = std::str::from_utf8(message.subject) else {
                continue;
            };
            if subject.len() + reply.len() + message.payload.len() > bounds.bytes {
                continue;
            }
            of_account += 1;
            of_connection += 1;
            waiting.count += 1;
            waiting.of_accounts.entry(tag).or_default().push_back(Request {
                origin: batch.origin.0,
                tag,
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

    const BOUNDS: Bounds = Bounds {
        all: 8,
        of_account: 4,
        of_connection: 2,
        bytes: 100,
    };

    fn ask(mail: &Mail, account: u64, origin: u64, payload: &[u8]) {
        mail.deliver(Batch::from_origin(ConnectionId(origin)).with_message(account, b"s", Some(b"r"), payload));
    }

    fn taken(mail: &Mail) -> Vec<(u64, u64)> {
        let all = std::iter::from_fn(|| mail.take());
        all.map(|request| (request.tag, request.origin)).collect()
    }

    #[test]
    fn what_nobody_waits_for_or_is_too_long_is_dropped() {
        let mail = Mail::new(BOUNDS);
        mail.deliver(Batch::from_origin(ConnectionId(1)).with_message(1, b"s", None, b""));
        mail.deliver(Batch::from_origin(ConnectionId(1)));
        ask(&mail, 1, 1, &[0; 99]);
        assert!(mail.take().is_none());
        ask(&mail, 1, 1, &[0; 98]);
        assert_eq!(taken(&mail), [(1, 1)]);
    }

    #[test]
    fn nobody_takes_the_room_or_the_turns_of_others() {
        let mail = Mail::new(BOUNDS);
        for _ in 0..100 {
            ask(&mail, 1, 1, b"");
        }
        ask(&mail, 1, 2, b"");
        ask(&mail, 1, 3, b"");
        // One account is full, and others are not.
        ask(&mail, 1, 4, b"");
        ask(&mail, 2, 5, b"");
        ask(&mail, 3, 6, b"");
        assert_eq!(taken(&mail), [(1, 1), (2, 5), (3, 6), (1, 1), (1, 2), (1, 3)]);
        assert_eq!(mail.lock().count, 0);
        for account in 0..100 {
            ask(&mail, account, 100 + account, b"");
        }
        assert_eq!(taken(&mail).len(), BOUNDS.all);
        // A batch is bounded like its messages one by one.
        let many = (0..100).fold(Batch::from_origin(ConnectionId(1)), |batch, _| {
            batch.with_message(1, b"s", Some(b"r"), b"")
        });
        mail.deliver(many);
        assert_eq!(taken(&mail).len(), BOUNDS.of_connection);
    }
}
