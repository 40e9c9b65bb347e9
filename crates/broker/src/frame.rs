//! A message as one receiver gets it (core specification §1.9).

use seaway_nats_protocol::route::{write_route_message_prefix, write_route_message_rest};
use seaway_nats_protocol::write::{
    LINE_END, write_header_message, write_message, write_message_prefix, write_message_size,
};

use crate::connection::Connection;
use crate::limits::BYTES_PER_WORK;
use crate::owner::Subscription;

/// What is delivered.
pub(crate) struct Message<'a> {
    /// Subject the receivers see.
    pub(crate) subject: &'a [u8],
    pub(crate) reply: Option<&'a [u8]>,
    /// Headers at the front of the body. Not 0 only when the body is one part.
    pub(crate) header_size: usize,
    /// Headers and payload, to be joined.
    pub(crate) parts: &'a [&'a [u8]],
    pub(crate) size: usize,
    /// The client's spelling of the size, if it came from one.
    pub(crate) size_text: Option<&'a [u8]>,
    /// Everything behind the sid, ready to be copied.
    pub(crate) tail: Option<&'a [u8]>,
    /// The queue groups that may have it, in ascending order, when another server has chosen them; else all.
    pub(crate) queues: Option<&'a [&'a [u8]]>,
}

impl Message<'_> {
    /// The same under another subject.
    pub(crate) fn renamed<'a>(&'a self, subject: &'a [u8]) -> Message<'a> {
        Message { subject, ..*self }
    }

    /// The same in another account, where it is for everybody whom nobody else has chosen.
    pub(crate) fn moved<'a>(&'a self, subject: &'a [u8], reply: Option<&'a [u8]>) -> Message<'a> {
        Message {
            subject,
            reply,
            tail: None,
            queues: None,
            ..*self
        }
    }

    /// Work of giving it to one receiver.
    pub(crate) fn work(&self) -> u64 {
        1 + (self.size / BYTES_PER_WORK) as u64
    }

    /// Appends the frame for one subscription of a client, which begins with `prefix` when that was prepared. Returns the bytes of
    /// headers and payload in it: clients that know no headers get the payload alone.
    #[inline]
    pub(crate) fn append(
        &self,
        buffer: &mut Vec<u8>,
        sid: &[u8],
        prefix: Option<&[u8]>,
        takes_headers: impl FnOnce() -> bool,
    ) -> usize {
        if self.header_size == 0 {
            match prefix {
                Some(prefix) => buffer.extend_from_slice(prefix),
                None => write_message_prefix(buffer, self.subject, sid),
            }
            append_tail(buffer, self);
        } else if takes_headers() {
            append_with_headers(buffer, sid, self);
        } else {
            let size = self.size - self.header_size;
            write_message(buffer, self.subject, sid, self.reply, size);
            for part in self.parts {
                buffer.extend_from_slice(&part[self.header_size..]);
            }
            buffer.extend_from_slice(LINE_END);
            return size;
        }
        self.size
    }

    /// Appends the frame for another server, which gives it to its own plain subscribers of `account` and to one member of each of
    /// `queues` (§4.5).
    /// Returns the bytes of headers and payload in it.
    pub(crate) fn append_crossing<'q>(
        &self,
        buffer: &mut Vec<u8>,
        account: &[u8],
        queues: impl Iterator<Item = &'q [u8]>,
        takes_headers: bool,
    ) -> usize {
        let mut queues = queues.peekable();
        let with_headers = self.header_size > 0 && takes_headers;
        write_route_message_prefix(buffer, account, self.subject, with_headers);
        let is_whole = with_headers || self.header_size == 0;
        if let (Some(tail), true, None) = (self.tail, is_whole, queues.peek()) {
            buffer.extend_from_slice(tail);
            return self.size;
        }
        let left_out = if is_whole { 0 } else { self.header_size };
        let size = self.size - left_out;
        write_route_message_rest(
            buffer,
            self.reply,
            queues,
            with_headers.then_some(self.header_size),
            size,
        );
        for part in self.parts {
            // Headers are there only when the body is one part.
            buffer.extend_from_slice(&part[left_out..]);
        }
        buffer.extend_from_slice(LINE_END);
        size
    }
}

pub(crate) fn trace_frame(connection: &Connection, subscription: &Subscription, message: &Message<'_>, size: usize) {
    let text = String::from_utf8_lossy;
    let reply = message
        .reply
        .map(|reply| format!("{} ", text(reply)))
        .unwrap_or_default();
    tracing::trace!(
        "{} - cid:{} - ->> [MSG {} {} {reply}{size}]",
        connection.peer,
        connection.id,
        text(message.subject),
        text(subscription.sid())
    );
}

fn append_tail(buffer: &mut Vec<u8>, message: &Message<'_>) {
    if let Some(tail) = message.tail {
        buffer.extend_from_slice(tail);
        return;
    }
    match message.size_text {
        None => write_message_size(buffer, message.reply, message.size),
        Some(text) => {
            append_reply(buffer, message.reply);
            buffer.extend_from_slice(text);
            buffer.extend_from_slice(LINE_END);
        }
    }
    for part in message.parts {
        buffer.extend_from_slice(part);
    }
    buffer.extend_from_slice(LINE_END);
}

fn append_reply(buffer: &mut Vec<u8>, reply: Option<&[u8]>) {
    if let Some(reply) = reply {
        buffer.extend_from_slice(reply);
        buffer.push(b' ');
    }
}

fn append_with_headers(buffer: &mut Vec<u8>, sid: &[u8], message: &Message<'_>) {
    match message.tail {
        Some(tail) => {
            buffer.push(b'H');
            write_message_prefix(buffer, message.subject, sid);
            buffer.extend_from_slice(tail);
        }
        None => {
            write_header_message(
                buffer,
                message.subject,
                sid,
                message.reply,
                message.header_size,
                message.size,
            );
            for part in message.parts {
                buffer.extend_from_slice(part);
            }
            buffer.extend_from_slice(LINE_END);
        }
    }
}
