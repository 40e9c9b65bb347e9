//! What is known of each segment file while the journal runs, and when one may go.

use crate::directory::{Content, Extent, Source};
use crate::format::SegmentId;
use crate::limits::{SEGMENT_HEADER_BYTES, SEGMENT_OVERHEAD_BYTES, SEGMENT_SMALL_BYTES};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// Batches go into it, or are queued for it.
    Open,
    /// Full; its directory is being written or absorbed.
    Sealing,
    /// The index refers to its directory.
    Sealed,
}

/// One segment file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) state: SegmentState,
    /// Length of the file.
    pub(crate) length: u64,
    /// Capacity it was prepared with; a shorter file cannot be recycled.
    pub(crate) capacity: u64,
    pub(crate) directory_length: u64,
    pub(crate) extent: Extent,
    pub(crate) source: Source,
    /// What its directory says is in it.
    pub(crate) content: Content,
    /// Record bytes of live messages; exact once sealed.
    pub(crate) live_bytes: u64,
    /// Ranges of logs that lie in it.
    pub(crate) references: u64,
    /// Jobs that use its files.
    pub(crate) pins: u32,
    /// Position of the newest record that took a reference away.
    pub(crate) released_at: u64,
    /// Its live messages have been copied; the copies are not yet in the index. Or it cannot be rewritten.
    pub(crate) rewritten: bool,
}

impl Segment {
    pub(crate) fn new(id: SegmentId, capacity: u64, state: SegmentState) -> Segment {
        Segment {
            id,
            state,
            length: capacity,
            capacity,
            directory_length: 0,
            extent: Extent::default(),
            source: Source::File { runs: 0 },
            content: Content::default(),
            live_bytes: 0,
            references: 0,
            pins: 0,
            released_at: 0,
            rewritten: false,
        }
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.state == SegmentState::Sealed
    }

    /// Bytes its files take.
    pub(crate) fn bytes(&self) -> u64 {
        self.length + self.directory_length
    }

    /// Bytes its live messages and their directory entries would take in a segment without anything dead.
    pub(crate) fn needed(&self) -> u64 {
        if self.live_bytes == 0 {
            return 0;
        }
        let live = self.live_bytes + self.content.added_to(self.live_bytes);
        let records = self.extent.end.saturating_sub(u64::from(SEGMENT_HEADER_BYTES)).max(1);
        let directory = (u128::from(self.directory_length) * u128::from(live) / u128::from(records)) as u64;
        (live + directory + SEGMENT_OVERHEAD_BYTES).min(self.bytes())
    }

    /// So small that it is worth merging with others like it.
    pub(crate) fn is_small(&self) -> bool {
        self.is_sealed() && self.references > 0 && !self.rewritten && self.bytes() <= SEGMENT_SMALL_BYTES
    }

    /// No live message, nobody reads it: only a checkpoint and durability decide.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_sealed() && self.references == 0 && self.pins == 0
    }
}

/// All segments that have batches or may get some, by number. Prepared ones that are not yet in use are not here.
#[derive(Default)]
pub(crate) struct Segments {
    pub(crate) by_number: BTreeMap<u64, Segment>,
}

impl Segments {
    pub(crate) fn get(&self, number: u64) -> &Segment {
        self.by_number
            .get(&number)
            .expect("the index refers only to segments that exist")
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> &mut Segment {
        self.by_number
            .get_mut(&number)
            .expect("the index refers only to segments that exist")
    }

    /// Takes `bytes` of live messages, and `references` ranges, away from a segment.
    pub(crate) fn release(&mut self, number: u64, bytes: u64, references: u64, at: u64) {
        let segment = self.get_mut(number);
        debug_assert!(segment.live_bytes >= bytes && segment.references >= references);
        segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
        segment.references = segment.references.saturating_sub(references);
        segment.released_at = segment.released_at.max(at);
    }

    pub(crate) fn pin(&mut self, number: u64) {
        self.get_mut(number).pins += 1;
    }

    pub(crate) fn unpin(&mut self, number: u64) {
        let segment = self.get_mut(number);
        debug_assert!(segment.pins > 0);
        segment.pins = segment.pins.saturating_sub(1);
    }
}
