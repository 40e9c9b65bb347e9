//! What is given up, in memory and as the file that says so (docs/journal-format.md §3, §9).

use crate::format::{
    FILE_HEADER_BYTES, Identity, NUMBER_MAX, SegmentId, check_header, check_preamble, i64_at, identity_at, seal_header,
    u32_at, u64_at, write_preamble,
};
use crate::lost_log::LostLog;
use crate::names::LogId;
use std::collections::BTreeMap;

/// Why a segment is set aside in which nothing is that could be lost.
pub(super) const HOLDS_NOTHING: &str = "holds nothing of this journal and has no header that fits";

const LOG_BYTES: usize = 32;
const SEGMENT_BYTES: usize = 16;

/// What a start gives up.
#[derive(Default)]
pub(crate) struct GivenUp {
    /// The segment that is cut, of which a copy is kept.
    pub(crate) cut: Option<SegmentId>,
    /// Segments that are set aside, and why.
    pub(crate) segments: Vec<(SegmentId, &'static str)>,
    /// Records between what was read and the next position are missing.
    pub(crate) gap: bool,
    /// A damaged checkpoint.
    pub(super) checkpoint: Option<GivenUpCheckpoint>,
    /// What is known of messages behind the damage.
    pub(crate) lost: BTreeMap<LogId, LostLog>,
    /// The tail does not reach as far as it did once.
    pub(crate) end: bool,
}

impl GivenUp {
    /// Whether something is lost by it, as far as that is known before the index is made: an interrupted write is nothing, nor is a file in
    /// which nothing was.
    pub(super) fn is_anything(&self) -> bool {
        let held = |(_, why): &(SegmentId, &'static str)| *why != HOLDS_NOTHING;
        self.end || self.checkpoint.is_some() || !self.lost.is_empty() || self.segments.iter().any(held)
    }
}

/// A checkpoint that was given up: a copy of it is kept, and what is whole of it takes its place.
pub(super) struct GivenUpCheckpoint {
    pub(super) name: String,
    /// What takes its place; nothing when an older one does.
    pub(super) salvaged: Option<Vec<u8>>,
}

/// Content of a file that says what was given up when an epoch was opened (§3).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LostFile {
    pub(crate) epoch: u64,
    pub(crate) logs: BTreeMap<LogId, LostLog>,
    /// Segments to be set aside.
    pub(crate) aside: Vec<SegmentId>,
}

impl LostFile {
    pub(super) fn encode(&self, identity: &Identity) -> Vec<u8> {
        let mut bytes = vec![0; FILE_HEADER_BYTES];
        for (log, lost) in &self.logs {
            for field in [log.0, lost.first, lost.last, lost.timestamp as u64] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        for id in &self.aside {
            bytes.extend_from_slice(&id.number.to_le_bytes());
            bytes.extend_from_slice(&id.epoch.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes[FILE_HEADER_BYTES..]);
        let header = &mut bytes[..FILE_HEADER_BYTES];
        write_preamble(header, b"SEAWAYLO", 0, identity);
        header[32..40].copy_from_slice(&self.epoch.to_le_bytes());
        header[40..44].copy_from_slice(&(self.logs.len() as u32).to_le_bytes());
        header[44..48].copy_from_slice(&(self.aside.len() as u32).to_le_bytes());
        header[48..52].copy_from_slice(&checksum.to_le_bytes());
        seal_header(header, 0);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], identity: &Identity, epoch: u64) -> Result<LostFile, String> {
        check_header(bytes, 0, "file of what is lost")?;
        check_preamble(bytes, b"SEAWAYLO", 0)?;
        if identity_at(bytes, 16) != *identity || u64_at(bytes, 32) != epoch {
            return Err("the file is about another epoch".to_owned());
        }
        let (logs, aside) = (u32_at(bytes, 40) as usize, u32_at(bytes, 44) as usize);
        let rest = &bytes[FILE_HEADER_BYTES..];
        if rest.len() != logs * LOG_BYTES + aside * SEGMENT_BYTES || crc32c::crc32c(rest) != u32_at(bytes, 48) {
            return Err("its length or its checksum does not match".to_owned());
        }
        let (logs, aside) = rest.split_at(logs * LOG_BYTES);
        let log = |bytes: &[u8]| {
            let lost = LostLog {
                first: u64_at(bytes, 8),
                last: u64_at(bytes, 16),
                timestamp: i64_at(bytes, 24),
            };
            (LogId(u64_at(bytes, 0)), lost)
        };
        let segment = |bytes: &[u8]| SegmentId {
            number: u64_at(bytes, 0),
            epoch: u64_at(bytes, 8),
        };
        let lost = LostFile {
            epoch,
            logs: logs.chunks_exact(LOG_BYTES).map(log).collect(),
            aside: aside.chunks_exact(SEGMENT_BYTES).map(segment).collect(),
        };
        let is_possible = |lost: &LostLog| (1..NUMBER_MAX).contains(&lost.first) && lost.last < NUMBER_MAX;
        match lost.logs.values().all(is_possible) && lost.aside.iter().all(|id| id.number < NUMBER_MAX) {
            true => Ok(lost),
            false => Err("it says what cannot be".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_written_and_read_and_nothing_else_is_taken_for_it() {
        let lost = LostLog {
            first: 27,
            last: 250,
            timestamp: -4,
        };
        let file = LostFile {
            epoch: 3,
            logs: BTreeMap::from([(LogId(1), lost), (LogId(9), LostLog { first: 1, ..lost })]),
            aside: vec![SegmentId { number: 2, epoch: 1 }],
        };
        let identity = [7; 16];
        let bytes = file.encode(&identity);
        assert_eq!(LostFile::decode(&bytes, &identity, 3), Ok(file));
        assert!(LostFile::decode(&bytes, &identity, 4).is_err() && LostFile::decode(&bytes, &[8; 16], 3).is_err());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(LostFile::decode(&flipped, &identity, 3).is_err(), "byte {at}");
            assert!(LostFile::decode(&bytes[..at], &identity, 3).is_err(), "length {at}");
        }
    }
}
