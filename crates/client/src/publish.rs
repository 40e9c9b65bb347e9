//! Publishes that await their acknowledgement: who waits, how many may, and for how long.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use seaway_stan_protocol::{Message as _, messages};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::error::PublishError;
use crate::wire::{text, unique};

/// A publish on its way. Awaiting it yields the server's acknowledgement; dropping it changes nothing but who is told.
#[derive(Debug)]
#[must_use = "the outcome of the publish is told to whoever awaits this"]
pub struct PendingPublish {
    guid: String,
    outcome: oneshot::Receiver<Result<(), PublishError>>,
}

impl PendingPublish {
    /// The message's globally unique ID, as the server acknowledges it.
    #[must_use]
    pub fn guid(&self) -> &str {
        &self.guid
    }
}

impl Future for PendingPublish {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome)
            .poll(context)
            .map(|outcome| outcome.unwrap_or(Err(PublishError::ConnectionLost)))
    }
}

/// What awaits its acknowledgement.
pub(crate) struct Outbox {
    /// Acknowledgements come on this subject.
    pub(crate) subject: String,
    prefix: String,
    timeout: Duration,
    room: Arc<Semaphore>,
    room_in_all: u32,
    waiting: Mutex<Waiting>,
    grown: Notify,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// By time of sending, so that the oldest times out first; may name entries that have gone.
    order: VecDeque<(Instant, u64)>,
    /// The first failure that nobody was left to hear.
    unclaimed: Option<PublishError>,
}

struct Entry {
    tell: oneshot::Sender<Result<(), PublishError>>,
    _room: OwnedSemaphorePermit,
}

impl Outbox {
    pub(crate) fn new(in_flight_max: usize, timeout: Duration) -> Self {
        let room_in_all = u32::try_from(in_flight_max).unwrap_or(u32::MAX);
        Self {
            subject: format!("_STAN.acks.{}", unique()),
            prefix: unique(),
            timeout,
            room: Arc::new(Semaphore::new(room_in_all as usize)),
            room_in_all,
            waiting: Mutex::default(),
            grown: Notify::new(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that holds it can panic half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, and reserves it; an error once the connection has ended.
    pub(crate) async fn admit(&self) -> Result<OwnedSemaphorePermit, PublishError> {
        let closed = |_| PublishError::NotSent("the connection is closed".to_owned());
        Arc::clone(&self.room).acquire_owned().await.map_err(closed)
    }

    /// Expects an acknowledgement; it carries the returned publish's GUID.
    pub(crate) fn expect(&self, room: OwnedSemaphorePermit) -> PendingPublish {
        let (tell, outcome) = oneshot::channel();
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.entries.insert(number, Entry { tell, _room: room });
        waiting.order.push_back((Instant::now() + self.timeout, number));
        drop(waiting);
        self.grown.notify_one();
        PendingPublish {
            guid: format!("{}{number}", self.prefix),
            outcome,
        }
    }

    /// Gives up on a publish that was not sent.
    pub(crate) fn forget(&self, publish: &PendingPublish) {
        if let Some(number) = self.number(publish.guid.as_bytes()) {
            self.waiting().entries.remove(&number);
        }
    }

    fn number(&self, guid: &[u8]) -> Option<u64> {
        std::str::from_utf8(guid.strip_prefix(self.prefix.as_bytes())?)
            .ok()?
            .parse()
            .ok()
    }

    fn settle(&self, number: u64, outcome: Result<(), PublishError>) {
        let mut waiting = self.waiting();
        if let Some(entry) = waiting.entries.remove(&number)
            && let Err(Err(failure)) = entry.tell.send(outcome)
        {
            waiting.unclaimed.get_or_insert(failure);
        }
    }

    /// Fails everything that waits.
    pub(crate) fn fail_all(&self) {
        let entries = std::mem::take(&mut self.waiting().entries);
        let mut unheard = false;
        for (_, entry) in entries {
            unheard |= entry.tell.send(Err(PublishError::ConnectionLost)).is_err();
        }
        if unheard {
            self.waiting().unclaimed.get_or_insert(PublishError::ConnectionLost);
        }
    }

    /// Admits nothing any more, and fails everything that waits.
    pub(crate) fn close(&self) {
        self.room.close();
        self.fail_all();
    }

    /// Waits until nothing waits; the first failure nobody heard of since the last call.
    pub(crate) async fn flush(&self) -> Result<(), PublishError> {
        // All room is free when nothing is in flight. A closed outbox has failed everything already.
        drop(self.room.acquire_many(self.room_in_all).await);
        self.waiting().unclaimed.take().map_or(Ok(()), Err)
    }

    /// Takes in acknowledgements, and gives up on those that do not come.
    pub(crate) async fn receive(self: Arc<Self>, mut acknowledgements: async_nats::Subscriber) {
        loop {
            let oldest = self.oldest();
            let timeout = async {
                match oldest {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => self.grown.notified().await,
                }
            };
            tokio::select! {
                message = acknowledgements.next() => match message {
                    Some(message) => self.acknowledged(message.payload),
                    None => return self.close(),
                },
                () = timeout => self.expire(Instant::now()),
            }
        }
    }

    /// When the oldest entry times out.
    fn oldest(&self) -> Option<Instant> {
        let mut waiting = self.waiting();
        let Waiting { entries, order, .. } = &mut *waiting;
        while order.front().is_some_and(|(_, number)| !entries.contains_key(number)) {
            order.pop_front();
        }
        order.front().map(|(at, _)| *at)
    }

    fn expire(&self, now: Instant) {
        while self.oldest().is_some_and(|at| at <= now) {
            let due = self.waiting().order.pop_front();
            if let Some((_, number)) = due {
                self.settle(number, Err(PublishError::AckTimeout(self.timeout)));
            }
        }
    }

    fn acknowledged(&self, payload: Bytes) {
        let Ok(ack) = messages::PubAck::decode(payload) else {
            return;
        };
        if let Some(number) = self.number(&ack.guid) {
            let outcome = match ack.error.is_empty() {
                true => Ok(()),
                false => Err(PublishError::Refused(text(&ack.error))),
            };
            self.settle(number, outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(outbox: &Outbox, guid: &str, error: &'static str) {
        let ack = messages::PubAck {
            guid: guid.to_owned().into(),
            error: error.into(),
        };
        outbox.acknowledged(ack.encode_to_vec().into());
    }

    #[tokio::test]
    async fn acknowledgements_find_their_publish() {
        let outbox = Outbox::new(2, Duration::from_secs(9));
        let first = outbox.expect(outbox.admit().await.unwrap());
        let second = outbox.expect(outbox.admit().await.unwrap());
        ack(&outbox, "somebody else's", "");
        ack(&outbox, second.guid(), "too many channels");
        ack(&outbox, first.guid(), "");
        ack(&outbox, first.guid(), "twice");
        assert_eq!(first.await, Ok(()));
        assert_eq!(second.await, Err(PublishError::Refused("too many channels".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_and_no_more() {
        let outbox = Outbox::new(1, Duration::from_secs(9));
        let first = outbox.expect(outbox.admit().await.unwrap());
        let full = tokio::time::timeout(Duration::from_secs(1), outbox.admit());
        assert!(full.await.is_err());
        ack(&outbox, first.guid(), "");
        assert!(outbox.admit().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_acknowledged_in_time_fails() {
        let outbox = Outbox::new(3, Duration::from_secs(2));
        let early = outbox.expect(outbox.admit().await.unwrap());
        tokio::time::advance(Duration::from_secs(1)).await;
        let late = outbox.expect(outbox.admit().await.unwrap());
        tokio::time::advance(Duration::from_secs(1)).await;
        outbox.expire(Instant::now());
        assert_eq!(early.await, Err(PublishError::AckTimeout(Duration::from_secs(2))));
        ack(&outbox, late.guid(), "");
        assert_eq!(late.await, Ok(()));
        assert_eq!(outbox.flush().await, Ok(()));
    }

    #[tokio::test]
    async fn a_failure_that_nobody_heard_of_is_told_at_the_flush() {
        let outbox = Outbox::new(3, Duration::from_secs(2));
        let publish = outbox.expect(outbox.admit().await.unwrap());
        let guid = publish.guid().to_owned();
        drop(publish);
        ack(&outbox, &guid, "no");
        assert_eq!(outbox.flush().await, Err(PublishError::Refused("no".to_owned())));
        assert_eq!(outbox.flush().await, Ok(()));
    }

    #[tokio::test]
    async fn a_closed_outbox_takes_nothing() {
        let outbox = Outbox::new(3, Duration::from_secs(2));
        let publish = outbox.expect(outbox.admit().await.unwrap());
        outbox.close();
        assert_eq!(publish.await, Err(PublishError::ConnectionLost));
        assert!(matches!(outbox.admit().await, Err(PublishError::NotSent(_))));
        assert_eq!(outbox.flush().await, Ok(()));
    }
}
