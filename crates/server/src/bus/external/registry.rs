//! Who has subscribed to what: kept here over all connections, and said again on each.

use std::collections::HashMap;
use std::sync::Arc;

use seaway_nats_protocol::write::{write_subscribe, write_unsubscribe};

use super::party::Party;

/// A subscription.
pub(super) struct Wanted {
    pub(super) party: Arc<Party>,
    pub(super) tag: u64,
    /// Publishes to it may be refused.
    pub(super) holdable: bool,
    subject: Box<[u8]>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Registry {
    parties: HashMap<u64, Arc<Party>>,
    wanted: HashMap<u64, Wanted>,
    /// Names of the subscriptions of a party under a tag.
    tagged: HashMap<(u64, u64), Vec<u64>>,
    last_party: u64,
    last_sid: u64,
    /// What all parties were told of the bus.
    pub(super) is_told_up: bool,
}

impl Registry {
    /// Nobody, who is supposed to know that the bus carries messages.
    pub(super) fn new() -> Registry {
        Registry {
            is_told_up: true,
            ..Registry::default()
        }
    }

    /// The party that `make` makes with a number.
    pub(super) fn attach(&mut self, make: impl FnOnce(u64) -> Party) -> Arc<Party> {
        self.last_party += 1;
        let party = Arc::new(make(self.last_party));
        self.parties.insert(party.id, Arc::clone(&party));
        party
    }

    pub(super) fn parties(&self) -> impl Iterator<Item = &Arc<Party>> {
        self.parties.values()
    }

    pub(super) fn find(&self, sid: u64) -> Option<&Wanted> {
        self.wanted.get(&sid)
    }

    /// Adds a subscription, unless the party has left; appends what the server has to be told.
    pub(super) fn subscribe(
        &mut self,
        party: &Arc<Party>,
        subject: &[u8],
        tag: u64,
        holdable: bool,
        say: &mut Vec<u8>,
    ) {
        if !self.parties.contains_key(&party.id) {
            return;
        }
        self.last_sid += 1;
        let wanted = Wanted {
            party: Arc::clone(party),
            tag,
            holdable,
            subject: subject.into(),
        };
        self.wanted.insert(self.last_sid, wanted);
        self.tagged.entry((party.id, tag)).or_default().push(self.last_sid);
        write_subscribe(say, subject, self.last_sid);
    }

    /// Removes all subscriptions under a tag; appends what the server has to be told.
    pub(super) fn unsubscribe(&mut self, party: &Party, tag: u64, say: &mut Vec<u8>) {
        for sid in self.tagged.remove(&(party.id, tag)).unwrap_or_default() {
            self.wanted.remove(&sid);
            write_unsubscribe(say, sid);
        }
    }

    /// Removes a party with everything it has; appends what the server has to be told.
    pub(super) fn detach(&mut self, party: &Party, say: &mut Vec<u8>) {
        if self.parties.remove(&party.id).is_none() {
            return;
        }
        self.tagged.retain(|(owner, _), _| *owner != party.id);
        self.wanted.retain(|sid, wanted| {
            let stays = wanted.party.id != party.id;
            if !stays {
                write_unsubscribe(say, *sid);
            }
            stays
        });
    }

    /// Appends everything a new connection has to be told.
    pub(super) fn say_all(&self, say: &mut Vec<u8>) {
        let mut all: Vec<_> = self.wanted.iter().collect();
        all.sort_unstable_by_key(|(sid, _)| **sid);
        for (sid, wanted) in all {
            write_subscribe(say, &wanted.subject, *sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::bus::words::{Batch, Listener};

    struct Nobody;

    impl Listener for Nobody {
        fn deliver(&self, _batch: Batch) {}
    }

    fn party(id: u64) -> Party {
        Party {
            id,
            listener: Arc::new(Nobody),
            is_closed: Arc::default(),
            wants_all: AtomicBool::new(false),
        }
    }

    #[test]
    fn a_new_connection_is_told_what_is_wanted_now_in_its_order() {
        let mut registry = Registry::new();
        let mut say = Vec::new();
        let [one, other] = [registry.attach(party), registry.attach(party)];
        registry.subscribe(&one, b"a", 1, true, &mut say);
        registry.subscribe(&one, b"b", 1, false, &mut say);
        registry.subscribe(&other, b"c", 1, false, &mut say);
        registry.subscribe(&one, b"d", 2, false, &mut say);
        assert_eq!(say, b"SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nSUB d 4\r\n");
        say.clear();
        registry.unsubscribe(&one, 1, &mut say);
        registry.unsubscribe(&one, 7, &mut say);
        assert_eq!(say, b"UNSUB 1\r\nUNSUB 2\r\n");
        say.clear();
        registry.say_all(&mut say);
        assert_eq!(say, b"SUB c 3\r\nSUB d 4\r\n");
        say.clear();
        registry.detach(&one, &mut say);
        registry.detach(&one, &mut say);
        assert_eq!(say, b"UNSUB 4\r\n");
        say.clear();
        registry.subscribe(&one, b"e", 1, false, &mut say);
        assert_eq!(say, b"", "who has left wants nothing");
        assert!(registry.find(3).is_some() && registry.find(4).is_none());
    }
}
