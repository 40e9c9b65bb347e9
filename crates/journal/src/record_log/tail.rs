//! What is kept in memory about segments whose directory is not written yet: a detail per message, and the newest commit
//! buffers, from which the tail is served. Bounded by segment size and by `tail_cache_bytes`.

use crate::directory::Detail;
use std::collections::VecDeque;
use std::sync::Arc;

/// Details of one segment that is sealed but not absorbed.
struct SealedDetails {
    segment: u64,
    first_ordinal: u32,
    details: Arc<Vec<Detail>>,
}

/// All messages of unsealed and just sealed segments, numbered consecutively (modulo 2^32).
#[derive(Default)]
pub(crate) struct Tail {
    sealed: VecDeque<SealedDetails>,
    open: Vec<Detail>,
    open_first_ordinal: u32,
    open_segment: u64,
}

impl Tail {
    pub(crate) fn open_segment(&mut self, segment: u64) {
        debug_assert!(self.open.is_empty());
        self.open_segment = segment;
    }

    /// Adds a message of the open segment; returns its ordinal.
    pub(crate) fn push(&mut self, detail: Detail) -> u32 {
        let ordinal = self.open_first_ordinal.wrapping_add(self.open.len() as u32);
        self.open.push(detail);
        ordinal
    }

    /// The message with this ordinal and the number of its segment.
    pub(crate) fn get(&self, ordinal: u32) -> (u64, &Detail) {
        let index = ordinal.wrapping_sub(self.open_first_ordinal) as usize;
        if let Some(detail) = self.open.get(index) {
            return (self.open_segment, detail);
        }
        for sealed in self.sealed.iter().rev() {
            let index = ordinal.wrapping_sub(sealed.first_ordinal) as usize;
            if let Some(detail) = sealed.details.get(index) {
                return (sealed.segment, detail);
            }
        }
        unreachable!("ordinal {ordinal} belongs to an absorbed segment");
    }

    /// Ends the open segment and returns its details; the next segment's number must be told before the next push.
    pub(crate) fn seal(&mut self) -> Arc<Vec<Detail>> {
        let details = Arc::new(std::mem::take(&mut self.open));
        self.sealed.push_back(SealedDetails {
            segment: self.open_segment,
            first_ordinal: self.open_first_ordinal,
            details: Arc::clone(&details),
        });
        self.open_first_ordinal = self.open_first_ordinal.wrapping_add(details.len() as u32);
        details
    }

    /// Forgets the details of the oldest sealed segment, which must be `segment`.
    pub(crate) fn absorbed(&mut self, segment: u64) {
        let oldest = self.sealed.pop_front();
        debug_assert_eq!(
            oldest.map(|sealed| sealed.segment),
            Some(segment),
            "segments are absorbed in order"
        );
    }
}

struct Cached {
    segment: u64,
    start: u32,
    bytes: Arc<Vec<u8>>,
}

/// The newest commit buffers, ordered by segment and offset.
#[derive(Default)]
pub(crate) struct Cache {
    buffers: VecDeque<Cached>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            ..Cache::default()
        }
    }

    pub(crate) fn push(&mut self, segment: u64, start: u32, bytes: Arc<Vec<u8>>) {
        self.bytes += bytes.capacity();
        self.buffers.push_back(Cached { segment, start, bytes });
    }

    /// The bytes from `offset` of `segment` to the end of the buffer that holds them.
    pub(crate) fn get(&self, segment: u64, offset: u32) -> Option<&[u8]> {
        // The newest buffer is asked for most often.
        let newest = self
            .buffers
            .back()
            .filter(|cached| (cached.segment, cached.start) <= (segment, offset));
        let cached = match newest {
            Some(newest) => newest,
            None => {
                let after = self
                    .buffers
                    .partition_point(|cached| (cached.segment, cached.start) <= (segment, offset));
                self.buffers.get(after.checked_sub(1)?)?
            }
        };
        if cached.segment != segment {
            return None;
        }
        cached
            .bytes
            .get((offset - cached.start) as usize..)
            .filter(|bytes| !bytes.is_empty())
    }

    /// Drops the oldest buffers while too much is kept, but never the newest `keep`, which are not durable yet.
    pub(crate) fn shrink(&mut self, keep: usize) {
        while self.bytes > self.bytes_max && self.buffers.len() > keep {
            if let Some(cached) = self.buffers.pop_front() {
                self.bytes -= cached.bytes.capacity();
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::LogId;

    #[test]
    fn ordinals_survive_sealing() {
        let mut tail = Tail {
            open_first_ordinal: u32::MAX,
            ..Tail::default()
        };
        tail.open_segment(1);
        let detail = |sequence| Detail::new(LogId(1), sequence, 0, 10, 20, false);
        let first = tail.push(detail(1));
        let second = tail.push(detail(2));
        assert_eq!((first, second), (u32::MAX, 0));
        tail.seal();
        tail.open_segment(2);
        let third = tail.push(detail(3));
        assert_eq!(tail.get(second), (1, &detail(2)));
        assert_eq!(tail.get(third), (2, &detail(3)));
        tail.absorbed(1);
        assert_eq!(tail.get(third), (2, &detail(3)));
    }

    #[test]
    fn the_cache_is_bounded_and_found_by_offset() {
        let mut cache = Cache::new(15);
        for index in 0..4 {
            cache.push(1 + index / 2, (index % 2) as u32 * 10, Arc::new(vec![index as u8; 10]));
        }
        assert_eq!(cache.get(1, 15), Some(&[1; 5][..]));
        assert_eq!(cache.get(2, 0), Some(&[2; 10][..]));
        assert_eq!(cache.get(2, 20), None);
        assert_eq!(cache.get(0, 3), None);
        cache.shrink(2);
        assert_eq!(cache.bytes(), 20);
        assert_eq!(cache.get(1, 15), None);
        cache.shrink(0);
        assert_eq!(cache.bytes(), 10);
    }
}
