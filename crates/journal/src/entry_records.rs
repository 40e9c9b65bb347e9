//! Records as they go from member to member (docs/journal-format.md §14): as they are without encryption, with zero in place of the
//! checksum, which is each member's own. What comes from another member is checked here before anything is done with it.

use crate::batch::BatchHeader;
use crate::encryption::FileCipher;
use crate::entry::EntryKind;
use crate::format::u32_at;
use crate::record::{
    COMMON_BYTES, ENCRYPTION_BYTES, FLAG_ENCRYPTED, Form, KIND_ENTRY, KIND_MOVED, Parsed, Record, RecordError,
    fields_bytes, parse_unchecked, write_checksum,
};

/// What the bytes of another member begin with: a record of the owner, and how long it is.
pub(crate) fn next(bytes: &[u8]) -> Result<(Record<'_>, usize), RecordError> {
    if bytes.len() < COMMON_BYTES {
        return Err(RecordError::Length);
    }
    let length = u32_at(bytes, 0) as usize;
    let record = bytes.get(..length).filter(|record| record.len() >= COMMON_BYTES);
    let record = record.ok_or(RecordError::Length)?;
    if record[9] != 0 {
        return Err(RecordError::Flags(record[9]));
    }
    // With what encryption adds it has to fit as well.
    if usize::from(u16::from_le_bytes([record[10], record[11]])) + ENCRYPTION_BYTES > usize::from(u16::MAX) {
        return Err(RecordError::Length);
    }
    match record[8] {
        kind @ (KIND_MOVED | KIND_ENTRY) => Err(RecordError::Kind(kind)),
        _ => Ok((parse_unchecked(record)?.record, length)),
    }
}

/// Appends a record of another member, which was checked, in the form of this one's file. Returns its length without what encryption
/// adds.
pub(crate) fn write(out: &mut Vec<u8>, form: Form, record: &[u8]) -> u32 {
    let start = out.len();
    match form {
        Form::Plain(seed) => {
            out.extend_from_slice(record);
            write_checksum(&mut out[start..], seed);
        }
        Form::ToBeEncrypted => {
            let at = COMMON_BYTES + fields_bytes(record[8]).expect("the record was checked");
            let length = (record.len() + ENCRYPTION_BYTES) as u32;
            let extension = u16::from_le_bytes([record[10], record[11]]) + ENCRYPTION_BYTES as u16;
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&[record[8], record[9] | FLAG_ENCRYPTED]);
            out.extend_from_slice(&extension.to_le_bytes());
            out.extend_from_slice(&record[COMMON_BYTES..at]);
            out.extend_from_slice(&[0; ENCRYPTION_BYTES]);
            out.extend_from_slice(&record[at..]);
        }
    }
    record.len() as u32
}

/// A record as it lies in memory or on the disk, for another member: its first bytes anew, its fields, and where the rest begins.
fn parts(record: &[u8]) -> Option<([u8; COMMON_BYTES], &[u8], usize)> {
    let is_encrypted = record.get(9)? & FLAG_ENCRYPTED != 0;
    let added = if is_encrypted { ENCRYPTION_BYTES } else { 0 };
    let at = COMMON_BYTES + fields_bytes(record[8]).ok()?;
    let extension = u16::from_le_bytes([record[10], record[11]]).checked_sub(added as u16)?;
    let mut head = [0; COMMON_BYTES];
    head[0..4].copy_from_slice(&(record.len().checked_sub(added)? as u32).to_le_bytes());
    head[8..10].copy_from_slice(&[record[8], record[9] & !FLAG_ENCRYPTED]);
    head[10..12].copy_from_slice(&extension.to_le_bytes());
    Some((head, record.get(COMMON_BYTES..at)?, at + added))
}

/// Goes through records in memory, plain or still to be encrypted, that are `bytes` long for other members, piece by piece. `None` when
/// they are none.
fn pieces(mut records: &[u8], bytes: usize, mut take: impl FnMut(&[u8])) -> Option<()> {
    let mut left = bytes;
    while left > 0 {
        let length = u32_at(records.get(..4)?, 0) as usize;
        let record = records.get(..length)?;
        let (head, fields, rest) = parts(record)?;
        let rest = record.get(rest..)?;
        left = left.checked_sub(head.len() + fields.len() + rest.len())?;
        take(&head);
        take(fields);
        take(rest);
        records = &records[length..];
    }
    Some(())
}

/// Records in memory as another member gets them.
pub(crate) fn for_members(records: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes);
    pieces(records, bytes, |piece| out.extend_from_slice(piece))?;
    Some(out)
}

/// The CRC-32C of that.
pub(crate) fn checksum(records: &[u8], bytes: usize) -> Option<u32> {
    let mut checksum = 0;
    pieces(records, bytes, |piece| {
        checksum = crc32c::crc32c_append(checksum, piece)
    })?;
    Some(checksum)
}

/// The same of a record that was read from the disk; `position` is its own.
pub(crate) fn read_for_members(
    parsed: &Parsed<'_>,
    cipher: Option<&FileCipher>,
    position: u64,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let (head, fields, _) = parts(parsed.bytes()).ok_or(RecordError::Length)?;
    out.extend_from_slice(&head);
    out.extend_from_slice(fields);
    parsed.readable(cipher, Some(position), out)
}

/// What is in a batch, as the kinds of its records say.
pub(crate) struct Held {
    pub(crate) kind: EntryKind,
    /// All of them are copies.
    pub(crate) is_of_copies: bool,
}

impl Held {
    /// Checks that they may be together in a batch with this header.
    pub(crate) fn of(header: &BatchHeader, mut records: &[u8]) -> Result<Held, String> {
        let (mut copies, mut kind, count) = (0, EntryKind::Records, header.count);
        for _ in 0..count {
            match records.get(8) {
                Some(&KIND_MOVED) => copies += 1,
                Some(&KIND_ENTRY) => kind = alone(records.get(12), count)?,
                _ => {}
            }
            let length = records.get(..4).map_or(usize::MAX, |length| u32_at(length, 0) as usize);
            records = records.get(length..).ok_or("a record reaches over its batch")?;
        }
        match header.entry.id.index {
            0 if kind != EntryKind::Records => Err("a record that is alone in its entry is in none".to_owned()),
            1.. if copies > 0 => Err("an entry holds a copy".to_owned()),
            _ => Ok(Held {
                kind,
                is_of_copies: copies == count,
            }),
        }
    }
}

/// Of an entry with a record like this one.
fn alone(code: Option<&u8>, count: u32) -> Result<EntryKind, String> {
    let kind = code.and_then(|code| EntryKind::of_code(*code));
    match (kind, count) {
        (Some(kind), 1) => Ok(kind),
        (Some(_), _) => Err("a record that is alone in its entry has company".to_owned()),
        (None, _) => Err("an entry of an unknown kind: written by a newer version?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::{Cipher, Encryption};
    use crate::format::SegmentId;
    use crate::names::LogId;
    use crate::record::{encrypt, parse, write_delete, write_fact, write_message, write_trim};
    use proptest::prelude::*;

    const SEED: u32 = 0x1234_5678;

    fn cipher() -> FileCipher {
        let keys = Encryption::deterministic(Cipher::ChaCha20Poly1305, b"key").keys(None, &[1; 16]);
        let keys = keys.expect("a new journal takes any key");
        keys.own_segment(SegmentId { number: 3, epoch: 7 })
    }

    fn written(form: Form, bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, body) in bodies.iter().enumerate() {
            let log = LogId(index as u64);
            match index % 4 {
                0 => write_message(&mut out, form, false, log, 4, -5, &[body]),
                1 => write_fact(&mut out, form, 9, body),
                2 => write_trim(&mut out, form, log, 8, body),
                _ => write_delete(&mut out, form, log, body),
            };
        }
        out
    }

    /// What a reader of the disk makes of them.
    fn read(mut records: &[u8], cipher: Option<&FileCipher>) -> Vec<u8> {
        let (mut out, mut position) = (Vec::new(), 40);
        while !records.is_empty() {
            let parsed = parse(records, SEED).expect("it was just written");
            read_for_members(&parsed, cipher, position, &mut out).expect("it can be decrypted");
            records = &records[parsed.length..];
            position += 1;
        }
        out
    }

    proptest! {
        /// docs/journal-format.md §14: whatever a member does with its own file, the others get the same bytes, and make the same of them.
        #[test]
        fn every_form_is_the_same_for_other_members(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..9)) {
            let mut plain = written(Form::Plain(SEED), &bodies);
            let bytes = plain.len();
            let of_members = for_members(&plain, bytes).expect("they are records");
            prop_assert_eq!(of_members.len(), bytes);
            prop_assert_eq!(checksum(&plain, bytes), Some(crc32c::crc32c(&of_members)));
            prop_assert_eq!(&read(&plain, None), &of_members);
            let mut encrypted = written(Form::ToBeEncrypted, &bodies);
            prop_assert_eq!(for_members(&encrypted, bytes), Some(of_members.clone()));
            // As another member writes it, which is as if it had come from its own owner.
            for (form, own) in [(Form::Plain(SEED), &plain), (Form::ToBeEncrypted, &encrypted)] {
                let (mut rest, mut out) = (of_members.as_slice(), Vec::new());
                while !rest.is_empty() {
                    let (_, length) = next(rest).expect("it is a record");
                    prop_assert_eq!(write(&mut out, form, &rest[..length]), length as u32);
                    rest = &rest[length..];
                }
                prop_assert_eq!(&out, own);
            }
            encrypt(&mut encrypted, &cipher(), 40, SEED);
            prop_assert_eq!(&read(&encrypted, Some(&cipher())), &of_members);
            plain.truncate(bytes - 1);
            prop_assert!(for_members(&plain, bytes).is_none(), "one that is cut off");
        }

        /// Nothing panics on what another member sends.
        #[test]
        fn arbitrary_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok((_, length)) = next(&bytes) {
                prop_assert!(length <= bytes.len());
                let mut out = Vec::new();
                write(&mut out, Form::ToBeEncrypted, &bytes[..length]);
                prop_assert!(checksum(&out, length).is_some());
            }
        }
    }

    #[test]
    fn neither_copies_nor_what_is_alone_in_its_entry_is_taken_for_a_record_of_the_owner() {
        let mut copy = Vec::new();
        write_message(&mut copy, Form::Plain(SEED), true, LogId(1), 1, 1, &[b"body"]);
        assert_eq!(next(&copy), Err(RecordError::Kind(KIND_MOVED)));
        let mut entry = Vec::new();
        crate::record::write_entry(&mut entry, Form::Plain(SEED), 1, b"");
        assert_eq!(next(&entry), Err(RecordError::Kind(KIND_ENTRY)));
    }
}
