//! What a party has in its hands: the place at the connection, and the gate by which publishers to it are kept off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use seaway_nats_protocol::subject;

use super::link::Link;
use super::party::Party;
use super::sender::Sender;
use crate::bus::words::{InvalidSubject, Listener};

/// A party. Dropping it removes its subscriptions and opens its gate.
pub struct Attachment {
    link: Arc<Link>,
    party: Arc<Party>,
}

impl Attachment {
    pub(super) fn new(link: Arc<Link>, listener: Arc<dyn Listener>) -> Attachment {
        let party = link.attach(listener);
        Attachment { link, party }
    }

    /// Delivers what `pattern` matches to the listener, under `tag`, but what this process sends itself.
    ///
    /// # Errors
    /// `pattern` is no valid subject.
    pub(in crate::bus) fn subscribe(&self, pattern: &[u8], tag: u64, holdable: bool) -> Result<(), InvalidSubject> {
        if !subject::is_pattern(pattern) {
            return Err(InvalidSubject(String::from_utf8_lossy(pattern).into_owned()));
        }
        self.link.subscribe(&self.party, pattern, tag, holdable);
        Ok(())
    }

    pub(in crate::bus) fn unsubscribe(&self, tag: u64) {
        self.link.unsubscribe(&self.party, tag);
    }

    pub(in crate::bus) fn detach(&self) {
        self.link.detach(&self.party);
    }

    pub(in crate::bus) fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.party.is_closed))
    }

    pub(in crate::bus) fn sender(&self) -> Sender {
        Sender::new(Arc::clone(&self.link), Arc::clone(&self.party))
    }

    pub(in crate::bus) fn has_heard_until(&self, moment: Instant) -> bool {
        self.link.has_heard_until(&self.party, moment)
    }

    pub(in crate::bus) fn watch(&self) {
        self.link.watch();
    }

    pub(in crate::bus) fn stood_still_until(&self) -> Option<Instant> {
        self.link.stood_still_until()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Whether publishes to a party's holdable subscriptions are taken.
#[derive(Clone)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    pub(in crate::bus) fn close(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(in crate::bus) fn open(&self) {
        self.0.store(false, Ordering::Release);
    }

    pub(in crate::bus) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
