//! Questions without an answer yet: who asked, by the number that the answer carries back.
//!
//! Numbers are never used twice in a process lifetime, so an answer that comes when nobody waits for it any more finds nobody.

use std::collections::BTreeMap;

use bytes::Bytes;
use seaway_stan_protocol::messages::SubscriptionRequest;

use crate::change::ChangeId;
use crate::ids::{ChannelId, ProbeId, Ticket};
use crate::limits::SEEKS_MAX;
use crate::registry::keys::{ChannelKey, ClientKey, CursorKey};
use crate::time::Timestamp;

/// Why a client is asked to show that it is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Heartbeat(ClientKey),
    DuplicateCheck(ClientKey),
}

/// A subscription request whose start waits for a seek.
#[derive(Debug)]
pub(crate) struct WaitingSubscribe {
    pub(crate) request: SubscriptionRequest,
    pub(crate) reply: Bytes,
    pub(crate) channel: ChannelKey,
    pub(crate) id: ChannelId,
    pub(crate) time: Timestamp,
}

/// A change that waits for a time to be found.
#[derive(Debug)]
pub(crate) struct WaitingChange {
    pub(crate) id: ChangeId,
    pub(crate) by: Bytes,
    pub(crate) is_rehearsal: bool,
    pub(crate) channel: Bytes,
    pub(crate) channel_id: ChannelId,
    /// Client, durable and queue of what is to be moved; none for a purge.
    pub(crate) reader: Option<(Bytes, Bytes, Bytes)>,
}

/// Who waits for a seek.
#[derive(Debug)]
pub(crate) enum Seeker {
    Subscribe(WaitingSubscribe),
    Change(WaitingChange),
}

/// See the module. A client has two probes at most, a cursor one read, a channel few looks; of seeks there are [`SEEKS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Questions {
    asked: u64,
    probes: BTreeMap<ProbeId, Probe>,
    reads: BTreeMap<Ticket, CursorKey>,
    /// With the sequence where each begins.
    looks: BTreeMap<Ticket, (ChannelKey, ChannelId, u64)>,
    seeks: BTreeMap<Ticket, Seeker>,
}

impl Questions {
    fn number(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// A client is asked whether it is alive.
    pub(crate) fn probe(&mut self, probe: Probe) -> ProbeId {
        let id = ProbeId(self.number());
        self.probes.insert(id, probe);
        id
    }

    /// A probe is over, answered or not.
    pub(crate) fn end_probe(&mut self, id: ProbeId) -> Option<Probe> {
        self.probes.remove(&id)
    }

    /// A cursor asks for messages.
    pub(crate) fn read(&mut self, cursor: CursorKey) -> Ticket {
        let ticket = Ticket(self.number());
        self.reads.insert(ticket, cursor);
        ticket
    }

    /// A read is over, answered or not.
    pub(crate) fn end_read(&mut self, ticket: Ticket) -> Option<CursorKey> {
        self.reads.remove(&ticket)
    }

    /// A channel looks whether damaged messages can be read again.
    pub(crate) fn look(&mut self, channel: ChannelKey, id: ChannelId, from: u64) -> Ticket {
        let ticket = Ticket(self.number());
        self.looks.insert(ticket, (channel, id, from));
        ticket
    }

    /// A look is over; none when the read was no look.
    pub(crate) fn end_look(&mut self, ticket: Ticket) -> Option<(ChannelKey, ChannelId, u64)> {
        self.looks.remove(&ticket)
    }

    /// The ticket of a seek that may be answered at once; none when too many wait already.
    pub(crate) fn seek(&mut self) -> Option<Ticket> {
        (self.seeks.len() < SEEKS_MAX).then(|| Ticket(self.number()))
    }

    /// The seek was not answered at once: a request waits for it.
    pub(crate) fn wait_for_seek(&mut self, ticket: Ticket, seeker: Seeker) {
        self.seeks.insert(ticket, seeker);
    }

    /// A seek was answered; who waited for it.
    pub(crate) fn end_seek(&mut self, ticket: Ticket) -> Option<Seeker> {
        self.seeks.remove(&ticket)
    }

    /// No seek will be answered any more: the requests that waited, in the order of their coming.
    pub(crate) fn end_all_seeks(&mut self) -> impl Iterator<Item = Seeker> + use<> {
        std::mem::take(&mut self.seeks).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::keys::SubscriptionKey;

    #[test]
    fn an_answer_finds_whoever_asked_once() {
        let mut questions = Questions::default();
        let probe = questions.probe(Probe::Heartbeat(ClientKey::at(1)));
        let ticket = questions.read(SubscriptionKey::at(2).into());
        assert_ne!(probe.0, ticket.0);
        assert_eq!(questions.end_read(Ticket(probe.0)), None);
        assert_eq!(questions.end_probe(probe), Some(Probe::Heartbeat(ClientKey::at(1))));
        assert_eq!(questions.end_probe(probe), None);
        assert_eq!(questions.end_read(ticket), Some(SubscriptionKey::at(2).into()));
        assert_eq!(questions.end_read(ticket), None);
    }

    #[test]
    fn requests_that_wait_for_a_seek_are_bounded() {
        let mut questions = Questions::default();
        for _ in 0..SEEKS_MAX {
            let ticket = questions.seek().expect("there is room");
            let waiting = WaitingSubscribe {
                request: SubscriptionRequest::default(),
                reply: Bytes::new(),
                channel: ChannelKey::at(0),
                id: ChannelId(1),
                time: Timestamp(0),
            };
            questions.wait_for_seek(ticket, Seeker::Subscribe(waiting));
        }
        assert_eq!(questions.seek(), None);
        assert_eq!(questions.end_all_seeks().count(), SEEKS_MAX);
        assert!(questions.seek().is_some());
    }
}
