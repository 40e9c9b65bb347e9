//! Generation counters: how a cache notices that the table changed without asking the table.
//!
//! There is one counter for everything, and finer ones by hash: of whole literal subjects, of the first two tokens,
//! of the first token, and one for patterns that start with a wildcard. A cached answer is right as long as the sum
//! of its four fine counters stands. Inboxes that come and go therefore spoil nobody else's answers.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use seaway_nats_protocol::subject;

use crate::limits::GENERATIONS;

pub(crate) struct Generations {
    all: AtomicU64,
    leading_wildcard: AtomicU64,
    literal: Box<[AtomicU64]>,
    two_tokens: Box<[AtomicU64]>,
    one_token: Box<[AtomicU64]>,
}

/// Which fine counters concern a subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    literal: u16,
    two_tokens: u16,
    one_token: u16,
}

/// Tables that were made. Caches serve all of them, so no counter of one ever stands where one of another did.
static TABLES: AtomicU64 = AtomicU64::new(0);
/// Changes of one table that are told apart from those of the next.
const CHANGES_BITS: u32 = 44;

fn counters() -> Box<[AtomicU64]> {
    (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect()
}

fn index(hash: u64) -> u16 {
    (hash as usize & (GENERATIONS - 1)) as u16
}

/// The first token, and the first two with their dot when there are two.
fn heads(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(first) = memchr_dot(text) else {
        return (text, None);
    };
    let rest = &text[first + 1..];
    let second = memchr_dot(rest).unwrap_or(rest.len());
    (&text[..first], Some(&text[..first + 1 + second]))
}

fn memchr_dot(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| *byte == subject::TOKEN_SEPARATOR)
}

impl Generations {
    pub(super) fn new() -> Self {
        let first = TABLES.fetch_add(1, Ordering::Relaxed) << CHANGES_BITS;
        Self {
            all: AtomicU64::new(first),
            leading_wildcard: AtomicU64::new(first),
            literal: counters(),
            two_tokens: counters(),
            one_token: counters(),
        }
    }

    /// Raised with every change; while it stands, every cached answer is right.
    pub(crate) fn all(&self) -> u64 {
        self.all.load(Ordering::Acquire)
    }

    /// The sum that must stand for a cached answer to be right. To be read before the table is asked.
    pub(crate) fn stamp(&self, keys: Keys) -> u64 {
        self.leading_wildcard
            .load(Ordering::Acquire)
            .wrapping_add(self.literal[usize::from(keys.literal)].load(Ordering::Acquire))
            .wrapping_add(self.two_tokens[usize::from(keys.two_tokens)].load(Ordering::Acquire))
            .wrapping_add(self.one_token[usize::from(keys.one_token)].load(Ordering::Acquire))
    }

    pub(super) fn keys(hasher: &RandomState, text: &[u8], hash: u64) -> Keys {
        let (one, two) = heads(text);
        Keys {
            literal: index(hash),
            // A pattern with two literal tokens in front cannot match a subject of one token.
            two_tokens: two.map_or(0, |two| index(hasher.hash_one(two))),
            one_token: index(hasher.hash_one(one)),
        }
    }

    /// The fine counter first: whoever sees the coarse one raised sees the fine one raised too.
    pub(super) fn raise(&self, hasher: &RandomState, pattern: &[u8]) {
        let is_wild = |token: &[u8]| token == subject::TOKEN_ANY || token == subject::TOKEN_TAIL;
        let (one, two) = heads(pattern);
        let counter = if !subject::has_wildcard(pattern) {
            &self.literal[usize::from(index(hasher.hash_one(pattern)))]
        } else if is_wild(one) {
            &self.leading_wildcard
        } else {
            match two {
                Some(two) if !is_wild(&two[one.len() + 1..]) => {
                    &self.two_tokens[usize::from(index(hasher.hash_one(two)))]
                }
                Some(_) | None => &self.one_token[usize::from(index(hasher.hash_one(one)))],
            }
        };
        counter.fetch_add(1, Ordering::SeqCst);
        self.all.fetch_add(1, Ordering::SeqCst);
    }
}
