//! Codec of batch headers (docs/journal-format.md §5, §14). Pure; knows nothing of what a record holds.

use crate::entry::EntryId;
use crate::format::{NUMBER_MAX, u32_at, u64_at};

pub(crate) const BATCH_HEADER_BYTES: usize = 64;
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"SWBT");
/// What a medium writes at least, as a rule.
const PAGE_BYTES: u32 = 4_096;
/// The most zeros behind the last record: a batch that is padded to its page's end is as long as a third of that at most, and is not made
/// more than twice as long.
pub(crate) const BATCH_PADDING_MAX: u64 = PAGE_BYTES as u64 / 3 + 8;

/// How many zeros follow the last record of a batch that is so long without them.
fn padding(length: usize, offset: u32, capacity: u64) -> usize {
    let least = length.wrapping_neg() & 7;
    let end = offset as usize + length + least;
    let left = end.wrapping_neg() & (PAGE_BYTES as usize - 1);
    // Three of them and more fit into a page: what is left is little beside what a second page costs.
    let is_small = 3 * (length + least) <= PAGE_BYTES as usize;
    if is_small && left < length && (end + left) as u64 <= capacity {
        least + left
    } else {
        least
    }
}

/// What a batch header says of the entry that the batch is (§14); of a local batch zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EntryMark {
    pub(crate) id: EntryId,
    /// Its index less the highest that its writer knew to be committed; `u32::MAX` when that is more.
    pub(crate) behind: u32,
}

impl EntryMark {
    fn decode(bytes: &[u8]) -> EntryMark {
        EntryMark {
            id: EntryId {
                term: u64_at(bytes, 32),
                index: u64_at(bytes, 40),
            },
            behind: u32_at(bytes, 48),
        }
    }

    /// The highest index that its writer knew to be committed, when it says so.
    pub(crate) fn committed(&self) -> Option<u64> {
        (self.behind < u32::MAX).then(|| self.id.index - u64::from(self.behind))
    }

    /// Whether anybody writes it.
    fn is_possible(&self) -> bool {
        let EntryId { term, index } = self.id;
        match index {
            0 => term == 0 && self.behind == 0,
            _ => term < NUMBER_MAX && index < NUMBER_MAX && u64::from(self.behind) <= index,
        }
    }
}

/// Header of a batch (§5), as far as it varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) length: u32,
    pub(crate) epoch: u64,
    pub(crate) first_position: u64,
    pub(crate) count: u32,
    pub(crate) predecessor: u32,
    pub(crate) entry: EntryMark,
    pub(crate) padding: u32,
    pub(crate) body_checksum: u32,
    pub(crate) checksum: u32,
}

impl BatchHeader {
    /// Pads the batch in `bytes` (64 bytes of room, then records) to a multiple of 8, or to the end of its page when it will begin at
    /// `offset`, is small, and one like it would not fit behind it: a sync then writes one page. Fills in its header and returns it.
    #[expect(clippy::too_many_arguments, reason = "what a batch header says")]
    pub(crate) fn finish(
        bytes: &mut Vec<u8>,
        seed: u32,
        epoch: u64,
        first_position: u64,
        count: u32,
        predecessor: u32,
        entry: EntryMark,
        (offset, capacity): (u32, u64),
    ) -> BatchHeader {
        let padding = padding(bytes.len(), offset, capacity);
        bytes.resize(bytes.len() + padding, 0);
        let length = u32::try_from(bytes.len()).expect("a batch fits into a segment, which is smaller than 4 GB");
        let body_checksum = crc32c::crc32c_append(seed, &bytes[BATCH_HEADER_BYTES..]);
        let header = &mut bytes[..BATCH_HEADER_BYTES];
        header.fill(0);
        header[0..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&epoch.to_le_bytes());
        header[16..24].copy_from_slice(&first_position.to_le_bytes());
        header[24..28].copy_from_slice(&count.to_le_bytes());
        header[28..32].copy_from_slice(&predecessor.to_le_bytes());
        header[32..40].copy_from_slice(&entry.id.term.to_le_bytes());
        header[40..48].copy_from_slice(&entry.id.index.to_le_bytes());
        header[48..52].copy_from_slice(&entry.behind.to_le_bytes());
        header[52..56].copy_from_slice(&(padding as u32).to_le_bytes());
        header[56..60].copy_from_slice(&body_checksum.to_le_bytes());
        let checksum = crc32c::crc32c_append(seed, &header[0..60]);
        header[60..64].copy_from_slice(&checksum.to_le_bytes());
        let padding = padding as u32;
        BatchHeader {
            length,
            epoch,
            first_position,
            count,
            predecessor,
            entry,
            padding,
            body_checksum,
            checksum,
        }
    }

    /// Reads a header; `None` when there is none of this segment at the start of `bytes`.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<BatchHeader> {
        if bytes.len() < BATCH_HEADER_BYTES || u32_at(bytes, 0) != BATCH_MAGIC {
            return None;
        }
        let checksum = u32_at(bytes, 60);
        let entry = EntryMark::decode(bytes);
        if crc32c::crc32c_append(seed, &bytes[0..60]) != checksum || !entry.is_possible() {
            return None;
        }
        let header = BatchHeader {
            length: u32_at(bytes, 4),
            epoch: u64_at(bytes, 8),
            first_position: u64_at(bytes, 16),
            count: u32_at(bytes, 24),
            predecessor: u32_at(bytes, 28),
            entry,
            padding: u32_at(bytes, 52),
            body_checksum: u32_at(bytes, 56),
            checksum,
        };
        let plausible = header.length as usize >= BATCH_HEADER_BYTES + header.padding as usize
            && header.length.is_multiple_of(8)
            && header.padding < PAGE_BYTES
            && header.count > 0
            && header.first_position < NUMBER_MAX;
        plausible.then_some(header)
    }

    /// Whether `bytes`, which start with this header, hold the whole batch undamaged.
    pub(crate) fn is_whole(&self, bytes: &[u8], seed: u32) -> bool {
        bytes
            .get(BATCH_HEADER_BYTES..self.length as usize)
            .is_some_and(|body| crc32c::crc32c_append(seed, body) == self.body_checksum)
    }

    /// The records inside a whole batch.
    pub(crate) fn records<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[BATCH_HEADER_BYTES..(self.length - self.padding) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_that_does_not_fit_says_nothing_of_commits() {
        let mark = |index, behind| EntryMark {
            id: EntryId { term: 1, index },
            behind,
        };
        assert_eq!(mark(9, 2).committed(), Some(7));
        assert_eq!(mark(1 << 33, u32::MAX - 1).committed(), Some((1 << 32) + 2));
        assert_eq!(mark(1 << 33, u32::MAX).committed(), None);
    }
}
