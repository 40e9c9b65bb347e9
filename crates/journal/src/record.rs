//! Codec of single records (docs/journal-format.md §6). Pure; does not know what a body means.

use crate::LogId;
use crate::format::{i64_at, u32_at, u64_at};

pub(crate) const KIND_MESSAGE: u8 = 1;
pub(crate) const KIND_FACT: u8 = 2;
pub(crate) const KIND_TRIM: u8 = 3;
pub(crate) const KIND_DELETE: u8 = 4;
pub(crate) const KIND_MOVED: u8 = 5;

/// Bytes before the fields of a kind.
const COMMON_BYTES: usize = 12;
/// Bytes of a message record besides its body.
pub const MESSAGE_OVERHEAD_BYTES: usize = 36;

/// A record, borrowed from the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Message {
        log: LogId,
        sequence: u64,
        timestamp: i64,
        moved: bool,
        body: &'a [u8],
    },
    Fact {
        kind: u8,
        body: &'a [u8],
    },
    Trim {
        log: LogId,
        first: u64,
        body: &'a [u8],
    },
    Delete {
        log: LogId,
        body: &'a [u8],
    },
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the record's length is impossible")]
    Length,
    #[error("the record's checksum does not match")]
    Checksum,
    #[error("record kind {0} is unknown: written by a newer version?")]
    Kind(u8),
    #[error("record flags {0:#x} are unknown: written by a newer version?")]
    Flags(u8),
}

/// Appends a message (or a moved copy of one) whose body is the concatenation of `parts`; returns the record's length.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    seed: u32,
    moved: bool,
    log: LogId,
    sequence: u64,
    timestamp: i64,
    parts: &[&[u8]],
) -> u32 {
    let mut fields = [0; 24];
    fields[0..8].copy_from_slice(&log.0.to_le_bytes());
    fields[8..16].copy_from_slice(&sequence.to_le_bytes());
    fields[16..24].copy_from_slice(&timestamp.to_le_bytes());
    write(out, seed, if moved { KIND_MOVED } else { KIND_MESSAGE }, &fields, parts)
}

pub(crate) fn write_fact(out: &mut Vec<u8>, seed: u32, kind: u8, body: &[u8]) -> u32 {
    write(out, seed, KIND_FACT, &[kind], &[body])
}

pub(crate) fn write_trim(out: &mut Vec<u8>, seed: u32, log: LogId, first: u64, body: &[u8]) -> u32 {
    let mut fields = [0; 16];
    fields[0..8].copy_from_slice(&log.0.to_le_bytes());
    fields[8..16].copy_from_slice(&first.to_le_bytes());
    write(out, seed, KIND_TRIM, &fields, &[body])
}

pub(crate) fn write_delete(out: &mut Vec<u8>, seed: u32, log: LogId, body: &[u8]) -> u32 {
    write(out, seed, KIND_DELETE, &log.0.to_le_bytes(), &[body])
}

#[inline]
fn write(out: &mut Vec<u8>, seed: u32, kind: u8, fields: &[u8], parts: &[&[u8]]) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, kind, 0, 0, 0]);
    out.extend_from_slice(fields);
    for part in parts {
        out.extend_from_slice(part);
    }
    let length = u32::try_from(out.len() - start).expect("bodies are bounded by RECORD_BODY_BYTES_MAX");
    let record = &mut out[start..];
    record[0..4].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(record, seed);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
    length
}

fn checksum(record: &[u8], seed: u32) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[0..4]), &record[8..])
}

/// Reads the record at the start of `bytes`; returns it and its length.
pub(crate) fn parse(bytes: &[u8], seed: u32) -> Result<(Record<'_>, usize), RecordError> {
    if bytes.len() < COMMON_BYTES {
        return Err(RecordError::Length);
    }
    let length = u32_at(bytes, 0) as usize;
    if length < COMMON_BYTES || length > bytes.len() {
        return Err(RecordError::Length);
    }
    let record = &bytes[..length];
    if checksum(record, seed) != u32_at(record, 4) {
        return Err(RecordError::Checksum);
    }
    if record[9] != 0 {
        return Err(RecordError::Flags(record[9]));
    }
    let kind = record[8];
    let fields_bytes = match kind {
        KIND_MESSAGE | KIND_MOVED => 24,
        KIND_FACT => 1,
        KIND_TRIM => 16,
        KIND_DELETE => 8,
        other => return Err(RecordError::Kind(other)),
    };
    let extension = usize::from(u16::from_le_bytes([record[10], record[11]]));
    let body = record
        .get(COMMON_BYTES + fields_bytes + extension..)
        .ok_or(RecordError::Length)?;
    let fields = &record[COMMON_BYTES..COMMON_BYTES + fields_bytes];
    let parsed = match kind {
        KIND_MESSAGE | KIND_MOVED => Record::Message {
            log: LogId(u64_at(fields, 0)),
            sequence: u64_at(fields, 8),
            timestamp: i64_at(fields, 16),
            moved: kind == KIND_MOVED,
            body,
        },
        KIND_FACT => Record::Fact { kind: fields[0], body },
        KIND_TRIM => Record::Trim {
            log: LogId(u64_at(fields, 0)),
            first: u64_at(fields, 8),
            body,
        },
        _ => Record::Delete {
            log: LogId(u64_at(fields, 0)),
            body,
        },
    };
    Ok((parsed, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: u32 = 0x1234_5678;

    fn encode(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        match *record {
            Record::Message {
                log,
                sequence,
                timestamp,
                moved,
                body,
            } => {
                let (left, right) = body.split_at(body.len() / 2);
                write_message(&mut out, SEED, moved, log, sequence, timestamp, &[left, right])
            }
            Record::Fact { kind, body } => write_fact(&mut out, SEED, kind, body),
            Record::Trim { log, first, body } => write_trim(&mut out, SEED, log, first, body),
            Record::Delete { log, body } => write_delete(&mut out, SEED, log, body),
        };
        out
    }

    proptest! {
        /// docs/journal-format.md §6: what is written is what is read, whatever follows it.
        #[test]
        fn records_round_trip(log: u64, sequence: u64, timestamp: i64, kind: u8, which in 0..5u8,
                              body in proptest::collection::vec(any::<u8>(), 0..300), after in 0..20usize) {
            let log = LogId(log);
            let record = match which {
                0 | 1 => Record::Message { log, sequence, timestamp, moved: which == 1, body: &body },
                2 => Record::Fact { kind, body: &body },
                3 => Record::Trim { log, first: sequence, body: &body },
                _ => Record::Delete { log, body: &body },
            };
            let mut bytes = encode(&record);
            let length = bytes.len();
            bytes.resize(length + after, 0xab);
            prop_assert_eq!(parse(&bytes, SEED), Ok((record, length)));
            prop_assert!(parse(&bytes, SEED + 1).is_err(), "another segment's seed");
            prop_assert!(parse(&bytes[..length - 1], SEED).is_err());
        }

        /// Nothing panics on bytes that are no record.
        #[test]
        fn arbitrary_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, SEED);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = Record::Message {
            log: LogId(7),
            sequence: 9,
            timestamp: -3,
            moved: false,
            body: b"hello",
        };
        let bytes = encode(&record);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged, SEED).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_extension_is_skipped() {
        let mut bytes = encode(&Record::Delete {
            log: LogId(5),
            body: b"xyzbody",
        });
        bytes[10] = 3;
        let sum = checksum(&bytes, SEED);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(
            parse(&bytes, SEED),
            Ok((
                Record::Delete {
                    log: LogId(5),
                    body: b"body"
                },
                bytes.len()
            ))
        );
        bytes[9] = 1;
        let sum = checksum(&bytes, SEED);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(parse(&bytes, SEED), Err(RecordError::Flags(1)));
    }
}
