//! A Raft log entry (specification §6.11): a msgpack map, read by its keys. Whatever stands under other keys is passed over, without
//! recursion.

use crate::limits::ENTRY_VALUES_MAX;

/// An entry of the Raft log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogEntry<'a> {
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// 0 is a command.
    pub(crate) kind: u64,
    pub(crate) data: &'a [u8],
}

/// The bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoEntry;

enum Value<'a> {
    Number(u64),
    Raw(&'a [u8]),
    /// So many values follow as its parts.
    Nested(u64),
    Other,
}

impl<'a> LogEntry<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, NoEntry> {
        let mut rest = bytes;
        let fields = match *take(&mut rest, 1)? {
            [head @ 0x80..=0x8F] => u64::from(head & 0x0F),
            [0xDE] => big_endian(take(&mut rest, 2)?),
            _ => return Err(NoEntry),
        };
        let mut entry = Self::default();
        let (mut has_index, mut has_term) = (false, false);
        for _ in 0..fields {
            let Value::Raw(name) = value(&mut rest)? else {
                return Err(NoEntry);
            };
            let found = value(&mut rest)?;
            match (name, &found) {
                (b"Index", Value::Number(number)) => (entry.index, has_index) = (*number, true),
                (b"Term", Value::Number(number)) => (entry.term, has_term) = (*number, true),
                (b"Type", Value::Number(number)) => entry.kind = *number,
                (b"Data", Value::Raw(data)) => entry.data = data,
                _ => {}
            }
            pass_over(found, &mut rest)?;
        }
        if has_index && has_term { Ok(entry) } else { Err(NoEntry) }
    }
}

/// The parts of a value that has parts.
fn pass_over(value_: Value<'_>, rest: &mut &[u8]) -> Result<(), NoEntry> {
    let mut waiting = match value_ {
        Value::Nested(parts) => parts,
        _ => return Ok(()),
    };
    let mut passed = 0;
    while waiting > 0 {
        passed += 1;
        if passed > ENTRY_VALUES_MAX {
            return Err(NoEntry);
        }
        waiting -= 1;
        if let Value::Nested(parts) = value(rest)? {
            waiting = waiting.saturating_add(parts);
        }
    }
    Ok(())
}

fn value<'a>(rest: &mut &'a [u8]) -> Result<Value<'a>, NoEntry> {
    let head = take(rest, 1)?[0];
    Ok(match head {
        0x00..=0x7F => Value::Number(u64::from(head)),
        0x80..=0x8F => Value::Nested(2 * u64::from(head & 0x0F)),
        0x90..=0x9F => Value::Nested(u64::from(head & 0x0F)),
        0xA0..=0xBF => Value::Raw(take(rest, u64::from(head & 0x1F))?),
        0xC4 | 0xD9 => raw(rest, 1)?,
        0xC5 | 0xDA => raw(rest, 2)?,
        0xC6 | 0xDB => raw(rest, 4)?,
        0xCC => Value::Number(big_endian(take(rest, 1)?)),
        0xCD => Value::Number(big_endian(take(rest, 2)?)),
        0xCE => Value::Number(big_endian(take(rest, 4)?)),
        0xCF => Value::Number(big_endian(take(rest, 8)?)),
        // Signed numbers: an index written as one is not negative.
        0xD0..=0xD3 => Value::Number(big_endian(take(rest, 1 << (head - 0xD0))?)),
        0xDC => Value::Nested(big_endian(take(rest, 2)?)),
        0xDD => Value::Nested(big_endian(take(rest, 4)?)),
        0xDE => Value::Nested(2 * big_endian(take(rest, 2)?)),
        0xDF => Value::Nested(2 * big_endian(take(rest, 4)?)),
        0xCA => skip(rest, 4)?,
        0xCB => skip(rest, 8)?,
        // Extensions: a kind, and bytes.
        0xD4..=0xD8 => skip(rest, 1 + (1 << (head - 0xD4)))?,
        0xC7..=0xC9 => {
            let length = big_endian(take(rest, 1 << (head - 0xC7))?);
            skip(rest, length + 1)?
        }
        0xC0..=0xC3 | 0xE0..=0xFF => Value::Other,
    })
}

fn raw<'a>(rest: &mut &'a [u8], width: u64) -> Result<Value<'a>, NoEntry> {
    let length = big_endian(take(rest, width)?);
    Ok(Value::Raw(take(rest, length)?))
}

fn skip<'a>(rest: &mut &'a [u8], length: u64) -> Result<Value<'a>, NoEntry> {
    take(rest, length).map(|_| Value::Other)
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], NoEntry> {
    let length = usize::try_from(length).map_err(|_| NoEntry)?;
    let (taken, left) = rest.split_at_checked(length).ok_or(NoEntry)?;
    *rest = left;
    Ok(taken)
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_in_any_order_with_what_nobody_knows() {
        let entry = b"\x86\xA5Index\xCD\x01\x00\xA4Term\x03\xA4Type\x00\xA4Data\xDA\x00\x02hi\xAAExtensions\xC0\xAAAppendedAt\xAF123456789012345";
        let expected = LogEntry {
            index: 256,
            term: 3,
            kind: 0,
            data: b"hi",
        };
        assert_eq!(LogEntry::decode(entry), Ok(expected));
        let nested = b"\x84\xA1x\x92\x81\x01\x02\x93\xC0\xCB\0\0\0\0\0\0\0\0\xD6\0\0\0\0\0\xA4Data\xC4\x01!\xA4Term\xD3\0\0\0\0\0\0\0\x09\xA5Index\x07";
        let found = LogEntry::decode(nested).expect("an entry");
        assert_eq!((found.index, found.term, found.data), (7, 9, &b"!"[..]));
        for length in 0..entry.len() {
            assert_eq!(LogEntry::decode(&entry[..length]), Err(NoEntry), "{length}");
        }
        assert_eq!(LogEntry::decode(b"\x81\xA5Index\x07"), Err(NoEntry));
        assert_eq!(
            LogEntry::decode(&[0x81, 0xA1, b'x', 0xDD, 255, 255, 255, 255, 1, 2]),
            Err(NoEntry)
        );
    }
}
