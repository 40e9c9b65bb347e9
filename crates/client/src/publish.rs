//! Publishes that await their acknowledgement: who waits, how many may, and for how long.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use seaway_stan_protocol::{Message as _, errors, messages};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::attention::Attention;
use crate::error::PublishError;
use crate::wire::{text, unique};

/// A publish on its way. Awaiting it yields the server's acknowledgement; dropping it changes nothing but who is told:
/// [`Client::flush`](crate::Client::flush) and [`Client::close`](crate::Client::close) report a failure that nobody awaited.
///
/// It does not keep the connection open: when every [`Client`](crate::Client) and subscription is dropped meanwhile, its outcome
/// is [`PublishError::ConnectionLost`].
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
    waiting: Mutex<Waiting>,
    /// Somebody waits who may be the first.
    grown: Notify,
    /// The oldest that waited waits no more.
    settled: Notify,
    is_disowned: AtomicBool,
    /// Is told when the server seems to have forgotten the client.
    attention: Arc<Attention>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// In the order of sending, so that the first times out first.
    entries: BTreeMap<u64, Entry>,
    /// The first failure that nobody was left to hear.
    unheard: Option<PublishError>,
}

struct Entry {
    deadline: Instant,
    tell: oneshot::Sender<Result<(), PublishError>>,
    _room: OwnedSemaphorePermit,
}

/// A publish that was not handed to the connection yet: when this is dropped, nothing is awaited.
pub(crate) struct Unsent<'outbox>(Option<(&'outbox Outbox, u64)>);

impl Unsent<'_> {
    pub(crate) fn sent(mut self) {
        self.0 = None;
    }
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some((outbox, number)) = self.0 {
            outbox.settle(number, None);
        }
    }
}

impl Outbox {
    pub(crate) fn new(in_flight_max: usize, timeout: Duration, attention: Arc<Attention>) -> Self {
        Self {
            subject: format!("_STAN.acks.{}", unique()),
            prefix: unique(),
            timeout,
            room: Arc::new(Semaphore::new(in_flight_max)),
            waiting: Mutex::default(),
            grown: Notify::new(),
            settled: Notify::new(),
            is_disowned: AtomicBool::new(false),
            attention,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that holds it can panic half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, and reserves it; an error once nothing is admitted any more.
    pub(crate) async fn admit(&self) -> Result<OwnedSemaphorePermit, PublishError> {
        let closed = |_| PublishError::NotSent("the connection is closed".to_owned());
        Arc::clone(&self.room).acquire_owned().await.map_err(closed)
    }

    /// Expects an acknowledgement; it carries the returned publish's GUID.
    pub(crate) fn expect(&self, room: OwnedSemaphorePermit) -> (PendingPublish, Unsent<'_>) {
        let (tell, outcome) = oneshot::channel();
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        let entry = Entry {
            deadline: Instant::now() + self.timeout,
            tell,
            _room: room,
        };
        waiting.entries.insert(number, entry);
        drop(waiting);
        self.grown.notify_one();
        let publish = PendingPublish {
            guid: format!("{}{number}", self.prefix),
            outcome,
        };
        (publish, Unsent(Some((self, number))))
    }

    fn number(&self, guid: &[u8]) -> Option<u64> {
        std::str::from_utf8(guid.strip_prefix(self.prefix.as_bytes())?)
            .ok()?
            .parse()
            .ok()
    }

    /// Takes an entry off the list; its outcome is told when there is one.
    fn settle(&self, number: u64, outcome: Option<Result<(), PublishError>>) {
        let mut waiting = self.waiting();
        let oldest = waiting.entries.first_key_value().map(|(oldest, _)| *oldest);
        let Some(entry) = waiting.entries.remove(&number) else {
            return;
        };
        if let Some(outcome) = outcome
            && let Err(Err(failure)) = entry.tell.send(outcome)
        {
            waiting.unheard.get_or_insert(failure);
        }
        drop(waiting);
        if oldest == Some(number) {
            self.settled.notify_waiters();
        }
    }

    /// Fails everything that waits.
    pub(crate) fn fail_all(&self) {
        let mut waiting = self.waiting();
        for (_, entry) in std::mem::take(&mut waiting.entries) {
            if entry.tell.send(Err(PublishError::ConnectionLost)).is_err() {
                waiting.unheard.get_or_insert(PublishError::ConnectionLost);
            }
        }
        drop(waiting);
        self.settled.notify_waiters();
    }

    /// Admits nothing any more.
    pub(crate) fn stop(&self) {
        self.room.close();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.room.is_closed()
    }

    /// Admits nothing any more, and fails everything that waits.
    pub(crate) fn close(&self) {
        self.stop();
        self.fail_all();
    }

    /// Waits until nothing waits of what was sent so far; the first failure nobody heard of since the last call.
    pub(crate) async fn flush(&self) -> Result<(), PublishError> {
        let sent = self.waiting().next;
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            if self.is_settled_before(sent) {
                return self.waiting().unheard.take().map_or(Ok(()), Err);
            }
            settled.await;
        }
    }

    fn is_settled_before(&self, number: u64) -> bool {
        let waiting = self.waiting();
        waiting
            .entries
            .first_key_value()
            .is_none_or(|(oldest, _)| *oldest >= number)
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
        let waiting = self.waiting();
        waiting.entries.first_key_value().map(|(_, entry)| entry.deadline)
    }

    fn expire(&self, now: Instant) {
        loop {
            let number = match self.waiting().entries.first_key_value() {
                Some((number, entry)) if entry.deadline <= now => *number,
                _ => return,
            };
            self.settle(number, Some(Err(PublishError::AckTimeout(self.timeout))));
        }
    }

    fn acknowledged(&self, payload: Bytes) {
        let Ok(ack) = messages::PubAck::decode(payload) else {
            return;
        };
        if let Some(number) = self.number(&ack.guid) {
            let outcome = match text(&ack.error).as_str() {
                "" => Ok(()),
                // Nothing else was wrong with it, so the server does not know the client.
                errors::INVALID_PUBLISH_REQUEST => {
                    self.disown();
                    Err(PublishError::Unregistered)
                }
                words => Err(PublishError::Refused(words.to_owned())),
            };
            self.settle(number, Some(outcome));
        }
    }

    /// The server does not know the client, by what it said.
    pub(crate) fn disown(&self) {
        self.is_disowned.store(true, Ordering::Release);
        self.attention.call();
    }

    /// Whether the server has refused something because it does not know the client, since this was asked last.
    pub(crate) fn take_disowned(&self) -> bool {
        self.is_disowned.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(in_flight_max: usize, seconds: u64) -> Outbox {
        Outbox::new(
            in_flight_max,
            Duration::from_secs(seconds),
            Arc::new(Attention::default()),
        )
    }

    async fn expect(outbox: &Outbox) -> PendingPublish {
        let (publish, unsent) = outbox.expect(outbox.admit().await.unwrap());
        unsent.sent();
        publish
    }

    fn ack(outbox: &Outbox, guid: &str, error: &'static str) {
        let ack = messages::PubAck {
            guid: guid.to_owned().into(),
            error: error.into(),
        };
        outbox.acknowledged(ack.encode_to_vec().into());
    }

    #[tokio::test]
    async fn acknowledgements_find_their_publish() {
        let outbox = outbox(2, 9);
        let first = expect(&outbox).await;
        let second = expect(&outbox).await;
        ack(&outbox, "somebody else's", "");
        ack(&outbox, second.guid(), "too many channels");
        ack(&outbox, first.guid(), "");
        ack(&outbox, first.guid(), "twice");
        assert_eq!(first.await, Ok(()));
        assert_eq!(second.await, Err(PublishError::Refused("too many channels".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_and_no_more() {
        let outbox = outbox(1, 9);
        let first = expect(&outbox).await;
        let full = tokio::time::timeout(Duration::from_secs(1), outbox.admit());
        assert!(full.await.is_err());
        ack(&outbox, first.guid(), "");
        assert!(outbox.admit().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_acknowledged_in_time_fails() {
        let outbox = outbox(3, 2);
        let early = expect(&outbox).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let late = expect(&outbox).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        outbox.expire(Instant::now());
        assert_eq!(early.await, Err(PublishError::AckTimeout(Duration::from_secs(2))));
        ack(&outbox, late.guid(), "");
        assert_eq!(late.await, Ok(()));
        assert_eq!(outbox.flush().await, Ok(()));
    }

    #[tokio::test]
    async fn a_failure_that_nobody_heard_of_is_told_at_the_flush() {
        let outbox = outbox(3, 2);
        let publish = expect(&outbox).await;
        let guid = publish.guid().to_owned();
        drop(publish);
        ack(&outbox, &guid, "no");
        assert_eq!(outbox.flush().await, Err(PublishError::Refused("no".to_owned())));
        assert_eq!(outbox.flush().await, Ok(()));
    }

    #[tokio::test]
    async fn a_flush_waits_for_what_was_sent_before_it_only() {
        let outbox = outbox(3, 9);
        let (first, second) = (expect(&outbox).await, expect(&outbox).await);
        let mut flush = Box::pin(outbox.flush());
        assert!(futures_util::poll!(&mut flush).is_pending());
        let later = expect(&outbox).await;
        ack(&outbox, second.guid(), "");
        assert!(futures_util::poll!(&mut flush).is_pending());
        ack(&outbox, first.guid(), "");
        assert_eq!(flush.await, Ok(()));
        ack(&outbox, later.guid(), "");
    }

    #[tokio::test]
    async fn what_was_not_sent_is_not_awaited() {
        let outbox = outbox(1, 9);
        drop(outbox.expect(outbox.admit().await.unwrap()));
        assert_eq!(outbox.flush().await, Ok(()));
        assert!(
            futures_util::poll!(Box::pin(outbox.admit())).is_ready(),
            "its room is free"
        );
    }

    #[tokio::test]
    async fn a_server_that_does_not_know_the_client_gets_attention() {
        let outbox = outbox(1, 9);
        let publish = expect(&outbox).await;
        ack(&outbox, publish.guid(), errors::INVALID_PUBLISH_REQUEST);
        assert_eq!(publish.await, Err(PublishError::Unregistered));
        outbox.attention.called().await;
        assert!(outbox.take_disowned() && !outbox.take_disowned());
    }

    #[tokio::test]
    async fn a_closed_outbox_takes_nothing() {
        let outbox = outbox(3, 2);
        let publish = expect(&outbox).await;
        outbox.close();
        assert_eq!(publish.await, Err(PublishError::ConnectionLost));
        assert!(matches!(outbox.admit().await, Err(PublishError::NotSent(_))));
        assert_eq!(outbox.flush().await, Ok(()));
    }
}
