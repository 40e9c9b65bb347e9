//! What can happen to the engine.

use crate::bus::Destination;
use crate::change::Asked;
pub use crate::ids::{ChannelId, ProbeId, Ticket};
use crate::records::{Position, Unreadable};

/// The service subjects (`streaming-protocol.md` §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// `_STAN.discover.<cid>`: ConnectRequest.
    Connect,
    /// `_STAN.discover.<cid>.pings`: Ping.
    Ping,
    /// `_STAN.pub.<cid>.>`: PubMsg.
    Publish,
    /// `_STAN.sub.<cid>`: SubscriptionRequest.
    Subscribe,
    /// `_STAN.unsub.<cid>`: UnsubscribeRequest that forgets a durable.
    Unsubscribe,
    /// `_STAN.subclose.<cid>`: UnsubscribeRequest that keeps a durable.
    SubscriptionClose,
    /// `_STAN.close.<cid>`: CloseRequest.
    Close,
}

/// A message as it lies in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredMessage<'a> {
    /// Sequence in its channel, from 1.
    pub sequence: u64,
    /// Nanoseconds since the Unix epoch, as stored.
    pub timestamp: i64,
    /// The encoded MsgProto without redelivery fields.
    pub body: &'a [u8],
}

/// One thing that happens to the engine. Everything borrowed lives for the call only.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A message on a service subject. An empty `reply` means that the sender waits for nothing.
    Request {
        /// Which service.
        service: Service,
        /// The NATS reply subject, empty when absent.
        reply: &'a [u8],
        /// The undecoded request.
        payload: &'a [u8],
    },
    /// A message on a subscription's ack inbox; see [`Bus::listen`](crate::Bus::listen).
    Ack {
        /// The subscription's number.
        subscription: u64,
        /// The undecoded Ack.
        payload: &'a [u8],
    },
    /// A client answered a probe, with any payload.
    ProbeAnswered(ProbeId),
    /// The bus found nobody listening on the probe's inbox (no responders).
    ProbeUnheard(ProbeId),
    /// Everything appended up to this position is durable. Releases what waited for it.
    Durable(Position),
    /// The store failed for good; nothing appended after the last [`Input::Durable`] will become durable.
    Poisoned,
    /// Answer to [`Records::read`](crate::Records::read): messages in ascending sequence, possibly fewer than asked for;
    /// empty when none of the range exists any more. What lies before a damaged message comes without it.
    Read {
        /// The request's ticket.
        ticket: Ticket,
        /// `Err` says which messages cannot be read, and why.
        messages: Result<&'a [StoredMessage<'a>], &'a Unreadable>,
    },
    /// Answer to a seek that could not be answered at once: the first sequence whose timestamp is not below the one
    /// asked for, or last + 1.
    Sought {
        /// The request's ticket.
        ticket: Ticket,
        /// `Err` carries the reason.
        sequence: Result<u64, &'a str>,
    },
    /// [`Records::head`](crate::Records::head) said `Reading` earlier and knows now.
    HeadKnown(ChannelId),
    /// A congested destination has drained, or has gone.
    Drained(Destination),
    /// Nobody comes to a destination any more: what a queue member there was to be sent again goes to others of its group.
    Gone(Destination),
    /// The bus can carry messages again, or does so on other ways: for a moment nobody is judged by what is missing.
    BusUp,
    /// The bus is down: nothing can be delivered, and until it is back nobody is judged.
    BusDown,
    /// An operator asks for a change.
    Change(Asked<'a>),
    /// A deadline of [`Engine::next_deadline`](crate) has passed.
    Tick,
    /// The end of one pass over everything that waited: sent and acknowledged ranges are written down now, and bounded
    /// work that was left over continues.
    EndOfPass,
    /// Write the next slice of the running checkpoint.
    CheckpointStep,
}
