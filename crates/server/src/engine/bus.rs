//! The bus inside this process: the engine's messages go to the broker.

use seaway_broker::Publisher;
use seaway_streaming::{Bus, Carried, Delivery, Destination, ProbeId};

/// Sends through the engine's attachment to the broker.
pub(crate) struct LocalBus {
    publisher: Publisher,
    /// `_INBOX.<prefix>.p.`: where clients answer probes.
    probe_prefix: Vec<u8>,
    /// Probes that nobody listens for; told to the engine after the call that sent them.
    unheard: Vec<ProbeId>,
}

impl LocalBus {
    pub(crate) fn new(publisher: Publisher) -> LocalBus {
        LocalBus {
            publisher,
            probe_prefix: Vec::new(),
            unheard: Vec::new(),
        }
    }

    /// Where clients answer probes; known once the engine has started.
    pub(crate) fn set_probe_prefix(&mut self, prefix: String) {
        self.probe_prefix = prefix.into_bytes();
    }

    /// The next probe that nobody listens for.
    pub(super) fn take_unheard(&mut self) -> Option<ProbeId> {
        self.unheard.pop()
    }

    /// Hands what was sent to the receivers.
    pub(super) fn flush(&mut self) {
        self.publisher.flush();
    }
}

impl Bus for LocalBus {
    fn reply(&mut self, subject: &[u8], payload: &[u8]) {
        let _ = self.publisher.publish(subject, None, &[payload]);
    }

    fn deliver(&mut self, delivery: Delivery<'_>, parts: [&[u8]; 2]) -> Carried {
        let published = self.publisher.publish(delivery.inbox, None, &parts);
        Carried::Sent {
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
}
