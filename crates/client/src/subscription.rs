//! A subscription and its messages.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::{AbortHandle, Abortable};
use seaway_stan_protocol::{Message as _, messages};

use crate::acks::AckQueue;
use crate::client::Client;
use crate::error::{AckError, SubscribeError};
use crate::subscribe::Wanted;

/// A message of a channel, delivered to a subscription.
#[derive(Clone, Debug)]
pub struct Message {
    sequence: u64,
    channel: Arc<str>,
    payload: Bytes,
    timestamp_ns: i64,
    redelivery_count: u32,
    subscription: Arc<Shared>,
}

impl Message {
    /// Its place in the channel, from 1.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// What was published.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// When the server stored it.
    #[must_use]
    pub fn timestamp(&self) -> SystemTime {
        let distance = Duration::from_nanos(self.timestamp_ns.unsigned_abs());
        let time = match self.timestamp_ns >= 0 {
            true => SystemTime::UNIX_EPOCH.checked_add(distance),
            false => SystemTime::UNIX_EPOCH.checked_sub(distance),
        };
        time.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Whether it was delivered to the subscription before, and not acknowledged in time.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.redelivery_count > 0
    }

    /// How often it was delivered before; 0 for a first delivery. A server that does not count says 1.
    #[must_use]
    pub fn redelivery_count(&self) -> u32 {
        self.redelivery_count
    }

    /// Acknowledges it; only subscriptions with manual acks need this. It never waits, and may be called repeatedly.
    ///
    /// # Errors
    /// When the subscription has ended: the message will be delivered again.
    pub fn ack(&self) -> Result<(), AckError> {
        self.subscription.ack(self.sequence)
    }
}

/// What messages, the subscription and the client share.
pub(crate) struct Shared {
    pub(crate) number: u64,
    pub(crate) wanted: Wanted,
    /// The delivery inbox, the same over reconnects.
    pub(crate) inbox: String,
    channel: Arc<str>,
    acks: AckQueue,
    acknowledging: Mutex<Acknowledging>,
    last_seen: AtomicU64,
    pub(crate) ending: AbortHandle,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// Where acknowledgements go.
enum Acknowledging {
    To(String),
    /// The subscription is being made anew: these sequences wait for its inbox.
    Held(Vec<u64>),
    Ended,
}

impl Shared {
    pub(crate) fn new(number: u64, wanted: Wanted, inbox: String, acks: AckQueue, ending: AbortHandle) -> Self {
        Self {
            number,
            channel: wanted.channel.as_str().into(),
            wanted,
            inbox,
            acks,
            acknowledging: Mutex::new(Acknowledging::Held(Vec::new())),
            last_seen: AtomicU64::new(0),
            ending,
        }
    }

    fn acknowledging(&self) -> MutexGuard<'_, Acknowledging> {
        self.acknowledging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest sequence that was delivered; 0 before the first.
    pub(crate) fn last_seen(&self) -> u64 {
        self.last_seen.load(Ordering::Acquire)
    }

    fn ack(&self, sequence: u64) -> Result<(), AckError> {
        match &mut *self.acknowledging() {
            Acknowledging::To(inbox) => self.acks.publish(inbox.clone(), self.encode(sequence)),
            Acknowledging::Held(held) => held.push(sequence),
            Acknowledging::Ended => return Err(AckError),
        }
        Ok(())
    }

    fn encode(&self, sequence: u64) -> Bytes {
        let ack = messages::Ack {
            subject: Bytes::copy_from_slice(self.channel.as_bytes()),
            sequence,
        };
        ack.encode_to_vec().into()
    }

    /// Acknowledgements wait from now on.
    pub(crate) fn hold(&self) {
        let mut acknowledging = self.acknowledging();
        if matches!(*acknowledging, Acknowledging::To(_)) {
            *acknowledging = Acknowledging::Held(Vec::new());
        }
    }

    /// Acknowledgements go to this inbox from now on, those that waited first.
    pub(crate) fn acknowledge_to(&self, inbox: String) {
        let mut acknowledging = self.acknowledging();
        if let Acknowledging::Held(held) = &*acknowledging {
            for sequence in held {
                self.acks.publish(inbox.clone(), self.encode(*sequence));
            }
        }
        if !matches!(*acknowledging, Acknowledging::Ended) {
            *acknowledging = Acknowledging::To(inbox);
        }
    }

    /// Ends the stream and refuses acknowledgements; where they went, if anywhere.
    pub(crate) fn end(&self) -> Option<String> {
        self.ending.abort();
        match std::mem::replace(&mut *self.acknowledging(), Acknowledging::Ended) {
            Acknowledging::To(inbox) => Some(inbox),
            Acknowledging::Held(_) | Acknowledging::Ended => None,
        }
    }
}

/// A subscription: a stream of messages that ends when the connection does.
///
/// Unless acks are manual, a message is acknowledged when the next one is asked for, or when the handler of
/// [`Subscription::for_each`] has returned. Dropping a subscription closes it in the background; a durable keeps its place.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    deliveries: Abortable<async_nats::Subscriber>,
    client: Client,
    /// The message that is acknowledged when the next is asked for.
    in_work: Option<u64>,
    is_ended: bool,
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Shared>, deliveries: Abortable<async_nats::Subscriber>, client: Client) -> Self {
        Self {
            shared,
            deliveries,
            client,
            in_work: None,
            is_ended: false,
        }
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.shared.channel
    }

    /// The next message; `None` when the subscription has ended. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Message> {
        StreamExt::next(self).await
    }

    /// Hands every message to `handler`, one after another, until the connection ends. Unless acks are manual, a message is
    /// acknowledged when its handler has returned.
    pub async fn for_each<Work: Future<Output = ()>>(mut self, mut handler: impl FnMut(Message) -> Work) {
        while let Some(message) = self.next().await {
            handler(message).await;
            self.acknowledge_work();
        }
    }

    /// Ends the subscription and keeps the place of a durable.
    ///
    /// # Errors
    /// When the server refuses or does not answer; the subscription has ended in this process all the same.
    pub async fn close(self) -> Result<(), SubscribeError> {
        self.leave(false).await
    }

    /// Ends the subscription and forgets the place of a durable.
    ///
    /// # Errors
    /// When the server refuses or does not answer; the subscription has ended in this process all the same.
    pub async fn unsubscribe(self) -> Result<(), SubscribeError> {
        self.leave(true).await
    }

    async fn leave(mut self, forget: bool) -> Result<(), SubscribeError> {
        self.acknowledge_work();
        self.is_ended = true;
        self.client.leave(&self.shared, forget).await
    }

    fn acknowledge_work(&mut self) {
        if let Some(sequence) = self.in_work.take() {
            // After the end it will be delivered again, to whoever subscribes next.
            let _ = self.shared.ack(sequence);
        }
    }

    fn read(&mut self, payload: Bytes) -> Option<Message> {
        // What cannot be read is no message of a streaming server.
        let message = messages::MsgProto::decode(payload).ok()?;
        self.shared.last_seen.fetch_max(message.sequence, Ordering::AcqRel);
        if !self.shared.wanted.manual_acks {
            self.in_work = Some(message.sequence);
        }
        Some(Message {
            sequence: message.sequence,
            channel: Arc::clone(&self.shared.channel),
            payload: message.data,
            timestamp_ns: message.timestamp,
            redelivery_count: message.redelivery_count.max(u32::from(message.redelivered)),
            subscription: Arc::clone(&self.shared),
        })
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.acknowledge_work();
        loop {
            match self.deliveries.poll_next_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(delivery)) => {
                    if let Some(message) = self.read(delivery.payload) {
                        return Poll::Ready(Some(message));
                    }
                }
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
            runtime.spawn(async move { client.leave(&shared, false).await });
        }
    }
}
