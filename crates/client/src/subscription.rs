//! A subscription and its messages, as users hold them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use seaway_stan_protocol::{Message as _, messages};
use tokio::task::JoinHandle;

use crate::connection::Inner;
use crate::delivery::{Arrival, Deliveries, Place, Receipt, Shared};
use crate::error::{AckError, SubscribeError};

/// A message of a channel, delivered to a subscription.
#[derive(Clone, Debug)]
pub struct Message {
    place: Place,
    payload: Bytes,
    redelivery_count: u32,
    subscription: Arc<Shared>,
}

impl Message {
    /// Its place in the channel, from 1.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.place.sequence
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.subscription.channel
    }

    /// What was published.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// When the server stored it, by the server's clock.
    #[must_use]
    pub fn timestamp(&self) -> SystemTime {
        let distance = Duration::from_nanos(self.place.timestamp_ns.unsigned_abs());
        let time = match self.place.timestamp_ns >= 0 {
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

    /// How often it was delivered before, 0 for a first delivery; at least that often if the server did not count or the
    /// connection was made anew meanwhile.
    #[must_use]
    pub fn redelivery_count(&self) -> u32 {
        self.redelivery_count
    }

    /// Acknowledges it; only subscriptions with manual acks need this. It never waits, and may be called repeatedly. While the
    /// connection is being made anew it is kept, and told to the server when it delivers the message again.
    ///
    /// # Errors
    /// When the subscription has ended: the message will be delivered again.
    pub fn ack(&self) -> Result<(), AckError> {
        self.subscription.ack(self.place)
    }
}

/// A subscription: a stream of messages that ends when the connection does.
///
/// Unless acks are manual, a message is acknowledged when the next one is asked for, or when the handler of
/// [`Subscription::for_each`] has returned. Dropping a subscription closes it in the background; a durable keeps its place.
pub struct Subscription {
    shared: Arc<Shared>,
    /// `None` before the first.
    deliveries: Option<Deliveries>,
    inner: Arc<Inner>,
    has_received: bool,
    /// The message that is acknowledged when the next is asked for.
    in_work: Option<Place>,
    is_left: bool,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shared.fmt(formatter)
    }
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Shared>, inner: Arc<Inner>) -> Self {
        Self {
            shared,
            deliveries: None,
            inner,
            has_received: false,
            in_work: None,
            is_left: false,
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

    /// Why the stream has ended: the connection was lost for good, or the server refused to make the subscription anew.
    /// `None` while it goes on, and when [`Client::close`](crate::Client::close) has ended it.
    #[must_use]
    pub fn failure(&self) -> Option<SubscribeError> {
        self.shared.failure()
    }

    /// Ends the subscription, after the acknowledgements so far, and keeps the place of a durable.
    ///
    /// # Errors
    /// When the server refuses or does not answer; the subscription has ended in this process all the same.
    pub async fn close(self) -> Result<(), SubscribeError> {
        self.leave(false).await
    }

    /// Ends the subscription and forgets the place of a durable. While the connection is being made anew, it waits for that
    /// as long as the server may take to [answer](crate::ConnectOptions::connect_timeout).
    ///
    /// # Errors
    /// When the server refuses or does not answer, so that a durable may be left; the subscription has ended in this process
    /// all the same.
    pub async fn unsubscribe(self) -> Result<(), SubscribeError> {
        self.leave(true).await
    }

    async fn leave(mut self, forget: bool) -> Result<(), SubscribeError> {
        self.acknowledge_work();
        match self.leave_in_background(forget) {
            // It goes on when this future is dropped.
            Some(leaving) => leaving.await.unwrap_or(Err(SubscribeError::Closed)),
            None => Err(SubscribeError::Closed),
        }
    }

    /// Ends the subscription in a task, once; `None` without a runtime to spawn it.
    fn leave_in_background(&mut self, forget: bool) -> Option<JoinHandle<Result<(), SubscribeError>>> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        self.is_left = true;
        let (inner, shared) = (Arc::clone(&self.inner), Arc::clone(&self.shared));
        let leaving = inner.leaving();
        Some(runtime.spawn(async move {
            let left = inner.leave(&shared, forget).await;
            drop(leaving);
            left
        }))
    }

    /// The message that was handed out last, for somebody else to acknowledge; `None` with manual acks.
    pub(crate) fn take_work(&mut self) -> Option<Place> {
        self.in_work.take()
    }

    fn acknowledge_work(&mut self) {
        let work = self.in_work.take();
        self.acknowledge(work);
    }

    pub(crate) fn acknowledge(&self, work: Option<Place>) {
        if let Some(place) = work {
            // After the end it will be delivered again, to whoever subscribes next.
            let _ = self.shared.ack(place);
        }
    }

    fn read(&mut self, epoch: u64, payload: Bytes) -> Option<Message> {
        // What cannot be read is no message of a streaming server.
        let message = messages::MsgProto::decode(payload).ok()?;
        let place = Place {
            epoch,
            sequence: message.sequence,
            timestamp_ns: message.timestamp,
        };
        let again = match self.shared.receive(place) {
            Receipt::Deliver { again } => again,
            Receipt::Skip => return None,
            Receipt::Rewind => {
                self.inner.attention.call();
                return None;
            }
        };
        self.has_received = true;
        if !self.shared.wanted.manual_acks {
            self.in_work = Some(place);
        }
        Some(Message {
            place,
            payload: message.data,
            redelivery_count: message.redelivery_count.max(u32::from(message.redelivered || again)),
            subscription: Arc::clone(&self.shared),
        })
    }

    /// The next delivery that has arrived.
    fn poll_delivery(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        let Some(deliveries) = &mut self.deliveries else {
            return Poll::Pending;
        };
        let delivery = deliveries.messages.poll_next_unpin(context);
        delivery.map(|delivery| Some((deliveries.epoch, delivery?.payload)))
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.acknowledge_work();
        self.shared.waker.register(context.waker());
        loop {
            let is_renewed = match self.shared.arrival() {
                Arrival::Ended => return Poll::Ready(None),
                Arrival::Renewed => true,
                Arrival::Nothing => false,
            };
            // The unread rest of the connection before comes again, unless the first message is still among it.
            let delivery = match is_renewed && self.has_received {
                true => Poll::Pending,
                false => self.poll_delivery(context),
            };
            match delivery {
                Poll::Ready(Some((epoch, payload))) => {
                    if let Some(message) = self.read(epoch, payload) {
                        return Poll::Ready(Some(message));
                    }
                }
                _ if is_renewed => self.deliveries = self.shared.take_renewed(),
                // The end of a NATS connection ends the subscription when the client hears of it.
                _ => return Poll::Pending,
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.is_left {
            drop(self.leave_in_background(false));
        }
    }
}
