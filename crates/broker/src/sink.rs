//! What an in-process party receives: batches of messages, and news about destinations and interest.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::limits::{BATCHES_KEPT, KEPT_CAPACITY_BYTES};
use crate::lock::lock;

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
/// own [`crate::Publisher`]; they must only take note and return: never wait, never call back into the broker.
pub trait Sink: Send + Sync {
    /// One hand-over: what one read batch of one connection brought, in its order. Batches of one connection arrive
    /// in order.
    fn deliver(&self, batch: Batch);

    /// A destination that was reported as congested has drained, or is gone.
    fn drained(&self, destination: Destination);

    /// Interest in a watched subject changed; see [`crate::Attachment::watch_interest`].
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

    /// A batch made by hand, of what came on other ways: one message per call of [`Batch::with_message`].
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

    /// The same with headers: `body` begins with so many bytes of them, and the payload follows.
    #[must_use]
    pub fn with_headers(
        mut self,
        tag: u64,
        subject: &[u8],
        reply: Option<&[u8]>,
        header_size: usize,
        body: &[u8],
    ) -> Self {
        debug_assert!(header_size <= body.len(), "headers are a part of the body");
        self.push(tag, subject, reply, header_size.min(body.len()), &[body]);
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
