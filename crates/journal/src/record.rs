//! Codec of single records (docs/journal-format.md §6). Pure; does not know what a body means.

use crate::encryption::{FileCipher, NONCE_BYTES, TAG_BYTES};
use crate::format::{i64_at, u32_at, u64_at};
use crate::names::LogId;

pub(crate) const KIND_MESSAGE: u8 = 1;
pub(crate) const KIND_FACT: u8 = 2;
pub(crate) const KIND_TRIM: u8 = 3;
pub(crate) const KIND_DELETE: u8 = 4;
pub(crate) const KIND_MOVED: u8 = 5;
pub(crate) const KIND_TIME: u8 = 8;
pub(crate) const KIND_ENTRY: u8 = 9;

/// Bytes of a record of the time, without what encryption adds.
pub(crate) const TIME_BYTES: usize = COMMON_BYTES + 8;

/// Bytes before the fields of a kind.
pub(crate) const COMMON_BYTES: usize = 12;
/// Flag of a record whose body is encrypted.
pub(crate) const FLAG_ENCRYPTED: u8 = 1;
/// Nonce and tag: with them the extension of an encrypted record begins.
pub(crate) const ENCRYPTION_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// Bytes of a message record besides its body, without what encryption adds.
pub const MESSAGE_OVERHEAD_BYTES: usize = 36;

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it stays, with a checksum that begins with this seed.
    Plain(u32),
    /// For [`encrypt`], which gives it its checksum.
    ToBeEncrypted,
}

/// A record, borrowed from the bytes it was read from. Of an encrypted one the body is ciphertext.
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
    Time {
        timestamp: i64,
    },
    /// The only one of an entry that holds none of the owner's.
    Entry {
        kind: u8,
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
    #[error("an encrypted record is in a file that is not encrypted, or the other way round")]
    Form,
    #[error("the record is encrypted for another place")]
    Nonce,
    #[error("the encrypted record was altered")]
    NotAuthentic,
}

/// Appends a message (or a moved copy of one) whose body is the concatenation of `parts`; returns the record's length without
/// what encryption adds.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    form: Form,
    moved: bool,
    log: LogId,
    sequence: u64,
    timestamp: i64,
    parts: &[&[u8]],
) -> u32 {
    let mut head = [0; COMMON_BYTES + 24];
    head[12..20].copy_from_slice(&log.0.to_le_bytes());
    head[20..28].copy_from_slice(&sequence.to_le_bytes());
    head[28..36].copy_from_slice(&timestamp.to_le_bytes());
    write(
        out,
        form,
        if moved { KIND_MOVED } else { KIND_MESSAGE },
        &mut head,
        parts,
    )
}

pub(crate) fn write_fact(out: &mut Vec<u8>, form: Form, kind: u8, body: &[u8]) -> u32 {
    let mut head = [0; COMMON_BYTES + 1];
    head[12] = kind;
    write(out, form, KIND_FACT, &mut head, &[body])
}

pub(crate) fn write_trim(out: &mut Vec<u8>, form: Form, log: LogId, first: u64, body: &[u8]) -> u32 {
    let mut head = [0; COMMON_BYTES + 16];
    head[12..20].copy_from_slice(&log.0.to_le_bytes());
    head[20..28].copy_from_slice(&first.to_le_bytes());
    write(out, form, KIND_TRIM, &mut head, &[body])
}

pub(crate) fn write_delete(out: &mut Vec<u8>, form: Form, log: LogId, body: &[u8]) -> u32 {
    let mut head = [0; COMMON_BYTES + 8];
    head[12..20].copy_from_slice(&log.0.to_le_bytes());
    write(out, form, KIND_DELETE, &mut head, &[body])
}

pub(crate) fn write_time(out: &mut Vec<u8>, form: Form, timestamp: i64) -> u32 {
    let mut head = [0; TIME_BYTES];
    head[12..20].copy_from_slice(&timestamp.to_le_bytes());
    write(out, form, KIND_TIME, &mut head, &[])
}

pub(crate) fn write_entry(out: &mut Vec<u8>, form: Form, kind: u8, body: &[u8]) -> u32 {
    let mut head = [0; COMMON_BYTES + 1];
    head[12] = kind;
    write(out, form, KIND_ENTRY, &mut head, &[body])
}

/// `head` has the fields of the kind, behind room for those that all records have.
#[inline]
fn write<const HEAD: usize>(out: &mut Vec<u8>, form: Form, kind: u8, head: &mut [u8; HEAD], parts: &[&[u8]]) -> u32 {
    let start = out.len();
    let (flags, extension) = match form {
        Form::Plain(_) => (0, 0),
        Form::ToBeEncrypted => (FLAG_ENCRYPTED, ENCRYPTION_BYTES as u8),
    };
    head[8..11].copy_from_slice(&[kind, flags, extension]);
    out.extend_from_slice(head);
    if extension > 0 {
        out.extend_from_slice(&[0; ENCRYPTION_BYTES]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    let length = u32::try_from(out.len() - start).expect("bodies are bounded by RECORD_BODY_BYTES_MAX");
    let record = &mut out[start..];
    record[0..4].copy_from_slice(&length.to_le_bytes());
    if let Form::Plain(seed) = form {
        write_checksum(record, seed);
    }
    length - u32::from(extension)
}

/// The checksum covers the record without itself. For the moment of counting the length takes its place, so that all of it
/// lies together.
pub(crate) fn write_checksum(record: &mut [u8], seed: u32) {
    record.copy_within(0..4, 4);
    let checksum = crc32c::crc32c_append(seed, &record[4..]);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(record: &[u8], seed: u32) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[0..4]), &record[8..])
}

pub(crate) fn fields_bytes(kind: u8) -> Result<usize, RecordError> {
    match kind {
        KIND_MESSAGE | KIND_MOVED => Ok(24),
        KIND_FACT | KIND_ENTRY => Ok(1),
        KIND_TRIM => Ok(16),
        KIND_DELETE | KIND_TIME => Ok(8),
        other => Err(RecordError::Kind(other)),
    }
}

/// What the tag of a record covers besides its body: length, kind, flags, extension length and the fields of the kind.
struct Associated {
    bytes: [u8; 32],
    length: usize,
}

impl Associated {
    fn of(record: &[u8], fields_bytes: usize) -> Associated {
        let mut bytes = [0; 32];
        let length = 8 + fields_bytes;
        bytes[0..4].copy_from_slice(&record[0..4]);
        bytes[4..length].copy_from_slice(&record[8..COMMON_BYTES + fields_bytes]);
        Associated { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Encrypts all records in `records`, which were written as [`Form::ToBeEncrypted`], and gives them their checksums. Their
/// positions are `first_position` and those after it.
pub(crate) fn encrypt(records: &mut [u8], cipher: &FileCipher, first_position: u64, seed: u32) {
    let (mut rest, mut position) = (records, first_position);
    while !rest.is_empty() {
        let length = u32_at(rest, 0) as usize;
        let (record, behind) = rest.split_at_mut(length);
        let fields_bytes = fields_bytes(record[8]).expect("the record was written here");
        let nonce = cipher.nonce(position);
        let at = COMMON_BYTES + fields_bytes;
        let associated = Associated::of(record, fields_bytes);
        let tag = cipher.encrypt(nonce, associated.as_slice(), &mut record[at + ENCRYPTION_BYTES..]);
        record[at..at + NONCE_BYTES].copy_from_slice(&nonce);
        record[at + NONCE_BYTES..at + ENCRYPTION_BYTES].copy_from_slice(&tag);
        write_checksum(record, seed);
        position += 1;
        rest = behind;
    }
}

/// A record that was read, as it lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    pub(crate) record: Record<'a>,
    /// Bytes it takes.
    pub(crate) length: usize,
    bytes: &'a [u8],
    /// Where nonce and tag are.
    encrypted_at: Option<usize>,
    /// How much of the extension is behind them, or of that of a plain record all.
    extension: usize,
}

impl<'a> Parsed<'a> {
    /// Length without what encryption adds.
    pub(crate) fn plain_length(&self) -> u32 {
        let added = self.encrypted_at.map_or(0, |_| ENCRYPTION_BYTES);
        (self.length - added) as u32
    }

    /// Refuses a plain record in an encrypted file and an encrypted one in a plain file.
    pub(crate) fn expect_encrypted(self, encrypted: bool) -> Result<Parsed<'a>, RecordError> {
        if self.encrypted_at.is_some() == encrypted {
            Ok(self)
        } else {
            Err(RecordError::Form)
        }
    }

    /// The record as it was read.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Appends the readable body to `out`. `position` is the record's, if it is known.
    pub(crate) fn body(
        &self,
        cipher: Option<&FileCipher>,
        position: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let begin = out.len();
        self.readable(cipher, position, out)?;
        if self.extension > 0 {
            out.drain(begin..begin + self.extension);
        }
        Ok(())
    }

    /// The same with what is in the extension besides nonce and tag before the body.
    pub(crate) fn readable(
        &self,
        cipher: Option<&FileCipher>,
        position: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        match (self.encrypted_at, cipher) {
            (None, None) => {
                let rest = self.record.body().len() + self.extension;
                out.extend_from_slice(&self.bytes[self.bytes.len() - rest..]);
                Ok(())
            }
            (Some(at), Some(cipher)) => {
                let nonce: [u8; NONCE_BYTES] = self.bytes[at..at + NONCE_BYTES]
                    .try_into()
                    .expect("the extension holds a nonce");
                if position.is_some_and(|position| nonce != cipher.nonce(position)) {
                    return Err(RecordError::Nonce);
                }
                let tag = self.bytes[at + NONCE_BYTES..at + ENCRYPTION_BYTES]
                    .try_into()
                    .expect("the extension holds a tag");
                let associated = Associated::of(self.bytes, at - COMMON_BYTES);
                let ciphertext = &self.bytes[at + ENCRYPTION_BYTES..];
                cipher
                    .decrypt(nonce, tag, associated.as_slice(), ciphertext, out)
                    .map_err(|_| RecordError::NotAuthentic)
            }
            _ => Err(RecordError::Form),
        }
    }
}

impl<'a> Record<'a> {
    fn body(&self) -> &'a [u8] {
        match *self {
            Record::Message { body, .. }
            | Record::Fact { body, .. }
            | Record::Trim { body, .. }
            | Record::Delete { body, .. }
            | Record::Entry { body, .. } => body,
            Record::Time { .. } => &[],
        }
    }
}

/// Reads the record at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8], seed: u32) -> Result<Parsed<'_>, RecordError> {
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
    parse_unchecked(record)
}

/// Reads a record, of which `record` is as much as its length says, without looking at its checksum.
pub(crate) fn parse_unchecked(record: &[u8]) -> Result<Parsed<'_>, RecordError> {
    let flags = record[9];
    if flags & !FLAG_ENCRYPTED != 0 {
        return Err(RecordError::Flags(flags));
    }
    let kind = record[8];
    let fields_bytes = fields_bytes(kind)?;
    let extension = usize::from(u16::from_le_bytes([record[10], record[11]]));
    let encrypted_at = (flags & FLAG_ENCRYPTED != 0).then_some(COMMON_BYTES + fields_bytes);
    let added = encrypted_at.map_or(0, |_| ENCRYPTION_BYTES);
    let extension_left = extension.checked_sub(added).ok_or(RecordError::Length)?;
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
        KIND_TIME if !body.is_empty() => return Err(RecordError::Length),
        KIND_TIME => Record::Time {
            timestamp: i64_at(fields, 0),
        },
        KIND_DELETE => Record::Delete {
            log: LogId(u64_at(fields, 0)),
            body,
        },
        _ => Record::Entry { kind: fields[0], body },
    };
    Ok(Parsed {
        record: parsed,
        length: record.len(),
        bytes: record,
        encrypted_at,
        extension: extension_left,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::{Cipher, Encryption};
    use crate::format::SegmentId;
    use proptest::prelude::*;

    const SEED: u32 = 0x1234_5678;

    fn encode(record: &Record<'_>, form: Form) -> Vec<u8> {
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
                write_message(&mut out, form, moved, log, sequence, timestamp, &[left, right])
            }
            Record::Fact { kind, body } => write_fact(&mut out, form, kind, body),
            Record::Trim { log, first, body } => write_trim(&mut out, form, log, first, body),
            Record::Delete { log, body } => write_delete(&mut out, form, log, body),
            Record::Time { timestamp } => write_time(&mut out, form, timestamp),
            Record::Entry { kind, body } => write_entry(&mut out, form, kind, body),
        };
        out
    }

    proptest! {
        /// docs/journal-format.md §6: what is written is what is read, whatever follows it.
        #[test]
        fn records_round_trip(log: u64, sequence: u64, timestamp: i64, kind: u8, which in 0..7u8,
                              body in proptest::collection::vec(any::<u8>(), 0..300), after in 0..20usize) {
            let log = LogId(log);
            let record = match which {
                0 | 1 => Record::Message { log, sequence, timestamp, moved: which == 1, body: &body },
                2 => Record::Fact { kind, body: &body },
                3 => Record::Trim { log, first: sequence, body: &body },
                4 => Record::Time { timestamp },
                5 => Record::Delete { log, body: &body },
                _ => Record::Entry { kind, body: &body },
            };
            let mut bytes = encode(&record, Form::Plain(SEED));
            let length = bytes.len();
            bytes.resize(length + after, 0xab);
            let parsed = parse(&bytes, SEED).expect("it was just written");
            prop_assert_eq!((parsed.record, parsed.length, parsed.plain_length()), (record, length, length as u32));
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
        let bytes = encode(&record, Form::Plain(SEED));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged, SEED).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_extension_is_skipped() {
        let delete = Record::Delete {
            log: LogId(5),
            body: b"xyzbody",
        };
        let mut bytes = encode(&delete, Form::Plain(SEED));
        bytes[10] = 3;
        write_checksum(&mut bytes, SEED);
        let body = b"body".as_slice();
        let log = LogId(5);
        assert_eq!(
            parse(&bytes, SEED).map(|parsed| parsed.record),
            Ok(Record::Delete { log, body })
        );
        bytes[9] = 2;
        write_checksum(&mut bytes, SEED);
        assert_eq!(parse(&bytes, SEED), Err(RecordError::Flags(2)));
    }

    fn cipher() -> FileCipher {
        let keys = Encryption::deterministic(Cipher::ChaCha20Poly1305, b"key").keys(None, &[1; 16]);
        let keys = keys.expect("a new journal takes any key");
        keys.own_segment(SegmentId { number: 3, epoch: 7 })
    }

    fn encrypted(record: &Record<'_>, position: u64) -> Vec<u8> {
        let mut bytes = encode(record, Form::ToBeEncrypted);
        encrypt(&mut bytes, &cipher(), position, SEED);
        bytes
    }

    proptest! {
        /// docs/journal-format.md §11: what is encrypted is read back with the key, at its place, and shows nothing of its body.
        #[test]
        fn encrypted_records_round_trip(log: u64, sequence: u64, timestamp: i64, kind: u8, which in 0..7u8, position: u64,
                                        body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let log = LogId(log);
            let record = match which {
                0 | 1 => Record::Message { log, sequence, timestamp, moved: which == 1, body: &body },
                2 => Record::Fact { kind, body: &body },
                3 => Record::Trim { log, first: sequence, body: &body },
                4 => Record::Time { timestamp },
                5 => Record::Delete { log, body: &body },
                _ => Record::Entry { kind, body: &body },
            };
            let bytes = encrypted(&record, position);
            let parsed = parse(&bytes, SEED).expect("it was just written");
            let plain = encode(&record, Form::Plain(SEED));
            prop_assert_eq!((parsed.length, parsed.plain_length()), (plain.len() + 28, plain.len() as u32));
            let mut out = Vec::new();
            prop_assert_eq!(parsed.body(Some(&cipher()), Some(position), &mut out), Ok(()));
            prop_assert_eq!(&out[..], record.body());
            prop_assert_eq!(parsed.body(Some(&cipher()), None, &mut out), Ok(()));
            prop_assert_eq!(parsed.body(Some(&cipher()), Some(position ^ 1), &mut out), Err(RecordError::Nonce));
            prop_assert_eq!(parsed.body(None, None, &mut out), Err(RecordError::Form));
            prop_assert!(body.len() < 8 || !bytes.windows(8).any(|window| window == &body[..8]));
        }
    }

    /// docs/journal-format.md §6, §11: what else will be in an extension is encrypted with the body, and who does not know it reads past it.
    #[test]
    fn an_extension_behind_nonce_and_tag_is_encrypted_and_skipped() {
        let mut bytes = encode(
            &Record::Fact {
                kind: 4,
                body: b"headers, the body",
            },
            Form::ToBeEncrypted,
        );
        bytes[10] += b"headers, ".len() as u8;
        encrypt(&mut bytes, &cipher(), 5, SEED);
        assert!(
            !bytes.windows(7).any(|window| window == b"headers"),
            "it is not readable"
        );
        let parsed = parse(&bytes, SEED).expect("it was just written");
        let mut out = b"before, ".to_vec();
        assert_eq!(parsed.body(Some(&cipher()), Some(5), &mut out), Ok(()));
        assert_eq!(out, b"before, the body");
        bytes[10] -= 1;
        write_checksum(&mut bytes, SEED);
        let altered = parse(&bytes, SEED).expect("its checksum fits");
        let read = altered.body(Some(&cipher()), Some(5), &mut Vec::new());
        assert_eq!(
            read,
            Err(RecordError::NotAuthentic),
            "where the body begins is authenticated"
        );
    }

    /// Also of what the checksums do not protect from: somebody who changes a record and its checksum.
    #[test]
    fn every_bit_of_an_encrypted_record_is_authenticated() {
        let record = Record::Message {
            log: LogId(7),
            sequence: 9,
            timestamp: -3,
            moved: false,
            body: b"hello",
        };
        let bytes = encrypted(&record, 5);
        for bit in (0..4 * 8).chain(8 * 8..bytes.len() * 8) {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&altered, SEED).is_err(), "bit {bit} without the checksum");
            let length = (u32_at(&altered, 0) as usize).min(altered.len());
            if length > 8 {
                write_checksum(&mut altered[..length], SEED);
            }
            let read = parse(&altered, SEED).and_then(|parsed| parsed.body(Some(&cipher()), None, &mut Vec::new()));
            assert!(read.is_err(), "bit {bit}");
        }
    }
}
