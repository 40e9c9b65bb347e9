//! `read.messages`: one answer per message, at the asker's pace, and an end that says where to go on.

use std::sync::PoisonError;

use data_encoding::BASE64;
use seaway_monitor::{Answers, Refusal};
use seaway_stan_protocol::MessageView;
use seaway_streaming::Stored;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::Service;
use super::answer::{Failure, Headers};
use super::request::{Messages, Request};
use crate::bus::{Destination, Origin};
use crate::engine::{LookError, LookStart, Looked};
use crate::limits::{
    LOOK_DAMAGED_RANGES, LOOK_OVERHEAD_BYTES, LOOK_PATIENCE, LOOK_SLICE_BYTES, LOOK_SLICE_MESSAGES, LOOK_TIME_MAX,
    LOOKS_MAX, LOOKS_PER_CONNECTION_MAX,
};

/// One of the reads that are under way; over when dropped.
struct Looking<'a> {
    service: &'a Service,
    origin: Origin,
}

impl<'a> Looking<'a> {
    /// `None` when there are too many.
    fn begin(service: &'a Service, origin: Origin) -> Option<Looking<'a>> {
        let mut looking = service.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let own = looking.iter().filter(|other| **other == origin).count();
        if looking.len() >= LOOKS_MAX || own >= LOOKS_PER_CONNECTION_MAX {
            return None;
        }
        looking.push(origin);
        Some(Looking { service, origin })
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut looking = self.service.looking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = looking.iter().position(|other| *other == self.origin) {
            looking.swap_remove(place);
        }
    }
}

/// How far a read is.
struct Reading<'a> {
    request: &'a Request,
    wanted: &'a Messages,
    /// Messages sent.
    sent: u64,
    /// Bytes of messages that may still be sent.
    bytes_left: u64,
    /// Where to go on.
    next: u64,
    /// Where the channel's messages were at the latest look.
    stored: Stored,
    /// First and last of those that cannot be read and were left out.
    damaged: Vec<(u64, u64)>,
}

/// What became of a slice.
enum Sent {
    /// More may follow, when this destination has drained.
    All(Option<Destination>),
    /// There is no room for more.
    Enough,
    /// Nobody listens any more.
    InVain,
}

impl Service {
    /// Answers with messages.
    pub(super) async fn messages(&self, request: &Request, wanted: &Messages) {
        let Some(looking) = Looking::begin(self, request.origin) else {
            let reason = format!(
                "messages are being read for others: {LOOKS_MAX} at a time, {LOOKS_PER_CONNECTION_MAX} of one connection"
            );
            return self.refuse(&request.reply, &Failure::unavailable(&reason));
        };
        let outcome = self.send_messages(request, wanted).await;
        // Before the end is said: whoever hears it may ask again at once.
        drop(looking);
        match outcome {
            Ok(Some(reading)) => self.send(&request.reply, &end_of(&reading), b""),
            Ok(None) => {}
            Err(failure) => self.refuse(&request.reply, &failure),
        }
    }

    /// Sends slice by slice; how far it came, or `None` when nobody listens any more.
    async fn send_messages<'a>(
        &self,
        request: &'a Request,
        wanted: &'a Messages,
    ) -> Result<Option<Reading<'a>>, Failure> {
        let until = Instant::now() + LOOK_TIME_MAX;
        let start = wanted.from.map_or(LookStart::Newest(wanted.count), LookStart::Sequence);
        let first = self
            .look(request, wanted, start, wanted.count, wanted.bytes_max)
            .await?;
        let mut reading = Reading {
            request,
            wanted,
            sent: 0,
            bytes_left: wanted.bytes_max,
            next: first.from,
            stored: first.stored,
            damaged: Vec::new(),
        };
        let mut looked = first;
        loop {
            if let Some(range) = looked.damaged {
                if reading.damaged.len() >= LOOK_DAMAGED_RANGES {
                    return Ok(Some(reading));
                }
                reading.leave_out(range);
            } else if looked.messages.is_empty() {
                // What was there when the look began is gone, and everything before it.
                reading.next = reading.next.max(reading.stored.last.saturating_add(1));
                return Ok(Some(reading));
            }
            // From here on: what drained before says nothing about what is sent now.
            let mut drained = self.mail.drained_destinations();
            let congested = match reading.send(self, &looked)? {
                Sent::InVain => return Ok(None),
                Sent::Enough => return Ok(Some(reading)),
                Sent::All(congested) => congested,
            };
            if reading.is_complete() || Instant::now() >= until {
                return Ok(Some(reading));
            }
            if let Some(destination) = congested
                && !drain(&mut drained, destination, until.min(Instant::now() + LOOK_PATIENCE)).await
            {
                return Ok(Some(reading));
            }
            let start = LookStart::GoOn(reading.stored.channel, reading.next);
            let left = wanted.count - reading.sent;
            looked = self.look(request, wanted, start, left, reading.bytes_left).await?;
            reading.stored = looked.stored;
        }
    }

    /// The next slice, of at most so many messages and bytes.
    async fn look(
        &self,
        request: &Request,
        wanted: &Messages,
        start: LookStart,
        count: u64,
        bytes: u64,
    ) -> Result<Looked, Failure> {
        // All looks together, each with a slice more than made it wait, must not make one receiver a slow consumer.
        let share = (self.bus.max_pending() / (4 * LOOKS_MAX)) as u64;
        let beside = (LOOK_OVERHEAD_BYTES + request.reply.len() + wanted.channel.len()) as u64;
        let bytes = bytes.min(LOOK_SLICE_BYTES).min(share) as u32;
        let count = count.min(LOOK_SLICE_MESSAGES).min(share / beside).max(1) as u32;
        let looked = self.source.look(wanted.channel.as_bytes(), start, count, bytes).await;
        match looked {
            Ok(looked) => Ok(looked),
            Err(LookError::NoChannel) if matches!(start, LookStart::GoOn(..)) => {
                let channel = &wanted.channel;
                Err(Failure::not_found(&format!(
                    "channel {channel:?} was deleted while it was read"
                )))
            }
            Err(LookError::NoChannel) => {
                let len_max = self.bus.max_answer();
                let refusal = Answers::new(&*self.source, len_max).no_channel(&wanted.channel).await;
                Err(Failure::of(refusal.unwrap_or_else(Refusal::from), len_max))
            }
            Err(LookError::Unreadable(reason)) => {
                let reason = format!("the messages cannot be read from the store: {reason}");
                Err(Failure::unavailable(&reason))
            }
            Err(LookError::Unavailable(reason)) => Err(Failure::unavailable(&reason)),
        }
    }
}

impl Reading<'_> {
    /// Goes on behind what cannot be read.
    fn leave_out(&mut self, (first, last): (u64, u64)) {
        match self.damaged.last_mut() {
            Some(range) if range.1 + 1 == first => range.1 = last,
            _ => self.damaged.push((first, last)),
        }
        self.next = self.next.max(last.saturating_add(1));
    }

    fn is_complete(&self) -> bool {
        self.sent >= self.wanted.count || self.next > self.stored.last
    }

    /// Sends what was looked at, as much as is wanted.
    fn send(&mut self, service: &Service, looked: &Looked) -> Result<Sent, Failure> {
        let mut sender = service.sender();
        let mut congested = None;
        let mut outcome = None;
        for message in looked.messages.iter() {
            let bytes = message.body.len() as u64;
            if self.sent >= self.wanted.count || (self.sent > 0 && bytes > self.bytes_left) {
                self.next = message.sequence;
                outcome = Some(Sent::Enough);
                break;
            }
            let Ok(view) = MessageView::decode(message.body) else {
                sender.flush();
                let sequence = message.sequence;
                return Err(Failure::unavailable(&format!(
                    "message {sequence} in the store is not understood: read from {} on",
                    sequence.saturating_add(1)
                )));
            };
            let headers = self.headers_of(message.sequence, view.timestamp, view.reply);
            let sent = sender.answer(&self.request.reply, &headers, view.data);
            if sent.receivers == 0 {
                outcome = Some(Sent::InVain);
                break;
            }
            congested = sent.congested.or(congested);
            self.sent += 1;
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            self.next = message.sequence.saturating_add(1);
        }
        sender.flush();
        Ok(outcome.unwrap_or(Sent::All(congested)))
    }

    fn headers_of(&self, sequence: u64, timestamp: i64, reply: &[u8]) -> Vec<u8> {
        let time = jiff::Timestamp::from_nanosecond(i128::from(timestamp)).unwrap_or_default();
        let mut headers = Headers::new("NATS/1.0");
        headers.add("Seaway-Sequence", sequence);
        headers.add("Seaway-Timestamp", format_args!("{time:.9}"));
        headers.add("Seaway-Channel", &self.wanted.channel);
        match std::str::from_utf8(reply) {
            Ok("") => {}
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => headers.add("Seaway-Reply", text),
            // A header could not hold it as it is.
            _ => headers.add("Seaway-Reply-Base64", BASE64.encode(reply)),
        }
        headers.finish()
    }
}

/// The header block of the end.
fn end_of(reading: &Reading<'_>) -> Vec<u8> {
    let Stored { first, last, .. } = reading.stored;
    let mut headers = Headers::new("NATS/1.0 204 End");
    headers.add("Seaway-First", first);
    headers.add("Seaway-Last", last);
    if reading.next <= last {
        headers.add("Seaway-Next", reading.next);
    }
    if !reading.damaged.is_empty() {
        let ranges = reading.damaged.iter().map(|(first, last)| format!("{first}-{last}"));
        headers.add("Seaway-Damaged", ranges.collect::<Vec<_>>().join(","));
    }
    headers.finish()
}

/// Waits until a destination has drained; false when that takes too long.
async fn drain(drained: &mut Receiver<Destination>, destination: Destination, until: Instant) -> bool {
    let wait = async {
        loop {
            match drained.recv().await {
                Ok(other) if other != destination => {}
                // After having missed some, the next slice finds out whether there is room.
                Ok(_) | Err(RecvError::Lagged(_)) => return true,
                Err(RecvError::Closed) => return false,
            }
        }
    };
    timeout_at(until, wait).await.unwrap_or(false)
}
