//! The connection that users hold, and what its parts share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

use bytes::Bytes;
use futures_util::stream::{AbortHandle, Abortable};
use seaway_stan_protocol::{Message as _, errors, messages, validate};
use tokio::sync::watch;

use crate::acks::{self, AckQueue};
use crate::error::{CloseError, ConnectError, Loss, PublishError, SubscribeError};
use crate::keeper;
use crate::options::ConnectOptions;
use crate::publish::{Outbox, PendingPublish};
use crate::session::{Session, Task};
use crate::subscribe::{Subscribe, Wanted};
use crate::subscription::{Shared, Subscription};
use crate::wire::{Unanswered, request, text};

/// How a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It works.
    Connected,
    /// It was lost, and is being made anew.
    Interrupted(Loss),
    /// It has ended for good.
    Ended(Loss),
}

/// A connection to a streaming server; clones share it.
///
/// A broken NATS connection is made anew below it, and the server remembers the client meanwhile. When the server does not
/// answer pings, or has forgotten the client, publishes that await their acknowledgement fail with
/// [`PublishError::ConnectionLost`], and, unless [`ConnectOptions::reconnect`] says otherwise, the client registers again under
/// its ID and makes its subscriptions anew: durables go on at their place, the others after the last message they received.
///
/// When the last clone and the last subscription are dropped, the server is told in the background; [`Client::close`] waits for it.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: ConnectOptions,
    pub(crate) nats: async_nats::Client,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) heartbeats: tokio::sync::Mutex<Option<Task>>,
    session: RwLock<Arc<Session>>,
    acks: AckQueue,
    subscriptions: Mutex<BTreeMap<u64, Weak<Shared>>>,
    next_subscription: AtomicU64,
    tasks: OnceLock<[Task; 3]>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("cluster_id", &self.inner.options.cluster_id)
            .field("client_id", &self.inner.options.client_id)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) async fn connect(options: ConnectOptions, nats: async_nats::Client) -> Result<Self, ConnectError> {
        let failed = |error: async_nats::SubscribeError| ConnectError::Nats(error.to_string());
        let outbox = Arc::new(Outbox::new(options.publishes_in_flight_max, options.ack_timeout));
        let acknowledgements = nats.subscribe(outbox.subject.clone()).await.map_err(failed)?;
        let ping_inbox = nats.new_inbox();
        let pongs = nats.subscribe(ping_inbox.clone()).await.map_err(failed)?;
        let (session, heartbeats) = Session::open(&nats, &options).await?;
        let (acks, ack_sender) = acks::queue();
        let inner = Arc::new(Inner {
            outbox: Arc::clone(&outbox),
            status: watch::Sender::new(Status::Connected),
            heartbeats: tokio::sync::Mutex::new(Some(heartbeats)),
            session: RwLock::new(Arc::new(session)),
            acks,
            subscriptions: Mutex::default(),
            next_subscription: AtomicU64::new(0),
            tasks: OnceLock::new(),
            nats: nats.clone(),
            options,
        });
        let tasks = [
            Task::spawn(outbox.receive(acknowledgements)),
            Task::spawn(ack_sender.run(nats)),
            Task::spawn(keeper::keep(Arc::downgrade(&inner), ping_inbox, pongs)),
        ];
        // It is set here only.
        let _ = inner.tasks.set(tasks);
        Ok(Self { inner })
    }

    /// The client's ID.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.inner.options.client_id
    }

    /// Stores a message in a channel; returns when the server has acknowledged it. Dropping the future does not take the
    /// message back.
    ///
    /// # Errors
    /// See [`PublishError`]: what is neither refused nor unsent may or may not be stored.
    pub async fn publish(&self, channel: &str, payload: impl Into<Bytes>) -> Result<(), PublishError> {
        self.publish_async(channel, payload).await?.await
    }

    /// Sends a message to a channel; returns once it is on its way, with a future of its acknowledgement. Waits while as many
    /// publishes as [may be in flight](ConnectOptions::max_publishes_in_flight) are.
    ///
    /// # Errors
    /// [`PublishError::NotSent`] when the name is impossible, the connection has ended, or the NATS connection takes nothing
    /// for as long as an acknowledgement may take.
    pub async fn publish_async(
        &self,
        channel: &str,
        payload: impl Into<Bytes>,
    ) -> Result<PendingPublish, PublishError> {
        let not_sent = |words: &str| PublishError::NotSent(words.to_owned());
        if !validate::is_channel_name(channel.as_bytes()) || channel.contains([' ', '\t', '\r', '\n']) {
            return Err(not_sent(
                "the channel name is empty, or has an empty token, a wildcard, a slash or a blank",
            ));
        }
        let inner = &self.inner;
        let room = inner.outbox.admit().await?;
        let timeout = inner.options.ack_timeout;
        let connected = tokio::time::timeout(timeout, inner.connected()).await;
        let session = match connected {
            Ok(Ok(session)) => session,
            Ok(Err(loss)) => return Err(not_sent(&loss.to_string())),
            Err(_) => return Err(not_sent("the connection is being made anew")),
        };
        let publish = inner.outbox.expect(room);
        let message = messages::PubMsg {
            client_id: inner.options.client_id.clone().into(),
            guid: publish.guid().to_owned().into(),
            subject: channel.to_owned().into(),
            data: payload.into(),
            conn_id: session.connection_id.clone(),
            ..messages::PubMsg::default()
        };
        let subject = format!("{}.{channel}", session.publish_prefix);
        let bytes = message.encode_to_vec().into();
        let sending = inner
            .nats
            .publish_with_reply(subject, inner.outbox.subject.clone(), bytes);
        let failure = match tokio::time::timeout(timeout, sending).await {
            Ok(Ok(())) => return Ok(publish),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the NATS connection takes nothing".to_owned(),
        };
        inner.outbox.forget(&publish);
        Err(not_sent(&failure))
    }

    /// Waits until every publish sent before is acknowledged or has failed; publishes of others wait meanwhile.
    ///
    /// # Errors
    /// The first failure since the last flush of a publish whose [`PendingPublish`] was dropped.
    pub async fn flush(&self) -> Result<(), PublishError> {
        self.inner.outbox.flush().await
    }

    /// Subscribes to a channel: choose what to receive, then await.
    pub fn subscribe(&self, channel: impl Into<String>) -> Subscribe {
        Subscribe::new(self.clone(), channel.into())
    }

    /// How the connection is, and how it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.subscribe()
    }

    /// Waits for publishes and acknowledgements on their way, then closes the connection; subscriptions end, durables keep
    /// their place.
    ///
    /// # Errors
    /// When the server refuses or does not answer; the connection is closed in this process all the same.
    pub async fn close(&self) -> Result<(), CloseError> {
        // Whoever published was told, or is told by its own future.
        let _ = self.inner.outbox.flush().await;
        self.inner.acks.flush().await;
        let inner = &self.inner;
        let ask = messages::CloseRequest {
            client_id: inner.options.client_id.clone().into(),
        };
        let session = inner.session();
        let timeout = inner.options.connect_timeout;
        let answer = request::<messages::CloseResponse>(&inner.nats, &session.close, &ask, timeout).await;
        inner.end(Loss::Closed).await;
        match answer {
            Ok(answer) if answer.error.is_empty() => Ok(()),
            Ok(answer) => Err(CloseError::Refused(text(&answer.error))),
            Err(Unanswered::NoResponders | Unanswered::Timeout) => Err(CloseError::Timeout(timeout)),
            Err(Unanswered::Nats(words)) => Err(CloseError::Nats(words)),
        }
    }

    pub(crate) async fn open_subscription(&self, wanted: Wanted) -> Result<Subscription, SubscribeError> {
        let inner = &self.inner;
        let inbox = inner.nats.new_inbox();
        let deliveries = inner.nats.subscribe(inbox.clone()).await;
        let deliveries = deliveries.map_err(|error| SubscribeError::Nats(error.to_string()))?;
        let (ending, registration) = AbortHandle::new_pair();
        let number = inner.next_subscription.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared::new(number, wanted, inbox, inner.acks.clone(), ending));
        let mut unkept = Unkept(Some((Arc::clone(inner), Arc::clone(&shared))));
        let mut session = inner.connected().await.map_err(|_| SubscribeError::Closed)?;
        loop {
            inner.ask_for_subscription(&session, &shared, false).await?;
            inner.subscriptions().insert(number, Arc::downgrade(&shared));
            let now = inner.connected().await.map_err(|_| SubscribeError::Closed)?;
            if Arc::ptr_eq(&session, &now) {
                break;
            }
            // The connection was made anew meanwhile, without this subscription.
            session = now;
            shared.hold();
        }
        unkept.0 = None;
        Ok(Subscription::new(
            shared,
            Abortable::new(deliveries, registration),
            self.clone(),
        ))
    }

    /// Ends a subscription at the server, after the acknowledgements queued so far.
    pub(crate) async fn leave(&self, shared: &Shared, forget: bool) -> Result<(), SubscribeError> {
        let inner = &self.inner;
        inner.subscriptions().remove(&shared.number);
        if matches!(&*inner.status.borrow(), Status::Ended(_)) {
            return Err(SubscribeError::Closed);
        }
        let inbox = shared.end().unwrap_or_else(|| shared.inbox.clone());
        inner.acks.flush().await;
        let session = inner.session();
        let subject = if forget {
            &session.unsubscribe
        } else {
            &session.subscription_close
        };
        let ask = inner.leave_request(shared, inbox);
        let timeout = inner.options.connect_timeout;
        let answer = request::<messages::SubscriptionResponse>(&inner.nats, subject, &ask, timeout).await;
        answered(answer, timeout).map(drop)
    }
}

/// A subscription that was asked for and is not kept: the server must not go on delivering to nobody.
struct Unkept(Option<(Arc<Inner>, Arc<Shared>)>);

impl Drop for Unkept {
    fn drop(&mut self) {
        let Some((inner, shared)) = self.0.take() else { return };
        inner.subscriptions().remove(&shared.number);
        shared.end();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // The server may not have answered yet: only the delivery inbox is known for sure.
                let ask = inner.leave_request(&shared, shared.inbox.clone());
                let subject = inner.session().subscription_close.clone();
                let _ = inner.nats.publish(subject, ask.encode_to_vec().into()).await;
            });
        }
    }
}

impl Inner {
    pub(crate) fn session(&self) -> Arc<Session> {
        Arc::clone(&self.session.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_session(&self, session: Session) {
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(session);
    }

    fn subscriptions(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Shared>>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subscriptions that are alive.
    pub(crate) fn live_subscriptions(&self) -> Vec<Arc<Shared>> {
        self.subscriptions().values().filter_map(Weak::upgrade).collect()
    }

    /// Takes a subscription off the list and ends it.
    pub(crate) fn drop_subscription(&self, shared: &Shared) {
        self.subscriptions().remove(&shared.number);
        shared.end();
    }

    /// The session, once the connection works; an error when it has ended for good.
    async fn connected(&self) -> Result<Arc<Session>, Loss> {
        loop {
            let mut status = self.status.subscribe();
            match &*status.borrow_and_update() {
                Status::Connected => return Ok(self.session()),
                Status::Ended(loss) => return Err(loss.clone()),
                Status::Interrupted(_) => {}
            }
            // The sender lives as long as this does.
            let _ = status.changed().await;
        }
    }

    /// Makes a subscription at the server; `again` after the connection was made anew.
    pub(crate) async fn ask_for_subscription(
        &self,
        session: &Session,
        shared: &Shared,
        again: bool,
    ) -> Result<(), SubscribeError> {
        let ask = shared.wanted.request(
            &self.options.client_id,
            &shared.inbox,
            again.then(|| shared.last_seen()),
        );
        let timeout = self.options.connect_timeout;
        let answer = request(&self.nats, &session.subscribe, &ask, timeout).await;
        let answer = answered(answer, timeout)?;
        shared.acknowledge_to(text(&answer.ack_inbox));
        Ok(())
    }

    fn leave_request(&self, shared: &Shared, inbox: String) -> messages::UnsubscribeRequest {
        messages::UnsubscribeRequest {
            client_id: self.options.client_id.clone().into(),
            subject: shared.wanted.channel.clone().into(),
            inbox: inbox.into(),
            durable_name: shared.wanted.durable_name.clone().into(),
        }
    }

    /// Ends the connection in this process, once.
    pub(crate) async fn end(&self, loss: Loss) {
        self.status.send_if_modified(|status| {
            let is_first = !matches!(status, Status::Ended(_));
            if is_first {
                *status = Status::Ended(loss);
            }
            is_first
        });
        self.outbox.close();
        for shared in self.live_subscriptions() {
            self.drop_subscription(&shared);
        }
        if let Some(heartbeats) = self.heartbeats.lock().await.take() {
            heartbeats.stop().await;
        }
    }
}

fn answered(
    answer: Result<messages::SubscriptionResponse, Unanswered>,
    timeout: std::time::Duration,
) -> Result<messages::SubscriptionResponse, SubscribeError> {
    match answer {
        Ok(answer) if answer.error.is_empty() => Ok(answer),
        Ok(answer) if answer.error == errors::DUPLICATE_DURABLE => Err(SubscribeError::DurableInUse),
        Ok(answer) => Err(SubscribeError::Refused(text(&answer.error))),
        Err(Unanswered::NoResponders | Unanswered::Timeout) => Err(SubscribeError::Timeout(timeout)),
        Err(Unanswered::Nats(words)) => Err(SubscribeError::Nats(words)),
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if matches!(&*self.status.borrow(), Status::Ended(_)) {
            return;
        }
        // Nobody waits: the server frees the ID when it hears of it, or when heartbeats fail.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let ask = messages::CloseRequest {
                client_id: self.options.client_id.clone().into(),
            };
            let (nats, subject) = (self.nats.clone(), self.session().close.clone());
            runtime.spawn(async move {
                let _ = nats.publish(subject, ask.encode_to_vec().into()).await;
                let _ = nats.flush().await;
            });
        }
    }
}
