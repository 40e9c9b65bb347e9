//! What the engine speaks through: a store, a bus and a log.
//!
//! Records go to the store as they are. What leaves passes here, the one place that refuses to let anything out before it is
//! durable.

use seaway_stan_protocol::{REDELIVERY_LEN_MAX, redelivery_fields};

use crate::bus::{Bus, Carried, Delivery, Destination};
use crate::change::{ChangeId, Changed, Unchanged};
use crate::event::Event;
use crate::input::ProbeId;
use crate::records::{Lookup, Position, Records};

/// Where a delivery's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The store's memory, if the message is still there.
    Store,
    /// The body, as an answered read gave it.
    Body(&'a [u8]),
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is on its way: so many bytes of an encoded MsgProto.
    Sent(u32),
    /// Nothing was sent: the receiver's queue has no room. Nothing should be sent to this subscription until
    /// [`Input::Drained`](crate::Input::Drained) names that destination.
    Congested(Destination),
    /// It was lost, or would have been: nobody listens there. So many bytes of an encoded MsgProto, 0 when it was not built.
    Unheard(u32),
    /// Nothing was sent: the message is not in memory, use [`Records::read`](crate::Records::read).
    Cold,
    /// Nothing was sent: the message does not exist (any more).
    Missing,
    /// Nothing was sent: the bus is down.
    Unreachable,
}

/// Where the engine's lines for the log go.
pub trait Events {
    /// One line.
    fn event(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>)> Events for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}

/// Everything the engine may act on during one call. Calls happen in the order in which the engine wants their outcome seen.
pub struct Effects<'a> {
    pub(crate) records: &'a mut dyn Records,
    /// Private, so that nothing leaves past the assertion.
    bus: &'a mut dyn Bus,
    events: &'a mut dyn Events,
}

impl<'a> Effects<'a> {
    /// A store, a bus and a log.
    #[inline]
    pub fn new(records: &'a mut dyn Records, bus: &'a mut dyn Bus, events: &'a mut dyn Events) -> Effects<'a> {
        Effects { records, bus, events }
    }

    /// Nothing leaves before it is durable.
    fn assert_durable(&self, depends_on: Position) {
        let durable = self.records.durable();
        assert!(
            depends_on <= durable,
            "an output that depends on position {} was about to leave at durable position {}",
            depends_on.0,
            durable.0
        );
    }

    /// Sends a reply that depends on a position; 0 waits for nothing.
    pub(crate) fn reply(&mut self, depends_on: Position, subject: &[u8], payload: &[u8]) {
        self.assert_durable(depends_on);
        if !subject.is_empty() {
            self.bus.reply(subject, payload);
        }
    }

    /// Sends a reply to a request that appended nothing; see [`Bus::answer`].
    pub(crate) fn answer(&mut self, depends_on: Position, subject: &[u8], payload: &[u8]) {
        self.assert_durable(depends_on);
        if !subject.is_empty() {
            self.bus.answer(subject, payload);
        }
    }

    /// Sends one message to a subscription.
    pub(crate) fn deliver(&mut self, depends_on: Position, delivery: Delivery<'_>, source: Source<'_>) -> Delivered {
        self.assert_durable(depends_on);
        let body = match source {
            Source::Body(body) => body,
            Source::Store => match self.records.message(delivery.channel, delivery.sequence) {
                Lookup::Hot(body) => body,
                // What nobody can take is not read from the disk.
                Lookup::Cold => {
                    return self
                        .bus
                        .foresee(delivery)
                        .map_or(Delivered::Cold, |known| delivered(known, 0));
                }
                Lookup::Missing => return Delivered::Missing,
            },
        };
        let mut buffer = [0; REDELIVERY_LEN_MAX];
        let redelivery = redelivery_fields(delivery.redelivery_count, &mut buffer);
        delivered(
            self.bus.deliver(delivery, [body, redelivery]),
            body.len() + redelivery.len(),
        )
    }

    /// Sends a probe; it depends on nothing.
    pub(crate) fn probe(&mut self, inbox: &[u8], probe: ProbeId) {
        self.bus.probe(inbox, probe);
    }

    /// Acks of the subscription are taken on this subject from now on; depends on nothing, because nobody knows the subject
    /// before the reply that tells of it.
    pub(crate) fn listen(&mut self, subject: &[u8], subscription: u64) {
        self.bus.listen(subject, subscription);
    }

    /// They are not any more.
    pub(crate) fn unlisten(&mut self, subscription: u64) {
        self.bus.unlisten(subscription);
    }

    /// Tells what came of a change, once that is durable.
    pub(crate) fn changed(&mut self, depends_on: Position, change: ChangeId, outcome: Result<Changed, Unchanged>) {
        self.assert_durable(depends_on);
        let is_recorded = depends_on > Position(0);
        self.bus.changed(change, outcome, is_recorded);
    }

    /// A line for the log.
    pub(crate) fn event(&mut self, event: Event<'_>) {
        self.events.event(event);
    }
}

/// What the bus made of a delivery of so many bytes.
fn delivered(carried: Carried, bytes: usize) -> Delivered {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    match carried {
        Carried::Sent => Delivered::Sent(bytes),
        Carried::Unheard => Delivered::Unheard(bytes),
        Carried::Congested(destination) => Delivered::Congested(destination),
        Carried::Unreachable => Delivered::Unreachable,
    }
}
