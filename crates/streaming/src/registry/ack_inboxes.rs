//! Ack inboxes: what they are called, and which of them acks are listened for on (`streaming-protocol.md` §2.5).
//!
//! A new one is called `_INBOX.` and 22 base-62 characters: the store's count of ack inboxes under a keyed hash. Whoever has seen
//! some names can tell no other. One that is stored keeps its name, whatever that is: earlier versions numbered them.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;
use foldhash::fast::FixedState;
use siphasher::sip::SipHasher24;

use crate::registry::keys::SubscriptionKey;

const PREFIX: &[u8] = b"_INBOX.";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TOKEN_LEN: usize = 22;
/// Digits taken from one hash of 64 bits, which has nearly eleven: each is as likely as any other to one part in 2^16.
const DIGITS_PER_HASH: usize = 8;

/// Where the owner of a subscription acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AckInbox {
    number: u64,
    subject: Box<[u8]>,
}

impl AckInbox {
    /// Which of the store's ack inboxes it is: each owner gets a new one.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A literal subject.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }
}

/// Names new ack inboxes.
struct Names {
    /// Random and secret.
    key: [u8; 16],
}

impl Names {
    /// 22 base-62 characters that stand for a number.
    fn token(&self, number: u64) -> [u8; TOKEN_LEN] {
        let mut token = [0; TOKEN_LEN];
        for (part, digits) in token.chunks_mut(DIGITS_PER_HASH).enumerate() {
            let mut hasher = SipHasher24::new_with_key(&self.key);
            hasher.write_u64(number);
            hasher.write_u8(part as u8);
            let mut hash = hasher.finish();
            for digit in digits {
                *digit = DIGITS[(hash % 62) as usize];
                hash /= 62;
            }
        }
        token
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Names")
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct AckInboxes {
    names: Names,
    /// The number of the next new one, from 1.
    next: u64,
    /// What comes before the number of one that an earlier version made: `_INBOX.<this>.<number>`.
    numbered: Bytes,
    /// Subscriptions that acks lead to, by number. Looked up, never walked.
    listening: HashMap<u64, SubscriptionKey, FixedState>,
    /// The same by the hash of the subject. Looked up, never walked.
    subjects: HashMap<u64, SubscriptionKey, FixedState>,
    /// After a start: subscriptions from this number on may not be listened for yet.
    unheard_from: Option<u64>,
}

impl AckInboxes {
    /// For a new store; `key` is random and secret.
    pub(crate) fn new(key: [u8; 16], hasher: FixedState) -> AckInboxes {
        let names = Names { key };
        AckInboxes {
            next: 1,
            // Earlier versions want to find it, so a new store has one. No ack inbox has the number 0.
            numbered: Bytes::copy_from_slice(&names.token(0)),
            names,
            listening: HashMap::with_hasher(hasher.clone()),
            subjects: HashMap::with_hasher(hasher),
            unheard_from: None,
        }
    }

    /// Goes on after the last number that a store holds, with nobody listened for yet.
    pub(crate) fn recover(&mut self, last: u64) {
        self.next = last + 1;
        self.unheard_from = Some(0);
    }

    /// What the store says that comes before numbers.
    pub(crate) fn recover_numbered(&mut self, numbered: Bytes) {
        self.numbered = numbered;
    }

    /// The number of the next new one.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// What comes before the number of one that an earlier version made.
    pub(crate) fn numbered(&self) -> &Bytes {
        &self.numbered
    }

    /// One that no subscription of this store has had.
    pub(crate) fn create(&mut self) -> AckInbox {
        let number = self.next;
        self.next += 1;
        let token = self.names.token(number);
        AckInbox {
            number,
            subject: [PREFIX, &token].concat().into(),
        }
    }

    /// One that is stored; earlier versions stored no subject.
    pub(crate) fn stored(&self, number: u64, subject: &[u8]) -> AckInbox {
        let subject = match subject {
            b"" => [PREFIX, &self.numbered, b".", number.to_string().as_bytes()].concat(),
            subject => subject.to_vec(),
        };
        AckInbox {
            number,
            subject: subject.into(),
        }
    }

    /// Acks on `inbox` lead to a subscription, known by its number and its place; false when they did already.
    pub(crate) fn listen(&mut self, inbox: &AckInbox, subscription: u64, key: SubscriptionKey) -> bool {
        let hash = self.subjects.hasher().hash_one(inbox.subject());
        self.subjects.insert(hash, key);
        self.listening.insert(subscription, key).is_none()
    }

    /// The end of that; false when they did not.
    pub(crate) fn unlisten(&mut self, inbox: &AckInbox, subscription: u64) -> bool {
        let Some(key) = self.listening.remove(&subscription) else {
            return false;
        };
        let hash = self.subjects.hasher().hash_one(inbox.subject());
        if self.subjects.get(&hash) == Some(&key) {
            self.subjects.remove(&hash);
        }
        true
    }

    /// Where an ack of the subscription with this number leads.
    #[inline]
    pub(crate) fn leads_to(&self, subscription: u64) -> Option<SubscriptionKey> {
        self.listening.get(&subscription).copied()
    }

    /// A subscription that may be acknowledged on this subject. Which one it is when several have one hash is for the caller to see.
    pub(crate) fn find(&self, subject: &[u8]) -> Option<SubscriptionKey> {
        let hash = self.subjects.hasher().hash_one(subject);
        self.subjects.get(&hash).copied()
    }

    /// The number from which on recovered subscriptions may not be listened for yet; `None`: all are.
    pub(crate) fn unheard_from(&self) -> Option<u64> {
        self.unheard_from
    }

    /// The subscription with this number is listened for, if acks are to lead to it; `None`: that was the last one.
    pub(crate) fn heard(&mut self, up_to: Option<u64>) {
        self.unheard_from = up_to.map(|number| number + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_random_and_each_is_another() {
        let (names, others) = (Names { key: [7; 16] }, Names { key: [8; 16] });
        let mut seen = HashSet::new();
        let mut counts = [0_u32; 62];
        for number in 1..=10_000 {
            let token = names.token(number);
            assert_ne!(token, others.token(number), "keys differ");
            for byte in token {
                let digit = DIGITS.iter().position(|digit| *digit == byte);
                counts[digit.expect("a digit")] += 1;
            }
            assert!(seen.insert(token), "no two share a name");
        }
        // 220,000 digits: each is expected 3,548 times, with a deviation of about 59.
        let expected = 3_248..3_848;
        assert!(counts.iter().all(|count| expected.contains(count)), "{counts:?}");
    }

    #[test]
    fn neighbours_have_nothing_in_common() {
        let names = Names { key: [7; 16] };
        for number in 1..1_000 {
            let (one, next) = (names.token(number), names.token(number + 1));
            let equal = one.iter().zip(next).filter(|(one, next)| *one == next).count();
            assert!(equal < 8, "{equal} of 22 places are equal");
        }
    }
}
