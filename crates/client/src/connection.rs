//! What the parts of a connection share: the session of the moment, the subscriptions, and requests on their behalf.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use seaway_stan_protocol::{Message as _, errors, messages};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::acks::AckQueue;
use crate::attention::Attention;
use crate::delivery::{Deliveries, Service, Shared};
use crate::error::{CloseError, Loss, SubscribeError};
use crate::options::ConnectOptions;
use crate::publish::Outbox;
use crate::session::{Session, Task};
use crate::status::Status;
use crate::wanted::{From, Wanted};
use crate::wire::{Unanswered, listen, request, subject, text};

pub(crate) struct Inner {
    pub(crate) options: ConnectOptions,
    pub(crate) nats: async_nats::Client,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) heartbeats: tokio::sync::Mutex<Option<Task>>,
    /// Asks for a look at the connection right now.
    pub(crate) attention: Arc<Attention>,
    pub(crate) acks: AckQueue,
    session: RwLock<Arc<Session>>,
    subscriptions: Mutex<BTreeMap<u64, Weak<Shared>>>,
    next_subscription: AtomicU64,
    /// How many subscriptions are being ended.
    leaving: watch::Sender<usize>,
    tasks: OnceLock<[Task; 3]>,
}

/// A subscription that is being ended, as long as this lives.
pub(crate) struct Leaving(watch::Sender<usize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.send_modify(|subscriptions| *subscriptions -= 1);
    }
}

impl Inner {
    pub(crate) fn new(
        options: ConnectOptions,
        nats: async_nats::Client,
        outbox: Arc<Outbox>,
        acks: AckQueue,
        attention: Arc<Attention>,
        (session, heartbeats): (Session, Task),
    ) -> Self {
        Self {
            options,
            nats,
            outbox,
            status: watch::Sender::new(Status::Connected),
            heartbeats: tokio::sync::Mutex::new(Some(heartbeats)),
            attention,
            acks,
            session: RwLock::new(Arc::new(session)),
            subscriptions: Mutex::default(),
            next_subscription: AtomicU64::new(0),
            leaving: watch::Sender::new(0),
            tasks: OnceLock::new(),
        }
    }

    /// Tasks that end with this.
    pub(crate) fn keep_tasks(&self, tasks: [Task; 3]) {
        // It is called once.
        let _ = self.tasks.set(tasks);
    }

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
    pub(crate) fn drop_subscription(&self, shared: &Shared, failure: Option<SubscribeError>) {
        self.subscriptions().remove(&shared.number);
        shared.end(failure);
    }

    /// Whether the NATS connection is broken. A connection that was given does not say when it breaks: it is asked.
    pub(crate) fn is_disconnected(&self) -> bool {
        let given = self.options.existing_nats();
        self.attention.is_disconnected()
            || given.is_some_and(|nats| nats.connection_state() == async_nats::connection::State::Disconnected)
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(&*self.status.borrow(), Status::Ended(_))
    }

    /// The session, once the connection works; an error when it has ended for good.
    pub(crate) async fn connected(&self) -> Result<Arc<Session>, Loss> {
        let mut status = self.status.subscribe();
        loop {
            match &*status.borrow_and_update() {
                Status::Connected | Status::Unreachable => return Ok(self.session()),
                Status::Ended(loss) => return Err(loss.clone()),
                Status::Interrupted(_) => {}
            }
            // The sender lives as long as this does.
            let _ = status.changed().await;
        }
    }

    /// Why publishes are not sent while the connection is being made anew.
    pub(crate) fn interruption(&self) -> String {
        match &*self.status.borrow() {
            Status::Interrupted(loss) => format!("the connection is being made anew: {loss}"),
            _ => "the connection is being made anew".to_owned(),
        }
    }

    /// The session, if the connection works before a request would have timed out.
    pub(crate) async fn connected_in_time(&self) -> Result<Arc<Session>, SubscribeError> {
        let wait = self.options.connect_timeout;
        match timeout(wait, self.connected()).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(Loss::Closed)) => Err(SubscribeError::Closed),
            Ok(Err(loss)) => Err(SubscribeError::Lost(loss)),
            Err(_) => Err(SubscribeError::Timeout(wait)),
        }
    }

    /// Marks that a subscription is being ended.
    pub(crate) fn leaving(&self) -> Leaving {
        self.leaving.send_modify(|subscriptions| *subscriptions += 1);
        Leaving(self.leaving.clone())
    }

    /// Waits until the subscriptions that are being ended have ended, as long as the server may take to answer.
    pub(crate) async fn wait_for_leaving(&self) {
        let mut leaving = self.leaving.subscribe();
        let _ = timeout(self.options.connect_timeout, leaving.wait_for(|count| *count == 0)).await;
    }

    /// A subscription that the server does not know of yet.
    pub(crate) fn new_subscription(&self, wanted: Wanted) -> Arc<Shared> {
        let number = self.next_subscription.fetch_add(1, Ordering::Relaxed);
        Arc::new(Shared::new(number, wanted, self.acks.clone()))
    }

    /// Makes a subscription anew from now on when the connection is.
    pub(crate) fn keep_subscription(&self, shared: &Arc<Shared>) {
        self.subscriptions().insert(shared.number, Arc::downgrade(shared));
    }

    /// The session that replaces another one.
    pub(crate) async fn session_after(&self, old: &Arc<Session>) -> Result<Arc<Session>, SubscribeError> {
        let mut status = self.status.subscribe();
        let wait = self.options.connect_timeout;
        let replaced = status.wait_for(|status| match status {
            Status::Connected | Status::Unreachable => !Arc::ptr_eq(&self.session(), old),
            Status::Interrupted(_) => false,
            Status::Ended(_) => true,
        });
        match timeout(wait, replaced).await {
            Ok(_) => {}
            Err(_) => return Err(SubscribeError::Unregistered),
        }
        self.connected_in_time().await
    }

    /// Has a subscription served by the server from now on.
    pub(crate) async fn serve(&self, session: &Arc<Session>, shared: &Shared) -> Result<(), SubscribeError> {
        let wait = self.options.connect_timeout;
        let (epoch, from) = shared.begin();
        let inbox = self.nats.new_inbox();
        let deliveries = listen(&self.nats, &inbox, wait)
            .await
            .map_err(|error| unanswered(error, wait))?;
        let ask = shared.wanted.request(&self.options.client_id, &inbox, from);
        let answer = answered(request(&self.nats, &session.subscribe, &ask, wait).await, wait);
        if answer == Err(SubscribeError::Timeout(wait)) {
            // It may yet be made: its delivery inbox is all that is known of it.
            self.give_up(session, shared, inbox).await;
            return Err(SubscribeError::Timeout(wait));
        }
        let Some(ack_inbox) = subject(&answer?.ack_inbox) else {
            return Err(SubscribeError::Refused(
                "its answer has no valid subject to acknowledge at".to_owned(),
            ));
        };
        let service = Service {
            session: Arc::clone(session),
            inbox: inbox.clone(),
            ack_inbox,
        };
        let deliveries = Deliveries {
            epoch,
            messages: deliveries,
        };
        if !shared.serve(service, deliveries) {
            self.give_up(session, shared, inbox).await;
        }
        Ok(())
    }

    /// Tells the server, without waiting for its answer, to deliver no more to an inbox.
    async fn give_up(&self, session: &Session, shared: &Shared, inbox: String) {
        let subject = session.subscription_close.as_ref().unwrap_or(&session.unsubscribe);
        let ask = self.leave_request(shared, inbox);
        let sending = self.nats.publish(subject.clone(), ask.encode_to_vec().into());
        // A server that does not hear it drops the subscription with the client.
        let _ = timeout(self.options.connect_timeout, sending).await;
    }

    /// Has a subscription begin anew with its channel.
    pub(crate) async fn rewind(&self, outdated: Service, shared: &Shared) -> Result<(), SubscribeError> {
        self.give_up(&outdated.session, shared, outdated.inbox).await;
        self.serve(&self.session(), shared).await
    }

    /// Ends a subscription at the server, after the acknowledgements queued so far.
    pub(crate) async fn leave(&self, shared: &Shared, forget: bool) -> Result<(), SubscribeError> {
        self.subscriptions().remove(&shared.number);
        let service = shared.end(None);
        if self.is_ended() {
            return Err(SubscribeError::Closed);
        }
        let wait = self.options.connect_timeout;
        // What the connection does not take in this time is delivered again.
        let _ = timeout(wait, self.acks.flush()).await;
        let forget = forget && !shared.wanted.durable_name.is_empty();
        let has_session = self.status.borrow().has_session();
        let service = match service {
            // With the connection the server has dropped, or will drop, everything but the place of a durable.
            service if !forget => match service.filter(|_| has_session) {
                Some(service) => service,
                None => return Ok(()),
            },
            service => self.serve_to_forget(service, shared).await?,
        };
        let session = service.session;
        let subject = match (forget, &session.subscription_close) {
            (false, Some(subject)) => subject,
            (false, None) if !shared.wanted.durable_name.is_empty() => return Err(SubscribeError::CannotClose),
            _ => &session.unsubscribe,
        };
        let ask = self.leave_request(shared, service.ack_inbox);
        match answered(request(&self.nats, subject, &ask, wait).await, wait) {
            Err(SubscribeError::Unregistered) if !forget => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// The server's side of a durable, made anew if the connection was: an idle durable cannot be forgotten.
    async fn serve_to_forget(&self, service: Option<Service>, shared: &Shared) -> Result<Service, SubscribeError> {
        let session = self.connected_in_time().await?;
        if let Some(service) = service.filter(|service| Arc::ptr_eq(&service.session, &session)) {
            return Ok(service);
        }
        let wait = self.options.connect_timeout;
        let inbox = self.nats.new_inbox();
        let ask = shared.wanted.request(&self.options.client_id, &inbox, From::SinceAsked);
        let answer = answered(request(&self.nats, &session.subscribe, &ask, wait).await, wait)?;
        Ok(Service {
            session,
            inbox,
            ack_inbox: text(&answer.ack_inbox),
        })
    }

    fn leave_request(&self, shared: &Shared, inbox: String) -> messages::UnsubscribeRequest {
        messages::UnsubscribeRequest {
            client_id: self.options.client_id.clone().into(),
            subject: shared.wanted.channel.clone().into(),
            inbox: inbox.into(),
            durable_name: shared.wanted.durable_name.clone().into(),
        }
    }

    /// Ends the connection in order, as [`Client::close`](crate::Client::close) says.
    pub(crate) async fn close(&self) -> Result<(), CloseError> {
        if self.is_ended() {
            return Ok(());
        }
        let wait = self.options.connect_timeout;
        self.outbox.stop();
        let published = self.outbox.flush().await;
        let _ = timeout(wait, self.acks.flush()).await;
        let session = self.session();
        let ask = self.close_request();
        let answer = request::<messages::CloseResponse>(&self.nats, &session.close, &ask, wait).await;
        self.end(Loss::Closed).await;
        match answer {
            // A server that does not know the client has nothing to close.
            Ok(answer) if answer.error.is_empty() || answer.error == errors::UNKNOWN_CLIENT_ID => {}
            Ok(answer) => return Err(CloseError::Refused(text(&answer.error))),
            Err(Unanswered::NoResponders | Unanswered::Timeout) => return Err(CloseError::Timeout(wait)),
            Err(Unanswered::Nats(words) | Unanswered::Unreadable(words)) => return Err(CloseError::Nats(words)),
        }
        published.map_err(CloseError::Publish)
    }

    fn close_request(&self) -> messages::CloseRequest {
        messages::CloseRequest {
            client_id: self.options.client_id.clone().into(),
        }
    }

    /// Tells the server, without waiting for its answer, that the client is gone.
    pub(crate) async fn unregister(&self) {
        let ask = self.close_request().encode_to_vec().into();
        let sending = self.nats.publish(self.session().close.clone(), ask);
        let _ = timeout(self.options.connect_timeout, sending).await;
    }

    /// Ends the connection in this process, once.
    pub(crate) async fn end(&self, loss: Loss) {
        let is_first = self.status.send_if_modified(|status| {
            let is_first = !matches!(status, Status::Ended(_));
            if is_first {
                *status = Status::Ended(loss.clone());
            }
            is_first
        });
        if !is_first {
            return;
        }
        self.outbox.close();
        let failure = (loss != Loss::Closed).then_some(SubscribeError::Lost(loss));
        for shared in self.live_subscriptions() {
            self.drop_subscription(&shared, failure.clone());
        }
        if let Some(heartbeats) = self.heartbeats.lock().await.take() {
            heartbeats.stop().await;
        }
        if self.options.owns_nats() {
            // What it still has to send is sent first.
            let _ = timeout(self.options.connect_timeout, self.nats.drain()).await;
        }
    }
}

fn answered(
    answer: Result<messages::SubscriptionResponse, Unanswered>,
    wait: Duration,
) -> Result<messages::SubscriptionResponse, SubscribeError> {
    let answer = answer.map_err(|error| unanswered(error, wait))?;
    match text(&answer.error).as_str() {
        "" => Ok(answer),
        errors::DUPLICATE_DURABLE => Err(SubscribeError::DurableInUse),
        errors::UNKNOWN_CLIENT_ID => Err(SubscribeError::Unregistered),
        words => Err(SubscribeError::Refused(words.to_owned())),
    }
}

fn unanswered(error: Unanswered, wait: Duration) -> SubscribeError {
    match error {
        Unanswered::NoResponders | Unanswered::Timeout => SubscribeError::Timeout(wait),
        Unanswered::Nats(words) => SubscribeError::Nats(words),
        Unanswered::Unreadable(words) => SubscribeError::Refused(format!("its answer cannot be read: {words}")),
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_ended() {
            return;
        }
        // Nobody waits: the server frees the ID when it hears of it, or when heartbeats fail.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let ask = self.close_request();
            let (nats, subject) = (self.nats.clone(), self.session().close.clone());
            runtime.spawn(async move {
                let _ = nats.publish(subject, ask.encode_to_vec().into()).await;
                let _ = nats.flush().await;
            });
        }
    }
}
