//! Brings the runs of a sealed segment's directory into the index of their logs, and lets copies take the place of what they
//! are copies of. Sums of record lengths stay exact, or are marked as such that count too much as live: where a record ends is
//! computed from those that are exact.

use super::logs::{LogState, Range};
use crate::directory::{Directory, Run};
use crate::segments::SegmentSet;
use std::collections::VecDeque;

/// Brings one run of a directory into the index of its log. Returns by how much the live bytes were counted too high because a
/// trim had not been counted.
pub(super) fn absorb_run(
    log: &mut LogState,
    run: &Run,
    directory: &Directory,
    segments: &mut SegmentSet,
    at: u64,
) -> u64 {
    let number = directory.id.number;
    let cumulative = |sequence: u64| {
        let index = run.entry as usize + (sequence - run.first) as usize;
        directory.entries.get(index).map_or(run.bytes, |entry| entry.cumulative)
    };
    let base_before = |sequence: u64| {
        Some(if sequence == run.first {
            0
        } else {
            cumulative(sequence - 1)
        })
    };
    absorb(log, run, number, &base_before, segments, at)
}

/// See [`absorb_run`]; `base_before` tells the cumulative size before a sequence of the run, unless its page is unreadable.
pub(super) fn absorb(
    log: &mut LogState,
    run: &Run,
    number: u64,
    base_before: &dyn Fn(u64) -> Option<u32>,
    segments: &mut SegmentSet,
    at: u64,
) -> u64 {
    if !run.moved {
        while !log.recent.is_empty() && log.recent_first() <= run.last {
            log.recent.pop_front();
        }
        if log.recent.is_empty() && log.recent.capacity() > 64 {
            log.recent = VecDeque::new();
        }
    }
    let first_live = log.first.max(run.first);
    if first_live > run.last || run.last > log.last {
        return 0;
    }
    let base = base_before(first_live);
    let mut range = Range {
        first: run.first,
        last: run.last,
        first_timestamp: run.first_timestamp,
        segment: number,
        entry: run.entry,
        base: 0,
        end: run.bytes,
        exact: base.is_some(),
    };
    range.begin_at(first_live, base.unwrap_or(0));
    let Some(replaced) = insert_range(log, range, run.last_timestamp, base_before, segments, at) else {
        return 0;
    };
    segments.refer(number, range.live_bytes());
    if !run.moved {
        return 0;
    }
    let overcounted = replaced.saturating_sub(range.live_bytes());
    log.bytes = log.bytes.saturating_sub(overcounted);
    overcounted
}

/// Puts `range` in the place of what it overlaps: older copies of the same messages. Returns the bytes those were counted with,
/// or `None` when it was not taken because it would replace the middle of another.
///
/// Either way each live message of the range is in the index afterwards, whatever was absorbed before: what was replaced may be
/// gone by the next start, which absorbs what is left with other bounds.
fn insert_range(
    log: &mut LogState,
    range: Range,
    last_timestamp: i64,
    base_before: &dyn Fn(u64) -> Option<u32>,
    segments: &mut SegmentSet,
    at: u64,
) -> Option<u64> {
    let first_live = |other: &Range| other.first.max(log.first);
    let mut start = log.ranges.partition_point(|other| other.last < range.first);
    let mut end = start;
    while log.ranges.get(end).is_some_and(|other| other.last <= range.last) {
        end += 1;
    }
    let after = log.ranges.get(end).filter(|after| after.first <= range.last);
    if after.is_some_and(|after| first_live(after) < range.first) {
        return None;
    }
    let keeps_front = end > start && first_live(&log.ranges[start]) < range.first;
    let leaves_after = after.is_some();
    let mut replaced = 0;
    if end > start || leaves_after {
        // What was read ahead came from the places that are being replaced.
        log.window = None;
    }
    if leaves_after {
        replaced += replace_front(log, end, &range, last_timestamp, base_before, segments, at);
    }
    if keeps_front {
        replaced += replace_back(&mut log.ranges[start], &range, base_before, segments, at);
        start += 1;
    }
    for other in log.ranges.drain(start..end) {
        replaced += other.live_bytes();
        segments.mark_dead(other.segment, other.live_bytes(), 1, at);
    }
    log.ranges.insert(start, range);
    Some(replaced)
}

/// `range` takes the front of `log.ranges[after]`; returns the bytes that was counted with.
fn replace_front(
    log: &mut LogState,
    after: usize,
    range: &Range,
    last_timestamp: i64,
    base_before: &dyn Fn(u64) -> Option<u32>,
    segments: &mut SegmentSet,
    at: u64,
) -> u64 {
    let log_first = log.first;
    let after = &mut log.ranges[after];
    // Copies have the lengths of their originals, so what the new range counts from the old one's first live message on is
    // what leaves the old one. The new range may begin before that: with copies out of other segments.
    let counted = base_before(after.first.max(log_first)).map(|base| u64::from(range.end.saturating_sub(base)));
    let gone = counted.unwrap_or(0).min(after.live_bytes());
    // A trim inside the old range that is not counted yet has left its base too low by as much; it stays so.
    after.exact &= counted.is_some() && after.first >= log_first;
    after.begin_at(range.last + 1, after.base + gone as u32);
    // The time of the first message that is left is not known. One between the last copy's and its own is good enough to
    // choose the range in which to search for a time.
    after.first_timestamp = after.first_timestamp.max(last_timestamp);
    segments.mark_dead(after.segment, gone, 0, at);
    gone
}

/// `range` takes the back of `front`; returns the bytes that was counted with.
fn replace_back(
    front: &mut Range,
    range: &Range,
    base_before: &dyn Fn(u64) -> Option<u32>,
    segments: &mut SegmentSet,
    at: u64,
) -> u64 {
    let counted = if front.last == range.last {
        Some(range.end)
    } else {
        base_before(front.last + 1)
    };
    // What an unreadable page does not say stays counted: too much counts as live, never too little.
    let gone = u64::from(counted.unwrap_or(0)).min(front.live_bytes());
    front.last = range.first - 1;
    front.end -= gone as u32;
    segments.mark_dead(front.segment, gone, 0, at);
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Detail, Extent, Source};
    use crate::format::SegmentId;
    use crate::names::LogId;
    use proptest::prelude::*;

    const LOG: LogId = LogId(3);

    /// Message `sequence` has a record of this length.
    fn size(sequence: u64) -> u32 {
        100 + sequence as u32
    }

    fn sizes(sequences: std::ops::RangeInclusive<u64>) -> u64 {
        sequences.map(|sequence| u64::from(size(sequence))).sum()
    }

    struct Index {
        log: LogState,
        segments: SegmentSet,
    }

    impl Index {
        fn new(last: u64) -> Index {
            let mut log = LogState::new(LOG, 1, last);
            log.bytes = sizes(1..=last);
            let segments = SegmentSet::default();
            Index { log, segments }
        }

        fn absorb(&mut self, number: u64, sequences: std::ops::RangeInclusive<u64>, moved: bool) {
            self.absorb_all(number, sequences, moved);
        }

        fn absorb_all(&mut self, number: u64, sequences: impl Iterator<Item = u64>, moved: bool) {
            let id = SegmentId { number, epoch: 1 };
            let detail = |sequence| {
                let offset = 5_000 + 1_000 * sequence as u32;
                Detail::new(LOG, sequence, sequence as i64 * 10, offset, size(sequence), moved)
            };
            let details: Vec<Detail> = sequences.map(detail).collect();
            let directory = Directory::build(id, Extent::default(), &details, false);
            let source = Source::File { runs: 1, end: 0 };
            let (extent, content) = (Extent::default(), directory.content());
            self.segments.add_found(id, 1 << 16, extent, 0, source, content);
            for run in &directory.runs {
                absorb_run(&mut self.log, run, &directory, &mut self.segments, 0);
            }
        }

        /// Every base that is believed is the true one, and segments hold what their ranges say.
        fn check(&self, run_starts: &[(u64, u64)]) {
            for range in &self.log.ranges {
                let (_, start) = run_starts
                    .iter()
                    .find(|(segment, _)| *segment == range.segment)
                    .expect("the test knows every run");
                assert_eq!(u64::from(range.entry), range.first - start, "{range:?}");
                if let Some(before) = range.before(range.first) {
                    assert_eq!(u64::from(before), sizes(*start..=range.first - 1), "{range:?}");
                }
                assert_eq!(self.segments.live(range.segment).1, range.live_bytes(), "{range:?}");
            }
            let live: u64 = self.log.ranges.iter().map(Range::live_bytes).sum();
            assert_eq!(live, self.log.bytes);
        }
    }

    #[test]
    fn a_copy_that_joins_two_segments_takes_only_its_part_of_the_second() {
        let mut index = Index::new(10);
        index.absorb(1, 1..=2, false);
        index.absorb(2, 3..=10, false);
        index.absorb(3, 1..=5, true);
        let rest = index.log.ranges[1];
        assert_eq!((rest.segment, rest.first, rest.last), (2, 6, 10));
        assert_eq!(rest.before(6), Some(sizes(3..=5) as u32));
        assert_eq!(index.segments.live(2).1, sizes(6..=10));
        assert_eq!(index.segments.live(1), (0, 0));
        index.check(&[(2, 3), (3, 1)]);
    }

    #[test]
    fn a_copy_that_comes_before_a_trim_is_counted_leaves_a_sum_that_nobody_believes() {
        let mut index = Index::new(10);
        index.absorb(1, 1..=10, false);
        // Trimmed, and the directory's page is not there yet: the range still counts messages 1 and 2.
        index.log.first = 3;
        index.absorb(2, 3..=5, true);
        let rest = index.log.ranges[1];
        assert_eq!((rest.segment, rest.first, rest.last), (1, 6, 10));
        assert_eq!(rest.before(6), None);
        assert_eq!(
            rest.live_bytes(),
            sizes(6..=10) + sizes(1..=2),
            "too much, until it is counted again"
        );
        assert!(index.log.inexact_range(6).is_some());
        index.check(&[(1, 1), (2, 3)]);
    }

    #[test]
    fn a_copy_of_trimmed_messages_counts_only_the_live_ones() {
        let mut index = Index::new(10);
        index.absorb(1, 1..=10, false);
        index.log.first = 3;
        index.log.ranges[0].begin_at(3, sizes(1..=2) as u32);
        index.segments.mark_dead(1, sizes(1..=2), 0, 0);
        index.log.bytes -= sizes(1..=2);
        index.absorb(2, 1..=5, true);
        assert_eq!(index.segments.live(2).1, sizes(3..=5));
        assert_eq!(index.log.ranges[1].before(6), Some(sizes(1..=5) as u32));
        index.check(&[(1, 1), (2, 1)]);
    }

    /// A rewriter that was interrupted copies into the same segment once more.
    #[test]
    fn a_segment_with_copies_of_copies_holds_every_message_whatever_was_trimmed_since() {
        for first in 1..=8 {
            let mut index = Index::new(8);
            index.log.first = first;
            index.absorb_all(2, (1..=5).chain(1..=8), true);
            let places: Vec<(u64, u64)> = index.log.ranges.iter().map(|range| (range.first, range.last)).collect();
            let held: Vec<u64> = places.iter().flat_map(|(first, last)| *first..=*last).collect();
            assert_eq!(held, Vec::from_iter(first..=8), "trimmed before {first}: {places:?}");
            assert_eq!(index.segments.live(2).1, sizes(first..=8));
        }
    }

    #[test]
    fn a_copy_of_a_back_leaves_the_front_where_it_is() {
        let mut index = Index::new(10);
        index.absorb(1, 1..=6, false);
        index.absorb(2, 7..=10, false);
        index.absorb(3, 4..=8, true);
        let places: Vec<(u64, u64, u64)> = index
            .log
            .ranges
            .iter()
            .map(|range| (range.segment, range.first, range.last))
            .collect();
        assert_eq!(places, [(1, 1, 3), (3, 4, 8), (2, 9, 10)]);
        index.check(&[(1, 1), (2, 7), (3, 4)]);
    }

    proptest! {
        /// Copies are made and absorbed while the log is trimmed; a segment without references goes. A start that absorbs what is
        /// left, knowing the last trim from the beginning, misses nothing.
        #[test]
        fn a_start_finds_what_is_left(
            last in 1u64..10,
            steps in proptest::collection::vec((0u64..3, proptest::collection::vec((0u64..4, 1u64..10), 1..4)), 0..6),
        ) {
            let mut index = Index::new(last);
            index.absorb(1, 1..=last, false);
            let mut written = vec![(1, Vec::from_iter(1..=last), false)];
            for (number, (trimmed, pieces)) in (2..).zip(steps) {
                index.log.first = (index.log.first + trimmed).min(last + 1);
                let live = index.log.first..=last;
                let pieces = pieces.iter().map(|(from, count)| live.start() + from..live.start() + from + count);
                let copied: Vec<u64> = pieces.flatten().filter(|sequence| live.contains(sequence)).collect();
                if !copied.is_empty() {
                    index.absorb_all(number, copied.iter().copied(), true);
                    written.push((number, copied, true));
                }
                written.retain(|(number, ..)| index.segments.live(*number).0 > 0);
            }
            let mut started = Index::new(last);
            started.log.first = index.log.first;
            for (number, sequences, moved) in written {
                started.absorb_all(number, sequences.into_iter(), moved);
            }
            for log in [&index.log, &started.log] {
                for sequence in log.first..=last {
                    prop_assert!(log.range_index(sequence).is_some(), "{sequence} is missing: {:?}", log.ranges);
                }
                prop_assert!(log.ranges.windows(2).all(|pair| pair[0].last < pair[1].first), "{:?}", log.ranges);
            }
            // Nothing was trimmed between these, so all sums are exact.
            for range in &started.log.ranges {
                let live = range.first.max(started.log.first)..=range.last;
                prop_assert_eq!(range.live_bytes(), sizes(live), "{:?}", range);
            }
        }
    }

    #[test]
    fn what_a_copy_leaves_over_begins_later_in_time() {
        let mut index = Index::new(10);
        index.absorb(1, 1..=10, false);
        index.absorb(2, 1..=5, true);
        let times: Vec<i64> = index.log.ranges.iter().map(|range| range.first_timestamp).collect();
        // Message 5 has time 50: who looks for it must look into the copies.
        assert!(times[1] >= 50 && times[1] <= 60, "{times:?}");
    }
}
