//! The sequences that a subscription holds without having acknowledged them.
//!
//! A window of 64-bit words, one per 64 sequences that hold any: while the newest are dense a word is found by subtraction, when
//! they are sparse by binary search, and a word costs 16 bytes either way. One slow message keeps one word alive, not the
//! window behind it.

use std::collections::VecDeque;

const WORD_BITS: u64 = 64;

/// Emptied words between others are tolerated up to this number before they are swept out.
const EMPTY_WORDS_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Word {
    /// Sequence divided by 64.
    index: u64,
    bits: u64,
}

/// A set of sequences; see the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    /// Ascending by index; the first and the last are never empty.
    words: VecDeque<Word>,
    len: usize,
    empty: usize,
    /// Those that are damaged and were passed over, if there are any: they are not in flight.
    held_back: Option<Box<Pending>>,
}

impl Pending {
    /// How many were sent, as far as is known.
    pub(crate) fn in_flight(&self) -> usize {
        self.len - self.held_back()
    }

    /// How many were passed over.
    pub(crate) fn held_back(&self) -> usize {
        self.held_back.as_ref().map_or(0, |held_back| held_back.len)
    }

    /// Of those, first and last of each run.
    pub(crate) fn held_back_runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.held_back.iter().flat_map(|held_back| held_back.runs_from(0))
    }

    pub(crate) fn is_held_back(&self, sequence: u64) -> bool {
        self.held_back
            .as_ref()
            .is_some_and(|held_back| held_back.contains(sequence))
    }

    /// One that is held was passed over; false when that is known.
    pub(crate) fn hold_back(&mut self, sequence: u64) -> bool {
        debug_assert!(self.contains(sequence), "only what is pending can be held back");
        self.held_back.get_or_insert_default().insert(sequence)
    }

    /// One was sent, or is gone.
    pub(crate) fn release(&mut self, sequence: u64) {
        self.change_held_back(|held_back| _ = held_back.remove(sequence));
    }

    /// All that were passed over are to be tried again.
    pub(crate) fn release_all(&mut self) {
        self.held_back = None;
    }

    fn change_held_back(&mut self, change: impl FnOnce(&mut Pending)) {
        if let Some(held_back) = &mut self.held_back {
            change(held_back);
            if held_back.is_empty() {
                self.held_back = None;
            }
        }
    }

    /// How many sequences are held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the word is, or where it would be.
    fn find(&self, index: u64) -> Result<usize, usize> {
        let Some(back) = self.words.back() else { return Err(0) };
        if index > back.index {
            return Err(self.words.len());
        }
        // Without gaps behind it the distance from the back is the place; a slow message far in front makes no difference.
        let last = self.words.len() as u64 - 1;
        if let Some(at) = last.checked_sub(back.index - index)
            && self.words[at as usize].index == index
        {
            return Ok(at as usize);
        }
        let at = self.words.partition_point(|word| word.index < index);
        if self.words[at].index == index { Ok(at) } else { Err(at) }
    }

    /// Adds a sequence; false when it was there.
    pub(crate) fn insert(&mut self, sequence: u64) -> bool {
        let (index, bit) = (sequence / WORD_BITS, 1 << (sequence % WORD_BITS));
        match self.find(index) {
            Ok(at) => {
                let word = &mut self.words[at];
                if word.bits & bit != 0 {
                    return false;
                }
                if word.bits == 0 {
                    self.empty -= 1;
                }
                word.bits |= bit;
            }
            Err(at) => self.words.insert(at, Word { index, bits: bit }),
        }
        self.len += 1;
        true
    }

    /// Removes a sequence; false when it was not there.
    pub(crate) fn remove(&mut self, sequence: u64) -> bool {
        let (index, bit) = (sequence / WORD_BITS, 1 << (sequence % WORD_BITS));
        let Ok(at) = self.find(index) else { return false };
        let word = &mut self.words[at];
        if word.bits & bit == 0 {
            return false;
        }
        word.bits &= !bit;
        self.len -= 1;
        if word.bits == 0 {
            self.empty += 1;
            self.drop_empty();
        }
        self.release(sequence);
        true
    }

    fn drop_empty(&mut self) {
        while self.words.front().is_some_and(|word| word.bits == 0) {
            self.words.pop_front();
            self.empty -= 1;
        }
        while self.words.back().is_some_and(|word| word.bits == 0) {
            self.words.pop_back();
            self.empty -= 1;
        }
        if self.empty > EMPTY_WORDS_MAX && self.empty > self.words.len() / 2 {
            self.words.retain(|word| word.bits != 0);
            self.empty = 0;
        }
    }

    pub(crate) fn contains(&self, sequence: u64) -> bool {
        self.find(sequence / WORD_BITS)
            .is_ok_and(|at| self.words[at].bits & (1 << (sequence % WORD_BITS)) != 0)
    }

    /// The lowest sequence.
    pub(crate) fn first(&self) -> Option<u64> {
        self.next_from(0)
    }

    /// The lowest sequence that is not below `from`.
    pub(crate) fn next_from(&self, from: u64) -> Option<u64> {
        let index = from / WORD_BITS;
        let mut at = match self.find(index) {
            Ok(at) => {
                let bits = self.words[at].bits & (u64::MAX << (from % WORD_BITS));
                if bits != 0 {
                    return Some(index * WORD_BITS + u64::from(bits.trailing_zeros()));
                }
                at + 1
            }
            Err(at) => at,
        };
        while let Some(word) = self.words.get(at) {
            if word.bits != 0 {
                return Some(word.index * WORD_BITS + u64::from(word.bits.trailing_zeros()));
            }
            at += 1;
        }
        None
    }

    /// The run of neighbouring sequences that begins at the lowest one not below `from`: first and last.
    pub(crate) fn run_from(&self, from: u64) -> Option<(u64, u64)> {
        let first = self.next_from(from)?;
        let mut last = first;
        let mut at = self.find(first / WORD_BITS).ok()?;
        loop {
            let word = self.words[at];
            let start = last % WORD_BITS;
            let ones = u64::from((word.bits >> start).trailing_ones());
            last += ones - 1;
            if start + ones < WORD_BITS {
                return Some((first, last));
            }
            match self.words.get(at + 1) {
                Some(next) if next.index == word.index + 1 && next.bits & 1 != 0 => {
                    at += 1;
                    last += 1;
                }
                _ => return Some((first, last)),
            }
        }
    }

    /// All runs from `from` on, ascending.
    pub(crate) fn runs_from(&self, from: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let run = self.run_from(next?)?;
            next = run.1.checked_add(1);
            Some(run)
        })
    }

    /// Adds all of `first..=last`.
    pub(crate) fn insert_run(&mut self, first: u64, last: u64) {
        let mut index = first / WORD_BITS;
        loop {
            let low = if index == first / WORD_BITS {
                first % WORD_BITS
            } else {
                0
            };
            let high = if index == last / WORD_BITS {
                last % WORD_BITS
            } else {
                WORD_BITS - 1
            };
            let mask = (u64::MAX << low) & (u64::MAX >> (WORD_BITS - 1 - high));
            match self.find(index) {
                Ok(at) => {
                    let word = &mut self.words[at];
                    if word.bits == 0 {
                        self.empty -= 1;
                    }
                    self.len += (mask & !word.bits).count_ones() as usize;
                    word.bits |= mask;
                }
                Err(at) => {
                    self.words.insert(at, Word { index, bits: mask });
                    self.len += mask.count_ones() as usize;
                }
            }
            if index >= last / WORD_BITS {
                return;
            }
            index += 1;
        }
    }

    /// Removes all of `first..=last` that are there. Costs as much as there are words in the range.
    pub(crate) fn remove_run(&mut self, first: u64, last: u64) {
        let mut at = match self.find(first / WORD_BITS) {
            Ok(at) | Err(at) => at,
        };
        while let Some(word) = self.words.get_mut(at) {
            if word.index > last / WORD_BITS {
                break;
            }
            let low = if word.index == first / WORD_BITS {
                first % WORD_BITS
            } else {
                0
            };
            let high = if word.index == last / WORD_BITS {
                last % WORD_BITS
            } else {
                WORD_BITS - 1
            };
            let mask = (u64::MAX << low) & (u64::MAX >> (WORD_BITS - 1 - high));
            let removed = word.bits & mask;
            if removed != 0 {
                self.len -= removed.count_ones() as usize;
                word.bits &= !mask;
                if word.bits == 0 {
                    self.empty += 1;
                }
            }
            at += 1;
        }
        self.drop_empty();
        self.change_held_back(|held_back| held_back.remove_run(first, last));
    }

    /// Forgets everything above `last`, and gives back how many sequences that were.
    pub(crate) fn truncate_after(&mut self, last: u64) -> usize {
        let before = self.len;
        if let Some(first) = last.checked_add(1) {
            self.remove_run(first, u64::MAX);
        }
        before - self.len
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Pending;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(u64),
        InsertRun(u64, u64),
        RemoveRun(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let sequence = prop_oneof![1u64..300, 10_000u64..10_100, 1u64..100_000];
        prop_oneof![
            4 => sequence.clone().prop_map(Step::Insert),
            4 => sequence.clone().prop_map(Step::Remove),
            1 => (sequence.clone(), 0u64..200).prop_map(|(first, more)| Step::InsertRun(first, first + more)),
            1 => (sequence, 0u64..200).prop_map(|(first, more)| Step::RemoveRun(first, first + more)),
        ]
    }

    fn runs_of(model: &BTreeSet<u64>) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for &sequence in model {
            match runs.last_mut() {
                Some(run) if run.1 + 1 == sequence => run.1 = sequence,
                _ => runs.push((sequence, sequence)),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in proptest::collection::vec(step(), 0..300)) {
            let (mut pending, mut model) = (Pending::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(sequence) => prop_assert_eq!(pending.insert(sequence), model.insert(sequence)),
                    Step::Remove(sequence) => prop_assert_eq!(pending.remove(sequence), model.remove(&sequence)),
                    Step::InsertRun(first, last) => {
                        pending.insert_run(first, last);
                        model.extend(first..=last);
                    }
                    Step::RemoveRun(first, last) => {
                        pending.remove_run(first, last);
                        model.retain(|sequence| *sequence < first || *sequence > last);
                    }
                }
                prop_assert_eq!(pending.len(), model.len());
                prop_assert_eq!(pending.first(), model.first().copied());
            }
            prop_assert_eq!(pending.runs_from(0).collect::<Vec<_>>(), runs_of(&model));
            for probe in (0..400).chain([9_999, 10_050, 99_999]) {
                prop_assert_eq!(pending.contains(probe), model.contains(&probe));
                prop_assert_eq!(pending.next_from(probe), model.range(probe..).next().copied());
            }
        }
    }

    #[test]
    fn a_slow_message_keeps_one_word_and_not_the_window() {
        let mut pending = Pending::default();
        for sequence in 1..=1_000_000u64 {
            pending.insert(sequence);
            if sequence > 1 {
                pending.remove(sequence);
            }
        }
        assert_eq!(pending.len(), 1);
        assert!(pending.words.len() <= 2, "{} words", pending.words.len());
    }

    #[test]
    fn a_million_pending_are_cheap() {
        let mut pending = Pending::default();
        pending.insert_run(1, 1_000_000);
        assert_eq!(pending.len(), 1_000_000);
        assert!(pending.words.len() * std::mem::size_of::<super::Word>() < 300_000);
    }

    #[test]
    fn what_is_held_back_is_pending_and_not_in_flight() {
        let mut pending = Pending::default();
        pending.insert_run(1, 10);
        assert!(pending.hold_back(3) && pending.hold_back(4) && pending.hold_back(9) && !pending.hold_back(9));
        assert_eq!((pending.len(), pending.in_flight(), pending.held_back()), (10, 7, 3));
        assert_eq!(pending.held_back_runs().collect::<Vec<_>>(), [(3, 4), (9, 9)]);
        pending.release(3);
        assert!(pending.remove(4) && pending.contains(3));
        assert_eq!((pending.len(), pending.in_flight()), (9, 8));
        pending.remove_run(8, 20);
        assert_eq!((pending.len(), pending.in_flight(), pending.held_back()), (6, 6, 0));
        assert!(pending.held_back.is_none());
    }

    #[test]
    fn the_highest_sequences_do_not_overflow() {
        let mut pending = Pending::default();
        assert!(pending.insert(u64::MAX));
        assert_eq!(pending.runs_from(0).collect::<Vec<_>>(), [(u64::MAX, u64::MAX)]);
        assert_eq!(pending.next_from(u64::MAX), Some(u64::MAX));
        assert_eq!(pending.truncate_after(5), 1);
        assert!(pending.is_empty());
    }
}
