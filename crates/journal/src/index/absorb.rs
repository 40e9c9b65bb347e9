//! Brings the runs of a sealed segment's directory into the index of their logs, and lets copies take the place of what they
//! are copies of. Sums of record lengths stay exact or are marked as too low (docs/journal-format.md §7): where a record ends is
//! computed from them.

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
fn insert_range(
    log: &mut LogState,
    range: Range,
    last_timestamp: i64,
    base_before: &dyn Fn(u64) -> Option<u32>,
    segments: &mut SegmentSet,
    at: u64,
) -> Option<u64> {
    let start = log.ranges.partition_point(|other| other.last < range.first);
    let mut end = start;
    while log.ranges.get(end).is_some_and(|other| other.last <= range.last) {
        end += 1;
    }
    // A new range that begins behind the first live message of one that it overlaps would leave live messages in front.
    if end > start && log.ranges[start].first.max(log.first) < range.first {
        return None;
    }
    let mut replaced = 0;
    if log.ranges.get(start).is_some_and(|other| other.first <= range.last) {
        // What was read ahead came from the places that are being replaced.
        log.window = None;
    }
    if let Some(after) = log.ranges.get_mut(end).filter(|after| after.first <= range.last) {
        let first_live = after.first.max(log.first);
        if first_live < range.first {
            return None;
        }
        // Copies have the lengths of their originals, so what the new range counts from the old one's first live message on is
        // what leaves the old one. The new range may begin before that: with copies out of other segments.
        let counted = base_before(first_live).map(|base| u64::from(range.end.saturating_sub(base)));
        let gone = counted.unwrap_or(0).min(after.live_bytes());
        // A trim inside the old range that is not counted yet has left its base too low by as much; it stays so.
        after.exact &= counted.is_some() && after.first >= log.first;
        after.begin_at(range.last + 1, after.base + gone as u32);
        // The time of the first message that is left is not known. One between the last copy's and its own is good enough to
        // choose the range in which to search for a time.
        after.first_timestamp = after.first_timestamp.max(last_timestamp);
        replaced += gone;
        segments.mark_dead(after.segment, gone, 0, at);
    }
    for other in log.ranges.drain(start..end) {
        replaced += other.live_bytes();
        segments.mark_dead(other.segment, other.live_bytes(), 1, at);
    }
    log.ranges.insert(start, range);
    Some(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Detail, Extent, Source};
    use crate::format::SegmentId;
    use crate::names::LogId;

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
