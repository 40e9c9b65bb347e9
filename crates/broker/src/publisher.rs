//! Publishing from inside the process.

use std::collections::VecDeque;
use std::sync::Arc;

use seaway_nats_protocol::subject;

use crate::frame::Message;
use crate::gather::{Delivered, Gatherer, IfRoom, Unfinished};
use crate::limits::{KEPT_CAPACITY_BYTES, PUBLICATIONS_WAITING_BYTES, PUBLICATIONS_WAITING_MAX, TURN_WORK};
use crate::origin::{Audience, Origin};
use crate::owner::AttachmentShared;
use crate::shared::Shared;
use crate::sink::Destination;

/// Publishes for an attachment. It gathers frames per destination; [`Publisher::flush`] takes each destination's
/// lock once and writes. Frames for one destination leave in the order in which they were published.
///
/// A message for very many subscriptions waits, and each flush serves a slice of them, so that nobody can hold up a service by
/// subscribing to a subject very often. Such messages keep their order among themselves, and those of one subject theirs. What waits
/// when the publisher is dropped is lost, as is what finds too much waiting.
pub struct Publisher {
    broker: Arc<Shared>,
    attachment: Arc<AttachmentShared>,
    gatherer: Gatherer,
    /// Headers and payload of an answer, joined.
    body: Vec<u8>,
    waiting: Waiting,
}

/// Messages for very many, oldest first.
#[derive(Default)]
struct Waiting {
    messages: VecDeque<WaitingMessage>,
    bytes: usize,
    /// Somebody is to be told when none waits any more.
    watched: bool,
}

/// A message some of whose receivers have had it.
struct WaitingMessage {
    unfinished: Box<Unfinished>,
    audience: Audience,
    subject: Box<[u8]>,
    reply: Option<Box<[u8]>>,
    header_size: usize,
    body: Box<[u8]>,
}

impl WaitingMessage {
    fn new(unfinished: Box<Unfinished>, message: &Message<'_>, audience: Audience) -> Self {
        Self {
            unfinished,
            audience,
            subject: message.subject.into(),
            reply: message.reply.map(Box::from),
            header_size: message.header_size,
            body: message.parts.concat().into(),
        }
    }
}

impl Waiting {
    /// Returns whether there was room.
    fn push(&mut self, message: WaitingMessage) -> bool {
        let bytes = self.bytes + message.body.len();
        let has_room = self.messages.len() < PUBLICATIONS_WAITING_MAX && bytes <= PUBLICATIONS_WAITING_BYTES;
        if !has_room && !self.messages.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.messages.push_back(message);
        true
    }

    /// Whether a message to `matched` has to wait behind an earlier one.
    fn has(&self, matched: &[u8]) -> bool {
        self.messages
            .iter()
            .any(|waiting| waiting.unfinished.matched() == matched)
    }
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Published {
    /// Subscriptions that took it (one per queue group). Of very many, which take it later, one is counted.
    pub receivers: u32,
    /// A destination for which as much waits as a service may leave with it, this batch included. The message is queued all
    /// the same; stop, flush, and wait for exactly one [`crate::Sink::drained`] with this destination.
    pub congested: Option<Destination>,
}

impl Published {
    const NOTHING: Self = Self {
        receivers: 0,
        congested: None,
    };
}

impl Publisher {
    pub(crate) fn new(broker: Arc<Shared>, attachment: Arc<AttachmentShared>) -> Self {
        let gatherer = Gatherer::new(broker.options.max_pending, true);
        Self {
            broker,
            attachment,
            gatherer,
            body: Vec::new(),
            waiting: Waiting::default(),
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
    /// A destination for which as much waits as a service may leave with it, what this publisher gathered for it included: some
    /// megabytes, less when all destinations together hold much. Or this publisher itself, when they are very many and others'
    /// messages for very many still wait. Nothing was
    /// sent. Flush, and wait for exactly one [`crate::Sink::drained`] with this destination.
    pub fn publish_if_room(
        &mut self,
        subject: &[u8],
        reply: Option<&[u8]>,
        payload: &[&[u8]],
    ) -> Result<u32, Destination> {
        if reply.is_some_and(|reply| !subject::is_well_formed(reply)) {
            return Ok(0);
        }
        let message = plain_message(subject, reply, payload);
        let origin = self.origin();
        self.gatherer.watch_congestion(false);
        let outcome = if !self.waiting.messages.is_empty() && self.waiting.has(subject) {
            Err(self.watch_waiting())
        } else {
            self.deliver_if_room(subject, &message, origin)
        };
        self.gatherer.watch_congestion(true);
        outcome
    }

    fn deliver_if_room(&mut self, subject: &[u8], message: &Message<'_>, origin: Origin) -> Result<u32, Destination> {
        let routing = &self.attachment.account.routing;
        match self.gatherer.deliver_if_room(routing, subject, message, origin) {
            IfRoom::Delivered(receivers) => Ok(receivers),
            IfRoom::Full(connection, unflushed) => {
                let outbound = &connection.outbound;
                if outbound.watch_drain(self.attachment.id, &self.attachment.sink, unflushed) {
                    return Err(Destination(connection.id));
                }
                // It is closing, or has drained meanwhile.
                let delivered = self.gatherer.deliver_to_few(routing, subject, message, origin);
                Ok(self.outcome(delivered, message, Audience::All))
            }
            IfRoom::Many(_) if !self.waiting.messages.is_empty() => Err(self.watch_waiting()),
            IfRoom::Many(unfinished) => Ok(self.outcome(Delivered::InPart(unfinished), message, Audience::All)),
        }
    }

    fn watch_waiting(&mut self) -> Destination {
        self.waiting.watched = true;
        Destination(self.attachment.id)
    }

    /// Receivers of a delivery; one for very many is kept for slices.
    fn outcome(&mut self, delivered: Delivered, message: &Message<'_>, audience: Audience) -> u32 {
        match delivered {
            Delivered::To(receivers) => receivers,
            Delivered::InPart(unfinished) => {
                u32::from(self.waiting.push(WaitingMessage::new(unfinished, message, audience)))
            }
        }
    }

    /// What [`Publisher::publish_if_room`] would find, asked before there is anything to send: whether anybody subscribed to it.
    ///
    /// # Errors
    /// As there.
    pub fn has_receiver_with_room(&mut self, subject: &[u8]) -> Result<bool, Destination> {
        let origin = self.origin();
        match self.gatherer.look(&self.attachment.account.routing, subject, origin) {
            Ok(is_anybody) => Ok(is_anybody),
            Err((connection, unflushed)) => {
                let outbound = &connection.outbound;
                if outbound.watch_drain(self.attachment.id, &self.attachment.sink, unflushed) {
                    return Err(Destination(connection.id));
                }
                // It is closing, or has drained meanwhile.
                Ok(true)
            }
        }
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
            return Published::NOTHING;
        }
        self.deliver(matched, &plain_message(delivered, reply, payload), Audience::All)
    }

    /// Answers a request: `headers` is a whole header block or empty, clients without headers get the payload alone.
    /// An answer reaches clients only. Its subject was chosen by whoever asked, and this process' services do what
    /// a client tells them only when it may publish to them itself.
    pub fn answer(&mut self, subject: &[u8], headers: &[u8], payload: &[u8]) -> Published {
        if !subject::is_well_formed(subject) {
            return Published::NOTHING;
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
            queues: None,
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
        let routing = &self.attachment.account.routing;
        let delivered = if !self.waiting.messages.is_empty() && self.waiting.has(matched) {
            self.gatherer.put_off(matched)
        } else {
            self.gatherer.deliver_to_few(routing, matched, message, origin)
        };
        let receivers = self.outcome(delivered, message, audience);
        let congested = self.gatherer.take_congested().and_then(|(connection, unflushed)| {
            connection
                .outbound
                .watch_drain(self.attachment.id, &self.attachment.sink, unflushed)
                .then_some(Destination(connection.id))
        });
        Published { receivers, congested }
    }

    /// Sends everything gathered, and a slice of what waits. Destinations that do not take it at once keep it queued; nothing waits
    /// here. Returns whether everything was published to its last receiver; if not, flush again soon.
    pub fn flush(&mut self) -> bool {
        let origin = self.origin();
        if !self.waiting.messages.is_empty() {
            self.serve_waiting(origin);
        }
        self.gatherer.finish(&self.broker.counters, origin);
        self.broker.tell_news();
        let is_done = self.waiting.messages.is_empty();
        if is_done && std::mem::take(&mut self.waiting.watched) {
            self.attachment.sink.drained(Destination(self.attachment.id));
        }
        is_done
    }

    /// Flushes until everything was published to its last receiver, and lets others have the thread in between.
    pub async fn flush_all(&mut self) {
        while !self.flush() {
            tokio::task::yield_now().await;
        }
    }

    /// Whether a flush would have something to go on with.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.messages.is_empty()
    }

    fn serve_waiting(&mut self, origin: Origin) {
        let bound = self.gatherer.work() + TURN_WORK;
        self.gatherer.watch_congestion(false);
        while let Some(waiting) = self.waiting.messages.front_mut() {
            let parts: [&[u8]; 1] = [&waiting.body];
            let message = Message {
                header_size: waiting.header_size,
                ..plain_message(&waiting.subject, waiting.reply.as_deref(), &parts)
            };
            let origin = Origin {
                audience: waiting.audience,
                ..origin
            };
            let (routing, unfinished) = (&self.attachment.account.routing, &mut waiting.unfinished);
            if !self.gatherer.serve(routing, unfinished, &message, origin, bound) {
                break;
            }
            self.waiting.bytes -= waiting.body.len();
            self.waiting.messages.pop_front();
        }
        self.gatherer.watch_congestion(true);
    }

    fn origin(&self) -> Origin {
        Origin {
            id: self.attachment.id,
            skip_self: true,
            audience: Audience::All,
            is_answer: false,
            hops: 0,
        }
    }
}

fn plain_message<'a>(subject: &'a [u8], reply: Option<&'a [u8]>, payload: &'a [&'a [u8]]) -> Message<'a> {
    Message {
        subject,
        reply,
        header_size: 0,
        parts: payload,
        size: payload.iter().map(|part| part.len()).sum(),
        size_text: None,
        tail: None,
        queues: None,
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.flush();
    }
}
