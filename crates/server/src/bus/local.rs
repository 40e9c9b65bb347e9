//! The bus inside this process: the broker's in-process party. Nothing is added to what it does but names: one hand-over is one call
//! through a trait object, as the broker makes it, and a message is none.

use std::sync::Arc;

use seaway_broker::{Broker, ConnectionId, Interest, Publisher, Sink};
use tokio::sync::watch;

use super::words::{Batch, Destination, Hindrance, InvalidSubject, Listener, Origin, Sent};

/// A way to attach; clones lead to the same bus.
#[derive(Clone)]
pub(super) struct Bus {
    broker: Broker,
    /// Whose subjects these are.
    account: Arc<str>,
}

impl Bus {
    /// The bus that an account of a broker in this process is.
    pub(super) fn new(broker: &Broker, account: &str) -> Bus {
        Bus {
            broker: broker.clone(),
            account: account.into(),
        }
    }

    /// Attaches a party under a name for people.
    pub(super) fn attach<L: Listener>(&self, name: &str, listener: Arc<L>) -> Attachment {
        let sink = Arc::new(Forward(listener)) as Arc<dyn Sink>;
        Attachment(self.broker.attach_to(&self.account, name, sink))
    }

    /// What whoever sent a request may do; `None` when that connection has gone, or is none of a client in this account: what somebody
    /// may do in another one says nothing here.
    pub(super) fn requester(&self, origin: Origin) -> Option<Requester> {
        let requester = self.broker.requester(ConnectionId(origin.0));
        requester
            .filter(|requester| requester.account() == &*self.account)
            .map(Requester)
    }

    /// Counts brokers that come into reach or leave it; `None` where there are no others.
    pub(super) fn cluster_changes(&self) -> Option<watch::Receiver<u64>> {
        self.broker.cluster_changes()
    }

    /// Bytes of one message at most.
    pub(super) fn max_payload(&self) -> usize {
        self.broker.options().max_payload
    }

    /// Bytes that may wait for one receiver; with more it is a slow consumer and is cut off.
    pub(super) fn max_pending(&self) -> usize {
        self.broker.options().max_pending
    }

    /// Bytes of one answer at most: what clients take now, and half of what makes one a slow consumer.
    pub(super) fn max_answer(&self) -> usize {
        self.broker.snapshot().max_payload.min(self.max_pending() / 2)
    }
}

/// Hands on to a listener what the broker brings.
struct Forward<L>(Arc<L>);

impl<L: Listener> Sink for Forward<L> {
    fn deliver(&self, batch: seaway_broker::Batch) {
        self.0.deliver(Batch(batch));
    }

    fn drained(&self, destination: seaway_broker::Destination) {
        self.0.drained(Destination(destination.0));
    }

    fn interest(&self, _subject: &[u8], interest: Interest) {
        if interest == Interest::Appeared {
            self.0.interest_appeared();
        }
    }
}

/// A party. Dropping it removes its subscriptions and opens its gate, at once.
pub struct Attachment(seaway_broker::Attachment);

impl Attachment {
    /// Delivers what `pattern` matches to the listener, under `tag`, but what this party sends itself. With `holdable`, publishers
    /// may be held back at the [`Gate`].
    ///
    /// # Errors
    /// `pattern` is no valid subject.
    pub fn subscribe(&self, pattern: impl AsRef<[u8]>, tag: u64, holdable: bool) -> Result<(), InvalidSubject> {
        let subscribed = self.0.subscribe(pattern, tag, holdable);
        subscribed.map_err(|error| InvalidSubject(error.pattern))
    }

    /// The same for clients of this server alone, whatever cluster it is in.
    ///
    /// # Errors
    /// `pattern` is no valid subject.
    pub fn subscribe_here(&self, pattern: impl AsRef<[u8]>, tag: u64, holdable: bool) -> Result<(), InvalidSubject> {
        let subscribed = self.0.subscribe_here(pattern, tag, holdable);
        subscribed.map_err(|error| InvalidSubject(error.pattern))
    }

    /// Ends all subscriptions under `tag`. What is being gathered for one may still come.
    pub fn unsubscribe(&self, tag: u64) {
        self.0.unsubscribe(tag);
    }

    /// Does what dropping it does, whoever else still has it; what it subscribes to from now on is nothing.
    pub fn detach(&self) {
        self.0.detach();
    }

    /// The gate of its holdable subscriptions.
    pub fn gate(&self) -> Gate {
        Gate(self.0.shared_gate())
    }

    /// A sender of its own, for one thread at a time.
    pub fn sender(&self) -> Sender {
        Sender(self.0.publisher())
    }

    /// Tells the listener from now on when somebody new listens to a subject that overlaps `pattern`.
    ///
    /// # Errors
    /// `pattern` is no valid subject.
    pub fn watch_interest(&self, pattern: &str) -> Result<(), InvalidSubject> {
        let watched = self.0.watch_new_interest(pattern);
        watched.map_err(|error| InvalidSubject(error.pattern))
    }
}

/// Holds back whoever publishes to holdable subscriptions of one attachment.
#[derive(Clone)]
pub struct Gate(Arc<seaway_broker::Gate>);

impl Gate {
    /// From now on publishers are held.
    pub fn close(&self) {
        self.0.close();
    }

    /// Lets all held publishers go on.
    pub fn open(&self) {
        self.0.open();
    }

    /// Opens, and lets so many held publishers go on; whether others still wait, for [`Gate::go_on`].
    pub fn open_for(&self, publishers: usize) -> bool {
        self.0.open_for(publishers)
    }

    /// Lets so many more go on, unless it was closed again; whether others still wait.
    pub fn go_on(&self, publishers: usize) -> bool {
        self.0.go_on(publishers)
    }

    /// Whether publishers are held.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Sends for an attachment, and gathers until [`Sender::flush`]. What goes to one receiver leaves in the order of the calls.
pub struct Sender(Publisher);

impl Sender {
    /// Sends the parts, joined, to `subject`. Nobody gets a message whose subject or reply is none.
    pub fn send(&mut self, subject: &[u8], reply: Option<&[u8]>, parts: &[&[u8]]) -> Sent {
        sent(self.0.publish(subject, reply, parts))
    }

    /// The same if every receiver has room; how many subscriptions took it.
    ///
    /// # Errors
    /// A receiver without room, or this sender itself; nothing was sent.
    pub fn send_if_room(&mut self, subject: &[u8], parts: &[&[u8]]) -> Result<u32, Hindrance> {
        let taken = self.0.publish_if_room(subject, None, parts);
        taken.map_err(full)
    }

    /// What [`Sender::send_if_room`] would find, asked before there is anything to send: whether anybody listens.
    ///
    /// # Errors
    /// As there.
    pub fn has_receiver_with_room(&mut self, subject: &[u8]) -> Result<bool, Hindrance> {
        let found = self.0.has_receiver_with_room(subject);
        found.map_err(full)
    }

    /// Answers a request, with a whole header block or an empty one. Answers reach clients only.
    pub fn answer(&mut self, subject: &[u8], headers: &[u8], payload: &[u8]) -> Sent {
        sent(self.0.answer(subject, headers, payload))
    }

    /// Hands over everything gathered, and a slice of what has very many receivers; nothing waits here. Returns whether the last receiver
    /// has got everything; if not, flush again soon.
    pub fn flush(&mut self) -> bool {
        self.0.flush()
    }

    /// Whether a flush would have something to go on with.
    pub fn has_waiting(&self) -> bool {
        self.0.has_waiting()
    }
}

fn full(destination: seaway_broker::Destination) -> Hindrance {
    Hindrance::Full(Destination(destination.0))
}

fn sent(published: seaway_broker::Published) -> Sent {
    Sent {
        receivers: published.receivers,
        congested: published.congested.map(|destination| Destination(destination.0)),
    }
}

/// What somebody who asks an in-process service may do, at the moment of the question.
pub struct Requester(seaway_broker::Requester);

impl Requester {
    /// Who it is, in words; its connection has this id.
    pub fn words(&self, origin: Origin) -> String {
        let peer = self.0.peer();
        match self.0.user() {
            Some(user) => format!("User {user:?} (cid:{}, {peer})", origin.0),
            None => format!("cid:{} ({peer})", origin.0),
        }
    }

    /// Whether it may subscribe to `subject`: answers belong nowhere else.
    pub fn may_receive(&self, subject: &[u8]) -> bool {
        self.0.may_receive(subject)
    }

    /// Whether its permissions say nothing, or [`Requester::is_named`].
    pub fn is_unrestricted_or_named(&self, subject: &[u8]) -> bool {
        self.0.is_unrestricted_or_named(subject)
    }

    /// Whether it was given the right to publish to `subject` by name.
    pub fn is_named(&self, subject: &[u8]) -> bool {
        self.0.is_named(subject)
    }
}
