//! The engine's effects, performed on a store and on the broker.
//!
//! This is the one place that refuses to let anything out before it is durable.

use seaway_broker::Publisher;
use seaway_store::{Lookup, Store};
use seaway_streaming::{
    Admission, ChannelId, Delivered, Delivery, Destination, Effects, Event, Head, Need, Position, ProbeId, ReadRequest,
    Seek, Source, Ticket, Urgency,
};

/// The varint fields that mark a redelivery: `redelivered = true`, `redeliveryCount = n` (§2.3 MsgProto 6, 7).
const REDELIVERY_BYTES_MAX: usize = 8;

/// A store and a bus.
pub(crate) struct World {
    pub(super) store: Box<dyn Store>,
    pub(super) publisher: Publisher,
    /// `_INBOX.<prefix>.p.`: where clients answer probes.
    probe_prefix: Vec<u8>,
    /// Probes that nobody listens for; told to the engine after the call that sent them.
    pub(super) unheard: Vec<ProbeId>,
    /// The last position appended.
    pub(crate) appended: Position,
    /// The running checkpoint has all its facts.
    pub(super) checkpoint_written: bool,
    /// Why the store refused the last ordinary append it was asked for; for monitoring.
    pub(super) refusing: Option<String>,
    scratch: Vec<u8>,
}

impl World {
    pub(crate) fn new(store: Box<dyn Store>, publisher: Publisher) -> World {
        World {
            store,
            publisher,
            probe_prefix: Vec::new(),
            unheard: Vec::new(),
            appended: Position(0),
            checkpoint_written: false,
            refusing: None,
            scratch: Vec::with_capacity(REDELIVERY_BYTES_MAX),
        }
    }

    /// Where clients answer probes; known once the engine has started.
    pub(crate) fn set_probe_prefix(&mut self, prefix: String) {
        self.probe_prefix = prefix.into_bytes();
    }

    /// Nothing leaves before it is durable.
    fn assert_durable(&self, depends_on: Position) {
        let durable = self.store.durable();
        assert!(
            depends_on <= durable,
            "an output that depends on position {} was about to leave at durable position {}",
            depends_on.0,
            durable.0
        );
    }
}

impl Effects for World {
    fn append_message(&mut self, channel: ChannelId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        self.appended = self.store.append_message(channel, sequence, timestamp, body);
        self.appended
    }

    fn append_fact(&mut self, kind: u8, body: &[u8], urgency: Urgency) -> Position {
        self.appended = self.store.append_fact(kind, body, urgency);
        self.appended
    }

    fn trim(&mut self, channel: ChannelId, first: u64) -> Position {
        self.appended = self.store.trim(channel, first);
        self.appended
    }

    fn delete_channel(&mut self, channel: ChannelId) -> Position {
        self.appended = self.store.delete_channel(channel);
        self.appended
    }

    fn admission(&mut self, need: Need, bytes: usize) -> Admission {
        let admission = self.store.admission(need, bytes);
        if need == Need::Ordinary {
            match &admission {
                Ok(()) => self.refusing = None,
                Err(refusal) => self.refusing = Some(refusal.to_string()),
            }
        }
        admission
    }

    fn head(&mut self, channel: ChannelId) -> Head {
        self.store.head(channel)
    }

    fn head_from(&mut self, channel: ChannelId, from: u64) -> Head {
        self.store.head_from(channel, from)
    }

    fn seek(&mut self, ticket: Ticket, channel: ChannelId, timestamp: i64) -> Seek {
        self.store.seek(ticket, channel, timestamp)
    }

    fn read(&mut self, request: ReadRequest) {
        self.store.read(request);
    }

    fn reply(&mut self, depends_on: Position, subject: &[u8], payload: &[u8]) {
        self.assert_durable(depends_on);
        if !subject.is_empty() {
            // An answer that nobody waits for any more is nobody's loss.
            let _ = self.publisher.publish(subject, None, &[payload]);
        }
    }

    fn deliver(&mut self, depends_on: Position, delivery: Delivery<'_>, source: Source<'_>) -> Delivered {
        self.assert_durable(depends_on);
        let body = match source {
            Source::Body(body) => body,
            Source::Store => match self.store.message(delivery.channel, delivery.sequence) {
                Lookup::Hot(body) => body,
                Lookup::Cold => return Delivered::Cold,
                Lookup::Missing => return Delivered::Missing,
            },
        };
        self.scratch.clear();
        if delivery.redelivery_count > 0 {
            seaway_stan_protocol::append_redelivery(&mut self.scratch, delivery.redelivery_count);
        }
        let published = self.publisher.publish(delivery.inbox, None, &[body, &self.scratch]);
        Delivered::Sent {
            bytes: u32::try_from(body.len() + self.scratch.len()).unwrap_or(u32::MAX),
            congested: published.congested.map(|destination| Destination(destination.0)),
        }
    }

    fn probe(&mut self, inbox: &[u8], probe: ProbeId) {
        let mut reply = self.probe_prefix.clone();
        reply.extend_from_slice(probe.0.to_string().as_bytes());
        if self.publisher.publish(inbox, Some(&reply), &[]).receivers == 0 {
            self.unheard.push(probe);
        }
    }

    fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) {
        self.store.checkpoint_fact(kind, body);
    }

    fn checkpoint_complete(&mut self) {
        self.checkpoint_written = true;
    }

    fn event(&mut self, event: Event<'_>) {
        crate::events::log(event);
    }
}
