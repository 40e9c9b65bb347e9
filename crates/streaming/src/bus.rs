//! What the engine can ask of whatever carries messages: the port to the bus, and its words.
//!
//! The engine knows subjects, never connections: a client may sit on this server, or behind others.

use crate::change::{ChangeId, Changed, Unchanged};
use crate::ids::{ChannelId, ProbeId};

/// Where the bus queues messages for one receiver; opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(pub u64);

impl Destination {
    /// Receivers that were there before a restart and are expected back: whoever waits for it is told that somebody came by
    /// [`Input::Drained`](crate::Input::Drained), and that nobody else will by [`Input::Gone`](crate::Input::Gone).
    pub const AWAITED: Destination = Destination(u64::MAX);
}

/// One message on its way to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The channel that holds it.
    pub channel: ChannelId,
    /// Its sequence.
    pub sequence: u64,
    /// The subscription's number, unique for the life of the store.
    pub subscription: u64,
    /// Its delivery inbox.
    pub inbox: &'a [u8],
    /// 0 for a first delivery, else the redelivery count to append (`streaming-protocol.md` §2.3 MsgProto 6, 7).
    pub redelivery_count: u32,
}

/// What the bus made of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It is on its way.
    Sent,
    /// Nothing was sent: the receiver's queue has no room, or it is awaited. Nothing should be sent to this subscription until
    /// [`Input::Drained`](crate::Input::Drained) or [`Input::Gone`](crate::Input::Gone) names that destination.
    Congested(Destination),
    /// It was lost: nobody listens there.
    Unheard,
    /// Nothing was sent: the bus is down.
    Unreachable,
}

/// The port to the bus. Messages for one receiver leave in the order of the calls. Whether something may leave at all is decided
/// before it gets here.
pub trait Bus {
    /// Sends a reply; one that nobody waits for any more is nobody's loss.
    fn reply(&mut self, subject: &[u8], payload: &[u8]);

    /// Sends a reply that rests on no record of its own, a refusal most often: true only as long as no other engine serves in this
    /// one's place. It may be dropped when that is not sure; whoever asked asks again.
    fn answer(&mut self, subject: &[u8], payload: &[u8]) {
        self.reply(subject, payload);
    }

    /// Sends one message to a subscription: the concatenation of the parts.
    fn deliver(&mut self, delivery: Delivery<'_>, parts: [&[u8]; 2]) -> Carried;

    /// What is known to become of a delivery before its bytes are there; none when it has to be tried.
    fn foresee(&mut self, delivery: Delivery<'_>) -> Option<Carried> {
        let _ = delivery;
        None
    }

    /// Sends an empty request to a client's heartbeat inbox; answered by `ProbeAnswered`, `ProbeUnheard` or nothing.
    fn probe(&mut self, inbox: &[u8], probe: ProbeId);

    /// What arrives on this literal subject from now on are acks of the subscription with this number: it comes as
    /// [`Input::Ack`](crate::Input::Ack). What is sent after this call may be answered there.
    fn listen(&mut self, subject: &[u8], subscription: u64);

    /// The end of that; what was on its way may still come.
    fn unlisten(&mut self, subscription: u64);

    /// Tells whoever asked for a change what came of it, and whether that is recorded. What is not may be what only a server thinks
    /// that was replaced.
    fn changed(&mut self, change: ChangeId, outcome: Result<Changed, Unchanged>, is_recorded: bool) {
        let _ = (change, outcome, is_recorded);
    }
}

/// A bus with nobody on it, for an engine that is only looked at: everybody is still expected, and nothing is sent.
#[derive(Clone, Copy, Debug)]
pub struct Silence;

impl Bus for Silence {
    fn reply(&mut self, _: &[u8], _: &[u8]) {}
    fn deliver(&mut self, _: Delivery<'_>, _: [&[u8]; 2]) -> Carried {
        Carried::Congested(Destination::AWAITED)
    }
    fn probe(&mut self, _: &[u8], _: ProbeId) {}
    fn listen(&mut self, _: &[u8], _: u64) {}
    fn unlisten(&mut self, _: u64) {}
}
