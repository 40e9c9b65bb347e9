//! What comes from the server: always read, handed to parties in batches as it came.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use seaway_nats_protocol::limits::{ROUTE_PAYLOAD_MAX, SERVER_LINE_MAX};
use seaway_nats_protocol::write::{LINE_END, PONG, write_publish};
use seaway_nats_protocol::{
    Delivered, ParseLimits, Parsed, ServerInfo, ServerOperation, parse_server_operation, subject,
};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::allowance::Allowance;
use super::connection::read_info;
use super::link::{Link, Matter};
use super::party::Party;
use super::registry::Registry;
use super::servers::Servers;
use crate::bus::words::{Batch, Message, Origin};
use crate::limits::{EXTERNAL_KEPT_BYTES_MAX, EXTERNAL_READ_BYTES};

/// Characters of a complaint of the server that are kept and told.
const COMPLAINT_CHARS_MAX: usize = 256;

/// Whoever published is somewhere behind the servers.
const SOMEBODY: Origin = Origin(0);

const LIMITS: ParseLimits = ParseLimits {
    max_control_line: SERVER_LINE_MAX,
    max_payload: ROUTE_PAYLOAD_MAX,
    headers: true,
};

/// See the module.
pub(super) struct Reading<'a> {
    link: &'a Arc<Link>,
    servers: &'a mut Servers,
    /// The question behind everything that is wanted, until it is answered.
    joined: Option<u64>,
    /// There was a connection before.
    is_again: bool,
    buffer: Vec<u8>,
    /// How much of the buffer was taken in.
    taken: usize,
    batches: Batches,
    /// The last complaint of the server.
    complaint: Option<String>,
    /// Of changes of its cluster.
    allowance: Allowance,
}

/// What has come for each party since the last hand-over.
#[derive(Default)]
struct Batches {
    open: Vec<(Arc<Party>, Option<Batch>)>,
    /// Answers to messages that were not taken.
    refusals: Vec<u8>,
    refused: u64,
    messages: u64,
    bytes: u64,
}

/// An operation that is no message.
enum Control {
    Ping,
    Pong,
    Info(Box<ServerInfo>),
    Error(String),
}

impl<'a> Reading<'a> {
    /// Reads for a connection, `rest` first, that carries messages once the question `joined` is answered.
    pub(super) fn new(
        link: &'a Arc<Link>,
        servers: &'a mut Servers,
        (joined, is_again): (u64, bool),
        rest: Vec<u8>,
    ) -> Reading<'a> {
        Reading {
            link,
            servers,
            joined: Some(joined),
            is_again,
            buffer: rest,
            taken: 0,
            batches: Batches::default(),
            complaint: None,
            allowance: Allowance::new(Instant::now()),
        }
    }

    /// Reads to the end of the connection; why it ended.
    pub(super) async fn run(&mut self, mut reader: impl AsyncRead + Unpin) -> String {
        loop {
            let needed = match self.take_in() {
                Ok(needed) => needed,
                Err(reason) => return reason,
            };
            self.make_room(needed);
            match reader.read_buf(&mut self.buffer).await {
                Ok(0) => return self.ending("the server closed the connection"),
                Ok(_) => {}
                Err(error) => return self.ending(&error.to_string()),
            }
        }
    }

    /// Its last words are the reason, if it had any.
    fn ending(&mut self, otherwise: &str) -> String {
        self.complaint.take().unwrap_or_else(|| otherwise.to_owned())
    }

    fn make_room(&mut self, needed: usize) {
        self.buffer.drain(..std::mem::take(&mut self.taken));
        if self.buffer.is_empty() && self.buffer.capacity() > EXTERNAL_KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        let missing = needed.saturating_sub(self.buffer.len());
        self.buffer.reserve(missing.max(EXTERNAL_READ_BYTES));
    }

    /// Takes in everything that is whole; how many bytes the next operation has, as far as that is known.
    fn take_in(&mut self) -> Result<usize, String> {
        loop {
            let outcome = self.messages();
            self.hand_over();
            match outcome? {
                Ok(control) => self.control(control),
                Err(needed) => return Ok(needed),
            }
        }
    }

    /// Gathers messages up to the next operation of another kind, or as many as there are.
    fn messages(&mut self) -> Result<Result<Control, usize>, String> {
        let registry = self.link.registry();
        loop {
            let parsed = parse_server_operation(&self.buffer[self.taken..], &LIMITS);
            let (operation, consumed) = match parsed {
                Ok(Parsed::Operation { operation, consumed }) => (operation, consumed),
                Ok(Parsed::Incomplete { needed }) => return Ok(Err(needed)),
                Err(error) => return Err(format!("it does not speak NATS: {error}")),
            };
            let control = match operation {
                ServerOperation::Message(message) => {
                    self.batches.add(&registry, &message);
                    None
                }
                ServerOperation::Ok => None,
                ServerOperation::Ping => Some(Control::Ping),
                ServerOperation::Pong => Some(Control::Pong),
                ServerOperation::Info(json) => {
                    let info = read_info(json).map_err(|error| error.to_string())?;
                    Some(Control::Info(Box::new(info)))
                }
                ServerOperation::Error(text) => Some(Control::Error(String::from_utf8_lossy(text).into_owned())),
            };
            self.taken += consumed;
            if let Some(control) = control {
                return Ok(Ok(control));
            }
        }
    }

    /// Hands what was gathered to the parties.
    fn hand_over(&mut self) {
        for (party, batch) in self.batches.open.drain(..) {
            if let Some(batch) = batch {
                party.listener.deliver(batch);
            }
        }
        let traffic = self.link.traffic();
        traffic
            .in_messages
            .fetch_add(std::mem::take(&mut self.batches.messages), Ordering::Relaxed);
        traffic
            .in_bytes
            .fetch_add(std::mem::take(&mut self.batches.bytes), Ordering::Relaxed);
        let refused = std::mem::take(&mut self.batches.refused);
        if refused > 0 {
            traffic.refused.fetch_add(refused, Ordering::Relaxed);
            self.link.send(&mut self.batches.refusals, refused);
            if self.link.may_tell(Matter::Refused) {
                tracing::warn!(
                    target: "stream",
                    "The streaming engine does not keep up: {refused} publish(es) and what follows are refused"
                );
            }
        }
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Ping => self.link.say(PONG),
            Control::Pong => self.heard(),
            Control::Info(info) => self.info(&info),
            Control::Error(text) => self.complain(text),
        }
    }

    /// A question was answered.
    fn heard(&mut self) {
        let number = self.link.heard();
        if let (Some(joined), Some(number)) = (self.joined, number)
            && number >= joined
        {
            self.joined = None;
            self.link.rise(self.is_again);
        }
    }

    /// The server says how it is now.
    fn info(&mut self, info: &ServerInfo) {
        let before = self.link.max_payload();
        let url = self.link.snapshot().url;
        let is_changed = self.link.learn(&url, info);
        self.servers.learn(&info.connect_urls);
        if info.ldm {
            tracing::info!(target: "stream", "The NATS server {url} is about to leave");
        }
        let after = self.link.max_payload();
        if after < before {
            tracing::warn!(target: "stream", "The NATS server {url} takes messages of {after} bytes at most from now on");
        }
        let is_told = self.link.registry().is_told_up;
        if !is_changed || !is_told {
            return;
        }
        if self.allowance.take(Instant::now()) {
            self.link.tell(true);
        } else {
            self.link.count_change();
        }
    }

    /// The server complains; some complaints are followed by the end of the connection.
    fn complain(&mut self, text: String) {
        let text: String = text.chars().take(COMPLAINT_CHARS_MAX).collect();
        let is_refusal = [
            "permissions violation",
            "maximum subscriptions exceeded",
            "invalid subject",
        ]
        .iter()
        .any(|begin| text.to_ascii_lowercase().starts_with(begin));
        if is_refusal {
            self.link.refused(&text);
        }
        if self.link.may_tell(Matter::Complaint) {
            let name = self.link.name();
            tracing::error!(target: "stream", "Asynchronous error on connection \"{name}\": nats: {text}");
        }
        if !is_refusal {
            self.complaint = Some(text);
        }
    }
}

impl Batches {
    fn add(&mut self, registry: &Registry, message: &Delivered<'_>) {
        self.messages += 1;
        self.bytes += message.body.len() as u64;
        // What was on its way for a subscription that has ended is nobody's.
        let Some(wanted) = number(message.sid).and_then(|sid| registry.find(sid)) else {
            return;
        };
        if wanted.holdable && wanted.party.is_closed.load(Ordering::Acquire) {
            return self.refuse(&wanted.party, wanted.tag, message);
        }
        let place = self.open.iter().position(|(party, _)| party.id == wanted.party.id);
        let place = place.unwrap_or_else(|| {
            self.open.push((Arc::clone(&wanted.party), None));
            self.open.len() - 1
        });
        let batch = &mut self.open[place].1;
        let begun = batch.take().unwrap_or_else(|| Batch::from_origin(SOMEBODY));
        let (subject, reply) = (message.subject, message.reply);
        *batch = Some(begun.with_headers(wanted.tag, subject, reply, message.header_size, message.body));
    }

    /// A party is behind, and who publishes cannot be held back.
    fn refuse(&mut self, party: &Party, tag: u64, message: &Delivered<'_>) {
        self.refused += 1;
        let Some(reply) = message.reply.filter(|reply| subject::is_literal(reply)) else {
            return;
        };
        let answer = party.listener.refusal(&Message {
            tag,
            subject: message.subject,
            reply: message.reply,
            headers: message.headers(),
            payload: message.payload(),
        });
        if let Some(answer) = answer {
            write_publish(&mut self.refusals, reply, None, answer.len());
            self.refusals.extend_from_slice(&answer);
            self.refusals.extend_from_slice(LINE_END);
        }
    }
}

/// The number that a subscription was named with.
fn number(sid: &[u8]) -> Option<u64> {
    std::str::from_utf8(sid).ok()?.parse().ok()
}
