//! Handing messages to a handler: one after another or several at once, and what is acknowledged of it.

use std::convert::Infallible;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::error::SubscribeError;
use crate::subscription::{Message, Subscription};

impl Subscription {
    /// Handles up to `handlers` messages at once, at least one: `subscription.concurrently(8).for_each(handler)`. See
    /// [`Concurrently`].
    pub fn concurrently(self, handlers: usize) -> Concurrently {
        Concurrently {
            subscription: self,
            handlers: handlers.max(1),
        }
    }

    /// Hands every message to `handler`, one after another, until the connection ends. Unless acks are manual, a message is
    /// acknowledged when its handler has returned; one whose handler panics, or is dropped, is delivered again.
    ///
    /// # Errors
    /// The [failure](Subscription::failure) that has ended it.
    pub async fn for_each<Work: Future<Output = ()>>(
        self,
        handler: impl FnMut(Message) -> Work,
    ) -> Result<(), SubscribeError> {
        self.concurrently(1).for_each(handler).await
    }

    /// Like [`Subscription::for_each`], until `stop` completes: the message in work is finished and acknowledged, then the
    /// subscription is [closed](Subscription::close).
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/server.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let Some(server) = server::start() else { return Ok(()) };
    /// use seaway_client::{ConnectOptions, Start};
    ///
    /// # let client = ConnectOptions::new("test-cluster", "billing").url(server.url()).connect().await?;
    /// client.publish("orders", "tea").await?;
    ///
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let mut stop = Some(stop);
    /// let orders = client.subscribe("orders").start(Start::AllAvailable).await?;
    /// let stopped = async { drop(stopped.await) };
    /// orders
    ///     .for_each_until(stopped, |order| {
    ///         println!("{}: {} bytes", order.sequence(), order.payload().len());
    ///         drop(stop.take());
    ///         async {}
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The [failure](Subscription::failure) that has ended it, or that of closing it.
    pub async fn for_each_until<Work: Future<Output = ()>>(
        self,
        stop: impl Future<Output = ()>,
        handler: impl FnMut(Message) -> Work,
    ) -> Result<(), SubscribeError> {
        self.concurrently(1).for_each_until(stop, handler).await
    }

    /// Like [`Subscription::for_each`], with a handler that can fail: a message is acknowledged when its handler has returned
    /// `Ok`, and only then. One whose handler has returned `Err` is delivered again when its AckWait is over, and the messages
    /// behind it go on meanwhile, as far as MaxInflight lets them. The error itself goes no further: what somebody has to know of
    /// it, the handler says. [`Message::redelivery_count`] tells how often a message was tried.
    ///
    /// ```no_run
    /// # async fn store(_order: &[u8]) -> std::io::Result<()> { Ok(()) }
    /// # async fn example(client: seaway_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let orders = client.subscribe("orders").durable_name("ledger").await?;
    /// orders
    ///     .concurrently(8) // at most eight at once; without it, one after another
    ///     .try_for_each(|order| async move {
    ///         // An order that cannot be stored comes again.
    ///         store(order.payload()).await.inspect_err(|error| eprintln!("{}: {error}", order.sequence()))
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The [failure](Subscription::failure) that has ended it.
    pub async fn try_for_each<Work: Future<Output = Result<(), Failed>>, Failed>(
        self,
        handler: impl FnMut(Message) -> Work,
    ) -> Result<(), SubscribeError> {
        self.concurrently(1).try_for_each(handler).await
    }

    /// Like [`Subscription::try_for_each`], until `stop` completes: the message in work is finished, then the subscription is
    /// [closed](Subscription::close).
    ///
    /// # Errors
    /// The [failure](Subscription::failure) that has ended it, or that of closing it.
    pub async fn try_for_each_until<Work: Future<Output = Result<(), Failed>>, Failed>(
        self,
        stop: impl Future<Output = ()>,
        handler: impl FnMut(Message) -> Work,
    ) -> Result<(), SubscribeError> {
        self.concurrently(1).try_for_each_until(stop, handler).await
    }
}

/// A subscription of which several messages are handled at once: begun in their order, done in any. Never more are in work than
/// this bound and the subscription's MaxInflight. The handlers share the task that awaits them: work that keeps a core busy belongs
/// into tasks or threads of its own. Made by [`Subscription::concurrently`]; the methods are those of [`Subscription`].
#[derive(Debug)]
#[must_use = "nothing is handled until one of its methods is awaited"]
pub struct Concurrently {
    subscription: Subscription,
    handlers: usize,
}

impl Concurrently {
    /// See [`Subscription::for_each`].
    ///
    /// # Errors
    /// The [failure](Subscription::failure) that has ended the subscription.
    pub async fn for_each<Work: Future<Output = ()>>(
        self,
        handler: impl FnMut(Message) -> Work,
    ) -> Result<(), SubscribeError> {
        self.for_each_until(std::future::pending(), handler).await
    }

    /// See [`Subscription::for_each_until`]: all messages in work are finished and acknowledged.
    ///
    /// # Errors
    /// The [failure](Subscription::failure) that has ended the subscription, or that of closing it.
    pub async fn for_each_until<Work: Future<Output = ()>>(
        self,
        stop: impl Future<Output = ()>,
        mut handler: impl FnMut(Message) -> Work,
    ) -> Result<(), SubscribeError> {
        let handler = |message| {
            let work = handler(message);
            async {
                work.await;
                Ok::<(), Infallible>(())
            }
        };
        self.try_for_each_until(stop, handler).await
    }

    /// See [`Subscription::try_for_each`].
    ///
    /// # Errors
    /// The [failure](Subscription::failure) that has ended the subscription.
    pub async fn try_for_each<Work: Future<Output = Result<(), Failed>>, Failed>(
        self,
        handler: impl FnMut(Message) -> Work,
    ) -> Result<(), SubscribeError> {
        self.try_for_each_until(std::future::pending(), handler).await
    }

    /// See [`Subscription::try_for_each_until`]: all messages in work are finished.
    ///
    /// # Errors
    /// The [failure](Subscription::failure) that has ended the subscription, or that of closing it.
    pub async fn try_for_each_until<Work: Future<Output = Result<(), Failed>>, Failed>(
        self,
        stop: impl Future<Output = ()>,
        mut handler: impl FnMut(Message) -> Work,
    ) -> Result<(), SubscribeError> {
        let Concurrently {
            mut subscription,
            handlers,
        } = self;
        let mut stop = std::pin::pin!(stop);
        let mut in_work = FuturesUnordered::new();
        let is_stopped = loop {
            tokio::select! {
                biased;
                () = &mut stop => break true,
                Some(done) = in_work.next() => subscription.acknowledge(done),
                message = subscription.next(), if in_work.len() < handlers => {
                    let Some(message) = message else { break false };
                    let place = subscription.take_work();
                    let work = handler(message);
                    in_work.push(async move { work.await.ok().and(place) });
                }
            }
        };
        // Where the subscription has ended, they are delivered again.
        while let Some(done) = in_work.next().await {
            subscription.acknowledge(done);
        }
        match is_stopped {
            true => subscription.close().await,
            false => subscription.failure().map_or(Ok(()), Err),
        }
    }
}
