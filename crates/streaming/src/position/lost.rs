//! Messages of a channel that were lost for good: they were given up at a start, and are gone like those that expired.

/// Ranges of sequences, in order, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    ranges: Vec<(u64, u64)>,
    messages: u64,
}

impl Lost {
    /// Adds a range behind those that are there.
    pub(crate) fn push(&mut self, from: u64, to: u64) {
        let from = self.ranges.last().map_or(from, |(_, last)| from.max(last + 1));
        if from > to {
            return;
        }
        self.messages += to - from + 1;
        match self.ranges.last_mut() {
            Some((_, last)) if *last + 1 == from => *last = to,
            _ => self.ranges.push((from, to)),
        }
    }

    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// How many there are.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// How many there are from `sequence` on.
    pub(crate) fn messages_from(&self, sequence: u64) -> u64 {
        let at = self.ranges.partition_point(|(_, to)| *to < sequence);
        let from = |(from, to): &(u64, u64)| to - sequence.max(*from) + 1;
        self.ranges[at..].iter().map(from).sum()
    }

    /// The last message up to `sequence` that is none of them.
    pub(crate) fn previous(&self, sequence: u64) -> u64 {
        let at = self.ranges.partition_point(|(_, to)| *to < sequence);
        match self.ranges.get(at) {
            Some((from, _)) if *from <= sequence => from - 1,
            _ => sequence,
        }
    }

    /// Whether a message is one of them.
    #[inline]
    pub(crate) fn contains(&self, sequence: u64) -> bool {
        !self.ranges.is_empty() && self.next(sequence) != sequence
    }

    /// The first message from `sequence` on that is none of them.
    pub(crate) fn next(&self, sequence: u64) -> u64 {
        let at = self.ranges.partition_point(|(_, to)| *to < sequence);
        match self.ranges.get(at) {
            Some((from, to)) if *from <= sequence => to + 1,
            _ => sequence,
        }
    }

    /// Forgets what lies before `first`; where what is left begins.
    #[inline]
    pub(crate) fn trim(&mut self, first: u64) -> u64 {
        if self.ranges.is_empty() {
            return first;
        }
        let first = self.next(first);
        let gone = self.ranges.partition_point(|(_, to)| *to < first);
        self.messages -= self.ranges.drain(..gone).map(|(from, to)| to - from + 1).sum::<u64>();
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_gone_over_counted_and_forgotten_with_what_is_trimmed() {
        let mut lost = Lost::default();
        for (from, to) in [(3, 5), (6, 7), (7, 7), (20, 29)] {
            lost.push(from, to);
        }
        assert_eq!((lost.ranges(), lost.messages()), (&[(3, 7), (20, 29)][..], 15));
        assert_eq!(
            [1, 3, 5, 8, 25, 30].map(|at| lost.messages_from(at)),
            [15, 15, 13, 10, 5, 0]
        );
        assert_eq!([2, 3, 7, 8, 29, 30].map(|at| lost.previous(at)), [2, 2, 2, 8, 19, 30]);
        let next = [(2, 2), (3, 8), (7, 8), (8, 8), (19, 19), (20, 30), (30, 30)];
        for (sequence, expected) in next {
            assert_eq!(lost.next(sequence), expected);
            assert_eq!(lost.contains(sequence), sequence != expected);
        }
        assert_eq!((lost.trim(2), lost.messages()), (2, 15));
        assert_eq!((lost.trim(4), lost.messages()), (8, 10));
        assert_eq!((lost.trim(12), lost.messages()), (12, 10));
        assert_eq!((lost.trim(29), lost.messages(), lost.ranges().len()), (30, 0, 0));
    }
}
