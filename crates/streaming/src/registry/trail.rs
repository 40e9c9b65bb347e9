//! The audit: which changes operators have made, the newest of them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::facts::AuditFact;
use crate::limits::{AUDIT_BY_BYTES_MAX, AUDIT_ENTRIES_MAX, AUDIT_WORDS_BYTES_MAX};
use crate::time::Timestamp;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// Ascending.
    entries: VecDeque<AuditFact>,
    /// Number of the last one.
    last: u64,
}

impl Trail {
    /// What facts told of.
    pub(crate) fn recovered(entries: BTreeMap<u64, AuditFact>) -> Trail {
        Trail {
            last: entries.keys().next_back().copied().unwrap_or(0),
            entries: entries.into_values().collect(),
        }
    }

    /// Adds a change; the oldest one goes when there are too many. Gives back what is to be written down.
    pub(crate) fn note(&mut self, time: Timestamp, by: &[u8], words: &str) -> AuditFact {
        self.last += 1;
        let by = String::from_utf8_lossy(by);
        let entry = AuditFact {
            number: self.last,
            time: time.0,
            by: shortened(&by, AUDIT_BY_BYTES_MAX),
            words: shortened(words, AUDIT_WORDS_BYTES_MAX),
        };
        self.entries.push_back(entry.clone());
        while self.entries.len() > AUDIT_ENTRIES_MAX {
            self.entries.pop_front();
        }
        entry
    }

    /// Those from a number on.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = &AuditFact> {
        let behind = self.entries.partition_point(|entry| entry.number < number);
        self.entries.range(behind..)
    }

    /// The newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &AuditFact> {
        self.entries.iter().rev()
    }
}

/// As much of a text as so many bytes hold, with a sign where something is left out.
pub(crate) fn shortened(text: &str, bytes_max: usize) -> Bytes {
    const SIGN: &str = "…";
    if text.len() <= bytes_max {
        return Bytes::copy_from_slice(text.as_bytes());
    }
    let mut end = bytes_max - SIGN.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Bytes::from([&text[..end], SIGN].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_numbers_go_on() {
        let mut trail = Trail::default();
        for number in 1..=AUDIT_ENTRIES_MAX as u64 + 3 {
            let entry = trail.note(Timestamp(7), b"ada", "did something");
            assert_eq!(entry.number, number);
        }
        assert_eq!(trail.from(0).count(), AUDIT_ENTRIES_MAX);
        assert_eq!(trail.from(0).next().map(|entry| entry.number), Some(4));
        assert_eq!(
            trail.from(1_001).map(|entry| entry.number).collect::<Vec<_>>(),
            [1_001, 1_002, 1_003]
        );
        let recovered = Trail::recovered(
            trail
                .entries
                .iter()
                .map(|entry| (entry.number, entry.clone()))
                .collect(),
        );
        assert_eq!((recovered.last, &recovered.entries), (trail.last, &trail.entries));
    }

    #[test]
    fn long_texts_end_at_a_letter() {
        assert_eq!(shortened("short", 8), "short");
        assert_eq!(shortened("longer than that", 10), "longer …");
        let cut = shortened("ääääääää", 9);
        assert_eq!(cut, "äää…", "{cut:?}");
        assert!(shortened(&"ä".repeat(3000), AUDIT_WORDS_BYTES_MAX).len() <= AUDIT_WORDS_BYTES_MAX);
    }
}
