//! Content of a claim's file (docs/journal-format.md §3): who claims, and the counter of the lease, which alone is written again.

use crate::disk::DiskFile;
use crate::format::{u32_at, u64_at};
use std::io;

/// One sector, so that no reader sees half of it.
pub(super) const CLAIM_BYTES: usize = 512;
/// Longest name of a member that is kept, in bytes.
pub(super) const MEMBER_BYTES_MAX: usize = 400;
const MAGIC: &[u8; 8] = b"SEAWAYCL";
const VERSION: u32 = 1;
const MEMBER_AT: usize = 44;
const CHECKSUM_AT: usize = 492;
const COUNTER_AT: usize = 496;

/// What a claim's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimFile {
    pub(super) number: u64,
    pub(super) member: String,
    pub(super) token: [u8; 16],
    pub(super) counter: u64,
}

impl ClaimFile {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; CLAIM_BYTES];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.token);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        let member = shortened(&self.member).as_bytes();
        bytes[40..44].copy_from_slice(&(member.len() as u32).to_le_bytes());
        bytes[MEMBER_AT..MEMBER_AT + member.len()].copy_from_slice(member);
        let checksum = crc32c::crc32c(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..COUNTER_AT].copy_from_slice(&checksum.to_le_bytes());
        bytes[COUNTER_AT..COUNTER_AT + 8].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }

    /// `None` when it is not whole: its claimant was interrupted, or has not come so far.
    pub(super) fn decode(bytes: &[u8]) -> Option<ClaimFile> {
        let is_whole = bytes.len() >= CLAIM_BYTES
            && bytes[0..8] == *MAGIC
            && crc32c::crc32c(&bytes[..CHECKSUM_AT]) == u32_at(bytes, CHECKSUM_AT);
        let length = is_whole.then(|| u32_at(bytes, 40) as usize)?;
        let member = bytes[MEMBER_AT..CHECKSUM_AT].get(..length)?;
        Some(ClaimFile {
            number: u64_at(bytes, 32),
            member: String::from_utf8_lossy(member).into_owned(),
            token: bytes[16..32].try_into().ok()?,
            counter: u64_at(bytes, COUNTER_AT),
        })
    }

    pub(super) fn read(file: &dyn DiskFile) -> io::Result<Option<ClaimFile>> {
        let length = file.length()?.min(CLAIM_BYTES as u64);
        let mut bytes = vec![0; length as usize];
        file.read_at(&mut bytes, 0)?;
        Ok(ClaimFile::decode(&bytes))
    }
}

/// Writes the counter alone, durably.
pub(super) fn write_counter(file: &dyn DiskFile, counter: u64) -> io::Result<()> {
    file.write_at(&counter.to_le_bytes(), COUNTER_AT as u64)?;
    file.sync_data()
}

/// As much of a name as is kept.
fn shortened(member: &str) -> &str {
    let end = (0..=MEMBER_BYTES_MAX).rev().find(|end| member.is_char_boundary(*end));
    member.get(..end.unwrap_or(0)).unwrap_or(member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_written_and_read_and_half_of_one_is_none() {
        let claim = ClaimFile {
            number: 7,
            member: "ä".repeat(300),
            token: [9; 16],
            counter: 41,
        };
        let mut bytes = claim.encode();
        let read = ClaimFile::decode(&bytes).unwrap();
        assert_eq!((read.number, read.token, read.counter), (7, [9; 16], 41));
        assert_eq!(read.member, "ä".repeat(MEMBER_BYTES_MAX / 2));
        for at in 0..COUNTER_AT {
            bytes[at] ^= 1;
            assert_eq!(ClaimFile::decode(&bytes).is_none(), at < CHECKSUM_AT + 4, "byte {at}");
            bytes[at] ^= 1;
            assert_eq!(ClaimFile::decode(&bytes[..at]), None);
        }
        // No checksum covers what is written again and again.
        bytes[COUNTER_AT] += 1;
        assert_eq!(ClaimFile::decode(&bytes).unwrap().counter, 42);
        let short = ClaimFile {
            member: "a".to_owned(),
            ..claim
        };
        assert_eq!(ClaimFile::decode(&short.encode()), Some(short));
    }
}
