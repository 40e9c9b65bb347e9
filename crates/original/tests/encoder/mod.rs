//! Just enough of the format to write what the generator does not: large files, and damage with good checksums.

#![allow(dead_code, reason = "each test program uses its part")]

/// CRC-32 (IEEE), bit by bit.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

pub(crate) fn record(kind: u32, payload: &[u8]) -> Vec<u8> {
    let head = kind << 24 | u32::try_from(payload.len()).unwrap();
    [&head.to_le_bytes(), &crc(payload).to_le_bytes(), payload].concat()
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7F {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

pub(crate) fn blob(field: u64, value: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2)[..], &varint(value.len() as u64), value].concat()
}

pub(crate) fn message(sequence: u64, subject: &str, data: &[u8], timestamp_ns: u64) -> Vec<u8> {
    [
        number(1, sequence),
        blob(2, subject.as_bytes()),
        blob(4, data),
        number(5, timestamp_ns),
    ]
    .concat()
}

pub(crate) fn index_entry(sequence: u64, offset: u64, timestamp_ns: u64, size: usize) -> Vec<u8> {
    let size = u32::try_from(size).unwrap();
    let entry = [
        &sequence.to_le_bytes()[..],
        &offset.to_le_bytes(),
        &timestamp_ns.to_le_bytes(),
        &size.to_le_bytes(),
    ]
    .concat();
    let crc = crc(&entry);
    [&entry[..], &crc.to_le_bytes()].concat()
}

pub(crate) const HEADER: [u8; 4] = [1, 0, 0, 0];
