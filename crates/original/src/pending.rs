//! Sequences that await their acks, as ranges: what was delivered in order takes little memory, however much it is.

use std::collections::BTreeMap;

/// A set of sequences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// First to last of each range; ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

impl Pending {
    pub(crate) fn insert(&mut self, sequence: u64) {
        let before = self
            .ranges
            .range(..=sequence)
            .next_back()
            .map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= sequence) {
            return;
        }
        let first = match before {
            Some((first, last)) if last.checked_add(1) == Some(sequence) => first,
            _ => sequence,
        };
        let after = sequence.checked_add(1).and_then(|next| self.ranges.remove(&next));
        self.ranges.insert(first, after.unwrap_or(sequence));
    }

    pub(crate) fn remove(&mut self, sequence: u64) {
        let Some((first, last)) = self
            .ranges
            .range(..=sequence)
            .next_back()
            .map(|(first, last)| (*first, *last))
        else {
            return;
        };
        if last < sequence {
            return;
        }
        self.ranges.remove(&first);
        if first < sequence {
            self.ranges.insert(first, sequence - 1);
        }
        if sequence < last {
            self.ranges.insert(sequence + 1, last);
        }
    }

    /// First and last of each range, in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }

    pub(crate) fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// How many sequences there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges().fold(0, |sum: u64, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_is_the_set_that_it_says() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50 {
            let (mut pending, mut expected) = (Pending::default(), BTreeSet::new());
            for _ in 0..300 {
                let sequence = match random.u32(0..20) {
                    0 => u64::MAX - random.u64(0..3),
                    _ => random.u64(0..40),
                };
                if random.bool() {
                    pending.insert(sequence);
                    expected.insert(sequence);
                } else {
                    pending.remove(sequence);
                    expected.remove(&sequence);
                }
                let found: Vec<u64> = pending.ranges().flat_map(|(first, last)| first..=last).collect();
                assert_eq!(found, expected.iter().copied().collect::<Vec<_>>());
                assert_eq!(pending.count(), expected.len() as u64);
                let firsts: Vec<_> = pending.ranges().collect();
                assert!(firsts.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{firsts:?}");
            }
        }
    }
}
