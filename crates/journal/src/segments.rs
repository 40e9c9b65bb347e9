//! Which segment files there are, what is known of each, and which may go. Every change of a segment passes through one
//! function, which keeps the sums and the lists that are asked for at each commit: nothing here walks over all segments.

use crate::directory::{Content, Directory, Extent, Source};
use crate::format::{Cut, SegmentId};
use crate::limits::{REMOVALS_LOOKED_AT_MAX, REMOVALS_MAX, SEGMENT_HEADER_BYTES, SEGMENT_OVERHEAD_BYTES};
use crate::limits::{SEGMENT_SMALL_BYTES, SEGMENTS_SMALL_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Batches go into it, or are queued for it.
    Open,
    /// Full; its directory is being written or absorbed.
    Sealing,
    /// The index refers to its directory.
    Sealed,
}

/// One segment file.
#[derive(Debug)]
struct Segment {
    id: SegmentId,
    state: State,
    /// Length of the file.
    length: u64,
    /// Capacity it was prepared with; a shorter file cannot be recycled.
    capacity: u64,
    directory_length: u64,
    /// Offset after the last batch.
    end: u64,
    source: Source,
    /// What its directory says is in it.
    content: Content,
    /// Record bytes of live messages; exact once sealed.
    live_bytes: u64,
    /// Ranges of logs that lie in it.
    references: u64,
    /// Jobs that use its files.
    pins: u32,
    /// Position of the newest record by which something in it died.
    died_at: u64,
    /// The last read of it brought nothing, whatever was tried.
    is_failing: bool,
    /// Its live messages have been copied; the copies are not yet in the index. Or it cannot be rewritten.
    rewritten: bool,
}

impl Segment {
    fn new(id: SegmentId, capacity: u64, state: State) -> Segment {
        Segment {
            id,
            state,
            length: capacity,
            capacity,
            directory_length: 0,
            end: 0,
            source: Source::File { runs: 0, end: 0 },
            content: Content::default(),
            live_bytes: 0,
            references: 0,
            pins: 0,
            died_at: 0,
            is_failing: false,
            rewritten: false,
        }
    }

    fn is_sealed(&self) -> bool {
        self.state == State::Sealed
    }

    /// Bytes its files take.
    fn bytes(&self) -> u64 {
        self.length + self.directory_length
    }

    /// Bytes its live messages and their directory entries would take in a segment without anything dead.
    fn needed(&self) -> u64 {
        if self.live_bytes == 0 {
            return 0;
        }
        let live = self.live_bytes + self.content.added_to(self.live_bytes);
        let records = self.end.saturating_sub(u64::from(SEGMENT_HEADER_BYTES)).max(1);
        // Both are below 2^31.
        let directory = self.directory_length.saturating_mul(live) / records;
        (live + directory + SEGMENT_OVERHEAD_BYTES).min(self.bytes())
    }

    /// No live message is in it: only readers, a checkpoint and durability decide when it goes.
    fn is_dead(&self) -> bool {
        self.is_sealed() && self.references == 0
    }

    fn may_be_rewritten(&self) -> bool {
        self.is_sealed() && self.references > 0 && !self.rewritten
    }

    /// What its rewriting wins, in thousandths of its bytes.
    fn gain(&self) -> u64 {
        (self.bytes() - self.needed()) * 1_000 / self.bytes().max(1)
    }

    fn share(&self) -> Share {
        let bytes = self.bytes();
        let is_dead = self.is_dead();
        let sealed = self.state != State::Open;
        let candidate = self.may_be_rewritten();
        Share {
            open: if sealed { 0 } else { bytes },
            sealed: if sealed { bytes } else { 0 },
            needed: if sealed { self.needed() } else { 0 },
            leaving: if is_dead || self.rewritten { bytes } else { 0 },
            dead: is_dead.then_some(bytes),
            candidate: candidate.then(|| self.gain()),
            is_small: candidate && bytes <= SEGMENT_SMALL_BYTES,
            awaits_copies: self.rewritten && self.references > 0,
        }
    }
}

/// What one segment adds to the sums and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Share {
    open: u64,
    sealed: u64,
    needed: u64,
    leaving: u64,
    dead: Option<u64>,
    candidate: Option<u64>,
    is_small: bool,
    awaits_copies: bool,
}

/// Where the space of the segments goes, in bytes; directories count with their segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Segments that take batches.
    pub(crate) open: u64,
    /// Segments that take no more batches.
    pub(crate) sealed: u64,
    /// Of these, what only waits for a checkpoint, durability or the directory of its copies.
    pub(crate) leaving: u64,
    /// What the live messages of sealed segments would take if nothing dead lay between them.
    pub(crate) needed: u64,
    /// Of the sealed ones, what nothing but the missing checkpoint keeps.
    pub(crate) held_by_checkpoint: u64,
    /// Of the sealed ones, those without anything live that are not archived.
    pub(crate) held_by_archive: u64,
}

/// A segment without anything live, taken out of the set.
#[derive(Debug)]
pub(crate) struct DeadSegment {
    pub(crate) id: SegmentId,
    pub(crate) has_directory: bool,
    pub(crate) length: u64,
    /// Its file was not cut: it can be used again.
    pub(crate) is_uncut: bool,
}

/// Segments that stay because somebody reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Held {
    /// All up to this number; 0 for none.
    pub(crate) up_to: u64,
    /// All from this number on.
    pub(crate) from: Option<u64>,
}

/// All segments that have batches or may get some, by number. Prepared ones that are not yet in use are not here.
#[derive(Default)]
pub(crate) struct SegmentSet {
    by_number: BTreeMap<u64, Segment>,
    usage: Usage,
    /// Segments without anything live, and their bytes.
    dead: BTreeMap<u64, u64>,
    /// Segments that could be rewritten, by what that wins.
    candidates: BTreeSet<(u64, u64)>,
    small: BTreeSet<u64>,
    /// Segments that were copied and wait for the copies to come into the index.
    awaiting_copies: usize,
    /// Segments below this number are covered by the newest checkpoint.
    covered_below: u64,
    /// Segments up to this number stay for an image; 0 when there is none.
    kept_up_to: u64,
    /// Segments up to, or from, a number on stay for those who read them beside the journal.
    held: Held,
    /// Segments from this number on stay until they are archived; none when nothing has to be.
    unarchived_from: Option<u64>,
    /// Segments from this number on stay for the entries in them, unless they are too many bytes.
    entries_from: Option<(u64, u64)>,
    /// Segments looked at so far: what a step costs.
    #[cfg(test)]
    pub(crate) looked_at: std::cell::Cell<u64>,
}

const REFERS: &str = "the index refers only to segments that exist";

impl SegmentSet {
    fn get(&self, number: u64) -> &Segment {
        self.by_number.get(&number).expect(REFERS)
    }

    fn change<T>(&mut self, number: u64, change: impl FnOnce(&mut Segment) -> T) -> T {
        let segment = self.by_number.get_mut(&number).expect(REFERS);
        let before = segment.share();
        let result = change(segment);
        let after = segment.share();
        self.count(number, before, after);
        result
    }

    fn insert(&mut self, segment: Segment) {
        let (number, share) = (segment.id.number, segment.share());
        let replaced = self.by_number.insert(number, segment);
        debug_assert!(replaced.is_none(), "numbers are never used again");
        self.count(number, Share::default(), share);
    }

    fn remove(&mut self, number: u64) -> Segment {
        let segment = self.by_number.remove(&number).expect(REFERS);
        self.count(number, segment.share(), Share::default());
        segment
    }

    /// Brings sums and lists from what a segment was to what it is.
    fn count(&mut self, number: u64, before: Share, after: Share) {
        if before == after {
            return;
        }
        let is_unarchived = self.is_unarchived(number);
        let usage = &mut self.usage;
        usage.open = usage.open + after.open - before.open;
        usage.sealed = usage.sealed + after.sealed - before.sealed;
        usage.needed = usage.needed + after.needed - before.needed;
        usage.leaving = usage.leaving + after.leaving - before.leaving;
        if before.dead != after.dead {
            if is_unarchived {
                let held = &mut usage.held_by_archive;
                *held = *held + after.dead.unwrap_or(0) - before.dead.unwrap_or(0);
            }
            if number >= self.covered_below {
                let held = &mut usage.held_by_checkpoint;
                *held = *held + after.dead.unwrap_or(0) - before.dead.unwrap_or(0);
            }
            match after.dead {
                Some(bytes) => self.dead.insert(number, bytes),
                None => self.dead.remove(&number),
            };
        }
        if before.candidate != after.candidate {
            if let Some(gain) = before.candidate {
                self.candidates.remove(&(gain, number));
            }
            if let Some(gain) = after.candidate {
                self.candidates.insert((gain, number));
            }
        }
        match (before.is_small, after.is_small) {
            (false, true) => _ = self.small.insert(number),
            (true, false) => _ = self.small.remove(&number),
            _ => {}
        }
        self.awaiting_copies += usize::from(after.awaits_copies);
        self.awaiting_copies -= usize::from(before.awaits_copies);
    }

    fn look(&self) {
        #[cfg(test)]
        self.looked_at.set(self.looked_at.get() + 1);
    }

    /// Adds the segment that batches go into from now on.
    pub(crate) fn open(&mut self, id: SegmentId, capacity: u64, encrypted: bool) {
        let mut segment = Segment::new(id, capacity, State::Open);
        segment.content.encrypted = encrypted;
        self.insert(segment);
    }

    /// Adds a segment that was planned and never used. `pinned` while its file is still being made.
    pub(crate) fn add_unused(&mut self, id: SegmentId, capacity: u64, pinned: bool, at: u64) {
        let mut segment = Segment::new(id, capacity, State::Sealed);
        segment.pins = u32::from(pinned);
        segment.died_at = at;
        self.insert(segment);
    }

    /// Adds a segment that a start found.
    pub(crate) fn add_found(
        &mut self,
        id: SegmentId,
        length: u64,
        extent: Extent,
        directory_length: u64,
        source: Source,
        content: Content,
    ) {
        let mut segment = Segment::new(id, length, State::Sealed);
        segment.end = extent.end;
        segment.directory_length = directory_length;
        segment.source = source;
        segment.content = content;
        self.insert(segment);
    }

    /// The segment takes no more batches.
    pub(crate) fn seal(&mut self, number: u64, extent: Extent) {
        self.change(number, |segment| {
            segment.state = State::Sealing;
            segment.end = extent.end;
        });
    }

    /// The segment has its directory: in a file of so many bytes, or in memory. `shortened` is the file's new length.
    pub(crate) fn set_directory(&mut self, directory: &Arc<Directory>, file: Option<u64>, shortened: Option<u64>) {
        self.change(directory.id.number, |segment| {
            segment.content = directory.content();
            segment.length = shortened.unwrap_or(segment.length);
            segment.directory_length = file.unwrap_or(0);
            segment.source = match file {
                Some(_) => Source::File {
                    runs: directory.runs.len(),
                    end: directory.extent.end,
                },
                None => Source::Memory(Arc::clone(directory)),
            };
        });
    }

    /// The unused end of a segment's file was cut off.
    pub(crate) fn shorten(&mut self, number: u64, length: u64) {
        self.change(number, |segment| segment.length = length);
    }

    /// The index refers to the segment's directory. What was trimmed or deleted before took no reference away: all that is
    /// appended by now, up to `at`, may have to be durable before the segment goes.
    pub(crate) fn absorbed(&mut self, number: u64, at: u64) {
        self.change(number, |segment| {
            segment.state = State::Sealed;
            segment.died_at = segment.died_at.max(at);
        });
    }

    /// Adds a range of `bytes` of live messages.
    pub(crate) fn refer(&mut self, number: u64, bytes: u64) {
        self.change(number, |segment| {
            segment.live_bytes += bytes;
            segment.references += 1;
        });
    }

    /// `bytes` of live messages, and `references` ranges, are dead by the record at position `at`.
    pub(crate) fn mark_dead(&mut self, number: u64, bytes: u64, references: u64, at: u64) {
        self.change(number, |segment| {
            debug_assert!(segment.live_bytes >= bytes && segment.references >= references);
            segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
            segment.references = segment.references.saturating_sub(references);
            segment.died_at = segment.died_at.max(at);
        });
    }

    /// Keeps the segment's files until [`SegmentSet::unpin`]; says how to read them.
    pub(crate) fn pin(&mut self, number: u64) -> (SegmentId, Source) {
        let segment = self.by_number.get_mut(&number).expect(REFERS);
        segment.pins += 1;
        (segment.id, segment.source.clone())
    }

    pub(crate) fn unpin(&mut self, number: u64) {
        let segment = self.by_number.get_mut(&number).expect(REFERS);
        debug_assert!(segment.pins > 0);
        segment.pins = segment.pins.saturating_sub(1);
    }

    /// What became of the last read of a segment that is pinned.
    pub(crate) fn set_failing(&mut self, number: u64, is_failing: bool) {
        if let Some(segment) = self.by_number.get_mut(&number) {
            segment.is_failing = is_failing;
        }
    }

    /// Whether the last read of a segment brought nothing.
    pub(crate) fn is_failing(&self, number: u64) -> bool {
        self.by_number.get(&number).is_some_and(|segment| segment.is_failing)
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(crate) fn source(&self, number: u64) -> Source {
        self.get(number).source.clone()
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// A checkpoint covers the segments below `number`.
    pub(crate) fn cover(&mut self, number: u64) {
        if number <= self.covered_below {
            return;
        }
        let newly: u64 = self
            .dead
            .range(self.covered_below..number)
            .map(|(_, bytes)| bytes)
            .sum();
        self.usage.held_by_checkpoint -= newly;
        self.covered_below = number;
    }

    /// Takes some segments out that can go: dead, nobody reads them, covered by the checkpoint, what killed them durable.
    pub(crate) fn take_dead(&mut self, durable: u64) -> Vec<DeadSegment> {
        let first = self.kept_up_to.max(self.held.up_to) + 1;
        let entries_from = self.entries_kept_from();
        let end = self.covered_below.min(self.unarchived_from.unwrap_or(u64::MAX));
        let end = end.min(entries_from).min(self.held.from.unwrap_or(u64::MAX));
        let covered = self.dead.range(first..end.max(first));
        let covered = covered.take(REMOVALS_LOOKED_AT_MAX);
        let going: Vec<u64> = covered
            .map(|(number, _)| *number)
            .filter(|number| {
                self.look();
                let segment = self.get(*number);
                segment.pins == 0 && segment.died_at <= durable
            })
            .take(REMOVALS_MAX)
            .collect();
        let dead = |segment: Segment| DeadSegment {
            id: segment.id,
            has_directory: matches!(segment.source, Source::File { .. }),
            length: segment.length,
            is_uncut: segment.length == segment.capacity,
        };
        going.into_iter().map(|number| dead(self.remove(number))).collect()
    }

    /// No segment from this number on goes before it is archived; without one any may.
    pub(crate) fn keep_unarchived(&mut self, from: Option<u64>) {
        self.unarchived_from = from;
        let held = from.map_or(0, |from| self.dead.range(from..).map(|(_, bytes)| bytes).sum());
        self.usage.held_by_archive = held;
    }

    fn is_unarchived(&self, number: u64) -> bool {
        self.unarchived_from.is_some_and(|from| number >= from)
    }

    /// No segment from this number on goes because of the entries in it, up to so many bytes of them: then the oldest do.
    pub(crate) fn keep_entries(&mut self, from: u64, bytes_max: u64) {
        self.entries_from = Some((from, bytes_max));
    }

    /// No segment is kept for entries until somebody asks again.
    pub(crate) fn give_up_entries(&mut self) {
        self.entries_from = None;
    }

    /// From which segment on all are kept for entries. What could go otherwise is looked at, and no more of it than may be kept.
    fn entries_kept_from(&mut self) -> u64 {
        let Some((from, bytes_max)) = self.entries_from else {
            return u64::MAX;
        };
        let (mut kept_from, mut bytes) = (from, 0);
        for (number, length) in self.dead.range(from..self.covered_below.max(from)).rev() {
            self.look();
            bytes += length;
            if bytes > bytes_max {
                kept_from = number + 1;
                break;
            }
        }
        self.entries_from = Some((kept_from, bytes_max));
        kept_from
    }

    /// Which segments stay for those who read them beside the journal.
    pub(crate) fn hold(&mut self, held: Held) {
        self.held = held;
    }

    /// The directory of a segment, if it has one, and one that speaks of batches up to an offset and no others.
    pub(crate) fn directory(&self, number: u64, end: u64) -> Option<Source> {
        let segment = self.by_number.get(&number)?;
        let has_one = segment.directory_length > 0 || matches!(segment.source, Source::Memory(_));
        has_one.then(|| segment.source.clone()).filter(|_| segment.end == end)
    }

    /// No segment up to this number goes until [`SegmentSet::keep_none`].
    pub(crate) fn keep_up_to(&mut self, number: u64) {
        self.kept_up_to = number;
    }

    pub(crate) fn keep_none(&mut self) {
        self.kept_up_to = 0;
    }

    /// All segments with batches before `end`: where those end, and the length of the directory's file, 0 when there is none that says
    /// just that.
    pub(crate) fn extents(&self, end: Cut) -> Vec<(SegmentId, u64, u64)> {
        let within = self.by_number.range(..=end.segment).map(|(_, segment)| segment);
        let within = within.filter(|segment| segment.end > 0 || segment.id.number == end.segment);
        let extent = |segment: &Segment| {
            if segment.id.number < end.segment || segment.end == end.offset {
                return (segment.id, segment.end, segment.directory_length);
            }
            (segment.id, end.offset, 0)
        };
        within.map(extent).collect()
    }

    /// The sealed segment below `pass` whose rewriting wins most, if that is a fifth of it.
    pub(crate) fn most_dead(&self, pass: u64) -> Option<u64> {
        let worthwhile = self.candidates.range((200, 0)..).rev();
        worthwhile
            .map(|(_, number)| *number)
            .inspect(|_| self.look())
            .find(|number| *number < pass)
    }

    /// The oldest of the small segments below `pass`: when there are too many, or any while they are being merged.
    pub(crate) fn small(&self, pass: u64, merging: bool) -> Option<u64> {
        let enough = if merging { 1 } else { SEGMENTS_SMALL_MAX + 1 };
        let small: Vec<u64> = self.small.range(..pass).take(enough).copied().collect();
        (small.len() == enough).then(|| small[0])
    }

    /// Everything live in it was copied, or it cannot be.
    pub(crate) fn set_rewritten(&mut self, number: u64) {
        self.change(number, |segment| segment.rewritten = true);
    }

    /// Whether the originals of copies wait for the copies to come into the index.
    pub(crate) fn awaits_copies(&self) -> bool {
        self.awaiting_copies > 0
    }

    #[cfg(test)]
    pub(crate) fn live(&self, number: u64) -> (u64, u64) {
        let segment = self.get(number);
        (segment.references, segment.live_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 64 << 20;

    fn id(number: u64) -> SegmentId {
        SegmentId { number, epoch: 1 }
    }

    fn extent() -> Extent {
        Extent {
            end: SEGMENT - 64,
            ..Extent::default()
        }
    }

    /// `count` full sealed segments, each with a range of three quarters of its bytes.
    fn full(count: u64) -> SegmentSet {
        let mut set = SegmentSet::default();
        for number in 1..=count {
            let source = Source::File { runs: 1, end: 0 };
            set.add_found(id(number), SEGMENT, extent(), 1 << 20, source, Content::default());
            set.refer(number, SEGMENT / 4 * 3);
        }
        set
    }

    /// The sums as a walk over all segments finds them.
    fn counted(set: &SegmentSet) -> Usage {
        let mut usage = Usage::default();
        for segment in set.by_number.values() {
            let share = segment.share();
            usage.open += share.open;
            usage.sealed += share.sealed;
            usage.needed += share.needed;
            usage.leaving += share.leaving;
            if segment.id.number >= set.covered_below {
                usage.held_by_checkpoint += share.dead.unwrap_or(0);
            }
            if set.is_unarchived(segment.id.number) {
                usage.held_by_archive += share.dead.unwrap_or(0);
            }
        }
        usage
    }

    #[test]
    fn the_sums_are_those_of_all_segments_whatever_happens_to_one() {
        let mut set = full(40);
        let mut random = 7u64;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % bound
        };
        let mut next = 41;
        for step in 0..4_000u64 {
            let number = 1 + below(next - 1);
            if !set.contains(number) {
                continue;
            }
            let (references, live) = set.live(number);
            match below(13) {
                0 => set.cover(below(next)),
                1 => _ = set.take_dead(step),
                2 => set.set_rewritten(number),
                3 if set.get(number).pins == 0 => _ = set.pin(number),
                4 if set.get(number).pins > 0 => set.unpin(number),
                5 => {
                    set.open(id(next), SEGMENT, below(2) == 0);
                    next += 1;
                }
                6 => set.seal(number, extent()),
                7 => {
                    set.absorbed(number, step);
                }
                8 if references > 0 => set.mark_dead(number, live, references, step),
                9 if live > 0 => set.mark_dead(number, 1 + below(live), 0, step),
                10 if live < SEGMENT / 2 => set.refer(number, below(SEGMENT / 4)),
                11 => set.keep_unarchived((below(3) > 0).then(|| below(next))),
                _ => set.add_unused(
                    {
                        next += 1;
                        id(next - 1)
                    },
                    4_096 + below(60_000),
                    false,
                    step,
                ),
            }
            assert_eq!(set.usage(), counted(&set), "step {step}");
            let dead = set.by_number.values().filter(|segment| segment.is_dead()).count();
            assert_eq!(set.dead.len(), dead);
            let candidates = set.by_number.values().filter(|segment| segment.may_be_rewritten());
            assert_eq!(set.candidates.len(), candidates.count());
            let awaiting = set.by_number.values();
            let awaiting = awaiting.filter(|segment| segment.rewritten && segment.references > 0);
            assert_eq!(set.awaiting_copies, awaiting.count());
        }
        assert!(next > 300);
    }

    /// What is asked at each commit costs the same however many segments there are.
    #[test]
    fn a_commit_looks_at_as_few_segments_of_thousands_as_of_ten() {
        let mut looked_at = Vec::new();
        for count in [10, 100, 10_000] {
            let mut set = full(count);
            set.cover(count);
            // One dies, one is worth rewriting.
            let (references, live) = set.live(3);
            set.mark_dead(3, live, references, 5);
            set.mark_dead(7, SEGMENT / 2, 0, 5);
            set.looked_at.set(0);
            assert!(set.take_dead(4).is_empty(), "what killed it is not durable");
            assert_eq!(set.most_dead(count), Some(7));
            assert_eq!(set.small(count, false), None);
            assert_eq!(set.take_dead(5).len(), 1);
            assert!(set.take_dead(5).is_empty());
            looked_at.push(set.looked_at.get());
        }
        assert_eq!(looked_at, [3, 3, 3]);
    }
}
