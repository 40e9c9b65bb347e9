//! Publishing from inside the process.

use std::sync::Arc;

use seaway_nats_protocol::subject;

use crate::frame::Message;
use crate::gather::Gatherer;
use crate::limits::KEPT_CAPACITY_BYTES;
use crate::outlets::{Audience, Origin};
use crate::owner::AttachmentShared;
use crate::shared::Shared;
use crate::sink::Destination;

/// Publishes for an attachment. It gathers frames per destination; [`Publisher::flush`] takes each destination's
/// lock once and writes. Frames for one destination leave in the order in which they were published.
pub struct Publisher {
    broker: Arc<Shared>,
    attachment: Arc<AttachmentShared>,
    gatherer: Gatherer,
    /// Headers and payload of an answer, joined.
    body: Vec<u8>,
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Published {
    /// Subscriptions that took it (one per queue group).
    pub receivers: u32,
    /// A destination with more than half of `max_pending` waiting, this batch included. The message is queued all
    /// the same; stop, flush, and wait for exactly one [`crate::Sink::drained`] with this destination.
    pub congested: Option<Destination>,
}

impl Publisher {
    pub(crate) fn new(broker: Arc<Shared>, attachment: Arc<AttachmentShared>) -> Self {
        let gatherer = Gatherer::new(broker.options.max_pending, true);
        Self {
            broker,
            attachment,
            gatherer,
            body: Vec::new(),
        }
    }

    /// Publishes `payload`, the parts joined, to `subject`. Nobody gets a message whose subject or reply could not be
    /// told from the rest of a frame: such names come from clients and must not become protocol.
    pub fn publish(&mut self, subject: &[u8], reply: Option<&[u8]>, payload: &[&[u8]]) -> Published {
        self.publish_as(subject, subject, reply, payload)
    }

    /// Publishes like [`Publisher::publish`] if every destination has room, and returns how many subscriptions took it.
    ///
    /// # Errors
    /// A destination with more than half of `max_pending` waiting, what this publisher gathered for it included. Nothing was
    /// sent. Flush, and wait for exactly one [`crate::Sink::drained`] with this destination.
    pub fn publish_if_room(
        &mut self,
        subject: &[u8],
        reply: Option<&[u8]>,
        payload: &[&[u8]],
    ) -> Result<u32, Destination> {
        let origin = self.origin();
        if let Some((connection, unflushed)) = self.gatherer.full(&self.broker.routing, subject, origin)
            && connection
                .outbound
                .watch_drain(self.attachment.id, &self.attachment.sink, unflushed)
        {
            return Err(Destination(connection.id));
        }
        self.gatherer.watch_congestion(false);
        let published = self.publish(subject, reply, payload);
        self.gatherer.watch_congestion(true);
        Ok(published.receivers)
    }

    /// Delivers to whoever subscribed to `matched`, under the name of `delivered`.
    pub fn publish_as(
        &mut self,
        matched: &[u8],
        delivered: &[u8],
        reply: Option<&[u8]>,
        payload: &[&[u8]],
    ) -> Published {
        let unsafe_reply = reply.is_some_and(|reply| !subject::is_well_formed(reply));
        if unsafe_reply || (matched != delivered && !subject::is_well_formed(delivered)) {
            return Published {
                receivers: 0,
                congested: None,
            };
        }
        let message = Message {
            subject: delivered,
            reply,
            header_size: 0,
            parts: payload,
            size: payload.iter().map(|part| part.len()).sum(),
            size_text: None,
            tail: None,
        };
        self.deliver(matched, &message, Audience::All)
    }

    /// Answers a request: `headers` is a whole header block or empty, clients without headers get the payload alone.
    /// An answer reaches clients only. Its subject was chosen by whoever asked, and this process' services do what
    /// a client tells them only when it may publish to them itself.
    pub fn answer(&mut self, subject: &[u8], headers: &[u8], payload: &[u8]) -> Published {
        if !subject::is_well_formed(subject) {
            return Published {
                receivers: 0,
                congested: None,
            };
        }
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.extend_from_slice(headers);
        body.extend_from_slice(payload);
        let message = Message {
            subject,
            reply: None,
            header_size: headers.len(),
            parts: &[&body],
            size: body.len(),
            size_text: None,
            tail: None,
        };
        let published = self.deliver(subject, &message, Audience::Clients);
        if body.capacity() <= KEPT_CAPACITY_BYTES {
            self.body = body;
        }
        published
    }

    fn deliver(&mut self, matched: &[u8], message: &Message<'_>, audience: Audience) -> Published {
        let origin = Origin {
            audience,
            ..self.origin()
        };
        let receivers = self.gatherer.deliver(&self.broker.routing, matched, message, origin);
        let congested = self.gatherer.take_congested().and_then(|(connection, unflushed)| {
            connection
                .outbound
                .watch_drain(self.attachment.id, &self.attachment.sink, unflushed)
                .then_some(Destination(connection.id))
        });
        Published { receivers, congested }
    }

    /// Sends everything gathered. Destinations that do not take it at once keep it queued; nothing waits here.
    pub fn flush(&mut self) {
        let origin = self.origin();
        self.gatherer
            .finish(&self.broker.routing, &self.broker.counters, origin);
    }

    fn origin(&self) -> Origin {
        Origin {
            id: self.attachment.id,
            skip_self: true,
            audience: Audience::All,
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.flush();
    }
}
