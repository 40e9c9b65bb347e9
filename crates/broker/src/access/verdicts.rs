//! Remembers which subjects a connection may publish to, so that a publication costs a look-up and no search through the
//! rules. Slots are reused: neither hit nor miss allocates once a slot has held a subject of that length.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Grant;
use crate::limits::{VERDICT_SLOTS, VERDICT_SUBJECT_BYTES};

#[derive(Default)]
struct Slot {
    subject: Vec<u8>,
    allowed: bool,
}

/// Publish rules of one connection with their cache; made only for clients whose publishing is restricted.
pub(crate) struct Verdicts {
    grant: Arc<Grant>,
    hasher: RandomState,
    slots: Vec<Slot>,
}

impl Verdicts {
    /// `None` when the grant lets everything be published.
    pub(crate) fn new(grant: Option<&Arc<Grant>>) -> Option<Box<Self>> {
        let grant = grant?;
        let restricted = grant.rules.as_ref().is_some_and(|rules| rules.restricts_publishing());
        restricted.then(|| {
            Box::new(Self {
                grant: Arc::clone(grant),
                hasher: RandomState::default(),
                slots: Vec::new(),
            })
        })
    }

    /// Whether the rules allow a publication to `subject`.
    pub(crate) fn may_publish(&mut self, subject: &[u8]) -> bool {
        let Some(rules) = &self.grant.rules else { return true };
        if subject.is_empty() || subject.len() > VERDICT_SUBJECT_BYTES {
            return rules.may_publish(subject);
        }
        if self.slots.is_empty() {
            self.slots.resize_with(VERDICT_SLOTS, Slot::default);
        }
        let slot = &mut self.slots[self.hasher.hash_one(subject) as usize & (VERDICT_SLOTS - 1)];
        if slot.subject != subject {
            slot.allowed = rules.may_publish(subject);
            slot.subject.clear();
            slot.subject.extend_from_slice(subject);
        }
        slot.allowed
    }
}
