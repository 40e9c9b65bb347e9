//! In-process parties: a sink that receives batches, a publisher that sends them, a gate that holds publishers back.
//! The streaming engine sits here; it knows subjects, never connections.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use seaway_nats_protocol::subject;

use crate::broker::Shared;
use crate::connection::Connection;
use crate::limits::{BATCHES_KEPT, KEPT_CAPACITY_BYTES};
use crate::lock::lock;
use crate::publisher::Publisher;
use crate::subscription::{Owner, Subscription};

/// Names the connection (or attachment) that published; unique within the process, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Names a connection that bytes go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination(pub u64);

/// A change of interest in a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// The first subscription with this subject text exists.
    Appeared,
    /// The last subscription with this subject text is gone.
    Disappeared,
}

/// Receives what an attachment subscribed to. Calls come from any thread, some of them from inside the attachment's
/// own [`Publisher`]; they must only take note and return: never wait, never call back into the broker.
pub trait Sink: Send + Sync {
    /// One hand-over: what one read batch of one connection brought, in its order. Batches of one connection arrive
    /// in order.
    fn deliver(&self, batch: Batch);

    /// A destination that was reported as congested has drained, or is gone.
    fn drained(&self, destination: Destination);

    /// Interest in a watched subject changed; see [`Attachment::watch_interest`].
    fn interest(&self, subject: &[u8], interest: Interest) {
        let _ = (subject, interest);
    }
}

/// One message for one subscription of the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchEntry {
    tag: u64,
    /// The subject starts here; its end is the start of the reply, and so on.
    start: usize,
    subject_end: usize,
    reply_end: usize,
    headers_end: usize,
    end: usize,
    has_reply: bool,
}

/// Messages for one sink from one connection. Dropping it gives its vectors back for reuse.
pub struct Batch {
    /// Who published.
    pub origin: ConnectionId,
    entries: Vec<BatchEntry>,
    data: Vec<u8>,
    pool: Option<Arc<BatchPool>>,
}

/// A borrowed view of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMessage<'a> {
    /// Tag of the subscription that it is for.
    pub tag: u64,
    /// Subject it was published to.
    pub subject: &'a [u8],
    /// Reply subject, if given.
    pub reply: Option<&'a [u8]>,
    /// Header block; empty without headers.
    pub headers: &'a [u8],
    /// Payload without headers.
    pub payload: &'a [u8],
}

impl Batch {
    /// Number of messages; at least 1 in a batch that was delivered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of subjects, replies, headers and payloads.
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    /// All the bytes that [`Batch::payload_range`] points into.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The message at `index`, or `None` past the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<BatchMessage<'_>> {
        self.entries.get(index).map(|entry| self.view(entry))
    }

    /// Where in [`Batch::data`] the payload of the message at `index` lies.
    #[must_use]
    pub fn payload_range(&self, index: usize) -> Option<Range<usize>> {
        self.entries.get(index).map(|entry| entry.headers_end..entry.end)
    }

    /// The messages in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = BatchMessage<'_>> {
        self.entries.iter().map(|entry| self.view(entry))
    }

    fn view(&self, entry: &BatchEntry) -> BatchMessage<'_> {
        BatchMessage {
            tag: entry.tag,
            subject: &self.data[entry.start..entry.subject_end],
            reply: entry.has_reply.then(|| &self.data[entry.subject_end..entry.reply_end]),
            headers: &self.data[entry.reply_end..entry.headers_end],
            payload: &self.data[entry.headers_end..entry.end],
        }
    }

    pub(crate) fn push(&mut self, tag: u64, subject: &[u8], reply: Option<&[u8]>, header_size: usize, parts: &[&[u8]]) {
        let start = self.data.len();
        self.data.extend_from_slice(subject);
        let subject_end = self.data.len();
        self.data.extend_from_slice(reply.unwrap_or_default());
        let reply_end = self.data.len();
        for part in parts {
            self.data.extend_from_slice(part);
        }
        self.entries.push(BatchEntry {
            tag,
            start,
            subject_end,
            reply_end,
            headers_end: reply_end + header_size,
            end: self.data.len(),
            has_reply: reply.is_some(),
        });
    }

    /// The message pushed last also goes to another subscription of the same sink.
    pub(crate) fn repeat_last(&mut self, tag: u64) {
        if let Some(last) = self.entries.last().cloned() {
            self.entries.push(BatchEntry { tag, ..last });
        }
    }

    /// A batch made by hand, for tests of sinks: one message per call of [`Batch::with_message`].
    #[must_use]
    pub fn from_origin(origin: ConnectionId) -> Self {
        Self {
            origin,
            entries: Vec::new(),
            data: Vec::new(),
            pool: None,
        }
    }

    /// Appends a message; see [`Batch::from_origin`].
    #[must_use]
    pub fn with_message(mut self, tag: u64, subject: &[u8], reply: Option<&[u8]>, payload: &[u8]) -> Self {
        self.push(tag, subject, reply, 0, &[payload]);
        self
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        if self.data.capacity() > KEPT_CAPACITY_BYTES {
            return;
        }
        self.entries.clear();
        self.data.clear();
        let mut kept = lock(&pool.kept);
        if kept.len() < BATCHES_KEPT {
            kept.push((std::mem::take(&mut self.entries), std::mem::take(&mut self.data)));
        }
    }
}

/// Vectors of batches that were processed.
#[derive(Default)]
pub(crate) struct BatchPool {
    kept: Mutex<Vec<(Vec<BatchEntry>, Vec<u8>)>>,
}

impl BatchPool {
    pub(crate) fn take(self: &Arc<Self>, origin: u64) -> Batch {
        let (entries, data) = lock(&self.kept).pop().unwrap_or_default();
        Batch {
            origin: ConnectionId(origin),
            entries,
            data,
            pool: Some(Arc::clone(self)),
        }
    }
}

/// Holds back connections that publish to holdable subscriptions. While it is closed, a connection that has just
/// delivered to one is not read until it opens; everybody else, and everything sent to the connection, goes on.
#[derive(Default)]
pub struct Gate {
    closed: AtomicBool,
    waiting: Mutex<Vec<Arc<Connection>>>,
}

impl Gate {
    /// From now on publishers are held.
    pub fn close(&self) {
        let _waiting = lock(&self.waiting);
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Lets all held publishers go on.
    pub fn open(&self) {
        let waiting = {
            let mut waiting = lock(&self.waiting);
            self.closed.store(false, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        for connection in waiting {
            connection.at_gate.store(false, Ordering::SeqCst);
            connection.wake.notify_one();
        }
    }

    /// Whether publishers are held.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Puts the connection on the list of those to wake, unless the gate is open. Returns whether it has to wait.
    pub(crate) fn hold(&self, connection: &Arc<Connection>) -> bool {
        if !self.is_closed() {
            return false;
        }
        let mut waiting = lock(&self.waiting);
        if !self.is_closed() {
            return false;
        }
        if !connection.at_gate.swap(true, Ordering::SeqCst) {
            waiting.push(Arc::clone(connection));
        }
        true
    }

    /// Forgets a connection that ends while it waits.
    pub(crate) fn forget(&self, connection: &Connection) {
        lock(&self.waiting).retain(|waiting| waiting.id != connection.id);
    }
}

/// What the broker's hot paths see of an attachment.
pub(crate) struct AttachmentShared {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) pool: Arc<BatchPool>,
    subscriptions: Mutex<HashMap<u64, Vec<Arc<Subscription>>>>,
}

impl AttachmentShared {
    pub(crate) fn new(id: u64, name: &str, sink: Arc<dyn Sink>) -> Self {
        Self {
            id,
            name: name.to_owned(),
            sink,
            gate: Arc::new(Gate::default()),
            pool: Arc::default(),
            subscriptions: Mutex::default(),
        }
    }

    pub(crate) fn forget(&self, tag: u64, subscription: &Arc<Subscription>) {
        let mut subscriptions = lock(&self.subscriptions);
        if let Some(list) = subscriptions.get_mut(&tag) {
            list.retain(|known| !Arc::ptr_eq(known, subscription));
        }
    }
}

/// The subject cannot be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("subscribe to {pattern:?}: not a valid subject")]
pub struct InvalidPattern {
    /// The refused text.
    pub pattern: String,
}

/// An in-process party of the broker. Dropping it removes its subscriptions and opens its gate.
pub struct Attachment {
    pub(crate) broker: Arc<Shared>,
    pub(crate) shared: Arc<AttachmentShared>,
}

impl Attachment {
    /// Delivers what `pattern` matches to the sink, under `tag`. A tag may have several patterns. Messages that
    /// this attachment publishes itself are not delivered to it. With `holdable`, see [`Gate`].
    ///
    /// # Errors
    /// When `pattern` is no valid subject (§2.1).
    pub fn subscribe(&self, pattern: &str, tag: u64, holdable: bool) -> Result<(), InvalidPattern> {
        if !subject::is_pattern(pattern.as_bytes()) {
            return Err(InvalidPattern {
                pattern: pattern.to_owned(),
            });
        }
        let owner = Owner::Attachment {
            shared: Arc::clone(&self.shared),
            tag,
            holdable,
        };
        let subscription = Subscription::new(pattern.as_bytes(), None, b"", owner);
        let mut subscriptions = lock(&self.shared.subscriptions);
        self.broker.routing.insert(&subscription);
        subscriptions.entry(tag).or_default().push(subscription);
        Ok(())
    }

    /// Ends all subscriptions under `tag`; unknown tags are ignored. A batch that is being gathered may still
    /// bring messages for it.
    pub fn unsubscribe(&self, tag: u64) {
        let removed = lock(&self.shared.subscriptions).remove(&tag).unwrap_or_default();
        for subscription in removed {
            self.broker.routing.remove(&subscription);
        }
    }

    /// The gate of this attachment's holdable subscriptions.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// The same gate, to be kept elsewhere.
    #[must_use]
    pub fn shared_gate(&self) -> Arc<Gate> {
        Arc::clone(&self.shared.gate)
    }

    /// The origin that other attachments see for what this one publishes.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.shared.id)
    }

    /// The name it was attached under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// A publisher of its own: one thread at a time, no lock per message.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.broker), Arc::clone(&self.shared))
    }

    /// Reports to [`Sink::interest`] when the first subscription to a subject that overlaps `pattern` appears and
    /// when the last one disappears, whoever subscribes. What exists already is reported at once; what appears at
    /// the same moment may be reported twice.
    ///
    /// # Errors
    /// When `pattern` is no valid subject (§2.1).
    pub fn watch_interest(&self, pattern: &str) -> Result<(), InvalidPattern> {
        if !subject::is_pattern(pattern.as_bytes()) {
            return Err(InvalidPattern {
                pattern: pattern.to_owned(),
            });
        }
        self.broker.routing.watch(pattern.as_bytes(), &self.shared);
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.broker.routing.unwatch(self.shared.id);
        let all = std::mem::take(&mut *lock(&self.shared.subscriptions));
        for subscription in all.into_values().flatten() {
            self.broker.routing.remove(&subscription);
        }
        self.shared.gate.open();
    }
}
